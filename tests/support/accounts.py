"""Accounts that send intents at once, without an outbox: for tests and benchmarks that count transactions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collegium.chain import Chain, LocalSigner
from collegium.chain.abi import interface
from collegium.chain.errors import explain
from collegium.chain.events import ChainEvent, decode_log
from collegium.chain.intents import Intent
from collegium.chain.rpc import RpcError, to_int
from collegium.errors import RevertedError, TimedOutError
from collegium.messages import Domain, digest, sign_message
from collegium.records import Message, Signed

__all__ = ["Account", "Sent"]

GAS_LIMIT = 1 << 24


@dataclass(frozen=True)
class Sent:
    """A mined transaction. hash: 0x hex; calldata_bytes: length of its input."""

    function: str
    hash: str
    block: int
    gas_used: int
    calldata_bytes: int
    events: tuple[ChainEvent, ...]

    def named(self, name: str) -> list[ChainEvent]:
        return [event for event in self.events if event.name == name]

    def event(self, name: str) -> ChainEvent:
        """The first event of that name. Raises LookupError."""
        for event in self.events:
            if event.name == name:
                return event
        raise LookupError(f"{self.function} emitted no {name}, only {[each.name for each in self.events]}")


class Account:
    """A key at a chain. Counts its own nonces, so one object per key and chain."""

    def __init__(self, chain: Chain, private_key: bytes) -> None:
        self._chain = chain
        self.signer = LocalSigner(private_key)

    @property
    def address(self) -> str:
        return self.signer.address

    def sign(self, message: Message, domain: Domain) -> Signed[Any]:
        """The message with this key's compact signature."""
        return sign_message(message, domain, self.signer.private_key)

    def sign_long(self, message: Message, domain: Domain) -> bytes:
        """A signature of 65 bytes (r, s, v), as wallets give it."""
        compact = self.signer.sign_digest(digest(message, domain))
        vs = int.from_bytes(compact[32:], "big")
        return compact[:32] + (vs & ((1 << 255) - 1)).to_bytes(32, "big") + bytes([27 + (vs >> 255)])

    def send(self, intent: Intent, *, gas: int | None = None) -> Sent:
        """Simulate, send, wait. Raises RevertedError with the contract's own error."""
        calldata = interface(intent.to).function(intent.function).encode(intent.args) if intent.function else b""
        return self.send_raw(self._chain.address_of(intent.to), calldata, intent.value, gas, intent.function)

    def send_all(self, intents: Sequence[Intent]) -> list[Sent]:
        return [self.send(intent) for intent in intents]

    def send_raw(self, to: str, calldata: bytes, value: int = 0, gas: int | None = None, function: str = "") -> Sent:
        """To any address; an empty one creates a contract."""
        rpc = self._chain.rpc
        call = {"from": self.address, "data": "0x" + calldata.hex(), "value": hex(value)}
        if to:
            call["to"] = to
        if gas is None:
            try:
                needed = to_int(rpc.request("eth_estimateGas", call, "pending"))
            except RpcError as error:
                raise explain(error) from error
            gas = max(needed, min(needed * 5 // 4 + 30_000, GAS_LIMIT))
        nonce = to_int(rpc.request("eth_getTransactionCount", self.address, "pending"))
        raw, digest_ = self.signer.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain.chain_id,
                "nonce": nonce,
                "to": to,
                "value": value,
                "data": calldata,
                "gas": gas,
                "maxFeePerGas": 10**11,
                "maxPriorityFeePerGas": 10**9,
            }
        )
        rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        return self._wait("0x" + digest_.hex(), function, len(calldata))

    def _wait(self, transaction: str, function: str, length: int) -> Sent:
        give_up = time.monotonic() + 30
        while (receipt := self._chain.rpc.request("eth_getTransactionReceipt", transaction)) is None:
            if time.monotonic() > give_up:
                raise TimedOutError(f"{function} {transaction} was not mined.", hint="Is the node mining?")
            time.sleep(0.005)
        if to_int(receipt["status"]) != 1:
            raise RevertedError(f"{function} was mined and reverted.", error="", transaction=transaction)
        events = (decode_log(self._chain.deployment, log) for log in receipt["logs"])
        return Sent(
            function,
            transaction,
            to_int(receipt["blockNumber"]),
            to_int(receipt["gasUsed"]),
            length,
            tuple(event for event in events if event is not None),
        )
