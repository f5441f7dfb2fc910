"""Every event of our contracts since deployment, kept in one SQLite file.

`sync` asks for the logs since the last block seen, up to the newest block that may be acted on: long stretches in
windows as large as the node accepts, the newest blocks one by one, by hash and in an unbroken chain. It keeps the hash
of every block with events and of the last block seen; when the chain no longer has that hash, it goes back to the
newest stored block that the chain still has and reads on from there. The file is a cache: one of another chain or
deployment is started anew.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, Self

from collegium.crashpoints import crashpoint, register
from collegium.database import open_database
from collegium.errors import ChainUnreachableError
from collegium.observability import metrics

from .client import Chain
from .events import ChainEvent, decode_log
from .rpc import Header, RpcError, to_header, to_int

__all__ = ["Indexer", "Synced"]

TAIL = 8
"""Newest blocks whose logs are asked for by block hash: a node on another fork, or one that is behind, cannot answer
for them, while a question by number is answered from whatever the node has."""
_RACES = 5
_UNSUPPORTED = (-32601, -32602, -32004)
"""JSON-RPC codes of a node that does not understand the question at all."""

register("indexer.window_written", "indexer.rolled_back")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    block INTEGER NOT NULL, log_index INTEGER NOT NULL, transaction_hash TEXT NOT NULL, block_hash TEXT NOT NULL,
    contract TEXT NOT NULL, name TEXT NOT NULL, study INTEGER, round INTEGER, args TEXT NOT NULL, time INTEGER NOT NULL,
    raw TEXT NOT NULL, PRIMARY KEY (block, log_index));
CREATE INDEX IF NOT EXISTS events_by_study ON events (study, round, name);
"""


@dataclass(frozen=True, slots=True)
class Synced:
    """What a `sync` did. head: number of the last block seen, -1 before any; added: events stored.

    rolled_back_to: the block to which a reorganization took the index back, None when there was none.
    """

    head: int
    added: int
    rolled_back_to: int | None = None


class Indexer:
    """Thread-safe, and several processes may share a file: a client, a watcher and commands beside them."""

    def __init__(self, path: Path, chain: Chain) -> None:
        self._chain = chain
        self._lock = threading.RLock()
        self._turn = path.with_name(f"{path.name}.lock")
        self._db = open_database(path, synchronous="NORMAL")
        self._db.executescript(_SCHEMA)
        self._addresses = [address.lower() for address in chain.deployment.addresses.values()]
        self._bind()

    @property
    def confirmations(self) -> int | None:
        """Blocks on top before a block is read; None waits for the network's finalized block."""
        return self._chain.settings.confirmations

    @property
    def chain(self) -> Chain:
        """The chain it follows."""
        return self._chain

    @property
    def head(self) -> int:
        """Number of the last block seen; one before the deployment when none is."""
        with self._lock:
            row = self._db.execute("SELECT MAX(number) FROM blocks").fetchone()
        return self._start - 1 if row[0] is None else int(row[0])

    @property
    def head_time(self) -> int:
        """Time of the last block seen, unix seconds; 0 before any."""
        with self._lock:
            row = self._db.execute("SELECT time FROM blocks ORDER BY number DESC LIMIT 1").fetchone()
        return int(row[0]) if row else 0

    @property
    def generation(self) -> int:
        """Grows with every rollback: what was built from events before it must be built anew."""
        with self._lock:
            return int(self._meta("generation") or 0)

    def sync(self) -> Synced:
        """Catch up with the chain. Raises ChainUnreachableError; what was stored stays."""
        with self._lock, self._turn.open("w") as turn:
            # One writer at a time: two that read different forks would mix them.
            fcntl.flock(turn, fcntl.LOCK_EX)
            for _ in range(_RACES):
                done = self._sync()
                if done is not None:
                    return done
        raise ChainUnreachableError(
            "The node keeps changing its mind about its newest blocks.",
            hint="Wait a moment, or raise network.confirmations.",
        )

    def events(
        self,
        study_id: int | None = None,
        *,
        name: str | Sequence[str] | None = None,
        round: int | None = None,
        contract: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> list[ChainEvent]:
        """Events in chain order. since, until: block numbers, inclusive."""
        where, values = ["1"], []
        names = [name] if isinstance(name, str) else list(name or ())
        # With a first block the primary key finds the few new rows; the plus keeps out the study's index, all its past.
        study = "study" if since is None else "+study"
        for column, value in ((study, study_id), ("round", round), ("contract", contract)):
            if value is not None:
                where.append(f"{column}=?")
                values.append(value)
        if names:
            where.append(f"name IN ({','.join('?' * len(names))})")
            values += names
        if since is not None:
            where.append("block>=?")
            values.append(since)
        if until is not None:
            where.append("block<=?")
            values.append(until)
        with self._lock:
            rows = self._db.execute(
                "SELECT block, log_index, transaction_hash, block_hash, contract, name, args, time FROM events"
                f" WHERE {' AND '.join(where)} ORDER BY block, log_index",
                values,
            ).fetchall()
        return [_event(*row) for row in rows]

    def raw_logs(self, since: int | None = None, until: int | None = None) -> list[dict[str, Any]]:
        """The logs as the node gave them, in chain order, for checking them against receipt roots."""
        with self._lock:
            rows = self._db.execute(
                "SELECT raw FROM events WHERE block>=? AND block<=? ORDER BY block, log_index",
                (0 if since is None else since, 1 << 62 if until is None else until),
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Keeping up

    def _sync(self) -> Synced | None:
        """One pass; None when the chain moved beneath it."""
        head = self._chain.head()
        if head is None or head.number < self._start:
            return Synced(self.head, 0)
        metrics.set_gauge("chain_head_block", head.number)
        rolled_back = self._roll_back(head)
        if rolled_back is not None:
            metrics.count("chain_reorgs_total")
        added = 0
        while (at := self.head + 1) <= head.number:
            until = min(at + self._chain.rpc.log_window.size - 1, head.number - TAIL)
            stored = self._sync_tail(at, head) if until < at else self._sync_span(at, until)
            if stored is None:
                return None
            added += stored
            crashpoint("indexer.window_written")
            metrics.set_gauge("indexer_last_block", self.head)
            metrics.set_gauge("indexer_lag_blocks", head.number - self.head)
        return Synced(head.number, added, rolled_back)

    def _sync_span(self, at: int, until: int) -> int | None:
        """Store the events of blocks by number, as many as the node accepts; None when the chain moved."""
        window = self._chain.rpc.log_window
        span = {"address": self._addresses, "fromBlock": hex(at), "toBlock": hex(until)}
        try:
            logs = list(self._chain.rpc.request("eth_getLogs", span))
        except RpcError as error:
            # Providers limit how many blocks or logs one answer may span, each in its own words.
            if not window.shrink(until - at + 1, str(error.evidence.get("reason", ""))):
                raise
            return 0
        window.accept(until - at + 1)
        header = self._chain.rpc.header(until)
        if header is None or any(
            to_int(log["blockNumber"]) == until and log["blockHash"] != _hex(header.hash) for log in logs
        ):
            return None
        return self._store(logs, [header])

    def _sync_tail(self, at: int, head: Header) -> int | None:
        """Store the events of the newest blocks, each asked for by its hash; None when the chain moved."""
        rpc = self._chain.rpc
        blocks = rpc.batch("eth_getBlockByNumber", [[hex(number), False] for number in range(at, head.number)])
        if not all(blocks):
            return None
        headers = [*map(to_header, blocks), head]
        before = self._db.execute("SELECT hash FROM blocks WHERE number=?", (at - 1,)).fetchone()
        parents = [before[0] if before else _hex(headers[0].parent), *(_hex(each.hash) for each in headers)]
        if any(_hex(each.parent) != parent for each, parent in zip(headers, parents, strict=False)):
            return None
        asked = [[{"address": self._addresses, "blockHash": _hex(each.hash)}] for each in headers]
        try:
            found = [rpc.request("eth_getLogs", *asked[0])] if len(asked) == 1 else rpc.batch("eth_getLogs", asked)
        except RpcError as error:
            if error.evidence.get("rpc_code") in _UNSUPPORTED:
                raise
            # The node does not have one of these blocks: it is behind, or on another fork.
            return None
        return self._store([log for logs in found for log in logs], headers)

    def _roll_back(self, head: Header) -> int | None:
        """Forget blocks that the chain no longer has. Returns the newest block kept when some were forgotten."""
        stored = self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC").fetchone()
        if stored is None:
            return None
        number, digest = stored
        known = {head.number: _hex(head.hash), head.number - 1: _hex(head.parent)}
        if self._hash_at(number, known) == digest:
            # Also when `head` is older: the node is merely behind the one that answered before.
            return None
        kept = self._start - 1
        for number, digest in self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC").fetchall():
            if self._hash_at(number, known) == digest:
                kept = number
                break
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM events WHERE block>?", (kept,))
        self._db.execute("DELETE FROM blocks WHERE number>?", (kept,))
        self._set_meta("generation", str(int(self._meta("generation") or 0) + 1))
        self._db.execute("COMMIT")
        crashpoint("indexer.rolled_back")
        return kept

    def _hash_at(self, number: int, known: Mapping[int, str]) -> str | None:
        if number in known:
            return known[number]
        header = self._chain.rpc.header(number)
        return None if header is None else _hex(header.hash)

    def _store(self, logs: list[dict[str, Any]], headers: Sequence[Header]) -> int:
        """Write a window: its events, the blocks they lie in, and the headers known, its last block among them."""
        header = headers[-1]
        times = self._times(logs, headers)
        rows = []
        for log in logs:
            event = decode_log(self._chain.deployment, log)
            if event is None:
                continue
            rows.append(
                (
                    event.block,
                    event.log_index,
                    event.transaction,
                    event.block_hash,
                    event.contract,
                    event.name,
                    event.study_id,
                    event.round,
                    json.dumps(event.args),
                    times[event.block],
                    json.dumps(log),
                )
            )
        blocks = {to_int(log["blockNumber"]): log["blockHash"] for log in logs}
        blocks |= {each.number: _hex(each.hash) for each in headers}
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)",
                [(number, digest, times[number]) for number, digest in blocks.items()],
            )
            # Blocks without events serve only as the newest known hashes.
            self._db.execute(
                "DELETE FROM blocks WHERE number<? AND number NOT IN (SELECT block FROM events)", (header.number - 64,)
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return len(rows)

    def _times(self, logs: list[dict[str, Any]], headers: Sequence[Header]) -> dict[int, int]:
        """Block number to time; asked of the node only where neither logs nor headers tell."""
        times = {each.number: each.timestamp for each in headers}
        for log in logs:
            if log.get("blockTimestamp") is not None:
                times[to_int(log["blockNumber"])] = to_int(log["blockTimestamp"])
        missing = sorted({to_int(log["blockNumber"]) for log in logs} - set(times))
        blocks = self._chain.rpc.batch("eth_getBlockByNumber", [[hex(number), False] for number in missing])
        for number, block in zip(missing, blocks, strict=True):
            times[number] = to_int(block["timestamp"]) if block else 0
        return times

    # The file

    def _bind(self) -> None:
        """Start anew when the file is of another chain, deployment or ABI."""
        genesis = self._chain.rpc.request("eth_getBlockByNumber", "0x0", False)
        deployment = self._chain.deployment
        here = json.dumps([self._chain.chain_id, genesis["hash"], sorted(self._addresses), deployment.start_block])
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            if self._meta("origin") != here:
                self._db.execute("DELETE FROM events")
                self._db.execute("DELETE FROM blocks")
                self._set_meta("origin", here)
                self._set_meta("generation", str(int(self._meta("generation") or 0) + 1))
            self._db.execute("COMMIT")

    @property
    def _start(self) -> int:
        return self._chain.deployment.start_block

    def _meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _event(
    block: int, log_index: int, transaction: str, block_hash: str, contract: str, name: str, args: str, time: int
) -> ChainEvent:
    """A row of the index. Many events share a transaction and what they name."""
    shared = (intern(transaction), intern(block_hash), intern(contract), intern(name))
    return ChainEvent(block, log_index, *shared, json.loads(args, object_pairs_hook=_shared), time)


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Names, addresses and digests once in memory, however many events repeat them: a view keeps events for long."""
    return {intern(name): intern(value) if type(value) is str else value for name, value in pairs}


def _hex(digest: bytes) -> str:
    return "0x" + digest.hex()
