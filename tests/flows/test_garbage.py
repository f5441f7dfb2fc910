"""Garbage within the range counts and harms nobody but the model; garbage beyond it is proven and paid for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import Kind, bits
from tests.support.federation import TOKEN

from .arena import Arena
from .roles import OutOfRange
from .trainer import Diverged

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_garbage_in_range_is_averaged(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=2)
    world.start_coordinator(0)
    world.start_watcher()
    world.start_hospitals(2)
    world.start_hospital(2, trainer=Diverged(2))
    final = world.wait_final(2)
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    assert not world.fines()
    world.assert_sound(honest=False)


def test_garbage_out_of_range_pays_and_is_left_out(arena: Callable[..., Arena]) -> None:
    world = arena(plan={"certify_window": 6})
    world.start_coordinator(0)
    world.start_watcher()
    world.start_hospitals(2)
    world.start_hospital(2, make=OutOfRange)
    final = world.wait_final(1)
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1]
    world.wait("the fine", lambda _: world.fines())
    assert world.fines() == {world.institution(2): 50 * TOKEN} == world.fines(Kind.RANGE)
    assert [entry["seat"] for entry in world.told(0, "bad_update")] == [2]
    world.assert_sound()
