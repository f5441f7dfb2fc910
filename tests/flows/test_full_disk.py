"""A hospital whose disk fills up between two rounds: it says so, waits, and goes on as if nothing had been.

Its `state/` is a small file system of its own, mounted in a namespace that only its process sees.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from collegium import egress
from scripts.setup.paths import ROOT

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]

START = """
set -e
cp -a "$1/state" "$1/state.before"
mount -t tmpfs -o size=4m tmpfs "$1/state"
cp -a "$1/state.before/." "$1/state/"
exec "$2" -m tests.flows.killed hospital "$1"
"""


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    script = 'mount -t tmpfs tmpfs "$1"'
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script, "sh", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this system lets nobody mount anything")
def test_a_full_disk_is_waited_for(arena: Callable[..., Arena]) -> None:
    world = arena(hospitals=3, rounds=0)
    home = world.hospitals[0]
    with (home / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", START, "sh", str(home), sys.executable],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        world.start_hospitals(0)
        world.start_coordinator(0)
        world.wait_final(1)
        # Only through the process can its mount be seen.
        state = Path(f"/proc/{process.pid}/root{home}/state")
        assert (state / "journal.sqlite").exists(), (home / "killed.log").read_text()
        fill(state / "filler")

        def has_said(_: object) -> object:
            return [*world.told(0, "disk_unwritable"), *world.told(0, "failed")]

        said = world.wait("a complaint about the disk", has_said)
        assert said[0]["code"] == "disk" and "space" in said[0]["hint"]
        assert process.poll() is None, (home / "killed.log").read_text()
        (state / "filler").unlink()
        number = len(world.view().rounds)
        world.wait_final(number)
        assert egress.verify(state / egress.FILE).broken_line is None
    finally:
        process.terminate()
        process.wait(20)
    world.close_roles()
    view = world.view()
    # The others waited in that round, as long as its window allows: nothing was lost, not even the round.
    assert [each.outcome.included for each in view.rounds[:number] if each.outcome] == [0b111] * number
    assert not world.fines()
    # Nothing was trained twice, though a next round may have begun before the process ended.
    trained = [entry["round"] for entry in world.told(0, "trained")]
    assert len(trained) == len(set(trained))


def fill(path: Path) -> None:
    """Until not one byte is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
