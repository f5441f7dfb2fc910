"""What must be true when a soak has ended, apart from memory and disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from collegium.chain import Chain
from collegium.chain.events import ChainEvent
from collegium.chain.views import StudyView

from .money import Holding

__all__ = ["Outcome", "count_double_signatures", "measure_transactions"]

LOOKED_AT = 60
"""Transactions at the end of a run: ten rounds."""


@dataclass(frozen=True)
class Outcome:
    """asked: rounds wanted. incomplete: final rounds that somebody invited was too late for. lost: token wei that
    were funded and are nowhere, over all institutions. unequal: institutions that do not hold what they were given.
    double_signed: pairs of different updates by one key for one round, in any journal. largest_gas, largest_calldata:
    of one transaction of the last rounds (gas, bytes).
    """

    asked: int
    final: int
    aborted: int
    incomplete: int
    fines: int
    lost: int
    unequal: int
    double_signed: int
    audited: bool
    orphans: int
    institutions: int
    largest_gas: int
    largest_calldata: int

    @classmethod
    def look(
        cls,
        view: StudyView,
        events: Sequence[ChainEvent],
        *,
        chain: Chain,
        asked: int,
        audited: bool,
        holdings: Mapping[str, Holding],
        homes: Sequence[Path],
        orphans: Sequence[str],
    ) -> Self:
        """From the chain's events, balances, and the journals in the homes."""
        final = view.final_rounds
        gas, calldata = measure_transactions(chain, events, view.study_id)
        return cls(
            asked=asked,
            final=len(final),
            aborted=sum(each.aborted is not None for each in view.rounds),
            incomplete=sum(each.outcome is None or each.outcome.included != each.invited for each in final),
            fines=sum(event.name == "Fined" for event in events),
            lost=sum(each.lost for each in holdings.values()),
            unequal=sum(each.lost != 0 for each in holdings.values()),
            double_signed=sum(count_double_signatures(home / "state" / "journal.sqlite") for home in homes),
            audited=audited,
            orphans=len(orphans),
            institutions=len(holdings),
            largest_gas=gas,
            largest_calldata=calldata,
        )

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def measure_transactions(chain: Chain, events: Sequence[ChainEvent], study_id: int) -> tuple[int, int]:
    """Most gas and most bytes of calldata of one transaction among the study's last ones."""
    hashes = list(dict.fromkeys(event.transaction for event in events if event.args.get("studyId") == study_id))
    hashes = hashes[-LOOKED_AT:]
    receipts = chain.rpc.batch("eth_getTransactionReceipt", [[each] for each in hashes])
    sent = chain.rpc.batch("eth_getTransactionByHash", [[each] for each in hashes])
    gas = max((int(each["gasUsed"], 16) for each in receipts), default=0)
    return gas, max((len(each["input"]) // 2 - 1 for each in sent), default=0)


def count_double_signatures(journal: Path) -> int:
    """Rounds for which a journal holds two different updates; 0 where there is no journal."""
    if not journal.exists():
        return 0
    db = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        rows: list[tuple[Any, ...]] = db.execute(
            "SELECT COUNT(DISTINCT message) FROM signed WHERE kind='update'"
            " GROUP BY chain, contract, signer, study, round"
        ).fetchall()
    finally:
        db.close()
    return sum(count > 1 for (count,) in rows)
