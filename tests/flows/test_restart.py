"""Ctrl-C of a client in the middle of a round, and a start again: the same commitment, nothing lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from collegium.chain.views import StudyView
from collegium.records import bits

from .arena import Arena
from .killing import Victim

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_interrupted_client_goes_on(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=1)
    home = world.hospitals[2]
    world.start_coordinator(0)
    world.start_hospital(0)

    def committed(view: StudyView) -> bool:
        return bool(view.rounds) and view.rounds[-1].committed >> 2 & 1 == 1

    first = Victim("hospital", home)
    world.wait("its message is handed over", lambda _: world.told(2, "handed"))
    assert first.end(2) != 0
    # Its update was handed to the coordinator, which carries it with the others.
    world.start_hospital(1)
    world.wait("its commitment", committed)
    time.sleep(0.5)
    second = Victim("hospital", home)
    try:
        world.wait("its reveal", lambda view: view.rounds[-1].revealed >> 2 & 1)
        assert second.end(2) != 0
        third = Victim("hospital", home)
        try:
            final = world.wait_final(1)
        finally:
            third.end()
    finally:
        second.end()
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    assert len(world.told(2, "trained")) == 1
    assert not world.fines()
    world.close_roles()
    world.assert_sound()
