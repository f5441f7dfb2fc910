"""Bytecode as bytes: immutables blanked, the compiler's metadata hashes found, the first difference told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

__all__ = ["Match", "blank_metadata", "compare", "first_difference", "mask", "metadata_digests"]

# CBOR that solc appends to every contract's code: {"ipfs": multihash (sha2-256), "solc": version}, then its length.
_METADATA = re.compile(rb"\xa2\x64ipfs\x58\x22\x12\x20(.{32})\x64solc\x43(.{3})\x00\x33", re.DOTALL)


class Match(StrEnum):
    """EXACT: every byte, so the sources are the very ones, comments included. PARTIAL: all but metadata hashes."""

    EXACT = "exact"
    PARTIAL = "partial"
    NONE = "none"


def mask(code: bytes, places: Sequence[tuple[int, int]]) -> bytes:
    """`code` with zeros at (start, length) of every immutable: there the compiler leaves zeros, the chain values."""
    blanked = bytearray(code)
    for start, length in places:
        blanked[start : start + length] = bytes(len(blanked[start : start + length]))
    return bytes(blanked)


def metadata_digests(code: bytes) -> list[bytes]:
    """sha2-256 digests inside the IPFS CIDs of the metadata, own and of created contracts, in order."""
    return [found[1] for found in _METADATA.finditer(code)]


def blank_metadata(code: bytes) -> bytes:
    """`code` with every metadata hash blanked; the compiler's version stays."""
    return _METADATA.sub(lambda found: found[0].replace(found[1], bytes(32)), code)


def compare(actual: bytes, expected: bytes) -> Match:
    """How well two codes agree; both with immutables masked already."""
    if actual == expected:
        return Match.EXACT
    return Match.PARTIAL if blank_metadata(actual) == blank_metadata(expected) else Match.NONE


def first_difference(actual: bytes, expected: bytes) -> int:
    """Offset of the first byte that differs, metadata hashes aside; the shorter length when one begins the other."""
    one, other = blank_metadata(actual), blank_metadata(expected)
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))
