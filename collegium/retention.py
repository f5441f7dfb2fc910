"""The retention term of a study: how long stores keep the members' updates after a round has ended.

The term stands in the published plan, whose digest everybody signs. Updates go; plan, genesis, means and models stay,
so a study can be taken further and every model checked against its root. What goes is no longer recomputable by
those who kept no copy: an audit then says so, with the date. Nothing goes while it may still be evidence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from collegium.chain.views import RoundView, StudyView
from collegium.encoding import HEADER_BYTES, BlobKind, parse_header
from collegium.errors import CollegiumError
from collegium.storage.cid import Cid, parse_cid
from collegium.storage.folder import BlobFolder
from collegium.storage.store import OwnStore

__all__ = ["DAY", "MAX_DAYS", "Expired", "Keeper", "Pruned", "find_expired", "passed_at", "prune", "read_days",
           "write_line"]  # fmt: skip

DAY = 86_400
MAX_DAYS = 36_500


@dataclass(frozen=True)
class Expired:
    """A round whose updates are kept no longer. passed_at: since when, unix seconds."""

    round: int
    ctx: bytes
    passed_at: int
    cids: Mapping[int, Cid]


@dataclass(frozen=True)
class Pruned:
    """A blob that was let go of, or would be. store: its name. index: the seat whose update it was."""

    cid: Cid
    round: int
    index: int
    passed_at: int
    store: str
    bytes: int


def read_days(plan: bytes) -> int | None:
    """The term in days of a published plan; None when it names none, as plans before 0.2 do."""
    try:
        days = json.loads(plan)["retention"]["days"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return days if type(days) is int and 0 < days <= MAX_DAYS else None


def passed_at(study: StudyView, view: RoundView, days: int) -> int | None:
    """When the updates of a round are kept no longer; None while the round runs. Never within the evidence period."""
    ended = view.finalized or view.aborted
    return None if ended is None else ended.time + max(days * DAY, study.plan.evidence_period + 1)


def find_expired(study: StudyView, days: int, now: int) -> list[Expired]:
    """Rounds whose term is over at `now`, unix seconds of the chain. A CID that a living round names stays."""
    expired, needed = [], set()
    for view in study.rounds:
        named = {index: reveal.cid for index, reveal in view.reveals.items()}
        over = passed_at(study, view, days)
        if over is not None and over <= now:
            expired.append((view, over, named))
        else:
            needed |= set(named.values())
    return [
        Expired(view.number, view.ctx, over, {index: parse_cid(text) for index, text in named.items()
                                               if text not in needed})
        for view, over, named in expired
    ]  # fmt: skip


def prune(
    stores: Sequence[OwnStore], study: StudyView, days: int, now: int, *, dry_run: bool = False
) -> Iterator[Pruned]:
    """Let go of the updates of rounds whose term is over, also of those that were never revealed.

    Raises StoreUnreachableError; what was done stays done.
    """
    expired = find_expired(study, days, now)
    by_ctx = {each.ctx: each for each in expired}
    for store in stores:
        if isinstance(store, BlobFolder):
            found = list(_in_folder(store, by_ctx)) if expired else []
        else:
            kept = set(store.list()) if expired else set()
            found = [
                (cid, each, index, 0) for each in expired for index, cid in sorted(each.cids.items()) if cid in kept
            ]
        for cid, each, index, size in found:
            if dry_run or store.remove(cid):
                yield Pruned(cid, each.round, index, each.passed_at, store.name, size)


def _in_folder(folder: BlobFolder, by_ctx: Mapping[bytes, Expired]) -> Iterator[tuple[Cid, Expired, int, int]]:
    """Updates whose header names an expired round; the header is what an update's CID covers."""
    for cid, size in folder.sizes():
        try:
            with folder.open(cid) as file:
                header = parse_header(file.read(HEADER_BYTES), size, kind=BlobKind.UPDATE)
        except CollegiumError:
            continue
        if header.ctx in by_ctx:
            yield cid, by_ctx[header.ctx], header.index, size


class Keeper:
    """Honors the term while a program runs: when it starts, and once a day.

    read_plan: gives the published plan, asked until it answers. log: a line of JSON for every blob that went.
    """

    def __init__(
        self,
        stores: Sequence[OwnStore],
        read_plan: Callable[[StudyView], bytes],
        log: Path,
        report: Callable[[Pruned], None] = lambda pruned: None,
    ) -> None:
        self._stores = stores
        self._read_plan = read_plan
        self._log = log
        self._report = report
        self._next = 0.0
        self._plan: bytes | None = None

    def tick(self, study: StudyView, now: int) -> int:
        """How many blobs went. now: the chain's time. A store that does not answer is asked again an hour later."""
        if time.monotonic() < self._next:
            return 0
        self._next = time.monotonic() + DAY
        count = 0
        try:
            self._plan = self._plan or self._read_plan(study)
            days = read_days(self._plan)
            for pruned in prune(self._stores, study, days, now) if days else ():
                count += 1
                write_line(self._log, pruned)
                self._report(pruned)
        except (CollegiumError, OSError):
            self._next = time.monotonic() + 3600
        return count


def write_line(path: Path, pruned: Pruned) -> None:
    """Add what went to a log, for who asks later."""
    entry = {
        "time": int(time.time()),
        "cid": pruned.cid.text,
        "round": pruned.round,
        "seat": pruned.index,
        "retention_passed_at": pruned.passed_at,
        "store": pruned.store,
        "bytes": pruned.bytes,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, separators=(",", ":")) + "\n")
