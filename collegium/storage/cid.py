"""A CID names a blob by its content: CIDv1 in base32, sha2-256, profile unixfs-v1-2025.

Up to 1 MiB the CID is that of one raw block, the blob itself. Above, it is the root of a balanced
tree of dag-pb nodes over raw leaves of 1 MiB, at most 1024 links each. The CID is always computed
here and never taken from a daemon's word.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from collegium.errors import CidError, CidUnsupportedError

__all__ = ["CHUNK_BYTES", "DAG_PB", "RAW", "Cid", "Content", "cid_from_digest", "cid_of", "parse_cid"]

RAW = 0x55
"""Codec of a blob of at most 1 MiB."""

DAG_PB = 0x70
"""Codec of the root node of a larger blob."""

CHUNK_BYTES = 1 << 20
"""Bytes per leaf of the profile."""

TEXT_CHARS = 59
"""Length of every text form accepted here: `b` and 36 bytes in base32 without padding."""

Content: TypeAlias = bytes | bytearray | memoryview | Path
"""What can be stored: bytes in memory or a file."""

_SHA2_256 = 0x12
_CODECS = {
    0x71: "dag-cbor",
    0x72: "libp2p-key",
    0x78: "git",
    0x0129: "dag-json",
    0x0200: "json",
    0x0202: "car",
}
_HASHES = {0x00: "identity", 0x11: "sha1", 0x13: "sha2-512", 0x14: "sha3-512", 0x16: "sha3-256",
           0x1B: "keccak-256", 0x1E: "blake3", 0xB220: "blake2b-256"}  # fmt: skip
_BASES = {"z": "base58btc", "Z": "base58flickr", "f": "base16", "F": "base16upper", "k": "base36",
          "K": "base36upper", "m": "base64", "u": "base64url", "B": "base32upper", "v": "base32hex"}  # fmt: skip
_HINT = "Use the CIDv1 in base32 that `ipfs add --cid-version=1` prints; it begins with `baf`."


@dataclass(frozen=True, order=True)
class Cid:
    """Name of a blob.

    digest: sha2-256 of the root block, 32 bytes. codec: RAW or DAG_PB. text: the base32 form, 59 characters.
    """

    digest: bytes
    codec: int
    text: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise CidError(f"A CID needs a digest of 32 bytes, not {len(self.digest)}.", digest=bytes(self.digest))
        if self.codec not in (RAW, DAG_PB):
            raise CidError(f"Codec {self.codec:#x} is not raw (0x55) or dag-pb (0x70).", codec=self.codec)
        object.__setattr__(self, "digest", bytes(self.digest))
        object.__setattr__(self, "text", "b" + base64.b32encode(self.to_bytes()).decode().lower().rstrip("="))

    def to_bytes(self) -> bytes:
        """Binary form, 36 bytes: version, codec, hash, length, digest."""
        return bytes((1, self.codec, _SHA2_256, 32)) + self.digest

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Read the binary form.

        Raises:
            CidUnsupportedError: CIDv0, another codec or hash (identity included).
        CidError: wrong length or form.
        """
        data = bytes(data)
        if data[:2] == b"\x12\x20":
            raise CidUnsupportedError(
                "This is a CIDv0 (multihash without version); only CIDv1 is used here.", hint=_HINT
            )
        position = 0
        numbers = []
        for what in ("version", "codec", "hash function", "digest length"):
            value, position = _read_uvarint(data, position, what)
            numbers.append(value)
        version, codec, function, length = numbers
        if version != 1:
            raise CidUnsupportedError(f"CID version {version} is unknown; only version 1 is used here.", hint=_HINT)
        if function != _SHA2_256:
            why = " It would carry its content instead of naming it." if function == 0 else ""
            name = _HASHES.get(function, hex(function))
            raise CidUnsupportedError(
                f"The CID uses hash {name}; only sha2-256 is accepted.{why}", hint=_HINT, hash=name
            )
        if codec not in (RAW, DAG_PB):
            name = _CODECS.get(codec, hex(codec))
            raise CidUnsupportedError(
                f"The CID has codec {name}; only raw and dag-pb (files) are accepted.", hint=_HINT, codec=name
            )
        if length != 32 or len(data) != position + 32:
            raise CidError(
                f"The CID announces a digest of {length} bytes and carries {len(data) - position}; sha2-256 has 32.",
                hint=_HINT,
            )
        return cls(data[position:], codec)

    def __str__(self) -> str:
        return self.text


def parse_cid(text: str) -> Cid:
    """Read the text form.

    Raises:
        CidUnsupportedError: a CID, but no CIDv1 in lower-case base32 with sha2-256 and raw or dag-pb.
        CidError: no CID at all.
    """
    if not isinstance(text, str) or not text:
        raise CidError("The CID is empty.", hint=_HINT)
    shown = text if len(text) <= 80 else text[:77] + "..."
    if len(text) > 512:
        raise CidError(f"{shown!r} is too long for a CID ({len(text)} characters).", hint=_HINT)
    if text.startswith(("/ipfs/", "ipfs://", "http://", "https://")):
        raise CidError(f"{shown!r} is a path or address, not a bare CID.", hint=_HINT, cid=shown)
    if text.startswith(("Qm", "1")):
        raise CidUnsupportedError(f"{shown!r} is a CIDv0; only CIDv1 is used here.", hint=_HINT, cid=shown)
    if text[0] != "b":
        base = _BASES.get(text[0])
        what = f"is in {base}" if base else "has no known multibase prefix"
        raise CidUnsupportedError(
            f"{shown!r} {what}; only lower-case base32 (prefix `b`) is accepted.", hint=_HINT, cid=shown
        )
    body = text[1:]
    if body != body.lower() or not body.isascii():
        raise CidError(f"{shown!r} is not lower-case base32.", hint=_HINT, cid=shown)
    try:
        data = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError) as error:
        raise CidError(f"{shown!r} is not valid base32: it is cut short or mistyped.", hint=_HINT, cid=shown) from error
    cid = Cid.from_bytes(data)
    if cid.text != text:
        raise CidError(f"{shown!r} is not the canonical form of {cid.text}.", hint=_HINT, cid=shown)
    return cid


def cid_from_digest(digest: bytes, length: int) -> Cid:
    """The CID of a blob from its root digest (32 bytes) and its length in bytes, which decides the codec."""
    if length < 0:
        raise CidError(f"A blob cannot have {length} bytes.")
    return Cid(digest, RAW if length <= CHUNK_BYTES else DAG_PB)


def cid_of(data: Content | BinaryIO | Iterable[bytes]) -> Cid:
    """The CID of bytes, of a file (by path or open for reading) or of an iterable of byte chunks of any size.

    Streams: memory stays near 1 MiB plus 50 bytes per MiB, whatever the size.
    """
    from collegium.storage.unixfs import Importer

    importer = Importer()
    if isinstance(data, Path):
        with data.open("rb", buffering=0) as file:
            importer.feed_file(file)
    elif isinstance(data, (bytes, bytearray, memoryview)):
        importer.feed(data)
    elif hasattr(data, "readinto"):
        importer.feed_file(cast(BinaryIO, data))
    else:
        for chunk in data:
            importer.feed(chunk)
    return importer.finish()


def _read_uvarint(data: bytes, position: int, what: str) -> tuple[int, int]:
    """An unsigned varint in minimal form of at most 4 bytes, and the position behind it."""
    value = 0
    for shift in range(0, 28, 7):
        if position >= len(data):
            raise CidError(f"The CID ends inside its {what}.", hint=_HINT)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise CidError(f"The CID's {what} is not in minimal form.", hint=_HINT)
            return value, position
    raise CidError(f"The CID's {what} is too large.", hint=_HINT)
