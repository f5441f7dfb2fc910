"""Small forms that records of several pages share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Amount", "Cell", "Chart", "Check", "Choice", "CidRef", "Countdown", "Fact", "FineRow", "GridColumn", "GridRow",
    "LaterRow", "PartyRef", "Point", "RefutationRow", "RoundRow", "TransactionRow",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PartyRef:
    """An address and whose it is. institution: empty when none is known. name: of the institution, foreign text."""

    address: str
    institution: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class CidRef:
    """A blob. root: that its payload must have, empty for a plan. size: most bytes it may have."""

    cid: str
    root: str
    size: int
    what: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of words: what, its value, what it means. value: text, or a record that is shown in its own form."""

    name: str
    value: object
    note: str = ""


@dataclass(frozen=True, slots=True)
class Amount:
    units: int


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at. ok: None when it could not be."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Countdown:
    """A phase that ends at a deadline. now: the chain's time when the page was made."""

    study: int
    round: int
    phase: str
    deadline: int
    now: int
    waiting_for: str


@dataclass(frozen=True, slots=True)
class Point:
    """first, last: rounds it stands for. value: their median."""

    first: int
    last: int
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    unit: str
    points: tuple[Point, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one party did in one round. mark: a letter or sign; words: the same in words; tone: for its color."""

    mark: str
    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A link among several. current: the page one is on."""

    label: str
    path: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """gas: None when the node did not tell. elsewhere: the round in which its gas is counted, when not here."""

    hash: str
    time: int
    block: int
    call: str
    sender: PartyRef
    gas: int | None
    fee_wei: int | None
    events: str
    elsewhere: int | None


@dataclass(frozen=True, slots=True)
class LaterRow:
    """What became of a part of a fine."""

    what: str
    amount: int
    party: PartyRef
    time: int


@dataclass(frozen=True, slots=True)
class FineRow:
    """Where a fine went. share: of each sharer; later: what became of reward and shares."""

    party: PartyRef
    role: str
    kind: str
    amount: int
    burned: int
    reward: int
    challenger: PartyRef | None
    share: int
    sharers: tuple[PartyRef, ...]
    later: tuple[LaterRow, ...]
    time: int
    transaction: str


@dataclass(frozen=True, slots=True)
class RefutationRow:
    ordinal: int
    round: int
    kind: str
    accused: PartyRef
    challenger: PartyRef
    paid: int
    time: int
    transaction: str
    path: str


@dataclass(frozen=True, slots=True)
class GridColumn:
    round: int
    cell: Cell


@dataclass(frozen=True, slots=True)
class GridRow:
    party: PartyRef
    seat: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class RoundRow:
    """transactions_gas: of the transactions counted in it, None while one is unknown. seconds: opened to ended."""

    round: int
    outcome: Cell
    opened: int
    seconds: int | None
    committed: int
    certified: int
    invited: int
    attempts: int
    gas: int | None
    model: CidRef | None
