"""`collegium tls`, and what `doctor` says of certificates, coordinators and the firewall."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import LocalSigner, keystore
from collegium.transport import certificates
from collegium.transport.binding import Domain
from collegium.transport.errors import CertificateExpiredError
from collegium_client.cli.app import run
from collegium_client.cli.reaching import Advice, check_certificate
from collegium_client.egress_list import list_egress, probe
from collegium_client.home import Home
from collegium_client.settings import Settings
from tests.support.proxy import ConnectProxy

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
PASSWORD = "correct horse"
DAY = 86400


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a node key and a deployment file; no chain runs."""
    folder = tmp_path / "home"
    (folder / "keystore").mkdir(parents=True)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(tmp_path / "password"))
    keystore.save(folder / "keystore" / "node.json", LocalSigner(b"\x05" * 32), PASSWORD, light=True)
    contracts = {"Collegium": {"address": CONTRACT}}
    deployment = {"chainId": 31337, "startBlock": 0, "deployer": CONTRACT, "contracts": contracts}
    (folder / "deployment.json").write_text(json.dumps(deployment))
    write(folder, '[network]\ndeployment = "deployment.json"\nretry_for = 0.0\nrpc_url = "http://127.0.0.1:9"\n')
    yield folder


def write(folder: Path, text: str) -> None:
    (folder / "collegium.toml").write_text(text)


def add(folder: Path, text: str) -> None:
    write(folder, (folder / "collegium.toml").read_text() + text)


def call(home: Path, capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> Any:
    """Data of the envelope, or its error."""
    capsys.readouterr()
    found = run([*(str(each) for each in words), "--home", str(home), "--json"])
    out = capsys.readouterr()
    assert found == code, out.out + out.err
    envelope = json.loads(out.out)
    return envelope["error"] if code and envelope["error"] and not envelope["data"] else envelope["data"]


class TestTls:
    def test_new_and_show(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = call(home, capsys, "tls", "new", "--name", "alder.example")
        assert made["node"] == LocalSigner(b"\x05" * 32).address
        assert (made["chain_id"], made["collegium"], made["names"]) == (31337, CONTRACT, ["alder.example"])
        assert call(home, capsys, "tls", "show") == made and len(made["fingerprint"]) == 64
        again = call(home, capsys, "tls", "new")
        assert again["fingerprint"] != made["fingerprint"]

    def test_show_never_prints_the_key(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call(home, capsys, "tls", "new")
        shown = call(home, capsys, "tls", "show", "--pem")["pem"]
        assert "BEGIN CERTIFICATE" in shown and "PRIVATE" not in shown

    def test_missing_one_names_the_command(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        error = call(home, capsys, "tls", "show", code=6)
        assert error["code"] == "certificate_missing" and "collegium tls new" in error["hint"]

    def test_private_authority(self, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ca, request, issued = tmp_path / "ca", tmp_path / "request.pem", tmp_path / "issued.pem"
        before = call(home, capsys, "tls", "new")
        request.write_text(call(home, capsys, "tls", "show", "--pem")["pem"])
        call(home, capsys, "tls", "ca", "init", "--folder", ca, "--name", "Federation CA")
        assert (ca / "ca.key").stat().st_mode & 0o777 == 0o600
        assert b"ENCRYPTED" in (ca / "ca.key").read_bytes()
        assert call(home, capsys, "tls", "ca", "init", "--folder", ca, code=6)["code"] == "key_exists"
        call(home, capsys, "tls", "ca", "issue", request, "--folder", ca, "--name", "c.example", "-o", issued)
        now = call(home, capsys, "tls", "install", issued)
        assert (now["node"], now["issuer"], now["names"]) == (before["node"], "CN=Federation CA", ["c.example"])
        (tmp_path / "password").write_text("wrong")
        refused = call(home, capsys, "tls", "ca", "issue", request, "--folder", ca, "-o", issued, code=6)
        assert refused["code"] == "wrong_password"

    @pytest.mark.parametrize(
        "line", ['mode = "maybe"', 'readers = "some"', "renew_days = 90", "valid_days = 9000", 'certficate = "x"']
    )
    def test_wrong_settings_are_told(self, home: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
        add(home, f"[tls]\n{line}\n")
        assert call(home, capsys, "tls", "show", code=2)["code"] == "config_invalid"


class TestDoctor:
    """The check itself: a whole doctor imports torch."""

    def put(self, home: Path, *, made: float, key: bytes = b"\x05" * 32) -> None:
        path = home / "tls" / "node.pem"
        path.parent.mkdir()
        path.touch(mode=0o600)
        path.write_bytes(certificates.make(LocalSigner(key), Domain(31337, CONTRACT), days=90, now=made))

    def test_says_until_when(self, home: Path) -> None:
        self.put(home, made=time.time())
        assert LocalSigner(b"\x05" * 32).address in check_certificate(Home(home))

    def test_warns_before_expiry(self, home: Path) -> None:
        self.put(home, made=time.time() - 75 * DAY)
        with pytest.raises(Advice, match="15 days") as caught:
            check_certificate(Home(home))
        assert "collegium tls new" in caught.value.fix

    def test_warns_of_another_node_key(self, home: Path) -> None:
        self.put(home, made=time.time(), key=b"\x06" * 32)
        with pytest.raises(Advice, match="not the node key of this home"):
            check_certificate(Home(home))

    def test_missing_is_made_by_the_client(self, home: Path) -> None:
        with pytest.raises(Advice, match="no TLS certificate") as caught:
            check_certificate(Home(home))
        assert "by itself" in caught.value.fix

    def test_expired_fails(self, home: Path) -> None:
        self.put(home, made=time.time() - 95 * DAY)
        with pytest.raises(CertificateExpiredError, match="expired"):
            check_certificate(Home(home))


class TestEgress:
    SETTINGS = """
[coordinators]
urls = ["https://c1.example:8470", "https://c2.example"]
[stores]
read = ["kubo://127.0.0.1:5001", "https://blobs.example/ipfs", "file:///srv/blobs"]
"""

    def test_every_host_once_with_all_its_reasons(self, home: Path) -> None:
        add(home, self.SETTINGS)
        settings = Settings.load(home, {})
        rows = {f"{each.host}:{each.port}": each for each in list_egress(settings, settings.proxies)}
        assert set(rows) == {"127.0.0.1:9", "c1.example:8470", "c2.example:443", "127.0.0.1:5001", "blobs.example:443"}
        assert len(rows["c1.example:8470"].why) == 3 and rows["c1.example:8470"].tls
        assert not rows["127.0.0.1:9"].tls and rows["127.0.0.1:9"].local
        assert {each.direction for each in rows.values()} == {"outbound"}

    def test_every_chain_node_of_a_list_and_no_access_key(self, home: Path) -> None:
        write(home, '[network]\nrpc_url = ["https://a.example/v2/s3cret", "https://b.example:8443"]\n')
        settings = Settings.load(home, {})
        rows = list_egress(settings, settings.proxies)
        found = [(each.host, each.port, each.tls) for each in rows]
        assert found == [("a.example", 443, True), ("b.example", 8443, True)]
        assert "s3cret" not in json.dumps([each.to_json() for each in rows])

    def test_gateways_go_through_the_proxy_too(self, home: Path) -> None:
        add(home, 'proxy = "http://proxy.example:3128"\n[stores]\nread = ["gateway+http://g.example"]\n')
        settings = Settings.load(home, {})
        (row,) = [each for each in list_egress(settings, settings.proxies) if each.host == "g.example"]
        assert (row.port, row.tls, row.via) == (80, False, "http://proxy.example:3128")

    def test_proxy_comes_first_and_without_its_password(self, home: Path) -> None:
        add(home, 'proxy = "http://alder:s3cret@proxy.example:3128"\nno_proxy = ["c2.example"]\n' + self.SETTINGS)
        settings = Settings.load(home, {})
        rows = list_egress(settings, settings.proxies)
        assert (rows[0].host, rows[0].port, rows[0].why) == ("proxy.example", 3128, ["HTTP proxy"])
        via = {each.host: each.via for each in rows}
        assert via["c1.example"] == "http://proxy.example:3128" and via["c2.example"] == "" == via["127.0.0.1"]
        assert "s3cret" not in json.dumps([each.to_json() for each in rows])

    def test_command_tells_what_is_reachable(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as open_port, ConnectProxy(login="a:b") as proxy:
            port = open_port.getsockname()[1]
            add(home, f'proxy = "{proxy.url}"\n[coordinators]\nurls = ["http://127.0.0.1:{port}"]\n'
                      f'[stores]\nread = ["https://blobs.example"]\n')  # fmt: skip
            rows = call(home, capsys, "doctor", "--egress")["egress"]
            by = {(row["host"], row["port"]): row for row in rows}
            assert by["127.0.0.1", port]["reachable"] is True and by["127.0.0.1", proxy.port]["reachable"] is True
            assert by["127.0.0.1", 9]["reachable"] is False
            assert by["blobs.example", 443]["reachable"] is False and "502" in by["blobs.example", 443]["detail"]
            assert run(["doctor", "--egress", "--home", str(home)]) == 0
            table = capsys.readouterr().out
        assert f"127.0.0.1:{port}" in table and "never listens" in table and "NO (" in table and ":b@" not in table

    def test_probe_through_a_proxy_that_wants_a_password(self, home: Path) -> None:
        with ConnectProxy(login="a:b") as proxy:
            add(home, f'proxy = "{proxy.bare_url}"\n[stores]\nread = ["https://blobs.example"]\n')
            settings = Settings.load(home, {})
            rows = list_egress(settings, settings.proxies)
            probe(rows)
        assert "407" in next(each.detail for each in rows if each.host == "blobs.example")
