"""A finalized model, fetched from any store and checked against the chain before anything uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collegium.chain import Chain, StudyView
from collegium.encoding import export_model
from collegium.errors import PreconditionError
from collegium.records import ZERO32
from collegium.storage import parse_cid

from .evaluation import FinalModel
from .plan import PublishedPlan
from .session import open_study, read_plan

if TYPE_CHECKING:
    from .home import Home

__all__ = ["Final", "find_final", "open_final"]


@dataclass(frozen=True)
class Final:
    """A verified model: `state` float32 by name. ctx: of the round that made it, zeros for genesis."""

    chain: Chain
    view: StudyView
    plan: PublishedPlan
    model: FinalModel
    state: Mapping[str, Any]
    ctx: bytes


def find_final(view: StudyView, round: int | None) -> tuple[bytes, str, int, bytes]:
    """Root, CID, round and ctx of a finalized model; round 0 is genesis, None the latest.

    Raises `PreconditionError` for a round that is not final.
    """
    if round is None:
        round = view.model[2]
    if round == 0:
        return view.plan.genesis_model_root, view.genesis_cid, 0, ZERO32
    found = view.round(round)
    if found is None or found.record is None:
        raise PreconditionError(f"Round {round} is not final.", hint="See `collegium study show`.")
    final = found.proposals[-1]
    return final.proposal.new_model_root, final.model_cid, round, found.ctx


def open_final(home: Home, study: int, round: int | None) -> Final:
    """Fetch and verify a model. Raises `PreconditionError`, and `VerificationError` when bytes are not the chain's."""
    chain = home.chain()
    view = open_study(home, chain, study)
    root, cid, number, ctx = find_final(view, round)
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    state = export_model(source.model(parse_cid(cid), root=root, ctx=ctx).elements, plan.table)
    final = view.round(number)
    record = final.record if final is not None else None
    model = FinalModel(chain.chain_id, chain.address_of("Collegium"), study, number, root, cid, record)
    return Final(chain, view, plan, model, state, ctx)
