"""The durable half of the outbox: what was intended, what was signed, what came of it.

SQLite with a write-ahead log and synchronous=FULL: a returned write is on the disk. One file serves several
senders and several processes; a lock file lets one of them send at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from collegium.database import open_database

__all__ = ["Attempt", "Entry", "SendingLog", "State"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT NOT NULL, key TEXT NOT NULL, target TEXT NOT NULL,
    function TEXT NOT NULL, calldata BLOB NOT NULL, value TEXT NOT NULL, state TEXT NOT NULL, nonce INTEGER,
    receipt TEXT, error TEXT, created REAL NOT NULL, UNIQUE (sender, key));
CREATE TABLE IF NOT EXISTS attempts (
    hash TEXT PRIMARY KEY, intent INTEGER NOT NULL, nonce INTEGER NOT NULL, raw BLOB NOT NULL, gas INTEGER NOT NULL,
    max_fee TEXT NOT NULL, tip TEXT NOT NULL, signed REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_intent ON attempts (intent);
"""


class State(StrEnum):
    """queued: intended. pending: signed, perhaps sent. mined: in a block, not yet deep enough. done, failed: over."""

    QUEUED = "queued"
    PENDING = "pending"
    MINED = "mined"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """value: wei. created: unix seconds. nonce: of the current attempts."""

    id: int
    key: str
    target: str
    function: str
    calldata: bytes
    value: int
    state: State
    nonce: int | None
    receipt: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    created: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction. Fees in wei per gas; signed: unix seconds."""

    hash: str
    nonce: int
    raw: bytes
    gas: int
    max_fee: int
    tip: int
    signed: float


class SendingLog:
    """Rows of one sender. Every method is one durable step; take `exclusive()` around a sequence."""

    def __init__(self, path: Path, sender: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sender = sender
        self._thread_lock = threading.RLock()
        self._depth = 0
        self._lock_file = os.open(path.with_suffix(path.suffix + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        self._db = open_database(path, synchronous="FULL")
        with self.exclusive():
            self._db.executescript(_SCHEMA)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One thread of one process at a time; may be nested."""
        with self._thread_lock:
            if self._depth == 0:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def close(self) -> None:
        with self._thread_lock:
            self._db.close()
            os.close(self._lock_file)

    def remember(self, name: str, value: str) -> str:
        """The value kept under a name; the first caller decides it."""
        with self.exclusive():
            self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
            return str(self._db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()[0])

    def find(self, key: str) -> Entry | None:
        rows = self._select("key=?", key)
        return rows[0] if rows else None

    def in_states(self, *states: State) -> list[Entry]:
        """Entries in these states: those with a nonce in its order, then the queued ones as they came."""
        marks = ",".join("?" * len(states))
        return self._select(f"state IN ({marks})", *(state.value for state in states))

    def all(self) -> list[Entry]:
        return self._select("1")

    def _select(self, where: str, *values: Any) -> list[Entry]:
        with self._thread_lock:
            rows = self._db.execute(
                "SELECT id, key, target, function, calldata, value, state, nonce, receipt, error, created FROM intents"
                f" WHERE sender=? AND {where} ORDER BY nonce IS NULL, nonce, id",
                (self._sender, *values),
            ).fetchall()
        return [
            Entry(
                row[0],
                row[1],
                row[2],
                row[3],
                bytes(row[4]),
                int(row[5]),
                State(row[6]),
                row[7],
                json.loads(row[8]) if row[8] else None,
                json.loads(row[9]) if row[9] else None,
                row[10],
            )
            for row in rows
        ]

    def queue(self, key: str, target: str, function: str, calldata: bytes, value: int) -> Entry:
        """Write an intent, or queue a failed one anew."""
        with self.exclusive():
            self._db.execute(
                "INSERT INTO intents (sender, key, target, function, calldata, value, state, created)"
                " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?)"
                " ON CONFLICT (sender, key) DO UPDATE SET target=excluded.target, function=excluded.function,"
                " calldata=excluded.calldata, value=excluded.value, state='queued',"
                " error=NULL, receipt=NULL, created=excluded.created",
                (self._sender, key, target, function, calldata, str(value), time.time()),
            )
            entry = self.find(key)
            assert entry is not None
            return entry

    def sign(self, entry: Entry, attempt: Attempt) -> None:
        """Write a signed transaction; the entry is pending from now on."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    attempt.hash,
                    entry.id,
                    attempt.nonce,
                    attempt.raw,
                    attempt.gas,
                    str(attempt.max_fee),
                    str(attempt.tip),
                    attempt.signed,
                ),
            )
            self._db.execute(
                "UPDATE intents SET state='pending', nonce=?, receipt=NULL WHERE id=?", (attempt.nonce, entry.id)
            )

    def attempts(self, entry: Entry) -> list[Attempt]:
        """Newest first."""
        with self._thread_lock:
            rows = self._db.execute(
                "SELECT hash, nonce, raw, gas, max_fee, tip, signed FROM attempts WHERE intent=? ORDER BY signed DESC",
                (entry.id,),
            ).fetchall()
        return [Attempt(row[0], row[1], bytes(row[2]), row[3], int(row[4]), int(row[5]), row[6]) for row in rows]

    def settle(
        self,
        entry: Entry,
        state: State,
        *,
        receipt: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Move an entry to a state with what is known of it."""
        with self.exclusive():
            self._db.execute(
                "UPDATE intents SET state=?, receipt=?, error=? WHERE id=?",
                (
                    state.value,
                    json.dumps(receipt) if receipt else None,
                    json.dumps(error) if error else None,
                    entry.id,
                ),
            )

    def nonces_in_use(self) -> set[int]:
        """Nonces of entries that are signed and not over."""
        return {entry.nonce for entry in self.in_states(State.PENDING, State.MINED) if entry.nonce is not None}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.exclusive():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
