"""Real Kubo: two daemons in a private swarm, one puts, the other fetches; and RPCs that lie."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidMismatchError,
    StoreUnreachableError,
    UnauthorizedError,
)
from collegium.storage import MultiStore, open_store
from collegium.storage.cid import Cid, cid_of
from collegium.storage.errors import (
    BlobUnavailableError,
    KuboFailedError,
    KuboMissingError,
    StoreAddressError,
    StoreAnswerError,
)
from collegium.storage.http_server import Body, HttpServer, Response
from collegium.storage.kubo import KuboStore
from collegium.storage.kubo_daemon import KuboDaemon, create_swarm_key, find_kubo
from collegium.storage.store import OwnStore
from collegium.storage.unixfs import read_blob

from .actors import MIB, Blocks, keystream

LOGIN = ("hospital", "p@ss:word/")


def store_of(daemon: KuboDaemon, fetch_timeout: float = 30.0) -> KuboStore:
    store = open_store(daemon.uri)
    assert isinstance(store, KuboStore)
    store._fetch_timeout = fetch_timeout
    return store


@dataclass
class Swarm:
    near: KuboDaemon
    far: KuboDaemon


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """Two daemons that know only each other; the far one asks for a password."""
    home = tmp_path_factory.mktemp("kubo")
    key = create_swarm_key()
    with (
        KuboDaemon(home / "near", swarm_key=key) as near,
        KuboDaemon(home / "far", swarm_key=key, authorization=LOGIN) as far,
    ):
        far.connect(near)
        yield Swarm(near, far)


@pytest.mark.kubo
class TestTwoNodes:
    def test_they_are_two_nodes_that_see_only_each_other(self, swarm: Swarm) -> None:
        assert swarm.near.peer_id() != swarm.far.peer_id()
        assert swarm.far.peers() == [swarm.near.peer_id()]
        assert swarm.near.peers() == [swarm.far.peer_id()]

    @pytest.mark.parametrize("size", [1, 256, 262_145, MIB, MIB + 1, 5 * MIB + 3])
    def test_what_one_puts_the_other_fetches(self, swarm: Swarm, size: int) -> None:
        data = b"".join(keystream(f"kubo-{size}", size))
        near, far = store_of(swarm.near), store_of(swarm.far)
        cid = near.put(data)
        assert cid == cid_of(data)
        assert near.has(cid)
        assert not far.has(cid)
        assert far.get(cid, max_bytes=size) == data
        assert far.has(cid), "what was fetched stays there"

    def test_block_by_block_is_the_same(self, swarm: Swarm) -> None:
        data = b"".join(keystream("blocks", 3 * MIB + 1))
        cid = store_of(swarm.near).put(data)
        assert b"".join(read_blob(cid, store_of(swarm.far).block, max_bytes=len(data))) == data

    def test_file_is_put_like_its_bytes(self, swarm: Swarm, tmp_path: Path) -> None:
        path = tmp_path / "blob"
        path.write_bytes(bytes(2 * MIB + 5))
        assert store_of(swarm.near).put(path) == cid_of(path)

    def test_pinned_by_the_other_survives_the_first(self, swarm: Swarm, tmp_path: Path) -> None:
        key = create_swarm_key()
        data = b"".join(keystream("pinned", 2 * MIB))
        with KuboDaemon(tmp_path / "b", swarm_key=key) as second:
            with KuboDaemon(tmp_path / "a", swarm_key=key) as first:
                second.connect(first)
                cid = store_of(first).put(data)
                store_of(second).pin(cid)
            assert store_of(second, 2).get(cid, max_bytes=len(data)) == data

    def test_absent_blob_is_given_up_in_time(self, swarm: Swarm) -> None:
        far = store_of(swarm.far, fetch_timeout=1)
        started = time.monotonic()
        with pytest.raises(BlobNotFoundError, match="did not find"):
            far.get(cid_of(b"never added"), max_bytes=100)
        assert not far.has(cid_of(b"never added"))
        assert time.monotonic() - started < 8

    def test_longer_blob_is_not_fetched(self, swarm: Swarm) -> None:
        cid = store_of(swarm.near).put(bytes(3 * MIB))
        far = store_of(swarm.far)
        with pytest.raises(BlobOversizedError, match="3145728 bytes"):
            far.get(cid, max_bytes=3 * MIB - 1)
        assert not far.has(cid)

    def test_blob_can_be_unpinned_once(self, swarm: Swarm) -> None:
        near = store_of(swarm.near)
        cid = near.put(b"for a while")
        assert near.remove(cid)
        assert not near.remove(cid)

    def test_removed_blob_is_gone_after_collection_and_leaves_shared_blocks(self, swarm: Swarm) -> None:
        near = store_of(swarm.near)
        assert isinstance(near, OwnStore)
        first = b"".join(keystream("shared", MIB))
        one, other = near.put(first + b"one"), near.put(first + b"other")
        assert {one, other} <= set(near.list())
        assert near.remove(one)
        near._client.repo.gc(quiet=True)
        assert one not in set(near.list())
        assert not near.has(one)
        assert near.get(other, max_bytes=MIB + 5) == first + b"other"

    def test_password_is_needed_and_not_shown(self, swarm: Swarm) -> None:
        port = int(swarm.far.uri.rsplit(":", 1)[1])
        with pytest.raises(UnauthorizedError, match="user and a password"):
            KuboStore(port=port).put(b"data")
        with pytest.raises(UnauthorizedError):
            KuboStore(port=port, username="hospital", password="guess").has(cid_of(b"data"))
        far = store_of(swarm.far)
        assert LOGIN[1] not in far.name
        assert far.version().startswith("0.")

    def test_environment_proxies_are_not_asked(self, swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert store_of(swarm.near).put(b"direct") == cid_of(b"direct")


OWNER = """
import sys, time
from pathlib import Path
from collegium.storage.kubo_daemon import KuboDaemon

print(KuboDaemon(Path(sys.argv[1])).start().pid, flush=True)
time.sleep(60)
"""


@pytest.mark.kubo
class TestDaemon:
    def test_ports_are_on_loopback_only(self, swarm: Swarm) -> None:
        assert swarm.near.pid is not None
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(swarm.near.pid).net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
        ]
        assert listening
        assert set(listening) == {"127.0.0.1"}

    def test_blobs_survive_a_restart(self, tmp_path: Path) -> None:
        with KuboDaemon(tmp_path / "repo") as daemon:
            cid = store_of(daemon).put(b"kept")
            peer = daemon.peer_id()
        with KuboDaemon(tmp_path / "repo") as daemon:
            assert store_of(daemon).get(cid, max_bytes=10) == b"kept"
            assert daemon.peer_id() == peer

    def test_daemon_of_a_killed_owner_is_replaced(self, tmp_path: Path) -> None:
        owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path / "repo")], stdout=subprocess.PIPE)
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        owner.stdout.close()
        with KuboDaemon(tmp_path / "repo") as daemon:
            assert daemon.pid not in (None, orphan)
            assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE

    def test_daemon_of_a_living_owner_is_left_alone(self, tmp_path: Path) -> None:
        with KuboDaemon(tmp_path / "repo") as daemon:
            with pytest.raises(KuboFailedError, match="belongs to process"):
                KuboDaemon(tmp_path / "repo").start()
            assert store_of(daemon).version()

    def test_pid_of_somebody_else_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "repo").mkdir()
        record = {"pid": os.getpid(), "started": 1.0, "owner": 1, "owner_started": 1.0}
        (tmp_path / "repo" / "daemon.json").write_text(json.dumps(record))
        with KuboDaemon(tmp_path / "repo") as daemon:
            assert daemon.pid not in (None, os.getpid())

    def test_killed_daemon_is_unreachable(self, tmp_path: Path) -> None:
        with KuboDaemon(tmp_path / "repo") as daemon:
            store = store_of(daemon)
            cid = store.put(b"data")
            assert daemon.pid is not None
            os.kill(daemon.pid, signal.SIGKILL)
            for _ in range(100):
                if daemon.pid is None:
                    break
                time.sleep(0.05)
            with pytest.raises(StoreUnreachableError):
                store.get(cid, max_bytes=10)

    def test_broken_repository_is_explained(self, tmp_path: Path) -> None:
        with KuboDaemon(tmp_path / "repo") as daemon:
            daemon.stop()
        (tmp_path / "repo" / "swarm.key").write_text("nonsense")
        with pytest.raises(KuboFailedError, match="ended with"):
            KuboDaemon(tmp_path / "repo").start()


class Rpc:
    """A daemon's RPC in our own hands, to answer what no honest daemon would."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.file: bytes = b""
        self.added = ""
        self.calls: list[tuple[str, Mapping[str, str]]] = []

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> Response:
        command, _, query = path.removeprefix("/api/v0/").partition("?")
        options = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in query.split("&"))}
        self.calls.append((command, options))
        if command == "block/get":
            cid = Cid.from_bytes(_decode(options["arg"]))
            return _answer(self.blocks(cid, 1 << 30))
        if command == "cat":
            return _answer(self.file)
        if command == "add":
            return _answer(json.dumps({"Name": "x", "Hash": self.added, "Size": "1"}).encode() + b"\n")
        return _answer(b"{}")


def _decode(text: str) -> bytes:
    from collegium.storage.cid import parse_cid

    return parse_cid(text).to_bytes()


def _answer(data: bytes) -> Response:
    return Response(200, {"Content-Length": str(len(data)), "Content-Type": "application/json"}, data)


@contextmanager
def lying_daemon(rpc: Rpc) -> Iterator[KuboStore]:
    server = HttpServer(rpc)
    server.start()
    try:
        yield KuboStore(port=server.port, timeout=2, fetch_timeout=2)
    finally:
        server.close(0.2)


class TestLyingDaemon:
    DATA = b"".join(keystream("lying", 2 * MIB + 1))

    def test_other_block_is_found(self) -> None:
        blocks = Blocks()
        cid = blocks.add(b"small")
        blocks.altered[cid.digest] = b"smell"
        with lying_daemon(Rpc(blocks)) as store, pytest.raises(CidMismatchError):
            store.get(cid, max_bytes=10)

    def test_other_file_is_found(self) -> None:
        rpc = Rpc(Blocks())
        cid = rpc.blocks.add(self.DATA)
        rpc.file = bytes(len(self.DATA))
        with lying_daemon(rpc) as store:
            with pytest.raises(CidMismatchError):
                store.get(cid, max_bytes=len(self.DATA))
            with pytest.raises(BlobUnavailableError) as caught:
                MultiStore([store]).get(cid, max_bytes=len(self.DATA))
        assert caught.value.liars == [store.name]

    def test_longer_file_is_cut_off(self) -> None:
        rpc = Rpc(Blocks())
        cid = rpc.blocks.add(self.DATA)
        rpc.file = self.DATA + bytes(5 * MIB)
        with lying_daemon(rpc) as store, pytest.raises(BlobOversizedError):
            store.get(cid, max_bytes=1 << 30)

    def test_shorter_file_is_a_broken_transfer_not_a_lie(self) -> None:
        rpc = Rpc(Blocks())
        cid = rpc.blocks.add(self.DATA)
        rpc.file = self.DATA[:MIB]
        with lying_daemon(rpc) as store, pytest.raises(StoreUnreachableError, match="broke off"):
            store.get(cid, max_bytes=1 << 30)

    def test_huge_block_is_cut_off(self) -> None:
        rpc = Rpc(Blocks())
        cid = rpc.blocks.add(b"small")
        rpc.blocks.altered[cid.digest] = bytes(8 * MIB)
        with lying_daemon(rpc) as store, pytest.raises(BlobOversizedError):
            store.get(cid, max_bytes=10)

    def test_daemon_that_builds_another_cid_is_refused(self) -> None:
        rpc = Rpc(Blocks())
        rpc.added = cid_of(b"another").text
        with lying_daemon(rpc) as store, pytest.raises(CidMismatchError, match="instead of"):
            store.put(b"data")
        assert rpc.calls[-1][0] == "pin/rm"

    def test_answer_that_is_no_cid_is_refused(self) -> None:
        rpc = Rpc(Blocks())
        rpc.added = "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7"
        with lying_daemon(rpc) as store, pytest.raises(StoreAnswerError, match="no CID"):
            store.put(b"data")

    def test_every_parameter_of_the_profile_is_sent(self) -> None:
        rpc = Rpc(Blocks())
        rpc.added = cid_of(b"data").text
        with lying_daemon(rpc) as store:
            store.put(b"data")
        options = next(options for command, options in rpc.calls if command == "add")
        wanted = {"raw-leaves": "True", "cid-version": "1", "chunker": "size-1048576", "max-file-links": "1024"}
        assert {name: options.get(name) for name in wanted} == wanted
        assert (options["hash"], options["pin"]) == ("sha2-256", "True")


class TestWithoutDaemon:
    def test_dead_daemon_is_unreachable(self) -> None:
        store = KuboStore(port=9)
        for call in (lambda: store.put(b"x"), lambda: store.get(cid_of(b"x"), max_bytes=1), lambda: store.version()):
            with pytest.raises(StoreUnreachableError, match="Connection refused"):
                call()

    def test_missing_executable_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(KuboMissingError, match="make kubo"):
            find_kubo(tmp_path / "ipfs")

    def test_wrong_port_is_refused(self) -> None:
        with pytest.raises(StoreAddressError):
            KuboStore(port=0)

    def test_client_library_is_imported_at_first_use_only(self) -> None:
        code = "import sys, collegium.storage, collegium.storage.kubo; print('ipfshttpclient' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"
