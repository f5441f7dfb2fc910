"""A coordinator with TLS on a real chain: the roster decides, rotation and revocation at once, hospitals check back."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import tomlkit

from collegium.chain import LocalSigner, NetworkSettings, intents, keystore
from collegium.messages import pack_commits
from collegium.storage.remote import RemoteStore
from collegium.transport.client import Transport
from collegium.transport.errors import InsecureListenError, PeerRefusedError
from collegium.transport.failures import failure_of
from collegium.transport.party import make_transport
from collegium.transport.settings import TlsSettings
from collegium_client.reaching import find_refusals
from collegium_coordinator.cli import run
from collegium_coordinator.commands import announce
from collegium_coordinator.inbox import Topic
from collegium_coordinator.running import Coordinator
from collegium_coordinator.settings import CoordinatorSettings
from tests.support.accounts import Account
from tests.support.federation import Federation

from .desk import Desk

pytestmark = pytest.mark.chain

Serve = Callable[..., Coordinator]


def network(federation: Federation) -> NetworkSettings:
    return NetworkSettings(
        rpc_url=federation.devnet.url, chain_id=federation.chain.chain_id, poll_interval=0.05, retry_for=0.2,
        deployment=federation.folder / "deployment.json",
    )  # fmt: skip


@pytest.fixture
def serve(federation: Federation, tmp_path: Path) -> Iterator[Serve]:
    """A coordinator with TLS on loopback."""
    made: list[Coordinator] = []

    def build(*, tls: dict[str, Any] | None = None, **settings: Any) -> Coordinator:
        home = tmp_path / f"coordinator-{len(made)}"
        files = TlsSettings(home / "tls" / "node.pem", mode="on")
        chosen = CoordinatorSettings(
            home, network(federation), home / "unused", study=federation.study_id,
            tls=replace(files, **(tls or {})), **settings,
        )  # fmt: skip
        made.append(Coordinator(chosen, federation.aggregators[0].node.signer))
        return made[-1]

    yield build
    for each in made:
        each.close()


@pytest.fixture
def reach(federation: Federation, tmp_path: Path) -> Callable[..., Transport]:
    """A hospital's way to a coordinator; without a pin it looks the server up on the chain."""

    def build(signer: LocalSigner, url: str, pin: str = "enlisted") -> Transport:
        home = tmp_path / signer.address
        return make_transport(
            network(federation), TlsSettings(home / "tls" / "node.pem"), signer=lambda: signer,
            chain=lambda: federation.chain, pins={url: pin}, coordinators=[url],
        )  # fmt: skip

    return build


def ask(transport: Transport, url: str) -> requests.Response:
    return transport.session(url).get(f"{url}/v1/info", timeout=5)


def refused_because(answer: requests.Response) -> str:
    assert answer.status_code == 403, answer.text
    return str(answer.json()["message"])


class TestRoster:
    def test_members_and_aggregators_before_the_first_round(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        url = serve().url
        for member in (*federation.members, *federation.aggregators):
            assert ask(reach(member.node.signer, url), url).status_code == 200

    def test_strangers_and_the_merely_admitted_are_refused(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        running = serve()
        admitted = federation.admit("no-member")
        running.step()
        said = refused_because(ask(reach(admitted.node.signer, running.url), running.url))
        assert f"not in the roster of study {federation.study_id}" in said
        said = refused_because(ask(reach(LocalSigner(b"\x07" * 32), running.url), running.url))
        assert "belongs to no institution" in said

    def test_rotated_key_is_refused_and_its_successor_let_in(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        running, member = serve(), federation.members[1]
        old = reach(member.node.signer, running.url).session(running.url)
        assert old.get(f"{running.url}/v1/info", timeout=5).status_code == 200
        fresh = Account(federation.chain, b"\x09" * 32)
        federation.chain.rpc.request("anvil_setBalance", fresh.address, hex(10**20))
        federation.register_node_key(member.institution, fresh)
        running.step()
        # On the same connection, too.
        said = refused_because(old.get(f"{running.url}/v1/info", timeout=5))
        assert "was replaced by" in said and fresh.address in said
        assert ask(reach(fresh.signer, running.url), running.url).status_code == 200

    def test_revoked_key_is_refused(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        running, member = serve(), federation.members[2]
        federation.members[2].node.send(intents.revoke_node_key(member.node.address))
        running.step()
        assert "was revoked" in refused_because(ask(reach(member.node.signer, running.url), running.url))

    def test_strangers_cost_the_node_no_call(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = serve()
        running.step()
        calls: list[str] = []
        monkeypatch.setattr(running.chain.rpc, "request", lambda method, *_: calls.append(method))
        pin = federation.aggregators[0].node.address
        for at in range(3):
            transport = reach(LocalSigner(bytes([at + 20]) * 32), running.url, pin=pin)
            refused_because(ask(transport, running.url))
        assert not calls


class TestServer:
    def test_hospital_wants_an_enlisted_aggregator(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        """The server's key is right until its institution delists."""
        url, member = serve().url, federation.members[0].node.signer
        assert ask(reach(member, url), url).status_code == 200
        federation.aggregators[0].institution.send(intents.delist(federation.study_id))
        with pytest.raises(requests.RequestException) as caught:
            ask(reach(member, url), url)
        found = failure_of(caught.value)
        assert isinstance(found, PeerRefusedError) and "aggregator of no study" in found.message

    def test_messages_and_blobs_pass(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        running = serve()
        federation.open_round()
        signer = federation.members[0].node.signer
        transport = reach(signer, running.url)
        item = pack_commits([federation.prepare(0).signed]).hex()
        body = {"study": federation.study_id, "round": 1, "item": item}
        sent = transport.session(running.url).post(f"{running.url}/v1/updates", json=body, timeout=5)
        assert (sent.status_code, sent.json()["index"]) == (202, 0)
        options: dict[str, Any] = {"chain_id": federation.chain.chain_id, "transport": transport}
        store = RemoteStore(running.url, signer, federation.study_id, **options)
        blob = b"a blob over TLS" * 100_000
        assert store.get(store.put(blob), max_bytes=len(blob)) == blob

    def test_certificate_is_renewed_while_serving(self, serve: Serve, federation: Federation) -> None:
        running = serve(tls={"valid_days": 40, "renew_days": 39})
        path = running._settings.tls.certificate if running._settings.tls else Path()
        first, port = path.read_bytes(), int(running.url.rpartition(":")[2])
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
        assert shown.encode() in first
        gate = running._server._server.gate
        assert gate is not None
        gate._identity._clock = lambda: time.time() + 2 * 86400
        gate._identity._looked_at = -1e9
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
        assert path.read_bytes() != first and shown.encode() in path.read_bytes()


class TestTelling:
    """What a client says at its start, and doctor at any time."""

    def test_refusals_are_told_with_the_next_step(
        self, serve: Serve, reach: Callable[..., Transport], federation: Federation
    ) -> None:
        url, member = serve().url, federation.members[0].node.signer
        stranger = LocalSigner(b"\x0b" * 32)
        assert find_refusals(reach(member, url), [url]) == []
        (told,) = find_refusals(reach(stranger, url), [url])
        assert (told["coordinator"], told["code"]) == (url, "peer_refused")
        assert "belongs to no institution" in told["reason"] and "institution register" in told["next"]
        (told,) = find_refusals(reach(federation.members[1].node.signer, url, pin=member.address), [url])
        assert member.address in told["reason"] and "coordinators.pins" in told["next"]

    def test_silence_is_no_refusal(self, reach: Callable[..., Transport], federation: Federation) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        assert find_refusals(reach(federation.members[0].node.signer, url), [url]) == []

    def test_status_of_our_own_coordinator(
        self, serve: Serve, federation: Federation, capsys: pytest.CaptureFixture[str]
    ) -> None:
        running = serve()
        home = running._settings.home
        keystore.save(home / "keystore" / "node.json", federation.aggregators[0].node.signer, "x", light=True)
        network = {
            "rpc_url": federation.devnet.url, "chain_id": federation.chain.chain_id,
            "deployment": str(federation.folder / "deployment.json"),
        }  # fmt: skip
        (home / "collegium.toml").write_text(tomlkit.dumps({"network": network}))
        announce(home, running.url, {})
        assert run(["status", "--home", str(home), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["data"]["study"] == federation.study_id


class TestListening:
    @pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
    def test_open_address_without_tls_refuses_to_start(self, listen: str, tmp_path: Path) -> None:
        files = TlsSettings(tmp_path / "node.pem", mode="off")
        settings = CoordinatorSettings(tmp_path, NetworkSettings(), tmp_path, listen=listen, tls=files)
        with pytest.raises(InsecureListenError, match=r"other machines") as caught:
            settings.speaks_tls()
        assert "--insecure" in caught.value.hint
        assert not replace(settings, insecure=True).speaks_tls()

    def test_auto_speaks_tls_beyond_loopback(self, tmp_path: Path) -> None:
        settings = CoordinatorSettings(tmp_path, NetworkSettings(), tmp_path, listen="0.0.0.0:0")
        assert settings.speaks_tls()
        assert not replace(settings, listen="127.0.0.1:0").speaks_tls()
        assert not replace(settings, insecure=True).speaks_tls()

    def test_refuses_before_it_listens(self, federation: Federation, tmp_path: Path) -> None:
        home = tmp_path / "insecure"
        files = TlsSettings(home / "tls" / "node.pem", mode="off")
        settings = CoordinatorSettings(
            home, network(federation), home / "unused", study=federation.study_id, listen="0.0.0.0:0", tls=files
        )
        with pytest.raises(InsecureListenError):
            Coordinator(settings, federation.aggregators[0].node.signer)


class TestSpam:
    def test_bad_messages_read_the_chain_once_in_a_while(
        self, desk: Callable[..., Desk], federation: Federation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = desk()
        federation.open_round()
        mine.view()
        read: list[float] = []
        monkeypatch.setattr(mine.intake, "_refresh", lambda: read.append(time.monotonic()) or mine.follower.refresh())
        monkeypatch.setattr(mine.intake, "_refresh_every", 0.4)
        began = time.monotonic()
        refusals = 0
        while time.monotonic() - began < 1.0:
            with pytest.raises(Exception, match=r"not the current one"):
                mine.take(Topic.UPDATES, b"\x00", round=999)
            refusals += 1
        assert refusals > 50 and len(read) <= 4

    def test_honest_message_ahead_of_the_view_is_still_taken_between_spam(
        self, desk: Callable[..., Desk], federation: Federation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever reads the chain next, the coordinator's own loop for one, serves all."""
        mine = desk()
        mine.view()
        monkeypatch.setattr(mine.intake, "_refresh_every", 60.0)
        federation.open_round()
        wire = pack_commits([federation.prepare(0).signed])
        assert mine.take(Topic.UPDATES, wire)["index"] == 0
