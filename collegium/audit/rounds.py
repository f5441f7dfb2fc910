"""One round after the other: who was invited, what the round's context is, when each act came, what the record says."""

from __future__ import annotations

from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus, RoundView, StudyView
from collegium.commitment import (
    compute_cohort_hash,
    compute_commitment,
    compute_ctx,
    compute_ext,
    compute_first_record,
    compute_outcome_hash,
    compute_proposal_hash,
    compute_record,
    compute_seal,
    compute_snapshot_hash,
)
from collegium.encoding import HEADER_BYTES
from collegium.errors import CollegiumError
from collegium.messages import REVEAL_BYTES, unpack_reveals
from collegium.phases import compute_quorum
from collegium.records import ZERO32, ZERO_ADDRESS, Member, Outcome, Phase, Proposal, Role, bits
from collegium.storage.cid import cid_from_digest, parse_cid

from .history import History
from .report import Findings, Tally
from .world import World

__all__ = ["Rounds"]

_PHASE_OF = {
    "UpdateCommitted": Phase.COMMIT,
    "UpdateRevealed": Phase.REVEAL,
    "UpdatesAttested": Phase.CERTIFY,
    "UpdatesCertified": Phase.CERTIFY,
    "AggregateProposed": Phase.PROPOSE,
    "ProposalEndorsed": Phase.CHALLENGE,
    "ProposalRefuted": Phase.CHALLENGE,
    "RoundFinalized": Phase.FINAL,
    "RoundAborted": Phase.ABORTED,
}
"""What a round must be in, by its own clock, when the event comes."""


class Rounds:
    """Checks `roster`, `context`, `reveals`, `phases` and `record`, event by event."""

    def __init__(self, history: History, findings: Findings) -> None:
        self._history = history
        self._findings = findings

    def see(self, event: ChainEvent, world: World) -> None:
        """`world` is as before the event."""
        study = world.study
        if study is None or event.study_id != world.study_id or event.contract != "Collegium":
            return
        if event.name == "RoundOpened":
            self._opened(event, world, study)
            return
        view = study.round(event.args["round"]) if "round" in event.args else None
        if view is None:
            return
        if event.name in _PHASE_OF or event.name in ("DutyMissed", "ProposalLapsed"):
            self._timed(event, study, view)
        if event.name == "UpdateRevealed":
            self._revealed(event, study, view)
        elif event.name == "AggregateProposed":
            self._proposed(event, world, view)
        elif event.name == "RoundFinalized":
            self._finalized(event, study, view)

    # Opening

    def _opened(self, event: ChainEvent, world: World, study: StudyView) -> None:
        number = event.args["round"]
        self._check_roster(self._findings.of("roster", number), event, world, study)
        tally = self._findings.of("context", number)
        root, cid, _ = study.model
        finals = study.final_rounds
        parent = finals[-1].record if finals else compute_first_record(study.plan_hash)
        tally.equal("the round's number", number, len(study.rounds) + 1)
        tally.equal("the base model's root", event.bytes32("modelRoot"), root)
        tally.equal("the base model's CID", event.args["modelCid"], cid)
        tally.equal("the parent record", event.bytes32("parentRecord"), parent)
        tally.equal("the state root", event.bytes32("stateRoot"), ZERO32)
        snapshot = study.snapshots[-1].hash if study.snapshots else ZERO32
        cohort = compute_cohort_hash(snapshot, event.args["invited"])
        tally.equal("cohortHash", event.bytes32("cohortHash"), cohort)
        ctx = compute_ctx(
            chain_id=self._history.chain.chain_id,
            collegium=self._history.chain.address_of("Collegium"),
            study_id=world.study_id,
            plan_hash=study.plan_hash,
            round=number,
            parent_record=parent or ZERO32,
            model_root=root,
            state_root=ZERO32,
            cohort_hash=cohort,
        )
        if tally.equal("ctx", event.bytes32("ctx"), ctx):
            tally.passed = 1
        previous = study.current
        phases = self._findings.of("phases", number)
        ended = previous is None or previous.is_over
        phases.require(ended, f"round {number} opened before round {number - 1} was recorded or aborted")
        self._check_opener(phases, event, world, study)
        open_now = study.may_open(event.time)
        words = f"the study was {study.status.name.lower()}, its term ends {study.open_until or 'never'}"
        phases.require(open_now, f"round {number} opened while {words}")
        if previous is not None and previous.aborted is not None:
            _check_duties(self._findings.of("phases", previous.number), previous)

    def _check_opener(self, tally: Tally, event: ChainEvent, world: World, study: StudyView) -> None:
        """A member, an aggregator or the sponsor; institution or node key."""
        opener, institutions = event.args["opener"], set(study.aggregators)
        institutions |= {seat.institution for seat in study.seats.values() if seat.left is None}
        owner = world.identities.institution_of(opener)
        allowed = opener == study.sponsor or opener in institutions or owner in institutions
        tally.require(allowed, f"round {event.args['round']} was opened by {opener}, who may not")
        if self._history.call(event) is not None:
            tally.equal("the sender that opened", self._history.transaction(event).sender, opener)

    def _check_roster(self, tally: Tally, event: ChainEvent, world: World, study: StudyView) -> None:
        """The snapshot must be what Members and Bonds say at this moment, whenever it was taken."""
        if not tally.require(bool(study.snapshots), "the round has no roster snapshot"):
            return
        for seat in study.seats.values():
            gone = seat.removed and seat.institution in study.snapshots[-1].institutions
            tally.require(not gone, f"{seat.institution} is in the roster after the council removed it")
        snapshot, plan = study.snapshots[-1], study.plan
        if snapshot.event.transaction == event.transaction and snapshot.round != event.args["round"]:
            tally.fail(f"the snapshot names round {snapshot.round}")
        needed = max(plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine)
        members, invited = [], []
        for index in sorted(study.seats):
            institution = study.seats[index].institution
            key = ZERO_ADDRESS if world.is_leaving(index) else world.identities.usable_key(institution)
            if key == ZERO_ADDRESS:
                members.append(Member(ZERO_ADDRESS, ZERO_ADDRESS, kind=0))
                continue
            members.append(Member(institution, key))
            if world.ledger.lock(study.study_id, institution, Role.MEMBER) >= needed:
                invited.append(index)
        shown = list(zip(snapshot.institutions, snapshot.node_keys, strict=False))
        tally.equal("the roster", shown, [(each.institution, each.node_key) for each in members])
        tally.equal("snapshotHash", snapshot.hash, compute_snapshot_hash(members))
        tally.equal("the invited seats", bits(event.args["invited"]), invited)
        active = sum(member.kind for member in members)
        quorum = compute_quorum(plan.quorum_min, active)
        tally.equal("the quorum", event.args["quorum"], quorum)
        tally.require(active >= quorum, f"{active} members cannot reach the quorum of {quorum}")
        enough = len(invited) >= plan.min_clients
        tally.require(enough, f"{len(invited)} are invited, the plan needs {plan.min_clients}")
        order = [
            world.identities.usable_key(institution)
            for institution in study.aggregators
            if world.ledger.lock(study.study_id, institution, Role.AGGREGATOR) >= plan.aggregator_bond
        ]
        usable = [key for key in order if key != ZERO_ADDRESS]
        tally.equal("the order of aggregators", list(snapshot.aggregators), usable)

    # Time

    def _timed(self, event: ChainEvent, study: StudyView, view: RoundView) -> None:
        tally = self._findings.of("phases", view.number)
        clock = view.clock_at(event.time)
        what = f"{event.name} at {event.time} in {event.transaction}"
        if view.is_over:
            tally.fail(f"{what} came after the round had ended")
        elif event.name == "DutyMissed":
            duties = {view.snapshot.aggregators[position] for position in bits(clock.failed_duties)}
            late = event.args["attempt"] < clock.attempt
            tally.require(late and event.args["aggregator"] in duties, f"{what}: no duty had passed")
        elif event.name == "ProposalLapsed":
            last = view.proposals[-1] if view.proposals else None
            lapsed = last is not None and last.status is ProposalStatus.LIVE and clock.attempt > last.proposal.attempt
            known = last is not None and last.hash == event.bytes32("proposalHash")
            tally.require(lapsed and known and clock.phase is not Phase.FINAL, f"{what}: its window had not passed")
        else:
            expected = _PHASE_OF[event.name]
            tally.require(clock.phase is expected, f"{what}: the round was in {clock.phase.name}, not {expected.name}")
        if event.name == "AggregateProposed":
            self._check_proposer(tally, event, view)
        elif event.name in ("ProposalRefuted", "ProposalLapsed") and view.proposals:
            tally.equal(f"whose {event.name}", event.args["aggregator"], view.proposals[-1].proposal.aggregator)

    def _check_proposer(self, tally: Tally, event: ChainEvent, view: RoundView) -> None:
        aggregator = event.args["aggregator"]
        tally.equal("who proposed", aggregator, view.on_duty(event.time))
        if self._history.call(event) is None:
            tally.warn(f"the proposal in {event.transaction}: another contract called, its sender is not checkable")
        else:
            tally.equal("the sender of the proposal", self._history.transaction(event).sender, aggregator)

    # Content

    def _revealed(self, event: ChainEvent, study: StudyView, view: RoundView) -> None:
        tally, args = self._findings.of("reveals", view.number), event.args
        index = args["index"]
        commit = view.commits.get(index)
        if commit is None:
            tally.fail(f"seat {index} revealed and never committed")
            return
        if index in view.reveals:
            tally.fail(f"seat {index} revealed twice")
        try:
            cid = parse_cid(args["cid"])
        except CollegiumError as error:
            tally.fail(f"seat {index} revealed no CID: {error.message}")
            return
        # The codec follows from the length, so the digest alone names the blob.
        length = HEADER_BYTES + study.format.payload_bytes
        fits = args["cid"] == cid_from_digest(cid.digest, length).text
        seal = compute_seal(event.bytes32("salt"), cid.digest)
        bound = compute_commitment(view.ctx, index, event.bytes32("root"), seal)
        same = (bound, args["weight"], event.bytes32("ext")) == (commit.commitment, commit.weight, commit.ext)
        if not fits:
            tally.fail(f"seat {index}: the codec of {args['cid']} does not follow from a blob of {length} bytes")
        elif args["nodeKey"] != view.snapshot.node_keys[index]:
            tally.fail(f"seat {index}: the reveal names key {args['nodeKey']}")
        elif tally.require(same, f"seat {index}: what was revealed does not open its commitment"):
            self._check_ext(tally, event, index)

    def _check_ext(self, tally: Tally, event: ChainEvent, index: int) -> None:
        """The preimage of ext is in calldata only."""
        call = self._history.call(event)
        if call is None or call.function != "revealUpdates":
            tally.warn(f"seat {index}: the preimage of its ext came through another contract")
            return
        items = bytes(call.arguments["items"])
        for at in range(0, len(items) - REVEAL_BYTES + 1, REVEAL_BYTES):
            if int.from_bytes(items[at : at + 2], "big") != index:
                continue
            (reveal,) = unpack_reveals(items[at : at + REVEAL_BYTES])
            if compute_ext(reveal.ext_fields) == event.bytes32("ext"):
                return
        tally.fail(f"seat {index}: no item in {event.transaction} is the preimage of its ext")

    def _proposed(self, event: ChainEvent, world: World, view: RoundView) -> None:
        tally = self._findings.of("record", view.number)
        proposal, included = Proposal.from_abi(event.args["proposal"]), view.certified & view.revealed
        length = HEADER_BYTES + (world.study.format.payload_bytes if world.study else 0)
        attempt = view.clock_at(event.time).attempt
        facts = {
            "ctx": (proposal.ctx, view.ctx),
            "aggregator": (proposal.aggregator, event.args["aggregator"]),
            "attempt": (proposal.attempt, attempt),
            "included": (bits(proposal.included), bits(included)),
            "setHash": (proposal.set_hash, view.set_hash(included)),
            "weightSum": (proposal.weight_sum, view.weight_sum(included)),
            "dropouts": (proposal.dropouts, 0),
            "newStateRoot": (proposal.new_state_root, ZERO32),
            "seedsHash": (proposal.seeds_hash, ZERO32),
            "ext": (proposal.ext, ZERO32),
            "hash": (event.bytes32("proposalHash"), compute_proposal_hash(proposal)),
            "modelCid": (event.args["modelCid"], cid_from_digest(proposal.model_digest, length).text),
            "meanCid": (event.args["meanCid"], cid_from_digest(proposal.mean_digest, length).text),
        }
        for name, (actual, expected) in facts.items():
            if actual != expected:
                tally.equal(f"{name} of proposal {attempt}", actual, expected)

    def _finalized(self, event: ChainEvent, study: StudyView, view: RoundView) -> None:
        _check_duties(self._findings.of("phases", view.number), view, event.time)
        tally, live = self._findings.of("record", view.number), view.live
        if live is None:
            tally.fail("the round was recorded without a live proposal")
            return
        failed = [each for each in view.proposals if each.status in (ProposalStatus.REFUTED, ProposalStatus.LAPSED)]
        expected = Outcome(
            view.committed,
            view.revealed,
            view.certified,
            tuple(each.hash for each in failed),
            view.clock_at(event.time).failed_duties,
            event.time,
        )
        outcome = Outcome.from_abi(event.args["outcome"])
        proposal_hash = event.bytes32("proposalHash")
        if outcome != expected:
            tally.equal_fields("the outcome told is not that of the events", outcome, expected)
        if proposal_hash != live.hash:
            tally.equal("the final proposal", proposal_hash, live.hash)
        if event.bytes32("newModelRoot") != live.proposal.new_model_root or event.args["modelCid"] != live.model_cid:
            tally.fail("the final model is not that of the final proposal")
        finals = study.final_rounds
        parent = (finals[-1].record if finals else None) or compute_first_record(study.plan_hash)
        record = compute_record(parent, live.hash, compute_outcome_hash(expected))
        tally.equal("the record", event.bytes32("record"), record)


def _check_duties(tally: Tally, view: RoundView, now: int | None = None) -> None:
    """Every duty that time says was missed was told, and no other."""
    clock = view.clock if now is None else view.clock_at(now)
    due = {view.snapshot.aggregators[position] for position in bits(clock.failed_duties)}
    told = {event.args["aggregator"] for event in view.missed}
    if told != due:
        tally.fail(f"missed duties are told of {sorted(told)}, time gives {sorted(due)}")
