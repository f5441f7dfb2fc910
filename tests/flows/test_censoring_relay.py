"""A coordinator takes a hospital's messages and drops them: the hospital carries them itself and is in the set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collegium.records import bits
from collegium_coordinator.inbox import Inbox, Item

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

CENSORED = 2


def test_censored_hospital_carries_itself(arena: Callable[..., Arena], monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Inbox.put

    def drop(inbox: Inbox, item: Item) -> Any:
        return None if item.index == CENSORED else keep(inbox, item)

    monkeypatch.setattr(Inbox, "put", drop)
    windows = dict.fromkeys(("commit_window", "reveal_window", "certify_window", "challenge_window"), 6)
    world = arena(plan=windows)
    world.start_coordinator(0)
    world.start_hospitals()
    final = world.wait_final(1)
    assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    carried = {entry["topic"] for entry in world.told(CENSORED, "carried")}
    assert carried >= {"updates", "reveals"}
    own = world.federation.members[CENSORED].node.address
    assert final.commits[CENSORED].node_key == own
    assert not world.fines()
    world.assert_sound()
