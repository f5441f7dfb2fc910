"""Fixtures: the history is played once; tests only look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.explorer.source import Source
from collegium.explorer.web.build import build_site
from collegium.explorer.web.render import Renderer
from collegium.explorer.web.server import ExplorerServer
from tests.support.federation import Federation

from .worlds import open_source, play_hostile


@pytest.fixture(scope="package")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    federation = play_hostile(tmp_path_factory.mktemp("history"))
    try:
        yield federation
    finally:
        federation.stop()


@pytest.fixture(scope="package")
def source(history: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with open_source(history, tmp_path_factory.mktemp("index")) as source:
        source.refresh()
        yield source


@pytest.fixture(scope="package")
def renderer() -> Renderer:
    return Renderer(network="Local devnet", chain_id=31337, explorer_url="https://explorer.example")


@pytest.fixture(scope="package")
def site(source: Source, renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static site, with blobs."""
    folder = tmp_path_factory.mktemp("site") / "out"
    build_site(source, renderer, folder, blobs=True)
    return folder


@pytest.fixture(scope="package")
def served(source: Source) -> Iterator[ExplorerServer]:
    renderer = Renderer(network="Local devnet", chain_id=31337, is_live=True)
    server = ExplorerServer(source, renderer, refresh_seconds=3600)
    server.start()
    try:
        yield server
    finally:
        server.close()
