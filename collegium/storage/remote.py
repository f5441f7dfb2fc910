"""A remote store is the embedded store of somebody else, reached over HTTP."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidMismatchError,
    CollegiumError,
    QuotaExceededError,
    StoreUnreachableError,
    UnauthorizedError,
)
from collegium.storage import request
from collegium.storage.cid import Cid, Content, cid_of
from collegium.storage.errors import StoreAddressError, StoreAnswerError, StoreRequestError
from collegium.storage.store import PIECE_BYTES, DigestSigner, pieces_of, verified
from collegium.transport.client import Transport
from collegium.transport.failures import failure_of
from collegium.words import printable, reason_of

if TYPE_CHECKING:
    import requests

__all__ = ["RemoteStore"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SLOWEST_BYTES_PER_SECOND = 64 << 10
"""A transfer below this rate, beyond its first `timeout` seconds, is given up."""


class RemoteStore:
    """Client of an embedded store.

    url: http or https, an optional path before `/v1/blobs` included. signer, study_id, chain_id: needed for
    writing only. timeout: seconds for connecting and for each silence. attempts: tries when the store does
    not answer, with growing pauses between them. transport: how the server is reached and what it must prove.
    """

    def __init__(
        self,
        url: str,
        signer: DigestSigner | None = None,
        study_id: int = 0,
        *,
        chain_id: int = 0,
        timeout: float = 10.0,
        attempts: int = 3,
        pause: float = 0.25,
        clock: Callable[[], float] = time.time,
        transport: Transport | None = None,
    ) -> None:
        parts = urlsplit(url)
        try:
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_valid = False
        if not is_valid or parts.username or parts.query or parts.fragment:
            raise StoreAddressError(
                f"{url!r} is not the address of a store.", hint="Write it as http://host:port.", url=url
            )
        self._url = url.rstrip("/")
        self._signer = signer
        self._study_id = study_id
        self._chain_id = chain_id
        self._timeout = timeout
        self._attempts = max(1, attempts)
        self._pause = pause
        self._clock = clock
        self._transport = transport or Transport()
        self._local = threading.local()
        self._offset = 0.0

    @property
    def name(self) -> str:
        return self._url

    def put(self, data: Content) -> Cid:
        """Bring a blob with a signed request; nothing is sent when the store has it.

        Raises:
            UnauthorizedError: no signer, a wrong signature, or not a member.
            QuotaExceededError, BlobOversizedError: the store does not take it.
            StoreUnreachableError: no answer after all attempts.
        """
        if self._signer is None:
            raise UnauthorizedError(
                f"{self.name} accepts blobs only with a signature.",
                hint="Open the store with the node key of a member.",
                store=self.name,
            )
        cid = cid_of(data)
        size = data.stat().st_size if isinstance(data, Path) else memoryview(data).nbytes

        def send() -> Cid:
            asking = {**self._sign(cid), "X-Collegium-Length": str(size)}
            # Asking first spares a refused blob its way.
            with self._request("HEAD", cid, headers=asking) as answer:
                if answer.status_code == HTTPStatus.OK:
                    return cid
                if answer.status_code == HTTPStatus.UNAUTHORIZED and self._set_clock(answer):
                    return send()
                if answer.status_code != HTTPStatus.NOT_FOUND:
                    raise self._error(answer, cid)
            # A body of length 0 would be sent in chunks.
            upload = _Upload(data, size) if size else None
            headers = {**self._sign(cid), "Content-Type": "application/octet-stream", "Content-Length": str(size)}
            with self._request("PUT", cid, headers=headers, data=upload) as answer:
                if answer.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
                    raise self._error(answer, cid)
            return cid

        return self._retry(send)

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        return self._retry(lambda: b"".join(self.stream(cid, max_bytes=max_bytes)))

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """The blob in pieces, in one attempt; verified when the iterator ends without an error."""
        return verified(self._pieces(cid, max_bytes), cid, max_bytes=max_bytes, source=self.name)

    def has(self, cid: Cid) -> bool:
        def ask() -> bool:
            with self._request("HEAD", cid) as answer:
                if answer.status_code in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                    return bool(answer.status_code == HTTPStatus.OK)
                raise self._error(answer, cid)

        return self._retry(ask)

    # parts

    def _pieces(self, cid: Cid, max_bytes: int) -> Iterator[bytes]:
        end = time.monotonic() + self._timeout + max_bytes / SLOWEST_BYTES_PER_SECOND
        with self._request("GET", cid) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise self._error(answer, cid)
            announced = answer.headers.get("Content-Length", "")
            if announced.isdecimal() and int(announced) > max_bytes:
                raise BlobOversizedError(
                    f"{self.name} announces {announced} bytes for blob {cid}; at most {max_bytes} are expected.",
                    hint="Read it from another store, or check the length the study's format prescribes.",
                    cid=cid.text, max_bytes=max_bytes, store=self.name,
                )  # fmt: skip
            while True:
                try:
                    # Not decoded: a compressed answer could unfold beyond any limit.
                    piece = answer.raw.read1(PIECE_BYTES, decode_content=False)
                except Exception as error:
                    raise self._unreachable(error, "broke off while sending") from error
                if not piece:
                    return
                yield piece
                if time.monotonic() > end:
                    raise self._unreachable(None, "sends too slowly")

    def _set_clock(self, answer: requests.Response) -> bool:
        """Go by the store's clock when it differs from ours by more than it accepts; False when it is not that.

        A request names one blob, so whoever makes us sign it for another time gains nothing.
        """
        try:
            theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        except (TypeError, ValueError):
            return False
        offset = theirs - self._clock()
        if abs(offset - self._offset) <= request.WINDOW_SECONDS / 2:
            return False
        logger.warning("this machine's clock is %.0f s ahead of that of %s; the store's is used", -offset, self.name)
        self._offset = offset
        return True

    def _sign(self, cid: Cid) -> dict[str, str]:
        assert self._signer is not None
        return request.sign_put(
            self._signer, cid, time=int(self._clock() + self._offset), study_id=self._study_id, chain_id=self._chain_id
        )

    @contextlib.contextmanager
    def _request(
        self, method: str, cid: Cid, *, headers: dict[str, str] | None = None, data: _Upload | None = None
    ) -> Iterator[requests.Response]:
        import requests

        session = self._session()
        try:
            answer = session.request(
                method,
                f"{self._url}/v1/blobs/{quote(cid.text)}",
                headers=headers,
                data=data,  # type: ignore[arg-type]
                timeout=(self._timeout, self._timeout),
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, OSError) as error:
            raise self._unreachable(error, "does not answer") from error
        with contextlib.closing(answer):
            if answer.status_code >= 500 and answer.status_code != HTTPStatus.INSUFFICIENT_STORAGE:
                raise self._unreachable(None, f"answers with status {answer.status_code}")
            yield answer

    def _session(self) -> requests.Session:
        """One per thread: sessions are not made to be shared."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._transport.session(self._url, {"Accept-Encoding": "identity", "User-Agent": "collegium"})
            session.auth = lambda prepared: prepared
            self._local.session = session
        return session

    def _retry(self, call: Callable[[], Result]) -> Result:
        for attempt in range(self._attempts):
            try:
                return call()
            except StoreUnreachableError:
                if attempt + 1 == self._attempts:
                    raise
                time.sleep(self._pause * 2**attempt * random.uniform(0.5, 1.5))
        raise AssertionError("at least one attempt")

    def _unreachable(self, error: BaseException | None, what: str) -> StoreUnreachableError:
        known = failure_of(error) if error is not None else None
        why = f" ({reason_of(error)})" if error is not None else ""
        return StoreUnreachableError(
            f"The store {self.name} {what}: {known.message}" if known else f"The store {self.name} {what}{why}.",
            hint=known.hint if known else "Check its address and that it runs; the blob may be in another store.",
            store=self.name,
        )

    def _error(self, answer: requests.Response, cid: Cid) -> CollegiumError:
        """What the store's refusal means. Its words are shown but trusted for nothing."""
        said = printable(answer.headers.get("X-Collegium-Message", ""), 500)
        hint = printable(answer.headers.get("X-Collegium-Hint", ""), 300)
        status = answer.status_code
        kinds: dict[int, type[CollegiumError]] = {
            HTTPStatus.NOT_FOUND: BlobNotFoundError,
            HTTPStatus.UNAUTHORIZED: UnauthorizedError,
            HTTPStatus.FORBIDDEN: UnauthorizedError,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: BlobOversizedError,
            HTTPStatus.INSUFFICIENT_STORAGE: QuotaExceededError,
            HTTPStatus.UNPROCESSABLE_ENTITY: CidMismatchError,
            HTTPStatus.BAD_REQUEST: StoreRequestError,
            HTTPStatus.REQUEST_TIMEOUT: StoreUnreachableError,
            HTTPStatus.TOO_MANY_REQUESTS: StoreUnreachableError,
        }
        kind = kinds.get(status, StoreAnswerError)
        if kind is BlobNotFoundError:
            said = said or f"it does not have blob {cid}."
        return kind(
            f"{self.name} answered {status}: {said or 'no reason given.'}",
            hint=hint, status=status, cid=cid.text, store=self.name,
        )  # fmt: skip


class _Upload:
    """A body of known length that is sent in large pieces and never held twice."""

    def __init__(self, data: Content, size: int) -> None:
        self._pieces = pieces_of(data)
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self._pieces

    def read(self, size: int = -1) -> bytes | memoryview:
        """The next piece, whatever `size` says."""
        return next(self._pieces, b"")
