"""The trustless gateway of a blob folder: `/ipfs/{cid}` as one block or as a CAR, for any reader of IPFS.

A folder keeps blobs and not blocks, so the places of the blocks inside large blobs are remembered: those of a blob
when its root is asked for, and those of all blobs when a block is asked for that nobody knows.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO, cast
from urllib.parse import parse_qs

from collegium.errors import BlobNotFoundError, CollegiumError
from collegium.storage.archive import blocks_of
from collegium.storage.car import CID_BYTES, CarWriter, encode_header, encode_uvarint
from collegium.storage.cid import DAG_PB, RAW, Cid, parse_cid
from collegium.storage.errors import StoreRequestError
from collegium.storage.folder import BlobFolder
from collegium.storage.http_server import Response
from collegium.storage.unixfs import block_sizes

__all__ = ["GATEWAY_PREFIX", "GatewayRoutes"]

GATEWAY_PREFIX = "/ipfs/"
RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
_SCOPES = ("all", "entity", "block")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block is: the bytes of a node, or a stretch of a blob's file."""

    blob: Cid
    node: bytes | None
    offset: int
    length: int


class GatewayRoutes:
    """GET and HEAD of `/ipfs/{cid}?format=raw|car`, without sockets."""

    def __init__(self, folder: BlobFolder) -> None:
        self._folder = folder
        self._places: dict[bytes, _Place] = {}
        self._known: set[Cid] = set()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[Response, Cid]:
        """The answer, and the blob that it is a part of. headers: names in lower case.

        Raises:
            CidError, BlobNotFoundError: no CID, or not here. StoreRequestError: a form this gateway does not speak.
        """
        name, _, query = path.removeprefix(GATEWAY_PREFIX).partition("?")
        if "/" in name:
            raise StoreRequestError("Blobs are no directories; there is nothing below one.")
        cid = parse_cid(name)
        form, scope = _form_of(query, headers.get("accept", ""))
        if form == "raw":
            data, blob = self._block(cid)
            response = _response(cid, RAW_TYPE, "raw", len(data), data)
        else:
            response, blob = self._car(cid, scope)
        if method == "HEAD":
            response.discard()
            response.body = b""
        return response, blob

    def _block(self, cid: Cid) -> tuple[bytes, Cid]:
        if cid.codec == RAW and self._folder.has(cid):
            return self._folder.get(cid, max_bytes=1 << 20), cid
        for _ in range(2):
            place = self._find(cid)
            if place.node is not None:
                return place.node, place.blob
            with suppress(BlobNotFoundError), self._folder.open(place.blob) as file:
                file.seek(place.offset)
                return file.read(place.length), place.blob
            self._forget(place.blob)
        raise BlobNotFoundError("This store does not have the block.")

    def _car(self, cid: Cid, scope: str) -> tuple[Response, Cid]:
        if scope == "block" or not self._folder.has(cid):
            block, blob = self._block(cid)
            blocks, sizes = iter([(cid, block)]), [len(block)]
        else:
            blob = cid
            blocks, sizes = blocks_of(self._folder.path_of(cid)), list(block_sizes(self._folder.size_of(cid)))
        header = len(encode_header([cid]))
        size = len(encode_uvarint(header)) + header
        size += sum(len(encode_uvarint(CID_BYTES + each)) + CID_BYTES + each for each in sizes)
        body = cast(BinaryIO, io.BufferedReader(_CarBody(cid, blocks), 1 << 20))
        return _response(cid, f"{CAR_TYPE}; version=1; order=dfs; dups=y", "car", size, body), blob

    def _find(self, cid: Cid) -> _Place:
        with self._lock:
            if self._folder.has(cid):
                self._learn(cid)
            if cid.digest not in self._places:
                for blob in self._folder.list():
                    self._learn(blob)
            place = self._places.get(cid.digest)
        if place is None:
            raise BlobNotFoundError("This store does not have the block.")
        return place

    def _learn(self, blob: Cid) -> None:
        """Remember the blocks of a large blob; each is hashed on the way."""
        if blob.codec != DAG_PB or blob in self._known:
            return
        offset = 0
        try:
            for cid, block in blocks_of(self._folder.path_of(blob)):
                is_leaf = cid.codec == RAW
                self._places.setdefault(
                    cid.digest, _Place(blob, None if is_leaf else block, offset if is_leaf else 0, len(block))
                )
                offset += len(block) if is_leaf else 0
        except CollegiumError:
            return
        self._known.add(blob)

    def _forget(self, blob: Cid) -> None:
        """The blob was removed."""
        with self._lock:
            self._known.discard(blob)
            self._places = {digest: place for digest, place in self._places.items() if place.blob != blob}


def _form_of(query: str, accept: str) -> tuple[str, str]:
    """`raw` or `car`, and the part of the DAG wanted."""
    values = {name: found[-1] for name, found in parse_qs(query).items()}
    form = values.get("format", "")
    if not form:
        form = "car" if CAR_TYPE in accept else "raw" if RAW_TYPE in accept else ""
    scope = values.get("dag-scope", "all")
    if form not in ("raw", "car") or scope not in _SCOPES or values.get("entity-bytes", "0:*") != "0:*":
        raise StoreRequestError(
            "This is a trustless gateway: it gives one block (format=raw) or a whole blob as CAR (format=car).",
            hint="Ask for /ipfs/{cid}?format=raw, without entity-bytes.",
        )
    return form, scope


def _response(cid: Cid, kind: str, form: str, size: int, body: bytes | BinaryIO) -> Response:
    headers = {
        "Content-Type": kind,
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{cid}.{"bin" if form == "raw" else "car"}"',
        "ETag": f'"{cid}.{form}"',
        "Cache-Control": "public, max-age=29030400, immutable",
        "X-Content-Type-Options": "nosniff",
        "X-Ipfs-Path": f"{GATEWAY_PREFIX}{cid}",
        "X-Ipfs-Roots": cid.text,
    }
    return Response(HTTPStatus.OK, headers, body)


class _CarBody(io.RawIOBase):
    """A CAR that is made while it is read."""

    def __init__(self, root: Cid, blocks: Iterator[tuple[Cid, bytes]]) -> None:
        self._blocks = blocks
        self._made = io.BytesIO()
        self._writer = CarWriter(self._made, [root], repeat=True)
        self._made.seek(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._made.readinto(buffer)
        if count:
            return count
        following = next(self._blocks, None)
        if following is None:
            return 0
        self._made.seek(0)
        self._made.truncate()
        self._writer.add(*following)
        self._made.seek(0)
        return self._made.readinto(buffer)

    def close(self) -> None:
        if not self.closed and hasattr(self._blocks, "close"):
            self._blocks.close()
        super().close()
