"""Who brought which blob into a folder: the basis of the quota of each writer."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from collegium.errors import CollegiumError, QuotaExceededError
from collegium.storage.cid import Cid, parse_cid
from collegium.storage.folder import BlobFolder

__all__ = ["WriterLedger"]


@dataclass(frozen=True)
class _Entry:
    key: str
    size: int


class WriterLedger:
    """Bytes by node key, kept in `writers.jsonl` beside the blobs.

    A blob counts for the key that brought it first, as long as the blob is there.
    """

    def __init__(self, folder: BlobFolder, *, quota_bytes: int | None) -> None:
        self._folder = folder
        self._quota = quota_bytes
        self._path = folder.path / "writers.jsonl"
        self._lock = threading.Lock()
        self._entries: dict[Cid, _Entry] = {}
        self._pending: dict[str, int] = {}
        self._load()

    def used_bytes(self, key: str) -> int:
        """Bytes this key brought and that are still here or on their way."""
        with self._lock:
            return self._used(key)

    def check(self, key: str, size: int) -> None:
        """Raise QuotaExceededError if `size` more bytes of this key would not fit."""
        with self._lock:
            self._check(key, size)

    @contextmanager
    def admit(self, key: str, cid: Cid, size: int) -> Iterator[None]:
        """Hold `size` bytes for a blob on its way; it is charged to the key when the block ends well.

        Raises:
            QuotaExceededError: it does not fit.
        """
        with self._lock:
            self._check(key, size)
            self._pending[key] = self._pending.get(key, 0) + size
        try:
            yield
            self._record(key, cid, size)
        finally:
            with self._lock:
                self._pending[key] -= size

    def _used(self, key: str) -> int:
        return self._pending.get(key, 0) + sum(entry.size for entry in self._entries.values() if entry.key == key)

    def _check(self, key: str, size: int) -> None:
        if self._quota is None or self._used(key) + size <= self._quota:
            return
        self._entries = {cid: entry for cid, entry in self._entries.items() if self._folder.has(cid)}
        used = self._used(key)
        if used + size > self._quota:
            raise QuotaExceededError(
                f"Key {key} has {used} of at most {self._quota} bytes in this store; {size} more do not fit.",
                hint="Ask the coordinator to delete blobs of finished rounds or to raise the quota.",
                key=key, used=used, quota=self._quota, size=size,
            )  # fmt: skip

    def _record(self, key: str, cid: Cid, size: int) -> None:
        with self._lock:
            if cid in self._entries:
                return
            self._entries[cid] = _Entry(key, size)
            line = json.dumps({"cid": cid.text, "key": key, "bytes": size}, separators=(",", ":")) + "\n"
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _load(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            # A line cut short by a crash belongs to a blob that then counts for nobody.
            with suppress(ValueError, KeyError, TypeError, CollegiumError):
                entry = json.loads(line)
                cid = parse_cid(entry["cid"])
                if self._folder.has(cid):
                    self._entries.setdefault(cid, _Entry(str(entry["key"]), int(entry["bytes"])))
        self._rewrite_after_crash(lines)

    def _rewrite_after_crash(self, lines: list[bytes]) -> None:
        """End a torn last line, so that the next entry stands on its own."""
        if lines and not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("ab") as file:
                file.write(b"\n")
                file.flush()
                os.fsync(file.fileno())
