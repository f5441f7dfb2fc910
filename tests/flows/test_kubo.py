"""The happy path over two Kubo daemons that are not the same node: nothing is served by anybody's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from collegium.records import bits
from collegium.storage import MultiStore, open_store, parse_cid
from collegium.storage.kubo_daemon import KuboDaemon, create_swarm_key
from scripts.setup.paths import tool

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.kubo]


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[list[KuboDaemon]]:
    key = create_swarm_key()
    with ExitStack() as stack:
        yield [
            stack.enter_context(KuboDaemon(tmp_path / name, executable=tool("ipfs"), swarm_key=key))
            for name in ("first", "second")
        ]


def test_rounds_over_two_daemons(arena: Callable[..., Arena], daemons: list[KuboDaemon]) -> None:
    uris = [daemon.uri for daemon in daemons]
    world = arena(coordinators=2, rounds=2, read=uris, push=uris, store=uris)
    for at in range(2):
        world.start_coordinator(at)
    world.start_hospitals()
    final = world.wait_final(2, 120)
    view = world.assert_sound()
    for round in view.final_rounds:
        assert round.outcome is not None and bits(round.outcome.included) == [0, 1, 2]
    # Every revealed update and every model is on a daemon that the coordinators published to.
    published = MultiStore([open_store(uri) for uri in uris])
    for opened in final.reveals.values():
        assert published.get(parse_cid(opened.cid), max_bytes=1 << 20)
    assert published.get(parse_cid(final.proposals[-1].model_cid), max_bytes=1 << 20)
