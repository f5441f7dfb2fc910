"""How long `--help` of every command takes, from the start of the process to its end.

Absolute seconds have a bar. Beside them stand the processor's own seconds, which a busy machine changes little, and
what the bare interpreter takes in the same moments.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from collegium.cli.framework import Parent

from .measure import Results

__all__ = ["commands_below", "programs", "run"]

RUNS = 3
BAR_SECONDS = 0.3
BIN = Path(sys.executable).parent


def programs() -> dict[str, click.Group]:
    """The command trees by program."""
    from collegium_client.cli.app import cli as client
    from collegium_coordinator.cli import cli as coordinator

    return {"collegium": client, "collegium-coordinator": coordinator}


def commands_below(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group, the root's empty ones first."""
    yield path
    load = getattr(command, "load", None)
    command = load() if load is not None else command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=" ".join(path))
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from commands_below(found, (*path, name))
    elif isinstance(command, Parent):
        for name, found in command.commands.items():
            yield from commands_below(found, (*path, name))


def run(results: Results) -> None:
    """Time them all."""
    print("startup of every command")
    took: dict[str, float] = {}
    worked: dict[str, float] = {}
    bare: list[float] = []
    for program, tree in programs().items():
        for words in commands_below(tree):
            runs = []
            for _ in range(RUNS):
                bare.append(_seconds([sys.executable, "-c", "pass"])[0])
                runs.append(_seconds([str(BIN / program), *words, "--help"]))
            name = " ".join((program, *words))
            took[name] = statistics.median(wall for wall, _ in runs)
            worked[name] = statistics.median(processor for _, processor in runs)
    slowest = max(took, key=lambda name: took[name])
    results.at_most("commands with --help", len(took), "")
    results.at_most(f"--help of the slowest, {slowest}", took[slowest], "s", BAR_SECONDS)
    results.at_most("--help of all, median", statistics.median(took.values()), "s", BAR_SECONDS)
    results.at_most("--help of the slowest, processor time", max(worked.values()), "s", BAR_SECONDS)
    results.at_most("python -c pass, median", statistics.median(bare), "s")
    results.at_most("--help of all / python -c pass", statistics.median(took.values()) / statistics.median(bare), "x")


def _seconds(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
