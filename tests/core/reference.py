"""The protocol's arithmetic and tree a second time, in plain integers and recursion: what the core is compared with."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import floor

ZERO_CHUNK = bytes(256)


def mean(elements: list[int], weights: list[int], bound: int, *, weighted: bool = True) -> int:
    """Weighted mean of clamped elements, rounded half up."""
    factors = weights if weighted else [1 for _ in weights]
    clamped = [max(min(e, bound), -bound) for e in elements]
    exact = Fraction(sum(f * c for f, c in zip(factors, clamped, strict=True)), sum(factors))
    return floor(exact + Fraction(1, 2))


def step(model: int, mean: int, numerator: int, denominator: int) -> int:
    """FedAvg: the mean times the rate, rounded half up, saturating."""
    moved = model + floor(Fraction(mean * numerator, denominator) + Fraction(1, 2))
    top = 2**31 - 1
    return top if moved > top else max(moved, -top)


def root(chunks: list[bytes]) -> bytes:
    """Root over chunks, missing ones zero, top down."""
    size = 1
    while size < len(chunks):
        size *= 2
    return _node(chunks, 0, size)


def _node(chunks: list[bytes], start: int, size: int) -> bytes:
    if size == 1:
        chunk = chunks[start] if start < len(chunks) else ZERO_CHUNK
        return hashlib.sha256(b"\x00" + chunk).digest()
    half = size // 2
    left, right = _node(chunks, start, half), _node(chunks, start + half, half)
    return hashlib.sha256(b"\x01" + left + right).digest()


def chunks_of(payload: bytes) -> list[bytes]:
    return [payload[at : at + 256] for at in range(0, len(payload), 256)]
