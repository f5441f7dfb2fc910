"""A blob folder keeps verified blobs as files named by their CID.

Writing goes to a temporary file, is flushed to disk and renamed, so that a blob is there wholly or
not at all, also after kill -9. A file whose content no longer fits its name is set aside.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import BinaryIO

from collegium.crashpoints import crashpoint, register
from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidError,
    CidMismatchError,
    QuotaExceededError,
)
from collegium.storage.cid import Cid, Content, cid_of, parse_cid
from collegium.storage.errors import BlobCorruptError, StoreFolderError
from collegium.storage.store import PIECE_BYTES, pieces_of
from collegium.storage.unixfs import Importer

__all__ = ["BlobFolder"]

logger = logging.getLogger(__name__)

register("folder.blob_written", "folder.blob_renamed", "folder.blob_removed")

REMEMBERED = 4096
"""Blobs whose verification a process remembers at most; a forgotten one is hashed again when it is opened."""

_Fingerprint = tuple[int, int, int]
"""inode, size, modification time: what a verified file must still have to stay so."""


class BlobFolder:
    """Blobs below one directory; several threads and processes may share it.

    path: created when missing, readable by its owner only. quota_bytes: upper limit of all blobs
    together, None for no limit.
    """

    def __init__(self, path: Path | str, *, quota_bytes: int | None = None) -> None:
        self.path = Path(path).absolute()
        self.quota_bytes = quota_bytes
        self._blobs = self.path / "blobs"
        self._incoming = self.path / "incoming"
        self._corrupt = self.path / "corrupt"
        self._lock = threading.Lock()
        self._pending = 0
        self._verified: dict[Cid, _Fingerprint] = {}
        try:
            for folder in (self.path, self._blobs, self._incoming):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFolderError(
                f"The store folder {self.path} cannot be used: {error.strerror}.",
                hint="Choose another folder or correct its permissions.",
                path=str(self.path),
            ) from error
        self._sweep()
        self._used = sum(size for _, size in self.sizes())

    @property
    def name(self) -> str:
        return self.path.as_uri()

    @property
    def used_bytes(self) -> int:
        """Bytes of all blobs as this process knows them."""
        return self._used

    # reading

    def has(self, cid: Cid) -> bool:
        """Whether a file of that name is there; its content is verified when it is read."""
        return self._file(cid).is_file()

    def size_of(self, cid: Cid) -> int:
        """Bytes of a blob.

        Raises:
            BlobNotFoundError: not here.
        """
        try:
            return self._file(cid).stat().st_size
        except FileNotFoundError:
            raise self._missing(cid) from None

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        """The blob, verified while reading.

        Raises:
            BlobNotFoundError: not here; its subclass BlobCorruptError when a damaged file was set aside.
            BlobOversizedError: longer than max_bytes.
        """
        with self._open(cid, max_bytes) as file:
            data = file.read()
        if cid_of(data) != cid:
            raise self._set_aside(cid)
        return data

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """The blob in pieces; the file is verified before the first one."""
        with self.open(cid, max_bytes=max_bytes) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def open(self, cid: Cid, *, max_bytes: int | None = None) -> BinaryIO:
        """The blob's file for reading, verified unless it was before and has not changed since."""
        file = self._open(cid, max_bytes)
        try:
            self._verify(cid, file)
        except BaseException:
            file.close()
            raise
        return file

    def path_of(self, cid: Cid, *, max_bytes: int | None = None) -> Path:
        """Path of the verified file, to map it into memory. Do not write to it.

        Raises:
            BlobNotFoundError, BlobOversizedError: as `get`.
        """
        self.open(cid, max_bytes=max_bytes).close()
        return self._file(cid)

    def list(self) -> Iterator[Cid]:
        """CIDs of everything here, in no order."""
        return (cid for cid, _ in self.sizes())

    def sizes(self) -> Iterator[tuple[Cid, int]]:
        """CID and bytes of everything here, in no order."""
        for shard in sorted(self._blobs.iterdir()):
            if not shard.is_dir():
                continue
            for file in sorted(shard.iterdir()):
                with suppress(CidError, FileNotFoundError):
                    yield parse_cid(file.name), file.stat().st_size

    # writing

    def put(self, data: Content) -> Cid:
        """Keep a blob.

        Raises:
            QuotaExceededError: it does not fit.
        """
        cid = cid_of(data)
        if not self._is_intact(cid):
            # Memory was just hashed; a file may have changed since.
            self._write(pieces_of(data), cid, None, trusted=not isinstance(data, Path))
        return cid

    def put_stream(
        self,
        pieces: Iterable[bytes | memoryview],
        *,
        expected: Cid | None = None,
        max_bytes: int | None = None,
    ) -> Cid:
        """Keep a blob that arrives in pieces; nothing is visible before all of it was verified.

        Raises:
            CidMismatchError: it is not the expected one.
            BlobOversizedError: it exceeds max_bytes.
            QuotaExceededError: it does not fit.
        """
        return self._write(pieces, expected, max_bytes, trusted=False)

    def remove(self, cid: Cid) -> bool:
        """Delete a blob; whether it was there. Whoever has it open reads on to its end."""
        file = self._file(cid)
        with self._lock:
            try:
                size = file.stat().st_size
                file.unlink()
            except FileNotFoundError:
                return False
            crashpoint("folder.blob_removed")
            self._used -= size
            self._verified.pop(cid, None)
        # Durable: what had to be forgotten must not come back with the power.
        _sync_folder(file.parent)
        return True

    # parts

    def _write(
        self,
        pieces: Iterable[bytes | memoryview],
        expected: Cid | None,
        max_bytes: int | None,
        *,
        trusted: bool,
    ) -> Cid:
        importer = Importer()
        count = reserved = 0
        with self._temporary() as (file, temporary):
            try:
                for piece in pieces:
                    count += len(piece)
                    if max_bytes is not None and count > max_bytes:
                        raise BlobOversizedError(
                            f"The blob has more than the {max_bytes} bytes allowed.", max_bytes=max_bytes
                        )
                    self._reserve(len(piece))
                    reserved += len(piece)
                    if not trusted:
                        importer.feed(piece)
                    file.write(piece)
                cid = expected if trusted and expected is not None else importer.finish()
                if expected is not None and cid != expected:
                    raise CidMismatchError(
                        f"{count} bytes with CID {cid} came instead of blob {expected}.",
                        hint="Send the blob again; it was cut short or altered on its way.",
                        cid=expected.text, found=cid.text, size=count,
                    )  # fmt: skip
                file.flush()
                os.fsync(file.fileno())
                crashpoint("folder.blob_written")
                self._publish(cid, temporary, count)
            except OSError as error:
                if error.errno in (ENOSPC, EDQUOT):
                    raise QuotaExceededError(
                        f"The disk below {self.path} is full.",
                        hint="Free some space and try again.",
                        path=str(self.path),
                    ) from error
                raise
            finally:
                with self._lock:
                    self._pending -= reserved
        return cid

    def _file(self, cid: Cid) -> Path:
        # The first characters of all CIDs are alike and the last one has few values.
        return self._blobs / cid.text[-3:-1] / cid.text

    def _missing(self, cid: Cid) -> BlobNotFoundError:
        return BlobNotFoundError(f"{self.name} does not have blob {cid}.", cid=cid.text, store=self.name)

    def _open(self, cid: Cid, max_bytes: int | None) -> BinaryIO:
        try:
            file = self._file(cid).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise self._missing(cid) from None
        size = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            file.close()
            raise BlobOversizedError(
                f"Blob {cid} has {size} bytes; at most {max_bytes} are expected.",
                cid=cid.text, size=size, max_bytes=max_bytes, store=self.name,
            )  # fmt: skip
        return file

    def _verify(self, cid: Cid, file: BinaryIO) -> None:
        fingerprint = _fingerprint(file)
        if self._verified.get(cid) == fingerprint:
            return
        if cid_of(file) != cid:
            raise self._set_aside(cid)
        file.seek(0)
        self._remember(cid, fingerprint)

    def _remember(self, cid: Cid, fingerprint: _Fingerprint) -> None:
        """Not for ever: a study of years has more blobs than a process needs to know."""
        if len(self._verified) >= REMEMBERED:
            self._verified = {}
        self._verified[cid] = fingerprint

    def _is_intact(self, cid: Cid) -> bool:
        try:
            self.open(cid).close()
        except BlobNotFoundError:
            return False
        return True

    def _set_aside(self, cid: Cid) -> BlobCorruptError:
        """Move a damaged file out of the way, so that a good copy can take its place."""
        self._corrupt.mkdir(mode=0o700, exist_ok=True)
        target = self._corrupt / f"{cid.text}.{secrets.token_hex(4)}"
        with self._lock, suppress(FileNotFoundError):
            size = self._file(cid).stat().st_size
            self._file(cid).rename(target)
            self._used -= size
            self._verified.pop(cid, None)
        logger.warning("blob %s in %s is damaged; moved to %s", cid, self.path, target)
        return BlobCorruptError(
            f"The file of blob {cid} in {self.name} has other content; it was moved to {target}.",
            hint="Fetch the blob from another store, and check the disk.",
            cid=cid.text, store=self.name, moved_to=str(target),
        )  # fmt: skip

    def _reserve(self, more: int) -> None:
        with self._lock:
            if self.quota_bytes is not None and self._used + self._pending + more > self.quota_bytes:
                self._used = sum(size for _, size in self.sizes())
                if self._used + self._pending + more > self.quota_bytes:
                    raise QuotaExceededError(
                        f"{self.name} holds {self._used} of at most {self.quota_bytes} bytes; "
                        "this blob does not fit.",
                        hint="Delete blobs of finished studies or raise the store's quota.",
                        used=self._used, quota=self.quota_bytes, store=self.name,
                    )  # fmt: skip
            self._pending += more

    @contextmanager
    def _temporary(self) -> Iterator[tuple[BinaryIO, Path]]:
        path = self._incoming / f"{os.getpid()}-{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            # Held until the end: an unlocked file here belongs to a process that died.
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            try:
                yield file, path
            finally:
                path.unlink(missing_ok=True)

    def _publish(self, cid: Cid, temporary: Path, size: int) -> None:
        target = self._file(cid)
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(self._blobs)
        if self._is_intact(cid):
            return
        with self._lock:
            is_new = not target.exists()
            temporary.rename(target)
            crashpoint("folder.blob_renamed")
            self._used += size if is_new else 0
            with target.open("rb") as file:
                self._remember(cid, _fingerprint(file))
        _sync_folder(target.parent)

    def _sweep(self) -> None:
        """Remove what writers that died left behind."""
        for file in self._incoming.iterdir():
            with suppress(OSError), file.open("rb") as handle:
                fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_young(handle):
                    file.unlink(missing_ok=True)


def _fingerprint(file: BinaryIO) -> _Fingerprint:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_young(file: BinaryIO) -> bool:
    """Whether its writer may stand between creating and locking it: empty files get the benefit."""
    status = os.fstat(file.fileno())
    return status.st_size == 0 and time.time() - status.st_mtime < 10


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
