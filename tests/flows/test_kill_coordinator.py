"""kill -9 of the only coordinator at every named point: each round still ends, with one proposal and the same root."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.crashpoints import registered

from . import roles  # noqa: F401
from .arena import Arena
from .killing import COVERED_ELSEWHERE, kill_at_each

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

OTHER_ROLES = ("client.", "journal.", "watcher.", "operation.")
MINE = [name for name in registered() if not name.startswith(OTHER_ROLES) and name not in COVERED_ELSEWHERE]


def test_coordinator_survives_every_kill(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=0)
    world.start_hospitals()
    victim = kill_at_each(world, "coordinator", world.coordinators[0], MINE)
    try:
        number = len(world.view().rounds)
        world.wait_final(number)
    finally:
        victim.end()
    view = world.view()
    assert [len(round.proposals) for round in view.final_rounds] == [1] * len(view.final_rounds)
    assert not world.fines()
    world.close_roles()
    world.assert_sound()
