"""Fixed-point numbers and the blobs that carry them.

A format table lists tensors in payload order; an element e of the payload stands for e * 2^-exponent. Floats end
here: the same input gives the same bytes on every machine.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
import operator
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collegium.commitment import compute_format_hash
from collegium.errors import (
    BlobContextError,
    BlobError,
    BlobFormatError,
    BlobIndexError,
    BlobKindError,
    BlobMagicError,
    BlobOversizedError,
    BlobPayloadError,
    BlobReservedError,
    BlobSaltError,
    BlobTruncatedError,
    BlobVersionError,
    NonFiniteError,
    ShapeError,
    TableError,
    TensorNamesError,
)
from collegium.records import CHUNK_BYTES, CHUNK_ELEMENTS, MAX_SEATS, ZERO32, ElementType, Format, Section

__all__ = [
    "HEADER_BYTES",
    "Blob",
    "BlobKind",
    "FormatTable",
    "Header",
    "compute_delta",
    "compute_norm",
    "elements_of",
    "encode_model",
    "encode_update",
    "export_model",
    "map_elements",
    "pack_blob",
    "parse_blob",
    "parse_header",
]

MODEL_LIMIT = 2**31 - 1
HEADER_BYTES = 256
_BLOCK = 1 << 16
_MAGIC = b"CLGMBLOB"
_VERSION = 1
_HEADER = struct.Struct("<8sHH32s32sH32sQ")

Int32Array = NDArray[np.int32]


# Format table


@dataclass(frozen=True, slots=True)
class FormatTable:
    """Tensors of a model in payload order, all in one section.

    ``exponent`` f and ``bound`` B are those of ``Section``; ``tensors`` are (name, shape) pairs with distinct
    names and positive dimensions. Raises ``TableError``.
    """

    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    exponent: int
    bound: int
    weighted: bool = True

    def __init__(
        self,
        tensors: Sequence[tuple[str, Sequence[int]]],
        exponent: int,
        bound: int,
        weighted: bool = True,
    ) -> None:
        try:
            listed = tuple((str(name), tuple(operator.index(size) for size in shape)) for name, shape in tensors)
        except TypeError as error:
            raise TableError(f"A dimension in a format table is a whole number: {error}.") from error
        for field, value in (("tensors", listed), ("exponent", exponent), ("bound", bound), ("weighted", weighted)):
            object.__setattr__(self, field, value)
        names = [name for name, _ in listed]
        if not names:
            raise TableError("A format table needs at least one tensor.")
        if len(set(names)) != len(names):
            raise TableError("Two tensors of the format table have the same name.")
        if any(size < 1 for _, shape in listed for size in shape):
            raise TableError("Every dimension in a format table is at least 1.")
        if any("\ud800" <= char <= "\udfff" for name in names for char in name):
            raise TableError("Tensor names must be valid Unicode.")
        if not 0 <= exponent <= 62:
            raise TableError(f"The exponent is between 0 and 62, not {exponent}.")
        if not 1 <= bound <= MODEL_LIMIT:
            raise TableError(f"The bound is between 1 and 2^31 - 1, not {bound}.")

    @property
    def count(self) -> int:
        """Elements without padding."""
        return sum(math.prod(shape) for _, shape in self.tensors)

    @property
    def elements(self) -> int:
        """Elements with padding to whole chunks."""
        return -(-self.count // CHUNK_ELEMENTS) * CHUNK_ELEMENTS

    @property
    def section(self) -> Section:
        return Section(self.count, 0, ElementType.INT32, self.exponent, self.bound, self.weighted)

    @property
    def format(self) -> Format:
        """What the chain knows of this table."""
        return Format((self.section,), hashlib.sha256(self.canonical_json()).digest())

    @property
    def format_id(self) -> bytes:
        return compute_format_hash(self.format)

    def canonical_json(self) -> bytes:
        """RFC 8785: a list of {"name", "section", "shape"} in payload order."""
        rows = [{"name": name, "section": 0, "shape": list(shape)} for name, shape in self.tensors]
        return json.dumps(rows, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes | str, *, exponent: int, bound: int, weighted: bool = True) -> FormatTable:
        """The reverse of ``canonical_json`` with a section's numbers. Raises ``TableError`` on another form."""
        try:
            rows: Any = json.loads(text)
            tensors = [(row["name"], row["shape"]) for row in rows]
            table = cls(tensors, exponent, bound, weighted)
        except (ValueError, TypeError, KeyError) as error:
            raise TableError(f"The format table is not readable: {error}.") from error
        if table.canonical_json() != (text.encode() if isinstance(text, str) else bytes(text)):
            raise TableError("The format table is not canonical JSON.", hint="Write it with canonical_json().")
        return table


# Numbers


def _flatten(state: Mapping[str, ArrayLike], table: FormatTable) -> NDArray[np.float64]:
    """All tensors as one float64 vector in table order, padding 0; names, shapes and finiteness checked."""
    expected = {name for name, _ in table.tensors}
    if set(state) != expected:
        missing, extra = sorted(expected - set(state)), sorted(set(state) - expected)
        raise TensorNamesError(
            f"Tensors differ from the format table: missing {missing}, not listed {extra}.",
            hint="Train the model that the study names.",
            missing=missing,
            extra=extra,
        )
    flat = np.zeros(table.elements, dtype=np.float64)
    at = 0
    for name, shape in table.tensors:
        tensor = np.asarray(state[name])
        if tensor.shape != shape:
            raise ShapeError(
                f"Tensor {name} has shape {list(tensor.shape)}, the format table says {list(shape)}.",
                tensor=name,
            )
        if tensor.dtype.kind not in "fiu":
            raise ShapeError(f"Tensor {name} has type {tensor.dtype}, which is not a real number.", tensor=name)
        part = flat[at : at + tensor.size]
        part[:] = tensor.reshape(-1)
        if not np.isfinite(part).all():
            raise NonFiniteError(
                f"Tensor {name} holds NaN or infinity.",
                hint="Training diverged: lower the learning rate or check the data.",
                tensor=name,
            )
        at += tensor.size
    return flat


def compute_norm(flat: NDArray[np.float64]) -> float:
    """L2 norm with an order of additions that does not depend on the machine. Finite input, any length."""
    largest = float(np.abs(flat).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    # A power of two keeps squares far from overflow and underflow and costs no rounding.
    scale = 1.0 if 2.0**-500 < largest < 2.0**500 else math.ldexp(1.0, min(1000, -math.frexp(largest)[1]))
    total = []
    for start in range(0, flat.size, _BLOCK):
        squares = flat[start : start + _BLOCK] * scale
        squares *= squares
        while squares.size > 1:
            half = squares.size // 2
            rest = squares[2 * half :]
            squares = squares[:half] + squares[half : 2 * half]
            squares[:1] += rest.sum()
        total.append(float(squares[0]))
    return math.sqrt(math.fsum(total)) / scale


def _quantize(flat: NDArray[np.float64], exponent: int, limit: int) -> Int32Array:
    out = np.empty(flat.size, dtype="<i4")
    scale = math.ldexp(1.0, exponent)
    block = np.empty(min(_BLOCK, flat.size), dtype=np.float64)
    with np.errstate(over="ignore"):
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            work = block[: part.size]
            np.multiply(part, scale, out=work)
            np.rint(work, out=work)
            np.clip(work, -limit, limit, out=work)
            out[start : start + part.size] = work
    return out


def encode_update(delta: Mapping[str, ArrayLike], table: FormatTable, *, clip_norm: float | None = None) -> Int32Array:
    """Float delta to int32 elements in payload order, padding 0, values within +-bound.

    ``clip_norm`` scales the whole delta down to that L2 norm first. Raises ``EncodingError`` subclasses.
    """
    flat = _flatten(delta, table)
    if clip_norm is not None:
        if not (clip_norm > 0 and math.isfinite(clip_norm)):
            raise NonFiniteError(f"The clip norm must be positive and finite, not {clip_norm}.")
        norm = compute_norm(flat)
        if norm == math.inf:
            flat *= 2.0**-64
            norm = compute_norm(flat)
        if norm > clip_norm:
            flat *= clip_norm / norm
    return _quantize(flat, table.exponent, table.bound)


def encode_model(state: Mapping[str, ArrayLike], table: FormatTable) -> Int32Array:
    """Float weights to int32 model elements, saturating at +-(2^31 - 1). Raises ``EncodingError`` subclasses."""
    return _quantize(_flatten(state, table), table.exponent, MODEL_LIMIT)


def export_model(elements: NDArray[Any], table: FormatTable) -> dict[str, NDArray[np.float32]]:
    """Model elements to float32 tensors: float32(element * 2^-exponent)."""
    if elements.shape != (table.elements,):
        raise ShapeError(f"The payload has {elements.size} elements, the format table {table.elements}.")
    scale = math.ldexp(1.0, -table.exponent)
    state: dict[str, NDArray[np.float32]] = {}
    at = 0
    for name, shape in table.tensors:
        size = math.prod(shape)
        state[name] = (elements[at : at + size].astype(np.float64) * scale).astype(np.float32).reshape(shape)
        at += size
    return state


def compute_delta(trained: Mapping[str, ArrayLike], base: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    """Trained weights minus exported base, in float64."""
    return {
        name: np.asarray(trained[name], dtype=np.float64) - np.asarray(base[name], dtype=np.float64) for name in base
    }


# Blobs


class BlobKind(enum.IntEnum):
    MODEL = 1
    UPDATE = 2
    MEAN = 3
    STATE = 4
    #: reserved, refused by the parser
    MASKED_UPDATE = 5
    ENCRYPTED_PAYLOAD = 6


_KNOWN_KINDS = (BlobKind.MODEL, BlobKind.UPDATE, BlobKind.MEAN, BlobKind.STATE)


@dataclass(frozen=True, slots=True)
class Header:
    """The 256 bytes in front of a payload. ``index`` and ``salt`` are 0 except in updates."""

    kind: BlobKind
    format_id: bytes
    ctx: bytes
    index: int
    salt: bytes
    payload_bytes: int

    def pack(self) -> bytes:
        packed = _HEADER.pack(
            _MAGIC, _VERSION, self.kind, self.format_id, self.ctx, self.index, self.salt, self.payload_bytes
        )
        return packed.ljust(HEADER_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class Blob:
    """A checked blob. ``payload`` is a view into the bytes that were parsed."""

    header: Header
    payload: memoryview

    @property
    def elements(self) -> Int32Array:
        """The payload as int32, without a copy."""
        return elements_of(self.payload)


def elements_of(payload: bytes | memoryview) -> Int32Array:
    """Little-endian int32 view of payload bytes."""
    return np.frombuffer(payload, dtype="<i4")


def pack_blob(
    kind: BlobKind,
    payload: bytes | memoryview | NDArray[Any],
    *,
    format_id: bytes,
    ctx: bytes = ZERO32,
    index: int = 0,
    salt: bytes = ZERO32,
) -> bytes:
    """Header and payload. Raises ``BlobError`` when the fields contradict the kind."""
    if isinstance(payload, np.ndarray):
        payload = np.ascontiguousarray(payload, dtype="<i4").data.cast("B")
    header = Header(BlobKind(kind), bytes(format_id), bytes(ctx), index, bytes(salt), len(payload))
    packed = header.pack()
    _check(header, len(payload) + HEADER_BYTES)
    return b"".join((packed, payload))


def parse_header(
    data: bytes | memoryview,
    total_bytes: int,
    *,
    kind: BlobKind | None = None,
    format_id: bytes | None = None,
    ctx: bytes | None = None,
    index: int | None = None,
    salt: bytes | None = None,
    payload_bytes: int | None = None,
) -> Header:
    """Checked header of a blob of ``total_bytes``; what is not None must match. Raises ``BlobError`` subclasses."""
    if len(data) < HEADER_BYTES or total_bytes < HEADER_BYTES:
        raise BlobTruncatedError(f"A blob has at least {HEADER_BYTES} bytes, this one {min(len(data), total_bytes)}.")
    raw = bytes(data[:HEADER_BYTES])
    magic, version, number, found_format, found_ctx, found_index, found_salt, length = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise BlobMagicError("These bytes are not a Collegium blob.", hint="Check the CID.", magic=magic)
    if version != _VERSION:
        raise BlobVersionError(f"Blob version {version} is not {_VERSION}.", hint="Update collegium.")
    if number not in _KNOWN_KINDS:
        raise BlobKindError(f"Blob kind {number} is not known here.", kind=number)
    if any(raw[_HEADER.size :]):
        raise BlobReservedError("The header's reserved bytes are not zero.")
    header = Header(BlobKind(number), found_format, found_ctx, found_index, found_salt, length)
    _check(header, total_bytes)
    if kind is not None and header.kind != kind:
        raise BlobKindError(f"This is a {header.kind.name} blob, not {BlobKind(kind).name}.", kind=number)
    if format_id is not None and header.format_id != format_id:
        raise BlobFormatError("The blob has another format than the study.", actual=header.format_id)
    if ctx is not None and header.ctx != ctx:
        raise BlobContextError("The blob belongs to another round.", actual=header.ctx)
    if index is not None and header.index != index:
        raise BlobIndexError(f"The blob belongs to seat {header.index}, not {index}.", actual=header.index)
    if salt is not None and header.salt != salt:
        raise BlobSaltError("The blob's salt is not the revealed one.")
    if payload_bytes is not None and length != payload_bytes:
        raise BlobPayloadError(f"The payload has {length} bytes, the format {payload_bytes}.", actual=length)
    return header


def _check(header: Header, total_bytes: int) -> None:
    expected = HEADER_BYTES + header.payload_bytes
    if total_bytes < expected:
        raise BlobTruncatedError(f"The blob has {total_bytes} bytes, its header says {expected}.")
    if total_bytes > expected:
        raise BlobOversizedError(f"The blob has {total_bytes} bytes, its header says {expected}.")
    if header.payload_bytes == 0 or header.payload_bytes % CHUNK_BYTES:
        raise BlobPayloadError(f"A payload is whole chunks of {CHUNK_BYTES} bytes, not {header.payload_bytes}.")
    if len(header.format_id) != 32 or len(header.ctx) != 32 or len(header.salt) != 32:
        raise BlobError("Format id, ctx and salt have 32 bytes each.")
    if header.kind is BlobKind.UPDATE:
        if header.index >= MAX_SEATS:
            raise BlobIndexError(f"Seat index {header.index} is not below {MAX_SEATS}.", actual=header.index)
    elif header.index:
        raise BlobIndexError("Only updates carry a seat index.", actual=header.index)
    elif header.salt != ZERO32:
        raise BlobSaltError("Only updates carry a salt.")


def parse_blob(
    data: bytes | memoryview,
    *,
    kind: BlobKind | None = None,
    format_id: bytes | None = None,
    ctx: bytes | None = None,
    index: int | None = None,
    salt: bytes | None = None,
    payload_bytes: int | None = None,
) -> Blob:
    """Checked blob; expectations as in ``parse_header``."""
    view = memoryview(data).cast("B")
    header = parse_header(
        view,
        len(view),
        kind=kind,
        format_id=format_id,
        ctx=ctx,
        index=index,
        salt=salt,
        payload_bytes=payload_bytes,
    )
    return Blob(header, view[HEADER_BYTES:].toreadonly())


def map_elements(path: Path, **expected: Any) -> Int32Array:
    """Elements of a blob file, mapped and not loaded; expectations as in ``parse_header``."""
    with path.open("rb") as file:
        parse_header(file.read(HEADER_BYTES), path.stat().st_size, **expected)
    return np.memmap(path, dtype="<i4", mode="r", offset=HEADER_BYTES)
