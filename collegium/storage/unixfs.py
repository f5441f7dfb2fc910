"""UnixFS files in the shape of profile unixfs-v1-2025: importer to blocks and hardened reader.

The profile fixes the tree for every length, so the reader knows beforehand what each node must
contain and accepts nothing else: no directories, no unknown fields, no second encoding of anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Protocol

from collegium.errors import BlobOversizedError, CidMismatchError
from collegium.storage.cid import CHUNK_BYTES, DAG_PB, RAW, Cid
from collegium.storage.errors import UnixFsError

__all__ = [
    "MAX_BLOCK_BYTES",
    "MAX_DEPTH",
    "MAX_LINKS",
    "BlockSource",
    "Importer",
    "block_sizes",
    "file_size_of",
    "read_blob",
]

MAX_LINKS = 1024
"""Children of one node."""

MAX_DEPTH = 4
"""Levels of nodes above the leaves; two of them already hold 1 TiB."""

MAX_BLOCK_BYTES = 2 << 20
"""Bytes of one block that a source may hand over; the usual limit of the network."""

BlockSink = Callable[[Cid, bytes], None]


class BlockSource(Protocol):
    """Gives one block by CID, unverified and at most `limit` bytes of it."""

    def __call__(self, cid: Cid, limit: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Node:
    """A subtree: its CID, the bytes of all its blocks, and the bytes of the file below it."""

    cid: Cid
    tsize: int
    size: int


class Importer:
    """Turns a byte stream into the blocks of the profile and their root.

    sink: called with every block, leaves first; nothing is kept when it is None.
    """

    def __init__(self, sink: BlockSink | None = None) -> None:
        self._sink = sink
        self._leaves: list[_Node] = []
        self._rest = bytearray()

    @property
    def size(self) -> int:
        """Bytes fed so far."""
        return sum(leaf.size for leaf in self._leaves) + len(self._rest)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes; whole chunks are hashed in place, without a copy."""
        view = memoryview(data).cast("B")
        if self._rest:
            missing = CHUNK_BYTES - len(self._rest)
            self._rest += view[:missing]
            view = view[missing:]
            if len(self._rest) < CHUNK_BYTES:
                return
            self._leaf(self._rest)
            self._rest = bytearray()
        whole = len(view) - len(view) % CHUNK_BYTES
        for start in range(0, whole, CHUNK_BYTES):
            self._leaf(view[start : start + CHUNK_BYTES])
        self._rest += view[whole:]

    def feed_file(self, file: BinaryIO) -> None:
        """Add everything from the file's position to its end."""
        buffer = bytearray(CHUNK_BYTES)
        view = memoryview(buffer)
        while count := file.readinto(view):  # type: ignore[attr-defined]
            self.feed(view[:count])

    def finish(self) -> Cid:
        """The root of everything fed; an empty stream is one empty raw block."""
        if self._rest or not self._leaves:
            self._leaf(self._rest)
            self._rest = bytearray()
        level = self._leaves
        while len(level) > 1:
            level = [self._node(level[start : start + MAX_LINKS]) for start in range(0, len(level), MAX_LINKS)]
        return level[0].cid

    def _leaf(self, data: bytes | bytearray | memoryview) -> None:
        cid = Cid(hashlib.sha256(data).digest(), RAW)
        if self._sink is not None:
            self._sink(cid, bytes(data))
        self._leaves.append(_Node(cid, len(data), len(data)))

    def _node(self, children: list[_Node]) -> _Node:
        block = _encode_node(children)
        cid = Cid(hashlib.sha256(block).digest(), DAG_PB)
        if self._sink is not None:
            self._sink(cid, block)
        return _Node(cid, len(block) + sum(child.tsize for child in children), sum(child.size for child in children))


def read_blob(cid: Cid, source: BlockSource, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the file below `cid` leaf by leaf; every block is hashed before it is looked at.

    source: hands over single blocks. max_bytes: what the caller's manifest allows.

    Raises:
        CidMismatchError: a block is not the one asked for.
        BlobOversizedError: the file is longer than max_bytes; nothing below the root was fetched.
        UnixFsError: a node differs from what the profile prescribes.
    """
    if cid.codec == RAW:
        yield _fetch(cid, source, min(max_bytes, CHUNK_BYTES))
        return
    block = _fetch(cid, source, MAX_BLOCK_BYTES)
    links, size = _parse_node(block, cid)
    _check_size(size, max_bytes, cid)
    height = _height_of(size)
    if height == 0 or height > MAX_DEPTH:
        raise UnixFsError(f"A file of {size} bytes cannot have a root node of this kind.", cid=cid.text)
    yield from _walk(block, links, cid, size, height, source)


def file_size_of(block: bytes, cid: Cid) -> int:
    """Bytes of the file whose root block this is.

    Raises:
        UnixFsError: not a file node of the profile.
    """
    return len(block) if cid.codec == RAW else _parse_node(block, cid)[1]


def block_sizes(size: int) -> Iterator[int]:
    """Bytes of every block of a file of `size` bytes, each node before what is below it."""
    return _sizes_below(size, _height_of(size))


def _sizes_below(size: int, height: int) -> Iterator[int]:
    if height == 0:
        yield size
        return
    parts = _child_sizes(size, height)
    yield _tree_bytes(size, height) - sum(_tree_bytes(part, height - 1) for part in parts)
    for part in parts:
        yield from _sizes_below(part, height - 1)


@dataclass(frozen=True)
class _Link:
    digest: bytes
    codec: int
    tsize: int
    size: int


def _walk(block: bytes, links: list[_Link], cid: Cid, size: int, height: int, source: BlockSource) -> Iterator[bytes]:
    """Leaves below a parsed node; returns after the total of its blocks was compared with its links."""
    expected = _child_sizes(size, height)
    if [link.size for link in links] != expected:
        raise UnixFsError(
            f"Node {cid} splits {size} bytes into {len(links)} parts, not into the {len(expected)} of the profile.",
            hint="Add the file with chunker size-1048576 and 1024 links per node.",
            cid=cid.text,
        )
    codec = RAW if height == 1 else DAG_PB
    for link in links:
        if link.codec != codec:
            raise UnixFsError(f"Node {cid} has a child of codec {link.codec:#x}; {codec:#x} is due.", cid=cid.text)
        if link.tsize != _tree_bytes(link.size, height - 1):
            raise UnixFsError(f"Node {cid} announces a wrong total size for a child.", cid=cid.text)
        child = Cid(link.digest, codec)
        if height == 1:
            leaf = _fetch(child, source, CHUNK_BYTES)
            if len(leaf) != link.size:
                raise UnixFsError(f"Leaf {child} has {len(leaf)} bytes; {link.size} were announced.", cid=child.text)
            yield leaf
            continue
        inner = _fetch(child, source, MAX_BLOCK_BYTES)
        inner_links, inner_size = _parse_node(inner, child)
        if inner_size != link.size:
            raise UnixFsError(f"Node {child} has {inner_size} bytes; {link.size} were announced.", cid=child.text)
        yield from _walk(inner, inner_links, child, inner_size, height - 1, source)


def _fetch(cid: Cid, source: BlockSource, limit: int) -> bytes:
    block = bytes(source(cid, limit))
    if len(block) > limit:
        raise BlobOversizedError(f"Block {cid} has more than the {limit} bytes allowed.", cid=cid.text, max_bytes=limit)
    if hashlib.sha256(block).digest() != cid.digest:
        raise CidMismatchError(f"The source answered other bytes than those of block {cid}.", cid=cid.text)
    return block


def _check_size(size: int, max_bytes: int, cid: Cid) -> None:
    if size > max_bytes:
        raise BlobOversizedError(
            f"Blob {cid} has {size} bytes; at most {max_bytes} are expected.",
            cid=cid.text, size=size, max_bytes=max_bytes,
        )  # fmt: skip


def _height_of(size: int) -> int:
    """Levels of nodes above the leaves of a file of `size` bytes."""
    chunks = max(1, -(-size // CHUNK_BYTES))
    height = 0
    while chunks > 1:
        chunks = -(-chunks // MAX_LINKS)
        height += 1
    return height


def _child_sizes(size: int, height: int) -> list[int]:
    """File bytes below each child of a node of `height` over `size` bytes: all full but the last."""
    capacity = CHUNK_BYTES * MAX_LINKS ** (height - 1)
    full, rest = divmod(size, capacity)
    return [capacity] * full + ([rest] if rest else [])


@lru_cache(maxsize=64)
def _tree_bytes(size: int, height: int) -> int:
    """Bytes of all blocks of a subtree; only lengths matter, so any digest serves."""
    if height == 0:
        return size
    filler = Cid(bytes(32), RAW)
    children = [_Node(filler, _tree_bytes(part, height - 1), part) for part in _child_sizes(size, height)]
    return len(_encode_node(children)) + sum(child.tsize for child in children)


# protobuf: only what the profile uses, in the one order and form it uses


def _encode_node(children: list[_Node]) -> bytes:
    links = b"".join(
        _field(2, _field(1, child.cid.to_bytes()) + _field(2, b"") + _number(3, child.tsize)) for child in children
    )
    sizes = b"".join(_number(4, child.size) for child in children)
    data = _number(1, 2) + _number(3, sum(child.size for child in children)) + sizes
    return links + _field(1, data)


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _uvarint(number << 3 | 2) + _uvarint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return _uvarint(number << 3) + _uvarint(value)


class _Reader:
    """Reads exactly the expected fields of one message; anything else is an error."""

    def __init__(self, data: bytes, cid: Cid) -> None:
        self._data = data
        self._at = 0
        self._cid = cid

    @property
    def is_done(self) -> bool:
        return self._at == len(self._data)

    def is_next(self, number: int, wire: int) -> bool:
        return not self.is_done and self._data[self._at] == number << 3 | wire

    def number(self, number: int) -> int:
        self._key(number, 0)
        return self._uvarint()

    def payload(self, number: int) -> bytes:
        self._key(number, 2)
        length = self._uvarint()
        end = self._at + length
        if end > len(self._data):
            raise self.error(f"field {number} is cut short")
        start, self._at = self._at, end
        return self._data[start:end]

    def end(self) -> None:
        if not self.is_done:
            raise self.error(f"unexpected field {self._data[self._at] >> 3}")

    def error(self, what: str) -> UnixFsError:
        return UnixFsError(f"Node {self._cid} is not a file node of the profile: {what}.", cid=self._cid.text)

    def _key(self, number: int, wire: int) -> None:
        if not self.is_next(number, wire):
            raise self.error(f"field {number} is missing")
        self._at += 1

    def _uvarint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            if self.is_done:
                raise self.error("a number is cut short")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise self.error("a number is not in minimal form")
                return value
        raise self.error("a number is too large")


def _parse_node(block: bytes, cid: Cid) -> tuple[list[_Link], int]:
    """Links with their file sizes, and the file size, of a hashed node."""
    outer = _Reader(block, cid)
    found: list[tuple[bytes, int, int]] = []
    while outer.is_next(2, 2):
        if len(found) == MAX_LINKS:
            raise outer.error(f"more than {MAX_LINKS} links")
        link = _Reader(outer.payload(2), cid)
        target = link.payload(1)
        if len(target) != 36 or target[0] != 1 or target[1] not in (RAW, DAG_PB) or target[2:4] != b"\x12\x20":
            raise outer.error("a link is not a CIDv1 with sha2-256 and codec raw or dag-pb")
        if link.payload(2):
            raise outer.error("a link has a name, as in a directory")
        found.append((target[4:], target[1], link.number(3)))
        link.end()
    data = _Reader(outer.payload(1), cid)
    outer.end()
    if (kind := data.number(1)) != 2:
        raise outer.error(f"its type is {kind}, not 2 (file)")
    size = data.number(3)
    sizes = []
    while data.is_next(4, 0):
        sizes.append(data.number(4))
    data.end()
    if len(sizes) != len(found):
        raise outer.error(f"{len(sizes)} block sizes for {len(found)} links")
    if sum(sizes) != size:
        raise outer.error(f"block sizes add up to {sum(sizes)}, not {size}")
    if not found:
        raise outer.error("it has no links")
    links = [_Link(digest, codec, tsize, part) for (digest, codec, tsize), part in zip(found, sizes, strict=True)]
    return links, size
