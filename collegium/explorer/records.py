"""What pages show: frozen records of text and numbers. Every page is one record; its JSON is the record as it is.

Addresses are checksummed, hashes and digests 0x hex, times unix seconds, amounts units of 10^-18 tokens. Text from
the chain or a store is as it came: whoever shows it must escape it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .parts import (
    Amount,
    Cell,
    Chart,
    Check,
    Choice,
    CidRef,
    Countdown,
    Fact,
    FineRow,
    GridColumn,
    GridRow,
    LaterRow,
    PartyRef,
    Point,
    RefutationRow,
    RoundRow,
    TransactionRow,
)

__all__ = [
    "Amount", "BondRow", "Cell", "Chart", "Check", "Choice", "CidRef", "ClientTerm", "ContractRow", "Countdown",
    "Fact", "FineRow", "GovernanceRow", "GridColumn", "GridRow", "HistoryRow", "InstitutionPage", "InstitutionRow",
    "InstitutionsPage", "JoinedStudy", "KeyRow", "LaterRow", "LineagePage", "LineageRow", "ModelPage", "MovementRow",
    "OverviewPage", "PartyRef", "PhaseRow", "Point", "ProposalRow", "RefutationPage", "RefutationRow", "RollCallRow",
    "RoundPage", "RoundRow", "RoundsPage", "SeatRow", "SkippedRow", "StudyPage", "StudyRow", "TransactionRow",
    "VerifyPage",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContractRow:
    name: str
    address: str
    code_hash: str
    code_bytes: int
    check: Check
    block: int
    transaction: str


@dataclass(frozen=True, slots=True)
class StudyRow:
    study: int
    title: str
    sponsor: PartyRef
    status: str
    members: int
    aggregators: int
    rounds: int
    final: int
    aborted: int
    refuted: int
    live: Countdown | None


@dataclass(frozen=True, slots=True)
class OverviewPage:
    network: str
    chain_id: int
    contracts: tuple[ContractRow, ...]
    studies: tuple[StudyRow, ...]
    institutions: int
    transactions: int
    events: int
    health: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class RoundsPage:
    """One page of the grid. page: from 1."""

    study: int
    title: str
    page: int
    pages: int
    first: int
    last: int
    columns: tuple[GridColumn, ...]
    members: tuple[GridRow, ...]
    aggregators: tuple[GridRow, ...]
    rows: tuple[RoundRow, ...]
    page_links: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class SeatRow:
    seat: int
    party: PartyRef
    node_key: str
    max_fine: int
    locked: int
    agreement: str
    open_updates: bool
    joined: int
    transaction: str
    left: str
    served: int


@dataclass(frozen=True, slots=True)
class BondRow:
    party: PartyRef
    locked: int
    proposals: int
    final: int


@dataclass(frozen=True, slots=True)
class GovernanceRow:
    """until: end of a term, 0 where it is none."""

    what: str
    party: PartyRef
    time: int
    until: int
    transaction: str


@dataclass(frozen=True, slots=True)
class StudyPage:
    study: int
    title: str
    description: str
    published: Check
    sponsor: PartyRef
    status: str
    status_note: str
    created: int
    transaction: str
    live: Countdown | None
    counts: tuple[Fact, ...]
    plan: tuple[tuple[str, tuple[Fact, ...]], ...]
    seats: tuple[SeatRow, ...]
    aggregators: tuple[BondRow, ...]
    governance: tuple[GovernanceRow, ...]
    open_until: int
    charts: tuple[Chart, ...]
    refutations: tuple[RefutationRow, ...]
    refutations_total: int
    model: CidRef
    model_round: int
    grid: RoundsPage | None
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhaseRow:
    phase: str
    attempt: int
    start: int
    end: int | None
    deadline: int
    ended: str
    actor: PartyRef | None


@dataclass(frozen=True, slots=True)
class RollCallRow:
    """One seat. committed, revealed, endorsed: times, 0 for not. attested: how many certify its update."""

    seat: int
    party: PartyRef
    node_key: str
    cell: Cell
    invited: bool
    committed: int
    revealed: int
    certified: bool
    attested_by: int
    endorsed: int
    weight: int
    fined: int
    blob: CidRef | None


@dataclass(frozen=True, slots=True)
class ProposalRow:
    attempt: int
    aggregator: PartyRef
    status: Cell
    hash: str
    model: CidRef
    mean: CidRef
    endorsed: int
    needed: int
    included: int
    weight_sum: int
    time: int
    transaction: str


@dataclass(frozen=True, slots=True)
class SkippedRow:
    seat: int
    party: PartyRef | None
    reason: str
    time: int
    transaction: str


@dataclass(frozen=True, slots=True)
class RoundPage:
    study: int
    title: str
    round: int
    outcome: Cell
    summary: str
    live: Countdown | None
    phases: tuple[PhaseRow, ...]
    facts: tuple[Fact, ...]
    roll_call: tuple[RollCallRow, ...]
    proposals: tuple[ProposalRow, ...]
    skipped: tuple[SkippedRow, ...]
    refutations: tuple[RefutationRow, ...]
    fines: tuple[FineRow, ...]
    transactions: tuple[TransactionRow, ...]
    gas: int
    gas_unknown: int
    commands: tuple[str, ...]
    grid_page: int
    previous: int | None
    following: int | None


@dataclass(frozen=True, slots=True)
class InstitutionRow:
    party: PartyRef
    state: str
    seats: int
    served: int
    faults: int
    free: int
    locked: int


@dataclass(frozen=True, slots=True)
class InstitutionsPage:
    institutions: tuple[InstitutionRow, ...]


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What was done by or to an institution. study: None where none is named."""

    time: int
    what: str
    study: int | None
    transaction: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    key: str
    since: int
    until: int
    transaction: str


@dataclass(frozen=True, slots=True)
class JoinedStudy:
    """counts: rounds by what was done, in words."""

    study: int
    title: str
    role: str
    state: str
    locked: int
    releasable: int
    counts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class MovementRow:
    time: int
    what: str
    amount: int
    study: int | None
    free: int
    unbonding: int
    locked: int
    transaction: str


@dataclass(frozen=True, slots=True)
class InstitutionPage:
    party: PartyRef
    state: str
    admitted: int
    admission: str
    profile: str
    free: int
    unbonding: int
    locked: int
    withdrawable: int
    keys: tuple[KeyRow, ...]
    history: tuple[HistoryRow, ...]
    studies: tuple[JoinedStudy, ...]
    faults: tuple[FineRow, ...]
    movements: tuple[MovementRow, ...]
    movements_total: int


@dataclass(frozen=True, slots=True)
class LineageRow:
    """A model and what made it. record: of the round; parent: the record before it."""

    round: int
    root: str
    cid: str
    record: str
    parent: str
    time: int
    disputed: bool


@dataclass(frozen=True, slots=True)
class LineagePage:
    study: int
    title: str
    page: int
    pages: int
    rows: tuple[LineageRow, ...]
    page_links: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class ModelPage:
    """round: 0 for genesis. contributors: what each seat's update weighed in the step that made it."""

    study: int
    title: str
    round: int
    model: CidRef
    digest: str
    made: str
    time: int
    disputed: bool
    facts: tuple[Fact, ...]
    contributors: tuple[Fact, ...]
    lineage: tuple[LineageRow, ...]
    omitted: int
    children: tuple[int, ...]
    commands: tuple[str, ...]
    metrics: str


@dataclass(frozen=True, slots=True)
class ClientTerm:
    """One client in the mean of one coordinate. read: the element clamped to the bound."""

    seat: int
    party: PartyRef
    weight: int
    element: int
    read: int
    product: int


@dataclass(frozen=True, slots=True)
class RefutationPage:
    study: int
    title: str
    ordinal: int
    round: int
    kind: str
    rule: str
    accused: PartyRef
    challenger: PartyRef
    time: int
    transaction: str
    recorded: bool
    story: str
    coordinate: int | None
    place: str
    claimed: int | None
    right: int | None
    exponent: int
    clients: tuple[ClientTerm, ...]
    working: tuple[Fact, ...]
    checked: Check
    fine: FineRow | None
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyPage:
    """Check any file against a CID, in the browser."""

    limit: int
