"""The views of the contracts as records: what is true now, by the node's word.

Audits and decisions that must be replayable use events (`views`); these reads serve a person who asks, and
preparation of messages (nonces, quorum, who is on duty).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collegium.errors import RevertedError, StudyUnknownError
from collegium.records import Format, Phase, Plan, Role, StudyStatus

from .client import Chain

__all__ = ["Contracts", "Governance", "LiveRound", "Lock", "Model", "Seat", "Snapshot", "Stake", "Study", "UpdateState"]


@dataclass(frozen=True, slots=True)
class Study:
    """round: number of the last opened round, 0 before the first."""

    study_id: int
    plan: Plan
    format: Format
    plan_hash: bytes
    members: int
    aggregators: int
    round: int


@dataclass(frozen=True, slots=True)
class Governance:
    """Who may pause, close and extend a study, and what it said. open_until: unix seconds, 0 without a term."""

    sponsor: str
    status: StudyStatus
    open_until: int

    def may_open(self, now: int) -> bool:
        """Whether a round may open at `now`, unix seconds."""
        return self.status is StudyStatus.OPEN and (self.open_until == 0 or now < self.open_until)


@dataclass(frozen=True, slots=True)
class LiveRound:
    """The last opened round, its phase computed at the time of the block asked for. deadline: unix s, 0 when ended."""

    study_id: int
    round: int
    phase: Phase
    attempt: int
    deadline: int
    ctx: bytes
    invited: int
    committed: int
    revealed: int
    certified: int
    endorsed: int
    proposal_hash: bytes


@dataclass(frozen=True, slots=True)
class Model:
    """The latest finalized model. round: that made it, 0 for genesis."""

    root: bytes
    state_root: bytes
    cid: str
    round: int


@dataclass(frozen=True, slots=True)
class UpdateState:
    slot: bytes
    committed: bool
    revealed: bool
    certified: bool


@dataclass(frozen=True, slots=True)
class Seat:
    seated: bool
    index: int
    max_fine: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Roster and order of aggregators of the last opened round; an unused seat is the zero address."""

    institutions: tuple[str, ...]
    node_keys: tuple[str, ...]
    aggregators: tuple[str, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class Stake:
    """Token wei. withdrawable_at: unix seconds."""

    free: int
    unbonding: int
    withdrawable_at: int


@dataclass(frozen=True, slots=True)
class Lock:
    """Token wei. releasable_at: unix seconds, 0 while in use."""

    amount: int
    releasable_at: int


class Contracts:
    """Typed reads over a chain. `block`: `pending` computes phases at the present time."""

    def __init__(self, chain: Chain, *, block: int | str = "latest") -> None:
        self._chain = chain
        self._block = block

    def _call(self, contract: str, function: str, *arguments: Any, block: int | str | None = None) -> Any:
        try:
            return self._chain.call(contract, function, *arguments, block=self._block if block is None else block)
        except RevertedError as error:
            if error.evidence.get("error") == "StudyUnknown":
                raise StudyUnknownError(error.message, hint=error.hint) from error
            raise

    # Studies and rounds

    def study_count(self) -> int:
        return int(self._call("Collegium", "studyCount"))

    def study(self, study_id: int) -> Study:
        """Raises StudyUnknownError."""
        got = self._call("Collegium", "studyOf", study_id)
        return Study(
            study_id,
            Plan.from_abi(got["plan"]),
            Format.from_abi(got["format"]),
            got["planHash"],
            got["members"],
            got["aggregators"],
            got["round"],
        )

    def governance(self, study_id: int) -> Governance:
        """Raises StudyUnknownError."""
        got = self._call("Collegium", "governanceOf", study_id)
        return Governance(got["sponsor"], StudyStatus(got["status"]), got["openUntil"])

    def live_round(self, study_id: int) -> LiveRound:
        """Computed at the present time unless the reader was made for a block."""
        block = "pending" if self._block == "latest" else self._block
        got = self._call("Collegium", "roundOf", study_id, block=block)
        values = list(got.values())
        return LiveRound(study_id, values[0], Phase(values[1]), *values[2:])

    def phase(self, study_id: int) -> tuple[Phase, int, int]:
        """Phase, failed duties, deadline (unix seconds), at the present time."""
        block = "pending" if self._block == "latest" else self._block
        got = self._call("Collegium", "phaseOf", study_id, block=block)
        return Phase(got["phase"]), got["attempt"], got["deadline"]

    def on_duty(self, study_id: int) -> str:
        """Node key of the aggregator on duty at the present time; the zero address when nobody is."""
        block = "pending" if self._block == "latest" else self._block
        return str(self._call("Collegium", "onDuty", study_id, block=block))

    def model(self, study_id: int) -> Model:
        got = self._call("Collegium", "modelOf", study_id)
        return Model(got["modelRoot"], got["stateRoot"], got["cid"], got["round"])

    def update(self, study_id: int, index: int) -> UpdateState:
        return UpdateState(**self._call("Collegium", "updateOf", study_id, index))

    def record(self, study_id: int, round_number: int) -> tuple[bytes, bool]:
        """The permanent record (zero when the round is not final) and whether it is disputed."""
        got = self._call("Collegium", "recordOf", study_id, round_number)
        return got["record"], got["disputed"]

    def seat(self, study_id: int, institution: str) -> Seat:
        got = self._call("Collegium", "seatOf", study_id, institution)
        return Seat(got["seated"], got["index"], got["maxFine"])

    def snapshot(self, study_id: int) -> Snapshot:
        got = self._call("Collegium", "snapshotOf", study_id)
        return Snapshot(tuple(got["institutions"]), tuple(got["nodeKeys"]), tuple(got["aggregators"]), got["quorum"])

    # Money

    def stake(self, institution: str) -> Stake:
        got = self._call("Bonds", "stakeOf", institution)
        return Stake(got["free"], got["unbonding"], got["withdrawableAt"])

    def lock(self, study_id: int, institution: str, role: Role) -> Lock:
        got = self._call("Bonds", "lockOf", study_id, institution, int(role))
        return Lock(got["amount"], got["releasableAt"])

    def credit(self, account: str) -> int:
        return int(self._call("Bonds", "creditOf", account))

    def permit_nonce(self, payer: str) -> int:
        """Nonce of the payer's next ERC-2612 permit."""
        return int(self._call("CollegiumToken", "nonces", payer))

    def token_balance(self, account: str) -> int:
        return int(self._call("CollegiumToken", "balanceOf", account))

    # Members

    def node_key(self, institution: str) -> str:
        """The usable node key, or the zero address."""
        return str(self._call("Members", "nodeKeyOf", institution))

    def institution(self, node_key: str) -> str:
        """The institution a node key speaks for, or the zero address."""
        return str(self._call("Members", "institutionOf", node_key))

    def is_active(self, institution: str) -> bool:
        return bool(self._call("Members", "isActive", institution))

    def is_revoked(self, node_key: str) -> bool:
        return bool(self._call("Members", "isRevoked", node_key))

    def nonce(self, institution: str) -> int:
        """Nonce of the institution's next signed message."""
        return int(self._call("Members", "nonceOf", institution))

    def council(self) -> tuple[tuple[str, ...], int]:
        """Members of the council and how many must sign."""
        got = self._call("Members", "council")
        return tuple(got["members"]), got["threshold"]
