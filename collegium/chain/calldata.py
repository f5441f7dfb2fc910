"""The signed items behind the events: events say who did what, calldata carries the signatures.

Whoever carried an item, alone or in a batch, its signature lies in the input of a transaction to Collegium. Only
items whose signature is good and whose seat the round knows are returned, so a node cannot invent one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collegium.errors import CollegiumError
from collegium.messages import (
    ATTEST_BYTES,
    COMMIT_BYTES,
    ENDORSE_BYTES,
    digest,
    recover,
    unpack_attestations,
    unpack_commits,
    unpack_endorsements,
)
from collegium.records import Attestation, Endorsement, Signed, Update

from .abi import interface
from .client import Chain
from .views import RoundView

__all__ = ["Calldata"]


class Calldata:
    """Reads transactions of one chain and remembers their inputs. transaction: 0x hex hash."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._inputs: dict[str, bytes] = {}

    def updates(self, round: RoundView, transaction: str) -> list[Signed[Update]]:
        """Every update of this round that the transaction carried, also those that the contract skipped."""
        items = self._items(round, transaction, {"commitUpdates": "items"})
        return self._good(
            round,
            items,
            COMMIT_BYTES,
            lambda item: unpack_commits(item, study_id=round.study_id, round=round.number, ctx=round.ctx),
        )

    def attestations(self, round: RoundView, transaction: str) -> list[Signed[Attestation]]:
        """Every attestation of this round that the transaction carried."""
        items = self._items(round, transaction, {"certify": "attestations"})
        set_hash = round.set_hash(round.revealed)
        return self._good(
            round,
            items,
            ATTEST_BYTES,
            lambda item: unpack_attestations(
                item, study_id=round.study_id, round=round.number, ctx=round.ctx, set_hash=set_hash
            ),
        )

    def endorsements(self, round: RoundView, transaction: str, proposal: bytes) -> list[Signed[Endorsement]]:
        """Every endorsement of this proposal that the transaction carried. proposal: its hash."""
        items = self._items(round, transaction, {"endorse": "endorsements", "conclude": "endorsements"})
        return self._good(
            round,
            items,
            ENDORSE_BYTES,
            lambda item: unpack_endorsements(
                item, study_id=round.study_id, round=round.number, ctx=round.ctx, proposal=proposal
            ),
        )

    def _input(self, transaction: str) -> bytes:
        if transaction not in self._inputs:
            found = self._chain.rpc.request("eth_getTransactionByHash", transaction)
            if found is None:
                return b""
            self._inputs[transaction] = bytes.fromhex(found["input"][2:])
        return self._inputs[transaction]

    def _items(self, round: RoundView, transaction: str, names: dict[str, str]) -> bytes:
        """The packed items in the input of a call for this study; empty when it is another call."""
        calldata = self._input(transaction)
        function = interface("Collegium").by_selector.get(calldata[:4])
        if function is None or function.name not in names:
            return b""
        try:
            arguments = function.decode_input(calldata)
        except Exception:
            return b""
        return bytes(arguments[names[function.name]]) if arguments["studyId"] == round.study_id else b""

    def _good(
        self, round: RoundView, items: bytes, size: int, unpack: Callable[[bytes], list[Signed[Any]]]
    ) -> list[Signed[Any]]:
        """Items one by one, so that a bad one does not hide its neighbors."""
        good: list[Signed[Any]] = []
        keys = round.snapshot.node_keys
        for at in range(0, len(items) - len(items) % size, size):
            try:
                (signed,) = unpack(items[at : at + size])
                signer = recover(digest(signed.message, self._chain.domain()), signed.signature)
            except CollegiumError:
                continue
            if signed.message.index < len(keys) and keys[signed.message.index] == signer:
                good.append(signed)
        return good
