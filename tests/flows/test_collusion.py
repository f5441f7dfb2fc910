"""All members endorse a lie: it becomes final, a watcher that comes later disputes it, and the bond still pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collegium.records import Kind
from tests.support.federation import TOKEN

from .arena import Arena
from .roles import Gullible, Liar

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_final_lie_is_disputed_and_paid_for(arena: Callable[..., Arena]) -> None:
    world = arena()
    world.start_coordinator(0, aggregate=Liar())
    for at in range(3):
        world.start_hospital(at, make=Gullible)
    world.wait_final(1)
    world.start_watcher()

    def disputed(view: Any) -> bool:
        return view.rounds[0].disputed is not None

    world.wait("the dispute", disputed)
    assert world.fines() == {world.aggregator(0).institution.address: 1000 * TOKEN} == world.fines(Kind.MEAN)
    # It stands, marked for ever, and every audit says so.
    report = world.audit()
    assert report.verdict == "mismatch" and report.exit_code == 4
    assert "mean" in {check.name for check in report.failed()}
