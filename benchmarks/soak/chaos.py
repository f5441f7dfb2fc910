"""Killing processes at random, and starting each again with the command it had."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psutil

from scripts.demo.processes import Processes, Service

from .sampling import family_of

__all__ = ["Chaos"]

ORPHAN_SECONDS = 10.0


@dataclass
class Chaos:
    """Every `every` rounds on average, 0 for never, one process ends without warning. The seed decides which and when.

    services: name to running process, as it is at the moment. restart: starts a process again under its name.
    """

    processes: Processes
    services: Mapping[str, Service]
    restart: Callable[[str], None]
    every: int
    seed: int = 0
    kills: list[tuple[int, str]] = field(default_factory=list)
    """Round and name of each."""
    _families: list[tuple[float, str, list[psutil.Process]]] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """Processes that outlived the one that started them."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._next = self._pause(0)
        self._moment = 0.0

    def act(self, round_number: int, seconds_into_round: float) -> str | None:
        """Kill when it is time; the name of whoever was killed. Only from the main thread."""
        self._look_for_orphans()
        # A round may end before its moment comes; then the next one is hit as it opens.
        is_time = round_number > self._next or (round_number == self._next and seconds_into_round >= self._moment)
        if not self.every or not is_time:
            return None
        name = self._random.choice(sorted(self.services))
        self.kill(name)
        self.kills.append((round_number, name))
        self._next = self._pause(round_number)
        return name

    def kill(self, name: str) -> None:
        """SIGKILL to the process itself, then the same command at once."""
        service = self.services[name]
        family = family_of(service.process.pid)
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        self._families.append((time.monotonic(), name, family))
        # Its end was ours.
        self.processes.services.remove(service)
        self.restart(name)

    def _pause(self, round_number: int) -> int:
        # Anywhere in a round: at its opening, while it is carried, at its end.
        self._moment = self._random.uniform(0.0, 1.5)
        return round_number + self._random.randint(max(1, self.every - 1), self.every + 1)

    def _look_for_orphans(self) -> None:
        now = time.monotonic()
        for entry in list(self._families):
            killed, name, family = entry
            if now - killed < ORPHAN_SECONDS:
                continue
            self._families.remove(entry)
            for process in family:
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    self.orphans.append(f"{name}: pid {process.pid}")
