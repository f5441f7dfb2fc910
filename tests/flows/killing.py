"""Starting a role again and again, each time to be killed at the next of its crash points."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.setup.paths import ROOT

from .arena import Arena

__all__ = ["COVERED_ELSEWHERE", "Victim", "kill_at_each"]

COVERED_ELSEWHERE = {
    "indexer.rolled_back": "tests/chain/test_crashes.py: only a reorganization gets there",
    "outbox.bump_written": "tests/chain/test_crashes.py: only a transaction that waits long gets there",
    "outbox.bump_broadcast": "tests/chain/test_crashes.py",
    "outbox.mined_written": "tests/chain/test_crashes.py: only a network with confirmations gets there",
    "keystore.encrypted": "tests/chain/test_crashes.py",
    "keystore.written": "tests/chain/test_crashes.py",
    **dict.fromkeys(
        ("files.written", "files.replaced", "folder.blob_written", "folder.blob_renamed", "folder.blob_removed"),
        "tests/storage/test_crashes.py",
    ),
}
"""Points that a round on a devnet never reaches."""


class Victim:
    """A role as a process."""

    def __init__(self, role: str, home: Path, point: str = "") -> None:
        self.point = point
        self._log = home / "killed.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.flows.killed", role, str(home)], cwd=ROOT,
                env={**os.environ, "COLLEGIUM_CRASH_AT": point}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def wait_killed(self, world: Arena, seconds: float = 60.0) -> None:
        """Until it has killed itself."""
        give_up = time.monotonic() + seconds
        while self.process.poll() is None:
            world.check()
            if time.monotonic() > give_up:
                self.end()
                raise AssertionError(f"{self.point} is never reached; {self.tail()}\n{world.describe()}")
            time.sleep(0.02)
        assert self.process.returncode == -signal.SIGKILL, f"{self.point}: {self.process.returncode}\n{self.tail()}"

    def end(self, signum: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(20)

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


def kill_at_each(world: Arena, role: str, home: Path, points: Sequence[str]) -> Victim:
    """Kill the role at each point in turn, whatever round that happens in; return it running at last."""
    for point in points:
        Victim(role, home, point).wait_killed(world)
    return Victim(role, home)
