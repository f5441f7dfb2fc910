"""The demo empties what a demo left, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.errors import UsageError
from scripts.demo.federation import MARKER, empty


def test_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "report.html").touch()
    empty(tmp_path)
    assert not tmp_path.exists()


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="no demo made"):
        empty(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_new_and_empty_folders_are_fine(tmp_path: Path) -> None:
    empty(tmp_path)
    empty(tmp_path / "new")
