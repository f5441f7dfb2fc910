"""Two machines with one node key and no common journal sign two updates: the watcher proves it, the hospital pays."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest

from collegium.records import Kind, bits
from tests.support.federation import TOKEN

from .arena import Arena
from .roles import open_hospital
from .trainer import Trainer

pytestmark = [pytest.mark.chain, pytest.mark.flow]


class Together(Trainer):
    """Waits until the other machine has trained as well, so that neither sees the other's commitment first."""

    def __init__(self, site: int, meeting: threading.Barrier) -> None:
        super().__init__(site)
        self._meeting = meeting

    def train(self, state: Any, **options: Any) -> Any:
        trained = super().train(state, **options)
        self._meeting.wait(30)
        return trained


def test_two_machines_with_one_key(arena: Callable[..., Arena]) -> None:
    world = arena()
    home = world.hospitals[2]
    world.edit(home, "coordinators", urls=[])
    world.edit(home, "stores", push=world.urls)
    world.edit(home, "node", carry_after=0.02)
    twin = world.folder / "twin"
    shutil.copytree(home, twin)
    meeting = threading.Barrier(2)
    world.start_hospital(2, trainer=Together(2, meeting))

    def work(stop: threading.Event, opened: Callable[[], None]) -> None:
        with open_hospital(twin, trainer=Together(3, meeting)) as node:
            opened()
            node.run(stop=stop)

    world.start("twin", work)
    world.start_coordinator(0)
    world.start_watcher()
    # The others wait, so that the second update still finds the commit phase open.
    world.wait("a second update", lambda _: world.events("ItemSkipped"))
    world.start_hospitals(2)
    final = world.wait_final(1)
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    world.wait("the fine", lambda _: world.fines())
    assert world.fines() == {world.institution(2): 60 * TOKEN} == world.fines(Kind.EQUIVOCATION)
    # The machine that came second says so; the hospital need not read the chain to learn of it.
    logs = [(folder / "logs" / "node.jsonl").read_text() for folder in (home, twin)]
    assert sum("key_used_elsewhere" in log for log in logs) == 1
    world.assert_sound(honest=False)
