"""A SQLite file as every role keeps its state: a write-ahead log, and little memory and disk beside the data."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

__all__ = ["open_database"]

LOG_PAGES = 256
"""Pages after which the write-ahead log is copied into the database; with four databases a home that matters."""
LOG_BYTES = 1 << 20
"""What is kept of a longer one, afterwards."""
CACHE_KIB = 512


def open_database(path: Path, *, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """A connection for several threads under a lock of theirs; transactions are begun by hand.

    synchronous: FULL has every commit on the disk; NORMAL may lose the last ones with the power, not with the process.
    Makes the folder. Raises sqlite3.OperationalError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"PRAGMA synchronous={synchronous}")
        database.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        database.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    except BaseException:
        database.close()
        raise
    return database
