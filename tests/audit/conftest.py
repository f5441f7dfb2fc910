"""Fixtures: one eventful history per test module; tests only look at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.federation import Federation

from .histories import play_eventful


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("eventful")) as federation:
        play_eventful(federation)
        yield federation


@pytest.fixture
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """One to play with, before its first round."""
    with Federation.start(tmp_path_factory.mktemp("federation")) as federation:
        yield federation
