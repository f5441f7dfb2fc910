"""What the makers of test vectors share: inputs that depend on their names alone, and encoded families."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from eth_abi.abi import encode

from collegium import messages, records
from collegium.records import (
    Format,
    Join,
    Outcome,
    Plan,
    Proposal,
    Record,
    RecordProof,
    Section,
)

DOMAIN = messages.Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")


def draw(name: str, size: int = 32) -> bytes:
    """Bytes that depend on nothing but their name."""
    blocks = (hashlib.sha256(f"{name}/{i}".encode()).digest() for i in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def number(name: str, low: int, high: int) -> int:
    return low + int.from_bytes(draw(name), "big") % (high - low + 1)


def address(name: str) -> str:
    return records.checksum_address(draw(name, 20))


class Family:
    """Parallel arrays of encoded inputs and outputs."""

    def __init__(self, inputs: str, outputs: str) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.rows: list[tuple[bytes, bytes]] = []

    def add(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.rows.append((self._encode(self.inputs, inputs), self._encode(self.outputs, outputs)))

    @staticmethod
    def _encode(types: str, values: Sequence[Any]) -> bytes:
        plain = [value.to_abi() if isinstance(value, Record) else value for value in values]
        return bytes(encode(_split_types(types), plain))

    def to_json(self) -> dict[str, Any]:
        return {
            "types": f"{self.inputs} -> {self.outputs}",
            "in": ["0x" + left.hex() for left, _ in self.rows],
            "out": ["0x" + right.hex() for _, right in self.rows],
        }


def _split_types(types: str) -> list[str]:
    """Top-level types of a comma-separated list; record names stand for their tuples."""
    parts, depth, current = [], 0, ""
    for char in types.replace(" ", ""):
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append(current)
            current = ""
        else:
            current += char
    names = {kind.__name__: kind for kind in _RECORDS}
    return [names[part].abi_type() if part in names else part for part in (*parts, current)]


_RECORDS: tuple[type[Record], ...] = (Plan, Format, Proposal, Outcome, RecordProof, Join, Section)


def make_plan(name: str, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "mode": 1,
        "rule": 1,
        "optimizer": 1,
        "rate_numerator": 1,
        "rate_denominator": 1,
        "referee": address(name),
        "min_clients": 2,
        "max_members": 128,
        "quorum_min": 2,
        "max_weight": 1 << 20,
        "commit_window": 60,
        "reveal_window": 60,
        "certify_window": 60,
        "propose_window": 60,
        "challenge_window": 120,
        "evidence_period": 3600,
        "aggregator_bond": 10**21,
        "unrevealed_fine": 10**18,
        "range_fine": 10**19,
        "equivocation_fine": 10**19,
        "duty_fine": 10**19,
        "contradiction_fine": 10**20,
    }
    for field, kind in Plan.field_types().items():
        if kind == "bytes32":
            values.setdefault(field, draw(f"{name}/{field}"))
    return Plan(**{**values, **changes})


def make_format(count: int, bound: int, *, weighted: bool = True, exponent: int = 16) -> Format:
    return Format((Section(count, 0, 1, exponent, bound, weighted),), draw(f"table/{count}"))


def make_proposal(name: str, **changes: Any) -> Proposal:
    zero = dict.fromkeys(("new_state_root", "seeds_hash", "ext"), records.ZERO32)
    values: dict[str, Any] = {"aggregator": address(name), "attempt": 0, "included": 7, "dropouts": 0}
    values |= {"weight_sum": 30, **zero}
    for field, kind in Proposal.field_types().items():
        if kind == "bytes32":
            values.setdefault(field, draw(f"{name}/{field}"))
    return Proposal(**{**values, **changes})


def extreme(kind: type[Record]) -> Any:
    """A record with every field at its maximum."""
    tops: dict[str, Any] = {"address": "0x" + "ff" * 20, "bytes32": b"\xff" * 32, "bool": True}
    return kind(**{name: tops.get(abi) or 2 ** int(abi[4:]) - 1 for name, abi in kind.field_types().items()})


def private_key(name: str) -> bytes:
    return draw(f"key/{name}")


def families(**made: Family) -> dict[str, Any]:
    """A vector file's content."""
    return {name: family.to_json() for name, family in made.items()}
