"""A hospital whose machines are busy sits a round out, still attests and endorses, and pays nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from collegium.hours import Hours
from collegium.records import bits
from collegium_client.node import Node
from collegium_client.parts import NodeParts

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_no_training_in_quiet_hours(arena: Callable[..., Arena]) -> None:
    world = arena(rounds=1, plan={"commit_window": 4})
    world.edit(world.hospitals[2], "node", quiet_hours=["00:00-24:00"])
    world.start_coordinator(0)
    world.start_hospitals()
    first = world.wait_final(1)
    assert bits(first.committed) == [0, 1]
    assert "quiet hours" in world.told(2, "skipped")[0]["reason"]
    assert not world.told(2, "trained") and world.told(2, "attested") and world.told(2, "endorsed")
    assert not world.fines()
    world.assert_sound()


class _Soon(Hours):
    """Quiet hours that end a few seconds from now; those of the settings know minutes."""

    until = time.time()

    def end(self, at: float) -> float:
        return max(at, self.until)


def test_training_begins_when_they_end(arena: Callable[..., Arena]) -> None:
    def make(parts: NodeParts, study: int) -> Node:
        quiet = _Soon()
        type(quiet).until = time.time() + 4
        return Node(replace(parts, settings=replace(parts.settings, quiet=quiet)), study)

    world = arena(rounds=1, plan={"commit_window": 20})
    world.start_coordinator(0)
    world.start_hospitals(1)
    world.start_hospital(1, make=make)
    first = world.wait_final(1)
    assert bits(first.committed) == [0, 1, 2]
    assert len(world.told(1, "quiet")) == 1 and world.told(1, "trained")
    world.assert_sound()
