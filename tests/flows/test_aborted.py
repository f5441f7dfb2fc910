"""Too few come in time: the round aborts, nobody pays, and the next one starts from the same model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import bits

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_aborted_round_is_followed_by_another(arena: Callable[..., Arena]) -> None:
    world = arena(coordinators=2, plan={"commit_window": 4})
    for at in range(2):
        world.start_coordinator(at)
    world.start_hospital(0)
    world.wait("an abort", lambda view: view.rounds and view.rounds[0].aborted)
    world.start_hospitals(0)
    number = len(world.view().rounds)
    final = world.wait("a final round", lambda view: view.final_rounds and view.final_rounds[0])
    view = world.assert_sound()
    assert final.number >= number
    assert final.outcome is not None and len(bits(final.outcome.included)) >= 2
    assert {round.model_root for round in view.rounds[: final.number]} == {view.plan.genesis_model_root}
    assert not world.fines()
