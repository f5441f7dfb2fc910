"""A coordinator proposes wrong roots and serves no bytes: nobody endorses, the next one finishes, and R11 pays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from collegium.chain.views import ProposalStatus
from collegium.records import Kind
from collegium.storage import BlobFolder
from tests.support.federation import TOKEN

from .arena import Arena
from .roles import Liar

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def test_withheld_lie_pays_once_the_round_is_final(arena: Callable[..., Arena], tmp_path: Path) -> None:
    world = arena(coordinators=2, plan={"challenge_window": 5})
    world.start_coordinator(0)
    liar = Liar({1})
    world.start_coordinator(1, aggregate=liar, publish=BlobFolder(tmp_path / "nowhere"))
    world.start_watcher()
    world.start_hospitals()
    final = world.wait_final(1)
    assert [each.status for each in final.proposals] == [ProposalStatus.LAPSED, ProposalStatus.FINAL]
    accused = world.aggregator(1).institution.address
    world.wait("the fine", lambda _: world.fines())
    assert world.fines() == {accused: 500 * TOKEN} == world.fines(Kind.CONTRADICTION)
    world.assert_sound()
