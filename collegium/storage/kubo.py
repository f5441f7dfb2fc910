"""A Kubo daemon as a store, through ipfshttpclient.

The daemon is trusted with keeping bytes and with nothing else: CIDs are computed here, parameters are
always sent, and what comes back is hashed. Three habits of the client library are avoided: `connect`
refuses every current daemon, `add` sends `raw-leaves=false` unless told by keyword, and `get` unpacks
archives onto the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO

from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidError,
    CidMismatchError,
    CollegiumError,
    StoreUnreachableError,
    UnauthorizedError,
)
from collegium.extras import require
from collegium.storage.cid import CHUNK_BYTES, RAW, Cid, Content, cid_of, parse_cid
from collegium.storage.errors import StoreAddressError, StoreAnswerError
from collegium.storage.store import PIECE_BYTES, verified
from collegium.storage.unixfs import MAX_BLOCK_BYTES, MAX_LINKS, file_size_of
from collegium.words import is_loopback, printable, reason_of

__all__ = ["KuboStore"]

logger = logging.getLogger(__name__)

SLOWEST_BYTES_PER_SECOND = 64 << 10
_EMPTY = cid_of(b"")


class KuboStore:
    """Blobs of one daemon and, when reading, of the swarm it belongs to.

    host, port: of the RPC. username, password: basic authentication. timeout: seconds for an answer of the
    daemon itself. fetch_timeout: seconds the daemon may search its swarm for a blob.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5001,
        *,
        is_https: bool = False,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 10.0,
        fetch_timeout: float = 30.0,
    ) -> None:
        self._host = host
        self._port = port
        self._is_https = is_https
        self._login = (username, password or "") if username else None
        self._timeout = timeout
        self._fetch_timeout = fetch_timeout
        self._lock = threading.Lock()
        self._made: Any = None
        if not 0 < port < 1 << 16:
            raise StoreAddressError(f"{port} is not a port.", hint="The RPC of Kubo listens on 5001 by default.")

    @property
    def name(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"kubo{'+https' if self._is_https else ''}://{host}:{self._port}"

    def version(self) -> str:
        """Version of the daemon."""
        with self._calling("telling its version"):
            return str(self._client.version(timeout=self._timeout)["Version"])

    def put(self, data: Content) -> Cid:
        """Add and pin a blob.

        Raises:
            CidMismatchError: the daemon built another CID, which it was told to unpin.
            StoreUnreachableError, UnauthorizedError: no answer, or not to us.
        """
        cid = cid_of(data)
        with contextlib.closing(_open(data)) as file, self._calling("adding a blob"):
            answer = self._client.add(
                file,
                pin=True,
                raw_leaves=True,
                cid_version=1,
                chunker=f"size-{CHUNK_BYTES}",
                opts={"max-file-links": str(MAX_LINKS), "hash": "sha2-256", "cid-base": "base32", "quieter": "true"},
                timeout=(self._timeout, max(60.0, self._fetch_timeout)),
            )
        try:
            found = parse_cid(answer["Hash"])
        except (CollegiumError, KeyError, TypeError) as error:
            raise StoreAnswerError(f"{self.name} answered no CID to `add`.", store=self.name) from error
        if found != cid:
            with contextlib.suppress(CollegiumError):
                self.remove(found)
            raise CidMismatchError(
                f"{self.name} stored the blob as {found} instead of {cid}.",
                hint="The daemon ignores the parameters of profile unixfs-v1-2025; use Kubo 0.40 or newer.",
                cid=cid.text, found=found.text, store=self.name,
            )  # fmt: skip
        return cid

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        return b"".join(self.stream(cid, max_bytes=max_bytes))

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """The blob in pieces; verified when the iterator ends without an error.

        The root block is fetched and verified first: it tells the true length, so that a transfer that
        broke off is not mistaken for a lie.
        """
        if cid == _EMPTY:
            # Daemons do not offer the empty block to each other.
            return
        root = self.block(cid, MAX_BLOCK_BYTES)
        size = file_size_of(root, cid)
        if size > max_bytes:
            raise BlobOversizedError(
                f"Blob {cid} has {size} bytes; at most {max_bytes} are expected.",
                cid=cid.text, size=size, max_bytes=max_bytes, store=self.name,
            )  # fmt: skip
        if cid.codec == RAW:
            yield root
            return
        yield from verified(self._cat(cid, size), cid, max_bytes=size, source=self.name)

    def block(self, cid: Cid, limit: int = MAX_BLOCK_BYTES) -> bytes:
        """One verified block; a source for `unixfs.read_blob`.

        Raises:
            BlobNotFoundError: neither here nor found in the swarm in time.
            CidMismatchError: other bytes came.
        """
        pieces: list[bytes] = []
        with self._calling("giving a block", cid):
            count = 0
            for piece in self._client.block.get(cid.text, stream=True, **self._patience()):
                count += len(piece)
                if count > limit:
                    break
                pieces.append(piece)
        if count > limit:
            raise BlobOversizedError(f"{self.name} serves more than {limit} bytes as block {cid}.", cid=cid.text)
        data = b"".join(pieces)
        if hashlib.sha256(data).digest() != cid.digest:
            raise CidMismatchError(
                f"{self.name} answered {count} bytes that are not block {cid}.", cid=cid.text, store=self.name
            )
        return data

    def has(self, cid: Cid) -> bool:
        """Whether every block is in this daemon's own repository; the swarm is not asked."""
        try:
            with self._calling("looking for a blob", cid):
                found = self._client.files.stat(
                    f"/ipfs/{cid}", opts={"with-local": "true", "offline": "true"}, timeout=self._timeout
                )
        except BlobNotFoundError:
            return False
        return bool(found.get("Local"))

    def pin(self, cid: Cid) -> None:
        """Fetch all of a blob from the swarm, if need be, and keep it."""
        with self._calling("pinning a blob", cid):
            self._client.pin.add(cid.text, **self._patience())

    def list(self) -> Iterator[Cid]:
        """Every blob pinned here; pins of another kind (directories, CIDv0) are none of ours and left out."""
        with self._calling("listing its pins"):
            found = self._client.pin.ls(type="recursive", timeout=self._timeout)["Keys"]
        for text in found:
            with contextlib.suppress(CidError):
                yield parse_cid(text)

    def remove(self, cid: Cid) -> bool:
        """Let the daemon forget a blob at its next garbage collection; whether it was pinned."""
        try:
            with self._calling("unpinning a blob", cid):
                self._client.pin.rm(cid.text, timeout=self._timeout)
        except BlobNotFoundError:
            return False
        return True

    # parts

    @property
    def _client(self) -> Any:
        """The client library, imported at first use: it pulls in a network stack of its own."""
        with self._lock:
            if self._made is None:
                require("kubo", "ipfshttpclient")
                warnings.filterwarnings("ignore", message="The 'strict' parameter", category=FutureWarning)
                import ipfshttpclient

                self._made = ipfshttpclient.Client(
                    self._multiaddr(),
                    timeout=self._timeout,
                    chunk_size=PIECE_BYTES,
                    auth=self._login,
                    # A compressed answer could unfold beyond any limit.
                    headers={"Accept-Encoding": "identity", "User-Agent": "collegium"},
                )
                if is_loopback(self._host):
                    self._ignore_proxies()
                # Read for the log only: parameters are sent, whatever the version.
                with contextlib.suppress(Exception):
                    logger.info("%s is version %s", self.name, self._made.version(timeout=self._timeout)["Version"])
            return self._made

    def _ignore_proxies(self) -> None:
        """Proxies of the environment cannot reach our loopback; the library has no word for it."""
        properties = getattr(getattr(self._made, "_client", None), "_session_props", None)
        if isinstance(properties, dict):
            properties["trust_env"] = False

    def _multiaddr(self) -> str:
        try:
            kind = f"ip{ip_address(self._host).version}"
        except ValueError:
            kind = "dns"
        return f"/{kind}/{self._host}/tcp/{self._port}/{'https' if self._is_https else 'http'}"

    def _patience(self) -> dict[str, Any]:
        """Limits for calls that may search the swarm: the daemon gives up first, so that its reason arrives."""
        return {
            "opts": {"timeout": f"{self._fetch_timeout:g}s"},
            "timeout": (self._timeout, self._fetch_timeout + self._timeout),
        }

    def _cat(self, cid: Cid, size: int) -> Iterator[bytes]:
        """`size` bytes of the file, or more if the daemon sends more."""
        patience = self._patience()
        # The library drops its own `length` argument when other options are given.
        patience["opts"] = {"length": str(size)}
        end = time.monotonic() + self._fetch_timeout + size / SLOWEST_BYTES_PER_SECOND
        count = 0
        with self._calling("giving a blob", cid):
            for piece in self._client.cat(cid.text, stream=True, **patience):
                count += len(piece)
                yield piece
                if time.monotonic() > end:
                    raise StoreUnreachableError(f"{self.name} sends blob {cid} too slowly.", store=self.name)
        if count < size:
            raise StoreUnreachableError(
                f"{self.name} broke off after {count} of {size} bytes of blob {cid}.",
                hint="Try again or read it from another store.",
                cid=cid.text, store=self.name,
            )  # fmt: skip

    @contextlib.contextmanager
    def _calling(self, what: str, cid: Cid | None = None) -> Iterator[None]:
        """Turn the errors of the client library into ours."""
        try:
            yield
        except (CollegiumError, GeneratorExit):
            raise
        except Exception as error:
            raise self._translate(error, what, cid) from error

    def _translate(self, error: Exception, what: str, cid: Cid | None) -> CollegiumError:
        import ipfshttpclient.exceptions as library

        evidence = {"store": self.name, **({"cid": cid.text} if cid else {})}
        said = printable(" ".join(str(error).split()), 300)
        if isinstance(error, library.ErrorResponse):
            lower = said.lower()
            absent = ("not found", "could not find", "deadline exceeded", "not pinned", "no link", "offline")
            if cid is not None and any(word in lower for word in absent):
                return BlobNotFoundError(
                    f"{self.name} did not find blob {cid}: {said}.", hint="Read it from another store.", **evidence
                )
            return StoreAnswerError(f"{self.name} failed at {what}: {said}.", hint="See the daemon's log.", **evidence)
        if isinstance(error, library.StatusError):
            status = getattr(getattr(error.original, "response", None), "status_code", 0)
            if status in (401, 403):
                return UnauthorizedError(
                    f"{self.name} asks for a user and a password ({status}).",
                    hint="Write them into the address: kubo://user:password@host:port.",
                    **evidence,
                )
            return StoreAnswerError(f"{self.name} answered {status} at {what}.", hint="Is it Kubo?", **evidence)
        if isinstance(error, library.TimeoutError) and cid is not None:
            return BlobNotFoundError(
                f"{self.name} did not find blob {cid} in time.", hint="Read it from another store.", **evidence
            )
        if isinstance(error, (library.DecodingError, KeyError, TypeError, AssertionError)):
            return StoreAnswerError(f"{self.name} answered {what} unintelligibly.", hint="Is it Kubo?", **evidence)
        return StoreUnreachableError(
            f"{self.name} does not answer at {what} ({reason_of(error)}).",
            hint="Start the daemon (`ipfs daemon`) or correct its address.",
            **evidence,
        )


def _open(data: Content) -> BinaryIO:
    return data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
