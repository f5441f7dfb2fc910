"""What happened, proven: events from receipts that give their block's root, calldata from transactions that do.

Nothing here is taken from a node's word except which chain it serves: headers are hashed and linked up to the head,
and events are read from the receipts, never from `eth_getLogs`, whose answers are only compared with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from collegium.chain import Chain, verify_logs
from collegium.chain.events import ChainEvent, decode_log
from collegium.chain.receipts import compute_block_hash, compute_receipts_root
from collegium.chain.rpc import Rpc, RpcError, to_int
from collegium.chain.trie import compute_ordered_root
from collegium.chain.windows import LogWindow
from collegium.errors import AbiError, ChainUnreachableError

from .report import Tally
from .transactions import Call, Transaction, encode_transaction, read_transaction

__all__ = ["History", "read_history"]

WINDOW = 2_000
_MALFORMED = (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True)
class History:
    """events: of our contracts in chain order, `time` from proven headers. transactions: by hash, 0x hex."""

    chain: Chain
    head: int
    head_hash: str
    head_time: int
    events: tuple[ChainEvent, ...]
    transactions: Mapping[str, Transaction]
    _calls: dict[str, Call | None] = field(init=False, default_factory=dict, compare=False)
    _by_transaction: dict[str, list[ChainEvent]] = field(init=False, default_factory=dict, compare=False)

    def transaction(self, event: ChainEvent) -> Transaction:
        return self.transactions[event.transaction]

    def events_of(self, transaction: str) -> Sequence[ChainEvent]:
        """Events of one transaction, in order."""
        if not self._by_transaction:
            for event in self.events:
                self._by_transaction.setdefault(event.transaction, []).append(event)
        return self._by_transaction.get(transaction, ())

    def call(self, event: ChainEvent) -> Call | None:
        """The call of ours that emitted the event; None when another contract stands between."""
        key = event.transaction
        if key not in self._calls:
            self._calls[key] = self.transactions[key].call(self.chain.deployment)
        return self._calls[key]


def read_history(
    chain: Chain,
    tally: Tally,
    *,
    trusted_head: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> History:
    """Read and prove everything since deployment, up to the newest block that may be acted on.

    tally: gets every contradiction. trusted_head: hash of that block from another source, 0x hex.
    Raises ChainUnreachableError.
    """
    head = chain.head()
    start = chain.deployment.start_block
    if head is None or head.number < start:
        raise ChainUnreachableError(
            "The node has no block yet that may be audited.", hint="Wait until it has synchronized, then audit again."
        )
    addresses = sorted(chain.deployment.addresses.values())
    claimed = _claimed_logs(chain.rpc, addresses, start, head.number, tally)
    created = {each.block for each in chain.deployment.contracts.values() if each.transaction}
    recorder = _Recorder(chain.rpc, created, {to_int(log["blockNumber"]) for log in claimed})
    span = head.number - start + 1
    tell = (lambda number: progress("logs", number - start + 1, span)) if progress else None
    verified = verify_logs(
        recorder,  # type: ignore[arg-type]
        claimed,
        start,
        head.number,
        addresses,
        trusted_head=trusted_head,
        progress=tell,
    )
    for finding in verified.findings:
        where = f"block {finding.block}: " if finding.block >= 0 else ""
        tally.fail(f"{where}{finding.detail}")
    tally.passes(span)
    if trusted_head is None:
        tally.note(f"head {head.number} {verified.head} is the node's word: compare it with another source")
    return _prove(chain, recorder, head.number, verified.head, tally)


class _Recorder:
    """The node, with a memory of the headers and receipts that were verified."""

    def __init__(self, rpc: Rpc, wanted: set[int], expected: set[int]) -> None:
        self._rpc = rpc
        self._wanted = wanted
        self._expected = expected
        self._window: dict[int, Any] = {}
        self._ahead: dict[int, Any] = {}
        self._number = -1
        self.last_time = 0
        self.headers: dict[int, Mapping[str, Any]] = {}
        self.receipts: dict[int, Sequence[Mapping[str, Any]]] = {}

    def batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        answers = self._rpc.batch(method, parameters)
        if method == "eth_getBlockByNumber":
            self._window = {to_int(each[0]): block for each, block in zip(parameters, answers, strict=True)}
            self.last_time = max((to_int(block["timestamp"]) for block in answers if block), default=0)
            self.headers |= {number: block for number, block in self._window.items() if number in self._wanted}
            numbers = sorted(self._expected & set(self._window))
            try:
                found = self._rpc.batch("eth_getBlockReceipts", [[hex(number)] for number in numbers])
                self._ahead = dict(zip(numbers, found, strict=True))
            except RpcError:
                self._ahead = {}
        elif method == "eth_getTransactionReceipt" and self._number >= 0:
            self._keep(self._number, answers)
        return answers

    def request(self, method: str, *params: Any) -> Any:
        if method != "eth_getBlockReceipts":
            return self._rpc.request(method, *params)
        self._number = to_int(params[0])
        receipts = self._ahead.pop(self._number, None)
        if receipts is None:
            receipts = self._rpc.request(method, *params)
        if receipts is not None:
            self._keep(self._number, receipts)
        return receipts

    def _keep(self, number: int, receipts: Sequence[Mapping[str, Any]]) -> None:
        self.headers[number] = self._window[number]
        self.receipts[number] = receipts


def _claimed_logs(rpc: Rpc, addresses: list[str], start: int, head: int, tally: Tally) -> list[Mapping[str, Any]]:
    """What `eth_getLogs` says, in spans that the node accepts."""
    logs: list[Mapping[str, Any]] = []
    # A window of its own: an export must be read back in the very same spans.
    at, window = start, LogWindow(WINDOW)
    while at <= head:
        until = min(at + window.size - 1, head)
        try:
            answer = rpc.request("eth_getLogs", {"address": addresses, "fromBlock": hex(at), "toBlock": hex(until)})
        except RpcError as error:
            if not window.shrink(until - at + 1, str(error.evidence.get("reason", ""))):
                raise
            continue
        window.accept(until - at + 1)
        for log in answer:
            try:
                to_int(log["blockNumber"]), to_int(log["logIndex"])
                log["address"], log["topics"], log["data"], log["transactionHash"], log["blockHash"]
            except _MALFORMED as error:
                tally.fail(f"a log is malformed: {error!r}")
            else:
                logs.append(log)
        at = until + 1
    return logs


def _prove(chain: Chain, recorder: _Recorder, head: int, head_hash: str, tally: Tally) -> History:
    numbers = sorted(recorder.headers)
    bodies = chain.rpc.batch("eth_getBlockByNumber", [[hex(number), True] for number in numbers])
    transactions: dict[str, Transaction] = {}
    events: list[ChainEvent] = []
    for number, body in zip(numbers, bodies, strict=True):
        header = recorder.headers[number]
        try:
            listed = _prove_block(chain.rpc, number, header, body, tally)
            transactions |= {each.hash: each for each in listed}
            events += _events_of(chain, number, header, listed, recorder.receipts.get(number, ()))
        except (_Unproven, AbiError) as error:
            tally.fail(f"block {number}: {error}")
        except _MALFORMED as error:
            tally.fail(f"block {number}: the node's answer is malformed: {error!r}")
    return History(chain, head, head_hash, recorder.last_time, tuple(events), transactions)


class _Unproven(Exception):
    pass


def _prove_block(
    rpc: Rpc, number: int, header: Mapping[str, Any], body: Mapping[str, Any], tally: Tally
) -> list[Transaction]:
    """The block's transactions, which must give the header's root."""
    if header is None or "0x" + compute_block_hash(header).hex() != header["hash"].lower():
        raise _Unproven("its header does not give its hash")
    root, time = bytes.fromhex(header["transactionsRoot"][2:]), to_int(header["timestamp"])
    fields = list(body["transactions"])
    try:
        raws = [encode_transaction(each) for each in fields]
        proven = compute_ordered_root(raws) == root
    except _MALFORMED:
        proven = False
    if not proven:
        # Perhaps a kind of transaction that is not known here; its raw bytes prove themselves.
        raws = _raw_transactions(rpc, fields)
        if compute_ordered_root(raws) != root:
            raise _Unproven("its transactions do not give the header's root: calldata was altered")
        for each, raw in zip(fields, raws, strict=True):
            if _encoded(each) not in (None, raw):
                tally.fail(f"block {number}: transaction {each['hash']} is shown with other fields than its bytes have")
    listed = [read_transaction(raw, number, time) for raw in raws]
    if [each.hash for each in listed] != [str(each.get("hash")).lower() for each in fields]:
        raise _Unproven("its transactions have other hashes than the node says")
    return listed


def _encoded(fields: Mapping[str, Any]) -> bytes | None:
    try:
        return encode_transaction(fields)
    except _MALFORMED:
        return None


def _raw_transactions(rpc: Rpc, fields: Sequence[Mapping[str, Any]]) -> list[bytes]:
    try:
        answers = rpc.batch("eth_getRawTransactionByHash", [[each["hash"]] for each in fields])
    except RpcError as error:
        raise _Unproven("its transactions do not give the header's root, and the node shows no raw ones") from error
    return [bytes.fromhex(each[2:]) if each else b"" for each in answers]


def _events_of(
    chain: Chain,
    number: int,
    header: Mapping[str, Any],
    transactions: Sequence[Transaction],
    receipts: Sequence[Mapping[str, Any]],
) -> list[ChainEvent]:
    """Our events of a block, from receipts that give the header's root."""
    ordered = sorted(receipts, key=lambda receipt: to_int(receipt["transactionIndex"]))
    if not ordered:
        return []
    if compute_receipts_root(ordered).hex() != header["receiptsRoot"][2:].lower():
        raise _Unproven("its receipts do not give the header's root: events are left out")
    events, position = [], 0
    for transaction, receipt in zip(transactions, ordered, strict=True):
        for log in receipt["logs"]:
            placed = {
                **log,
                "blockNumber": hex(number),
                "blockHash": header["hash"],
                "transactionHash": transaction.hash,
                "logIndex": hex(position),
                "blockTimestamp": header["timestamp"],
            }
            position += 1
            event = decode_log(chain.deployment, placed)
            if event is not None:
                events.append(replace(event, time=transaction.time))
    return events
