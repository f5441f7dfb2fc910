"""kill -9 of a hospital's client at every named point: it is in every round, commits once, pays nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.crashpoints import registered
from collegium.records import bits

from . import roles  # noqa: F401
from .arena import Arena
from .killing import COVERED_ELSEWHERE, kill_at_each

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

OTHER_ROLES = ("coordinator.", "watcher.", "operation.")
SENDING = ("outbox.", "client.message_carried")
MINE = [name for name in registered() if not name.startswith(OTHER_ROLES) and name not in COVERED_ELSEWHERE]


@pytest.mark.parametrize("sends", [False, True], ids=["served", "unserved"])
def test_client_survives_every_kill(arena: Callable[..., Arena], sends: bool) -> None:
    """Served by a coordinator it hands its messages over; without one it sends transactions itself."""
    points = [name for name in MINE if name.startswith(SENDING) == sends]
    world = arena(rounds=0)
    if sends:
        world.edit(world.hospitals[2], "coordinators", urls=[])
        world.edit(world.hospitals[2], "stores", push=world.urls)
        world.edit(world.hospitals[2], "node", carry_after=0.02)
    world.start_coordinator(0)
    world.start_hospitals(2)
    victim = kill_at_each(world, "hospital", world.hospitals[2], points)
    try:
        number = len(world.view().rounds)
        world.wait_final(number)
    finally:
        victim.end()
    view = world.view()
    for round in view.rounds[:number]:
        assert round.outcome is not None and bits(round.outcome.included) == [0, 1, 2]
    assert not world.fines()
    world.close_roles()
    world.assert_sound()
