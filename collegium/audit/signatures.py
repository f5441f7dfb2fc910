"""Signatures of node keys, found in the calldata that carried them: updates, attestations, endorsements."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from collegium import messages
from collegium.chain.events import ChainEvent
from collegium.chain.views import RoundView
from collegium.errors import CollegiumError
from collegium.messages import ATTEST_BYTES, COMMIT_BYTES, ENDORSE_BYTES, REVEAL_BYTES
from collegium.records import ZERO_ADDRESS, Attestation, Endorsement, Message, Update, bits

from .history import History
from .report import Findings, Tally
from .world import World

__all__ = ["Signatures", "is_signed_by"]

_BATCHES = {
    "commitUpdates": ("items", COMMIT_BYTES, 2, "UpdateCommitted"),
    "revealUpdates": ("items", REVEAL_BYTES, 2, "UpdateRevealed"),
    "certify": ("attestations", ATTEST_BYTES, 1, "UpdatesAttested"),
    "endorse": ("endorsements", ENDORSE_BYTES, 1, "ProposalEndorsed"),
    "conclude": ("endorsements", ENDORSE_BYTES, 1, "ProposalEndorsed"),
}
"""Function: its argument of packed items, bytes of an item and of its index, the event of an accepted one."""
_ITEMS = {"commitUpdates": "items", "certify": "attestations", "endorse": "endorsements", "conclude": "endorsements"}
SIGNATURE_BYTES = 64


def is_signed_by(digest: bytes, signature: bytes, key: str) -> bool:
    """Whether the compact signature is `key`'s."""
    try:
        return messages.recover(digest, signature) == key
    except CollegiumError:
        return False


class Signatures:
    """Checks `commits`, `certificates` and `endorsements`, event by event."""

    def __init__(self, history: History, findings: Findings) -> None:
        self._history = history
        self._findings = findings
        self._domain = history.chain.domain()
        self._attested: dict[int, list[tuple[int, int]]] = {}
        self._counted: set[str] = set()

    def see(self, event: ChainEvent, world: World) -> None:
        """`world` is as before the event."""
        if event.contract == "Collegium" and event.study_id == world.study_id:
            self._count_items(event)
        handler = {
            "UpdateCommitted": self._committed,
            "UpdatesAttested": self._attestation,
            "UpdatesCertified": self._certified,
            "ProposalEndorsed": self._endorsed,
            "RoundFinalized": self._finalized,
        }.get(event.name)
        ours = handler is not None and world.study is not None and event.study_id == world.study_id
        view = world.study.round(event.args["round"]) if ours and world.study else None
        if handler is not None and view is not None:
            handler(event, world, view)

    def _count_items(self, event: ChainEvent) -> None:
        """Each item of a batch is accepted or skipped by an event, in order; once per transaction."""
        if event.transaction in self._counted:
            return
        self._counted.add(event.transaction)
        call = self._history.call(event)
        if call is None or call.function not in _BATCHES:
            return
        argument, size, width, accepted = _BATCHES[call.function]
        items = bytes(call.arguments[argument])
        carried = [int.from_bytes(items[at : at + width], "big") for at in range(0, len(items), size)]
        told = [
            each.args["index"]
            for each in self._history.events_of(event.transaction)
            if each.name in (accepted, "ItemSkipped") and each.study_id == event.study_id
        ]
        # Endorsements that came too late or after everybody's are not looked at.
        if told != carried and not (call.function == "conclude" and not told):
            self._findings.of("events").fail(
                f"{call.function} in {event.transaction} carries items of seats {carried}, its events tell of {told}"
            )

    def _committed(self, event: ChainEvent, world: World, view: RoundView) -> None:
        tally, args = self._findings.of("commits", view.number), event.args
        index, weight = args["index"], args["weight"]
        update = Update(
            view.study_id, view.number, view.ctx, index, event.bytes32("commitment"), weight, event.bytes32("ext")
        )
        most = world.study.plan.max_weight if world.study else 0
        if not 1 <= weight <= most:
            tally.fail(f"seat {index} committed with weight {weight}, the plan allows 1 to {most}")
        if not view.invited >> index & 1:
            tally.fail(f"seat {index} committed and was not invited")
        if index in view.commits:
            tally.fail(f"seat {index} committed twice")
        prefix = struct.pack(">H32sI32s", index, update.commitment, weight, update.ext)
        self._verify(tally, event, world, view, update, prefix, COMMIT_BYTES)

    def _attestation(self, event: ChainEvent, world: World, view: RoundView) -> None:
        tally, index, bitmap = self._findings.of("certificates", view.number), event.args["index"], event.args["bitmap"]
        message = Attestation(view.study_id, view.number, view.ctx, index, bitmap, view.set_hash(view.revealed))
        pending = self._attested.setdefault(view.number, [])
        if pending and pending[-1][0] >= index:
            tally.fail(f"attestations of seats {pending[-1][0]} and {index} are not ascending")
        pending.append((index, bitmap))
        prefix = struct.pack(">B", index) + bitmap.to_bytes(16, "big")
        self._verify(tally, event, world, view, message, prefix, ATTEST_BYTES)

    def _certified(self, event: ChainEvent, world: World, view: RoundView) -> None:
        tally = self._findings.of("certificates", view.number)
        bitmaps = [bitmap for _, bitmap in self._attested.pop(view.number, [])]
        if len(bitmaps) < view.quorum:
            tally.fail(f"a certificate counts {len(bitmaps)} attestations, and {view.quorum} are needed")
        agreed = sum(
            1 << bit for bit in bits(view.revealed) if sum(bitmap >> bit & 1 for bitmap in bitmaps) >= view.quorum
        )
        tally.equal("the certified set", bits(event.args["certified"]), bits(view.certified | agreed))

    def _endorsed(self, event: ChainEvent, world: World, view: RoundView) -> None:
        tally, index = self._findings.of("endorsements", view.number), event.args["index"]
        live, proposal = view.live, event.bytes32("proposalHash")
        if live is None or live.hash != proposal:
            tally.fail(f"seat {index} endorsed {event.args['proposalHash']}, which is not the live proposal")
        elif live.endorsed >> index & 1:
            tally.fail(f"seat {index} endorsed twice")
        message = Endorsement(view.study_id, view.number, view.ctx, index, proposal)
        self._verify(tally, event, world, view, message, struct.pack(">B", index), ENDORSE_BYTES)

    def _finalized(self, event: ChainEvent, world: World, view: RoundView) -> None:
        tally, live = self._findings.of("endorsements", view.number), view.live
        endorsed = live.endorsed if live else 0
        if endorsed == view.snapshot.active:
            tally.note("all members endorsed")
        elif endorsed.bit_count() < view.quorum:
            tally.fail(f"final with {endorsed.bit_count()} endorsements, and {view.quorum} are needed")
        elif live is not None and event.time < live.event.time + view.rules.challenge_window:
            tally.fail("final before its challenge window had passed, without every member's endorsement")
        else:
            tally.note(f"{endorsed.bit_count()} of {view.snapshot.active.bit_count()} endorsed, and the window passed")

    def _verify(
        self, tally: Tally, event: ChainEvent, world: World, view: RoundView, message: Message, prefix: bytes, size: int
    ) -> None:
        """The seat's key of the snapshot signed the message, and the signature was carried by this transaction."""
        index, keys = event.args["index"], view.snapshot.node_keys
        key = keys[index] if index < len(keys) else ZERO_ADDRESS
        who = f"{message.primary_type} of seat {index} in {event.transaction}"
        if key == ZERO_ADDRESS or event.args["nodeKey"] != key:
            tally.fail(f"{who} names key {event.args['nodeKey']}, the roster has {key}")
            return
        if world.identities.is_revoked(key):
            tally.fail(f"{who} is by key {key}, which was revoked before")
            return
        digest = messages.digest(message, self._domain)
        call = self._history.call(event)
        if call is not None and call.contract == "Collegium" and call.function in _ITEMS:
            carried = _strided(bytes(call.arguments[_ITEMS[call.function]]), prefix, size)
            signed = any(is_signed_by(digest, each, key) for each in carried)
            tally.require(signed, f"{who} is not signed by {key} in its calldata")
        elif any(is_signed_by(digest, each, key) for each in _anywhere(self._history.transaction(event).data, prefix)):
            # Another contract carried it: a good signature is good wherever it stands.
            tally.passes()
        else:
            tally.warn(f"{who} came through another contract: its signature is not checkable from calldata")


def _strided(items: bytes, prefix: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(items) - size + 1, size):
        if items.startswith(prefix, at):
            yield items[at + size - SIGNATURE_BYTES : at + size]


def _anywhere(data: bytes, prefix: bytes) -> Iterator[bytes]:
    at = data.find(prefix)
    while 0 <= at <= len(data) - len(prefix) - SIGNATURE_BYTES:
        yield data[at + len(prefix) : at + len(prefix) + SIGNATURE_BYTES]
        at = data.find(prefix, at + 1)
