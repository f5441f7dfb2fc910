"""The node goes away in the middle of a round and comes back: everybody waits, resumes, and says nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from collegium.chain.devnet import Devnet
from collegium.chain.views import StudyView
from tests.chain.lying import Proxy

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

STAGES: dict[str, Callable[[StudyView], bool]] = {
    "opened": lambda view: bool(view.rounds),
    "committed": lambda view: bool(view.rounds[-1].committed),
    "certified": lambda view: bool(view.rounds[-1].certified),
}


@pytest.fixture
def proxy(devnet: Devnet) -> Iterator[Proxy]:
    proxy = Proxy(devnet.url)
    yield proxy
    proxy.close()


def test_outages_in_every_stage(arena: Callable[..., Arena], proxy: Proxy) -> None:
    world = arena(rpc_url=proxy.url, coordinators=2, rounds=2)
    for at in range(2):
        world.start_coordinator(at)
    watcher = world.start_watcher()
    world.start_hospitals()
    for stage, reached in STAGES.items():
        world.wait(stage, reached)
        proxy.down = True
        # Longer than what a single request is retried for.
        time.sleep(2.5)
        proxy.down = False
    world.wait_final(2)
    assert watcher.is_alive
    assert world.told(0, "chain_unreachable") and world.told(0, "chain_reachable")
    view = world.assert_sound()
    assert [len(round.proposals) for round in view.rounds] == [1, 1]
    assert not world.fines()
