"""One coordinate of one round, computed by hand: what each hospital sent there, and what must come out.

The Referee does the same on chain for the price of this one coordinate; here every factor is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from collegium.aggregation import compute_mean
from collegium.chain.views import ProposalView, RoundView
from collegium.errors import CollegiumError, PreconditionError, UsageError
from collegium.inputs import BlobSource
from collegium.optimizer import compute_step
from collegium.records import Kind, Plan, bits
from collegium.storage.cid import parse_cid

__all__ = ["Coordinate", "Part", "recompute_coordinate"]


@dataclass(frozen=True, slots=True)
class Part:
    """A hospital's share. element: as in its blob; counted: within the format's bound."""

    seat: int
    cid: str
    weight: int
    element: int
    counted: int


@dataclass(frozen=True, slots=True)
class Coordinate:
    """claimed_*: what the proposal's own blobs hold there, None when no store has them any more.

    base, model: elements before and after the round. attempt: failed duties before the proposal. status: what became
    of the proposal: live, refuted, lapsed or final.
    """

    round: int
    position: int
    attempt: int
    parts: tuple[Part, ...]
    mean: int
    base: int
    model: int
    claimed_mean: int | None
    claimed_model: int | None
    exponent: int
    status: str

    @property
    def ok(self) -> bool | None:
        """Whether the proposal is right there; None when its blobs are gone."""
        pairs = ((self.claimed_mean, self.mean), (self.claimed_model, self.model))
        known = [(claimed, right) for claimed, right in pairs if claimed is not None]
        return all(claimed == right for claimed, right in known) if known else None

    def to_json(self) -> dict[str, Any]:
        return {
            "round": self.round, "coordinate": self.position, "attempt": self.attempt, "ok": self.ok,
            "status": self.status,
            "updates": [
                {"seat": p.seat, "cid": p.cid, "weight": p.weight, "element": p.element, "counted": p.counted}
                for p in self.parts
            ],
            "mean": {"right": self.mean, "claimed": self.claimed_mean},
            "model": {"base": self.base, "right": self.model, "claimed": self.claimed_model},
            "exponent": self.exponent,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """The sum as one would write it on paper; an element e stands for e / 2^exponent."""
        yield f"round {self.round}, coordinate {self.position}; an element e stands for e / 2^{self.exponent}"
        for part in self.parts:
            cut = "" if part.counted == part.element else f" (counted as {part.counted})"
            yield f"  seat {part.seat:>3}  weight {part.weight:>8}  element {part.element:>11}{cut}  {part.cid}"
        total = sum(part.weight * part.counted for part in self.parts)
        weights = sum(part.weight for part in self.parts)
        yield f"  mean   {total} / {weights}, rounded half up = {self.mean}{_versus(self.claimed_mean, self.mean)}"
        yield f"  model  {self.base} before, {self.model} after{_versus(self.claimed_model, self.model)}"


def _versus(claimed: int | None, right: int) -> str:
    if claimed is None:
        return "; the proposal's blob is in no store"
    return "; the proposal says so too" if claimed == right else f"; THE PROPOSAL SAYS {claimed}"


def recompute_coordinate(
    source: BlobSource, plan: Plan, round: RoundView, position: int, *, attempt: int | None = None
) -> Coordinate:
    """Compute coordinate `position` of a round from its certified updates; every blob is checked against the chain.

    attempt: which proposal to compare with, by its number of failed duties; by default the last one.
    Raises PreconditionError without a proposal, UsageError for a coordinate the model does not have, BlobError,
    RootMismatchError or BlobUnavailableError for an update or the base model.
    """
    section = source.format.sections[0]
    if not 0 <= position < section.count:
        raise UsageError(f"The model has no coordinate {position}.", hint=f"They go from 0 to {section.count - 1}.")
    view = _find_proposal(round, attempt)
    proposal = view.proposal
    parts = []
    for seat in bits(proposal.included):
        opened = round.reveals[seat]
        blob = source.update(
            parse_cid(opened.cid), ctx=round.ctx, index=seat, salt=opened.salt, root=opened.root
        )
        element = int(blob.elements[position])
        counted = max(-section.bound, min(section.bound, element))
        parts.append(Part(seat, opened.cid, opened.weight, element, counted))
    mean = compute_mean(
        [part.element for part in parts], [part.weight for part in parts], bound=section.bound,
        weighted=section.weighted,
    )  # fmt: skip
    base = int(source.model(parse_cid(round.model_cid), root=round.model_root).elements[position])
    model = compute_step(base, mean, numerator=plan.rate_numerator, denominator=plan.rate_denominator)
    claimed_mean, claimed_model = _claims(source, round, view, position)
    return Coordinate(
        round.number, position, proposal.attempt, tuple(parts), mean, base, model, claimed_mean, claimed_model,
        section.exponent, view.status.value,
    )  # fmt: skip


def _find_proposal(round: RoundView, attempt: int | None) -> ProposalView:
    found = [each for each in round.proposals if attempt is None or each.proposal.attempt == attempt]
    if not found:
        raise PreconditionError(
            f"Round {round.number} has no {'proposal' if attempt is None else f'proposal of attempt {attempt}'}.",
            hint="See `collegium round status`.",
        )
    return found[-1]


def _claims(source: BlobSource, round: RoundView, view: ProposalView, position: int) -> tuple[int | None, int | None]:
    """What the proposal's blobs hold; a liar's blobs may be gone, but what was refuted is on chain for ever."""
    try:
        mean = source.mean(parse_cid(view.mean_cid), root=view.proposal.mean_root, ctx=round.ctx)
        model = source.model(parse_cid(view.model_cid), root=view.proposal.new_model_root, ctx=round.ctx)
    except CollegiumError:
        return _refuted_claims(round, view, position)
    return int(mean.elements[position]), int(model.elements[position])


def _refuted_claims(round: RoundView, view: ProposalView, position: int) -> tuple[int | None, int | None]:
    """What the evidence of a refutation opened at this very coordinate."""
    claims: dict[Kind, int] = {}
    for event in round.refutations:
        is_its = view.ended is not None and event.transaction == view.ended.transaction
        if is_its and int(event.args["coordinate"]) == position:
            claims[Kind(event.args["kind"])] = int(event.args["claimed"])
    return claims.get(Kind.MEAN), claims.get(Kind.STEP)
