"""Institutions: who they are, their keys, money, rounds served and faults."""

from __future__ import annotations

from collections import Counter

from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus
from collegium.records import Role

from .grid import read_cell
from .reader import Reader
from .records import (
    Fact,
    FineRow,
    HistoryRow,
    InstitutionPage,
    InstitutionRow,
    InstitutionsPage,
    JoinedStudy,
    KeyRow,
    MovementRow,
)
from .replay import Movement, Party, StudyLog
from .words import ROLES

__all__ = ["read_institution", "read_institutions", "served_rounds"]

MOVEMENTS = 500
"""Newest movements on a page; the JSON has as many."""

_MOVES = {
    "StakeDeposited": "deposited",
    "StakeUnlocked": "began to unbond",
    "StakeWithdrawn": "withdrawn",
    "StakeLocked": "locked as",
    "LockReleasing": "lock may be released later",
    "LockReleased": "lock released",
    "Fined": "fined",
    "RewardHeld": "reward held for an earlier announcer",
    "RewardRedirected": "reward went to the earlier announcer",
    "RewardClaimed": "reward claimed",
    "ShareClaimed": "share of a fine claimed",
    "CreditWithdrawn": "credit withdrawn",
}


def read_institutions(reader: Reader) -> InstitutionsPage:
    rows = []
    for address, party in reader.replay.parties.items():
        if party.admitted is None:
            continue
        balance = reader.replay.balance_of(address)
        logs = [reader.replay.studies[study] for study in reader.source.studies]
        rows.append(
            InstitutionRow(
                reader.party(address),
                _state(party),
                sum(log.view.seat_of(address) is not None for log in logs),
                sum(served_rounds(log, address) for log in logs),
                sum(1 for _ in _fines(reader, address)),
                balance.free + balance.unbonding,
                balance.locked,
            )
        )
    return InstitutionsPage(tuple(rows))


def served_rounds(log: StudyLog, institution: str) -> int:
    """Final rounds with a certified update of this institution."""
    seat = log.view.seat_of(institution)
    return 0 if seat is None else sum(bool(view.certified >> seat.index & 1) for view in log.view.final_rounds)


def read_institution(reader: Reader, address: str) -> InstitutionPage:
    """Raises LookupError."""
    party = reader.replay.parties.get(address)
    if party is None or party.admitted is None:
        raise LookupError(f"institution {address}")
    balance, stake = reader.replay.balance_of(address), reader.replay.ledger.stake(address)
    keys = [
        KeyRow(spell.key, spell.since.time, spell.until.time if spell.until else 0, spell.since.transaction)
        for spell in party.keys
    ]
    return InstitutionPage(
        reader.party(address),
        _state(party),
        party.admitted.time,
        party.admitted.transaction,
        party.profile,
        balance.free,
        balance.unbonding,
        balance.locked,
        stake.withdrawable_at,
        tuple(reversed(keys)),
        tuple(HistoryRow(each.time, _told(each), each.study_id, each.transaction) for each in reversed(party.history)),
        tuple(each for study in reader.source.studies for each in _joined(reader, study, address)),
        tuple(_fines(reader, address)),
        tuple(_movement(reader, each, address) for each in reversed(party.movements[-MOVEMENTS:])),
        len(party.movements),
    )


_HISTORY = {
    "InstitutionAdmitted": "admitted by the council",
    "NodeKeyRegistered": "node key registered",
    "NodeKeyRevoked": "node key revoked",
    "MemberJoined": "joined as a member",
    "MemberLeft": "left",
    "MemberRemoved": "removed by the council",
    "AggregatorEnlisted": "enlisted as an aggregator",
    "AggregatorDelisted": "delisted as an aggregator",
}


def _told(event: ChainEvent) -> str:
    if event.name == "InstitutionSuspended":
        return "suspended by the council" if event.args["suspended"] else "suspension lifted by the council"
    return _HISTORY.get(event.name, event.name)


def _state(party: Party) -> str:
    return "suspended" if party.suspended else "admitted"


def _fines(reader: Reader, address: str) -> list[FineRow]:
    return [
        reader.fine(reader.replay.studies[study], fine)
        for study in reader.source.studies
        for fines in reader.replay.studies[study].fines.values()
        for fine in fines
        if fine.fined.args["institution"] == address
    ]


def _joined(reader: Reader, study: int, address: str) -> list[JoinedStudy]:
    log = reader.replay.studies[study]
    found = []
    seat = log.view.seat_of(address)
    if seat is not None:
        counts = Counter(
            read_cell(reader, log, view, seat.index, address).words.partition(":")[0]
            for view in log.view.rounds
        )
        counts.pop("not a member", None)
        locked, releasable = reader.replay.lock_of(study, address, Role.MEMBER)
        facts = [Fact(words, f"{count:,}") for words, count in counts.most_common()]
        facts.insert(0, Fact("final rounds served", f"{served_rounds(log, address):,}"))
        state = "left" if seat.left else "member"
        found.append(
            JoinedStudy(study, reader.title(study), f"{ROLES[Role.MEMBER]}, seat {seat.index}", state, locked,
                        releasable, tuple(facts))
        )  # fmt: skip
    locked, releasable = reader.replay.lock_of(study, address, Role.AGGREGATOR)
    proposals = [
        each
        for view in log.view.rounds
        for each in view.proposals
        if reader.replay.institution_of(each.proposal.aggregator) == address
    ]
    enlisted = address in log.view.aggregators
    if enlisted or proposals or locked:
        missed = sum(
            reader.replay.institution_of(event.args["aggregator"]) == address
            for view in log.view.rounds
            for event in view.missed
        )
        status = Counter(each.status for each in proposals)
        facts = [
            Fact("proposals", f"{len(proposals):,}"),
            Fact("became final", f"{status[ProposalStatus.FINAL]:,}"),
            Fact("refuted", f"{status[ProposalStatus.REFUTED]:,}"),
            Fact("lapsed", f"{status[ProposalStatus.LAPSED]:,}"),
            Fact("duties missed", f"{missed:,}"),
        ]
        state = "enlisted" if enlisted else "not in the order any more"
        found.append(
            JoinedStudy(study, reader.title(study), ROLES[Role.AGGREGATOR], state, locked, releasable, tuple(facts))
        )
    return found


def _movement(reader: Reader, moved: Movement, address: str) -> MovementRow:
    event = moved.event
    what = _MOVES.get(event.name, event.name)
    if event.name == "StakeLocked":
        what += f" {ROLES[Role(event.args['role'])]}"
    if event.name == "Fined" and event.args["institution"] != address:
        what = "reward for a refutation"
    return MovementRow(
        event.time,
        what,
        moved.amount,
        moved.study,
        moved.after.free,
        moved.after.unbonding,
        moved.after.locked,
        event.transaction,
    )


