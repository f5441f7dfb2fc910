"""The HTTP service of a running coordinator: what it answers to the polite and to the rude."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from collegium.chain import Contracts, LocalSigner, NetworkSettings, keystore
from collegium.errors import PreconditionError
from collegium.messages import pack_attestations, pack_commits
from collegium.records import Role
from collegium.storage.remote import RemoteStore
from collegium_coordinator.cli import run
from collegium_coordinator.running import Coordinator
from collegium_coordinator.service import MAX_MESSAGE_BYTES
from collegium_coordinator.settings import CoordinatorSettings
from tests.chain.lying import Proxy
from tests.support.federation import Federation

pytestmark = pytest.mark.chain

Build = Callable[..., Coordinator]


@pytest.fixture
def build(federation: Federation, tmp_path: Path) -> Iterator[Build]:
    made: list[Coordinator] = []

    def make(at: int = 0, *, rpc_url: str | None = None, signer: Any = None, **settings: Any) -> Coordinator:
        network = NetworkSettings(
            rpc_url=rpc_url or federation.devnet.url, chain_id=federation.chain.chain_id, poll_interval=0.05,
            retry_for=0.2, deployment=federation.folder / "deployment.json",
        )  # fmt: skip
        home = tmp_path / f"home-{len(made)}"
        chosen = CoordinatorSettings(home, network, home / "unused", study=federation.study_id, **settings)
        made.append(Coordinator(chosen, signer or federation.aggregators[at].node.signer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def post(url: str, topic: str, body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/{topic}", data=body if isinstance(body, bytes) else json.dumps(body), timeout=10)


def test_health_and_info(build: Build, federation: Federation) -> None:
    running = build()
    assert requests.get(f"{running.url}/health", timeout=5).json() == {"status": "ok"}
    info = requests.get(f"{running.url}/v1/info", timeout=5).json()
    assert info["study"] == federation.study_id and info["phase"] == "none" and info["round"] == 0
    assert info["aggregator"] == federation.aggregators[0].node.address
    federation.open_round()
    running.step()
    info = requests.get(f"{running.url}/v1/info", timeout=5).json()
    assert (info["round"], info["phase"]) == (1, "commit")
    assert info["deadline"] > 0 and info["on_duty"] == federation.aggregators[1].node.address


def test_message_is_taken(build: Build, federation: Federation) -> None:
    running = build()
    federation.open_round()
    wire = pack_commits([federation.prepare(0).signed])
    answer = post(running.url, "updates", {"study": federation.study_id, "round": 1, "item": wire.hex()})
    assert (answer.status_code, answer.json()["index"]) == (202, 0)


def test_refusals_have_a_status_and_a_reason(build: Build, federation: Federation) -> None:
    running = build()
    federation.open_round()
    signed = federation.prepare(0).signed
    good = {"study": federation.study_id, "round": 1, "item": pack_commits([signed]).hex()}
    stranger = pack_commits([federation.relay.sign(signed.message, federation.chain.domain())]).hex()
    cases: list[tuple[str, Any, int, str]] = [
        ("updates", b"{", 400, "not_json"),
        ("updates", b"[1]", 400, "not_json"),
        ("updates", b"", 400, "not_json"),
        ("updates", b"\xff\xfe", 400, "not_json"),
        ("updates", b"[" * 60_000, 400, "not_json"),
        ("updates", b"1" * (MAX_MESSAGE_BYTES + 1), 413, "message_too_large"),
        ("updates", good | {"study": 99}, 409, "study_unknown"),
        ("updates", good | {"round": 7}, 409, "deadline_passed"),
        ("reveals", good, 409, "wrong_phase"),
        ("updates", good | {"item": stranger}, 409, "not_a_member"),
        ("updates", good | {"item": "00"}, 422, "wire_length"),
        ("updates", good | {"item": good["item"] * 2}, 422, "wire_length"),
        ("endorsements", good, 422, "wire_length"),
    ]
    for topic, body, status, code in cases:
        answer = post(running.url, topic, body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (topic, body, answer.text)
        assert answer.json()["message"]
    assert post(running.url, "updates", good).status_code == 202


def test_a_full_disk_takes_nothing_and_says_so(
    build: Build, federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = build()
    federation.open_round()
    good = {"study": federation.study_id, "round": 1, "item": pack_commits([federation.prepare(0).signed]).hex()}

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("collegium_coordinator.inbox.Inbox.put", full)
        answer = post(running.url, "updates", good)
    assert (answer.status_code, answer.json()["code"]) == (507, "disk")
    # The hospital asks again later.
    assert post(running.url, "updates", good).status_code == 202


def test_wrong_methods_and_paths(build: Build) -> None:
    url = build().url
    assert requests.get(f"{url}/v1/updates", timeout=5).status_code == 405
    assert requests.put(f"{url}/v1/reveals", timeout=5).status_code == 405
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/v2/updates", "/v1/blobs/", "/v1/updates/1"):
        assert requests.get(f"{url}{path}", timeout=5).status_code in (400, 404), path


def test_attestations_are_shared(build: Build, federation: Federation) -> None:
    running = build()
    federation.open_round()
    federation.commit()
    federation.reveal()
    wires = [pack_attestations([federation.attest(seat)]) for seat in (1, 0)]
    for wire in wires:
        body = {"study": federation.study_id, "round": 1, "item": wire.hex()}
        assert post(running.url, "attestations", body).status_code == 202
    where = {"study": federation.study_id, "round": 1}
    shared = requests.get(f"{running.url}/v1/attestations", params=where, timeout=5).json()["items"]
    assert [bytes.fromhex(each) for each in shared] == wires[::-1]
    for query in ("", "?study=1", "?study=x&round=1", f"?study={1 << 70}&round=1", "?study=1&round=-1"):
        answer = requests.get(f"{running.url}/v1/attestations{query}", timeout=5)
        assert (answer.status_code, answer.json()["code"]) == (400, "query"), query
    assert requests.get(f"{running.url}/v1/attestations?study=1&round=9", timeout=5).json() == {"items": []}


def test_store_takes_blobs_of_the_roster_only(build: Build, federation: Federation) -> None:
    running = build()
    study, chain_id = federation.study_id, federation.chain.chain_id
    member = RemoteStore(running.url, federation.members[0].node.signer, study, chain_id=chain_id)
    # Before the first round there is no roster.
    with pytest.raises(Exception, match="not a node key"):
        member.put(b"early")
    federation.open_round()
    running.step()
    cid = member.put(b"a blob of a member")
    assert RemoteStore(running.url, None, study, chain_id=chain_id).get(cid, max_bytes=100) == b"a blob of a member"
    for signer, number in ((federation.relay.signer, study), (federation.members[0].node.signer, study + 1)):
        with pytest.raises(Exception, match="not a node key"):
            RemoteStore(running.url, signer, number, chain_id=chain_id).put(b"a blob of a stranger")
    coordinator = RemoteStore(running.url, federation.aggregators[1].node.signer, study, chain_id=chain_id)
    assert coordinator.has(coordinator.put(b"a mean"))


def test_chain_down_is_a_retryable_refusal(build: Build, federation: Federation) -> None:
    proxy = Proxy(federation.devnet.url)
    try:
        running = build(rpc_url=proxy.url)
        federation.open_round()
        wire = pack_commits([federation.prepare(0).signed])
        body = {"study": federation.study_id, "round": 1, "item": wire.hex()}
        proxy.down = True
        answer = post(running.url, "updates", body)
        assert (answer.status_code, answer.json()["code"]) == (503, "chain_unreachable")
        assert answer.json()["retryable"]
        proxy.down = False
        assert post(running.url, "updates", body).status_code == 202
    finally:
        proxy.close()


def test_half_a_request_blocks_nobody(build: Build) -> None:
    running = build()
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as rude:
        rude.sendall(b"POST /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert requests.get(f"{running.url}/health", timeout=5).status_code == 200


def test_runs_and_stops(build: Build, federation: Federation) -> None:
    running, stop = build(1), threading.Event()
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        for _ in range(200):
            if running.status()["round"] == 1:
                break
            stop.wait(0.05)
        assert running.status()["round"] == 1
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_only_enlisted_keys_may_run(build: Build, federation: Federation) -> None:
    with pytest.raises(PreconditionError, match="is no aggregator of study"):
        build(signer=federation.members[0].node.signer)
    with pytest.raises(PreconditionError, match="is no aggregator of study"):
        build(signer=LocalSigner(bytes(31) + b"\x07"))


def test_settings(tmp_path: Path) -> None:
    from collegium.errors import ConfigError

    with pytest.raises(PreconditionError, match="is no home"):
        CoordinatorSettings.load(tmp_path)
    file = tmp_path / "collegium.toml"
    file.write_text('[network]\nrpc_url = "http://127.0.0.1:1"\n[coordinator]\nstudy = 3\ngather = 1\n')
    loaded = CoordinatorSettings.load(tmp_path, listen="127.0.0.1:0", rounds=None)
    assert (loaded.study, loaded.gather, loaded.address) == (3, 1.0, ("127.0.0.1", 0))
    assert CoordinatorSettings.load(tmp_path, study=5).study == 5
    for wrong in ("study = 'one'", "unknown = 1", "rounds = true", "listen = 8080"):
        file.write_text(f"[coordinator]\n{wrong}\n")
        with pytest.raises(ConfigError):
            CoordinatorSettings.load(tmp_path)
    file.write_text("[coordinator\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        CoordinatorSettings.load(tmp_path)
    for listen in ("8080", "host:", "host:99999", "host:x"):
        file.write_text(f'[coordinator]\nlisten = "{listen}"\n')
        with pytest.raises(ConfigError, match="Write it as"):
            _ = CoordinatorSettings.load(tmp_path).address


class TestCommand:
    @pytest.fixture(autouse=True)
    def _captured(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._output = capsys

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        self._output.readouterr()
        code = run([*arguments, "--json"])
        return code, json.loads(self._output.readouterr().out)

    def test_status_of_a_running_one(self, build: Build) -> None:
        running = build()
        code, envelope = self.run("status", "--url", running.url)
        assert code == 0 and envelope["ok"] and envelope["data"]["round"] == 0
        assert (envelope["schema"], envelope["command"]) == ("collegium.cli/1", "coordinator status")

    def test_status_of_none(self, tmp_path: Path) -> None:
        code, envelope = self.run("status", "--home", str(tmp_path))
        assert (code, envelope["error"]["code"]) == (3, "precondition")
        code, envelope = self.run("status", "--url", "http://127.0.0.1:9")
        assert (code, envelope["error"]["code"]) == (5, "coordinator_unreachable")

    def test_enlisting_twice(self, federation: Federation, tmp_path: Path) -> None:
        """A full bond is left alone; one that a fine took from is filled up."""
        member = federation.aggregators[1]
        file = tmp_path / "collegium.toml"
        file.write_text(
            f'[network]\nrpc_url = "{federation.devnet.url}"\ndeployment = "{federation.folder / "deployment.json"}"\n'
            f"[coordinator]\nstudy = {federation.study_id}\n"
        )
        (tmp_path / "password").write_text("x")
        keystore.save(tmp_path / "keystore" / "institution.json", member.institution.signer, "x", light=True)
        command = ("enlist", "--home", str(tmp_path), "--password-file", str(tmp_path / "password"), "--yes")
        code, envelope = self.run(*command)
        assert (code, envelope["error"]["evidence"]["error"]) == (7, "AggregatorAlreadyEnlisted")
        federation.open_round()
        federation.commit()
        federation.reveal()
        federation.certify()
        federation.pass_time(federation.plan.propose_window)
        federation.propose()
        federation.conclude()
        federation.settle()
        contracts, bond = Contracts(federation.chain), federation.plan.aggregator_bond
        where = (federation.study_id, member.institution.address, Role.AGGREGATOR)
        assert contracts.lock(*where).amount == bond - federation.plan.duty_fine
        code, envelope = self.run(*command)
        assert code == 0, envelope
        assert contracts.lock(*where).amount == bond

    def test_run_without_a_home(self, tmp_path: Path) -> None:
        for command in ("run", "propose", "enlist"):
            code, envelope = self.run(command, "--home", str(tmp_path))
            assert (code, envelope["ok"], envelope["error"]["code"]) == (3, False, "precondition")
            assert "collegium init" in envelope["error"]["hint"]
