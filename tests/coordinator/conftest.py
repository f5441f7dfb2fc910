"""One federation per worker; every test gets it as it was, by the chain's snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from tests.support.federation import Federation

from .desk import Desk


@pytest.fixture(scope="session")
def shared_federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("federation"), members=3, aggregators=2, seed=77) as federation:
        yield federation


@pytest.fixture
def federation(shared_federation: Federation) -> Iterator[Federation]:
    """Three hospitals, two coordinators, no round yet. Windows last an hour; `pass_time` moves the chain's clock."""
    rpc = shared_federation.chain.rpc
    snapshot = rpc.request("evm_snapshot")
    fresh = copy(shared_federation)
    fresh.rounds, fresh.members = [], list(shared_federation.members)
    # Going back to a snapshot takes the chain's clock back too.
    behind = int(time.time()) - fresh.now()
    if behind > 0:
        fresh.pass_time(behind)
    yield fresh
    rpc.request("evm_revert", snapshot)


@pytest.fixture
def desk(federation: Federation, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Builds what one coordinator works with."""
    made: list[Desk] = []

    def build(at: int = 0, **options: Any) -> Desk:
        made.append(Desk(federation, tmp_path / f"desk-{len(made)}", at, **options))
        return made[-1]

    yield build
    for each in made:
        each.close()
