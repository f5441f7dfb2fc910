"""Everybody does their duty: rounds end early, one after the other, and every number follows from the data."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import bits

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_rounds_follow_each_other(arena: Callable[..., Arena]) -> None:
    world = arena(hospitals=3, coordinators=2, rounds=3)
    for at in range(2):
        world.start_coordinator(at)
    world.start_hospitals()
    world.wait_final(3)
    view = world.assert_sound()
    assert [bits(round.certified) for round in view.rounds] == [[0, 1, 2]] * 3
    assert [len(round.proposals) for round in view.rounds] == [1, 1, 1]
    # Those on duty alternate: the first in the order in even rounds.
    order = [world.aggregator(at).node.address for at in (1, 0, 1)]
    assert [round.proposals[0].proposal.aggregator for round in view.rounds] == order
    assert not world.fines()
