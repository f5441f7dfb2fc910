"""What a node answered: kept while an export is made, and served again where there is no node.

A node is asked by method and parameters, so an answer is kept under both. The audit that reads kept answers makes
the same checks as one that asks a node, and comes to the same verdict.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from collegium.audit.errors import ExportDamagedError
from collegium.chain.rpc import Header, Rpc, RpcError

__all__ = ["PARTS", "Answers", "RecordingRpc", "ReplayRpc", "canonical"]

PARTS: Mapping[str, str] = {
    "eth_getLogs": "chain/logs.jsonl",
    "eth_getBlockByNumber": "chain/headers.jsonl",
    "eth_getBlockByNumber full": "chain/blocks.jsonl",
    "eth_getBlockReceipts": "chain/receipts.jsonl",
    "eth_getTransactionReceipt": "chain/transaction-receipts.jsonl",
    "eth_getRawTransactionByHash": "chain/raw-transactions.jsonl",
    "eth_getCode": "chain/code.jsonl",
    "eth_call": "chain/views.jsonl",
}
"""Which part of an export holds the answers to which call."""

MAX_LINE = 64 << 20
"""Bytes of one answer; a block of a public network has a few megabytes."""
_HEADER = (
    "number", "hash", "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot",
    "logsBloom", "difficulty", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas",
    "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash",
    "blockAccessListHash", "slotNumber", "transactions",
)  # fmt: skip
_RECEIPT = (
    "type", "status", "root", "cumulativeGasUsed", "logsBloom", "logs", "transactionIndex", "transactionHash",
)  # fmt: skip
_LOG = ("address", "topics", "data")
_TRANSACTION = (
    "hash", "type", "chainId", "nonce", "gasPrice", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value",
    "input", "accessList", "maxFeePerBlobGas", "blobVersionedHashes", "authorizationList", "v", "yParity", "r", "s",
)  # fmt: skip


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks: one text for one value."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


class Answers:
    """Answers by method and parameters in a file. A context manager.

    Every answer is on disk before it is used, so an interrupted export goes on where it stopped.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS answers"
            " (part TEXT, rank INTEGER, params TEXT, answer TEXT, PRIMARY KEY (part, rank, params)) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.commit()
        self._database.close()

    def get(self, part: str, params: Sequence[Any]) -> Mapping[str, Any] | None:
        """`{"result": …}` or `{"error": …}`; None when this was never asked."""
        row = self._database.execute(
            "SELECT answer FROM answers WHERE part = ? AND rank = ? AND params = ?",
            (part, _rank(params), canonical(params)),
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, part: str, params: Sequence[Any], answer: Mapping[str, Any]) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
            (part, _rank(params), canonical(params), canonical(answer)),
        )

    def commit(self) -> None:
        self._database.commit()

    def forget_errors(self) -> None:
        """A node that refused yesterday may answer today."""
        self._database.execute("""DELETE FROM answers WHERE answer LIKE '{"error":%'""")
        self._database.commit()

    def parts(self) -> list[str]:
        """Parts that hold anything, sorted."""
        return [row[0] for row in self._database.execute("SELECT DISTINCT part FROM answers ORDER BY part")]

    def lines(self, part: str) -> Iterator[bytes]:
        """One answer a line, in the order of block numbers and parameters."""
        query = "SELECT params, answer FROM answers WHERE part = ? ORDER BY rank, params"
        for params, answer in self._database.execute(query, (part,)):
            yield f'{{"params":{params},{answer[1:]}\n'.encode()

    def load(self, part: str, file: BinaryIO) -> int:
        """Take in the lines of a part; how many. Raises ExportDamagedError."""
        count = 0
        while line := file.readline(MAX_LINE + 1):
            count += 1
            try:
                if len(line) > MAX_LINE:
                    raise ValueError(f"it has more than {MAX_LINE} bytes")
                entry = json.loads(line)
                params = entry.pop("params")
                if not isinstance(params, list) or len(entry) != 1 or not {"result", "error"} & set(entry):
                    raise ValueError("an answer has parameters and a result")
                self.put(part, params, entry)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
                raise ExportDamagedError(
                    f"Line {count} of {part} is no answer of a node: {error}.",
                    hint="Ask for the export again.",
                    part=part,
                ) from error
        self.commit()
        return count


class RecordingRpc(Rpc):
    """A node whose answers are kept, and asked once each. pinned: the head that the export speaks of."""

    def __init__(self, rpc: Rpc, answers: Answers, pinned: Header) -> None:
        self._rpc = rpc
        self._answers = answers
        self._pinned = pinned

    @property
    def url(self) -> str:
        return self._rpc.url

    def request(self, method: str, *params: Any) -> Any:
        asked = self._fixed(method, params)
        part = _part(method, asked)
        if (kept := self._answers.get(part, asked)) is None:
            kept = self._ask(method, part, asked)
            self._answers.commit()
        return _result(method, kept)

    def batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        asked = [self._fixed(method, params) for params in parameters]
        kept = [self._answers.get(_part(method, each), each) for each in asked]
        lacking = [at for at, answer in enumerate(kept) if answer is None]
        if lacking:
            try:
                results = self._rpc.batch(method, [asked[at] for at in lacking])
            except RpcError:
                # One refusal hides the other answers of a batch: ask for each by itself.
                for at in lacking:
                    kept[at] = self._ask(method, _part(method, asked[at]), asked[at])
            else:
                for at, result in zip(lacking, results, strict=True):
                    part = _part(method, asked[at])
                    kept[at] = {"result": _trim(part, result)}
                    self._answers.put(part, asked[at], kept[at] or {})
            self._answers.commit()
        return [_result(method, each or {}) for each in kept]

    def head(self, confirmations: int | None = 0) -> Header | None:
        return self._pinned

    def _fixed(self, method: str, params: Sequence[Any]) -> list[Any]:
        """Questions about the latest state, asked of the pinned block."""
        asked = list(params)
        if method in ("eth_call", "eth_getCode") and asked[-1] == "latest":
            asked[-1] = hex(self._pinned.number)
        return asked

    def _ask(self, method: str, part: str, asked: Sequence[Any]) -> Mapping[str, Any]:
        answer: dict[str, Any]
        try:
            answer = {"result": _trim(part, self._rpc.request(method, *asked))}
        except RpcError as error:
            data = error.evidence.get("data")
            answer = {"error": {"code": error.evidence.get("rpc_code"), "message": str(error.evidence.get("reason")),
                                "data": None if data is None else "0x" + bytes(data).hex()}}  # fmt: skip
        self._answers.put(part, asked, answer)
        return answer


class ReplayRpc(Rpc):
    """The kept answers instead of a node. Never touches the network."""

    def __init__(self, answers: Answers, head: Header) -> None:
        self._answers = answers
        self._head = head

    @property
    def url(self) -> str:
        return "the export"

    def request(self, method: str, *params: Any) -> Any:
        asked = list(params)
        if method in ("eth_call", "eth_getCode") and asked[-1] == "latest":
            asked[-1] = hex(self._head.number)
        kept = self._answers.get(_part(method, asked), asked)
        if kept is None:
            raise ExportDamagedError(
                f"The export does not hold the answer to {method} {canonical(asked)[:100]}.",
                hint="It is incomplete or was made for another history; ask for the export again.",
                method=method,
            )
        return _result(method, kept)

    def batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        return [self.request(method, *params) for params in parameters]

    def head(self, confirmations: int | None = 0) -> Header | None:
        return self._head


def _part(method: str, params: Sequence[Any]) -> str:
    key = "eth_getBlockByNumber full" if method == "eth_getBlockByNumber" and params[1:] == [True] else method
    return PARTS[key]


def _rank(params: Sequence[Any]) -> int:
    """Blocks in the order of their numbers, everything else in the order of its text."""
    try:
        rank = int(params[0], 16) if isinstance(params[0], str) and len(params[0]) <= 16 else 0
    except (ValueError, IndexError):
        return 0
    return rank if 0 <= rank < 1 << 62 else 0


def _result(method: str, kept: Mapping[str, Any]) -> Any:
    if "result" in kept:
        return kept["result"]
    error = kept.get("error")
    if not isinstance(error, dict):
        error = {}
    data = error.get("data")
    try:
        decoded = None if data is None else bytes.fromhex(data[2:])
    except (ValueError, TypeError):
        decoded = None
    message = str(error.get("message", "no reason given"))
    raise RpcError(
        f"{method}: {message}.",
        hint="The node refused the call when the export was made.",
        rpc_code=error.get("code"),
        reason=message,
        data=decoded,
        method=method,
    )


def _trim(part: str, result: Any) -> Any:
    """Only what hashes cover: what nodes add of their own differs from node to node."""
    if part in (PARTS["eth_getBlockByNumber"], PARTS["eth_getBlockByNumber full"]):
        block = _only(_HEADER, result)
        if isinstance(block, dict) and part == PARTS["eth_getBlockByNumber full"]:
            listed = block.get("transactions")
            if isinstance(listed, list):
                block["transactions"] = [_only(_TRANSACTION, each) for each in listed]
        return block
    if part == PARTS["eth_getBlockReceipts"] and isinstance(result, list):
        return [_trim_receipt(each) for each in result]
    if part == PARTS["eth_getTransactionReceipt"]:
        return _trim_receipt(result)
    return result


def _trim_receipt(receipt: Any) -> Any:
    trimmed = _only(_RECEIPT, receipt)
    if isinstance(trimmed, dict) and isinstance(trimmed.get("logs"), list):
        trimmed["logs"] = [_only(_LOG, log) for log in trimmed["logs"]]
    return trimmed


def _only(names: Sequence[str], value: Any) -> Any:
    return {name: value[name] for name in names if name in value} if isinstance(value, dict) else value
