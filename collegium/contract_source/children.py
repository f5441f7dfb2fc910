"""Contracts that another contract creates in its constructor: they have no creation transaction of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eth_hash.auto import keccak

from collegium.records import checksum_address

__all__ = ["CHILDREN", "Child", "compute_created_address"]


@dataclass(frozen=True, slots=True)
class Child:
    """parent: who creates it. nonce: of the parent at that moment; a contract's first creation has nonce 1.

    arguments: the parent's constructor arguments that are handed on, by position.
    """

    parent: str
    nonce: int
    arguments: tuple[int, ...]


CHILDREN: Mapping[str, Child] = {"Studies": Child("Collegium", 1, (0, 1, 2))}
"""Name to where it comes from; `scripts.release.standard_json` checks that the parent carries its code."""


def compute_created_address(creator: str, nonce: int) -> str:
    """Address of what an account creates with CREATE: keccak(rlp([creator, nonce]))[12:]."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    encoded = number if nonce and nonce < 0x80 else bytes([0x80 + len(number)]) + number
    body = b"\x94" + bytes.fromhex(creator[2:]) + encoded
    return checksum_address(bytes(keccak(bytes([0xC0 + len(body)]) + body))[12:])
