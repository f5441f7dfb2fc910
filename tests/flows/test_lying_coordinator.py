"""A coordinator proposes one wrong coordinate: a watcher proves it, the bond pays, the next one finishes the round."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.chain import Contracts
from collegium.chain.views import ProposalStatus
from collegium.records import Kind, Role
from tests.support.federation import TOKEN

from .arena import Arena
from .roles import Liar

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_lie_is_refuted_and_the_round_finished_by_the_next(arena: Callable[..., Arena]) -> None:
    world = arena(coordinators=2, rounds=3)
    world.start_coordinator(0)
    liar = world.start_coordinator(1, aggregate=Liar({1}))
    world.start_watcher()
    world.start_hospitals()
    final = world.wait_final(1)
    false, right = final.proposals
    assert [false.status, right.status] == [ProposalStatus.REFUTED, ProposalStatus.FINAL]
    assert false.proposal.aggregator == world.aggregator(1).node.address
    assert right.proposal.aggregator == world.aggregator(0).node.address
    accused = world.aggregator(1).institution.address
    assert world.fines() == {accused: 1000 * TOKEN} == world.fines(Kind.MEAN)
    assert Contracts(world.chain).lock(world.study_id, accused, Role.AGGREGATOR).amount == 0
    # Whoever looked in time refused; the watcher may have been faster than a hospital's look.
    assert false.endorsed == 0
    # Without a bond it is in no order any more, and still alive to see it.
    world.wait_final(3)
    assert liar.is_alive
    view = world.assert_sound()
    assert view.rounds[1].snapshot.aggregators == (world.aggregator(0).node.address,)


def test_members_refute_when_they_are_told_to(arena: Callable[..., Arena]) -> None:
    world = arena(coordinators=2, node={"refute": True})
    world.start_coordinator(0)
    world.start_coordinator(1, aggregate=Liar({1}))
    world.start_hospitals()
    final = world.wait_final(1)
    assert [each.status for each in final.proposals] == [ProposalStatus.REFUTED, ProposalStatus.FINAL]
    assert world.fines() == {world.aggregator(1).institution.address: 1000 * TOKEN}
    world.assert_sound()
