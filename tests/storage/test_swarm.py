"""A private swarm of three real daemons, made by the command that users run; a fourth has no key and stays out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from collegium.errors import BlobNotFoundError, CollegiumError, KeyExistsError, KeystoreError, UsageError
from collegium.storage import open_store
from collegium.storage.cid import cid_of
from collegium.storage.errors import KuboFailedError, StoreFolderError
from collegium.storage.kubo_daemon import KuboDaemon, create_swarm_key
from collegium.storage.swarm import init_swarm
from scripts.setup.paths import ROOT

from .actors import MIB, keystream

pytestmark = pytest.mark.kubo
BLOB = b"".join(keystream("swarm", 2 * MIB + 7))


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def swarm_init(folder: Path, *words: str) -> dict[str, object]:
    """`collegium store swarm-init`, as a user runs it."""
    api, gateway = free_ports(2)
    done = subprocess.run(
        [sys.executable, "-m", "collegium_client.cli", "store", "swarm-init", str(folder), *words,
         "--api-port", str(api), "--gateway-port", str(gateway), "--json"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/client"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    envelope = json.loads(done.stdout)
    assert envelope["ok"], envelope["error"]
    return dict(envelope["data"])


@dataclass
class Swarm:
    key: Path
    coordinator: KuboDaemon
    second: KuboDaemon
    hospital: KuboDaemon


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """Two coordinators that listen, and a hospital that only dials them."""
    home = tmp_path_factory.mktemp("swarm")
    one, two = (f"/ip4/127.0.0.1/tcp/{port}" for port in free_ports(2))
    first = swarm_init(home / "a", "--listen", one)
    key = Path(str(first["key"]))
    second = swarm_init(home / "b", "--key", str(key), "--listen", two, "--peer", first["addresses"][0])  # type: ignore[index]
    peers = [word for made in (first, second) for word in ("--peer", made["addresses"][0])]  # type: ignore[index]
    swarm_init(home / "c", "--key", str(key), "--outbound-only", *peers)
    with ExitStack() as stack:
        running = [stack.enter_context(KuboDaemon(home / name, configured=True)) for name in "abc"]
        for daemon in running:
            # Kubo dials its peers 5 to 10 seconds after its start; the tests do not wait for that.
            for peer in daemon._call("swarm/peering/ls").get("Peers") or []:
                daemon._call("swarm/connect", arg=f"{peer['Addrs'][0]}/p2p/{peer['ID']}")
        yield Swarm(key, *running)


class TestThreeDaemons:
    def test_blob_put_at_one_is_read_through_the_third(self, swarm: Swarm) -> None:
        cid = open_store(swarm.coordinator.uri).put(BLOB)
        assert not open_store(swarm.hospital.uri).has(cid)
        assert open_store(swarm.hospital.uri).get(cid, max_bytes=len(BLOB)) == BLOB

    def test_blob_of_one_that_only_dials_is_read_too(self, swarm: Swarm) -> None:
        cid = open_store(swarm.hospital.uri).put(BLOB[1:])
        assert open_store(swarm.second.uri).get(cid, max_bytes=len(BLOB)) == BLOB[1:]

    def test_gateway_gives_what_is_there_and_fetches_nothing(self, swarm: Swarm) -> None:
        cid = open_store(swarm.coordinator.uri).put(b"only at the coordinator")
        assert open_store(swarm.coordinator.gateway_uri).get(cid, max_bytes=100) == b"only at the coordinator"
        with pytest.raises(BlobNotFoundError):
            open_store(swarm.second.gateway_uri).get(cid, max_bytes=100)

    def test_only_members_are_known(self, swarm: Swarm) -> None:
        members = {daemon.peer_id() for daemon in (swarm.coordinator, swarm.second, swarm.hospital)}
        for daemon in (swarm.coordinator, swarm.second, swarm.hospital):
            assert {daemon.peer_id(), *daemon.peers()} == members

    def test_rpc_and_gateway_are_on_loopback_and_a_hospital_listens_to_nobody_else(self, swarm: Swarm) -> None:
        assert swarm.hospital.pid is not None
        listening = [
            each.laddr for each in psutil.Process(swarm.hospital.pid).net_connections(kind="inet")
            if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM
        ]  # fmt: skip
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert len(listening) == 2, "RPC and gateway"

    @pytest.mark.parametrize("key", [None, create_swarm_key()], ids=["no-key", "other-key"])
    def test_stranger_cannot_connect(self, swarm: Swarm, tmp_path: Path, key: str | None) -> None:
        with KuboDaemon(tmp_path / "stranger", swarm_key=key) as stranger:
            with pytest.raises(KuboFailedError, match="swarm/connect"):
                stranger.connect(swarm.coordinator)
            assert stranger.peers() == []
            with pytest.raises(CollegiumError):
                store = open_store(stranger.uri)
                store._fetch_timeout = 1  # type: ignore[attr-defined]
                store.get(cid_of(BLOB), max_bytes=len(BLOB))


class TestInit:
    def test_again_adds_peers_and_keeps_key_and_identity(self, tmp_path: Path) -> None:
        first = init_swarm(tmp_path / "repo")
        peer = f"/dns4/other.example/tcp/4001/p2p/{first.peer_id}"
        again = init_swarm(tmp_path / "repo", peers=[peer])
        assert (again.peer_id, again.peers, again.is_new_key) == (first.peer_id, (peer,), False)
        assert init_swarm(tmp_path / "repo").peers == (peer,)
        assert first.key.stat().st_mode & 0o077 == 0
        assert (tmp_path / "repo" / "config").stat().st_mode & 0o077 == 0

    def test_key_of_another_swarm_is_refused(self, tmp_path: Path) -> None:
        init_swarm(tmp_path / "repo")
        (tmp_path / "other.key").write_text(create_swarm_key())
        with pytest.raises(KeyExistsError):
            init_swarm(tmp_path / "repo", key=tmp_path / "other.key")

    def test_what_is_no_key_is_refused_before_anything_is_made(self, tmp_path: Path) -> None:
        (tmp_path / "bad.key").write_text("/key/swarm/psk/1.0.0/\n/base16/\nshort\n")
        for path in (tmp_path / "bad.key", tmp_path / "absent.key"):
            with pytest.raises(KeystoreError):
                init_swarm(tmp_path / "repo", key=path)
        assert not (tmp_path / "repo").exists()

    def test_repository_without_key_is_refused(self, tmp_path: Path) -> None:
        init_swarm(tmp_path / "repo").key.unlink()
        with pytest.raises(StoreFolderError, match="without a swarm key"):
            init_swarm(tmp_path / "repo")

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "1.2.3.4:4001",
            "/ip4/1.2.3.4/tcp/4001",
            f"/ip4/1.2.3/tcp/1/p2p/{'Q' * 46}",
            f"/ip4/1.2.3.4/tcp/70000/p2p/{'Q' * 46}",
            f"/dns4/a b/tcp/1/p2p/{'Q' * 46}",
        ],
    )
    def test_what_is_no_peer_is_refused(self, tmp_path: Path, address: str) -> None:
        with pytest.raises(UsageError, match="no address"):
            init_swarm(tmp_path / "repo", peers=[address])
