"""Hashes batches of chunks in a process of its own: hashlib holds the interpreter's lock on short messages.

Run by path with nothing but the standard library; reads whole batches from stdin until it closes, then writes every
level of every batch, leaves first, and ends.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from struct import iter_unpack

#: leaves hashed at a time; bounds the memory beyond payload and tree
BATCH = 1 << 12


def hash_level(level: list[bytes]) -> list[bytes]:
    """Parents of an even number of nodes."""
    pairs = iter(level)
    return [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]


def hash_batch(chunks: memoryview) -> bytes:
    """Every level of one whole batch, concatenated."""
    levels = [[sha256(b"\0" + chunk).digest() for (chunk,) in iter_unpack("256s", chunks)]]
    while len(levels[-1]) > 1:
        levels.append(hash_level(levels[-1]))
    return b"".join(map(b"".join, levels))


def main() -> None:
    payload = memoryview(sys.stdin.buffer.read())
    step = 256 * BATCH
    for at in range(0, len(payload), step):
        sys.stdout.buffer.write(hash_batch(payload[at : at + step]))


if __name__ == "__main__":
    main()
