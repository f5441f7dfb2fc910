"""Where pages come from: an index of the chain, the book beside it, the stores, and the replay of all events.

`refresh` reads the chain; everything else only looks at what was read. Thread-safe: hold `reading()` while a page is
built, so that no event comes in between.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from eth_hash.auto import keccak

from collegium.chain import Chain, Indexer
from collegium.chain.abi import interface
from collegium.chain.events import ChainEvent
from collegium.chain.following import ChainTime
from collegium.contract_source.bytecode import mask
from collegium.contract_source.release import Release
from collegium.errors import CollegiumError, PreconditionError
from collegium.storage import MultiStore, parse_cid

from .book import Book
from .replay import PLAN_BYTES, Replay

__all__ = ["BLOB_BYTES", "AsOf", "Code", "Source"]

BLOB_BYTES = 256 << 20
"""Largest blob that is passed on to a browser, which holds it in memory; larger ones are for the command line."""

Progress = Callable[[str, int, int], None]
"""Called with a stage (`receipts`), how many of it are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """How far was read. block: -1 before any; time: of that block; read_at: this machine's clock; unix seconds.

    changed_at: the block read last when events came or were taken back. error: why the last reading failed.
    """

    block: int
    block_hash: str
    time: int
    read_at: int
    changed_at: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """What lies at a contract's address. hash: keccak256 of it, empty when there is none.

    is_released: whether it is the code of this release, immutables aside; None when the release has none of it.
    missing: functions of the packaged ABI that its dispatcher does not name.
    """

    hash: str
    length: int
    is_released: bool | None
    missing: tuple[str, ...]


class Source:
    """One deployment on one chain. folder: keeps the index; one process at a time. studies: shown; empty shows all."""

    def __init__(
        self, chain: Chain, folder: Path, *, stores: MultiStore | None = None, studies: frozenset[int] = frozenset()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.chain = chain
        self.stores = stores
        self._shown = studies
        self._lock = threading.RLock()
        self._claim = _claim(folder)
        self._indexer = Indexer(folder / "index.sqlite", chain)
        self.book = Book(folder / "book.sqlite", chain)
        self.replay = Replay(chain.address_of("Bonds"))
        self._seen = -1
        self._index_generation = -1
        self._clock = ChainTime()
        self._codes: dict[str, Code] = {}
        self._unfetched: dict[str, float] = {}
        self.as_of = AsOf(-1, "", 0, 0, 0)

    def close(self) -> None:
        with self._lock:
            self._indexer.close()
            self.book.close()
            self._claim.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Replay]:
        with self._lock:
            yield self.replay

    @property
    def studies(self) -> list[int]:
        """Those that are shown, ascending."""
        return sorted(number for number in self.replay.studies if not self._shown or number in self._shown)

    @property
    def lacking(self) -> list[int]:
        """Studies that were asked for and are not there."""
        return sorted(self._shown - set(self.replay.studies))

    def now(self) -> int:
        """Unix seconds as the chain's next block would carry them."""
        return self._clock.now()

    def events(self, study: int, number: int) -> list[ChainEvent]:
        """Events that name a round."""
        return self._indexer.events(study, round=number, until=self.as_of.block)

    def refresh(self, progress: Progress | None = None) -> bool:
        """Read on. Whether anything changed. Raises ChainUnreachableError; what was read before stays."""
        try:
            synced = self._indexer.sync()
            generation = self._indexer.generation
            stale = generation != self._index_generation
            since = None if stale else self._seen + 1
            events = self._indexer.events(since=since, until=synced.head)
            self.book.catch_up(
                ((each.transaction, each.block_hash) for each in events),
                (lambda done, total: progress("receipts", done, total)) if progress else None,
            )
        except Exception as error:
            # Whatever a node answers: pages must say that they are no longer kept up.
            message = error.message if isinstance(error, CollegiumError) else f"unexpected {type(error).__name__}"
            with self._lock:
                self.as_of = replace(self.as_of, error=message)
            raise
        header = self.chain.rpc.header(synced.head) if synced.head >= 0 else None
        with self._lock:
            if stale:
                self.replay = Replay(self.chain.address_of("Bonds"))
            for event in events:
                self.replay.apply(event)
            changed = stale or bool(events)
            self._seen, self._index_generation = max(synced.head, self._seen), generation
            at = header.timestamp if header else self._indexer.head_time
            self._clock.observe(at)
            digest = "0x" + header.hash.hex() if header else ""
            changed_at = synced.head if changed else self.as_of.changed_at
            self.as_of = AsOf(synced.head, digest, at, int(time.time()), changed_at)
        return changed

    # The code behind the addresses

    def code(self, contract: str) -> Code:
        """Read once: deployed code does not change (there are no proxies)."""
        if contract not in self._codes:
            address = self.chain.address_of(contract)
            code = bytes.fromhex((self.chain.rpc.request("eth_getCode", address, "latest") or "0x")[2:])
            if not code:
                return Code("", 0, None, ())
            missing = tuple(
                each.name for each in interface(contract).functions.values() if not _names(code, each.selector)
            )
            self._codes[contract] = Code("0x" + keccak(code).hex(), len(code), _is_released(contract, code), missing)
        return self._codes[contract]

    # Blobs

    def document(self, cid: str) -> bytes | None:
        """A published plan, verified against its CID; None when no store gives it now."""
        kept = self.book.document(cid)
        if kept is not None or self.stores is None or self._unfetched.get(cid, 0.0) > time.monotonic():
            return kept
        try:
            content = self.stores.get(parse_cid(cid), max_bytes=PLAN_BYTES)
        except CollegiumError:
            # Asking dead stores for every page would make each page wait for them.
            self._unfetched[cid] = time.monotonic() + 60
            return None
        self.book.keep_document(cid, content)
        return content

    def blob(self, cid: str) -> bytes | None:
        """A blob that the chain names, from the stores; None when it is none, too large, or no store gives it."""
        with self._lock:
            limit = self.replay.blobs.get(cid)
        if limit is None or limit > BLOB_BYTES or self.stores is None:
            return None
        try:
            return self.stores.get(parse_cid(cid), max_bytes=limit)
        except CollegiumError:
            return None


def _is_released(contract: str, code: bytes) -> bool | None:
    released = Release.load().contracts.get(contract)
    return None if released is None else keccak(mask(code, released.places)) == released.runtime.hash


def _names(code: bytes, selector: bytes) -> bool:
    """Whether the code pushes this selector, as a dispatcher does: PUSH1 to PUSH4 without leading zeros."""
    short = selector.lstrip(b"\0")
    return bytes([0x5F + len(short)]) + short in code


def _claim(folder: Path) -> IO[str]:
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise PreconditionError(
            f"Another explorer uses the index in {folder}.", hint="Stop it, or name another folder with --index."
        ) from error
    return file
