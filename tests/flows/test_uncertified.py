"""Who commits and reveals but serves nobody is left out, without a fine: nobody can tell whose fault it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import bits

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_update_that_nobody_can_fetch_is_not_certified(arena: Callable[..., Arena]) -> None:
    world = arena(plan={"certify_window": 6})
    world.start_coordinator(0)
    world.start_hospitals(2)
    world.start_hospital(2, serves=False)
    final = world.wait_final(1)
    assert final.outcome is not None
    assert (bits(final.outcome.revealed), bits(final.outcome.included)) == ([0, 1, 2], [0, 1])
    assert not world.fines()
    world.assert_sound()
