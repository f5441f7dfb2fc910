"""Sending a proof: noted on disk, simulated, announced one block ahead, then sent; once, whatever happens between."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collegium.chain import Chain, Intent, Outbox, Receipt, intents
from collegium.commitment import keccak
from collegium.crashpoints import crashpoint, register
from collegium.errors import ChainUnreachableError, CollegiumError, InsufficientGasError, TimedOutError
from collegium.evidence import compute_announcement
from collegium.files import write_atomically
from collegium.records import ZERO32, Format, Kind, Proposal, RecordProof

__all__ = ["Case", "Refuter"]

register("watcher.case_noted", "watcher.announced", "watcher.refuted", "watcher.case_closed")

ANNOUNCE_SHARE = 0.15
"""A proof is announced first unless less than this share of the challenge window is left."""


@dataclass(frozen=True)
class Case:
    """A proven fault. `proof` is set for a record, `failed` for a contradiction.

    stage: `open`, `won` (the chain accepted it) or `lost` (it was refused: another was faster, or time is over).
    """

    kind: Kind
    study_id: int
    round: int
    accused: str
    ctx: bytes
    evidence: bytes
    salt: bytes
    proposal: Proposal | None = None
    proof: RecordProof | None = None
    failed: Proposal | None = None
    coordinate: int = 0
    claimed: int = 0
    right: int = 0
    stage: str = "open"
    announced: bool = False
    transaction: str = ""
    reason: str = ""

    @classmethod
    def make(cls, **fields: Any) -> Case:
        """A new case with a salt of its own."""
        return cls(salt=secrets.token_bytes(32), **fields)

    @property
    def name(self) -> str:
        """One name per fault: what pays once is proven once. A live proposal and its record are two cases."""
        text = f"{int(self.kind)}|{self.study_id}|{self.accused}|{self.proof is not None}"
        return str(keccak(text.encode() + self.ctx).hex()[:32])

    def intent(self) -> Intent:
        """The transaction that proves it."""
        salt = self.salt if self.announced else ZERO32
        if self.kind is Kind.RANGE:
            return intents.refute_range(self.study_id, self.evidence, salt=salt)
        if self.kind is Kind.EQUIVOCATION:
            return intents.refute_equivocation(self.study_id, self.evidence, salt=salt)
        assert self.proposal is not None
        if self.kind is Kind.CONTRADICTION:
            assert self.proof is not None and self.failed is not None
            return intents.refute_contradiction(self.study_id, self.proposal, self.proof, self.failed, salt=salt)
        if self.proof is not None:
            return intents.dispute(self.kind, self.study_id, self.proposal, self.proof, self.evidence, salt=salt)
        return intents.refute(self.kind, self.study_id, self.proposal, self.evidence, salt=salt)

    def explain(self, format: Format | None = None) -> dict[str, Any]:
        """What is wrong, for people: the coordinate, the claimed and the right number, and their difference."""
        told: dict[str, Any] = {
            "kind": self.kind.name.lower(),
            "round": self.round,
            "accused": self.accused,
            "coordinate": self.coordinate,
            "claimed": self.claimed,
            "right": self.right,
        }
        if format is not None and format.sections:
            scale = 2.0 ** -format.sections[0].exponent
            told |= {"claimed_value": self.claimed * scale, "right_value": self.right * scale}
        return told

    def to_json(self) -> bytes:
        """For the folder of cases."""
        records = {name: getattr(self, name) for name in ("proposal", "proof", "failed")}
        content = {
            "kind": int(self.kind),
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: getattr(self, name).hex() for name in ("ctx", "evidence", "salt")},
            **{name: None if record is None else _listed(record.to_abi()) for name, record in records.items()},
        }
        return json.dumps(content).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Case:
        """The reverse of `to_json`."""
        content = json.loads(data)
        kinds: dict[str, Any] = {"proposal": Proposal, "proof": RecordProof, "failed": Proposal}
        fields: dict[str, Any] = {name: content[name] for name in _PLAIN}
        fields |= {name: bytes.fromhex(content[name]) for name in ("ctx", "evidence", "salt")}
        fields |= {name: kind.from_abi(content[name]) for name, kind in kinds.items() if content[name] is not None}
        return cls(kind=Kind(content["kind"]), **fields)


_PLAIN = (
    "study_id", "round", "accused", "coordinate", "claimed", "right", "stage", "announced", "transaction", "reason",
)  # fmt: skip


def _listed(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


class Refuter:
    """Brings cases to the chain."""

    def __init__(
        self, chain: Chain, outbox: Outbox, folder: Path, report: Callable[..., None], *, announce: bool = True
    ) -> None:
        self._chain, self._outbox, self._folder, self._report = chain, outbox, folder, report
        self._announce = announce
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def cases(self) -> list[Case]:
        """Every case of this home, by name."""
        return [Case.from_json(path.read_bytes()) for path in sorted(self._folder.glob("*.json"))]

    def resume(self) -> None:
        """Finish what an earlier process began."""
        self._outbox.resume()
        for case in self.cases():
            if case.stage == "open":
                self._bring(case)

    def prove(self, case: Case, *, seconds_left: float = 1e9, window: float = 0.0) -> Case:
        """Prove a fault once. A case that is known is not sent again; one that was interrupted goes on."""
        path = self._folder / f"{case.name}.json"
        if path.exists():
            known = Case.from_json(path.read_bytes())
            return known if known.stage != "open" else self._bring(known)
        refusal = self._simulate(case)
        if refusal:
            self._report("not_provable", reason=refusal, **case.explain())
            return self._close(case, "lost", reason=refusal)
        case = replace(case, announced=self._announce and seconds_left > ANNOUNCE_SHARE * window)
        self._write(case)
        crashpoint("watcher.case_noted")
        return self._bring(case)

    def _bring(self, case: Case) -> Case:
        try:
            if case.announced:
                announcement = compute_announcement(self._chain.signer.address, case.evidence, case.salt)
                self._outbox.submit(intents.announce(announcement))
                crashpoint("watcher.announced")
            receipt = self._outbox.submit(case.intent())
        except (ChainUnreachableError, TimedOutError, InsufficientGasError):
            # The case stays open; the next look or the next start goes on with it.
            raise
        except CollegiumError as error:
            self._report("refutation_refused", code=error.code, reason=error.message, **case.explain())
            return self._close(case, "lost", reason=error.message)
        crashpoint("watcher.refuted")
        self._report("refuted", transaction=receipt.transaction, fine=_fine_of(receipt), **case.explain())
        return self._close(case, "won", transaction=receipt.transaction)

    def _simulate(self, case: Case) -> str:
        """Why the chain would refuse the proof now; empty when it would not. Costs nothing."""
        intent = replace(case, announced=False).intent()
        try:
            self._chain.call(
                intent.to, intent.function, *intent.args, block="pending", sender=self._chain.signer.address
            )
        except ChainUnreachableError:
            raise
        except CollegiumError as error:
            return error.message
        return ""

    def _close(self, case: Case, stage: str, **fields: Any) -> Case:
        case = replace(case, stage=stage, **fields)
        self._write(case)
        crashpoint("watcher.case_closed")
        return case

    def _write(self, case: Case) -> None:
        write_atomically(self._folder / f"{case.name}.json", case.to_json(), mode=0o600)


def _fine_of(receipt: Receipt) -> int:
    event = receipt.event("Refuted")
    return int(event.args["fine"]) if event is not None else 0
