"""The whole deployment as its events tell it, kept up to date event by event: parties, money, studies, faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from collegium.audit.world import Identities, Ledger
from collegium.chain.events import ChainEvent
from collegium.chain.views import StudyView
from collegium.encoding import HEADER_BYTES
from collegium.errors import CollegiumError
from collegium.records import ZERO_ADDRESS, Role

__all__ = ["Balance", "FineRecord", "KeySpell", "Movement", "Party", "Replay", "StudyLog"]

PLAN_BYTES = 1 << 20
_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class KeySpell:
    """A node key and how long it spoke for its institution."""

    key: str
    since: ChainEvent
    until: ChainEvent | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """Token units of one institution."""

    free: int
    unbonding: int
    locked: int


@dataclass(frozen=True, slots=True)
class Movement:
    """Money of an institution moved. after: its balance then; study: None when none is named."""

    event: ChainEvent
    amount: int
    study: int | None
    after: Balance


@dataclass
class Party:
    """An institution. name: as the council admitted it."""

    address: str
    name: str = ""
    profile: str = ""
    admitted: ChainEvent | None = None
    suspended: bool = False
    keys: list[KeySpell] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    history: list[ChainEvent] = field(default_factory=list)
    """Admission, suspensions, keys, joins and leaves."""


@dataclass
class FineRecord:
    """A fine and what became of its parts."""

    fined: ChainEvent
    later: list[ChainEvent] = field(default_factory=list)


@dataclass
class StudyLog:
    """A study's view, and what the view does not keep."""

    view: StudyView
    fines: dict[str, list[FineRecord]] = field(default_factory=dict)
    """By ctx, 0x hex."""
    refutations: list[ChainEvent] = field(default_factory=list)
    governance: list[ChainEvent] = field(default_factory=list)
    rounds_of_ctx: dict[str, int] = field(default_factory=dict)
    transactions: dict[int, dict[str, ChainEvent]] = field(default_factory=dict)
    """By round: transaction hash to its first event there."""

    @property
    def status(self) -> int:
        """0 open, 1 paused, 2 closed."""
        changes = [event for event in self.governance if event.name == "StudyStatusChanged"]
        return int(changes[-1].args["status"]) if changes else 0

    @property
    def open_until(self) -> int:
        """End of the term in unix seconds; 0 when there is none."""
        terms = [event for event in self.governance if event.name == "StudyExtended"]
        return int(terms[-1].args["openUntil"]) if terms else 0


class Replay:
    """Apply events in chain order; look at the fields. Contradictions become `problems`, never exceptions."""

    def __init__(self, bonds: str) -> None:
        self.identities = Identities()
        self.ledger = Ledger(bonds)
        self.parties: dict[str, Party] = {}
        self.studies: dict[int, StudyLog] = {}
        self.blobs: dict[str, int] = {}
        """CIDs that the chain names, with the most bytes each may have."""
        self.home_of: dict[str, tuple[int, int]] = {}
        """Transaction to the study and round it is counted in: the first it tells of."""
        self.problems: list[str] = []
        self.events = 0
        self._fines: dict[str, FineRecord] = {}
        self._seats: dict[int, dict[str, int]] = {}

    def apply(self, event: ChainEvent) -> None:
        self.events += 1
        try:
            self._apply(event)
        except (CollegiumError, LookupError, ValueError, TypeError, AttributeError) as error:
            self._note(f"{event.name} in {event.transaction}: {error}")

    def party(self, address: str) -> Party:
        return self.parties.setdefault(address, Party(address))

    def institution_of(self, address: str) -> str:
        """The institution behind an address: itself, or the owner of a node key; empty when neither."""
        if address in self.parties:
            return address
        owner = self.identities.institution_of(address)
        return "" if owner == ZERO_ADDRESS else owner

    def balance_of(self, institution: str) -> Balance:
        stake = self.ledger.stake(institution)
        locked = sum(amount for (_, owner, _), amount in self.ledger.locks.items() if owner == institution)
        return Balance(stake.free, stake.unbonding, locked)

    def lock_of(self, study: int, institution: str, role: Role) -> tuple[int, int]:
        """Amount, and when it may be released: 0 while it is held."""
        key = (study, institution, role)
        return self.ledger.locks.get(key, 0), self.ledger.releases.get(key, 0)

    def _note(self, problem: str) -> None:
        if len(self.problems) < _PROBLEMS:
            self.problems.append(problem)

    def _apply(self, event: ChainEvent) -> None:
        self.identities.apply(event)
        key = event.args.get("key")
        study_id = event.study_id
        if event.name == "ShareClaimed" and key in self._fines:
            study_id = self._fines[key].fined.study_id
        for problem in self.ledger.apply(event, self._seats.get(study_id or 0, {})):
            self._note(f"{event.name} in {event.transaction}: {problem}")
        if event.contract == "Members":
            self._member(event)
        elif event.contract == "Bonds":
            self._money(event, study_id)
        elif event.contract in ("Collegium", "Refutations"):
            self._study(event)

    # Parties

    def _member(self, event: ChainEvent) -> None:
        args = event.args
        if "institution" not in args:
            return
        party = self.party(args["institution"])
        party.history.append(event)
        if event.name == "InstitutionAdmitted":
            party.name, party.profile, party.admitted = args["name"], args["profile"], event
        elif event.name == "InstitutionSuspended":
            party.suspended = args["suspended"]
        elif event.name == "NodeKeyRegistered":
            party.keys.append(KeySpell(args["nodeKey"], event))
        elif event.name == "NodeKeyRevoked":
            party.keys = [
                KeySpell(each.key, each.since, event) if each.key == args["nodeKey"] and each.until is None else each
                for each in party.keys
            ]

    # Money

    def _money(self, event: ChainEvent, study_id: int | None) -> None:
        args = event.args
        if event.name == "Fined":
            self._fined(event)
        elif "key" in args and args["key"] in self._fines:
            self._fines[args["key"]].later.append(event)
        owners = dict.fromkeys(args.get(name) for name in ("institution", "account", "challenger", "announcer"))
        for owner in owners:
            institution = self.institution_of(owner) if owner else ""
            if institution:
                amount = int(args.get("amount", 0))
                if event.name == "Fined" and owner == args["challenger"]:
                    amount = int(args["challengerReward"])
                moved = Movement(event, amount, study_id, self.balance_of(institution))
                self.parties[institution].movements.append(moved)

    def _fined(self, event: ChainEvent) -> None:
        fine = FineRecord(event)
        self._fines[event.args["key"]] = fine
        log = self.studies.get(event.args["studyId"])
        if log is not None:
            log.fines.setdefault(event.args["ctx"], []).append(fine)
            number = log.rounds_of_ctx.get(event.args["ctx"])
            if number is not None:
                self._count(log, number, event)

    # Studies

    def _study(self, event: ChainEvent) -> None:
        args = event.args
        study_id = event.study_id
        if study_id is None:
            return
        if event.name == "StudyCreated":
            view = StudyView.build([event], study_id)
            self.studies[study_id] = StudyLog(view)
            self.blobs[view.genesis_cid] = HEADER_BYTES + view.format.payload_bytes
            self.blobs[view.plan_cid] = PLAN_BYTES
            return
        log = self.studies[study_id]
        if event.name in ("StudyStatusChanged", "StudyExtended", "MemberRemoved"):
            log.governance.append(event)
        if event.name in ("MemberJoined", "MemberLeft", "MemberRemoved", "AggregatorEnlisted", "AggregatorDelisted"):
            self.party(args["institution"]).history.append(event)
        if event.name == "MemberJoined":
            self._seats.setdefault(study_id, {})[args["institution"]] = args["index"]
        log.view._apply(event)
        if event.name == "Refuted":
            log.refutations.append(event)
        if event.name == "RoundOpened":
            log.rounds_of_ctx[args["ctx"]] = args["round"]
        if event.round is not None:
            self._count(log, event.round, event)
        size = HEADER_BYTES + log.view.format.payload_bytes
        for name in ("cid", "modelCid", "meanCid"):
            if args.get(name):
                self.blobs[args[name]] = size

    def _count(self, log: StudyLog, number: int, event: ChainEvent) -> None:
        log.transactions.setdefault(number, {}).setdefault(event.transaction, event)
        self.home_of.setdefault(event.transaction, (log.view.study_id, number))

