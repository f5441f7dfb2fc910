"""Several stores as one: any answers, liars are named, and the error lists what each said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.errors import BlobOversizedError, CidMismatchError, ConfigError, StoreUnreachableError
from collegium.storage import Cid, Content, MultiStore, RemoteStore, Store, open_store, open_stores
from collegium.storage.cid import cid_of
from collegium.storage.embedded import EmbeddedStoreServer
from collegium.storage.errors import BlobUnavailableError, StoreAddressError
from collegium.storage.folder import BlobFolder

from .actors import ALICE, CHAIN_ID, MIB, STUDY, keystream, server_answering

DATA = b"a model"
CID = cid_of(DATA)


class Fake:
    """A store that fails in one way and counts how often it is asked."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self.error = error
        self.asked = 0

    def put(self, data: Content) -> Cid:
        raise self.error

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        self.asked += 1
        raise self.error

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        self.asked += 1
        yield b"half of"
        raise self.error

    def has(self, cid: Cid) -> bool:
        raise self.error


@pytest.fixture
def liar() -> Fake:
    return Fake("liar", CidMismatchError("other bytes"))


@pytest.fixture
def dead() -> Fake:
    return Fake("dead", StoreUnreachableError("no answer"))


class TestReading:
    def test_first_that_has_it_answers(self, tmp_path: Path, dead: Fake) -> None:
        empty, full = BlobFolder(tmp_path / "a"), BlobFolder(tmp_path / "b")
        full.put(DATA)
        stores = MultiStore([dead, empty, full])
        assert stores.get(CID, max_bytes=100) == DATA
        assert stores.has(CID)
        assert b"".join(stores.stream(CID, max_bytes=100)) == DATA

    def test_liar_is_named_and_skipped(self, folder: BlobFolder, liar: Fake) -> None:
        folder.put(DATA)
        stores = MultiStore([liar, folder])
        for _ in range(3):
            assert stores.get(CID, max_bytes=100) == DATA
        assert liar.asked == 1
        assert stores.liars == {"liar": "other bytes"}

    def test_dead_store_is_asked_last_for_a_while(self, folder: BlobFolder, dead: Fake) -> None:
        folder.put(DATA)
        stores = MultiStore([dead, folder])
        for _ in range(3):
            stores.get(CID, max_bytes=100)
        assert dead.asked == 1
        assert stores.liars == {}

    def test_longer_blob_is_no_lie(self, folder: BlobFolder) -> None:
        folder.put(DATA)
        stores = MultiStore([folder])
        with pytest.raises(BlobUnavailableError):
            stores.get(CID, max_bytes=3)
        assert stores.liars == {}

    def test_error_lists_every_answer(self, folder: BlobFolder, liar: Fake, dead: Fake) -> None:
        with pytest.raises(BlobUnavailableError) as caught:
            MultiStore([liar, dead, folder]).get(CID, max_bytes=100)
        error = caught.value
        assert error.answers["liar"] == "other bytes"
        assert error.answers["dead"] == "no answer"
        assert error.codes[folder.name] == "blob_not_found"
        assert error.liars == ["liar"]
        assert error.exit_code == 5
        assert all(name in str(error) for name in ("liar", "dead", folder.name))

    def test_real_liar_and_real_dead_server_do_not_stop_a_reader(self, server: EmbeddedStoreServer) -> None:
        server.folder.put(DATA)
        with server_answering(200, b"altered") as url:
            stores = MultiStore(
                [RemoteStore("http://127.0.0.1:9", pause=0.01), RemoteStore(url), RemoteStore(server.url)]
            )
            assert stores.get(CID, max_bytes=100) == DATA
            assert list(stores.liars) == [url]


class TestFetching:
    def test_blob_is_streamed_into_a_folder(self, server: EmbeddedStoreServer, tmp_path: Path, liar: Fake) -> None:
        data = b"".join(keystream("fetch", 3 * MIB))
        cid = server.folder.put(data)
        own = BlobFolder(tmp_path / "own")
        stores = MultiStore([liar, RemoteStore(server.url)])
        assert stores.fetch(cid, own, max_bytes=len(data)).read_bytes() == data
        assert "liar" in stores.liars
        server.close()
        assert stores.fetch(cid, own, max_bytes=len(data)).read_bytes() == data, "the second time it is there"

    def test_nothing_of_a_failed_fetch_is_kept(self, tmp_path: Path, dead: Fake) -> None:
        own = BlobFolder(tmp_path / "own")
        with pytest.raises(BlobUnavailableError):
            MultiStore([dead]).fetch(CID, own, max_bytes=100)
        assert list(own.list()) == []

    def test_own_blob_that_is_too_long_is_an_error(self, folder: BlobFolder, dead: Fake) -> None:
        folder.put(DATA)
        with pytest.raises(BlobOversizedError):
            MultiStore([dead]).fetch(CID, folder, max_bytes=3)


class TestWriting:
    def test_put_goes_to_the_first(self, tmp_path: Path) -> None:
        first, second = BlobFolder(tmp_path / "a"), BlobFolder(tmp_path / "b")
        MultiStore([first, second]).put(DATA)
        assert (first.has(CID), second.has(CID)) == (True, False)

    def test_push_reaches_every_store_that_takes_it(self, folder: BlobFolder, dead: Fake, store: RemoteStore) -> None:
        report = MultiStore([dead, folder, store]).push(DATA)
        assert report.cid == CID
        assert report.accepted == (folder.name, store.name)
        assert list(report.refused) == ["dead"]

    def test_push_that_reaches_nobody_fails(self, dead: Fake) -> None:
        with pytest.raises(BlobUnavailableError, match="No store took"):
            MultiStore([dead]).push(DATA)

    def test_no_stores_are_refused(self) -> None:
        with pytest.raises(ConfigError):
            MultiStore([])


class TestOpening:
    def test_each_kind_by_its_address(self, tmp_path: Path, server: EmbeddedStoreServer) -> None:
        assert isinstance(open_store(f"file://{tmp_path}/store"), BlobFolder)
        remote = open_store(server.url, ALICE, STUDY, chain_id=CHAIN_ID)
        assert remote.get(remote.put(DATA), max_bytes=100) == DATA
        kubo = open_store("kubo://user:secret@127.0.0.1:5001")
        assert isinstance(kubo, Store)
        assert kubo.name == "kubo://127.0.0.1:5001"

    def test_several_as_one(self, tmp_path: Path, server: EmbeddedStoreServer) -> None:
        stores = open_stores([f"file://{tmp_path}/own", server.url], ALICE, STUDY, chain_id=CHAIN_ID)
        assert stores.push(DATA).accepted == (f"file://{tmp_path}/own", server.url)

    @pytest.mark.parametrize(
        "uri",
        ["", "store", "file:store", "file://host/store", "s3://bucket", "kubo://", "kubo://host/path", "http://",
         "kubo://host:0x", "http://[::1", "file:///a?b"],
    )  # fmt: skip
    def test_unknown_addresses_are_refused(self, uri: str) -> None:
        with pytest.raises(StoreAddressError):
            open_store(uri)
