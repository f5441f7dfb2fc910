"""What every page asks for: whose an address is, what a study is called, where a round stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus, RoundView, Seat, StudyView
from collegium.encoding import HEADER_BYTES
from collegium.records import ZERO_ADDRESS, Kind, Phase, Role

from .published import Published, read_published
from .records import Cell, CidRef, Countdown, FineRow, LaterRow, PartyRef, TransactionRow
from .replay import FineRecord, Replay, StudyLog
from .source import Source
from .words import KINDS, PHASES, ROLES, STATUSES

__all__ = ["PAGE_ROUNDS", "Reader", "study_path"]

PAGE_ROUNDS = 40
"""Rounds on one page of the grid."""

_WAITING = {
    Phase.COMMIT: "the invited institutions commit",
    Phase.REVEAL: "those that committed reveal",
    Phase.CERTIFY: "members certify what was revealed",
    Phase.PROPOSE: "the aggregator on duty proposes",
    Phase.CHALLENGE: "members endorse, or anybody refutes",
    Phase.FINAL: "anybody records the round",
    Phase.ABORTED: "anybody opens the next round",
}


def study_path(study: int) -> str:
    """Folder of a study's pages."""
    return f"studies/{study}"


class Reader:
    """Looks at one moment of a `Source`; make one per page, inside `source.reading()`."""

    def __init__(self, source: Source, *, now: int | None = None) -> None:
        self.source = source
        self.replay: Replay = source.replay
        self.now = source.now() if now is None else now
        self._published: dict[int, Published | None] = {}

    # Parties

    def party(self, address: str) -> PartyRef:
        institution = self.replay.institution_of(address)
        name = self.replay.parties[institution].name if institution in self.replay.parties else ""
        return PartyRef(address, institution, name)

    def institution(self, node_key: str) -> PartyRef:
        """The institution behind a node key, as itself."""
        owner = self.replay.institution_of(node_key)
        return self.party(owner or node_key)

    # Studies

    def log(self, study: int) -> StudyLog:
        """Raises LookupError when there is none, or it is not shown."""
        if study not in self.source.studies:
            raise LookupError(f"study {study}")
        return self.replay.studies[study]

    def published(self, view: StudyView) -> Published | None:
        if view.study_id not in self._published:
            self._published[view.study_id] = read_published(self.source.document(view.plan_cid))
        return self._published[view.study_id]

    def title(self, study: int) -> str:
        """As published, else a number."""
        found = self.published(self.replay.studies[study].view)
        return (found.title.strip() if found else "") or f"Study {study}"

    def status(self, log: StudyLog) -> str:
        if log.open_until and self.now >= log.open_until and log.status == 0:
            return "term over"
        return STATUSES[log.status] if log.status < len(STATUSES) else f"status {log.status}"

    def round(self, log: StudyLog, number: int) -> RoundView:
        """Raises LookupError. Rounds are numbered by opening, from 1."""
        rounds = log.view.rounds
        if not 1 <= number <= len(rounds) or rounds[number - 1].number != number:
            raise LookupError(f"round {number}")
        return rounds[number - 1]

    def countdown(self, log: StudyLog) -> Countdown | None:
        """Of the round that is under way."""
        view = log.view.current
        if view is None or view.is_over:
            return None
        phase = view.phase_at(self.now)
        waiting = _WAITING[phase]
        duty = view.on_duty(self.now)
        if phase is Phase.PROPOSE and duty:
            who = self.institution(duty)
            waiting = f"{who.name or who.address} proposes"
        return Countdown(
            log.view.study_id, view.number, PHASES[phase], view.deadline_at(self.now), self.now, waiting
        )

    def outcome(self, view: RoundView) -> Cell:
        """How a round stands, in a word."""
        refuted = sum(each.status is ProposalStatus.REFUTED for each in view.proposals)
        failed = len(view.proposals) + len(view.missed) - (view.record is not None)
        if view.disputed is not None:
            return Cell("‼", "final, and disputed: proven wrong after it was recorded", "bad")
        if view.record is not None:
            if refuted:
                return Cell("✓", f"final after {refuted} refuted proposal{'s' * (refuted > 1)}", "warn")
            return Cell("✓", "final" if not failed else f"final at attempt {failed + 1}", "good")
        if view.aborted is not None:
            phase = Phase(view.aborted.args["phase"])
            return Cell("✕", f"aborted in {PHASES[phase]}", "bad")
        phase = view.phase_at(self.now)
        if phase is Phase.ABORTED:
            return Cell("✕", "aborted by time, not written down yet", "bad")
        if phase is Phase.FINAL:
            return Cell("…", "final, not recorded yet", "live")
        return Cell("…", f"in {PHASES[phase]}", "live")

    def members(self, view: StudyView) -> list[Seat]:
        return [view.seats[index] for index in sorted(view.seats)]

    # Blobs

    def model(self, view: StudyView, cid: str, root: bytes, what: str = "model") -> CidRef:
        return CidRef(cid, _hex(root), self.blob_bytes(view), what)

    def blob_bytes(self, view: StudyView) -> int:
        return HEADER_BYTES + view.format.payload_bytes

    # Money

    def fines(self, log: StudyLog, ctx: bytes) -> list[FineRecord]:
        return log.fines.get(_hex(ctx), [])

    def fine(self, log: StudyLog, fine: FineRecord) -> FineRow:
        args = fine.fined.args
        kind, zero = Kind(args["kind"]), ZERO_ADDRESS
        sharers = [
            self.party(seat.institution)
            for seat in self.members(log.view)
            if args["eligible"] >> seat.index & 1
        ]
        later = tuple(
            LaterRow(_LATER.get(event.name, event.name), int(event.args.get("amount", 0)), self._who(event), event.time)
            for event in fine.later
        )
        return FineRow(
            self.party(args["institution"]),
            ROLES[Role(args["role"])],
            KINDS[kind],
            args["amount"],
            args["burned"],
            args["challengerReward"],
            None if args["challenger"] == zero else self.party(args["challenger"]),
            args["sharePerClient"],
            tuple(sharers),
            later,
            fine.fined.time,
            fine.fined.transaction,
        )

    def _who(self, event: ChainEvent) -> PartyRef:
        args = event.args
        return self.party(args.get("announcer") or args.get("institution") or args.get("challenger") or "")

    # Transactions

    def gas(self, events: Iterable[ChainEvent]) -> int | None:
        """Of these events' transactions; None while one is unknown."""
        total = 0
        for event in events:
            found = self.source.book.find(event.transaction, event.block_hash)
            if found is None:
                return None
            total += found.gas
        return total

    def counted(self, log: StudyLog, number: int) -> list[ChainEvent]:
        """First events of the transactions whose gas is counted in a round."""
        home = (log.view.study_id, number)
        return [
            event
            for name, event in log.transactions.get(number, {}).items()
            if self.replay.home_of.get(name) == home
        ]

    def transaction(
        self, event: ChainEvent, events: str = "", home: Callable[[str], int | None] = lambda _: None
    ) -> TransactionRow:
        """A row for the transaction of an event. home: the round elsewhere in which its gas is counted."""
        found = self.source.book.find(event.transaction, event.block_hash)
        call = f"{found.contract}.{found.function}" if found and found.function else ""
        return TransactionRow(
            event.transaction,
            event.time,
            event.block,
            call or ("through another contract" if found else "not known"),
            self.party(found.sender) if found else PartyRef(""),
            found.gas if found else None,
            found.gas * found.price if found else None,
            events,
            home(event.transaction),
        )


_LATER = {
    "RewardHeld": "reward held for an earlier announcer",
    "RewardRedirected": "reward given to the earlier announcer",
    "RewardClaimed": "reward claimed",
    "ShareClaimed": "share claimed",
}


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
