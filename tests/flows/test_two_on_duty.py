"""One key in two running coordinators: they get in each other's way, and nobody pays for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_twins_propose_once(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=3)
    world.add_twin(0)
    world.start_coordinator(0)
    world.start_coordinator(1)
    world.start_hospitals()
    world.wait_final(3)
    view = world.assert_sound()
    assert [len(round.proposals) for round in view.rounds] == [1, 1, 1]
    assert not world.fines()
