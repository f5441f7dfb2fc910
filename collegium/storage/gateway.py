"""A trustless gateway of IPFS as a store that is only read from: blocks and archives over plain HTTP GET.

The gateway is trusted with nothing: every block is hashed before it is looked at, the number of bytes is bounded by
what the caller expects, and it cannot send us elsewhere. A blob of several blocks is read from one CAR stream;
whatever that stream lacks is asked for block by block.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from collegium.errors import BlobNotFoundError, BlobOversizedError, CidMismatchError, StoreUnreachableError
from collegium.storage.car import CarBlock, CarReader
from collegium.storage.cid import CHUNK_BYTES, RAW, Cid, Content
from collegium.storage.errors import (
    CarBlockError,
    CarError,
    StoreAddressError,
    StoreAnswerError,
    StoreReadOnlyError,
)
from collegium.storage.unixfs import MAX_BLOCK_BYTES, file_size_of, read_blob
from collegium.transport.proxies import Proxies
from collegium.words import is_loopback, printable, reason_of

if TYPE_CHECKING:
    import requests

__all__ = ["GatewayStore"]

SLOWEST_BYTES_PER_SECOND = 64 << 10
LONGEST_PAUSE = 10.0
"""Seconds waited for a gateway that asks for patience; a longer wait is left to other stores."""
RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
_ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.GATEWAY_TIMEOUT)


class GatewayStore:
    """Reads from `{url}/ipfs/{cid}`.

    url: http or https, without a path of its own. timeout: seconds for connecting and for each silence.
    attempts: tries when the gateway does not answer or asks for patience.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        attempts: int = 3,
        pause: float = 0.5,
        proxies: Proxies | None = None,
    ) -> None:
        parts = urlsplit(url)
        try:
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_valid = False
        if not is_valid or parts.username or parts.query or parts.fragment or parts.path not in ("", "/"):
            raise StoreAddressError(
                f"{url!r} is not the address of a gateway.", hint="Write it as gateway+https://host[:port].", url=url
            )
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._attempts = max(1, attempts)
        self._pause = pause
        self._proxies = proxies or Proxies()
        self._is_loopback = is_loopback(parts.hostname or "")
        self._local = threading.local()

    @property
    def name(self) -> str:
        return f"gateway+{self._url}"

    def put(self, data: Content) -> Cid:
        """Raises StoreReadOnlyError."""
        raise StoreReadOnlyError(
            f"{self.name} is only read from.", hint="Write to a folder, an embedded store or a Kubo daemon."
        )

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        return b"".join(self.stream(cid, max_bytes=max_bytes))

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """The blob leaf by leaf; every piece is verified when it is handed on.

        Raises:
            BlobNotFoundError: the gateway does not have it, or lacks a part of it.
            CidMismatchError: the gateway sent other bytes than those of a block.
            BlobOversizedError: the blob is longer than max_bytes; UnixFsError: it is no file of the profile.
            StoreUnreachableError, StoreAnswerError: no answer, or one that no gateway gives.
        """
        if cid.codec == RAW:
            yield from read_blob(cid, self.block, max_bytes=max_bytes)
            return
        root = self.block(cid, MAX_BLOCK_BYTES)
        size = file_size_of(root, cid)
        if size > max_bytes:
            raise BlobOversizedError(
                f"Blob {cid} has {size} bytes; at most {max_bytes} are expected.",
                cid=cid.text, size=size, max_bytes=max_bytes, store=self.name,
            )  # fmt: skip
        with contextlib.closing(_Stream(self, cid, size)) as blocks:
            yield from read_blob(cid, lambda asked, limit, /: blocks(asked, limit), max_bytes=size)

    def block(self, cid: Cid, limit: int = MAX_BLOCK_BYTES, /) -> bytes:
        """One verified block; a source for `unixfs.read_blob`.

        Raises:
            BlobNotFoundError, CidMismatchError, BlobOversizedError, StoreUnreachableError, StoreAnswerError.
        """
        for attempt in range(self._attempts):
            try:
                return self._block(cid, limit)
            except StoreUnreachableError as error:
                pause = float(error.evidence.get("retry_after", self._pause * 2**attempt))
                if attempt + 1 == self._attempts or pause > LONGEST_PAUSE:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def has(self, cid: Cid) -> bool:
        """Whether the gateway has the root block at hand; one that searches the network is asked not to."""
        try:
            with self._request("HEAD", cid, "raw", {"Cache-Control": "only-if-cached"}):
                return True
        except BlobNotFoundError:
            return False

    # parts

    def _block(self, cid: Cid, limit: int) -> bytes:
        with self._request("GET", cid, "raw") as answer:
            announced = answer.headers.get("Content-Length", "")
            data = b""
            if not announced.isdecimal() or int(announced) <= limit:
                data = _Bytes(answer, self, limit).read(limit + 1)
            if len(data) > limit or (announced.isdecimal() and int(announced) > limit):
                raise BlobOversizedError(
                    f"{self.name} serves more than {limit} bytes as block {cid}.",
                    hint="Read it from another store.", cid=cid.text, max_bytes=limit, store=self.name,
                )  # fmt: skip
        if announced.isdecimal() and len(data) < int(announced):
            raise StoreUnreachableError(f"{self.name} broke off inside block {cid}.", cid=cid.text, store=self.name)
        if hashlib.sha256(data).digest() != cid.digest:
            raise self.lie(f"{len(data)} bytes that are not block {cid}", cid)
        return data

    def lie(self, what: str, cid: Cid) -> CidMismatchError:
        """The error that blames this gateway."""
        return CidMismatchError(
            f"{self.name} answered {what}.",
            hint="Read it from another store; this gateway lies or is broken.",
            cid=cid.text, store=self.name,
        )  # fmt: skip

    @contextlib.contextmanager
    def _request(
        self, method: str, cid: Cid, form: str, headers: dict[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """An answer of status 200 and of the wanted type; anything else is an error."""
        import requests

        wanted = RAW_TYPE if form == "raw" else CAR_TYPE
        accept = wanted if form == "raw" else f"{CAR_TYPE}; version=1; order=dfs; dups=y"
        scope = "" if form == "raw" else "&dag-scope=entity"
        url = f"{self._url}/ipfs/{cid}?format={form}{scope}"
        try:
            answer = self._session().request(
                method, url, headers={"Accept": accept, **(headers or {})}, timeout=(self._timeout, self._timeout),
                stream=True, allow_redirects=False, proxies=self._proxies.mapping(self._url),
            )  # fmt: skip
        except (requests.RequestException, OSError) as error:
            if blamed := self._proxies.explain(error, self._url):
                raise blamed from error
            raise self._unreachable(f"does not answer ({reason_of(error)})") from error
        with contextlib.closing(answer):
            self._check(answer, cid, wanted if method == "GET" else "")
            yield answer

    def _check(self, answer: requests.Response, cid: Cid, wanted: str) -> None:
        status = answer.status_code
        evidence: dict[str, Any] = {"status": status, "cid": cid.text, "store": self.name}
        if 300 <= status < 400:
            target = urlsplit(answer.headers.get("Location", "")).netloc or "another path"
            raise StoreAnswerError(
                f"{self.name} redirects to {printable(target, 100)}; redirects of a gateway are not followed.",
                hint="Name the gateway that serves /ipfs/{cid}?format=raw itself.", **evidence,
            )  # fmt: skip
        if status in _ABSENT:
            raise BlobNotFoundError(
                f"{self.name} does not have block {cid} ({status}).", hint="Read it from another store.", **evidence
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = answer.headers.get("Retry-After", "")
            more = {"retry_after": int(wait)} if wait.isdecimal() and len(wait) < 7 else {}
            raise self._unreachable("asks to be asked less often (429)", **more)
        if status >= 500:
            raise self._unreachable(f"answers with status {status}")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if status != HTTPStatus.OK or (wanted and kind != wanted):
            raise StoreAnswerError(
                f"{self.name} answered {status} with {printable(kind, 60) or 'no type'}, not with a block or a CAR.",
                hint="Is it a trustless gateway?", **evidence,
            )  # fmt: skip
        if answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
            # It could unfold beyond any limit.
            raise StoreAnswerError(f"{self.name} compresses what it sends, unasked.", **evidence)

    def _unreachable(self, what: str, **evidence: float) -> StoreUnreachableError:
        return StoreUnreachableError(
            f"{self.name} {what}.", hint="Try again, or read from another store.", store=self.name, **evidence
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            import requests

            session = requests.Session()
            # Proxies are named by us; netrc passwords are for nobody here.
            session.trust_env = not self._is_loopback
            session.auth = lambda prepared: prepared
            session.headers.update({"Accept-Encoding": "identity", "User-Agent": "collegium"})
            self._local.session = session
        return session


class _Stream:
    """Blocks of one blob in the order of a walk: from a CAR stream as long as it lasts, else one by one."""

    def __init__(self, gateway: GatewayStore, cid: Cid, size: int) -> None:
        self._gateway, self._cid = gateway, cid
        self._open = contextlib.ExitStack()
        self._reader: CarReader | None = None
        self._next: CarBlock | None = None
        # Nodes add less than a thousandth; a gateway that sends more is not heard to its end.
        self._limit = size + size // 64 + MAX_BLOCK_BYTES
        with contextlib.suppress(BlobNotFoundError, StoreAnswerError, StoreUnreachableError, CarError):
            answer = self._open.enter_context(gateway._request("GET", cid, "car"))
            source = io.BufferedReader(cast(io.RawIOBase, _Bytes(answer, gateway, self._limit)), CHUNK_BYTES)
            self._reader = CarReader(cast(BinaryIO, source), name=gateway.name)

    def __call__(self, cid: Cid, limit: int, /) -> bytes:
        block = self._peek()
        if block is not None and block.cid == cid:
            self._next = None
            return block.data
        return self._gateway.block(cid, limit)

    def close(self) -> None:
        self._open.close()

    def _peek(self) -> CarBlock | None:
        if self._next is None and self._reader is not None:
            try:
                self._next = self._reader.next_block()
            except CarBlockError as error:
                raise self._gateway.lie(f"other bytes as block {error.cid} of blob {self._cid}", self._cid) from error
            except (CarError, StoreUnreachableError):
                # Cut short or garbled: what came is verified, the rest is asked for block by block.
                self._reader = None
                self.close()
            if self._next is None:
                self._reader = None
        return self._next


class _Bytes(io.RawIOBase):
    """The body of an answer, undecoded, up to a number of bytes and not slower than the slowest accepted line."""

    def __init__(self, answer: requests.Response, gateway: GatewayStore, limit: int) -> None:
        # What has arrived: a longer wait would lose it when the line breaks.
        self._read: Callable[..., bytes] = answer.raw.read1
        self._gateway = gateway
        self._left = limit + 1
        self._end = time.monotonic() + gateway._timeout + limit / SLOWEST_BYTES_PER_SECOND

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if time.monotonic() > self._end:
            raise self._gateway._unreachable("sends too slowly")
        size = min(len(buffer), self._left)
        try:
            data = self._read(size, decode_content=False) if size else b""
        except Exception as error:
            raise self._gateway._unreachable(f"broke off while sending ({reason_of(error)})") from error
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end."""
        pieces = bytearray()
        buffer = bytearray(min(size, 1 << 16))
        while len(pieces) < size and (count := self.readinto(memoryview(buffer)[: size - len(pieces)])):
            pieces += buffer[:count]
        return bytes(pieces)
