"""What the index does not keep: receipts, senders, the calldata of refutations, and published plans.

One SQLite file beside the index. Entries are keyed by transaction and block hash, so a reorganization cannot leave a
wrong one behind.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.chain import Chain
from collegium.chain.abi import interface
from collegium.chain.rpc import to_int
from collegium.records import checksum_address

__all__ = ["Book", "Transaction"]

_BATCH = 100
_SCHEMA = """
CREATE TABLE IF NOT EXISTS transactions (
    hash TEXT NOT NULL, block_hash TEXT NOT NULL, sender TEXT NOT NULL, contract TEXT NOT NULL, function TEXT NOT NULL,
    gas INTEGER NOT NULL, price INTEGER NOT NULL, input_bytes INTEGER NOT NULL, input BLOB,
    PRIMARY KEY (hash, block_hash));
CREATE TABLE IF NOT EXISTS documents (cid TEXT PRIMARY KEY, content BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A mined transaction. contract, function: empty when it calls none of ours. price: wei per gas."""

    hash: str
    sender: str
    contract: str
    function: str
    gas: int
    price: int
    input_bytes: int


class Book:
    """Thread-safe."""

    def __init__(self, path: Path, chain: Chain) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._chain = chain
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._known: dict[tuple[str, str], Transaction] = {
            (row[0], row[1]): Transaction(row[0], *row[2:])
            for row in self._db.execute(
                "SELECT hash, block_hash, sender, contract, function, gas, price, input_bytes FROM transactions"
            )
        }

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def find(self, transaction: str, block_hash: str) -> Transaction | None:
        """What is known of it; None when the node did not tell."""
        return self._known.get((transaction, block_hash))

    def calldata(self, transaction: str, block_hash: str) -> bytes | None:
        """Input of a call to Refutations; None for others and unknown ones."""
        with self._lock:
            row = self._db.execute(
                "SELECT input FROM transactions WHERE hash=? AND block_hash=?", (transaction, block_hash)
            ).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def document(self, cid: str) -> bytes | None:
        """A small blob that was fetched and verified before."""
        with self._lock:
            row = self._db.execute("SELECT content FROM documents WHERE cid=?", (cid,)).fetchone()
        return None if row is None else bytes(row[0])

    def keep_document(self, cid: str, content: bytes) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", (cid, content))

    def catch_up(self, wanted: Iterable[tuple[str, str]], progress: Callable[[int, int], None] | None = None) -> None:
        """Read what is missing of these (transaction, block hash) pairs. Raises ChainUnreachableError, RpcError."""
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in self._known]
        for at in range(0, len(missing), _BATCH):
            part = missing[at : at + _BATCH]
            names = [[name] for name, _ in part]
            receipts = self._chain.rpc.batch("eth_getTransactionReceipt", names)
            calls = self._chain.rpc.batch("eth_getTransactionByHash", names)
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                for pair, receipt, call in zip(part, receipts, calls, strict=True):
                    if receipt and call and receipt["blockHash"] == pair[1]:
                        self._keep(pair, receipt, call)
                self._db.execute("COMMIT")
            if progress:
                progress(at + len(part), len(missing))

    def _keep(self, pair: tuple[str, str], receipt: Mapping[str, Any], call: Mapping[str, Any]) -> None:
        data = bytes.fromhex(call["input"][2:])
        contract = self._chain.deployment.name_of(call["to"]) if call.get("to") else None
        function = interface(contract).by_selector.get(data[:4]) if contract else None
        found = Transaction(
            pair[0],
            checksum_address(call["from"]),
            contract or "",
            function.name if function else "",
            to_int(receipt["gasUsed"]),
            to_int(receipt.get("effectiveGasPrice") or 0),
            len(data),
        )
        kept = data if contract == "Refutations" else None
        self._db.execute(
            "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*pair, found.sender, found.contract, found.function, found.gas, found.price, found.input_bytes, kept),
        )
        self._known[pair] = found
