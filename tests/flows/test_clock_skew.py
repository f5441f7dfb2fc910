"""A quarter of an hour ahead: every role goes by the chain's time, so the round ends as if all clocks were right."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from collegium.chain import following
from collegium.records import bits
from tests.chain.test_clock import WrongClock

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]


def test_clocks_ahead_of_the_chain_do_no_harm(arena: Callable[..., Arena], monkeypatch: pytest.MonkeyPatch) -> None:
    """One hospital is missing, so the commit phase lasts to its deadline; who believed its clock would not commit."""
    monkeypatch.setattr(following, "time", WrongClock(900))
    world = arena(plan={"commit_window": 6, "certify_window": 5, "challenge_window": 5})
    world.start_coordinator(0)
    world.start_hospitals(2)
    opened = world.wait("a round", lambda view: view.rounds)[-1].opened
    final = world.wait_final(1)
    assert final.outcome is not None
    assert bits(final.outcome.included) == [0, 1]
    assert min(reveal.event.time for reveal in final.reveals.values()) >= opened.time + 6
    assert not world.fines()
    assert time.time() < opened.time + 60
