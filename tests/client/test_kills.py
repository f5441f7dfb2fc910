"""kill -9 at every durable write and every send of a hospital and of a watcher; then it goes on as if nothing was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collegium.chain.devnet import Devnet
from collegium.crashpoints import registered
from collegium.records import Kind, bits
from collegium_client import node, refuting  # noqa: F401
from scripts.setup.paths import ROOT
from tests.flows.arena import Arena
from tests.flows.roles import Liar

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

HOSPITAL = [point for point in registered() if point.startswith(("client.", "journal."))]
WATCHER = [point for point in registered() if point.startswith("watcher.")]
PROGRAM = """
import sys
from pathlib import Path
from tests.flows.roles import open_hospital, open_watcher
home = Path(sys.argv[2])
with {"hospital": open_hospital, "watcher": open_watcher}[sys.argv[1]](home) as role:
    role.run()
"""


class Killed:
    """A role in a process of its own, perhaps one that kills itself at a point."""

    def __init__(self, role: str, home: Path, point: str = "") -> None:
        environment = {key: value for key, value in os.environ.items() if key != "COLLEGIUM_CRASH_AT"}
        if point:
            environment["COLLEGIUM_CRASH_AT"] = point
        environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in (".", "client", "coordinator"))
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, role, str(home)], cwd=ROOT, env=environment)

    def wait_killed(self, seconds: float = 60) -> None:
        assert self.process.wait(seconds) == -signal.SIGKILL

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet


@pytest.fixture
def arena(devnet: Devnet, tmp_path: Path) -> Iterator[Callable[..., Arena]]:
    made: list[Arena] = []

    def build(**options: object) -> Arena:
        made.append(Arena(devnet, tmp_path / f"arena-{len(made)}", **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for each in made:
        each.close()


def test_the_points_are_all_there() -> None:
    assert {"client.blob_stored", "client.update_signed", "client.blob_pushed", "journal.update_written"} <= set(
        HOSPITAL
    )
    assert WATCHER == ["watcher.announced", "watcher.case_closed", "watcher.case_noted", "watcher.refuted"]


def test_a_hospital_killed_anywhere_takes_part_in_every_round(arena: Callable[..., Arena]) -> None:
    world = arena(hospitals=3, rounds=len(HOSPITAL))
    world.start_coordinator(0)
    world.start_hospitals(0)
    home = world.hospitals[0]
    for number, point in enumerate(HOSPITAL, start=1):
        alone = point == "client.message_carried"
        # Without coordinators it carries its own messages, at once.
        world.edit(home, "coordinators", urls=[] if alone else world.urls)
        world.edit(home, "node", carry_after=0.0 if alone else 0.6)
        world.edit(home, "stores", push=world.urls)
        killed = Killed("hospital", home, point)
        killed.wait_killed()
        again = Killed("hospital", home)
        try:
            final = world.wait_final(number)
            # The next round waits for it, and the model of this one is kept before it is stopped.
            if number < len(HOSPITAL):
                world.wait("the next round", lambda view, number=number: view.round(number + 1))
        finally:
            again.stop()
        assert final.outcome is not None
        assert bits(final.outcome.included) == [0, 1, 2], point
    assert not world.fines()
    world.assert_sound()


@pytest.mark.parametrize("point", WATCHER)
def test_a_watcher_killed_anywhere_proves_once(arena: Callable[..., Arena], point: str) -> None:
    world = arena(hospitals=3, coordinators=2, rounds=1)
    liar = 1
    home = world.make_watcher_home()
    world.start_coordinator(0)
    world.start_coordinator(liar, aggregate=Liar())
    killed = Killed("watcher", home, point)
    world.start_hospitals()
    try:
        killed.wait_killed()
        again = Killed("watcher", home)
        try:
            final = world.wait_final(1)
            time.sleep(1)
        finally:
            again.stop()
    finally:
        killed.stop()
    refuted = world.events("Refuted")
    assert [Kind(event.args["kind"]) for event in refuted if event.args["studyId"] == world.study_id] == [Kind.MEAN]
    mine = world.events("EvidenceAnnounced")
    assert len({event.args["digest"] for event in mine}) == len(mine)
    assert world.fines(Kind.MEAN) == {world.aggregator(liar).institution.address: world.view().plan.aggregator_bond}
    assert final.proposals[-1].status == "final"
    world.assert_sound()
