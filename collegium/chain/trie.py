"""Root of the Merkle-Patricia trie of an ordered list: how a block commits to its receipts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_hash.auto import keccak

__all__ = ["EMPTY_ROOT", "compute_ordered_root"]

EMPTY_ROOT = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")


def compute_ordered_root(values: Sequence[bytes]) -> bytes:
    """Root over `values` under the keys rlp(0), rlp(1), …"""
    import rlp

    if not values:
        return EMPTY_ROOT
    leaves = sorted((_nibbles(rlp.encode(position)), value) for position, value in enumerate(values))
    return bytes(keccak(rlp.encode(_node(leaves, 0))))


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _node(leaves: Sequence[tuple[tuple[int, ...], bytes]], depth: int) -> list[Any]:
    """Node over leaves in key order that agree in their first `depth` nibbles. No key is a prefix of another."""
    if len(leaves) == 1:
        key, value = leaves[0]
        return [_path(key[depth:], leaf=True), value]
    first, last = leaves[0][0], leaves[-1][0]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_path(first[depth:shared], leaf=False), _reference(_node(leaves, shared))]
    branch: list[Any] = [b""] * 17
    for nibble in range(16):
        below = [leaf for leaf in leaves if leaf[0][depth] == nibble]
        if below:
            branch[nibble] = _reference(_node(below, depth + 1))
    return branch


def _reference(node: list[Any]) -> Any:
    """A node of less than 32 bytes stands in its parent itself, a larger one by its hash."""
    import rlp

    encoded = rlp.encode(node)
    return node if len(encoded) < 32 else bytes(keccak(encoded))


def _path(nibbles: tuple[int, ...], *, leaf: bool) -> bytes:
    """Hex-prefix encoding."""
    odd = len(nibbles) % 2
    flag = (2 if leaf else 0) + odd
    padded = (flag, *nibbles) if odd else (flag, 0, *nibbles)
    return bytes(padded[at] << 4 | padded[at + 1] for at in range(0, len(padded), 2))
