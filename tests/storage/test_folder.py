"""Blob folders: whole or absent, verified, bounded, and safe against a kill at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidMismatchError,
    QuotaExceededError,
)
from collegium.storage.cid import cid_of
from collegium.storage.errors import BlobCorruptError, StoreFolderError
from collegium.storage.folder import BlobFolder
from collegium.storage.store import OwnStore

from .actors import MIB, keystream


def files_in(folder: BlobFolder) -> list[Path]:
    return [path for path in folder.path.rglob("*") if path.is_file()]


def file_of(folder: BlobFolder) -> Path:
    [path] = files_in(folder)
    return path


class TestKeeping:
    @given(data=st.one_of(st.binary(max_size=200), st.integers(0, 3 * MIB).map(lambda size: bytes(size))))
    def test_what_is_put_is_read(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        folder = BlobFolder(tmp_path_factory.mktemp("store"))
        cid = folder.put(data)
        assert cid == cid_of(data)
        assert folder.has(cid)
        assert folder.get(cid, max_bytes=len(data)) == data
        assert b"".join(folder.stream(cid, max_bytes=len(data))) == data
        assert folder.path_of(cid).read_bytes() == data
        assert list(folder.list()) == [cid]
        assert folder.used_bytes == folder.size_of(cid) == len(data)

    def test_file_is_put_like_its_bytes(self, folder: BlobFolder, tmp_path: Path) -> None:
        path = tmp_path / "blob"
        path.write_bytes(bytes(2 * MIB))
        assert folder.put(path) == cid_of(bytes(2 * MIB))

    def test_second_put_changes_nothing(self, folder: BlobFolder) -> None:
        folder.put(b"data")
        folder.put(b"data")
        assert folder.used_bytes == 4
        assert len(files_in(folder)) == 1

    def test_missing_blob_is_named(self, folder: BlobFolder) -> None:
        cid = cid_of(b"absent")
        assert not folder.has(cid)
        with pytest.raises(BlobNotFoundError, match=cid.text):
            folder.get(cid, max_bytes=10)
        with pytest.raises(BlobNotFoundError):
            folder.size_of(cid)
        assert not folder.remove(cid)

    def test_too_long_a_blob_is_not_read(self, folder: BlobFolder) -> None:
        cid = folder.put(b"12345")
        with pytest.raises(BlobOversizedError):
            folder.get(cid, max_bytes=4)
        with pytest.raises(BlobOversizedError):
            folder.path_of(cid, max_bytes=4)

    def test_deleted_blob_frees_its_bytes(self, folder: BlobFolder) -> None:
        cid = folder.put(b"data")
        assert folder.remove(cid)
        assert not folder.has(cid)
        assert folder.used_bytes == 0

    def test_removed_blob_is_read_on_by_who_has_it_open(self, folder: BlobFolder) -> None:
        cid, other = folder.put(b"data"), folder.put(b"other")
        with folder.open(cid) as file:
            assert folder.remove(cid)
            assert file.read() == b"data"
        assert list(folder.list()) == [other]
        assert isinstance(folder, OwnStore)

    def test_reopened_folder_knows_its_blobs(self, folder: BlobFolder) -> None:
        cid = folder.put(b"data")
        again = BlobFolder(folder.path)
        assert again.used_bytes == 4
        assert list(again.list()) == [cid]

    def test_strange_files_are_passed_over(self, folder: BlobFolder) -> None:
        cid = folder.put(b"data")
        (folder.path / "blobs" / "notes.txt").write_text("mine")
        (folder.path / "blobs" / cid.text[-3:-1] / "README").write_text("mine")
        assert list(BlobFolder(folder.path).list()) == [cid]

    def test_files_are_private(self, folder: BlobFolder) -> None:
        folder.put(b"data")
        assert file_of(folder).stat().st_mode & 0o077 == 0
        assert folder.path.stat().st_mode & 0o077 == 0

    def test_folder_below_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreFolderError, match="cannot be used"):
            BlobFolder(tmp_path / "file" / "store")


class TestDamage:
    @pytest.mark.parametrize("reader", ["get", "stream", "path_of", "open"])
    def test_damaged_file_counts_as_missing(self, folder: BlobFolder, reader: str) -> None:
        cid = folder.put(b"data")
        path = file_of(folder)
        path.write_bytes(b"dead")
        os.utime(path, ns=(1, 1))
        fresh = BlobFolder(folder.path)
        with pytest.raises(BlobCorruptError, match="moved to"):
            outcome = getattr(fresh, reader)(cid, max_bytes=10)
            list(outcome)
        assert not fresh.has(cid)
        assert [path.read_bytes() for path in files_in(fresh)] == [b"dead"]
        assert fresh.used_bytes == 0

    def test_what_was_verified_is_not_remembered_for_ever(
        self, folder: BlobFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collegium.storage.folder.REMEMBERED", 3)
        cids = [folder.put(bytes([number])) for number in range(10)]
        assert len(folder._verified) <= 3
        for number, cid in enumerate(cids):
            with folder.open(cid) as file:
                assert file.read() == bytes([number])
        assert len(folder._verified) <= 3

    def test_change_after_verification_is_seen(self, folder: BlobFolder) -> None:
        cid = folder.put(b"data")
        folder.path_of(cid)
        file_of(folder).write_bytes(b"dead!")
        with pytest.raises(BlobCorruptError):
            folder.path_of(cid)

    def test_put_heals_a_damaged_file(self, folder: BlobFolder) -> None:
        cid = folder.put(b"data")
        file_of(folder).write_bytes(b"")
        assert BlobFolder(folder.path).put(b"data") == cid
        assert folder.get(cid, max_bytes=4) == b"data"


class TestStreams:
    def test_other_bytes_leave_nothing(self, folder: BlobFolder) -> None:
        with pytest.raises(CidMismatchError):
            folder.put_stream([b"da", b"ta!"], expected=cid_of(b"data"))
        assert files_in(folder) == []
        assert folder.used_bytes == 0

    def test_too_many_bytes_stop_early(self, folder: BlobFolder) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(MIB)

        with pytest.raises(BlobOversizedError):
            folder.put_stream(endless(), max_bytes=3 * MIB)
        assert files_in(folder) == []

    def test_failing_source_leaves_nothing(self, folder: BlobFolder) -> None:
        def broken() -> Iterator[bytes]:
            yield b"da"
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            folder.put_stream(broken(), expected=cid_of(b"data"))
        assert files_in(folder) == []

    def test_many_at_once_leave_one(self, folder: BlobFolder) -> None:
        data = b"".join(keystream("many", 2 * MIB))
        threads = [threading.Thread(target=folder.put, args=(data,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert folder.get(cid_of(data), max_bytes=len(data)) == data
        assert len(files_in(folder)) == 1
        assert folder.used_bytes == len(data)


class TestQuota:
    def test_blob_beyond_the_quota_is_refused(self, tmp_path: Path) -> None:
        folder = BlobFolder(tmp_path, quota_bytes=10)
        first = folder.put(b"123456")
        with pytest.raises(QuotaExceededError, match="does not fit"):
            folder.put(b"12345")
        assert list(folder.list()) == [first]
        folder.remove(first)
        folder.put(b"1234567890")

    def test_what_another_process_deleted_is_noticed(self, tmp_path: Path) -> None:
        folder = BlobFolder(tmp_path, quota_bytes=10)
        cid = folder.put(b"123456")
        BlobFolder(tmp_path).remove(cid)
        folder.put(b"1234567")

    def test_refused_blobs_do_not_use_up_the_quota(self, tmp_path: Path) -> None:
        folder = BlobFolder(tmp_path, quota_bytes=10)
        for _ in range(5):
            with pytest.raises(QuotaExceededError):
                folder.put(bytes(11))
            with pytest.raises(CidMismatchError):
                folder.put_stream([bytes(9)], expected=cid_of(b""))
        folder.put(bytes(10))


WRITER = """
import sys, time
from collegium.storage.folder import BlobFolder

folder = BlobFolder(sys.argv[1])
folder.put(b"first")

def pieces():
    yield bytes(1 << 20)
    print("writing", flush=True)
    time.sleep(60)

folder.put_stream(pieces())
"""


class TestKill:
    def test_killed_writer_leaves_nothing_visible(self, tmp_path: Path) -> None:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        during = BlobFolder(tmp_path)
        assert list(during.list()) == [cid_of(b"first")]
        assert len(files_in(during)) == 2, "a living writer keeps its temporary file"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        after = BlobFolder(tmp_path)
        assert list(after.list()) == [cid_of(b"first")]
        assert len(files_in(after)) == 1
        assert after.used_bytes == 5
