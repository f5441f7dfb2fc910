"""Fixtures: one Anvil per test module, a fresh state per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collegium.chain.devnet import Devnet

from .worlds import World


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with Devnet.start(accounts=6) as devnet:
        yield World.create(devnet)


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """The shared world, put back as it was afterwards."""
    snapshot = shared_world.rpc.request("evm_snapshot")
    yield shared_world
    shared_world.rpc.request("evm_revert", snapshot)
    shared_world.automine(True)
