"""CAR archives: a header that names roots, then blocks, each behind its CID and its length.

Written as CARv1, the form `ipfs dag import` takes and `ipfs dag export` gives; a CARv2 is read by skipping to the
CARv1 inside it. Only CIDv1 with sha2-256 and codec raw or dag-pb is accepted. A block is hashed before anyone
sees it, and whatever is wrong with a file is a `CarError`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from collegium.errors import CidError
from collegium.storage.cid import Cid
from collegium.storage.errors import CarBlockError, CarError, CarTrailingBytesError, CarTruncatedError
from collegium.storage.unixfs import MAX_BLOCK_BYTES

__all__ = ["MAX_HEADER_BYTES", "CarBlock", "CarReader", "CarWriter"]

MAX_HEADER_BYTES = 4 << 20
"""Longest header accepted: about a hundred thousand roots."""

CID_BYTES = 36
_PRAGMA_V2 = bytes.fromhex("0aa16776657273696f6e02")
_HEADER_V2_BYTES = 40
_ROOT = bytes.fromhex("d82a582500")
"""A link in DAG-CBOR: tag 42 over 37 bytes, the first of them zero."""
_MAX_VARINT_BYTES = 9
_HINT = "Get the archive again, or export it anew from a store."


@dataclass(frozen=True, slots=True)
class CarBlock:
    """A verified block. offset: of its first byte in the file, counted from where reading began."""

    cid: Cid
    data: bytes
    offset: int


class CarWriter:
    """Writes header and blocks to an open file; a block that was written is not written again.

    roots: at least one, in the order readers will see them.
    """

    def __init__(self, file: BinaryIO, roots: Sequence[Cid], *, repeat: bool = False) -> None:
        """repeat: write blocks as often as they come, in the order of a walk (`dups=y`)."""
        if not roots:
            raise CarError("An archive needs at least one root.", hint="Name a CID to export.")
        header = encode_header(roots)
        if len(header) > MAX_HEADER_BYTES:
            raise CarError(f"{len(roots)} roots are too many for one archive.", hint="Export several archives.")
        self._file = file
        self._seen: set[bytes] | None = None if repeat else set()
        self.blocks = 0
        self.bytes = 0
        self._write(encode_uvarint(len(header)) + header)

    def add(self, cid: Cid, block: bytes) -> bool:
        """Write one block; False when it is already there.

        Raises:
            CarBlockError: the bytes are not those of the CID.
        """
        if hashlib.sha256(block).digest() != cid.digest or len(block) > MAX_BLOCK_BYTES:
            raise CarBlockError(f"{len(block)} bytes are not block {cid}.", cid=cid.text)
        if self._seen is not None:
            if cid.digest in self._seen:
                return False
            self._seen.add(cid.digest)
        self._write(encode_uvarint(CID_BYTES + len(block)) + cid.to_bytes())
        self._write(block)
        self.blocks += 1
        return True

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.bytes += len(data)


class CarReader:
    """Reads an archive from its current position to its end, in one pass and bounded memory.

    version: 1 or 2. roots: as the header names them, nothing says that their blocks follow.
    Iterating gives every block in file order, verified; duplicates come as often as they are there.

    Raises (also while iterating):
        CarTruncatedError: the file ends too early. CarBlockError: a block is not the one its CID names.
        CarTrailingBytesError: zeros behind the last block. CarError: anything else that is not as prescribed.
    """

    def __init__(self, file: BinaryIO, *, name: str = "the archive") -> None:
        self._file = file
        self._name = name
        self._at = 0
        self._end: int | None = None
        self._count = 0
        self.version = 1
        self.roots = self._open()

    def __iter__(self) -> Iterator[CarBlock]:
        while (block := self.next_block()) is not None:
            yield block

    def next_block(self) -> CarBlock | None:
        """The next block, None at the end."""
        start = self._at
        length = self._uvarint("the length of a block", may_end=True)
        if length is None:
            return None
        if length == 0:
            raise CarTrailingBytesError(
                f"{self._name} has zeros behind block {self._count}, at byte {start}.",
                hint="It was padded; cut it there or export it anew.", offset=start, archive=self._name,
            )  # fmt: skip
        if not CID_BYTES <= length <= CID_BYTES + MAX_BLOCK_BYTES:
            raise self._error(f"block {self._count + 1} announces {length} bytes", start)
        section = self._exactly(length, f"block {self._count + 1}")
        try:
            cid = Cid.from_bytes(section[:CID_BYTES])
        except CidError as error:
            raise self._error(f"block {self._count + 1} has no usable CID: {error.message}", start) from error
        data = section[CID_BYTES:]
        if hashlib.sha256(data).digest() != cid.digest:
            raise CarBlockError(
                f"{self._name}: block {self._count + 1} at byte {start} is not the {cid} it is labelled as.",
                hint="The archive was altered or damaged. " + _HINT,
                cid=cid.text, offset=start, archive=self._name,
            )  # fmt: skip
        self._count += 1
        return CarBlock(cid, data, self._at - len(data))

    # parts

    def _open(self) -> tuple[Cid, ...]:
        first = self._exactly(1, "its header")
        header = b""
        if first == _PRAGMA_V2[:1]:
            # No CARv1 header is 10 bytes long: version and roots alone take more.
            header = self._exactly(len(_PRAGMA_V2) - 1, "its header")
            if header == _PRAGMA_V2[1:]:
                self._skip_to_payload()
                header = first = b""
        if not header:
            length = self._uvarint("the length of the header", first=first)
            if length is None or not 0 < length <= MAX_HEADER_BYTES:
                raise self._error(f"its header announces {length} bytes", 0)
            header = self._exactly(length, "its header")
        try:
            return decode_header(header)
        except CarError as error:
            raise self._error(error.message, 0) from error

    def _skip_to_payload(self) -> None:
        self.version = 2
        header = self._exactly(_HEADER_V2_BYTES, "its CARv2 header")
        offset, size = (int.from_bytes(header[at : at + 8], "little") for at in (16, 24))
        if offset < self._at or not size or offset + size >= 1 << 63:
            raise self._error(f"its CARv2 header puts {size} bytes of data at byte {offset}", 0)
        while self._at < offset:
            self._exactly(min(offset - self._at, 1 << 20), "the padding before its data")
        self._end = offset + size

    def _uvarint(self, what: str, *, first: bytes = b"", may_end: bool = False) -> int | None:
        value = 0
        for index in range(_MAX_VARINT_BYTES):
            if first:
                byte, first = first, b""
            elif index == 0 and may_end:
                byte = self._read(1)
                if not byte:
                    self._check_end()
                    return None
            else:
                byte = self._exactly(1, what)
            value |= (byte[0] & 0x7F) << 7 * index
            if byte[0] < 0x80:
                if byte[0] == 0 and index:
                    raise self._error(f"{what} is not in minimal form", self._at - index - 1)
                return value
        raise self._error(f"{what} is no number of at most {_MAX_VARINT_BYTES} bytes", self._at - _MAX_VARINT_BYTES)

    def _check_end(self) -> None:
        """A CARv2 says where its data ends; less is a loss even between two blocks."""
        if self._end is not None and self._at < self._end:
            raise self._truncated(f"{self._end - self._at} bytes before the end of its data")

    def _exactly(self, size: int, what: str) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise self._truncated(f"inside {what}, {size - len(data)} bytes too early")
        return data

    def _read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end of the file or of a CARv2's data."""
        if self._end is not None:
            size = min(size, self._end - self._at)
        pieces = bytearray()
        while len(pieces) < size and (piece := self._file.read(size - len(pieces))):
            pieces += piece
        self._at += len(pieces)
        return bytes(pieces)

    def _truncated(self, where: str) -> CarTruncatedError:
        return CarTruncatedError(
            f"{self._name} ends {where}; {self._count} whole blocks came before.",
            hint="It was cut short on its way. " + _HINT,
            blocks=self._count, offset=self._at, archive=self._name,
        )  # fmt: skip

    def _error(self, what: str, offset: int) -> CarError:
        return CarError(
            f"{self._name} is no CAR archive as used here: {what} (byte {offset}).",
            hint=_HINT, offset=offset, archive=self._name,
        )  # fmt: skip


# varints and DAG-CBOR: only the one header, in the one form DAG-CBOR prescribes


def encode_uvarint(value: int) -> bytes:
    """An unsigned varint in minimal form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_header(roots: Sequence[Cid]) -> bytes:
    """`{"roots": [...], "version": 1}` in DAG-CBOR."""
    count = len(roots)
    if count < 24:
        head = bytes((0x80 | count,))
    else:
        size = 1 if count < 1 << 8 else 2 if count < 1 << 16 else 4
        head = bytes((0x80 | {1: 24, 2: 25, 4: 26}[size],)) + count.to_bytes(size, "big")
    links = b"".join(_ROOT + root.to_bytes() for root in roots)
    return b"\xa2\x65roots" + head + links + b"\x67version\x01"


def decode_header(data: bytes) -> tuple[Cid, ...]:
    """The roots.

    Raises:
        CarError: another version, no such map, or a root that is no CID as used here.
    """
    if data.startswith(b"\xa1\x67version"):
        raise CarError(f"its header names version {data[9:10].hex()} and no roots")
    if not data.startswith(b"\xa2\x65roots"):
        raise CarError("its header does not begin with a map of roots and version")
    count, at = _array_length(data, 7)
    if count * (len(_ROOT) + CID_BYTES) > len(data):
        raise CarError(f"its header announces {count} roots and is too short for them")
    roots = []
    for number in range(1, count + 1):
        body = at + len(_ROOT)
        if data[at:body] != _ROOT:
            raise CarError(f"root {number} is no CIDv1 with a 32-byte digest")
        try:
            roots.append(Cid.from_bytes(data[body : body + CID_BYTES]))
        except CidError as error:
            raise CarError(f"root {number} is not usable: {error.message}") from error
        at = body + CID_BYTES
    if data[at:] != b"\x67version\x01":
        raise CarError("its header does not end with version 1")
    return tuple(roots)


def _array_length(data: bytes, at: int) -> tuple[int, int]:
    """Items of the CBOR array at a position, and the position behind its head."""
    first = data[at] if at < len(data) else 0
    if 0x80 <= first < 0x98:
        return first - 0x80, at + 1
    size = {0x98: 1, 0x99: 2, 0x9A: 4}.get(first)
    if size is None or len(data) < at + 1 + size:
        raise CarError("its header has no list of roots")
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
