"""What a database leaves beside itself stays small, however much is written."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from collegium.database import LOG_BYTES, LOG_PAGES, open_database

PAGE = 4096


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_write_ahead_log_is_bounded(tmp_path: Path, synchronous: str) -> None:
    path = tmp_path / "folder" / "state.sqlite"
    with closing(open_database(path, synchronous=synchronous)) as database:  # type: ignore[arg-type]
        database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, content BLOB)")
        log = path.with_name("state.sqlite-wal")
        longest = 0
        for number in range(400):
            database.execute("INSERT INTO t VALUES (?, ?)", (number, bytes(3 * PAGE)))
            longest = max(longest, log.stat().st_size)
        assert longest < (LOG_PAGES + 16) * (PAGE + 64)
        # One write larger than the limit makes the log long once; it does not stay so.
        database.execute("INSERT INTO t VALUES (1000, ?)", (bytes(8 << 20),))
        assert log.stat().st_size > 8 << 20
        database.execute("INSERT INTO t VALUES (1001, x'00')")
        database.execute("INSERT INTO t VALUES (1002, x'00')")
        assert log.stat().st_size <= LOG_BYTES + (PAGE + 64) * 16


def test_full_means_full(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "a", synchronous="FULL")) as full:
        assert full.execute("PRAGMA synchronous").fetchone() == (2,)
        assert full.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with closing(open_database(tmp_path / "b", synchronous="NORMAL")) as normal:
        assert normal.execute("PRAGMA synchronous").fetchone() == (1,)
