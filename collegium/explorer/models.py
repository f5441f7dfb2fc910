"""Models: what made each, and the line of records back to genesis."""

from __future__ import annotations

from collegium.chain.views import RoundView
from collegium.records import bits

from .grid import page_links
from .reader import Reader, study_path
from .records import Fact, LineagePage, LineageRow, ModelPage
from .replay import StudyLog

__all__ = ["LINEAGE_ROWS", "lineage_pages", "read_lineage", "read_model"]

SHOWN = 12
"""Ancestors on a model's own page."""

LINEAGE_ROWS = 200
"""Models on one page of the whole lineage."""


def read_model(reader: Reader, study: int, number: int) -> ModelPage:
    """number: of the final round that made it; 0 is genesis. Raises LookupError."""
    log = reader.log(study)
    if number == 0:
        return _genesis(reader, log)
    view = reader.round(log, number)
    if view.record is None or view.finalized is None:
        raise LookupError(f"round {number} made no model")
    claimed = view.proposals[-1]
    proposal = claimed.proposal
    lineage, omitted = _ancestors(log, view)
    facts = (
        Fact("Made by", reader.institution(proposal.aggregator), f"attempt {proposal.attempt + 1}"),
        Fact("Endorsed by", f"{claimed.endorsed.bit_count()} of {len(view.snapshot.institutions)} members"),
        Fact("Record", _hex(view.record), "of the round that made it"),
        Fact("Parent record", _hex(view.parent_record)),
        Fact("Mean", reader.model(log.view, claimed.mean_cid, proposal.mean_root, "mean")),
        Fact("Set", _hex(proposal.set_hash), "hash of the updates that are in it"),
    )
    weights = {seat: view.commits[seat].weight for seat in bits(proposal.included) if seat in view.commits}
    total = sum(weights.values()) or 1
    return ModelPage(
        study,
        reader.title(study),
        number,
        reader.model(log.view, claimed.model_cid, proposal.new_model_root),
        _hex(proposal.model_digest),
        f"Round {number}",
        view.finalized.time,
        view.disputed is not None,
        facts,
        tuple(
            Fact(str(seat), reader.party(view.snapshot.institutions[seat]), f"weight {weight:,}, {weight / total:.1%}")
            for seat, weight in weights.items()
        ),
        lineage,
        omitted,
        tuple(each.number for each in log.view.rounds if each.opened.block >= view.finalized.block
              and each.parent_record == view.record)[:20],
        (
            f"collegium model pull {study} --round {number} -o model.safetensors",
            f"collegium model verify {study} model.safetensors --round {number}",
        ),
        _NO_METRICS,
    )  # fmt: skip


_NO_METRICS = (
    "No metrics are published: in this version a hospital's evaluation stays in its own log and reaches neither the"
    " chain nor a store."
)


def _genesis(reader: Reader, log: StudyLog) -> ModelPage:
    view = log.view
    first = tuple(each.number for each in view.rounds if each.model_root == view.plan.genesis_model_root)[:20]
    return ModelPage(
        view.study_id,
        reader.title(view.study_id),
        0,
        reader.model(view, view.genesis_cid, view.plan.genesis_model_root, "genesis model"),
        _hex(view.plan.genesis_model_digest),
        "Genesis: fixed by the plan",
        view.created.time,
        False,
        (
            Fact("Fixed by", reader.party(view.sponsor), "the sponsor, when the study was created"),
            Fact("Plan hash", _hex(view.plan_hash)),
        ),
        (),
        (_genesis_row(log),),
        0,
        first,
        (
            f"collegium model pull {view.study_id} --round 0 -o genesis.safetensors",
            f"collegium model verify {view.study_id} genesis.safetensors --round 0",
        ),
        _NO_METRICS,
    )


def _row(view: RoundView) -> LineageRow:
    claimed = view.proposals[-1]
    return LineageRow(
        view.number,
        _hex(claimed.proposal.new_model_root),
        claimed.model_cid,
        _hex(view.record or b""),
        _hex(view.parent_record),
        view.finalized.time if view.finalized else 0,
        view.disputed is not None,
    )


def _genesis_row(log: StudyLog) -> LineageRow:
    view = log.view
    return LineageRow(
        0, _hex(view.plan.genesis_model_root), view.genesis_cid, "", "", view.created.time, False
    )  # fmt: skip


def _ancestors(log: StudyLog, view: RoundView) -> tuple[tuple[LineageRow, ...], int]:
    """The model itself, those before it, genesis; and how many in between are left out."""
    line = [each for each in log.view.final_rounds if each.number <= view.number]
    shown = [_row(each) for each in reversed(line[-SHOWN:])]
    return (*shown, _genesis_row(log)), len(line) - len(shown)


def lineage_pages(log: StudyLog) -> int:
    return -(-(len(log.view.final_rounds) + 1) // LINEAGE_ROWS)


def read_lineage(reader: Reader, study: int, page: int) -> LineagePage:
    """Oldest first; genesis is on page 1. Raises LookupError."""
    log = reader.log(study)
    pages = lineage_pages(log)
    if not 1 <= page <= pages:
        raise LookupError(f"page {page}")
    rows = [_genesis_row(log), *(_row(each) for each in log.view.final_rounds)]
    return LineagePage(
        study,
        reader.title(study),
        page,
        pages,
        tuple(rows[(page - 1) * LINEAGE_ROWS : page * LINEAGE_ROWS]),
        page_links(f"{study_path(study)}/lineage", pages, page),
    )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
