"""One round: its phases, its roll call, its proposals, its money and its transactions."""

from __future__ import annotations

from collections.abc import Sequence

from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus, ProposalView, RoundView
from collegium.records import ZERO_ADDRESS, Role

from .grid import page_of, read_cell
from .reader import Reader, study_path
from .records import (
    Cell,
    CidRef,
    Fact,
    PhaseRow,
    ProposalRow,
    RefutationRow,
    RollCallRow,
    RoundPage,
    SkippedRow,
    TransactionRow,
)
from .replay import StudyLog
from .timeline import read_timeline
from .words import KINDS, PHASES, format_duration, skip_reason

__all__ = ["read_round", "refutation_rows"]

_STATUS = {
    ProposalStatus.FINAL: Cell("✓", "final", "good"),
    ProposalStatus.LIVE: Cell("…", "open to challenge", "live"),
    ProposalStatus.REFUTED: Cell("✕", "refuted", "bad"),
    ProposalStatus.LAPSED: Cell("∅", "lapsed: too few endorsements", "warn"),
}


def read_round(reader: Reader, study: int, number: int) -> RoundPage:
    """Raises LookupError."""
    log = reader.log(study)
    view = reader.round(log, number)
    events = reader.source.events(study, number)
    transactions = _transactions(reader, log, view, events)
    counted = [row for row in transactions if row.elsewhere is None]
    countdown = reader.countdown(log) if view is log.view.current else None
    return RoundPage(
        study,
        reader.title(study),
        number,
        reader.outcome(view),
        _summary(reader, view),
        countdown,
        _phases(reader, view, events),
        _facts(reader, log, view),
        tuple(_roll_call(reader, log, view, seat, events) for seat in range(len(view.snapshot.institutions))),
        tuple(_proposal(reader, log, view, each) for each in view.proposals),
        tuple(_skipped(reader, view, each) for each in view.skipped),
        refutation_rows(reader, log, [each for each in log.refutations if each.args["round"] == number]),
        tuple(reader.fine(log, fine) for fine in reader.fines(log, view.ctx)),
        tuple(transactions),
        sum(row.gas or 0 for row in counted),
        sum(row.gas is None for row in counted),
        (
            f"collegium audit --study {study} --rpc URL --deployment FILE --store URL --verbose",
            "collegium store get CID --store URL -o blob",
        ),
        page_of(number),
        number - 1 if number > 1 else None,
        number + 1 if number < len(log.view.rounds) else None,
    )


def _summary(reader: Reader, view: RoundView) -> str:
    """One sentence."""
    parts = [
        f"{view.invited.bit_count()} invited",
        f"{len(view.commits)} committed",
        f"{len(view.reveals)} revealed",
        f"{view.certified.bit_count()} certified",
    ]
    last = view.live
    if last is not None:
        parts.append(f"{last.endorsed.bit_count()} endorsed")
    text = ", ".join(parts) + "."
    if view.finalized is not None:
        text += f" Final {format_duration(view.finalized.time - view.opened.time)} after it opened."
    elif view.aborted is not None:
        text += f" Aborted {format_duration(view.aborted.time - view.opened.time)} after it opened."
    return text


def _phases(reader: Reader, view: RoundView, events: Sequence[ChainEvent]) -> tuple[PhaseRow, ...]:
    endorsed = [event.time for event in events if event.name == "ProposalEndorsed"]
    rows = [
        PhaseRow(
            PHASES[each.phase],
            each.attempt,
            each.start,
            each.end,
            each.deadline,
            each.ended,
            reader.institution(each.actor) if each.actor else None,
        )
        for each in read_timeline(view, reader.now, max(endorsed, default=0))
    ]
    for event, word in ((view.finalized, "recorded"), (view.aborted, "aborted"), (view.disputed, "disputed")):
        if event is not None:
            rows.append(PhaseRow(word, 0, event.time, event.time, event.time, "written on chain", None))
    return tuple(rows)


def _facts(reader: Reader, log: StudyLog, view: RoundView) -> tuple[Fact, ...]:
    base = CidRef(view.model_cid, _hex(view.model_root), reader.blob_bytes(log.view), "base model")
    facts = [
        Fact("Opened by", reader.party(view.opener)),
        Fact("Base model", base, "what every member started from"),
        Fact("Quorum", f"{view.quorum} of {len(view.snapshot.institutions)}", "certificates per update, endorsements"),
        Fact("Context", _hex(view.ctx), "ctx: binds every signature to this round"),
        Fact("Parent record", _hex(view.parent_record), "the record of the final round before"),
        Fact("Cohort", _hex(view.cohort_hash), "hash of the roster and who was invited"),
    ]
    if view.record is not None:
        facts.insert(0, Fact("Record", _hex(view.record), "permanent: hashes the proposal and how it ended"))
    return tuple(facts)


def _roll_call(
    reader: Reader, log: StudyLog, view: RoundView, seat: int, events: Sequence[ChainEvent]
) -> RollCallRow:
    institution, key = view.snapshot.institutions[seat], view.snapshot.node_keys[seat]
    commit, reveal, last = view.commits.get(seat), view.reveals.get(seat), view.live
    blob = None
    if reveal is not None:
        blob = CidRef(reveal.cid, _hex(reveal.root), reader.blob_bytes(log.view), "update")
    endorsed = [
        event.time
        for event in events
        if event.name == "ProposalEndorsed" and event.args["index"] == seat
        and last is not None and event.bytes32("proposalHash") == last.hash
    ]  # fmt: skip
    fined = sum(
        fine.fined.args["amount"]
        for fine in reader.fines(log, view.ctx)
        if fine.fined.args["institution"] == institution and fine.fined.args["role"] == Role.MEMBER
    )
    return RollCallRow(
        seat,
        reader.party(institution),
        "" if key == ZERO_ADDRESS else key,
        read_cell(reader, log, view, seat, institution),
        bool(view.invited >> seat & 1),
        commit.event.time if commit else 0,
        reveal.event.time if reveal else 0,
        bool(view.certified >> seat & 1),
        sum(bool(int(event.args["bitmap"]) >> seat & 1) for event in view.attestations),
        max(endorsed, default=0),
        commit.weight if commit else 0,
        fined,
        blob,
    )


def _proposal(reader: Reader, log: StudyLog, view: RoundView, each: ProposalView) -> ProposalRow:
    proposal = each.proposal
    return ProposalRow(
        proposal.attempt + 1,
        reader.institution(proposal.aggregator),
        _STATUS[each.status],
        _hex(each.hash),
        reader.model(log.view, each.model_cid, proposal.new_model_root),
        reader.model(log.view, each.mean_cid, proposal.mean_root, "mean"),
        each.endorsed.bit_count(),
        view.quorum,
        proposal.included.bit_count(),
        proposal.weight_sum,
        each.event.time,
        each.event.transaction,
    )


def _skipped(reader: Reader, view: RoundView, event: ChainEvent) -> SkippedRow:
    seat = event.args["index"]
    roster = view.snapshot.institutions
    party = reader.party(roster[seat]) if seat < len(roster) else None
    return SkippedRow(seat, party, skip_reason(event.args["reason"]), event.time, event.transaction)


def refutation_rows(reader: Reader, log: StudyLog, events: Sequence[ChainEvent]) -> tuple[RefutationRow, ...]:
    """Rows that link to the pages of refutations, which are numbered by study in chain order from 1."""
    places = {(event.block, event.log_index): at for at, event in enumerate(log.refutations, 1)}
    study, rows = log.view.study_id, []
    for event in events:
        ordinal = places[event.block, event.log_index]
        rows.append(
            RefutationRow(
                ordinal,
                event.args["round"],
                KINDS.get(event.args["kind"], f"kind {event.args['kind']}"),
                reader.institution(event.args["accused"]),
                reader.party(event.args["challenger"]),
                int(event.args["fine"]),
                event.time,
                event.transaction,
                f"{study_path(study)}/refutations/{ordinal}.html",
            )
        )
    return tuple(rows)


def _transactions(
    reader: Reader, log: StudyLog, view: RoundView, events: Sequence[ChainEvent]
) -> list[TransactionRow]:
    """Every transaction that left an event of this round or fined somebody for it, oldest first."""
    told: dict[str, dict[str, int]] = {}
    for event in events:
        counts = told.setdefault(event.transaction, {})
        counts[event.name] = counts.get(event.name, 0) + 1

    def elsewhere(transaction: str) -> int | None:
        home = reader.replay.home_of.get(transaction, (0, 0))
        return None if home == (log.view.study_id, view.number) else home[1]

    rows = []
    for event in log.transactions.get(view.number, {}).values():
        names = [name if count == 1 else f"{name} ×{count}" for name, count in told.get(event.transaction, {}).items()]
        rows.append(reader.transaction(event, ", ".join(names) or event.name, elsewhere))
    return sorted(rows, key=lambda row: row.block)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
