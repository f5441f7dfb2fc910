"""One decoded log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .abi import interface, to_jsonable
from .deployment import Deployment
from .rpc import to_int

__all__ = ["ChainEvent", "decode_log"]


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """args: as JSON holds them, by the contract's names: bytes as 0x hex, structs as dicts, addresses checksummed.

    time: of its block, unix seconds; 0 where the node did not say. transaction, block_hash: 0x hex.
    """

    block: int
    log_index: int
    transaction: str
    block_hash: str
    contract: str
    name: str
    args: Mapping[str, Any]
    time: int = 0

    @property
    def study_id(self) -> int | None:
        return self.args.get("studyId")

    @property
    def round(self) -> int | None:
        return self.args.get("round")

    def bytes32(self, name: str) -> bytes:
        """An argument as bytes."""
        return bytes.fromhex(self.args[name][2:])


def decode_log(deployment: Deployment, log: Mapping[str, Any]) -> ChainEvent | None:
    """A log as JSON-RPC gives it; None when no contract of ours emitted it or its ABI does not know it."""
    contract = deployment.name_of(log["address"])
    if contract is None or not log["topics"]:
        return None
    topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
    event = interface(contract).by_topic.get(topics[0])
    if event is None:
        return None
    args = event.decode(topics, bytes.fromhex(log["data"][2:]))
    return ChainEvent(
        block=to_int(log["blockNumber"]),
        log_index=to_int(log["logIndex"]),
        transaction=log["transactionHash"],
        block_hash=log["blockHash"],
        contract=contract,
        name=event.name,
        args=to_jsonable(args),
        time=to_int(log.get("blockTimestamp") or 0),
    )
