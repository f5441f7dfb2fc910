"""Fixtures of the storage tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.storage.embedded import EmbeddedStoreServer
from collegium.storage.folder import BlobFolder
from collegium.storage.remote import RemoteStore

from .actors import ALICE, CHAIN_ID, STUDY, is_member


@pytest.fixture
def folder(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "store")


@pytest.fixture
def server(folder: BlobFolder) -> Iterator[EmbeddedStoreServer]:
    with EmbeddedStoreServer(
        folder, is_member, chain_id=CHAIN_ID, max_blob_bytes=4 << 20, quota_bytes=6 << 20
    ) as running:
        yield running


@pytest.fixture
def store(server: EmbeddedStoreServer) -> RemoteStore:
    """The server as a member reaches it."""
    return RemoteStore(server.url, ALICE, STUDY, chain_id=CHAIN_ID, pause=0.01)
