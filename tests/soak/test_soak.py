"""The soak itself, with tiny numbers, so that it cannot rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.soak.chaos import Chaos
from benchmarks.soak.hospitals import make_restart
from scripts.demo.federation import Federation
from scripts.demo.processes import Processes, Service
from scripts.setup.paths import ROOT

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
WITH_CHILD = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {FOREVER!r}]); time.sleep(600)"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(lambda line: None, tmp_path)
    yield processes
    processes.stop()


def make_chaos(processes: Processes, code: str, *, every: int, seed: int = 0) -> Chaos:
    services: dict[str, Service] = {}

    def start(name: str) -> None:
        services[name] = processes.start(name, ["python", "-c", code])

    for name in ("a", "b", "c"):
        start(name)
    return Chaos(processes, services, start, every, seed)


class TestChaos:
    def test_kills_now_and_then_and_starts_again(self, processes: Processes) -> None:
        chaos = make_chaos(processes, FOREVER, every=2)
        pids = {name: each.process.pid for name, each in chaos.services.items()}
        for number in range(1, 13):
            chaos.act(number, 9.0)
        assert 4 <= len(chaos.kills) <= 12
        rounds = [number for number, _ in chaos.kills]
        assert all(later - earlier in (1, 2, 3) for earlier, later in pairwise(rounds))
        assert all(each.is_alive for each in chaos.services.values())
        killed = {name for _, name in chaos.kills}
        assert {name for name, each in chaos.services.items() if each.process.pid != pids[name]} == killed
        processes.check_alive()

    def test_a_round_that_ends_before_its_moment_does_not_save_anybody(self, processes: Processes) -> None:
        chaos = make_chaos(processes, FOREVER, every=1)
        for number in range(1, 9):
            chaos.act(number, 0.0)
        assert len(chaos.kills) >= 2

    def test_the_seed_decides_and_zero_never_kills(self, processes: Processes) -> None:
        first, second = (make_chaos(processes, FOREVER, every=2, seed=3) for _ in range(2))
        for number in range(1, 9):
            assert first.act(number, 9.0) == second.act(number, 9.0)
        calm = make_chaos(processes, FOREVER, every=0)
        assert not any(calm.act(number, 9.0) for number in range(50))

    def test_what_a_killed_process_leaves_is_noticed(
        self, processes: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmarks.soak.chaos.ORPHAN_SECONDS", 0.2)
        chaos = make_chaos(processes, WITH_CHILD, every=1)
        time.sleep(1.0)
        chaos.kill("a")
        time.sleep(0.4)
        chaos.act(0, 0.0)
        assert len(chaos.orphans) == 1
        os.kill(int(chaos.orphans[0].rpartition(" ")[2]), 9)


def test_every_hospital_coordinator_and_the_watcher_start_again() -> None:
    started: list[Any] = []
    parties = {name: SimpleNamespace(name=name) for name in ("north", "alder")}
    federation = SimpleNamespace(
        hospitals=[parties["north"]], coordinators=[parties["alder"]],
        start_watcher=lambda: started.append("watcher"),
        start_training=lambda party: started.append(("train", party.name)),
        start_coordinator=lambda party: started.append(("coordinate", party.name)),
    )  # fmt: skip
    restart = make_restart(cast(Federation, federation))
    for name in ("watcher", "north", "alder"):
        restart(name)
    assert started == ["watcher", ("train", "north"), ("coordinate", "alder")]
    # The names that it relies on.
    assert all(hasattr(Federation, name) for name in ("start_watcher", "start_training", "start_coordinator"))


@pytest.mark.chain
@pytest.mark.slow
def test_six_clients_survive_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "crowd-6", "--rounds", "3", "--kill-every", "1",
               "--folder", str(tmp_path / "run"), "--out", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    # Three rounds say nothing of growth: that alone may miss its bar.
    assert done.returncode in (0, 1) and (tmp_path / "soak.json").exists(), done.stdout + done.stderr
    part = json.loads((tmp_path / "soak.json").read_text())["crowd-6"]
    figures = {figure["name"]: figure for figure in part["figures"]}
    assert figures["rounds final"]["value"] == 3
    assert figures["processes killed"]["value"] >= 1
    wrong = [name for name, each in figures.items() if not each["ok"] and "last quarter" not in name]
    assert not wrong, done.stdout
    assert "crowd-6" in part["command"]
    assert all((tmp_path / f"soak-crowd-6-{name}.svg").exists() for name in ("memory", "disk", "seconds"))
