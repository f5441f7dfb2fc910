"""Commands of docs/data-scientist.md: the quickstart is run as written, the others exist with these options."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from collegium_client.cli.app import cli
from scripts.setup.paths import ROOT

PAGE = (ROOT / "docs" / "data-scientist.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_quickstart_runs_as_written(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, words in {
        "python": "", "pytest": "-m pytest -p no:ape_test", "collegium": "-m collegium_client.cli"
    }.items():  # fmt: skip
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (tools / name).chmod(0o755)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": paths}
    # A person answers this question after reading.
    script = BLOCKS[0].replace("approve-task cancer/task", "approve-task cancer/task --yes")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout and "Nothing was signed or sent." in done.stdout
    assert (tmp_path / "shown" / "README.md").read_text().startswith("# What would leave")


def test_every_other_command_exists_with_its_options() -> None:
    lines = [line for block in BLOCKS for line in block.splitlines() if line.startswith("collegium ")]
    lines += re.findall(r"`(collegium [a-z][^`]*)`", PAGE)
    assert len(lines) > 10
    for line in lines:
        words = shlex.split(line)[1:]
        command, depth = cli, 0
        while hasattr(command, "get_command") and depth < len(words):
            command, depth = command.get_command(None, words[depth]), depth + 1  # type: ignore[attr-defined,arg-type]
            assert command is not None, line
        assert len(command.make_context(line, ["--help"], resilient_parsing=True).command.params) > 0
        known = {name for each in _loaded(words[:depth]).params for name in each.opts}
        for word in words[depth:]:
            assert not word.startswith("-") or word.split("=")[0] in known, f"{line}: {word}"


def _loaded(words: list[str]) -> object:
    """The real command behind a name in the tree."""
    import importlib

    from collegium_client.cli.app import _TREE

    group, name = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    module = importlib.import_module(f"collegium_client.cli.{_TREE[group][name][0]}")
    return getattr(module, "_".join(word.replace("-", "_") for word in words))
