"""A store keeps blobs by CID; whatever it answers is verified before anyone sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from collegium.errors import BlobOversizedError, CidMismatchError
from collegium.storage.cid import Cid, Content
from collegium.storage.unixfs import Importer

__all__ = ["PIECE_BYTES", "DigestSigner", "OwnStore", "Store", "pieces_of", "verified"]

PIECE_BYTES = 1 << 20
"""Bytes handed on at a time when a blob is streamed."""


class DigestSigner(Protocol):
    """Who signs requests to a store: `collegium.chain.Signer` is one."""

    @property
    def address(self) -> str:
        """Checksummed address of the node key."""
        ...

    def sign_digest(self, digest: bytes, /) -> bytes:
        """64-byte compact signature over 32 bytes."""
        ...


@runtime_checkable
class Store(Protocol):
    """Where blobs are put and read; safe to use from several threads."""

    @property
    def name(self) -> str:
        """Address for people and logs, without secrets."""
        ...

    def put(self, data: Content) -> Cid:
        """Keep a blob; doing it twice is harmless."""
        ...

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        """The blob, verified.

        Raises:
            BlobNotFoundError: the store does not have it.
            BlobOversizedError: it is longer than max_bytes.
            CidMismatchError: other bytes came.
            StoreUnreachableError: no answer, or not in time.
        """
        ...

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """The blob in pieces. Only when the iterator ends without an error are the pieces verified."""
        ...

    def has(self, cid: Cid) -> bool:
        """Whether the whole blob is there now, without asking further away."""
        ...


@runtime_checkable
class OwnStore(Store, Protocol):
    """A store whose owner is asking: it can say what it keeps, and let go of it."""

    def list(self) -> Iterator[Cid]:
        """Every blob kept here, in no order."""
        ...

    def remove(self, cid: Cid) -> bool:
        """Let go of a blob; whether it was kept. Doing it twice is harmless, and other blobs stay whole.

        A folder deletes it at once; a Kubo daemon unpins it and frees the space at its next collection.
        """
        ...


def pieces_of(data: Content) -> Iterator[bytes | memoryview]:
    """Content in pieces of at most 1 MiB."""
    if isinstance(data, Path):
        with data.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
        return
    view = memoryview(data).cast("B")
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


def verified(pieces: Iterable[bytes], cid: Cid, *, max_bytes: int, source: str) -> Iterator[bytes]:
    """Pass pieces on and compare their CID at the end.

    Raises:
        BlobOversizedError: more than max_bytes came; reading stopped there.
        CidMismatchError: what came is another blob.
    """
    importer = Importer()
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > max_bytes:
            raise BlobOversizedError(
                f"{source} serves more than the {max_bytes} bytes expected of blob {cid}.",
                hint="Read it from another store, or check the length the study's format prescribes.",
                cid=cid.text, max_bytes=max_bytes, store=source,
            )  # fmt: skip
        importer.feed(piece)
        yield piece
    found = importer.finish()
    if found != cid:
        raise CidMismatchError(
            f"{source} answered {count} bytes that are not blob {cid}: their CID is {found}.",
            hint="Read it from another store; this one lies or is broken.",
            cid=cid.text, found=found.text, size=count, store=source,
        )  # fmt: skip
