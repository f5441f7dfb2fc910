"""The embedded store: a blob folder behind a few HTTP routes.

Reading is open. Writing needs a request signed by a node key that the owner of the store accepts,
a length known beforehand and a quota that is not used up; the CID is derived again before anything
becomes visible.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Protocol

from collegium.egress import EgressLog
from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidError,
    CidMismatchError,
    CollegiumError,
    QuotaExceededError,
    UnauthorizedError,
)
from collegium.observability import metrics
from collegium.storage import request
from collegium.storage.cid import Cid, parse_cid
from collegium.storage.errors import StoreRequestError
from collegium.storage.folder import BlobFolder
from collegium.storage.http_server import HttpServer, Response
from collegium.storage.ledger import WriterLedger
from collegium.storage.trustless import GATEWAY_PREFIX, GatewayRoutes

__all__ = ["Authorize", "BlobFolder", "EmbeddedStoreServer", "Response", "StoreRoutes"]

logger = logging.getLogger(__name__)

PREFIX = "/v1/blobs/"
MAX_BLOB_BYTES = 4 << 30
UPLOAD_SECONDS = 30.0
"""Time any upload may take; on top of it each byte has the time the slowest accepted line needs."""
UPLOAD_BYTES_PER_SECOND = 64 << 10
DRAIN_BYTES = 64 << 20
DRAIN_SECONDS = 2.0

Authorize = Callable[[str, int], bool]
"""Takes a checksummed node key address and a study id; whether that key may write."""

_STATUS: tuple[tuple[type[CollegiumError], HTTPStatus], ...] = (
    (CidMismatchError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (CidError, HTTPStatus.BAD_REQUEST),
    (BlobNotFoundError, HTTPStatus.NOT_FOUND),
    (BlobOversizedError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (QuotaExceededError, HTTPStatus.INSUFFICIENT_STORAGE),
    (StoreRequestError, HTTPStatus.BAD_REQUEST),
)


class BodyReader(Protocol):
    """The body of a request; `read1` returns what has arrived, at least one byte before the end."""

    def read1(self, size: int = -1, /) -> bytes: ...


class _Refusal(Exception):
    """An error with its own status."""

    def __init__(self, status: HTTPStatus, error: CollegiumError) -> None:
        self.status = status
        self.error = error


class StoreRoutes:
    """GET, HEAD and PUT of `/v1/blobs/{cid}`, GET and HEAD of `/ipfs/{cid}`, without sockets.

    Any HTTP server can call `handle`.

    authorize: decides who may write. chain_id: part of what writers sign. max_blob_bytes: limit of one
    blob. quota_bytes: limit of one node key, None for no limit. clock: unix seconds. egress: where a blob is noted
    before it is served for the first time.
    """

    def __init__(
        self,
        folder: BlobFolder,
        authorize: Authorize,
        *,
        chain_id: int,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        quota_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        egress: EgressLog | None = None,
    ) -> None:
        self.folder = folder
        self._egress = egress
        self.ledger = WriterLedger(folder, quota_bytes=quota_bytes)
        self._gateway = GatewayRoutes(folder)
        self._authorize = authorize
        self._chain_id = chain_id
        self._max_blob_bytes = max_blob_bytes
        self._clock = clock

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: BodyReader) -> Response:
        """Answer one request; never raises for what a client sent.

        body: positioned at the first byte of the body. When the answer's `close` is true, part of the
        body was left unread and the connection cannot be used again.
        """
        found = {name.lower(): value.strip() for name, value in headers.items()}
        unread = _length_of(found) or 0
        counted = _Counted(body)
        try:
            response = self._route(method, path, found, counted)
        except _Refusal as refusal:
            response = _error(refusal.status, refusal.error)
        except CollegiumError as error:
            response = _error(_status_of(error), self._public(error))
        if unread > counted.count or (method == "PUT" and "transfer-encoding" in found):
            # A client that is still sending would miss the answer if the connection just broke.
            response.close = not _drain(counted, unread) or "transfer-encoding" in found
            if response.close:
                response.headers["Connection"] = "close"
        return response

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: _Counted) -> Response:
        name = path.partition("?")[0]
        if name.startswith(GATEWAY_PREFIX) and method in ("GET", "HEAD"):
            return self._give_blocks(method, path, headers)
        if not name.startswith(PREFIX):
            raise _Refusal(HTTPStatus.NOT_FOUND, StoreRequestError(f"There is nothing at {name[:200]!r}."))
        if method not in ("GET", "HEAD", "PUT"):
            error = StoreRequestError(f"Blobs know GET, HEAD and PUT, not {method[:16]!r}.")
            response = _error(HTTPStatus.METHOD_NOT_ALLOWED, error)
            response.headers["Allow"] = "GET, HEAD, PUT"
            return response
        cid = parse_cid(name.removeprefix(PREFIX))
        if method == "PUT":
            return self._put(cid, headers, body)
        if method == "HEAD":
            return self._head(cid, headers)
        return self._get(cid)

    def _get(self, cid: Cid) -> Response:
        size = self.folder.size_of(cid)
        response = Response(HTTPStatus.OK, _blob_headers(cid, size), self.folder.open(cid))
        return self._served(response, cid, size)

    def _give_blocks(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        response, blob = self._gateway.answer(method, path, headers)
        return response if method == "HEAD" else self._served(response, blob, int(response.headers["Content-Length"]))

    def _served(self, response: Response, blob: Cid, size: int) -> Response:
        """The answer, once it is noted that it leaves."""
        if self._egress is not None:
            try:
                self._egress.record("served", "anybody", cid=blob.text, size=size)
            except CollegiumError:
                response.discard()
                raise
        metrics.count("ipfs_bytes_total", size, dir="out")
        return response

    def _head(self, cid: Cid, headers: Mapping[str, str]) -> Response:
        """Whether the blob is here; a signed one also asks whether a PUT would be accepted."""
        try:
            self.folder.open(cid).close()
        except BlobNotFoundError:
            if request.KEY in headers:
                self._admit(cid, headers, _length_of(headers, request.LENGTH) or 0)
            raise
        return Response(HTTPStatus.OK, _blob_headers(cid, self.folder.size_of(cid)))

    def _put(self, cid: Cid, headers: Mapping[str, str], body: _Counted) -> Response:
        size = _length_of(headers)
        if size is None:
            raise _Refusal(
                HTTPStatus.LENGTH_REQUIRED,
                StoreRequestError(
                    "A blob is accepted only with a Content-Length.",
                    hint="Do not use chunked transfer encoding.",
                ),
            )
        key = self._admit(cid, headers, size)
        if self._is_intact(cid):
            return _json(HTTPStatus.OK, {"cid": cid.text, "bytes": size, "stored": False})
        with self.ledger.admit(key, cid, size):
            self.folder.put_stream(_pieces(body, size), expected=cid, max_bytes=size)
        logger.info("accepted blob %s, %d bytes, from %s", cid, size, key)
        return _json(HTTPStatus.CREATED, {"cid": cid.text, "bytes": size, "stored": True})

    def _public(self, error: CollegiumError) -> CollegiumError:
        """The error without paths of this machine."""
        if isinstance(error, BlobNotFoundError):
            return BlobNotFoundError("This store does not have the blob.", hint="Read it from another store.")
        message = error.message.replace(self.folder.name, "this store").replace(str(self.folder.path), "the store")
        return type(error)(message, hint=error.hint)

    def _is_intact(self, cid: Cid) -> bool:
        try:
            self.folder.open(cid).close()
        except BlobNotFoundError:
            return False
        return True

    def _admit(self, cid: Cid, headers: Mapping[str, str], size: int) -> str:
        """Who wants to write, if that key may write `size` bytes now."""
        if size > self._max_blob_bytes:
            raise BlobOversizedError(
                f"The blob has {size} bytes; this store accepts at most {self._max_blob_bytes}.",
                size=size, max_bytes=self._max_blob_bytes,
            )  # fmt: skip
        try:
            signed = request.read_put_request(headers, cid, chain_id=self._chain_id, now=self._clock())
        except UnauthorizedError as error:
            raise _Refusal(HTTPStatus.UNAUTHORIZED, error) from error
        if not self._authorize(signed.key, signed.study_id):
            raise _Refusal(
                HTTPStatus.FORBIDDEN,
                UnauthorizedError(
                    f"Key {signed.key} is not a node key of a member of study {signed.study_id}.",
                    hint="Join the study, or check which node key is registered.",
                    key=signed.key, study_id=signed.study_id,
                ),
            )  # fmt: skip
        self.ledger.check(signed.key, size)
        return signed.key


class EmbeddedStoreServer:
    """A blob folder served on its own port until `close`; on loopback unless told otherwise.

    authorize, quota_bytes, max_blob_bytes: as in StoreRoutes. port: 0 takes a free one.
    """

    def __init__(
        self,
        folder: BlobFolder | Path,
        authorize: Authorize,
        *,
        chain_id: int,
        host: str = "127.0.0.1",
        port: int = 0,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        quota_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder if isinstance(folder, BlobFolder) else BlobFolder(folder)
        self.routes = StoreRoutes(
            self.folder,
            authorize,
            chain_id=chain_id,
            max_blob_bytes=max_blob_bytes,
            quota_bytes=quota_bytes,
            clock=clock,
        )
        self._server = HttpServer(self._handle, host=host, port=port)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> EmbeddedStoreServer:
        """Begin to answer, in threads of its own."""
        self._server.start()
        return self

    def close(self) -> None:
        """Let requests in progress end for a moment, then stop."""
        self._server.close()

    def __enter__(self) -> EmbeddedStoreServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self, method: str, path: str, headers: Mapping[str, str], body: BodyReader) -> Response:
        if path == "/health" and method in ("GET", "HEAD"):
            return _json(HTTPStatus.OK, {"status": "ok"})
        return self.routes.handle(method, path, headers, body)


class _Counted:
    """A body that knows how much of it was read."""

    def __init__(self, body: BodyReader) -> None:
        self._body = body
        self.count = 0

    def read(self, size: int) -> bytes:
        piece = self._body.read1(size)
        self.count += len(piece)
        return piece


def _pieces(body: _Counted, size: int) -> Iterator[bytes]:
    """`size` bytes of the body as they arrive, not slower than the slowest accepted line."""
    end = time.monotonic() + UPLOAD_SECONDS + size / UPLOAD_BYTES_PER_SECOND
    left = size
    while left:
        try:
            piece = body.read(min(left, 1 << 20))
        except (TimeoutError, OSError) as error:
            raise _Refusal(
                HTTPStatus.REQUEST_TIMEOUT,
                StoreRequestError(f"The upload stopped {left} bytes before its end.", missing=left),
            ) from error
        if not piece:
            raise StoreRequestError(
                f"The upload ended {left} bytes early, after {size - left} of {size}.",
                hint="Send the blob again.",
                missing=left, size=size,
            )  # fmt: skip
        left -= len(piece)
        yield piece
        if left and time.monotonic() > end:
            raise _Refusal(
                HTTPStatus.REQUEST_TIMEOUT,
                StoreRequestError(f"The upload is too slow; {left} bytes were missing."),
            )


def _drain(body: _Counted, size: int) -> bool:
    """Read the rest of a refused body, within limits; whether all of it was read."""
    end = time.monotonic() + DRAIN_SECONDS
    if size - body.count > DRAIN_BYTES:
        return False
    with suppress(OSError):
        while body.count < size and time.monotonic() < end:
            if not body.read(min(size - body.count, 1 << 20)):
                break
    return body.count >= size


def _length_of(headers: Mapping[str, str], name: str = "content-length") -> int | None:
    value = headers.get(name)
    if value is None or "transfer-encoding" in headers:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        return None
    return int(value)


def _blob_headers(cid: Cid, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "ETag": f'"{cid}"',
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }


def _status_of(error: CollegiumError) -> HTTPStatus:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def _error(status: HTTPStatus, error: CollegiumError) -> Response:
    response = _json(status, {"error": error.code, "code": error.code, "message": error.message, "hint": error.hint})
    # An answer to HEAD has no body.
    response.headers["X-Collegium-Error"] = error.code
    response.headers["X-Collegium-Message"] = " ".join(error.message.split()).encode("ascii", "replace").decode()[:500]
    response.headers["X-Collegium-Hint"] = " ".join(error.hint.split()).encode("ascii", "replace").decode()[:300]
    return response


def _json(status: HTTPStatus, content: Mapping[str, object]) -> Response:
    data = json.dumps(content).encode()
    return Response(status, {"Content-Type": "application/json", "Content-Length": str(len(data))}, data)
