"""Stores go away in the middle of a round: one of two does not matter, both are waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collegium.records import bits
from collegium.storage.embedded import EmbeddedStoreServer

from .arena import Arena, free_ports

pytestmark = [pytest.mark.chain, pytest.mark.flow]


def serve(folder: Path, port: int, chain_id: int) -> EmbeddedStoreServer:
    return EmbeddedStoreServer(folder, lambda key, study: True, chain_id=chain_id, port=port).start()


def test_stores_come_and_go(arena: Callable[..., Arena], tmp_path: Path) -> None:
    first, second = free_ports(2)
    uris = [f"http://127.0.0.1:{port}" for port in (first, second)]
    world = arena(rounds=2, push=uris, read=uris, plan={"certify_window": 60})
    chain_id = world.chain.chain_id
    # Round 1: the first store is never there, the second one comes when updates are waiting for it.
    world.start_coordinator(0)
    world.start_hospitals()
    world.wait("commits", lambda view: view.rounds and bits(view.rounds[0].committed) == [0, 1, 2])
    time.sleep(2)
    server = serve(tmp_path / "second", second, chain_id)
    try:
        final = world.wait_final(1, 90)
        assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
        # Round 2: they change places.
        server.close()
        server = serve(tmp_path / "first", first, chain_id)
        final = world.wait_final(2, 90)
        assert final.outcome is not None and bits(final.outcome.included) == [0, 1, 2]
    finally:
        server.close()
    assert not world.fines()
    world.assert_sound()
