"""When the bytes leave: a node does not reveal while a reorganization could let others commit a copy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from collegium.phases import Clock
from collegium.records import Phase
from collegium_client.node import Node, _Work


@pytest.mark.parametrize("closed", [False, True])
def test_reveal_waits_until_the_commit_phase_is_over_for_good(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    revealed: list[Any] = []
    node = object.__new__(Node)
    round: Any = SimpleNamespace(
        clock_at=lambda now: Clock(Phase.REVEAL, 100), commits={}, number=1, deadline_at=lambda now: 200
    )
    monkeypatch.setattr(Node, "_seat", lambda self, round: 0)
    monkeypatch.setattr(Node, "reveal", lambda self, *given: revealed.append(given))
    monkeypatch.setattr("collegium_client.node.Window.of", lambda *given: None)
    clock: Any = SimpleNamespace(now=lambda: 150)
    follower: Any = SimpleNamespace(is_closed_to_commits=lambda asked: closed and asked is round)
    node._time, node._follower, node._work = clock, follower, (1, _Work())
    view: Any = None
    node.take_part(view, round)
    assert bool(revealed) is closed
