"""Studies and rounds as public events tell them, never as a node's storage does.

`StudyView.build` replays events in chain order. What the contract decides by time alone is computed with the
published catch-up function, so a view knows the phase at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from dataclasses import replace as dataclass_replace
from enum import StrEnum

from collegium.commitment import compute_item, compute_set_hash, compute_slot
from collegium.errors import LogMismatchError, StudyUnknownError
from collegium.phases import Clock, Rules, Tally, catch_up, compute_deadline, pass_on
from collegium.records import ZERO_ADDRESS, Format, Outcome, Phase, Plan, Proposal, StudyStatus, bitmap_of, bits

from .events import ChainEvent

__all__ = [
    "Commit",
    "Opened",
    "ProposalStatus",
    "ProposalView",
    "RoundView",
    "Seat",
    "Snapshot",
    "StudyView",
]


@dataclass(frozen=True)
class Seat:
    """A member's place in a study. left: the event of its leaving, or of its removal by the council, if any."""

    index: int
    institution: str
    node_key: str
    max_fine: int
    agreement: bytes
    open_updates: bool
    joined: ChainEvent
    left: ChainEvent | None = None

    @property
    def removed(self) -> bool:
        """Whether the council removed it; false for one that left by itself."""
        return self.left is not None and self.left.name == "MemberRemoved"


@dataclass(frozen=True)
class Snapshot:
    """Roster and order of aggregators as of a round's opening; a seat without usable key is the zero address."""

    round: int
    hash: bytes
    institutions: tuple[str, ...]
    node_keys: tuple[str, ...]
    aggregators: tuple[str, ...]
    event: ChainEvent

    @property
    def active(self) -> int:
        """Bitmap of seats with a usable key."""
        return bitmap_of([index for index, key in enumerate(self.node_keys) if key != ZERO_ADDRESS])


@dataclass(frozen=True)
class Commit:
    """A committed update. slot: what the chain keeps of it."""

    index: int
    node_key: str
    commitment: bytes
    weight: int
    ext: bytes
    event: ChainEvent

    @property
    def slot(self) -> bytes:
        return compute_slot(compute_item(self.commitment, self.weight, self.ext), self.weight)


@dataclass(frozen=True)
class Opened:
    """A revealed update. cid: text."""

    index: int
    node_key: str
    root: bytes
    salt: bytes
    weight: int
    ext: bytes
    cid: str
    event: ChainEvent


class ProposalStatus(StrEnum):
    LIVE = "live"
    REFUTED = "refuted"
    LAPSED = "lapsed"
    FINAL = "final"


@dataclass
class ProposalView:
    """A proposal and what became of it. endorsed: bitmap of seats."""

    proposal: Proposal
    hash: bytes
    model_cid: str
    mean_cid: str
    event: ChainEvent
    status: ProposalStatus = ProposalStatus.LIVE
    endorsed: int = 0
    ended: ChainEvent | None = None


@dataclass
class RoundView:
    """One round. Bitmaps by seat; `clock` is where the last event left it."""

    study_id: int
    number: int
    ctx: bytes
    opener: str
    invited: int
    quorum: int
    model_root: bytes
    state_root: bytes
    parent_record: bytes
    cohort_hash: bytes
    model_cid: str
    snapshot: Snapshot
    rules: Rules
    opened: ChainEvent
    clock: Clock
    commits: dict[int, Commit] = field(default_factory=dict)
    reveals: dict[int, Opened] = field(default_factory=dict)
    attestations: list[ChainEvent] = field(default_factory=list)
    certified: int = 0
    certificates: list[ChainEvent] = field(default_factory=list)
    proposals: list[ProposalView] = field(default_factory=list)
    missed: list[ChainEvent] = field(default_factory=list)
    skipped: list[ChainEvent] = field(default_factory=list)
    refutations: list[ChainEvent] = field(default_factory=list)
    outcome: Outcome | None = None
    record: bytes | None = None
    finalized: ChainEvent | None = None
    aborted: ChainEvent | None = None
    disputed: ChainEvent | None = None

    @property
    def committed(self) -> int:
        return bitmap_of(list(self.commits))

    @property
    def revealed(self) -> int:
        return bitmap_of(list(self.reveals))

    @property
    def live(self) -> ProposalView | None:
        """The proposal that is up for challenge or finality, as far as events tell."""
        last = self.proposals[-1] if self.proposals else None
        return last if last and last.status in (ProposalStatus.LIVE, ProposalStatus.FINAL) else None

    @property
    def is_over(self) -> bool:
        """Recorded or aborted on chain."""
        return self.record is not None or self.aborted is not None

    def set_hash(self, bitmap: int) -> bytes:
        """`setHash` over the slots of these seats."""
        return compute_set_hash([self.commits[index].slot for index in bits(bitmap)])

    def weight_sum(self, bitmap: int) -> int:
        return sum(self.commits[index].weight for index in bits(bitmap))

    def clock_at(self, now: int) -> Clock:
        """The round's clock at a moment in unix seconds."""
        return catch_up(self.clock, self.rules, self._tally(), now)

    def phase_at(self, now: int) -> Phase:
        return self.clock_at(now).phase

    def deadline_at(self, now: int) -> int:
        """Deadline of the phase at `now`; 0 for an ended round."""
        return compute_deadline(self.clock_at(now), self.rules)

    def on_duty(self, now: int) -> str | None:
        """Node key of the aggregator on duty at `now`; before Propose the one that will be first."""
        clock = self.clock_at(now)
        return None if clock.phase in (Phase.FINAL, Phase.ABORTED) else self.snapshot.aggregators[clock.position]

    def _tally(self) -> Tally:
        live = self.live
        return Tally(
            active=self.snapshot.active.bit_count(),
            committed=len(self.commits),
            revealed=len(self.reveals),
            certified=self.certified.bit_count(),
            endorsed=live.endorsed.bit_count() if live else 0,
        )

    # replay

    def _copied(self) -> RoundView:
        """One that may change while this one stays."""
        return dataclass_replace(
            self,
            commits=dict(self.commits),
            reveals=dict(self.reveals),
            attestations=list(self.attestations),
            certificates=list(self.certificates),
            proposals=[dataclass_replace(each) for each in self.proposals],
            missed=list(self.missed),
            skipped=list(self.skipped),
            refutations=list(self.refutations),
        )

    def _advance(self, now: int) -> None:
        """Apply the timeouts that passed before an event at `now`; a lapse is told by its own event."""
        clock = self.clock_at(now)
        if clock.phase is not Phase.FINAL:
            self.clock = clock

    def _enter(self, phase: Phase, now: int) -> None:
        self.clock = dataclass_replace(self.clock, phase=phase, mark=now)


@dataclass
class StudyView:
    """A study: its plan, its members, its rounds in order of opening.

    status, open_until: what the sponsor said last; no round opens from `open_until` on (unix seconds, 0: no term).
    governance: the events of sponsor and council that say so, and removals.
    """

    study_id: int
    plan: Plan
    format: Format
    plan_hash: bytes
    sponsor: str
    plan_cid: str
    genesis_cid: str
    created: ChainEvent
    seats: dict[int, Seat] = field(default_factory=dict)
    aggregators: list[str] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    rounds: list[RoundView] = field(default_factory=list)
    status: StudyStatus = StudyStatus.OPEN
    open_until: int = 0
    governance: list[ChainEvent] = field(default_factory=list)

    @classmethod
    def build(cls, events: Iterable[ChainEvent], study_id: int) -> StudyView:
        """Replay events in chain order; events of other studies are passed over.

        Raises:
            StudyUnknownError: no event creates it. LogMismatchError: the events contradict each other.
        """
        view: StudyView | None = None
        for event in events:
            if event.args.get("studyId") != study_id:
                continue
            if event.name == "StudyCreated":
                view = cls._created(event)
            elif view is not None:
                view._apply(event)
        if view is None:
            raise StudyUnknownError(
                f"There is no study {study_id}.", hint="`collegium study list` shows those that exist."
            )
        return view

    def extended(self, events: Iterable[ChainEvent]) -> StudyView:
        """A view that knows later events too; this one stays as it is, and both share the rounds that did not change.

        events: in chain order, all after those that this view was built from. Raises LogMismatchError.
        """
        new = [event for event in events if event.args.get("studyId") == self.study_id]
        touched = {event.args.get("round") for event in new}
        view = dataclass_replace(
            self,
            seats=dict(self.seats),
            aggregators=list(self.aggregators),
            snapshots=list(self.snapshots),
            rounds=[each._copied() if each.number in touched else each for each in self.rounds],
            governance=list(self.governance),
        )
        for event in new:
            view._apply(event)
        return view

    @property
    def current(self) -> RoundView | None:
        """The round opened last."""
        return self.rounds[-1] if self.rounds else None

    @property
    def final_rounds(self) -> list[RoundView]:
        return [each for each in self.rounds if each.record is not None]

    @property
    def model(self) -> tuple[bytes, str, int]:
        """Root, CID and round of the latest finalized model; the genesis model is round 0."""
        if not self.final_rounds:
            return self.plan.genesis_model_root, self.genesis_cid, 0
        last = self.final_rounds[-1]
        final = last.proposals[-1]
        return final.proposal.new_model_root, final.model_cid, last.number

    def may_open(self, now: int) -> bool:
        """Whether sponsor and term let a round open at `now`, unix seconds."""
        return self.status is StudyStatus.OPEN and (self.open_until == 0 or now < self.open_until)

    def round(self, number: int) -> RoundView | None:
        # Numbered by opening from 1; only a log with gaps must be searched.
        if 1 <= number <= len(self.rounds) and self.rounds[number - 1].number == number:
            return self.rounds[number - 1]
        return next((each for each in self.rounds if each.number == number), None)

    def seat_of(self, institution: str) -> Seat | None:
        return next((seat for seat in self.seats.values() if seat.institution == institution), None)

    # replay

    @classmethod
    def _created(cls, event: ChainEvent) -> StudyView:
        args = event.args
        return cls(
            args["studyId"],
            Plan.from_abi(args["plan"]),
            Format.from_abi(args["format"]),
            event.bytes32("planHash"),
            args["sponsor"],
            args["planCid"],
            args["genesisCid"],
            event,
        )

    def _apply(self, event: ChainEvent) -> None:
        handler = _HANDLERS.get(event.name)
        if handler is not None:
            handler(self, event)

    def _joined(self, event: ChainEvent) -> None:
        args = event.args
        self.seats[args["index"]] = Seat(
            args["index"],
            args["institution"],
            args["nodeKey"],
            args["maxFine"],
            event.bytes32("agreement"),
            args["openUpdates"],
            event,
        )

    def _left(self, event: ChainEvent) -> None:
        index = event.args["index"]
        self.seats[index] = dataclass_replace(self.seats[index], left=event)

    def _removed(self, event: ChainEvent) -> None:
        self._left(event)
        self.governance.append(event)

    def _status_changed(self, event: ChainEvent) -> None:
        self.status = StudyStatus(event.args["status"])
        self.governance.append(event)

    def _extended(self, event: ChainEvent) -> None:
        self.open_until = event.args["openUntil"]
        self.governance.append(event)

    def _enlisted(self, event: ChainEvent) -> None:
        self.aggregators.append(event.args["institution"])

    def _delisted(self, event: ChainEvent) -> None:
        self.aggregators = [each for each in self.aggregators if each != event.args["institution"]]

    def _snapshotted(self, event: ChainEvent) -> None:
        args = event.args
        self.snapshots.append(
            Snapshot(
                args["round"],
                event.bytes32("snapshotHash"),
                tuple(args["institutions"]),
                tuple(args["nodeKeys"]),
                tuple(args["aggregators"]),
                event,
            )
        )

    def _opened(self, event: ChainEvent) -> None:
        args = event.args
        if not self.snapshots:
            raise LogMismatchError(
                f"Round {args['round']} opened without a roster snapshot.", hint="The node drops events."
            )
        snapshot = self.snapshots[-1]
        rules = Rules(
            self.plan.commit_window,
            self.plan.reveal_window,
            self.plan.certify_window,
            self.plan.propose_window,
            self.plan.challenge_window,
            self.plan.min_clients,
            args["quorum"],
            len(snapshot.aggregators),
        )
        number = args["round"]
        clock = Clock(Phase.COMMIT, event.time, position=number % len(snapshot.aggregators))
        self.rounds.append(
            RoundView(
                self.study_id,
                number,
                event.bytes32("ctx"),
                args["opener"],
                args["invited"],
                args["quorum"],
                event.bytes32("modelRoot"),
                event.bytes32("stateRoot"),
                event.bytes32("parentRecord"),
                event.bytes32("cohortHash"),
                args["modelCid"],
                snapshot,
                rules,
                event,
                clock,
            )
        )

    def _round_of(self, event: ChainEvent) -> RoundView:
        view = self.round(event.args["round"])
        if view is None:
            raise LogMismatchError(
                f"{event.name} names round {event.args['round']}, which no event opened.", hint="The node drops events."
            )
        return view

    def _committed(self, event: ChainEvent) -> None:
        view, args = self._round_of(event), event.args
        view._advance(event.time)
        view.commits[args["index"]] = Commit(
            args["index"], args["nodeKey"], event.bytes32("commitment"), args["weight"], event.bytes32("ext"), event
        )
        if view.committed == view.invited:
            view._enter(Phase.REVEAL, event.time)

    def _revealed(self, event: ChainEvent) -> None:
        view, args = self._round_of(event), event.args
        view._advance(event.time)
        view.reveals[args["index"]] = Opened(
            args["index"],
            args["nodeKey"],
            event.bytes32("root"),
            event.bytes32("salt"),
            args["weight"],
            event.bytes32("ext"),
            args["cid"],
            event,
        )
        if view.revealed == view.committed:
            view._enter(Phase.CERTIFY, event.time)

    def _attested(self, event: ChainEvent) -> None:
        self._round_of(event).attestations.append(event)

    def _certified(self, event: ChainEvent) -> None:
        view = self._round_of(event)
        view._advance(event.time)
        view.certified = event.args["certified"]
        view.certificates.append(event)
        if view.certified == view.revealed:
            view._enter(Phase.PROPOSE, event.time)

    def _proposed(self, event: ChainEvent) -> None:
        view, args = self._round_of(event), event.args
        view._advance(event.time)
        proposal = Proposal.from_abi(args["proposal"])
        view.proposals.append(
            ProposalView(proposal, event.bytes32("proposalHash"), args["modelCid"], args["meanCid"], event)
        )
        view._enter(Phase.CHALLENGE, event.time)

    def _proposal_of(self, view: RoundView, event: ChainEvent) -> ProposalView:
        for candidate in reversed(view.proposals):
            if candidate.hash == event.bytes32("proposalHash"):
                return candidate
        raise LogMismatchError(f"{event.name} names a proposal that no event announced.", hint="The node drops events.")

    def _endorsed(self, event: ChainEvent) -> None:
        self._proposal_of(self._round_of(event), event).endorsed |= 1 << event.args["index"]

    def _refuted_proposal(self, event: ChainEvent) -> None:
        view = self._round_of(event)
        proposal = self._proposal_of(view, event)
        proposal.status, proposal.ended = ProposalStatus.REFUTED, event
        excluded = view.clock.excluded | 1 << view.clock.position
        clock = dataclass_replace(view.clock, excluded=excluded, mark=event.time)
        view.clock = pass_on(clock, view.rules.order_size)

    def _lapsed(self, event: ChainEvent) -> None:
        view = self._round_of(event)
        # The clock first: a proposal that is no longer live would hide that its window ended.
        view._advance(event.time)
        proposal = self._proposal_of(view, event)
        proposal.status, proposal.ended = ProposalStatus.LAPSED, event

    def _missed(self, event: ChainEvent) -> None:
        self._round_of(event).missed.append(event)

    def _finalized(self, event: ChainEvent) -> None:
        view, args = self._round_of(event), event.args
        proposal = self._proposal_of(view, event)
        proposal.status, proposal.ended = ProposalStatus.FINAL, event
        view.outcome, view.record, view.finalized = Outcome.from_abi(args["outcome"]), event.bytes32("record"), event
        view._enter(Phase.FINAL, event.time)

    def _aborted(self, event: ChainEvent) -> None:
        view = self._round_of(event)
        view.aborted = event
        view._enter(Phase.ABORTED, event.time)

    def _disputed(self, event: ChainEvent) -> None:
        self._round_of(event).disputed = event

    def _refuted(self, event: ChainEvent) -> None:
        view = self.round(event.args["round"])
        if view is not None:
            view.refutations.append(event)

    def _skipped(self, event: ChainEvent) -> None:
        self._round_of(event).skipped.append(event)


_HANDLERS = {
    "MemberJoined": StudyView._joined,
    "MemberLeft": StudyView._left,
    "MemberRemoved": StudyView._removed,
    "StudyStatusChanged": StudyView._status_changed,
    "StudyExtended": StudyView._extended,
    "AggregatorEnlisted": StudyView._enlisted,
    "AggregatorDelisted": StudyView._delisted,
    "RosterSnapshotted": StudyView._snapshotted,
    "RoundOpened": StudyView._opened,
    "UpdateCommitted": StudyView._committed,
    "UpdateRevealed": StudyView._revealed,
    "UpdatesAttested": StudyView._attested,
    "UpdatesCertified": StudyView._certified,
    "AggregateProposed": StudyView._proposed,
    "ProposalEndorsed": StudyView._endorsed,
    "ProposalRefuted": StudyView._refuted_proposal,
    "ProposalLapsed": StudyView._lapsed,
    "DutyMissed": StudyView._missed,
    "RoundFinalized": StudyView._finalized,
    "RoundAborted": StudyView._aborted,
    "RecordDisputed": StudyView._disputed,
    "Refuted": StudyView._refuted,
    "ItemSkipped": StudyView._skipped,
}
