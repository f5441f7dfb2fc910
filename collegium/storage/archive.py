"""Blobs in CAR archives: writing them from a store, and reading an archive as a store.

    export_car(path, cids, store, max_bytes=...)           blobs of a store to one file
    CarStore(path).get(cid, max_bytes=...)                  the file as a store that is only read
    import_car(path, folder)                                its blobs into a folder
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from collegium.errors import BlobError, BlobNotFoundError, CidMismatchError
from collegium.files import sync_folder
from collegium.storage.car import CarReader, CarWriter
from collegium.storage.cid import CHUNK_BYTES, DAG_PB, Cid, Content
from collegium.storage.errors import CarError, CarMissingBlockError, CarRootError, StoreReadOnlyError
from collegium.storage.folder import BlobFolder
from collegium.storage.store import Store
from collegium.storage.unixfs import Importer, read_blob

__all__ = ["CarStore", "CarSummary", "blocks_of", "export_car", "import_car"]

MAX_BLOCKS = 4 << 20
"""Blocks of one archive; an archive of empty ones would fill the memory of its reader."""

MAX_BLOB_BYTES = 4 << 30
"""Longest blob read where the caller does not know better: one block repeated may stand for terabytes."""


@dataclass(frozen=True)
class CarSummary:
    """What was written or read. bytes: of the archive; blocks: different ones in it."""

    roots: tuple[Cid, ...]
    blocks: int
    bytes: int


def blocks_of(content: Content | BinaryIO) -> Iterator[tuple[Cid, bytes]]:
    """CID and bytes of every block of a blob, each node before what is below it.

    content: bytes, a path, or a file that can be rewound, which is closed at the end. Streams: memory as `cid_of`.

    Raises:
        CidMismatchError: the file changed while it was read.
    """
    nodes: dict[bytes, bytes] = {}

    def keep(cid: Cid, block: bytes) -> None:
        if cid.codec == DAG_PB:
            nodes[cid.digest] = block

    importer = Importer(keep)
    with closing(_opened(content)) as file:
        importer.feed_file(file)
        size, root = importer.size, importer.finish()
        file.seek(0)
        walked: list[tuple[Cid, bytes]] = []

        def next_block(cid: Cid, limit: int, /) -> bytes:
            # A walk meets the leaves in the order of the file.
            block = nodes[cid.digest] if cid.codec == DAG_PB else file.read(CHUNK_BYTES)
            walked.append((cid, block))
            return block

        for _ in read_blob(root, next_block, max_bytes=size):
            yield from walked
            walked.clear()


def export_car(
    path: Path,
    cids: Iterable[Cid],
    store: Store,
    *,
    max_bytes: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CarSummary:
    """Write blobs, the roots of a new CARv1, to a file that is there whole or not at all.

    max_bytes: of each blob. progress: blobs done and in all.

    Raises:
        BlobNotFoundError, BlobUnavailableError, BlobOversizedError, CidMismatchError: as the store.
        CarError: no CID is given.
    """
    roots = tuple(dict.fromkeys(cids))
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            writer = CarWriter(file, roots)
            for done, cid in enumerate(roots):
                progress(done, len(roots))
                for name, block in _blocks_in(store, cid, path.parent, max_bytes):
                    writer.add(name, block)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    progress(len(roots), len(roots))
    return CarSummary(roots, writer.blocks, writer.bytes)


class CarStore:
    """An archive as a store that is only read from.

    Opening reads the whole file once: every block is verified against its CID and remembered by place, so memory
    grows with the number of blocks and not with their size. Blobs need not be roots.

    Raises:
        CarError: see `CarReader`; CarRootError: the header names no root.
        FileNotFoundError and other OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self.duplicates = 0
        with self.path.open("rb", buffering=1 << 20) as file:
            reader = CarReader(file, name=str(path))
            for block in reader:
                if block.cid.digest in self._places:
                    self.duplicates += 1
                    continue
                self._places[block.cid.digest] = (block.offset, len(block.data))
                if len(self._places) > MAX_BLOCKS:
                    raise CarError(f"{path} has more than {MAX_BLOCKS} blocks.", hint="Split the archive.")
            self.roots = reader.roots
            self.version = reader.version
            self.bytes = file.tell()
        if not self.roots:
            raise CarRootError(f"{path} names no root.", hint="Export it anew, with the CIDs it should hold.")

    @property
    def name(self) -> str:
        return self.path.as_uri().replace("file:", "car:", 1)

    @property
    def blocks(self) -> int:
        """Different blocks in the archive."""
        return len(self._places)

    def put(self, data: Content) -> Cid:
        """Raises StoreReadOnlyError."""
        raise StoreReadOnlyError(f"{self.name} is an archive; it is only read.", hint="Write to another store.")

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        """The blob.

        Raises:
            BlobNotFoundError: its root block is not here. CarMissingBlockError: one below it is not.
            BlobOversizedError, UnixFsError, CidMismatchError (the file changed after it was opened).
        """
        return b"".join(self.stream(cid, max_bytes=max_bytes))

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        """The blob leaf by leaf, each one verified."""
        if cid.digest not in self._places:
            raise BlobNotFoundError(f"{self.name} does not have blob {cid}.", cid=cid.text, store=self.name)
        with self.path.open("rb") as file:

            def block(asked: Cid, limit: int, /) -> bytes:
                return self._block(file, asked, blob=cid)

            yield from read_blob(cid, block, max_bytes=max_bytes)

    def has(self, cid: Cid) -> bool:
        """Whether every block of the blob is here."""
        try:
            for _ in self.stream(cid, max_bytes=MAX_BLOB_BYTES):
                pass
        except (BlobNotFoundError, CarMissingBlockError, BlobError):
            return False
        return True

    def check(self, expected: Sequence[Cid] | None = None, *, max_bytes: int = MAX_BLOB_BYTES) -> None:
        """Every root is whole and, when given, the roots are exactly the expected ones in any order.

        max_bytes: of each blob.

        Raises:
            CarRootError, CarMissingBlockError, UnixFsError, BlobOversizedError, CidMismatchError.
        """
        if expected is not None and set(expected) != set(self.roots):
            missing = sorted(set(expected) - set(self.roots))
            foreign = sorted(set(self.roots) - set(expected))
            wrong = [*(f"it lacks {cid}" for cid in missing), *(f"it has {cid}" for cid in foreign)]
            raise CarRootError(
                f"{self.path} has other roots than expected: {'; '.join(wrong[:4])}.",
                hint="It is another archive, or one for other blobs.",
                missing=[cid.text for cid in missing], foreign=[cid.text for cid in foreign],
            )  # fmt: skip
        for root in self.roots:
            self._require(root, root)
            for _ in self.stream(root, max_bytes=max_bytes):
                pass

    def _require(self, cid: Cid, blob: Cid) -> tuple[int, int]:
        place = self._places.get(cid.digest)
        if place is None:
            raise CarMissingBlockError(
                f"{self.path} lacks block {cid} of blob {blob}.",
                hint="The archive is incomplete; get it again or export it anew.",
                cid=blob.text, block=cid.text, archive=str(self.path),
            )  # fmt: skip
        return place

    def _block(self, file: BinaryIO, cid: Cid, *, blob: Cid) -> bytes:
        offset, length = self._require(cid, blob)
        file.seek(offset)
        return file.read(length)


def import_car(
    path: Path,
    folder: BlobFolder,
    *,
    expected: Sequence[Cid] | None = None,
    max_bytes: int = MAX_BLOB_BYTES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CarSummary:
    """Put the blobs that the roots of an archive name into a folder; nothing is stored before all of it was checked.

    expected: the roots it must have. max_bytes: of each blob.

    Raises:
        CarError, UnixFsError, CidMismatchError: the archive is not whole or not what it should be.
        BlobOversizedError, QuotaExceededError: a blob is too large.
    """
    archive = CarStore(path)
    archive.check(expected, max_bytes=max_bytes)
    for done, root in enumerate(archive.roots):
        progress(done, len(archive.roots))
        folder.put_stream(archive.stream(root, max_bytes=max_bytes), expected=root, max_bytes=max_bytes)
    progress(len(archive.roots), len(archive.roots))
    return CarSummary(archive.roots, archive.blocks, archive.bytes)


def _opened(content: Content | BinaryIO) -> BinaryIO:
    import io

    if isinstance(content, Path):
        return content.open("rb")
    if isinstance(content, (bytes, bytearray, memoryview)):
        return io.BytesIO(content)
    content.seek(0)
    return content


def _blocks_in(store: Store, cid: Cid, scratch: Path, max_bytes: int) -> Iterator[tuple[Cid, bytes]]:
    """Blocks of one blob of a store; a store that is no folder is read into an unnamed file first."""
    if isinstance(store, BlobFolder):
        yield from _expect(blocks_of(store.path_of(cid, max_bytes=max_bytes)), cid)
        return
    with tempfile.TemporaryFile(dir=scratch) as file:
        for piece in store.stream(cid, max_bytes=max_bytes):
            file.write(piece)
        yield from _expect(blocks_of(file), cid)


def _expect(blocks: Iterator[tuple[Cid, bytes]], cid: Cid) -> Iterator[tuple[Cid, bytes]]:
    """The blocks, if the first of them is the root asked for."""
    is_first = True
    for name, block in blocks:
        if is_first and name != cid:
            raise CidMismatchError(f"The store gave {name} instead of blob {cid}.", cid=cid.text, found=name.text)
        is_first = False
        yield name, block
