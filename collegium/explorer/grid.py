"""Who did what in which round: rows are institutions, columns are rounds."""

from __future__ import annotations

from dataclasses import replace

from collegium.chain.views import ProposalStatus, RoundView
from collegium.records import ZERO_ADDRESS, Phase, Role

from .reader import PAGE_ROUNDS, Reader, study_path
from .records import Cell, Choice, GridColumn, GridRow, RoundRow, RoundsPage
from .replay import StudyLog

__all__ = ["LEGEND", "page_links", "page_of", "pages_of", "read_cell", "read_round_row", "read_rounds"]

_ABSENT = Cell("", "not a member", "none")
_CELLS = {
    "not invited": Cell("–", "not invited", "off"),
    "invited": Cell("I", "invited: has not committed yet", "live"),
    "late": Cell("L", "late: invited and never committed", "warn"),
    "committed": Cell("C", "committed: has not revealed yet", "live"),
    "committed in vain": Cell("C", "committed: the round aborted before it could reveal", "off"),
    "unrevealed": Cell("U", "unrevealed: committed and never revealed", "bad"),
    "revealed": Cell("R", "revealed: not certified yet", "live"),
    "revealed in vain": Cell("R", "revealed: the round aborted before it could be certified", "off"),
    "left out": Cell("R", "left out: revealed, and too few certified it", "warn"),
    "certified": Cell("V", "certified: its update is in, it has not endorsed", "soft"),
    "endorsed": Cell("✓", "endorsed: its update is in, and it endorsed the result", "good"),
    "fined": Cell("!", "fined", "bad"),
}
_DUTY = {
    ProposalStatus.FINAL: Cell("P", "its proposal became final", "good"),
    ProposalStatus.REFUTED: Cell("X", "its proposal was refuted", "bad"),
    ProposalStatus.LAPSED: Cell("∅", "its proposal found too few endorsements", "warn"),
    ProposalStatus.LIVE: Cell("P", "its proposal is open to challenge", "live"),
}
_MISSED = Cell("M", "on duty and proposed nothing", "bad")
_FINED_AGGREGATOR = Cell("!", "fined", "bad")

LEGEND = (
    *(_CELLS[name] for name in ("endorsed", "certified", "revealed", "committed", "invited")),
    *(_CELLS[name] for name in ("late", "left out", "unrevealed", "fined", "not invited")),
    *_DUTY.values(),
    _MISSED,
)


def pages_of(log: StudyLog) -> int:
    return -(-len(log.view.rounds) // PAGE_ROUNDS)


def page_of(number: int) -> int:
    """The page that shows a round."""
    return (number - 1) // PAGE_ROUNDS + 1


def page_links(folder: str, pages: int, current: int) -> tuple[Choice, ...]:
    """First, last and the neighbors of the current page."""
    wanted = sorted({1, pages, *range(max(1, current - 2), min(pages, current + 2) + 1)})
    return tuple(Choice(str(page), f"{folder}/page-{page}.html", page == current) for page in wanted if pages > 1)


def read_rounds(reader: Reader, study: int, page: int) -> RoundsPage:
    """Raises LookupError when there is no such page."""
    log = reader.log(study)
    pages = pages_of(log)
    if not 1 <= page <= pages:
        raise LookupError(f"page {page}")
    shown = log.view.rounds[(page - 1) * PAGE_ROUNDS : page * PAGE_ROUNDS]
    members = [
        GridRow(
            reader.party(seat.institution),
            seat.index,
            tuple(read_cell(reader, log, view, seat.index, seat.institution) for view in shown),
        )
        for seat in reader.members(log.view)
    ]
    keys: dict[str, None] = {}
    for view in shown:
        keys |= dict.fromkeys(reader.institution(key).address for key in view.snapshot.aggregators)
    aggregators = [
        GridRow(reader.party(owner), None, tuple(_duty(reader, log, view, owner) for view in shown)) for owner in keys
    ]
    return RoundsPage(
        study,
        reader.title(study),
        page,
        pages,
        shown[0].number,
        shown[-1].number,
        tuple(GridColumn(view.number, reader.outcome(view)) for view in shown),
        tuple(row for row in members if any(cell.tone != "none" for cell in row.cells)),
        tuple(aggregators),
        tuple(read_round_row(reader, log, view) for view in reversed(shown)),
        page_links(f"{study_path(study)}/rounds", pages, page),
    )


def read_cell(reader: Reader, log: StudyLog, view: RoundView, index: int, institution: str) -> Cell:
    """How far a seat came in a round."""
    roster = view.snapshot
    if index >= len(roster.institutions) or roster.institutions[index] in (ZERO_ADDRESS, ""):
        return _ABSENT
    fined = sum(
        fine.fined.args["amount"]
        for fine in reader.fines(log, view.ctx)
        if fine.fined.args["institution"] == institution and Role(fine.fined.args["role"]) is Role.MEMBER
    )
    bit, last = 1 << index, view.live
    endorsed = bool(last and last.endorsed & bit)
    if view.certified & bit:
        cell = _CELLS["endorsed" if endorsed else "certified"]
    else:
        cell = _CELLS[_progress(reader, view, index)]
        if endorsed:
            cell = replace(cell, words=f"{cell.words}; endorsed the result all the same")
    if fined:
        word, _, why = cell.words.partition(": ")
        return Cell("!", f"{word}, fined: {why}", "bad")
    return cell


def _progress(reader: Reader, view: RoundView, index: int) -> str:
    """How far an update came that was not certified."""
    if not view.invited >> index & 1:
        return "not invited"
    phase = Phase(view.aborted.args["phase"]) if view.aborted is not None else view.phase_at(reader.now)
    is_past = view.is_over or phase > Phase.CERTIFY
    if index in view.reveals:
        if view.aborted is not None and phase is Phase.REVEAL:
            return "revealed in vain"
        return "left out" if is_past else "revealed"
    if index in view.commits:
        if view.aborted is not None and phase is Phase.COMMIT:
            return "committed in vain"
        return "unrevealed" if is_past or phase > Phase.REVEAL else "committed"
    return "late" if is_past or phase > Phase.COMMIT else "invited"


def _duty(reader: Reader, log: StudyLog, view: RoundView, institution: str) -> Cell:
    """What an aggregator did in a round; the worst of it."""
    keys = [key for key in view.snapshot.aggregators if reader.institution(key).address == institution]
    if not keys:
        return _ABSENT
    done = [_DUTY[each.status] for each in view.proposals if each.proposal.aggregator in keys]
    done += [_MISSED for each in view.missed if each.args["aggregator"] in keys]
    for tone in ("bad", "warn", "live", "good"):
        found = next((cell for cell in done if cell.tone == tone), None)
        if found is not None:
            return found
    return Cell("·", "was not on duty", "off")


def read_round_row(reader: Reader, log: StudyLog, view: RoundView) -> RoundRow:
    ended = view.finalized or view.aborted
    final = view.proposals[-1] if view.record is not None else None
    return RoundRow(
        view.number,
        reader.outcome(view),
        view.opened.time,
        ended.time - view.opened.time if ended else None,
        len(view.commits),
        view.certified.bit_count(),
        view.invited.bit_count(),
        len(view.proposals) + len(view.missed),
        reader.gas(reader.counted(log, view.number)),
        reader.model(log.view, final.model_cid, final.proposal.new_model_root) if final else None,
    )
