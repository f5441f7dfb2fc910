"""A study: its plan in words, who is in it, how its rounds went."""

from __future__ import annotations

from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus, Seat
from collegium.records import ZERO32, Role

from .charts import make_chart
from .grid import pages_of, read_rounds
from .institutions import served_rounds
from .plan_words import describe_plan
from .reader import Reader
from .records import Amount, BondRow, Chart, Check, Fact, GovernanceRow, SeatRow, StudyPage
from .replay import StudyLog
from .rounds import refutation_rows
from .words import STATUSES, format_duration

__all__ = ["read_study"]

REFUTATIONS = 100
"""Newest refutations on the page."""


def read_study(reader: Reader, study: int) -> StudyPage:
    """Raises LookupError."""
    log = reader.log(study)
    view = log.view
    published = reader.published(view)
    root, cid, model_round = view.model
    pages = pages_of(log)
    return StudyPage(
        study,
        reader.title(study),
        published.description if published else "",
        _published(reader, log),
        reader.party(view.sponsor),
        reader.status(log),
        _status_note(log),
        view.created.time,
        view.created.transaction,
        reader.countdown(log),
        _counts(reader, log),
        describe_plan(reader, log),
        tuple(_seat(reader, log, seat) for seat in reader.members(view)),
        tuple(_aggregator(reader, log, owner) for owner in view.aggregators),
        tuple(_governance(reader, event) for event in log.governance),
        log.open_until,
        _charts(reader, log),
        refutation_rows(reader, log, list(reversed(log.refutations[-REFUTATIONS:]))),
        len(log.refutations),
        reader.model(view, cid, root),
        model_round,
        read_rounds(reader, study, pages) if pages else None,
        (
            f"collegium audit --study {study} --rpc URL --deployment FILE --store URL",
            f"collegium model pull {study} -o model.safetensors",
        ),
    )


def _published(reader: Reader, log: StudyLog) -> Check:
    if reader.published(log.view) is not None:
        return Check("published plan", True, "fetched; its bytes have the CID that the chain names")
    if reader.source.stores is None:
        return Check("published plan", None, "not fetched: no store is given (--store), so there is no title")
    return Check("published plan", False, "no store gives it now, or it cannot be read")


def _status_note(log: StudyLog) -> str:
    if log.status == 2:
        return "Closed for ever: no round opens any more."
    if log.status == 1:
        return "Paused by its sponsor: no round opens until it resumes."
    return "Rounds may open."


def _counts(reader: Reader, log: StudyLog) -> tuple[Fact, ...]:
    view = log.view
    proposals = [each for round in view.rounds for each in round.proposals]
    refuted = sum(each.status is ProposalStatus.REFUTED for each in proposals)
    fined = sum(fine.fined.args["amount"] for fines in log.fines.values() for fine in fines)
    return (
        Fact("Rounds opened", f"{len(view.rounds):,}"),
        Fact("Final", f"{len(view.final_rounds):,}"),
        Fact("Aborted", f"{sum(each.aborted is not None for each in view.rounds):,}"),
        Fact("Updates included", f"{sum(each.certified.bit_count() for each in view.final_rounds):,}"),
        Fact("Proposals refuted", f"{refuted:,}"),
        Fact("Fined", Amount(fined)),
    )


def _seat(reader: Reader, log: StudyLog, seat: Seat) -> SeatRow:
    locked, _ = reader.replay.lock_of(log.view.study_id, seat.institution, Role.MEMBER)
    removed = any(
        event.name == "MemberRemoved" and event.args["institution"] == seat.institution for event in log.governance
    )
    left = "removed by the council" if removed else "left" if seat.left else ""
    return SeatRow(
        seat.index,
        reader.party(seat.institution),
        seat.node_key,
        seat.max_fine,
        locked,
        "" if seat.agreement == ZERO32 else "0x" + seat.agreement.hex(),
        seat.open_updates,
        seat.joined.time,
        seat.joined.transaction,
        left,
        served_rounds(log, seat.institution),
    )


def _aggregator(reader: Reader, log: StudyLog, owner: str) -> BondRow:
    locked, _ = reader.replay.lock_of(log.view.study_id, owner, Role.AGGREGATOR)
    claimed = [
        each
        for view in log.view.rounds
        for each in view.proposals
        if reader.replay.institution_of(each.proposal.aggregator) == owner
    ]
    final = sum(each.status is ProposalStatus.FINAL for each in claimed)
    return BondRow(reader.party(owner), locked, len(claimed), final)


def _governance(reader: Reader, event: ChainEvent) -> GovernanceRow:
    """What sponsor or council did after creation."""
    args, until = event.args, 0
    who = args.get("institution") or args.get("sponsor") or ""
    if event.name == "StudyStatusChanged":
        number = int(args["status"])
        what = f"set to {STATUSES[number] if number < len(STATUSES) else number}"
    elif event.name == "StudyExtended":
        what, until = "term set", int(args["openUntil"])
    else:
        what = "member removed by the council"
    return GovernanceRow(what, reader.party(who), event.time, until, event.transaction)


def _charts(reader: Reader, log: StudyLog) -> tuple[Chart, ...]:
    gas, seconds, clients = [], [], []
    for view in log.view.rounds:
        if view.finalized is None:
            continue
        used = reader.gas(reader.counted(log, view.number))
        if used is not None:
            gas.append((view.number, float(used)))
        seconds.append((view.number, float(view.finalized.time - view.opened.time)))
        clients.append((view.number, float(view.certified.bit_count())))
    longest = format_duration(int(max((value for _, value in seconds), default=0)))
    charts = (
        make_chart("Gas of a final round", "gas", gas, "Transactions that left an event; reverted ones are not seen."),
        make_chart("Time from opening to record", "s", seconds, f"The longest took {longest}."),
        make_chart("Updates in the model", "updates", clients, "Certified, so part of the mean."),
    )
    return tuple(chart for chart in charts if chart is not None)
