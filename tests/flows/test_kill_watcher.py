"""kill -9 of the watcher at every named point while it proves a lie: the lie is proven once, and pays once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.chain.views import ProposalStatus
from collegium.crashpoints import registered
from tests.support.federation import TOKEN

from . import roles  # noqa: F401
from .arena import Arena
from .killing import COVERED_ELSEWHERE, kill_at_each
from .roles import Liar

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

OTHER_ROLES = ("client.", "journal.", "coordinator.", "operation.")
MINE = {name for name in registered() if not name.startswith(OTHER_ROLES) and name not in COVERED_ELSEWHERE}
STORY = (
    "egress.half_written", "egress.written", "indexer.window_written", "watcher.case_noted", "outbox.intent_written",
    "outbox.simulated", "outbox.signed", "outbox.signed_written", "outbox.broadcast", "outbox.receipt_written",
    "watcher.announced", "watcher.refuted", "watcher.case_closed",
)  # fmt: skip
"""In the order in which one proof passes them: announced first, then brought."""
LATER = ("outbox.simulated:2", "outbox.broadcast", "outbox.receipt_written")
"""The same for a second lie, at the proof itself."""


def test_watcher_survives_every_kill(arena: Callable[..., Arena]) -> None:
    assert set(STORY) == MINE
    world = arena(coordinators=3, rounds=2, plan={"challenge_window": 120})
    world.start_coordinator(0)
    world.start_coordinator(1, aggregate=Liar())
    world.start_coordinator(2, aggregate=Liar())
    home = world.make_watcher_home()
    world.start_hospitals()
    victim = kill_at_each(world, "watcher", home, [*STORY, *LATER])
    try:
        world.wait_final(2)
    finally:
        victim.end()
    world.close_roles()
    view = world.assert_sound()
    statuses = [each.status for round in view.rounds for each in round.proposals]
    assert statuses.count(ProposalStatus.REFUTED) == 2 and statuses.count(ProposalStatus.FINAL) == 2
    assert world.fines() == {world.aggregator(at).institution.address: 1000 * TOKEN for at in (1, 2)}
