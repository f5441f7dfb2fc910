"""What a soak writes down while it runs: memory of processes, bytes of homes, rounds and kills, one JSON object a line.

    {"kind": "memory", "time": s, "round": n, "name": "north", "pid": 1, "rss": bytes}        children included
    {"kind": "disk", "time": s, "round": n, "name": "north", "folders": {"store": bytes}}
    {"kind": "kill", "time": s, "round": n, "name": "north"}
    {"kind": "round", "time": s, "round": n, "seconds": s}                                     when it was final
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import psutil

__all__ = ["Journal", "bytes_by_folder", "family_of", "is_side_file", "read_journal", "rss_of"]

KEPT_APART = ("state", "logs")
"""Folders of a home whose files are counted one by one."""
SIDE_FILES = ("-wal", "-shm")


class Journal:
    """Appends samples to one file; time counts from its start."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._started = time.monotonic()

    def write(self, kind: str, *, round: int, **fields: Any) -> None:
        entry = {"kind": kind, "time": round_to(time.monotonic() - self._started, 3), "round": round, **fields}
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._file.flush()

    def sample_memory(self, processes: Mapping[str, int], *, round: int) -> None:
        """processes: name to pid; those that are gone are left out."""
        for name, pid in processes.items():
            rss = rss_of(pid)
            if rss:
                self.write("memory", round=round, name=name, pid=pid, rss=rss)

    def sample_disk(self, homes: Mapping[str, Path], *, round: int) -> None:
        for name, home in homes.items():
            self.write("disk", round=round, name=name, folders=bytes_by_folder(home))

    def close(self) -> None:
        self._file.close()


def round_to(value: float, digits: int) -> float:
    return float(f"{value:.{digits}f}")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All samples; a last line that was cut off is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def family_of(pid: int) -> list[psutil.Process]:
    """The process and everything it started; empty when it is gone."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def rss_of(pid: int) -> int:
    """Resident bytes of a process with its children; 0 when it is gone."""
    total = 0
    for process in family_of(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def bytes_by_folder(home: Path) -> dict[str, int]:
    """Bytes below a home by first folder, by file in `state` and `logs`; write-ahead logs under names of their own.

    A database counts with the pages that still lie in its write-ahead log: what is copied when says nothing of growth.
    """
    found: dict[str, int] = {}
    for path, size in _files(home):
        parts = path.relative_to(home).parts
        name = parts[0]
        if name in KEPT_APART and len(parts) > 1:
            name = f"{parts[0]}/{parts[1]}"
        name = _without_key(name)
        found[name] = found.get(name, 0) + size
    return found


def _files(home: Path) -> Iterator[tuple[Path, int]]:
    for path in home.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                yield path, _pages_of(path) if path.suffix == ".sqlite" else path.stat().st_size


def _pages_of(path: Path) -> int:
    """Bytes of a database as a reader sees it; of its file when it cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as db:
            (count,), (size,) = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
            return int(count) * int(size)
    except sqlite3.Error:
        return path.stat().st_size


def _without_key(name: str) -> str:
    """`state/outbox-1a2b3c4d.sqlite` of every party under one name."""
    if not name.startswith("state/outbox-"):
        return name
    return "state/outbox" + name[len("state/outbox-") + 8 :]


def is_side_file(name: str) -> bool:
    """Whether it is a write-ahead log: bounded by its own rule, not by rounds."""
    return name.endswith(SIDE_FILES)
