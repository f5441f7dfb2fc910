"""Whatever command a page shows exists, with the options it shows: programs, make targets, modules, Ape commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich_click as click

from collegium.cli.framework import Parent
from collegium_client.cli.app import cli
from collegium_coordinator.cli import cli as coordinator
from scripts.setup.paths import ROOT
from tests.docs.pages import blocks, pages

PROGRAMS = {"collegium": cli, "collegium-coordinator": coordinator}
_INLINE = re.compile(r"`((?:collegium(?:-coordinator)?|make|python3? -m|ape run) [^`]+)`")
_STARTS = ("collegium ", "collegium-coordinator ", "make ", "python -m ", "ape run ", ".venv/bin/")
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def typed(text: str) -> Iterator[str]:
    """Command lines of a script."""
    for line in text.replace("\\\n", " ").splitlines():
        # Loops, pipes and substitutions hold commands, too.
        for part in re.split(r"\$\(|[;|&]+|\bdo\b|\bthen\b", re.sub(r"\s+#.*", "", line)):
            command = re.sub(r"\s{2,}.*", "", part.strip().removeprefix("$ ").rstrip(")"))
            if command.startswith(_STARTS):
                yield command.removeprefix(".venv/bin/")


def shown(page: Path, *, inline: bool = True) -> Iterator[tuple[int, str]]:
    """Line and command, of fenced blocks and, if `inline`, of code in the text."""
    for block in blocks(page):
        if block.language in ("", "sh", "bash", "shell", "console"):
            yield from ((block.line, command) for command in typed(block.text))
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines() if inline else (), 1):
        for found in _INLINE.finditer(line):
            yield number, found[1]


def check_click(program: str, words: list[str]) -> str | None:
    """What is wrong with a command line of ours; None when nothing is."""
    found: Any = PROGRAMS[program]
    context = click.Context(found)
    path = program
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        step = found.get_command(context, name)
        if step is None:
            # "collegium study pause|resume" and the like list several.
            return None if re.search(r"[|…<\[]|\.\.\.", name) else f"`{path}` has no command {name!r}"
        found, path = step, f"{path} {name}"
    if isinstance(found, click.Group):
        return None
    loaded = found.load()
    if isinstance(loaded, Parent) and words and words[0] in loaded.commands:
        name = words.pop(0)
        loaded, path = loaded.commands[name], f"{path} {name}"
    known = {option for parameter in loaded.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    for word in words:
        option = word.strip("[]().,…").partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", option) and option not in known:
            return f"`{path}` has no option {option}"
    return None


def check(command: str) -> str | None:
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = command.split()
    if words[0] in PROGRAMS:
        return check_click(words[0], words[1:])
    if words[0] == "make":
        missing = [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word) and word not in _TARGETS]
        return f"there is no make target {missing[0]!r}" if missing else None
    if words[:2] in (["python", "-m"], ["python3", "-m"]) and len(words) > 2:
        try:
            return None if importlib.util.find_spec(words[2]) else f"there is no module {words[2]}"
        except ModuleNotFoundError:
            return f"there is no module {words[2]}"
    if words[:2] == ["ape", "run"] and len(words) > 2:
        return None if (ROOT / "scripts" / f"{words[2]}.py").exists() else f"there is no Ape command {words[2]}"
    return None


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    found = ((line, command, check(command)) for line, command in shown(page))
    wrong = [f"{page.name}:{line}: {command}\n    {reason}" for line, command, reason in found if reason]
    assert not wrong, "\n".join(wrong)


def test_wrong_ones_are_found() -> None:
    """The check itself can fail."""
    for command in (
        "collegium stud list", "collegium study lst", "collegium study list --jsn", "make tset",
        "python -m scripts.nothing", "ape run nothing", "collegium-coordinator run --port 1",
    ):  # fmt: skip
        assert check(command), command
    for command in ("collegium study list --json", "make demo STORE=kubo", "collegium audit --study 1", "collegium"):
        assert check(command) is None, command


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links of a page point at files that exist."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path = target.partition("#")[0]
        if path and "://" not in path and not path.startswith("mailto:") and not (page.parent / path).exists():
            broken.append(target)
    assert not broken
