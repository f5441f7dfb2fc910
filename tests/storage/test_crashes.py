"""kill -9 at every named point of folders and files: what is there is whole, and the next writer goes on."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import collegium.storage.folder  # noqa: F401
from collegium.crashpoints import registered
from collegium.files import write_atomically
from collegium.storage.cid import cid_of
from collegium.storage.folder import BlobFolder

PUT = "from collegium.storage.folder import BlobFolder; BlobFolder(FOLDER).put(b'blob')"
REMOVE = f"{PUT}; BlobFolder(FOLDER).remove(__import__('collegium.storage').storage.cid_of(b'blob'))"
WRITE = "from collegium.files import write_atomically; write_atomically(FOLDER / 'file', b'new')"
FOLDER = {
    "folder.blob_written": (PUT, False),
    "folder.blob_renamed": (PUT, True),
    "folder.blob_removed": (REMOVE, False),
}
FILES = {"files.written": b"old", "files.replaced": b"new"}


def kill_at(point: str, act: str, folder: Path) -> None:
    code = f"import sys; from pathlib import Path; FOLDER = Path(sys.argv[1]); {act}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env={**os.environ, "COLLEGIUM_CRASH_AT": point}, check=False
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", FOLDER)
def test_killed_folder_has_the_whole_blob_or_none(tmp_path: Path, point: str) -> None:
    act, is_there = FOLDER[point]
    kill_at(point, act, tmp_path)
    after = BlobFolder(tmp_path)
    assert list(after.list()) == ([cid_of(b"blob")] if is_there else [])
    assert after.used_bytes == (4 if is_there else 0)
    assert not list((tmp_path / "incoming").iterdir()), "the next opening sweeps up"
    assert after.get(after.put(b"blob"), max_bytes=4) == b"blob"


@pytest.mark.parametrize("point", FILES)
def test_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, point: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    kill_at(point, WRITE, tmp_path)
    assert (tmp_path / "file").read_bytes() == FILES[point]


def test_next_writer_sweeps_up_after_a_killed_one_and_leaves_the_living_alone(tmp_path: Path) -> None:
    kill_at("files.written", WRITE, tmp_path)
    (left,) = tmp_path.iterdir()
    with (tmp_path / ".file.0123456789ab").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        living.write(b"half")
        living.flush()
        (tmp_path / ".other.0123456789ab").write_bytes(b"of another file")
        write_atomically(tmp_path / "file", b"new")
        assert not left.exists()
        assert sorted(each.name for each in tmp_path.iterdir()) == [".file.0123456789ab", ".other.0123456789ab", "file"]


def test_every_named_point_is_killed_at() -> None:
    named = {name for name in registered() if name.startswith(("folder.", "files."))}
    assert named == {*FOLDER, *FILES}
