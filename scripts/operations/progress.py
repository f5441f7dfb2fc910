"""A sequence of transactions that survives a crash at any line.

Each is signed with its nonce and written to disk before it is sent, so a rerun sends the very same bytes again and
the chain can execute them only once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collegium.chain.rpc import DEVNET_CHAIN_ID
from collegium.crashpoints import crashpoint, register
from collegium.errors import PreconditionError, RevertedError
from collegium.files import write_atomically

from .sender import (
    Mined,
    Sender,
    SignedTransaction,
    Transaction,
    count_transactions,
    read_receipt,
    to_mined,
    wait_mined,
)

__all__ = ["Progress"]

register("operation.signed", "operation.recorded", "operation.sent", "operation.announced", "operation.mined")

_SCHEMA = "collegium.progress/1"


class Progress:
    """The file that remembers which steps of one operation were signed.

    Raises PreconditionError when the file belongs to another chain, account or set of parameters.
    """

    def __init__(self, path: Path, sender: Sender, *, operation: str, parameters: bytes) -> None:
        self._path = path
        self._sender = sender
        # Two devnets share a chain id; their first blocks differ.
        genesis = sender.rpc.header(hex(0))
        belongs = {
            "schema": _SCHEMA,
            "operation": operation,
            "chainId": sender.chain_id,
            "genesis": "0x" + (genesis.hash.hex() if genesis else ""),
            "sender": sender.address,
            "parameters": "0x" + parameters.hex(),
        }
        self._content: dict[str, Any] = {**belongs, "steps": {}}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if sender.chain_id == DEVNET_CHAIN_ID and found.get("genesis") != belongs["genesis"]:
                return  # that devnet is gone, and its transactions with it
            for name, value in belongs.items():
                if found.get(name) != value:
                    raise PreconditionError(
                        f"{path} records an unfinished or earlier {operation} with another {name}: "
                        f"{found.get(name)}, not {value}.",
                        hint="Repeat the command with what it was begun with, or move that file away to begin anew.",
                        path=str(path),
                    )
            self._content = found

    def perform(
        self,
        step: str,
        build: Callable[[], Transaction],
        *,
        announce: Callable[[SignedTransaction], None] = lambda signed: None,
    ) -> Mined:
        """Send the transaction of one step, or go on with the one that was signed before; return when it is in a block.

        announce: called once it is on its way and before it is waited for.
        """
        entry = self._content["steps"].get(step)
        signed = self._again(step, entry) if entry is not None else None
        if signed is None:
            signed = self._sender.sign(build(), count_transactions(self._sender, "pending"))
            crashpoint("operation.signed")
            self._content["steps"][step] = {
                "nonce": signed.nonce,
                "hash": "0x" + signed.hash.hex(),
                "raw": "0x" + signed.raw.hex(),
            }
            self._save()
        crashpoint("operation.recorded")
        if read_receipt(self._sender.rpc, signed.hash) is None:
            self._sender.broadcast(signed)
        crashpoint("operation.sent")
        announce(signed)
        crashpoint("operation.announced")
        try:
            mined = wait_mined(self._sender.rpc, signed)
        except RevertedError:
            # It used its nonce up and changed nothing: the next run signs this step anew.
            del self._content["steps"][step]
            self._save()
            raise
        crashpoint("operation.mined")
        return mined

    def hash_of(self, step: str) -> str | None:
        """Transaction of a step, 0x hex."""
        entry = self._content["steps"].get(step)
        return None if entry is None else str(entry["hash"])

    def _again(self, step: str, entry: dict[str, Any]) -> SignedTransaction | None:
        """What was signed before, unless its nonce went to another transaction of the same account."""
        signed = SignedTransaction(bytes.fromhex(entry["raw"][2:]), bytes.fromhex(entry["hash"][2:]), entry["nonce"])
        receipt = read_receipt(self._sender.rpc, signed.hash)
        if receipt is not None:
            try:
                to_mined(receipt)
            except RevertedError:
                return None
            return signed
        if count_transactions(self._sender, "latest") > signed.nonce:
            return None
        return signed

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, (json.dumps(self._content, indent=2) + "\n").encode())
