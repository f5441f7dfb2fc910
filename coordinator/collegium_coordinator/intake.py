"""What a coordinator accepts: a message of the current round, from the seat that signed it, in the phase that takes it.

Anything else is refused with a reason, so that the hospital knows at once that it must carry its message itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from collegium.chain.views import RoundView, StudyView
from collegium.commitment import compute_reveal_slot
from collegium.errors import (
    CollegiumError,
    DeadlinePassedError,
    NotAMemberError,
    StudyUnknownError,
    VerificationError,
    WireError,
    WrongPhaseError,
)
from collegium.messages import (
    Domain,
    digest,
    recover,
    unpack_attestations,
    unpack_commits,
    unpack_endorsements,
    unpack_reveals,
)
from collegium.records import Message, Phase, Reveal, Signed

from .inbox import Inbox, Item, Topic

__all__ = ["MessageIntake"]

_PHASES = {
    Topic.UPDATES: Phase.COMMIT,
    Topic.REVEALS: Phase.REVEAL,
    Topic.ATTESTATIONS: Phase.CERTIFY,
    Topic.ENDORSEMENTS: Phase.CHALLENGE,
}


class SlotMismatchError(VerificationError):
    """A reveal that does not open the commitment of its seat."""

    code = "slot_mismatch"


class MessageIntake:
    """Checks a packed item against the round as the chain tells it and puts it into the inbox.

    view: the latest known state of the study; refresh: reads the chain anew, called when a message is ahead of it, at
    most once in `refresh_every` seconds, so that bad messages cost the chain's node nothing beyond that.
    """

    def __init__(
        self,
        *,
        study_id: int,
        domain: Domain,
        inbox: Inbox,
        view: Callable[[], StudyView],
        refresh: Callable[[], StudyView],
        refresh_every: float = 0.25,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._study_id = study_id
        self._domain = domain
        self._inbox = inbox
        self._view = view
        self._refresh = refresh
        self._clock = clock
        self._refresh_every = refresh_every
        self._refreshing = threading.Lock()
        self._refreshed_at = -math.inf

    def __call__(self, topic: Topic, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Accept one message: `{"study", "round", "item", "proposal" for endorsements}`, bytes as hex.

        Raises CollegiumError: it was not accepted, and why.
        """
        study_id, round_number, wire = _integer(body, "study"), _integer(body, "round"), _bytes(body, "item")
        if study_id != self._study_id:
            raise StudyUnknownError(
                f"This coordinator serves study {self._study_id}, not {study_id}.",
                hint="Ask a coordinator of your study.",
            )
        subject = _bytes(body, "proposal") if topic is Topic.ENDORSEMENTS else b""
        seen = self._view()
        try:
            index = self._check(seen, topic, round_number, wire, subject)
        except CollegiumError:
            # The hospital may have seen a block that we have not.
            fresh = self._newer_than(seen)
            if fresh is None:
                raise
            index = self._check(fresh, topic, round_number, wire, subject)
        self._inbox.put(Item(topic, study_id, round_number, index, subject, wire, self._clock()))
        return {"status": "accepted", "topic": topic.value, "round": round_number, "index": index}

    def _newer_than(self, seen: StudyView) -> StudyView | None:
        """A later view, read from the chain if the last time is long enough ago; None when there is none to be had."""
        with self._refreshing:
            known = self._view()
            if known is not seen:
                return known
            now = time.monotonic()
            if now - self._refreshed_at < self._refresh_every:
                return None
            self._refreshed_at = now
            return self._refresh()

    def _check(self, view: StudyView, topic: Topic, round_number: int, wire: bytes, subject: bytes) -> int:
        current = view.current
        if current is None or current.number != round_number:
            number = current.number if current else 0
            raise DeadlinePassedError(
                f"Round {round_number} is not the current one; that is {number}.",
                hint="Wait for the next round to open.",
            )
        phase = current.phase_at(int(self._clock()))
        if phase is not _PHASES[topic]:
            raise WrongPhaseError(
                f"{topic.value.capitalize()} are taken in phase {_PHASES[topic].name.lower()}, the round is in"
                f" {phase.name.lower()}.",
                hint="`collegium round status` shows the deadlines.",
            )
        return _CHECKS[topic](self, current, wire, subject)

    def _update(self, current: RoundView, wire: bytes, _: bytes) -> int:
        (signed,) = _single(unpack_commits(wire, study_id=self._study_id, round=current.number, ctx=current.ctx))
        index: int = signed.message.index
        if not current.invited >> index & 1:
            raise NotAMemberError(
                f"Seat {index} is not invited to round {current.number}.", hint="See `collegium stake status`."
            )
        self._require_signer(current, index, signed)
        return index

    def _reveal(self, current: RoundView, wire: bytes, _: bytes) -> int:
        reveal: Reveal = _single(unpack_reveals(wire))[0]
        commit = current.commits.get(reveal.index)
        if commit is None or compute_reveal_slot(current.ctx, reveal) != commit.slot:
            raise SlotMismatchError(
                f"This does not open the commitment of seat {reveal.index}.",
                hint="Reveal what was committed in this round.",
            )
        return reveal.index

    def _attestation(self, current: RoundView, wire: bytes, _: bytes) -> int:
        set_hash = current.set_hash(current.revealed)
        (signed,) = _single(
            unpack_attestations(wire, study_id=self._study_id, round=current.number, ctx=current.ctx, set_hash=set_hash)
        )
        index: int = signed.message.index
        self._require_signer(current, index, signed)
        return index

    def _endorsement(self, current: RoundView, wire: bytes, subject: bytes) -> int:
        live = current.live
        if live is None or live.hash != subject:
            raise DeadlinePassedError("That proposal is not up for endorsement.", hint="Read the round anew.")
        (signed,) = _single(
            unpack_endorsements(wire, study_id=self._study_id, round=current.number, ctx=current.ctx, proposal=subject)
        )
        index: int = signed.message.index
        self._require_signer(current, index, signed)
        return index

    def _require_signer(self, current: RoundView, index: int, signed: Signed[Any]) -> None:
        keys = current.snapshot.node_keys
        message: Message = signed.message
        signer = recover(digest(message, self._domain), signed.signature)
        if index >= len(keys) or keys[index] != signer:
            raise NotAMemberError(
                f"Seat {index} does not sign with {signer}.",
                hint="Sign with the node key of the roster snapshot; a new key counts from the next round on.",
            )


_CHECKS: Mapping[Topic, Callable[[MessageIntake, RoundView, bytes, bytes], int]] = {
    Topic.UPDATES: MessageIntake._update,
    Topic.REVEALS: MessageIntake._reveal,
    Topic.ATTESTATIONS: MessageIntake._attestation,
    Topic.ENDORSEMENTS: MessageIntake._endorsement,
}


def _single(items: list[Any]) -> list[Any]:
    if len(items) != 1:
        raise WireError(f"A message carries one item, not {len(items)}.")
    return items


def _integer(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise WireError(f"The message needs `{name}`, a whole number.")
    return value


def _bytes(body: Mapping[str, Any], name: str) -> bytes:
    value = body.get(name)
    try:
        return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else _missing(name)
    except ValueError:
        return _missing(name)


def _missing(name: str) -> bytes:
    raise WireError(f"The message needs `{name}`, bytes as hex.")
