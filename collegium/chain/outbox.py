"""The outbox: every transaction of one account, sent once whatever happens in between.

An intent is on disk before anything is signed, a signed transaction before it is sent. After a crash, `resume`
or the same `submit` finds the receipt, sends the same bytes again, or signs again where nothing was signed.
A key is signed with a second nonce only after its first nonce was used by another transaction.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from collegium.crashpoints import crashpoint, register
from collegium.errors import (
    ChainUnreachableError,
    CollegiumError,
    InsufficientGasError,
    PreconditionError,
    RevertedError,
    TimedOutError,
)
from collegium.observability import metrics
from collegium.observability.tracing import span

from .abi import interface
from .client import Chain
from .errors import explain
from .events import ChainEvent, decode_log
from .intents import Intent
from .rpc import RpcError, to_int
from .sending import Attempt, Entry, SendingLog, State

__all__ = ["IntentConflictError", "Outbox", "OutboxMismatchError", "Receipt"]

GAS_CAP = 1 << 24
"""Most gas a transaction may ask for (EIP-7825)."""
BUMP = (5, 4)
"""A replacement pays a quarter more; nodes ask for a tenth."""
HOUSEKEEPING = 1.0
"""Seconds between looks at everything that is pending."""
_HARMLESS = ("already known", "already imported", "known transaction", "nonce too low", "underpriced")
"""What nodes say about a transaction that they have, had or would take at a higher fee."""

register(
    "outbox.intent_written",
    "outbox.simulated",
    "outbox.signed",
    "outbox.signed_written",
    "outbox.broadcast",
    "outbox.bump_written",
    "outbox.bump_broadcast",
    "outbox.mined_written",
    "outbox.receipt_written",
)


class IntentConflictError(PreconditionError):
    """The key was used for a different call."""

    code = "intent_conflict"


class OutboxMismatchError(PreconditionError):
    """The outbox belongs to another chain."""

    code = "outbox_mismatch"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction in its block. transaction, block_hash: 0x hex; gas_price: wei per gas paid."""

    key: str
    transaction: str
    block: int
    block_hash: str
    gas_used: int
    gas_price: int
    events: tuple[ChainEvent, ...]

    def event(self, name: str) -> ChainEvent | None:
        """The first event of that name."""
        return next((event for event in self.events if event.name == name), None)


class Outbox:
    """Sends the intents of `chain.signer`. Thread-safe; several processes may share the file."""

    def __init__(self, path: Path, chain: Chain) -> None:
        """Raises KeyMissingError without a signer, OutboxMismatchError when the file is of another chain."""
        self._chain = chain
        self._rpc = chain.rpc
        self._sender = chain.signer.address
        self._log = SendingLog(path, self._sender)
        self._cleaned = 0.0
        genesis = self._rpc.request("eth_getBlockByNumber", "0x0", False)
        here = f"{chain.chain_id}:{genesis['hash']}"
        if self._log.remember("chain", here) != here:
            self._log.close()
            raise OutboxMismatchError(
                f"The outbox {path} belongs to another chain of the same or another id.",
                hint="A devnet that was restarted is a new chain: start with a new home.",
                path=str(path),
            )

    def submit(self, intent: Intent, *, timeout: float | None = None) -> Receipt:
        """Send once and wait until it is mined and confirmed.

        timeout: seconds; by default what the network's confirmations need.
        A key that succeeded before returns its receipt; one that failed is tried anew.
        Raises RevertedError, InsufficientGasError, IntentConflictError, ChainUnreachableError, TimedOutError.
        """
        with span("tx.submit", act=intent.function):
            self.send(intent)
        with span("tx.wait", act=intent.function):
            return self.wait(intent.key, timeout=timeout)

    def send(self, intent: Intent) -> None:
        """Write down, simulate, sign and send, without waiting. Raises as `submit` does."""
        target = self._chain.address_of(intent.to)
        calldata = interface(intent.to).function(intent.function).encode(intent.args) if intent.function else b""
        with self._log.exclusive():
            entry = self._log.find(intent.key)
            if entry is not None and entry.state is State.FAILED:
                self._refresh(entry)
                entry = self._log.find(intent.key)
            if entry is not None and (entry.state is not State.FAILED or self._may_still_be_mined(entry)):
                if (entry.target, entry.calldata, entry.value) != (target, calldata, intent.value):
                    raise IntentConflictError(
                        f"{intent.key} was submitted before with other contents.",
                        hint="It cannot be changed any more; choose another key for another act.",
                        key=intent.key,
                    )
                if entry.state not in (State.QUEUED, State.FAILED):
                    return
            if entry is None or entry.state is State.FAILED:
                entry = self._log.queue(intent.key, target, intent.function, calldata, intent.value)
                crashpoint("outbox.intent_written")
            self._launch(entry)

    def wait(self, key: str, *, timeout: float | None = None) -> Receipt:
        """The receipt of a key that was sent. Raises RevertedError, TimedOutError, ChainUnreachableError."""
        if timeout is None:
            timeout = self._default_timeout()
        give_up = time.monotonic() + timeout
        pause = 0.02
        while True:
            with self._log.exclusive():
                entry = self._log.find(key)
                if entry is None:
                    raise CollegiumError(f"Nothing was sent under {key}.", hint="Submit it first.")
                if entry.state in (State.PENDING, State.MINED):
                    self._refresh(entry)
                    self._keep_house()
                    entry = self._log.find(key)
                    assert entry is not None
            if entry.state is State.DONE:
                return self._receipt(entry)
            if entry.state is State.FAILED:
                raise self._failure(entry)
            if time.monotonic() > give_up:
                raise TimedOutError(
                    f"{key} is not confirmed after {timeout:.0f} s.",
                    hint="It stays in the outbox; run the command again to keep waiting.",
                    key=key,
                    transactions=[attempt.hash for attempt in self._log.attempts(entry)],
                )
            time.sleep(pause)
            pause = min(pause * 1.5, self._chain.settings.poll_interval)

    def resume(self, *, timeout: float | None = None) -> dict[str, Receipt | CollegiumError]:
        """Bring everything unfinished to its end: by key, its receipt or why it failed."""
        with self._log.exclusive():
            unfinished = self._log.in_states(State.PENDING, State.MINED, State.QUEUED)
            self._keep_house(force=True)
        results: dict[str, Receipt | CollegiumError] = {}
        for entry in unfinished:
            try:
                with self._log.exclusive():
                    current = self._log.find(entry.key)
                    if current is not None and current.state is State.QUEUED:
                        self._launch(current)
                results[entry.key] = self.wait(entry.key, timeout=timeout)
            except (ChainUnreachableError, TimedOutError):
                raise
            except CollegiumError as error:
                results[entry.key] = error
        return results

    def find(self, key: str) -> Entry | None:
        """What is on disk about a key."""
        return self._log.find(key)

    def unfinished(self) -> list[Entry]:
        """Entries that are neither confirmed nor failed."""
        return self._log.in_states(State.QUEUED, State.PENDING, State.MINED)

    def close(self) -> None:
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _default_timeout(self) -> float:
        confirmations = self._chain.settings.confirmations
        # Finality takes about 13 minutes where it takes time at all, a block about 12 seconds.
        return 1800.0 if confirmations is None else 180.0 + 15.0 * confirmations

    # Sending

    def _launch(self, entry: Entry) -> None:
        """Simulate, sign, write, send."""
        # A simulation shows the node all that the transaction would.
        self._write_down("simulation", entry, entry.calldata)
        try:
            gas = self._simulate(entry)
            max_fee, tip = self._fees()
            self._check_balance(entry, gas * max_fee)
        except ChainUnreachableError:
            raise
        except CollegiumError as error:
            self._settle_failed(entry, error)
            raise
        crashpoint("outbox.simulated")
        self._sign(entry, self._choose_nonce(entry), gas, max_fee, tip, "outbox.signed_written")
        self._broadcast(entry)
        crashpoint("outbox.broadcast")

    def _simulate(self, entry: Entry) -> int:
        """Gas to ask for. At the pending block, whose time is the present. Raises the decoded error."""
        call = self._call_of(entry)
        try:
            needed = to_int(self._rpc.request("eth_estimateGas", call, "pending"))
        except RpcError as error:
            explained = explain(error)
            if isinstance(explained, RevertedError) and not explained.evidence["error"]:
                # Some nodes leave the reason out of an estimate.
                self._chain.eth_call(call, "pending")
            raise explained from error
        return max(needed, min(needed * 5 // 4 + 30_000, GAS_CAP))

    def _call_of(self, entry: Entry) -> dict[str, str]:
        call = {"from": self._sender, "to": entry.target, "data": "0x" + entry.calldata.hex()}
        if entry.value:
            call["value"] = hex(entry.value)
        return call

    def _fees(self) -> tuple[int, int]:
        """Most to pay, and tip, in wei per gas: twice the base fee bears six full blocks."""
        head = self._rpc.header("latest")
        base = head.base_fee if head is not None and head.base_fee is not None else 0
        try:
            tip = to_int(self._rpc.request("eth_maxPriorityFeePerGas"))
        except RpcError:
            tip = 10**9
        return 2 * base + tip, tip

    def _check_balance(self, entry: Entry, fee: int) -> None:
        balance = self._chain.balance(self._sender)
        metrics.set_gauge("wallet_balance_wei", balance)
        if balance < entry.value + fee:
            raise InsufficientGasError(
                f"{self._sender} has {balance} wei and needs up to {entry.value + fee} for this transaction.",
                hint="Send it some of the chain's own coin, then run the command again.",
                address=self._sender,
                balance=balance,
                needed=entry.value + fee,
            )

    def _choose_nonce(self, entry: Entry) -> int:
        """The nonce of an unused earlier signature of this entry, else the first that nobody uses."""
        used = self._log.nonces_in_use()
        mined = self._count("latest")
        for attempt in self._log.attempts(entry):
            if attempt.nonce >= mined and attempt.nonce not in used:
                return attempt.nonce
        # Transactions that another tool sent from this account count as used.
        nonce = max(mined, self._count("pending"))
        while nonce in used:
            nonce += 1
        return nonce

    def _may_still_be_mined(self, entry: Entry) -> bool:
        """Whether bytes signed for it could yet take effect."""
        attempts = self._log.attempts(entry)
        return bool(attempts) and max(attempt.nonce for attempt in attempts) >= self._count("latest")

    def _count(self, block: str) -> int:
        return to_int(self._rpc.request("eth_getTransactionCount", self._sender, block))

    def _sign(self, entry: Entry, nonce: int, gas: int, max_fee: int, tip: int, point: str) -> None:
        for earlier in self._log.attempts(entry):
            if earlier.nonce == nonce:
                max_fee = max(max_fee, earlier.max_fee * BUMP[0] // BUMP[1] + 1)
                tip = max(tip, earlier.tip * BUMP[0] // BUMP[1] + 1)
                break
        raw, digest = self._chain.signer.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain.chain_id,
                "nonce": nonce,
                "to": entry.target,
                "value": entry.value,
                "data": entry.calldata,
                "gas": gas,
                "maxFeePerGas": max_fee,
                "maxPriorityFeePerGas": tip,
            }
        )
        crashpoint("outbox.signed")
        self._log.sign(entry, Attempt("0x" + digest.hex(), nonce, raw, gas, max_fee, tip, time.time()))
        crashpoint(point)

    def _broadcast(self, entry: Entry) -> None:
        """Send the newest signed bytes; harmless when the node has them. Raises when the node refuses them."""
        newest = self._log.attempts(entry)[0]
        self._write_down("transaction", entry, newest.raw, transaction=newest.hash)
        try:
            self._rpc.request("eth_sendRawTransaction", "0x" + newest.raw.hex())
        except RpcError as error:
            reason = str(error.evidence.get("reason", "")).lower()
            # Known already, or its nonce was mined: the receipt will tell. Underpriced: a later bump will do.
            if any(words in reason for words in _HARMLESS):
                return
            explained = explain(error)
            self._settle_failed(entry, explained)
            raise explained from error

    def _write_down(self, kind: str, entry: Entry, content: bytes, **details: Any) -> None:
        """Into the egress log, before it goes. Raises DiskError."""
        if self._chain.egress is not None:
            self._chain.egress.record(
                kind, self._rpc.name, content, act=entry.function or "payment", to=entry.target, **details
            )

    def _settle_failed(self, entry: Entry, error: CollegiumError) -> None:
        self._log.settle(entry, State.FAILED, error=_stored(error))
        metrics.count("tx_total", kind=entry.function or "payment", status=error.code)

    # What became of it

    def _refresh(self, entry: Entry) -> None:
        """Look for the receipt of any attempt and move the entry accordingly."""
        attempts = self._log.attempts(entry)
        found = None
        for attempt in attempts:
            found = self._rpc.request("eth_getTransactionReceipt", attempt.hash)
            if found is not None:
                break
        if found is None:
            if entry.state is State.MINED:
                # A reorganization took the block away.
                self._log.settle(entry, State.PENDING)
            return
        if not self._is_deep(found):
            if entry.state is not State.MINED:
                self._log.settle(entry, State.MINED, receipt=_kept(found))
                crashpoint("outbox.mined_written")
            return
        if to_int(found["status"]) == 1:
            self._log.settle(entry, State.DONE, receipt=_kept(found))
            _count_mined(entry, found, "mined")
        elif entry.state is not State.FAILED:
            error = self._explain_failure(entry, found)
            self._log.settle(entry, State.FAILED, receipt=_kept(found), error=_stored(error))
            _count_mined(entry, found, error.code)
        crashpoint("outbox.receipt_written")

    def _is_deep(self, receipt: Mapping[str, Any]) -> bool:
        confirmations = self._chain.settings.confirmations
        if confirmations == 0:
            return True
        head = self._chain.head()
        return head is not None and head.number >= to_int(receipt["blockNumber"])

    def _deep_block(self) -> str:
        """Block that a reorganization will not undo, as a parameter of JSON-RPC."""
        if self._chain.settings.confirmations == 0:
            return "latest"
        head = self._chain.head()
        return "earliest" if head is None else hex(head.number)

    def _explain_failure(self, entry: Entry, receipt: Mapping[str, Any]) -> RevertedError:
        """Why a mined transaction reverted: the call repeated before and after its block."""
        number = to_int(receipt["blockNumber"])
        evidence = {"transaction": receipt["transactionHash"], "block": number}
        for block in (number - 1, number):
            try:
                self._chain.eth_call(self._call_of(entry), block)
            except RevertedError as error:
                error.evidence.update(evidence)
                return error
            except CollegiumError:
                break
        return RevertedError(
            f"{entry.function or 'The payment'} was mined and reverted.",
            hint="Something changed between the simulation and its block; run the command again.",
            error="",
            fields={},
            **evidence,
        )

    def _keep_house(self, *, force: bool = False) -> None:
        """In nonce order: send again what the node lost, raise fees of what waits, sign anew what was overtaken."""
        now = time.monotonic()
        if not force and now - self._cleaned < HOUSEKEEPING:
            return
        self._cleaned = now
        for entry in self._log.in_states(State.PENDING, State.MINED):
            # The count is read before the receipts: a nonce counted without a receipt of ours was another's.
            mined = self._count(self._deep_block())
            self._refresh(entry)
            current = self._log.find(entry.key)
            if current is None or current.state is not State.PENDING or current.nonce is None:
                continue
            attempts = self._log.attempts(current)
            if current.nonce < mined:
                self._relaunch(current)
            elif time.time() - attempts[0].signed > self._chain.settings.bump_after:
                self._raise_fee(current, attempts[0])
            elif self._rpc.request("eth_getTransactionByHash", attempts[0].hash) is None:
                with contextlib.suppress(RpcError, InsufficientGasError):
                    self._broadcast(current)

    def _relaunch(self, entry: Entry) -> None:
        """Sign anew, with another nonce. Why that failed is on disk, for whoever waits for this entry."""
        try:
            self._launch(entry)
        except ChainUnreachableError:
            raise
        except CollegiumError:
            pass

    def _raise_fee(self, entry: Entry, last: Attempt) -> None:
        max_fee, tip = self._fees()
        try:
            self._check_balance(entry, last.gas * max(max_fee, last.max_fee * BUMP[0] // BUMP[1] + 1))
        except InsufficientGasError:
            return
        self._sign(entry, last.nonce, last.gas, max_fee, tip, "outbox.bump_written")
        with contextlib.suppress(RpcError, InsufficientGasError):
            self._broadcast(entry)
        crashpoint("outbox.bump_broadcast")

    def _receipt(self, entry: Entry) -> Receipt:
        kept = entry.receipt
        assert kept is not None
        decoded = (decode_log(self._chain.deployment, log) for log in kept["logs"])
        return Receipt(
            key=entry.key,
            transaction=kept["transactionHash"],
            block=to_int(kept["blockNumber"]),
            block_hash=kept["blockHash"],
            gas_used=to_int(kept["gasUsed"]),
            gas_price=to_int(kept["effectiveGasPrice"] or 0),
            events=tuple(event for event in decoded if event is not None),
        )

    def _failure(self, entry: Entry) -> CollegiumError:
        kept = entry.error or {}
        kind = {"insufficient_gas": InsufficientGasError, "reverted": RevertedError}.get(
            kept.get("code", ""), CollegiumError
        )
        return kind(
            kept.get("message", "The transaction failed."), hint=kept.get("hint", ""), **kept.get("evidence", {})
        )


def _count_mined(entry: Entry, receipt: Mapping[str, Any], status: str) -> None:
    gas = to_int(receipt["gasUsed"])
    metrics.count("tx_total", kind=entry.function or "payment", status=status)
    metrics.observe("tx_gas_used", gas)
    metrics.count("tx_fee_wei_total", gas * to_int(receipt.get("effectiveGasPrice") or 0))


def _kept(receipt: Mapping[str, Any]) -> dict[str, Any]:
    names = ("transactionHash", "blockNumber", "blockHash", "gasUsed", "logs")
    return {**{name: receipt[name] for name in names}, "effectiveGasPrice": receipt.get("effectiveGasPrice")}


def _stored(error: CollegiumError) -> dict[str, Any]:
    from .abi import to_jsonable

    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "evidence": to_jsonable(error.evidence),
    }
