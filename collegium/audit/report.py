"""What an audit says: one verdict per check and, where it applies, per round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any

from collegium.amounts import format_tokens
from collegium.errors import AuditFailedError, CollegiumError, UnreachableError

__all__ = ["CHECKS", "Agreement", "AuditIncompleteError", "Check", "Findings", "Report", "Status", "Tally", "utc"]

SCHEMA = "collegium.audit/1"
SHOWN = 5
"""Problems that a check's detail spells out; the others are counted."""


class Status(StrEnum):
    """WARNING: nothing is wrong, but something could not be proven from public data. Ordered from best to worst."""

    OK = "ok"
    WARNING = "warning"
    INCOMPLETE = "incomplete"
    MISMATCH = "mismatch"


_WORST = {status: rank for rank, status in enumerate(Status)}


@dataclass(frozen=True, slots=True)
class Kind:
    """A check: what its passes count, how to do it by hand, and what to say of a single pass."""

    counted: str
    reproduce: str
    single: str = ""

    def say(self, passed: int) -> str:
        return self.single if passed == 1 and self.single else f"{passed} {self.counted}"


CHECKS: Mapping[str, Kind] = {
    "logs": Kind(
        "blocks in one chain of headers, every receipt of ours against its root",
        "hash each header from start block to head, follow parentHash, rebuild receiptsRoot and transactionsRoot",
    ),
    "events": Kind("events that follow from one another", "replay the events of each contract in order"),
    "deployment": Kind(
        "statements of the deployment file that hold",
        "cast code ADDRESS; compare the tail of each creation's input with the constructor arguments, and the "
        "*Connected events",
    ),
    "plan": Kind(
        "properties of the plan that hold: hashes, identifiers, limits",
        "planHash = keccak(TAG_PLAN, words); formatId = keccak(TAG_FORMAT, sectionsHash, tableHash); "
        "docs/protocol.md section 4",
    ),
    "genesis": Kind(
        "first model fetched and equal to the plan's",
        "fetch StudyCreated.genesisCid; its tree's root is plan.genesisModelRoot",
        "the first model was fetched and is the plan's",
    ),
    "admissions": Kind(
        "points of admission that hold: approvals of the council, signatures of institutions and node keys",
        "cast tx HASH input; recover the approvals over Admit and both signatures over NodeKey, domain of Members",
    ),
    "joins": Kind(
        "points of joining and leaving that hold: what was signed, by whom, and what was locked",
        "cast tx HASH input; recover the signature over Join",
    ),
    "roster": Kind(
        "points in which the round's roster, invitations and order of aggregators are what the contracts prescribe",
        "snapshotHash = keccak(TAG_ROSTER, members...) over Members and Bonds as of RoundOpened",
    ),
    "context": Kind(
        "context recomputed from the history",
        "ctx = keccak(TAG_CTX, ...) over RoundOpened and the last RoundFinalized",
        "the context follows from the history",
    ),
    "commits": Kind("updates signed by their seat's key", "cast tx HASH input; recover each Update of commitUpdates"),
    "reveals": Kind(
        "reveals that open their commitment", "slot = first 28 bytes of item || weight, from UpdateRevealed"
    ),
    "certificates": Kind(
        "attestations signed by their seat's key", "cast tx HASH input; recover each Attest of certify; count per bit"
    ),
    "phases": Kind("acts inside their phase", "replay catch_up (docs/protocol.md section 7) over the block times"),
    "endorsements": Kind(
        "endorsements signed by their seat's key", "cast tx HASH input; recover each Endorse of endorse or conclude"
    ),
    "blobs": Kind("updates fetched and equal to what was revealed", "fetch UpdateRevealed.cid; derive CID and root"),
    "mean": Kind(
        "mean recomputed",
        "docs/protocol.md section 4 over the certified updates; meanRoot, meanDigest",
        "the mean was recomputed",
    ),
    "step": Kind(
        "step recomputed",
        "docs/protocol.md section 4 over base model and mean; newModelRoot, modelDigest",
        "the step was recomputed",
    ),
    "refutations": Kind(
        "refutations that prove their fault",
        "cast tx HASH input; open the evidence against the proposal's roots",
        "one refutation, which proves its fault",
    ),
    "record": Kind(
        "record recomputed", "record = keccak(TAG_RECORD, parentRecord, proposal, outcome)", "the record was recomputed"
    ),
    "fines": Kind(
        "fines with a cause and the prescribed split", "Fined against plan, roster and docs/contracts/Bonds.md"
    ),
    "money": Kind("balances replayed from events", "sum Bonds events; compare stakeOf, lockOf, creditOf, balanceOf"),
    "model": Kind(
        "latest model as the contract names it", "modelOf(study) is the last RoundFinalized", "it is the last round's"
    ),
}
"""In the order of the report."""


_VERBS = {"mismatch": "found a mismatch", "incomplete": "is incomplete"}
_HINTS = {
    "mismatch": "`--verbose` shows every check, `--json` also how to do each by hand.",
    "incomplete": "Name a node or a store that has what is missing: `--rpc-url URL`, `--store URI` (repeatable).",
}


class AuditIncompleteError(UnreachableError):
    """Nothing contradicts the record, but something could not be fetched."""

    code = "audit_incomplete"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict. subject: the round, or None for the study. reproduce: how to do it by hand."""

    name: str
    status: Status
    detail: str
    reproduce: str
    subject: int | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Proven from public data."""
        return self.status is Status.OK

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "round": self.subject,
            "ok": self.ok,
            "status": self.status.value,
            "detail": self.detail,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "reproduce": self.reproduce,
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one member signed. agreement: SHA-256 of the text, 0x hex; zeros when the plan names none.

    open_updates: the waiver. max_fine: token units. time: unix seconds. signature: what was found of it, in words.
    left: when and how it left, empty while it is a member.
    """

    seat: int
    institution: str
    name: str
    agreement: str
    plan_hash: str
    open_updates: bool
    max_fine: int
    time: int
    block: int
    transaction: str
    signature: str
    left: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "max_fine": str(self.max_fine),
            "at": utc(self.time),
        }


@dataclass(slots=True)
class Tally:
    """What one check has found so far."""

    name: str
    subject: int | None = None
    passed: int = 0
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def passes(self, count: int = 1) -> None:
        self.passed += count

    def fail(self, problem: str) -> None:
        self.problems.append(problem)

    def miss(self, what: str) -> None:
        """Something that could not be fetched."""
        self.missing.append(what)

    def warn(self, what: str) -> None:
        """Something that public data does not prove."""
        self.warnings.append(what)

    def note(self, what: str) -> None:
        """A fact that a reader wants to know and that is no fault of the record."""
        self.notes.append(what)

    def require(self, condition: bool, problem: str) -> bool:
        """A pass, or the problem."""
        if condition:
            self.passes()
        else:
            self.fail(problem)
        return condition

    def equal(self, what: str, actual: Any, expected: Any) -> bool:
        return self.require(actual == expected, f"{what} is {_text(actual)}, not {_text(expected)}")

    def equal_tokens(self, what: str, actual: int, expected: int) -> bool:
        """Amounts in units of 10^-18."""
        return self.require(
            actual == expected, f"{what} is {format_tokens(actual)} tokens, not {format_tokens(expected)}"
        )

    def equal_fields(self, what: str, actual: Any, expected: Any) -> bool:
        """Two records of a kind; the problem names the fields in which they differ."""
        differing = [
            f"its {field.name.replace('_', ' ')} is {_text(getattr(actual, field.name))}, "
            f"not {_text(getattr(expected, field.name))}"
            for field in fields(actual)
            if getattr(actual, field.name) != getattr(expected, field.name)
        ]
        return self.require(not differing, f"{what}: {'; '.join(differing)}")

    def to_check(self) -> Check:
        kind = CHECKS[self.name]
        if self.problems:
            status, said = Status.MISMATCH, self.problems + self.missing
        elif self.missing:
            status, said = Status.INCOMPLETE, self.missing
        else:
            status, said = (Status.WARNING if self.warnings else Status.OK), self.warnings
        if status in (Status.MISMATCH, Status.INCOMPLETE):
            detail = "; ".join(said[:SHOWN]) + (f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else "")
        else:
            detail = "; ".join([kind.say(self.passed), *self.notes, *said[:SHOWN]])
        return Check(
            self.name,
            status,
            detail,
            kind.reproduce,
            self.subject,
            tuple(self.problems + self.missing),
            tuple(self.warnings),
        )


class Findings:
    """The tallies of an audit, one per check and subject, made when first asked for."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, int | None], Tally] = {}

    def of(self, name: str, subject: int | None = None) -> Tally:
        key = (name, subject)
        if key not in self._tallies:
            self._tallies[key] = Tally(name, subject)
        return self._tallies[key]

    def checks(self) -> tuple[Check, ...]:
        """In the order of the table, rounds ascending."""
        order = {name: rank for rank, name in enumerate(CHECKS)}
        ranked = sorted(self._tallies.values(), key=lambda tally: (order[tally.name], tally.subject or 0))
        return tuple(tally.to_check() for tally in ranked)


@dataclass(frozen=True, slots=True)
class Report:
    """head: number, hash (0x hex) and time (unix seconds) of the last block. facts: what a reader asks first.

    agreements: what each member signed when it joined, in the order of seats.
    """

    study_id: int
    chain_id: int
    head: Mapping[str, Any]
    checks: tuple[Check, ...]
    facts: Mapping[str, Any]
    agreements: tuple[Agreement, ...] = ()

    @property
    def verdict(self) -> str:
        """ok, incomplete (something could not be fetched) or mismatch."""
        worst = max((_WORST[check.status] for check in self.checks), default=0)
        return Status.OK.value if worst <= _WORST[Status.WARNING] else list(Status)[worst].value

    @property
    def exit_code(self) -> int:
        """0 ok, 4 mismatch, 5 incomplete."""
        errors = {"mismatch": AuditFailedError.exit_code, "incomplete": AuditIncompleteError.exit_code}
        return errors.get(self.verdict, 0)

    def failed(self) -> list[Check]:
        """Checks that found a mismatch or lack something."""
        return [check for check in self.checks if check.status in (Status.MISMATCH, Status.INCOMPLETE)]

    def check(self, name: str, subject: int | None = None) -> Check:
        """Raises LookupError when there is no such check."""
        for check in self.checks:
            if (check.name, check.subject) == (name, subject):
                return check
        raise LookupError(f"no check {name} of {'the study' if subject is None else f'round {subject}'}")

    def require(self) -> None:
        """Raises AuditFailedError on a mismatch, AuditIncompleteError when something could not be fetched."""
        failed = self.failed()
        if self.verdict == "ok":
            return
        kind: type[CollegiumError] = AuditFailedError if self.verdict == "mismatch" else AuditIncompleteError
        worst = max(failed, key=lambda check: _WORST[check.status])
        raise kind(
            f"The audit of study {self.study_id} {_VERBS[self.verdict]}: {worst.name}{_of(worst)}: {worst.detail}.",
            hint=_HINTS[self.verdict],
            checks=[f"{check.name}{_of(check)}" for check in failed],
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study_id,
            "chain_id": self.chain_id,
            "verdict": self.verdict,
            "head": dict(self.head),
            "facts": dict(self.facts),
            "agreements": [each.to_json() for each in self.agreements],
            "checks": [check.to_json() for check in self.checks],
        }

    def lines(self, *, verbose: bool = False) -> Iterator[str]:
        """For a terminal. Rounds that passed a check share a line unless `verbose`."""
        yield f"Study {self.study_id} on chain {self.chain_id}, up to block {self.head['number']} {self.head['hash']}"
        yield f"  of {utc(self.head['time'])}"
        for name in CHECKS:
            mine = [check for check in self.checks if check.name == name]
            passed = [check for check in mine if check.ok]
            if not verbose and len(passed) > 1 and all(check.subject is not None for check in passed):
                rounds = _spans(check.subject or 0 for check in passed)
                yield f"  {'ok':<10} {name:<13} rounds {rounds}: {CHECKS[name].counted}"
                mine = [check for check in mine if not check.ok]
            for check in mine:
                where = "" if check.subject is None else f"round {check.subject}: "
                yield f"  {check.status.value:<10} {name:<13} {where}{check.detail}"
                if check.status in (Status.MISMATCH, Status.INCOMPLETE):
                    yield f"  {'':<24} by hand: {check.reproduce}"
        yield from self._signed()
        for name, value in self.facts.items():
            if name.endswith("_wei"):
                yield f"  {name.removesuffix('_wei').replace('_', ' ')}: {format_tokens(value)} tokens"
            else:
                yield f"  {name.replace('_', ' ')}: {_text(value)}"
        yield f"Verdict: {self.verdict}"


    def _signed(self) -> Iterator[str]:
        """Who signed what: a line per member, the digests once where all signed the same."""
        if not self.agreements:
            return
        digests = {each.agreement for each in self.agreements}
        yield "Signed by the members:"
        if len(digests) == 1:
            yield f"  agreement {_agreement(next(iter(digests)))}, the plan, and the terms on open updates"
        for each in self.agreements:
            waiver = "updates public: agreed" if each.open_updates else "updates public: NOT agreed"
            own = "" if len(digests) == 1 else f"agreement {_agreement(each.agreement)}, "
            left = f", {each.left}" if each.left else ""
            yield (
                f"  seat {each.seat:<3} {each.institution} {each.name}: {own}{waiver}, fines up to "
                f"{format_tokens(each.max_fine)} tokens{left}"
            )
            yield f"           {utc(each.time)}, transaction {each.transaction}; signature {each.signature}"


def _agreement(digest: str) -> str:
    return "none (the plan names no text)" if int(digest, 16) == 0 else digest


def _of(check: Check) -> str:
    return "" if check.subject is None else f" of round {check.subject}"


def _spans(numbers: Iterable[int]) -> str:
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in spans)


def utc(seconds: int) -> str:
    """A moment of the chain in words; a number that is no moment as itself."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _text(value: Any) -> str:
    """For a sentence: no Python literals."""
    if isinstance(value, (bytes, bytearray)):
        return "0x" + bytes(value).hex()
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.name.lower().replace("_", " ")
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(f"({_text(each)})" if isinstance(each, tuple) else _text(each) for each in value) or "none"
    return str(value)
