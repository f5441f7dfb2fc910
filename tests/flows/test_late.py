"""A hospital that is not ready in time misses the round, pays nothing, and is back in the next one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import bits

from .arena import Arena
from .roles import Slow

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_late_hospital_misses_one_round(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=2, plan={"commit_window": 4})
    world.start_coordinator(0)
    world.start_hospitals(2)
    world.start_hospital(2, trainer=Slow(2, seconds=6, rounds={1}))
    first = world.wait_final(1)
    assert bits(first.committed) == [0, 1]
    assert first.outcome is not None and bits(first.outcome.included) == [0, 1]
    second = world.wait_final(2)
    assert second.outcome is not None and bits(second.outcome.included) == [0, 1, 2]
    assert len(world.told(2, "too_late")) == 1
    assert not world.fines()
    world.assert_sound()
