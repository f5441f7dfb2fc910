"""A hospital whose machines are busy sits a round out, still attests and endorses, and pays nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from collegium.records import bits

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


def test_training_begins_when_they_end(arena: Callable[..., Arena]) -> None:
    # Minutes are the smallest unit: hours that end with the next one.
    now = datetime.now()
    end = (now + timedelta(minutes=1)).replace(second=0)
    wait = (end - now).total_seconds()
    world = arena(rounds=1, plan={"commit_window": int(wait) + 20})
    begin = now - timedelta(hours=1)
    world.edit(world.hospitals[1], "node", quiet_hours=[f"{begin:%H:%M}-{end:%H:%M}"])
    world.start_coordinator(0)
    world.start_hospitals()
    first = world.wait_final(1, seconds=wait + 60)
    assert bits(first.committed) == [0, 1, 2]
    assert len(world.told(1, "quiet")) == 1
    world.assert_sound()
