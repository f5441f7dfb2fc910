"""Refutations prove their fault anew from calldata; each fine has a cause, the right price and the right split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_hash.auto import keccak

from collegium.amounts import format_tokens as tokens
from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus, RoundView, StudyView
from collegium.commitment import compute_proposal_hash
from collegium.errors import CollegiumError
from collegium.evidence import Verdict, judge_equivocation, judge_mean, judge_range, judge_step, judge_tail
from collegium.records import ZERO_ADDRESS, Kind, Phase, Proposal, RecordProof, Role, bits

from .history import History
from .report import Findings, Tally
from .world import World, compute_fine_key, describe_split, split_fine

__all__ = ["Faults"]

_AGGREGATE = (Kind.MEAN, Kind.STEP, Kind.TAIL)
_SETTLED = (Kind.UNREVEALED, Kind.DUTY)


class Faults:
    """Checks `refutations` and `fines`, event by event; `finish` when all are seen."""

    def __init__(self, history: History, findings: Findings) -> None:
        self._history = history
        self._findings = findings
        self._open: dict[tuple[str, str, int, str], tuple[ChainEvent, int]] = {}
        self._announcements: dict[str, int] = {}
        bonds = history.chain.deployment.contracts["Bonds"].arguments
        self._hold = int(bonds[2]) if len(bonds) == 3 else None

    def see(self, event: ChainEvent, world: World) -> None:
        """`world` is as before the event."""
        if event.name == "EvidenceAnnounced":
            self._announced(event)
        study = world.study
        if study is None or event.study_id != world.study_id:
            return
        if event.name == "Fined":
            self._fined(event, world, study)
        elif event.name == "Refuted":
            self._refuted(event, world, study)
        elif event.name == "RoundOpened" and study.current is not None:
            self._settled(study.current, world, study)
        elif event.name == "RecordDisputed":
            self._findings.of("refutations", event.args["round"]).note("the record is disputed")

    def finish(self) -> None:
        """Fines for a proven fault that no refutation claims."""
        for event, _ in self._open.values():
            self._tally("fines", event).fail(f"{_who(event)} was fined for {_kind(event).name} without a refutation")

    def _announced(self, event: ChainEvent) -> None:
        args, tally = event.args, self._findings.of("events")
        call = self._history.call(event)
        if call is not None and (
            bytes(call.arguments["digest"]) != event.bytes32("digest")
            or self._history.transaction(event).sender != args["sender"]
        ):
            tally.fail(f"the announcement in {event.transaction} is not what its calldata says")
        if args["atBlock"] != event.block:
            tally.fail(f"the announcement in block {event.block} names block {args['atBlock']}")
        self._announcements[args["digest"]] = event.block

    def _tally(self, name: str, event: ChainEvent, study: StudyView | None = None) -> Tally:
        view = _by_ctx(study, event.args["ctx"]) if study else None
        return self._findings.of(name, view.number if view else None)

    # Fines

    def _fined(self, event: ChainEvent, world: World, study: StudyView) -> None:
        args, kind, plan = event.args, _kind(event), study.plan
        tally, who = self._tally("fines", event, study), f"{_who(event)} for {_kind(event).name}"
        key = compute_fine_key(event.bytes32("ctx"), args["institution"], kind)
        price, role = {
            Kind.UNREVEALED: (plan.unrevealed_fine, Role.MEMBER),
            Kind.DUTY: (plan.duty_fine, Role.AGGREGATOR),
            Kind.RANGE: (plan.range_fine, Role.MEMBER),
            Kind.EQUIVOCATION: (plan.equivocation_fine, Role.MEMBER),
            Kind.CONTRADICTION: (plan.contradiction_fine, Role.AGGREGATOR),
        }.get(kind, (plan.aggregator_bond, Role.AGGREGATOR))
        amount = min(price, world.ledger.lock(study.study_id, args["institution"], role))
        reward, share, burned = split_fine(args["amount"], challenger=args["challenger"], eligible=args["eligible"])
        split = (args["challengerReward"], args["sharePerClient"], args["burned"])
        fair = (
            (event.bytes32("key") == key, f"{who} has key {args['key']}"),
            (Role(args["role"]) is role, f"{who} was taken from the wrong lock"),
            (
                args["amount"] == amount,
                f"{who} cost {tokens(args['amount'])} tokens, the plan and the lock give {tokens(amount)}",
            ),
            (
                split == (reward, share, burned),
                f"{who} is split {describe_split(*split)}; the rule gives {describe_split(reward, share, burned)}",
            ),
        )
        wrong = [problem for holds, problem in fair if not holds]
        for problem in wrong:
            tally.fail(problem)
        if kind in _SETTLED:
            self._require_cause(tally, event, world, study, who)
        else:
            self._open[event.transaction, args["institution"], int(kind), args["ctx"]] = (event, args["eligible"])
        if not wrong:
            tally.passes()

    def _require_cause(self, tally: Tally, event: ChainEvent, world: World, study: StudyView, who: str) -> None:
        """Missed duties and reveals follow from the round itself."""
        view = _by_ctx(study, event.args["ctx"])
        if view is None or not view.is_over:
            tally.fail(f"{who} belongs to no round that ended")
            return
        institution = event.args["institution"]
        expected = dict(_expected_fines(view, world, study))
        if (institution, _kind(event)) not in expected:
            tally.fail(f"{who}: nothing in round {view.number} gives a cause")
        if event.args["challenger"] != ZERO_ADDRESS:
            tally.fail(f"{who} pays a challenger, and nobody challenges it")
        eligible = view.certified if view.record is not None else 0
        self._check_eligible(tally, event, study, eligible, who)

    def _check_eligible(self, tally: Tally, event: ChainEvent, study: StudyView, eligible: int, who: str) -> None:
        seat = study.seat_of(event.args["institution"])
        if seat is not None:
            eligible &= ~(1 << seat.index)
        _, share, _ = split_fine(event.args["amount"], challenger=ZERO_ADDRESS, eligible=eligible)
        expected = eligible if share else 0
        if event.args["eligible"] != expected:
            tally.equal(f"who shares in {who}: seats", bits(event.args["eligible"]), bits(expected))

    def _settled(self, view: RoundView, world: World, study: StudyView) -> None:
        """Opening settles the fines of the last round."""
        tally = self._findings.of("fines", view.number)
        for (institution, kind), price in _expected_fines(view, world, study):
            key = "0x" + compute_fine_key(view.ctx, institution, kind).hex()
            if price and key not in world.ledger.fines:
                tally.fail(f"{institution} was never fined for {kind.name}")

    # Refutations

    def _refuted(self, event: ChainEvent, world: World, study: StudyView) -> None:
        args, kind = event.args, _kind(event)
        view = study.round(args["round"])
        tally = self._findings.of("refutations", args["round"])
        fines = self._tally("fines", event, study)
        who = f"{args['accused']} for {kind.name}"
        fined = self._open.pop((event.transaction, args["accused"], int(kind), args["ctx"]), None)
        if fined is None:
            fines.fail(f"{who} was refuted and not fined in the same transaction")
        elif fined[0].args["amount"] != args["fine"] or fined[0].args["challenger"] != args["challenger"]:
            fines.fail(f"{who}: fine and refutation name different sums or challengers")
        call = self._history.call(event)
        if call is None or call.contract != "Refutations":
            tally.warn(f"{who} in {event.transaction} came through another contract: its evidence is not checkable")
            return
        try:
            eligible = self._judge(tally, event, call.arguments, study, view, world, who)
        except CollegiumError as error:
            tally.fail(f"{who}: the evidence in {event.transaction} proves nothing: {error.message}")
            return
        if args["recorded"] != (call.function in ("dispute", "refuteContradiction")):
            tally.fail(f"{who}: the event says recorded = {args['recorded']}, the call is {call.function}")
        if fined is not None:
            self._check_eligible(fines, fined[0], study, eligible, who)
            self._check_reward(fines, event, fined[0], call.arguments, who)

    def _check_reward(
        self, tally: Tally, event: ChainEvent, fined: ChainEvent, given: Mapping[str, Any], who: str
    ) -> None:
        """Credited at once when it was announced a block ahead, else held for an earlier announcer."""
        if not fined.args["challengerReward"]:
            return
        failed = given.get("failedProposal")
        evidence = Proposal.from_abi(failed).words() if failed is not None else bytes(given["evidence"])
        digest, salt = bytes(keccak(evidence)), bytes(given["salt"])
        sender = bytes(12) + bytes.fromhex(event.args["challenger"][2:])
        announced = self._announcements.get("0x" + keccak(sender + digest + salt).hex(), event.block) < event.block
        held = [
            each.args
            for each in self._history.events_of(event.transaction)
            if each.name == "RewardHeld" and each.args["key"] == fined.args["key"]
        ]
        if bool(held) == announced:
            tally.fail(f"{who}: the reward was {'held' if held else 'paid at once'}, against what was announced")
        for each in held:
            late = self._hold is not None and each["claimableAt"] != event.time + self._hold
            if late or each["evidenceHash"] != "0x" + digest.hex() or each["challenger"] != event.args["challenger"]:
                tally.fail(f"{who}: the reward is held for other evidence, another challenger or another time")

    def _judge(
        self,
        tally: Tally,
        event: ChainEvent,
        given: Mapping[str, Any],
        study: StudyView,
        view: RoundView | None,
        world: World,
        who: str,
    ) -> int:
        """Open the evidence again. Returns the seats that share the fine, the accused still among them."""
        kind, args = _kind(event), event.args
        domain = self._history.chain.domain()
        if kind in (Kind.RANGE, Kind.EQUIVOCATION):
            evidence = bytes(given["evidence"])
            if kind is Kind.RANGE:
                verdict = judge_range(study.study_id, domain, study.format, evidence)
                self._same(tally, event, verdict, who, right=False)
            else:
                verdict = judge_equivocation(study.study_id, domain, evidence)
                self._same(tally, event, Verdict(), who, right=True)
            owner = world.identities.institution_of(verdict.signer)
            if owner != args["accused"] or verdict.ctx != event.bytes32("ctx"):
                tally.fail(f"{who}: the evidence is against {verdict.signer}")
            current = study.current
            return current.certified if current is not None and current.ctx == verdict.ctx else 0
        if view is None:
            tally.fail(f"{who} names round {args['round']}, which never opened")
            return 0
        if kind is Kind.CONTRADICTION:
            final, failed = Proposal.from_abi(given["finalProposal"]), Proposal.from_abi(given["failedProposal"])
            failures = (ProposalStatus.REFUTED, ProposalStatus.LAPSED)
            known = [each.hash for each in view.proposals if each.status in failures]
            same = (final.mean_root, final.new_model_root) == (failed.mean_root, failed.new_model_root)
            recorded = view.live is not None and view.live.hash == compute_proposal_hash(final)
            tally.require(
                recorded and compute_proposal_hash(failed) in known and not same,
                f"{who}: the failed proposal does not contradict the final one",
            )
            self._require_accused(tally, failed, args["accused"], world, who)
            self._same(tally, event, Verdict(), who, right=True)
            return final.included
        proposal, evidence = Proposal.from_abi(given["proposal"]), bytes(given["evidence"])
        known = [each.hash for each in view.proposals]
        if compute_proposal_hash(proposal) not in known:
            tally.fail(f"{who}: the evidence is against no proposal of the round")
        self._require_accused(tally, proposal, args["accused"], world, who)
        if kind is Kind.MEAN:
            verdict = judge_mean(study.format, proposal, evidence)
        elif kind is Kind.STEP:
            base = RecordProof.from_abi(given["proof"]).model_root if "proof" in given else view.model_root
            if base != view.model_root:
                tally.fail(f"{who}: the evidence starts from another base model")
            verdict = judge_step(study.plan, study.format, base, proposal, evidence)
        else:
            verdict = judge_tail(study.format, proposal, evidence)
        self._same(tally, event, verdict, who, right=kind is not Kind.TAIL, claimed=kind is not Kind.TAIL)
        return proposal.included

    @staticmethod
    def _same(
        tally: Tally, event: ChainEvent, verdict: Verdict, who: str, *, right: bool, claimed: bool = True
    ) -> None:
        args = event.args
        same = args["coordinate"] == verdict.coordinate
        same = same and (not claimed or args["claimed"] == verdict.claimed)
        same = same and (not right or args["right"] == verdict.right)
        said = f"coordinate {args['coordinate']}, claimed {args['claimed']}, right {args['right']}"
        found = f"coordinate {verdict.coordinate}, claimed {verdict.claimed}, right {verdict.right}"
        tally.require(same, f"{who}: the event says {said}; the evidence shows {found}")

    @staticmethod
    def _require_accused(tally: Tally, proposal: Proposal, accused: str, world: World, who: str) -> None:
        if world.identities.institution_of(proposal.aggregator) != accused:
            tally.fail(f"{who}: the proposal is by {proposal.aggregator}, who speaks for another")


def _expected_fines(view: RoundView, world: World, study: StudyView) -> list[tuple[tuple[str, Kind], int]]:
    """Institution and kind of every fine that the round itself gives, with its price."""
    aborted_in_commit = view.aborted is not None and Phase(view.aborted.args["phase"]) is Phase.COMMIT
    if aborted_in_commit:
        return []
    unrevealed = bits(view.committed & ~view.revealed)
    duties = bits(view.clock.failed_duties)
    return [((study.seats[index].institution, Kind.UNREVEALED), study.plan.unrevealed_fine) for index in unrevealed] + [
        ((world.identities.institution_of(view.snapshot.aggregators[position]), Kind.DUTY), study.plan.duty_fine)
        for position in duties
    ]


def _by_ctx(study: StudyView | None, ctx: str) -> RoundView | None:
    return next((each for each in study.rounds if "0x" + each.ctx.hex() == ctx), None) if study else None


def _kind(event: ChainEvent) -> Kind:
    return Kind(event.args["kind"])


def _who(event: ChainEvent) -> str:
    return str(event.args["institution"])
