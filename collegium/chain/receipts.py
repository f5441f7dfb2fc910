"""Whether a node's logs are what its blocks say: nothing dropped, added or altered.

A block's hash covers its header, the header covers the root of the trie of receipts and a filter of all log
addresses, and each header names its parent. So from one trusted hash at the head, every header back to the first
is fixed, every block whose filter may hold our contracts must show its receipts, and the receipts must give the
root. What a node can then still do is to serve another chain altogether: compare the head's hash with a second
source (`trusted_head`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium.errors import LogMismatchError

from .rpc import Rpc, RpcError, to_int
from .trie import compute_ordered_root

__all__ = ["Finding", "Verified", "compute_block_hash", "compute_receipts_root", "may_contain", "verify_logs"]

WINDOW = 500

_HEADER = (
    ("parentHash", "b"), ("sha3Uncles", "b"), ("miner", "b"), ("stateRoot", "b"), ("transactionsRoot", "b"),
    ("receiptsRoot", "b"), ("logsBloom", "b"), ("difficulty", "i"), ("number", "i"), ("gasLimit", "i"),
    ("gasUsed", "i"), ("timestamp", "i"), ("extraData", "b"), ("mixHash", "b"), ("nonce", "b"),
)  # fmt: skip
_LATER = (
    ("baseFeePerGas", "i"), ("withdrawalsRoot", "b"), ("blobGasUsed", "i"), ("excessBlobGas", "i"),
    ("parentBeaconBlockRoot", "b"), ("requestsHash", "b"), ("blockAccessListHash", "b"), ("slotNumber", "i"),
)  # fmt: skip
"""Added by later forks, each only behind all before it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which the node's answers contradict each other. block: number; -1 where no block is meant."""

    block: int
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked. head: hash of the last block, 0x hex: everything before it follows from it."""

    findings: tuple[Finding, ...]
    first: int
    last: int
    head: str
    logs: int
    receipts: int

    @property
    def ok(self) -> bool:
        return not self.findings

    def require(self) -> None:
        """Raises LogMismatchError when anything was found."""
        if self.findings:
            worst = self.findings[0]
            raise LogMismatchError(
                f"The node's logs are not those of its blocks: block {worst.block}: {worst.detail}.",
                hint="Do not trust this node; set network.rpc_url to another one and audit again.",
                findings=[f"{each.block} {each.kind}: {each.detail}" for each in self.findings],
            )


def verify_logs(
    rpc: Rpc,
    logs: Sequence[Mapping[str, Any]],
    from_block: int,
    to_block: int,
    addresses: Sequence[str],
    *,
    trusted_head: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verified:
    """Compare logs with the receipts of every block from `from_block` to `to_block`, both inclusive.

    logs: as `eth_getLogs` gave them for these addresses, in any order.
    trusted_head: hash of `to_block` from a source other than this node, 0x hex.
    progress: called with each block number done. Raises ChainUnreachableError; lies become findings.
    """
    wanted = [bytes.fromhex(address[2:]) for address in addresses]
    claimed: dict[int, list[Mapping[str, Any]]] = {}
    for log in logs:
        claimed.setdefault(to_int(log["blockNumber"]), []).append(log)
    findings = [
        Finding(number, "outside", f"{len(each)} logs claim a block outside {from_block}..{to_block}")
        for number, each in sorted(claimed.items())
        if not from_block <= number <= to_block
    ]
    parent, receipts_seen = "", 0
    for first in range(from_block, to_block + 1, WINDOW):
        numbers = range(first, min(first + WINDOW, to_block + 1))
        blocks = rpc.batch("eth_getBlockByNumber", [[hex(number), False] for number in numbers])
        for number, block in zip(numbers, blocks, strict=True):
            finding, digest = _check_header(number, block, parent)
            findings += finding
            parent = digest
            mine = claimed.get(number, [])
            if block is not None and (mine or any(may_contain(block["logsBloom"], each) for each in wanted)):
                receipts_seen += len(block["transactions"])
                findings += _check_block(rpc, number, block, digest, mine, wanted)
            if progress:
                progress(number)
    if trusted_head is not None and trusted_head.lower() != parent:
        detail = f"the head's hash is {parent}, another source says {trusted_head}"
        findings.append(Finding(to_block, "head", detail))
    return Verified(tuple(findings), from_block, to_block, parent, len(logs), receipts_seen)


def compute_block_hash(block: Mapping[str, Any]) -> bytes:
    """Hash of the header as `eth_getBlockByNumber` shows it, through the Prague and later forks."""
    import rlp

    items = [_item(block[name], kind) for name, kind in _HEADER]
    for name, kind in _LATER:
        if block.get(name) is None:
            break
        items.append(_item(block[name], kind))
    return bytes(keccak(rlp.encode(items)))


def compute_receipts_root(receipts: Sequence[Mapping[str, Any]]) -> bytes:
    """Root of the receipts trie of a block; receipts in transaction order."""
    return compute_ordered_root([_encode_receipt(receipt) for receipt in receipts])


def may_contain(bloom: str, value: bytes) -> bool:
    """Whether a logs filter (0x hex, 256 bytes) may hold an address or topic; never wrong when it says no."""
    bits = int(bloom, 16)
    digest = keccak(value)
    positions = (int.from_bytes(digest[at : at + 2], "big") & 2047 for at in (0, 2, 4))
    return all(bits >> position & 1 for position in positions)


def _check_header(number: int, block: Mapping[str, Any] | None, parent: str) -> tuple[list[Finding], str]:
    """Findings, and the hash that the header's contents give, 0x hex."""
    if block is None:
        return [Finding(number, "missing", "the node has no such block")], ""
    try:
        digest = "0x" + compute_block_hash(block).hex()
    except (KeyError, ValueError, TypeError) as error:
        return [Finding(number, "header", f"the header is malformed: {error!r}")], ""
    found = []
    if to_int(block["number"]) != number:
        found.append(Finding(number, "number", f"the node gave block {to_int(block['number'])} instead"))
    if digest != block["hash"].lower():
        found.append(Finding(number, "hash", f"the header hashes to {digest}, the node calls it {block['hash']}"))
    if parent and block["parentHash"].lower() != parent:
        found.append(Finding(number, "parent", f"its parent is {block['parentHash']}, the block before is {parent}"))
    return found, digest


def _check_block(
    rpc: Rpc,
    number: int,
    block: Mapping[str, Any],
    digest: str,
    claimed: Sequence[Mapping[str, Any]],
    wanted: Sequence[bytes],
) -> list[Finding]:
    try:
        receipts = _receipts(rpc, number, block)
        root = compute_receipts_root(receipts)
    except (RpcError, KeyError, ValueError, TypeError, IndexError) as error:
        return [Finding(number, "receipts", f"the receipts are missing or malformed: {error}")]
    if root.hex() != block["receiptsRoot"][2:].lower():
        detail = f"the receipts give root {'0x' + root.hex()}, the header has {block['receiptsRoot']}"
        return [Finding(number, "receipts", detail)]
    found = []
    true: dict[int, tuple[str, tuple[bytes, tuple[bytes, ...], bytes]]] = {}
    position = 0
    for transaction, receipt in zip(block["transactions"], receipts, strict=True):
        for log in receipt["logs"]:
            content = _content(log)
            if content[0] in wanted:
                true[position] = (transaction.lower(), content)
            position += 1
    for log in claimed:
        at = to_int(log["logIndex"])
        fact = true.pop(at, None)
        if fact is None:
            found.append(Finding(number, "added", f"log {at} is not in the block"))
        elif fact[1] != _content(log):
            found.append(Finding(number, "altered", f"log {at} has other contents in the block"))
        elif fact[0] != log["transactionHash"].lower() or log["blockHash"].lower() != digest:
            found.append(Finding(number, "altered", f"log {at} belongs to another transaction or block"))
    found += [Finding(number, "dropped", f"log {at} is in the block and was not served") for at in sorted(true)]
    return found


def _receipts(rpc: Rpc, number: int, block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All receipts of a block in order. The transactions root is not needed: the receipts root binds their number."""
    try:
        receipts = rpc.request("eth_getBlockReceipts", hex(number))
    except RpcError:
        receipts = None
    if receipts is None:
        receipts = rpc.batch("eth_getTransactionReceipt", [[digest] for digest in block["transactions"]])
    if any(receipt is None for receipt in receipts) or len(receipts) != len(block["transactions"]):
        raise ValueError("the node does not give every receipt of the block")
    return sorted(receipts, key=lambda receipt: to_int(receipt["transactionIndex"]))


def _encode_receipt(receipt: Mapping[str, Any]) -> bytes:
    """EIP-2718 bytes of a receipt."""
    import rlp

    outcome = _item(receipt["status"], "i") if receipt.get("status") is not None else _item(receipt["root"], "b")
    logs = [[content[0], list(content[1]), content[2]] for content in map(_content, receipt["logs"])]
    body = rlp.encode([outcome, _item(receipt["cumulativeGasUsed"], "i"), _item(receipt["logsBloom"], "b"), logs])
    kind = to_int(receipt.get("type") or 0)
    return (bytes([kind]) if kind else b"") + bytes(body)


def _content(log: Mapping[str, Any]) -> tuple[bytes, tuple[bytes, ...], bytes]:
    topics = tuple(_item(topic, "b") for topic in log["topics"])
    return _item(log["address"], "b"), topics, _item(log["data"], "b")


def _item(value: str, kind: str) -> bytes:
    """RLP item of a JSON-RPC value: `b` bytes as they are, `i` an integer without leading zeros."""
    if kind == "b":
        return bytes.fromhex(value[2:])
    number = to_int(value)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
