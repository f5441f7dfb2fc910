"""The numbers: every certified update fetched, mean and step computed anew, every proposal held against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collegium.chain.views import Opened, ProposalStatus, ProposalView, RoundView, StudyView
from collegium.commitment import compute_format_hash
from collegium.encoding import BlobKind, pack_blob
from collegium.errors import BlobNotFoundError, CollegiumError, UnreachableError, VerificationError
from collegium.inputs import BlobSource, FetchedBlob
from collegium.records import ZERO32, Kind, bits
from collegium.retention import passed_at, read_days
from collegium.storage import MultiStore, cid_of, parse_cid
from collegium.storage.folder import BlobFolder
from collegium.verification import check_update, recompute_round

from .report import Findings, Tally, utc
from .world import World, compute_fine_key

__all__ = ["Blobs"]

PLAN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """What a round's certified set gives. Digests are those of the blobs' CIDs."""

    mean_root: bytes
    model_root: bytes
    mean_digest: bytes
    model_digest: bytes
    model: NDArray[np.int32]


class Blobs:
    """Checks `genesis`, `blobs`, `mean`, `step` and the fetching half of `model`, round by round."""

    def __init__(
        self, stores: MultiStore, folder: Path, study: StudyView, findings: Findings, *, now: int, threads: int = 1
    ) -> None:
        """now: time of the head, unix seconds; decides which updates the plan lets stores drop."""
        self._source = BlobSource(BlobFolder(folder), stores, study.format, threads)
        self._stores = stores
        self._study = study
        self._findings = findings
        self._format_id = compute_format_hash(study.format)
        self._model: tuple[bytes, NDArray[np.int32]] | None = None
        self._now = now
        self.retention_days: int | None = None

    def check(self, world: World, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Everything, oldest round first."""
        study = self._study
        self._check_genesis(self._findings.of("genesis"))
        for done, view in enumerate(study.rounds):
            if view.reveals:
                self._check_round(view, world)
            if progress:
                progress("rounds", done + 1, len(study.rounds))
        if study.final_rounds:
            root, cid, number = study.model
            made = next(view for view in study.final_rounds if view.number == number)
            self._fetch_model(self._findings.of("model"), "the final model", cid, root, made.ctx)
        for name in self._stores.liars:
            self._findings.of("genesis").note(f"store {name} served other bytes than it was asked for")

    def _check_genesis(self, tally: Tally) -> None:
        plan, study = self._study.plan, self._study
        fetched = self._fetch_model(tally, "the genesis model", study.genesis_cid, plan.genesis_model_root, ZERO32)
        if fetched is not None:
            tally.passes()
            self._model = (plan.genesis_model_root, fetched.elements)
        try:
            self.retention_days = read_days(self._stores.get(parse_cid(study.plan_cid), max_bytes=PLAN_BYTES))
        except CollegiumError as error:
            tally.warn(f"the plan that people read was not fetched ({error.code}): {study.plan_cid}")

    def _check_round(self, view: RoundView, world: World) -> None:
        tally = self._findings.of("blobs", view.number)
        updates: dict[int, FetchedBlob] = {}
        for index in bits(view.certified):
            found = self._fetch_update(tally, view, index)
            if found is None:
                continue
            updates[index] = found
            fault = check_update(found.elements, self._study.format)
            if fault is None or self._is_fined(view, index, world):
                tally.passes()
            else:
                tally.fail(f"seat {index} was certified, and its update is out of range: {fault}")
        self._report_uncertified(tally, view)
        if not view.proposals:
            return
        mean, step = self._findings.of("mean", view.number), self._findings.of("step", view.number)
        lacking = [index for index in bits(view.certified) if index not in updates]
        if lacking:
            passed = self._retention_passed(view)
            for each in (mean, step):
                if passed is None:
                    each.miss(f"the updates of seats {_seats(lacking)} are needed to recompute")
                else:
                    each.warn(f"not recomputable any more: retention of the updates passed {utc(passed)}")
            self._model = None
            return
        base = self._base(view, step)
        if base is None:
            mean.miss("the base model is needed to recompute")
            return
        result = self._recompute(view, updates, base)
        self._model = (result.model_root, result.model)
        for proposal in view.proposals:
            self._compare(view, proposal, result, mean, step)

    def _base(self, view: RoundView, tally: Tally) -> NDArray[np.int32] | None:
        """The round's base model; the one just recomputed when it has the round's root."""
        if self._model is not None and self._model[0] == view.model_root:
            return self._model[1]
        earlier = [each for each in self._study.final_rounds if each.number < view.number]
        ctx = earlier[-1].ctx if earlier else ZERO32
        found = self._fetch_model(tally, "the base model", view.model_cid, view.model_root, ctx)
        return None if found is None else found.elements

    def _recompute(self, view: RoundView, updates: dict[int, FetchedBlob], base: NDArray[np.int32]) -> Result:
        order = sorted(updates)
        done = recompute_round(
            [updates[index].elements for index in order],
            [view.commits[index].weight for index in order],
            base,
            self._study.plan,
            self._study.format,
            threads=self._source.threads,
        )
        digests = [
            cid_of(pack_blob(kind, elements, format_id=self._format_id, ctx=view.ctx)).digest
            for kind, elements in ((BlobKind.MEAN, done.mean), (BlobKind.MODEL, done.model))
        ]
        return Result(done.mean_tree.root, done.model_tree.root, digests[0], digests[1], done.model)

    def _compare(self, view: RoundView, claimed: ProposalView, result: Result, mean: Tally, step: Tally) -> None:
        """A final proposal must be right; a refuted one must be wrong; of the others the report tells."""
        proposal = claimed.proposal
        right_mean = (proposal.mean_root, proposal.mean_digest) == (result.mean_root, result.mean_digest)
        right_step = (proposal.new_model_root, proposal.model_digest) == (result.model_root, result.model_digest)
        if claimed.status is ProposalStatus.FINAL:
            mean.require(
                right_mean, f"the recorded mean has root {proposal.mean_root.hex()}: {_ours(result.mean_root)}"
            )
            step.require(
                right_step, f"the recorded model has root {proposal.new_model_root.hex()}: {_ours(result.model_root)}"
            )
        elif claimed.status is ProposalStatus.REFUTED:
            roots = (proposal.mean_root, proposal.new_model_root) == (result.mean_root, result.model_root)
            if roots:
                mean.fail(f"the proposal {claimed.hash.hex()} was refuted and is right")
            else:
                (mean if proposal.mean_root != result.mean_root else step).note("a refuted proposal was wrong")
            self._compare_coordinate(view, claimed, result, step)
        else:
            judged = "right" if right_mean and right_step else "wrong"
            mean.note(f"a {claimed.status.value} proposal of {proposal.aggregator} was {judged}")

    def _compare_coordinate(self, view: RoundView, claimed: ProposalView, result: Result, step: Tally) -> None:
        """Where the mean is right, the refuted step must differ from ours at the named coordinate."""
        if claimed.proposal.mean_root != result.mean_root or claimed.ended is None:
            return
        for event in view.refutations:
            if event.transaction == claimed.ended.transaction and event.args["kind"] == Kind.STEP:
                ours = int(result.model[event.args["coordinate"]])
                if ours != event.args["right"] or ours == event.args["claimed"]:
                    at, said = event.args["coordinate"], event.args["right"]
                    step.fail(f"the refutation says coordinate {at} is {said}, it is {ours}")

    def _is_fined(self, view: RoundView, index: int, world: World) -> bool:
        """Whether the member paid for this update leaving the range (R4)."""
        institution = self._study.seats[index].institution
        return "0x" + compute_fine_key(view.ctx, institution, Kind.RANGE).hex() in world.ledger.fines

    def _report_uncertified(self, tally: Tally, view: RoundView) -> None:
        """Revealed and left out: nobody depends on these bytes, but a reader wants to know why."""
        for index in bits(view.revealed & ~view.certified):
            try:
                found = self._read(view, view.reveals[index])
                fault = check_update(found.elements, self._study.format)
                why = "fetched and clean" if fault is None else str(fault)
            except CollegiumError as error:
                why = error.code
            tally.note(f"seat {index} was revealed and not certified ({why})")

    def _read(self, view: RoundView, reveal: Opened) -> FetchedBlob:
        return self._source.update(
            parse_cid(reveal.cid), ctx=view.ctx, index=reveal.index, salt=reveal.salt, root=reveal.root
        )

    def _fetch_update(self, tally: Tally, view: RoundView, index: int) -> FetchedBlob | None:
        reveal = view.reveals.get(index)
        if reveal is None:
            tally.fail(f"seat {index} was certified and never revealed")
            return None
        return self._fetch(
            tally, f"the update of seat {index}", lambda: self._read(view, reveal), self._retention_passed(view)
        )

    def _retention_passed(self, view: RoundView) -> int | None:
        """Since when stores need not keep the round's updates; None while they must."""
        if self.retention_days is None:
            return None
        since = passed_at(self._study, view, self.retention_days)
        return since if since is not None and since <= self._now else None

    def _fetch_model(self, tally: Tally, what: str, cid: str, root: bytes, ctx: bytes) -> FetchedBlob | None:
        return self._fetch(tally, what, lambda: self._source.model(parse_cid(cid), root=root, ctx=ctx))

    def _fetch(
        self, tally: Tally, what: str, read: Callable[[], FetchedBlob], passed: int | None = None
    ) -> FetchedBlob | None:
        """passed: since when the plan lets stores drop it, unix seconds."""
        try:
            found = read()
            if passed is not None:
                tally.note(f"{what} is still there, though its retention passed {utc(passed)}")
            return found
        except UnreachableError as error:
            if error.evidence.get("codes") and passed is not None and _is_gone(error):
                tally.warn(f"{what} was dropped: retention passed {utc(passed)}")
            elif error.evidence.get("liars"):
                tally.fail(f"{what}: every store that answers serves other bytes: {', '.join(error.evidence['liars'])}")
            else:
                tally.miss(f"{what} is in no store that answers ({error.evidence.get('cid', error.code)})")
        except VerificationError as error:
            tally.fail(f"{what}: {error.message}")
        return None


def _is_gone(error: UnreachableError) -> bool:
    """Every store answered, and none has it: a store that is silent may keep it."""
    return set(error.evidence["codes"].values()) <= {BlobNotFoundError.code}


def _seats(indices: list[int]) -> str:
    return ", ".join(map(str, indices))


def _ours(root: bytes) -> str:
    return f"the rule gives {root.hex()}, or blobs of another digest"
