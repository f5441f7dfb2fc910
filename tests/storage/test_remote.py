"""The client of embedded stores: retries what may pass, believes nothing it is served."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidMismatchError,
    CollegiumError,
    QuotaExceededError,
    StoreUnreachableError,
    UnauthorizedError,
)
from collegium.storage import remote
from collegium.storage.cid import cid_of
from collegium.storage.embedded import EmbeddedStoreServer
from collegium.storage.errors import StoreAddressError, StoreAnswerError
from collegium.storage.remote import RemoteStore

from .actors import ALICE, CHAIN_ID, MALLORY, MIB, STUDY, is_member, keystream, server_answering

DATA = b"an update"
CID = cid_of(DATA)


def reader(url: str) -> RemoteStore:
    return RemoteStore(url, timeout=2, pause=0.01)


@contextmanager
def raw_server(answer: bytes, *, pause: float = 0.0) -> Iterator[str]:
    """URL of a server that sends these bytes to everyone, one by one when `pause` is given."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                try:
                    connection.recv(65536)
                    for piece in [answer] if not pause else [answer[i : i + 1] for i in range(len(answer))]:
                        connection.sendall(piece)
                        if stop.wait(pause):
                            break
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        thread.join()
        listener.close()


class TestHonestStore:
    @pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB])
    def test_what_is_put_is_read(self, store: RemoteStore, server: EmbeddedStoreServer, size: int) -> None:
        data = b"".join(keystream("remote", size))
        cid = store.put(data)
        assert cid == cid_of(data)
        assert store.has(cid)
        assert reader(server.url).get(cid, max_bytes=size) == data
        assert b"".join(store.stream(cid, max_bytes=size)) == data

    def test_file_is_put_like_its_bytes(self, store: RemoteStore, tmp_path: Path) -> None:
        path = tmp_path / "blob"
        path.write_bytes(bytes(2 * MIB))
        assert store.get(store.put(path), max_bytes=2 * MIB) == bytes(2 * MIB)

    def test_missing_blob_is_missing(self, store: RemoteStore) -> None:
        assert not store.has(CID)
        with pytest.raises(BlobNotFoundError):
            store.get(CID, max_bytes=100)

    def test_longer_blob_is_not_fetched(self, store: RemoteStore) -> None:
        cid = store.put(DATA)
        with pytest.raises(BlobOversizedError, match="announces 9 bytes"):
            store.get(cid, max_bytes=8)

    def test_refusals_keep_their_reason(self, server: EmbeddedStoreServer) -> None:
        with pytest.raises(UnauthorizedError, match="only with a signature"):
            reader(server.url).put(DATA)
        with pytest.raises(UnauthorizedError, match="not a node key of a member"):
            RemoteStore(server.url, MALLORY, STUDY, chain_id=CHAIN_ID).put(DATA)
        alice = RemoteStore(server.url, ALICE, STUDY, chain_id=CHAIN_ID)
        with pytest.raises(BlobOversizedError, match="at most 4194304"):
            alice.put(bytes(5 * MIB))
        alice.put(bytes(4 * MIB))
        with pytest.raises(QuotaExceededError):
            alice.put(b"\x01" * 3 * MIB)

    def test_wrong_clock_goes_by_that_of_the_store(self, server: EmbeddedStoreServer) -> None:
        off = [-500.0]
        alice = RemoteStore(server.url, ALICE, STUDY, chain_id=CHAIN_ID, clock=lambda: time.time() + off[0])
        for number, seconds in enumerate((-500.0, 0.0, 10**6)):
            off[0] = seconds
            assert server.folder.has(alice.put(b"put by a wrong clock %d" % number))

    def test_store_that_tells_another_time_than_it_checks_is_not_asked_for_ever(self, tmp_path: Path) -> None:
        with (
            EmbeddedStoreServer(tmp_path, is_member, chain_id=CHAIN_ID, clock=lambda: time.time() + 500) as odd,
            pytest.raises(UnauthorizedError, match="120 s are accepted"),
        ):
            RemoteStore(odd.url, ALICE, STUDY, chain_id=CHAIN_ID).put(DATA)

    def test_many_threads_share_one_client(self, store: RemoteStore) -> None:
        results: list[bytes] = []

        def work(number: int) -> None:
            data = bytes([number]) * 10_000
            results.append(store.get(store.put(data), max_bytes=10_000))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [bytes([number]) * 10_000 for number in range(12)]


class TestLyingStore:
    def test_other_bytes_are_found(self) -> None:
        with server_answering(200, b"altered!!") as url, pytest.raises(CidMismatchError, match="lies or is broken"):
            reader(url).get(CID, max_bytes=100)

    def test_endless_answer_is_cut_off(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        with raw_server(head + bytes(1 << 20)) as url, pytest.raises(BlobOversizedError):
            reader(url).get(CID, max_bytes=1000)

    def test_short_answer_is_no_blob(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
        with raw_server(head + b"an") as url, pytest.raises(StoreUnreachableError, match="broke off"):
            reader(url).get(CID, max_bytes=100)

    def test_compressed_bomb_is_not_unfolded(self) -> None:
        bomb = gzip.compress(bytes(50 * MIB))
        with (
            server_answering(200, bomb, {"Content-Encoding": "gzip"}) as url,
            pytest.raises((BlobOversizedError, CidMismatchError)),
        ):
            reader(url).get(CID, max_bytes=MIB)

    def test_redirect_is_not_followed(self, server: EmbeddedStoreServer) -> None:
        server.folder.put(DATA)
        with (
            server_answering(302, b"", {"Location": f"{server.url}/v1/blobs/{CID}"}) as url,
            pytest.raises(StoreAnswerError, match="302"),
        ):
            reader(url).get(CID, max_bytes=100)

    def test_dripping_answer_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote, "SLOWEST_BYTES_PER_SECOND", 1 << 30)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + bytes(500)
        started = time.monotonic()
        with raw_server(answer, pause=0.02) as url, pytest.raises(StoreUnreachableError, match="slowly"):
            RemoteStore(url, timeout=1.2, attempts=1).get(CID, max_bytes=1000)
        assert time.monotonic() - started < 8

    def test_terminal_codes_in_a_reason_are_dropped(self) -> None:
        with (
            server_answering(403, b"", {"X-Collegium-Message": "\x1b[2Jgone\x07"}) as url,
            pytest.raises(UnauthorizedError) as caught,
        ):
            reader(url).get(CID, max_bytes=100)
        assert "\x1b" not in str(caught.value)
        assert "gone" in str(caught.value)

    @pytest.mark.parametrize("answer", [b"", b"\x00\xff" * 50, b"HTTP/1.1 banana\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"])
    def test_other_protocols_are_unreachable_stores(self, answer: bytes) -> None:
        with raw_server(answer) as url, pytest.raises(CollegiumError) as caught:
            reader(url).get(CID, max_bytes=100)
        assert caught.value.exit_code == 5


class TestDeadStore:
    def test_is_unreachable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        dead = RemoteStore(f"http://127.0.0.1:{port}", ALICE, STUDY, chain_id=CHAIN_ID, pause=0.01)
        for call in (lambda: dead.get(CID, max_bytes=9), lambda: dead.put(DATA), lambda: dead.has(CID)):
            with pytest.raises(StoreUnreachableError, match="Connection refused"):
                call()

    def test_silent_store_times_out(self) -> None:
        with raw_server(b"H" * 1000, pause=1) as url, pytest.raises(StoreUnreachableError):
            RemoteStore(url, timeout=0.3, attempts=1).get(CID, max_bytes=9)

    def test_failing_store_is_asked_again(self) -> None:
        from collegium.storage.http_server import HttpServer, Response

        asked: list[str] = []

        def answer(method: str, path: str, headers: object, body: object) -> Response:
            asked.append(method)
            if len(asked) < 3:
                return Response(503, {"Content-Length": "0"})
            return Response(200, {"Content-Length": str(len(DATA))}, DATA)

        server = HttpServer(answer)
        server.start()
        try:
            assert RemoteStore(server.url, pause=0.01).get(CID, max_bytes=9) == DATA
            assert asked == ["GET"] * 3
        finally:
            server.close()

    def test_store_that_comes_back_takes_the_blob(self, server: EmbeddedStoreServer) -> None:
        url, folder = server.url, server.folder
        server.close()
        store = RemoteStore(url, ALICE, STUDY, chain_id=CHAIN_ID, attempts=8, pause=0.1)

        def revive() -> None:
            time.sleep(0.3)
            revived.append(
                EmbeddedStoreServer(
                    folder, lambda key, study: True, chain_id=CHAIN_ID, port=int(url.rsplit(":", 1)[1])
                ).start()
            )

        revived: list[EmbeddedStoreServer] = []
        thread = threading.Thread(target=revive)
        thread.start()
        try:
            assert store.put(DATA) == CID
        finally:
            thread.join()
            revived[0].close()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://host", "http://", "http://u:p@host", "http://host?x=1", "http://host:99999"]
)
def test_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(StoreAddressError):
        RemoteStore(url)
