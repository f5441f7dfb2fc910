"""Who sends an operator's transactions: one protocol, so that Ape or a bare JSON-RPC endpoint fit behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from collegium.chain.errors import explain
from collegium.chain.rpc import Rpc, RpcError, to_int
from collegium.chain.signer import Signer
from collegium.errors import RevertedError, TimedOutError

__all__ = [
    "Mined",
    "Sender",
    "SignedTransaction",
    "Transaction",
    "Web3Sender",
    "count_transactions",
    "drain",
    "read_receipt",
    "send",
    "to_mined",
    "wait_mined",
]

MINING_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Transaction:
    """Not yet signed. to: None creates a contract. value: wei."""

    to: str | None
    data: bytes
    value: int = 0


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """raw: what goes to the node, any number of times. hash: 32 bytes."""

    raw: bytes
    hash: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction that is in a block and succeeded."""

    hash: bytes
    block: int
    gas_used: int
    contract: str | None
    logs: tuple[Mapping[str, Any], ...] = ()


class Sender(Protocol):
    """An account at a chain."""

    @property
    def address(self) -> str:
        """Checksummed."""

    @property
    def rpc(self) -> Rpc:
        """The endpoint, for reading."""

    @property
    def chain_id(self) -> int: ...

    def sign(self, transaction: Transaction, nonce: int) -> SignedTransaction:
        """Estimates gas first, so a transaction that would revert raises RevertedError and is never sent."""

    def broadcast(self, signed: SignedTransaction) -> None:
        """Hand it to the node; again is fine."""

    def confirm(self, mined: Mined) -> None:
        """Return when the network's confirmations lie on top of it."""


class Web3Sender:
    """A `Signer` and a JSON-RPC endpoint, nothing else."""

    def __init__(self, rpc: Rpc, signer: Signer, *, confirmations: int = 0) -> None:
        self._rpc = rpc
        self._signer = signer
        self._confirmations = confirmations
        self._chain_id = to_int(rpc.request("eth_chainId"))

    @property
    def address(self) -> str:
        return self._signer.address

    @property
    def rpc(self) -> Rpc:
        return self._rpc

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def sign(self, transaction: Transaction, nonce: int) -> SignedTransaction:
        head = self._rpc.header("latest")
        tip = to_int(self._rpc.request("eth_maxPriorityFeePerGas"))
        base = head.base_fee or 0 if head else 0
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": nonce,
            "value": transaction.value,
            "data": transaction.data,
            "gas": estimate_gas(self._rpc, self.address, transaction),
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * base + tip,
        }
        if transaction.to is not None:
            fields["to"] = transaction.to
        raw, digest = self._signer.sign_transaction(fields)
        return SignedTransaction(raw, digest, nonce)

    def broadcast(self, signed: SignedTransaction) -> None:
        broadcast(self._rpc, signed)

    def confirm(self, mined: Mined) -> None:
        while (head := self._rpc.head(self._confirmations)) is None or head.number < mined.block:
            time.sleep(0.2)


def estimate_gas(rpc: Rpc, sender: str, transaction: Transaction) -> int:
    """Gas limit with a tenth to spare. Raises RevertedError with the custom error in words."""
    call = {"from": sender, "data": "0x" + transaction.data.hex(), "value": hex(transaction.value)}
    if transaction.to is not None:
        call["to"] = transaction.to
    try:
        return to_int(rpc.request("eth_estimateGas", call)) * 11 // 10
    except RpcError as error:
        raise explain(error) from error


def broadcast(rpc: Rpc, signed: SignedTransaction) -> None:
    """Hand a raw transaction to the node; one that it knows already is no error."""
    try:
        rpc.request("eth_sendRawTransaction", "0x" + signed.raw.hex())
    except RpcError as error:
        text = str(error).lower()
        if not any(known in text for known in ("already known", "already imported", "alreadyknown", "nonce too low")):
            raise


def read_receipt(rpc: Rpc, transaction: bytes) -> Mapping[str, Any] | None:
    """Receipt as JSON; None while it is not in a block."""
    found = rpc.request("eth_getTransactionReceipt", "0x" + transaction.hex())
    return None if found is None or found.get("blockNumber") is None else found


def to_mined(receipt: Mapping[str, Any]) -> Mined:
    """Raises RevertedError when the transaction failed."""
    digest = bytes.fromhex(receipt["transactionHash"][2:])
    if to_int(receipt["status"]) != 1:
        raise RevertedError(
            f"Transaction 0x{digest.hex()} failed on chain.",
            hint="Run the same command again: it signs that step anew.",
        )
    return Mined(
        hash=digest,
        block=to_int(receipt["blockNumber"]),
        gas_used=to_int(receipt["gasUsed"]),
        contract=receipt.get("contractAddress"),
        logs=tuple(receipt["logs"]),
    )


def wait_mined(rpc: Rpc, signed: SignedTransaction, *, seconds: float = MINING_SECONDS) -> Mined:
    """Raises RevertedError or TimedOutError."""
    give_up = time.monotonic() + seconds
    pause = 0.02
    while (receipt := read_receipt(rpc, signed.hash)) is None:
        if time.monotonic() > give_up:
            raise TimedOutError(
                f"Transaction 0x{signed.hash.hex()} is not in a block after {seconds:.0f} s.",
                hint="Run the same command again: it goes on waiting for this transaction and sends nothing twice.",
            )
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
    return to_mined(receipt)


def send(sender: Sender, transaction: Transaction) -> Mined:
    """Sign, hand over and wait until it is in a block. For what a rerun finds done by looking at the chain."""
    signed = sender.sign(transaction, count_transactions(sender, "pending"))
    sender.broadcast(signed)
    return wait_mined(sender.rpc, signed)


def drain(sender: Sender) -> None:
    """Wait until nothing of the sender is pending: what an interrupted run sent counts. Raises TimedOutError."""
    give_up = time.monotonic() + MINING_SECONDS
    while (pending := count_transactions(sender, "pending") - count_transactions(sender, "latest")) > 0:
        if time.monotonic() > give_up:
            raise TimedOutError(
                f"{pending} transaction(s) of {sender.address} are pending since {MINING_SECONDS:.0f} s.",
                hint="Wait or raise their fee, then run the same command again.",
            )
        time.sleep(0.5)


def count_transactions(sender: Sender, block: str) -> int:
    """Nonce that comes next, as of a block tag."""
    return to_int(sender.rpc.request("eth_getTransactionCount", sender.address, block))
