"""Dependencies: every one allowed by its license, and a check that can fail. tests/test_pins.py: versions, hashes."""

from __future__ import annotations

import fnmatch
import sys
import tomllib

import pytest

from scripts.security import dependencies
from scripts.security.dependencies import RULES, License, ask, check_licenses, installed, pins


def test_every_installed_dependency_has_an_allowed_license() -> None:
    listed = list(installed())
    # Far fewer than pinned would mean that nothing was looked at.
    assert len(listed) > 50
    assert check_licenses(listed) == []


def test_every_exception_is_still_needed() -> None:
    names = set(pins())
    for pattern in tomllib.loads(RULES.read_text())["exceptions"]:
        assert any(fnmatch.fnmatch(name, pattern) for name in names), pattern


@pytest.mark.parametrize("names", [("GPL-3.0",), (), ("MIT", "AGPL-3.0"), ("Proprietary",)])
def test_other_licenses_are_found(names: tuple[str, ...]) -> None:
    assert check_licenses([License("stranger", names)])


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("print('Found 1 known vulnerability'); raise SystemExit(1)", 1),
        ("print('npm error audit endpoint returned an error'); raise SystemExit(1)", 5),
    ],
)
def test_answers_of_the_tools_are_told_apart(script: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("Packages", [sys.executable, "-c", script]) == code
    assert "Packages" in capsys.readouterr().out
    assert ask("Packages", ["no-such-program-anywhere"]) == 5


def test_offline_run_needs_no_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert dependencies.main(["--offline"]) == 0
    assert "packages, each allowed" in capsys.readouterr().out
