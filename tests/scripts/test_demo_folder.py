"""The demo empties what a demo left, and nothing else; the last results stay until there are new ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collegium.errors import UsageError
from scripts.demo import results
from scripts.demo.results import MARKER, PAGES, RESULTS, UNFINISHED_PAGES, empty, publish


def test_folder_of_an_earlier_demo_is_emptied_but_for_its_results(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    for name in ("homes", "logs", UNFINISHED_PAGES, PAGES):
        (tmp_path / name).mkdir()
    for name in ("report.html", "summary.json", "plan.toml"):
        (tmp_path / name).touch()
    empty(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {MARKER, *RESULTS}


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="no demo made"):
        empty(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_new_and_empty_folders_are_fine(tmp_path: Path) -> None:
    empty(tmp_path)
    empty(tmp_path / "new")


def test_new_results_take_the_place_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "render", lambda summary: f"round {summary['rounds']}")
    for rounds in (1, 2):
        (tmp_path / UNFINISHED_PAGES).mkdir()
        (tmp_path / UNFINISHED_PAGES / "index.html").write_text(str(rounds))
        publish(tmp_path, {"rounds": rounds})
    assert (tmp_path / "report.html").read_text() == "round 2" and (tmp_path / PAGES / "index.html").read_text() == "2"
    assert json.loads((tmp_path / "summary.json").read_text()) == {"rounds": 2}


def test_a_report_that_cannot_be_made_leaves_the_last(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("round 1")
    (tmp_path / PAGES).mkdir()
    (tmp_path / UNFINISHED_PAGES).mkdir()
    with pytest.raises(KeyError):
        publish(tmp_path, {})
    assert (tmp_path / "report.html").read_text() == "round 1" and (tmp_path / PAGES).exists()
