"""Who commits and never reveals leaves the set and pays; the round goes on without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import Kind, bits
from tests.support.federation import TOKEN

from .arena import Arena
from .roles import skipping

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_unrevealed_update_is_fined(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=2, plan={"reveal_window": 4})
    world.start_coordinator(0)
    world.start_hospitals(2)
    world.start_hospital(2, make=skipping("reveal"))
    first = world.wait_final(1)
    assert first.outcome is not None
    assert (bits(first.outcome.committed), bits(first.outcome.included)) == ([0, 1, 2], [0, 1])
    # At the latest the opening of the next round settles the fine.
    world.wait("a second round", lambda view: len(view.rounds) == 2)
    assert world.fines() == {world.institution(2): 10 * TOKEN} == world.fines(Kind.UNREVEALED)
    world.assert_sound()
