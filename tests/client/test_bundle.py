"""Tasks in stores: found by the digest alone, whatever they consist of, and refused when hostile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collegium.errors import BlobNotFoundError
from collegium.storage import BlobFolder, cid_from_digest
from collegium_client.bundle import fetch_task, task_blobs
from collegium_client.errors import TaskInvalid
from collegium_client.task import TaskSource


@pytest.fixture
def store(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    task = tmp_path / "task"
    (task / "parts").mkdir(parents=True)
    (task / "task.py").write_text("from parts import net\n")
    (task / "parts" / "net.py").write_text("LAYERS = 2\n")
    (task / "parts" / "__init__.py").write_bytes(b"")
    (task / "schema.toml").write_text('note = "Größe"\n')
    return task


def publish(store: BlobFolder, source: TaskSource) -> None:
    for blob in task_blobs(source):
        store.put(blob)


class TestFetch:
    def test_a_folder_comes_back_whole(self, store: BlobFolder, folder: Path) -> None:
        source = TaskSource.read(folder)
        publish(store, source)
        fetched = fetch_task(store, source.digest)
        assert fetched == source and fetched.digest == source.digest

    def test_a_file_comes_back(self, store: BlobFolder, folder: Path) -> None:
        source = TaskSource.read(folder / "task.py")
        publish(store, source)
        assert fetch_task(store, source.digest) == source

    def test_a_missing_file_is_told(self, store: BlobFolder, folder: Path) -> None:
        source = TaskSource.read(folder)
        store.put(source.manifest)
        with pytest.raises(BlobNotFoundError):
            fetch_task(store, source.digest)

    def test_a_file_too_large_to_be_found_is_refused_before_publishing(self, folder: Path) -> None:
        (folder / "weights.bin").write_bytes(bytes((1 << 20) + 1))
        with pytest.raises(TaskInvalid, match=r"weights\.bin"):
            task_blobs(TaskSource.read(folder))


class TestHostileManifests:
    @pytest.mark.parametrize(
        "name",
        ["../evil.py", "/etc/cron.d/evil", "a/../../b.py", ".hidden/x.py", "a//b.py", "a\\b.py", "C:/x.py", "a\n.py",
         "a\x1b[2J.py", "x" * 300, "/".join("abcdefghijklmnopqrst")],
    )  # fmt: skip
    def test_paths_outside_are_refused(self, store: BlobFolder, name: str) -> None:
        assert _refused(store, {"task.py": "0" * 64, name: "0" * 64})

    def test_a_file_inside_a_file_is_refused(self, store: BlobFolder) -> None:
        assert _refused(store, {"task.py": "0" * 64, "task.py/x.py": "0" * 64})

    def test_a_digest_that_is_none_is_refused(self, store: BlobFolder) -> None:
        assert _refused(store, {"task.py": "0" * 63 + "G"})

    def test_too_many_files_are_refused(self, store: BlobFolder) -> None:
        assert _refused(store, {"task.py": "0" * 64, **{f"{at}.py": "0" * 64 for at in range(1000)}})

    def test_json_that_is_not_canonical_is_a_task_of_one_file(self, store: BlobFolder) -> None:
        data = b'{"task.py": "' + b"0" * 64 + b'"}'
        cid = store.put(data)
        assert fetch_task(store, cid.digest).files == (("task.py", data),)


def _refused(store: BlobFolder, manifest: dict[str, str]) -> bool:
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    digest = store.put(data).digest
    assert cid_from_digest(digest, 0) == store.put(data)
    with pytest.raises(TaskInvalid):
        fetch_task(store, digest)
    return True
