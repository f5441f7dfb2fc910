"""The chunk tree: a SHA-256 tree over 256-byte chunks that a contract can check one path of.

leaf = H(0x00 || chunk), node = H(0x01 || left || right); a missing right sibling is the root of the all-zero
subtree of its height. An opening is a chunk and its siblings from the leaf up.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium import tree_worker
from collegium.errors import OpeningError
from collegium.records import CHUNK_BYTES
from collegium.tree_worker import hash_level

__all__ = [
    "MAX_DEPTH",
    "ZERO",
    "ChunkTree",
    "Opening",
    "build_from_leaves",
    "depth",
    "hash_leaf",
    "hash_node",
    "leaves_of",
    "root_from_opening",
    "root_of",
    "verify_opening",
]

MAX_DEPTH = 32
_BATCH = tree_worker.BATCH
#: batches that are worth a worker process: 16 MiB
_WORTH = 16

Buffer = bytes | bytearray | memoryview | NDArray[Any]


def hash_leaf(chunk: bytes | memoryview) -> bytes:
    return sha256(b"\0" + chunk).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _zero_roots() -> tuple[bytes, ...]:
    roots = [hash_leaf(bytes(CHUNK_BYTES))]
    for _ in range(MAX_DEPTH):
        roots.append(hash_node(roots[-1], roots[-1]))
    return tuple(roots)


#: ZERO[h] is the root of an all-zero subtree of height h
ZERO = _zero_roots()


def depth(leaves: int) -> int:
    """Height of the tree over so many leaves; 1 leaf gives 0."""
    if leaves < 1:
        raise OpeningError("A tree has at least one leaf.")
    return (leaves - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Opening:
    """One chunk and the siblings on its way up, lowest first."""

    chunk: bytes
    path: tuple[bytes, ...]

    def pack(self) -> bytes:
        """chunk 256 | path 32 * depth: the form that evidence carries."""
        return self.chunk + b"".join(self.path)

    @classmethod
    def unpack(cls, data: bytes) -> Opening:
        if len(data) < CHUNK_BYTES or len(data) % 32:
            raise OpeningError(f"An opening cannot have {len(data)} bytes.")
        path = tuple(bytes(data[at : at + 32]) for at in range(CHUNK_BYTES, len(data), 32))
        return cls(bytes(data[:CHUNK_BYTES]), path)


def root_from_opening(opening: Opening, leaf: int) -> bytes:
    """The root that an opening at position ``leaf`` leads to. Raises ``OpeningError`` outside the tree."""
    if len(opening.chunk) != CHUNK_BYTES:
        raise OpeningError(f"A chunk has {CHUNK_BYTES} bytes, not {len(opening.chunk)}.")
    if not 0 <= leaf < 1 << len(opening.path):
        raise OpeningError(f"Leaf {leaf} is outside a tree of depth {len(opening.path)}.", leaf=leaf)
    node = hash_leaf(opening.chunk)
    for sibling in opening.path:
        node = hash_node(sibling, node) if leaf & 1 else hash_node(node, sibling)
        leaf >>= 1
    return node


def verify_opening(opening: Opening, leaf: int, root: bytes, leaves: int) -> bool:
    """Whether the opening has the depth of ``leaves`` and leads to ``root``."""
    return len(opening.path) == depth(leaves) and root_from_opening(opening, leaf) == root


def _bytes_of(payload: Buffer) -> memoryview:
    if isinstance(payload, np.ndarray):
        # The tree covers little-endian bytes, whatever the machine's order.
        little = payload.dtype.newbyteorder("<")
        payload = np.ascontiguousarray(payload, dtype=little).data
    view = memoryview(payload).cast("B")
    if not len(view) or len(view) % CHUNK_BYTES:
        raise OpeningError(f"A payload is whole chunks of {CHUNK_BYTES} bytes, not {len(view)} bytes.")
    return view


def _hash_chunks(view: memoryview) -> list[bytes]:
    """Leaf hashes of whole chunks. One unpacking of tagged chunks is the cheapest way through the interpreter."""
    leaves = len(view) // CHUNK_BYTES
    tagged = np.empty((leaves, CHUNK_BYTES + 1), dtype=np.uint8)
    tagged[:, 0] = 0
    tagged[:, 1:] = np.frombuffer(view, dtype=np.uint8).reshape(leaves, CHUNK_BYTES)
    return [found.digest() for found in map(sha256, struct.unpack("257s" * leaves, tagged.data))]


def _hash_pairs(level: bytes, height: int) -> bytes:
    """The next level up, completed with the zero subtree of ``height`` when a right sibling is missing."""
    if len(level) % 64:
        level += ZERO[height]
    return b"".join(hash_level([level[at : at + 32] for at in range(0, len(level), 32)]))


def _subtree(view: memoryview) -> list[bytes]:
    """Levels of one batch of chunks, leaves first, up to the height of a full batch or of the whole tree."""
    level = _hash_chunks(view)
    levels = [b"".join(level)]
    while len(level) > 1:
        if len(level) % 2:
            level.append(ZERO[len(levels) - 1])
        level = hash_level(level)
        levels.append(b"".join(level))
    return levels


def _subtrees(view: memoryview) -> Iterator[list[bytes]]:
    step = _BATCH * CHUNK_BYTES
    for at in range(0, len(view), step):
        yield _subtree(view[at : at + step])


def _map_batches(view: memoryview, threads: int) -> Iterator[list[bytes]]:
    """Subtrees in order. With more threads than one, large payloads are shared with worker processes."""
    batches = len(view) // (_BATCH * CHUNK_BYTES)
    helpers = min(threads - 1, batches // _WORTH)
    # A worker starts later and is fed through a pipe, so it gets a little less.
    share = int(batches / (helpers + 1) * 0.9) * _BATCH * CHUNK_BYTES
    workers = [_Worker(view[n * share : (n + 1) * share]) for n in range(helpers)]
    try:
        own = list(_subtrees(view[helpers * share :])) if workers else _subtrees(view)
        for worker in workers:
            yield from worker.collect()
        yield from own
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that hashes whole batches; when it cannot, the same is done here."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", tree_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            return
        threading.Thread(target=self._feed, args=(self._process,), daemon=True).start()

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        # A worker that died gives too short an answer, which is noticed there.
        with contextlib.suppress(OSError), process.stdin as pipe:
            pipe.write(self._view)

    def collect(self) -> Iterator[list[bytes]]:
        answer = b""
        if self._process is not None and self._process.stdout is not None:
            with contextlib.suppress(OSError):
                answer = self._process.stdout.read()
        size = 32 * (2 * _BATCH - 1)
        if len(answer) * _BATCH * CHUNK_BYTES != len(self._view) * size:
            yield from _subtrees(self._view)
            return
        for at in range(0, len(answer), size):
            levels, width = [], 32 * _BATCH
            while width >= 32:
                levels.append(answer[at : at + width])
                at, width = at + width, width // 2
            yield levels

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


def leaves_of(payload: Buffer) -> int:
    return len(_bytes_of(payload)) // CHUNK_BYTES


def _lift(root: bytes, height: int, target: int) -> bytes:
    """A short batch's root at the height of a full batch."""
    for level in range(height, target):
        root = hash_node(root, ZERO[level])
    return root


def root_of(payload: Buffer, *, threads: int = 1) -> bytes:
    """Root of a payload without keeping its tree."""
    view = _bytes_of(payload)
    total = depth(len(view) // CHUNK_BYTES)
    height = min(total, depth(_BATCH))
    level = b"".join(_lift(sub[-1], len(sub) - 1, height) for sub in _map_batches(view, threads))
    while height < total:
        level = _hash_pairs(level, height)
        height += 1
    return level


class ChunkTree:
    """A payload's tree with every level kept, for openings. Costs a quarter of the payload in memory."""

    def __init__(self, payload: memoryview | None, levels: list[bytes]) -> None:
        self._payload = payload
        self._levels = levels

    @classmethod
    def build(cls, payload: Buffer, *, threads: int = 1) -> ChunkTree:
        """Hash a payload of whole chunks. The payload is referred to, not copied; do not change it afterwards."""
        view = _bytes_of(payload)
        total = depth(len(view) // CHUNK_BYTES)
        height = min(total, depth(_BATCH))
        parts: list[list[bytes]] = [[] for _ in range(height + 1)]
        for sub in _map_batches(view, threads):
            while len(sub) <= height:
                sub.append(hash_node(sub[-1], ZERO[len(sub) - 1]))
            for level, piece in zip(parts, sub, strict=True):
                level.append(piece)
        levels = [b"".join(pieces) for pieces in parts]
        while len(levels) <= total:
            levels.append(_hash_pairs(levels[-1], len(levels) - 1))
        return cls(view, levels)

    @property
    def root(self) -> bytes:
        return self._levels[-1]

    @property
    def leaves(self) -> int:
        return len(self._levels[0]) // 32

    @property
    def depth(self) -> int:
        return len(self._levels) - 1

    def node(self, height: int, position: int) -> bytes:
        """A node by height and position; zero subtrees to the right of the payload included."""
        if not 0 <= height <= self.depth or not 0 <= position < 1 << self.depth - height:
            raise OpeningError(f"No node {position} at height {height} in a tree of depth {self.depth}.")
        return self._levels[height][32 * position : 32 * position + 32] or ZERO[height]

    def chunk(self, leaf: int) -> bytes:
        if self._payload is None:
            raise OpeningError("This tree was built from leaf hashes and has no chunks.")
        return bytes(self._payload[leaf * CHUNK_BYTES : (leaf + 1) * CHUNK_BYTES]).ljust(CHUNK_BYTES, b"\0")

    def path(self, leaf: int) -> tuple[bytes, ...]:
        """Siblings from the leaf up. ``leaf`` may lie in the zero tail."""
        if not 0 <= leaf < 1 << self.depth:
            raise OpeningError(f"Leaf {leaf} is outside a tree of depth {self.depth}.", leaf=leaf)
        return tuple(self.node(height, leaf >> height ^ 1) for height in range(self.depth))

    def open(self, leaf: int) -> Opening:
        """The opening of one leaf."""
        return Opening(self.chunk(leaf), self.path(leaf))

    def first_difference(self, other: ChunkTree) -> int | None:
        """The lowest leaf where two trees of one depth differ, in O(depth); None when the roots agree."""
        if self.depth != other.depth:
            raise OpeningError(f"Trees of depth {self.depth} and {other.depth} cannot be compared.")
        if self.root == other.root:
            return None
        position = 0
        for height in reversed(range(self.depth)):
            position *= 2
            if self.node(height, position) == other.node(height, position):
                position += 1
        return position


def build_from_leaves(leaf_hashes: Iterable[bytes]) -> ChunkTree:
    """A tree from leaf hashes alone: paths and root, no chunks."""
    levels = [b"".join(leaf_hashes)]
    total = depth(len(levels[0]) // 32)
    while len(levels) <= total:
        levels.append(_hash_pairs(levels[-1], len(levels) - 1))
    return ChunkTree(None, levels)
