"""A watcher: recomputes every proposal from certified bytes and proves what is wrong on chain.

It trusts nobody and needs no permission, only a funded key. What it proves: a wrong coordinate of a mean or a model
and bytes beyond their payload (R1, R1s, R1z), updates out of range (R4), two updates of one seat (R8), and, once a
round is final, earlier proposals with other roots (R11) and wrong records (disputes).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.chain import Chain, Indexer, Outbox, RoundView, StudyView
from collegium.chain.calldata import Calldata
from collegium.chain.following import ChainTime, StudyFollower
from collegium.chain.views import ProposalStatus, ProposalView
from collegium.commitment import compute_seal
from collegium.errors import (
    BlobNotFoundError,
    ChainUnreachableError,
    CollegiumError,
    EvidenceError,
    RootMismatchError,
)
from collegium.inputs import BlobSource
from collegium.records import ZERO32, Kind, Phase, Proposal, RecordProof, Signed, Update
from collegium.storage import parse_cid
from collegium.tree import Buffer
from collegium.verification import build_equivocation_evidence, find_refutation, refute_update

from .checking import RoundChecker
from .refuting import Case, Refuter

__all__ = ["Watcher", "WatcherParts"]

Report = Callable[..., None]


@dataclass(frozen=True)
class WatcherParts:
    """What a watcher is built from. cases: folder where its refutations are noted. announce: one block ahead."""

    chain: Chain
    indexer: Indexer
    outbox: Outbox
    source: BlobSource
    cases: Path
    report: Report
    announce: bool = True
    poll_interval: float = 0.25


@dataclass
class _Seen:
    """What was checked in one round by this process."""

    proposals: set[bytes] = field(default_factory=set)
    updates: set[int] = field(default_factory=set)
    commits: int = 0
    told: set[str] = field(default_factory=set)


class Watcher:
    """Watches one study."""

    def __init__(self, parts: WatcherParts, study_id: int) -> None:
        self._parts, self._study_id, self._report = parts, study_id, parts.report
        self._time = ChainTime()
        self._follower = StudyFollower(parts.indexer, study_id, self._time)
        self._refuter = Refuter(parts.chain, parts.outbox, parts.cases, parts.report, announce=parts.announce)
        self._checker: RoundChecker | None = None
        self._seen: dict[int, _Seen] = {}
        self._calldata = Calldata(parts.chain)

    @property
    def follower(self) -> StudyFollower:
        """What is known of the chain, and since when."""
        return self._follower

    def run(self, *, until: int | None = None, stop: threading.Event | None = None) -> list[Case]:
        """Watch until the study has `until` final rounds and all were checked (None: for ever), or `stop` is set."""
        stop = stop or threading.Event()
        resumed = unreachable = False
        while not stop.is_set():
            try:
                if not resumed:
                    self._refuter.resume()
                    resumed = True
                view = self._follower.refresh()
                self.step(view)
                unreachable = False
                if until is not None and len(view.final_rounds) >= until and self._all_checked(view):
                    break
            except ChainUnreachableError as error:
                if not unreachable:
                    self._report("chain_unreachable", reason=error.message)
                unreachable = True
            stop.wait(self._parts.poll_interval)
        return self._refuter.cases()

    def step(self, view: StudyView) -> None:
        """Look at every round whose faults can still be paid for."""
        now = self._time.now()
        watched = [each for each in view.rounds if each is view.current or self._is_payable(view, each, now)]
        for round in watched:
            self._watch_round(view, round, now)
        # What nobody pays for any more need not be remembered.
        numbers = {each.number for each in watched}
        self._seen = {number: seen for number, seen in self._seen.items() if number in numbers}

    def _is_payable(self, view: StudyView, round: RoundView, now: int) -> bool:
        return round.outcome is not None and now < round.outcome.finalized_at + view.plan.evidence_period

    def _all_checked(self, view: StudyView) -> bool:
        return all(
            round.proposals[-1].hash in self._seen.get(round.number, _Seen()).proposals
            for round in view.final_rounds
            if self._is_payable(view, round, self._time.now())
        )

    def _watch_round(self, view: StudyView, round: RoundView, now: int) -> None:
        seen = self._seen.setdefault(round.number, _Seen())
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._watch_proposals(view, round, seen, now),
            lambda: self._watch_updates(round, seen),
            lambda: self._watch_signatures(round, seen),
        )
        for step in steps:
            try:
                step()
            except ChainUnreachableError:
                raise
            except CollegiumError as error:
                if error.code not in seen.told:
                    seen.told.add(error.code)
                    self._report("cannot_check", round=round.number, code=error.code, reason=error.message)

    # -- proposals --------------------------------------------------------------------------------------------

    def _watch_proposals(self, view: StudyView, round: RoundView, seen: _Seen, now: int) -> None:
        live = round.live
        if live is not None and round.record is None and round.phase_at(now) is Phase.CHALLENGE:
            self.watch_proposal(view, round)
        if round.record is None or not round.proposals:
            return
        final = round.proposals[-1]
        if final.hash not in seen.proposals:
            refutation = self._find(view, round, final)
            if refutation is not None:
                self._refuter.prove(self._dispute(round, final, refutation))
            seen.proposals.add(final.hash)
        for failed in round.proposals[:-1]:
            if failed.hash not in seen.proposals or f"R11:{failed.hash.hex()}" not in seen.told:
                self._watch_contradiction(round, final, failed)
                seen.proposals.add(failed.hash)
                seen.told.add(f"R11:{failed.hash.hex()}")

    def watch_proposal(self, view: StudyView, round: RoundView) -> None:
        """Recompute the live proposal and refute it when a coordinate is wrong."""
        seen = self._seen.setdefault(round.number, _Seen())
        live = round.live
        if live is None or live.hash in seen.proposals:
            return
        try:
            refutation = self._find(view, round, live)
        except RootMismatchError as error:
            # No bytes lead to the proposed root: nothing to open. It pays by R11 once the round is final.
            if f"withheld:{live.hash.hex()}" not in seen.told:
                seen.told.add(f"withheld:{live.hash.hex()}")
                self._report("withheld", round=round.number, proposal=live.hash, reason=error.message)
            return
        if refutation is None:
            seen.proposals.add(live.hash)
            self._report("checked", round=round.number, proposal=live.hash, aggregator=live.proposal.aggregator)
            return
        case = Case.make(
            kind=refutation.kind,
            study_id=self._study_id,
            round=round.number,
            accused=live.proposal.aggregator,
            ctx=round.ctx,
            evidence=refutation.evidence,
            proposal=live.proposal,
            coordinate=refutation.coordinate,
            claimed=refutation.claimed,
            right=refutation.right,
        )
        if f"wrong:{live.hash.hex()}" not in seen.told:
            seen.told.add(f"wrong:{live.hash.hex()}")
            self._report("wrong_coordinate", **case.explain(view.format))
        left = round.deadline_at(self._time.now()) - self._time.now()
        self._refuter.prove(case, seconds_left=left, window=view.plan.challenge_window)
        # Only now: a proof that could not be sent is tried again at the next look.
        seen.proposals.add(live.hash)

    def _find(self, view: StudyView, round: RoundView, found: ProposalView) -> Any:
        """Evidence against a proposal, None for an honest one. Raises `RootMismatchError` for withheld bytes."""
        proposal = found.proposal
        if self._checker is None:
            self._checker = RoundChecker(self._parts.source, view)
        checked = self._checker.recompute(round, proposal.included)
        mean: Buffer | None = None
        model: Buffer | None = None
        if proposal.mean_root != checked.result.mean_tree.root:
            mean = self._claimed("mean", found.mean_cid, proposal.mean_root, round.ctx)
        if proposal.new_model_root != checked.result.model_tree.root:
            model = self._claimed("model", found.model_cid, proposal.new_model_root, round.ctx)
        return find_refutation(
            proposal=proposal,
            fmt=view.format,
            updates=checked.updates,
            base_model=checked.base.elements,
            honest=checked.result,
            claimed_mean=mean,
            claimed_model=model,
            threads=self._parts.source.threads,
        )

    def _claimed(self, kind: str, cid: str, root: bytes, ctx: bytes) -> Buffer | None:
        try:
            fetch = getattr(self._parts.source, kind)
            elements: Buffer = fetch(parse_cid(cid), root=root, ctx=ctx).elements
        except BlobNotFoundError:
            return None
        except CollegiumError as error:
            self._report("bad_blob", cid=cid, code=error.code, reason=error.message)
            return None
        return elements

    def _dispute(self, round: RoundView, final: ProposalView, refutation: Any) -> Case:
        return Case.make(
            kind=refutation.kind,
            study_id=self._study_id,
            round=round.number,
            accused=final.proposal.aggregator,
            ctx=round.ctx,
            evidence=refutation.evidence,
            proposal=final.proposal,
            proof=_proof_of(round),
            coordinate=refutation.coordinate,
            claimed=refutation.claimed,
            right=refutation.right,
        )

    def _watch_contradiction(self, round: RoundView, final: ProposalView, failed: ProposalView) -> None:
        """R11: other roots than the final ones pay, unless the proposal was refuted and has paid already."""
        if failed.status is ProposalStatus.REFUTED:
            return
        if round.outcome is None or failed.hash not in round.outcome.failed_proposals:
            return
        if _roots(failed.proposal) == _roots(final.proposal):
            return
        self._refuter.prove(
            Case.make(
                kind=Kind.CONTRADICTION,
                study_id=self._study_id,
                round=round.number,
                accused=failed.proposal.aggregator,
                ctx=round.ctx,
                evidence=failed.proposal.words(),
                proposal=final.proposal,
                proof=_proof_of(round),
                failed=failed.proposal,
            )
        )

    # -- updates ----------------------------------------------------------------------------------------------

    def _watch_updates(self, round: RoundView, seen: _Seen) -> None:
        """R4: every revealed update is read; one that is out of range pays, also when it was not certified."""
        for index, reveal in round.reveals.items():
            if index in seen.updates:
                continue
            try:
                blob = self._parts.source.update(
                    parse_cid(reveal.cid), ctx=round.ctx, index=index, salt=reveal.salt, root=reveal.root
                )
            except BlobNotFoundError:
                continue
            except CollegiumError as error:
                seen.updates.add(index)
                self._report("bad_update", round=round.number, seat=index, code=error.code, reason=error.message)
                continue
            signed = self._signed_update(round, index)
            if signed is None:
                continue
            seal = compute_seal(reveal.salt, parse_cid(reveal.cid).digest)
            refutation = refute_update(signed, seal, blob.elements, self._parts.source.format)
            if refutation is not None:
                case = Case.make(
                    kind=Kind.RANGE,
                    study_id=self._study_id,
                    round=round.number,
                    accused=reveal.node_key,
                    ctx=round.ctx,
                    evidence=refutation.evidence,
                    coordinate=refutation.coordinate,
                    claimed=refutation.claimed,
                )
                self._refuter.prove(case)
            seen.updates.add(index)

    def _signed_update(self, round: RoundView, index: int) -> Signed[Update] | None:
        """The committed update with its signature, from the transaction that carried it."""
        commit = round.commits.get(index)
        if commit is None:
            return None
        for signed in self._calldata.updates(round, commit.event.transaction):
            if signed.message.index == index and signed.message.commitment == commit.commitment:
                return signed
        return None

    def _watch_signatures(self, round: RoundView, seen: _Seen) -> None:
        """R8: two different updates of one seat, one of them perhaps skipped by the contract, both in calldata."""
        carried = [commit.event.transaction for commit in round.commits.values()]
        carried += [event.transaction for event in round.skipped]
        if len(carried) == seen.commits:
            return
        known: dict[int, Signed[Update]] = {}
        for transaction in dict.fromkeys(carried):
            for signed in self._calldata.updates(round, transaction):
                update = signed.message
                first = known.setdefault(update.index, signed)
                same = (first.message.commitment, first.message.weight, first.message.ext)
                if same == (update.commitment, update.weight, update.ext):
                    continue
                case = Case.make(
                    kind=Kind.EQUIVOCATION,
                    study_id=self._study_id,
                    round=round.number,
                    accused=round.snapshot.node_keys[update.index],
                    ctx=round.ctx,
                    evidence=build_equivocation_evidence(first, signed),
                )
                self._refuter.prove(case)
        seen.commits = len(carried)


def _roots(proposal: Proposal) -> tuple[bytes, bytes, bytes]:
    return proposal.mean_root, proposal.new_model_root, proposal.new_state_root


def _proof_of(round: RoundView) -> RecordProof:
    if round.outcome is None:
        raise EvidenceError(f"Round {round.number} has no record yet.")
    return RecordProof(
        round=round.number,
        parent_record=round.parent_record,
        model_root=round.model_root,
        state_root=round.state_root,
        cohort_hash=round.cohort_hash,
        keys_acc=ZERO32,
        outcome=round.outcome,
    )
