"""Transactions as a block's transactions root fixes them: bytes, sender, and the call they make."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium.chain.abi import interface
from collegium.chain.deployment import Deployment
from collegium.chain.rpc import to_int
from collegium.errors import SignatureError
from collegium.records import checksum_address

__all__ = ["Call", "Transaction", "encode_transaction", "read_transaction"]

_COMMON = (("nonce", "i"), ("maxPriorityFeePerGas", "i"), ("maxFeePerGas", "i"), ("gas", "i"))
_PAYMENT = (("to", "b"), ("value", "i"), ("input", "b"))
_FIELDS: Mapping[int, tuple[tuple[str, str], ...]] = {
    0: (("nonce", "i"), ("gasPrice", "i"), ("gas", "i"), *_PAYMENT, ("v", "i")),
    1: (("chainId", "i"), ("nonce", "i"), ("gasPrice", "i"), ("gas", "i"), *_PAYMENT, ("accessList", "a")),
    2: (("chainId", "i"), *_COMMON, *_PAYMENT, ("accessList", "a")),
    3: (
        ("chainId", "i"), *_COMMON, *_PAYMENT, ("accessList", "a"), ("maxFeePerBlobGas", "i"),
        ("blobVersionedHashes", "l"),
    ),
    4: (("chainId", "i"), *_COMMON, *_PAYMENT, ("accessList", "a"), ("authorizationList", "u")),
}  # fmt: skip
"""Fields before the signature, by type: i integer, b bytes, a access list, l bytes each, u authorizations."""


@dataclass(frozen=True)
class Call:
    """A call of one of our contracts. arguments: by name, as the ABI decodes them."""

    contract: str
    function: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Transaction:
    """hash: 0x hex. time: of its block, unix seconds. to: None for a creation. raw: the bytes that were hashed."""

    hash: str
    block: int
    time: int
    to: str | None
    data: bytes
    nonce: int
    raw: bytes

    @functools.cached_property
    def sender(self) -> str:
        """Recovered from the signature. Raises SignatureError: whoever made the block put nonsense there."""
        from eth_account import Account

        try:
            return checksum_address(Account.recover_transaction(self.raw))
        except Exception as error:  # the libraries below have no common class of errors
            raise SignatureError(f"Transaction {self.hash} has no valid signature: {error}.") from error

    def call(self, deployment: Deployment) -> Call | None:
        """The call it makes to a contract of ours; None when it calls another one or nothing we know."""
        contract = deployment.name_of(self.to) if self.to else None
        function = interface(contract).by_selector.get(self.data[:4]) if contract else None
        if contract is None or function is None:
            return None
        return Call(contract, function.name, function.decode_input(self.data))


def encode_transaction(fields: Mapping[str, Any]) -> bytes:
    """EIP-2718 bytes of a transaction as JSON-RPC shows it. Raises KeyError or ValueError on what it does not know."""
    import rlp

    kind = to_int(fields.get("type") or 0)
    if kind not in _FIELDS:
        raise ValueError(f"transaction type {kind} is unknown")
    items = [_item(fields.get(name), form) for name, form in _FIELDS[kind]]
    if kind:
        parity = fields.get("yParity")
        items.append(_item(fields["v"] if parity is None else parity, "i"))
    items += [_item(fields["r"], "i"), _item(fields["s"], "i")]
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(items))


def read_transaction(raw: bytes, block: int, time: int) -> Transaction:
    """A transaction from its own bytes, so that nothing else need be believed; of an unknown type only the hash.

    Raises ValueError when the bytes are none.
    """
    import rlp

    digest = "0x" + keccak(raw).hex()
    kind, body = (0, raw) if raw[:1] >= b"\xc0" else (raw[0] if raw else -1, raw[1:])
    if kind not in _FIELDS:
        return Transaction(digest, block, time, None, b"", 0, raw)
    try:
        items = rlp.decode(body)
    except (rlp.exceptions.RLPException, RecursionError) as error:
        raise ValueError(f"transaction {digest} is no RLP: {error}") from error
    names = [name for name, _ in _FIELDS[kind]]
    if not isinstance(items, list) or len(items) < len(names):
        raise ValueError(f"transaction {digest} has too few fields")
    values = dict(zip(names, items, strict=False))
    plain = (values["to"], values["input"], values["nonce"])
    if not all(isinstance(each, bytes) for each in plain) or len(values["to"]) not in (0, 20):
        raise ValueError(f"transaction {digest} has fields of the wrong form")
    to = checksum_address(values["to"]) if values["to"] else None
    return Transaction(digest, block, time, to, bytes(values["input"]), int.from_bytes(values["nonce"], "big"), raw)


def _item(value: Any, form: str) -> Any:
    if form == "i":
        number = to_int(value)
        return number.to_bytes((number.bit_length() + 7) // 8, "big")
    if form == "b":
        return bytes.fromhex(value[2:]) if value else b""
    if form == "l":
        return [_item(each, "b") for each in value]
    if form == "a":
        return [[_item(each["address"], "b"), _item(each["storageKeys"], "l")] for each in value or ()]
    return [
        [
            _item(each["chainId"], "i"), _item(each["address"], "b"), _item(each["nonce"], "i"),
            _item(each.get("yParity", each.get("v")), "i"), _item(each["r"], "i"), _item(each["s"], "i"),
        ]
        for each in value
    ]  # fmt: skip
