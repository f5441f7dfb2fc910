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

RUNS, AGAIN, RUNS_AGAIN = 3, 12, 8
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
    """Time them all, and those that seemed slowest again: of a hundred, one is always disturbed."""
    print("startup of every command")
    commands = [(program, *words) for program, tree in programs().items() for words in commands_below(tree)]
    runs: dict[tuple[str, ...], list[tuple[float, float]]] = {command: [] for command in commands}
    bare: list[float] = []

    def time_them(chosen: list[tuple[str, ...]], times: int) -> None:
        for command in chosen:
            for _ in range(times):
                bare.append(_seconds([sys.executable, "-c", "pass"])[0])
                runs[command].append(_seconds([str(BIN / command[0]), *command[1:], "--help"]))

    def wall(command: tuple[str, ...]) -> float:
        return statistics.median(seconds for seconds, _ in runs[command])

    time_them(commands, RUNS)
    time_them(sorted(commands, key=wall)[-AGAIN:], RUNS_AGAIN)
    slowest, median = max(commands, key=wall), statistics.median(map(wall, commands))
    worked = max(statistics.median(processor for _, processor in runs[command]) for command in commands)
    results.at_most("commands with --help", len(commands), "")
    results.at_most(f"--help of the slowest, {' '.join(slowest)}", wall(slowest), "s", BAR_SECONDS)
    results.at_most("--help of all, median", median, "s", BAR_SECONDS)
    results.at_most("--help of the slowest, processor time", worked, "s", BAR_SECONDS)
    results.at_most("python -c pass, median", statistics.median(bare), "s")
    results.at_most("--help of all / python -c pass", median / statistics.median(bare), "x")


def _seconds(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
