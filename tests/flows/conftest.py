"""One Anvil per test worker; every flow deploys its own contracts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain.devnet import Devnet

from .arena import Arena


@pytest.fixture(scope="session")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet


@pytest.fixture
def arena(devnet: Devnet, tmp_path: Path) -> Iterator[Callable[..., Arena]]:
    """Builds an arena; whatever runs in it is stopped afterwards."""
    made: list[Arena] = []

    def build(**options: Any) -> Arena:
        made.append(Arena(devnet, tmp_path / f"arena-{len(made)}", **options))
        return made[-1]

    yield build
    for each in made:
        each.close()
