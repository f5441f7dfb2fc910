"""Digests and approvals of task code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from collegium.errors import TaskNotApprovedError
from collegium_client.errors import TaskInvalid
from collegium_client.task import Approvals, TaskSource


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("class Task: ...\n")
    return path


class TestDigest:
    def test_of_a_file_is_that_of_its_bytes(self, task: Path) -> None:
        assert TaskSource.read(task).digest == hashlib.sha256(task.read_bytes()).digest()

    def test_of_a_folder_covers_names_and_bytes(self, tmp_path: Path) -> None:
        folder = tmp_path / "task"
        (folder / "sub" / "__pycache__").mkdir(parents=True)
        (folder / "task.py").write_text("a")
        (folder / "sub" / "more.py").write_text("b")
        (folder / "sub" / "__pycache__" / "x.pyc").write_text("ignored")
        manifest = {name: hashlib.sha256(text).hexdigest() for name, text in (("sub/more.py", b"b"), ("task.py", b"a"))}
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
        assert TaskSource.read(folder).digest == hashlib.sha256(text.encode()).digest()
        before = TaskSource.read(folder).digest
        (folder / "sub" / "more.py").rename(folder / "sub" / "other.py")
        assert TaskSource.read(folder).digest != before

    def test_links_and_missing_entries_are_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "task"
        folder.mkdir()
        with pytest.raises(TaskInvalid, match=r"task\.py"):
            TaskSource.read(folder)
        (folder / "task.py").symlink_to("/etc/passwd")
        with pytest.raises(TaskInvalid, match="link"):
            TaskSource.read(folder)
        with pytest.raises(TaskInvalid):
            TaskSource.read(tmp_path / "nothing")


class TestApprovals:
    def test_only_approved_code_is_given_out(self, task: Path, tmp_path: Path) -> None:
        approvals, source = Approvals(tmp_path / "tasks"), TaskSource.read(task)
        with pytest.raises(TaskNotApprovedError) as refused:
            approvals.require(source.digest)
        assert refused.value.exit_code == 3
        approvals.approve(source, "mine.py")
        assert approvals.require(source.digest).digest == source.digest
        assert Approvals(tmp_path / "tasks").entries()[source.digest.hex()].name == "mine.py"

    def test_a_changed_copy_is_refused(self, task: Path, tmp_path: Path) -> None:
        approvals, source = Approvals(tmp_path / "tasks"), TaskSource.read(task)
        approvals.approve(source, "mine.py")
        (tmp_path / "tasks" / source.digest.hex() / "task.py").write_text("evil")
        with pytest.raises(TaskNotApprovedError, match="changed"):
            approvals.require(source.digest)

    def test_approval_can_be_withdrawn(self, task: Path, tmp_path: Path) -> None:
        approvals, source = Approvals(tmp_path / "tasks"), TaskSource.read(task)
        approvals.approve(source, "mine.py")
        assert approvals.withdraw(source.digest)
        assert not approvals.withdraw(source.digest)
        with pytest.raises(TaskNotApprovedError):
            approvals.require(source.digest)

    def test_a_folder_of_one_file_keeps_its_own_digest(self, tmp_path: Path) -> None:
        folder = tmp_path / "task"
        folder.mkdir()
        (folder / "task.py").write_text("a")
        approvals, source = Approvals(tmp_path / "tasks"), TaskSource.read(folder)
        approvals.approve(source, "task")
        assert approvals.require(source.digest).digest == source.digest
