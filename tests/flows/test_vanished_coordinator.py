"""The coordinator on duty never shows up: its duty is fined once and the next one proposes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.records import Kind
from tests.support.federation import TOKEN

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_missed_duty_is_fined_and_taken_over(arena: Callable[..., Arena]) -> None:
    world = arena(coordinators=2, rounds=2, plan={"propose_window": 4}, coordinator={"stagger": 0.02})
    world.start_coordinator(0)
    world.start_hospitals()
    final = world.wait_final(1)
    (proposal,) = final.proposals
    assert proposal.proposal.aggregator == world.aggregator(0).node.address
    assert proposal.proposal.attempt == 1
    world.wait_final(2)
    assert world.fines() == {world.aggregator(1).institution.address: 20 * TOKEN} == world.fines(Kind.DUTY)
    world.assert_sound()
