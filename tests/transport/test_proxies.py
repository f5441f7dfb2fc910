"""Through a real proxy: RPC, coordinators and stores; a wrong one is named, its password never."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from collegium.chain import Rpc
from collegium.chain.devnet import Devnet
from collegium.errors import ChainUnreachableError, CollegiumError, ConfigError, StoreUnreachableError
from collegium.storage.cid import cid_of
from collegium.storage.http_server import Body, HttpServer, Response
from collegium.storage.remote import RemoteStore
from collegium.transport import authority
from collegium.transport.client import Transport
from collegium.transport.errors import PeerRefusedError, ProxyFailedError
from collegium.transport.identity import install
from collegium.transport.proxies import DIRECT, Proxies
from tests.support.proxy import ConnectProxy

from .parties import DOMAIN, Party, failing, serving

LOGIN = "alder:s3cret"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name that is no loopback for the programs under test, and is this machine for the proxy."""
    real = socket.getaddrinfo

    def lookup(name: object, *rest: object, **options: object) -> object:
        return real("127.0.0.1" if name == "coordinator.test" else name, *rest, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield "coordinator.test"


class TestChoice:
    def test_settings_over_environment_and_never_for_loopback(self, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://env:3128")
        monkeypatch.setenv("NO_PROXY", "quiet.example,10.0.0.0/8")
        assert Proxies().for_url("https://x.example/") == "http://env:3128"
        assert Proxies.of("http://own:1").for_url("https://x.example/") == "http://own:1"
        for url in ("https://quiet.example", "https://a.quiet.example:8470", "https://10.1.2.3", "https://127.0.0.1:1"):
            assert Proxies().for_url(url) is None, url
        assert Proxies.of(DIRECT).for_url("https://x.example/") is None
        assert Proxies.of("http://own:1", ["x.example:8470"]).for_url("https://x.example:8470") is None
        assert Proxies.of("http://own:1", ["x.example:8470"]).for_url("https://x.example:8471") == "http://own:1"
        assert Proxies.of("http://own:1", ["*"]).for_url("https://x.example") is None

    @pytest.mark.parametrize("wrong", ["proxy:3128", "ftp://proxy", "http://", "http://proxy:0", "http://a:99999"])
    def test_no_address_is_a_settings_error(self, wrong: str) -> None:
        with pytest.raises(ConfigError, match=r"network\.proxy"):
            Proxies.of(wrong)

    def test_password_is_in_no_text(self) -> None:
        proxies = Proxies.of(f"http://{LOGIN}@proxy:3128")
        assert "s3cret" not in repr(proxies) + proxies.shown("https://x.example")


@pytest.fixture(scope="module")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet


@pytest.mark.chain
class TestRpc:
    def test_calls_and_batches_go_through(self, devnet: Devnet, host: str) -> None:
        url = devnet.url.replace("127.0.0.1", host)
        with ConnectProxy(login=LOGIN) as proxy:
            rpc = Rpc(url, retry_for=0, proxies=Proxies.of(proxy.url))
            rpc.check_chain(devnet.record.chain_id)
            assert len(rpc.batch("eth_getBlockByNumber", [["latest", False]] * 3)) == 3
            assert len(proxy.seen) >= 2 and all(host in each for each in proxy.seen)

    def test_environment_is_honored(self, devnet: Devnet, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with ConnectProxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            Rpc(devnet.url.replace("127.0.0.1", host), retry_for=0).check_chain(devnet.record.chain_id)
            assert proxy.seen
            monkeypatch.setenv("NO_PROXY", host)
            proxy.seen.clear()
            Rpc(devnet.url.replace("127.0.0.1", host), retry_for=0).check_chain(devnet.record.chain_id)
            assert not proxy.seen

    def test_wrong_login_is_told(self, devnet: Devnet, host: str) -> None:
        with ConnectProxy(login=LOGIN) as proxy:
            rpc = Rpc(devnet.url.replace("127.0.0.1", host), retry_for=0, proxies=Proxies.of(proxy.bare_url))
            with pytest.raises(ProxyFailedError, match="407") as caught:
                rpc.request("eth_chainId")
        assert proxy.bare_url in caught.value.message and "password" in caught.value.hint

    def test_dead_proxy_is_named(self, devnet: Devnet, host: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        rpc = Rpc(
            devnet.url.replace("127.0.0.1", host), retry_for=0, proxies=Proxies.of(f"http://{LOGIN}@127.0.0.1:{port}")
        )
        with pytest.raises(ProxyFailedError, match=f"http://127.0.0.1:{port}") as caught:
            rpc.request("eth_chainId")
        assert "s3cret" not in str(caught.value) and "network] proxy" in caught.value.hint


class _Open:
    """A gate that lets everybody in: an ordinary https server."""

    def __init__(self, certificate: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    def identify(self, certificate: bytes | None) -> None:
        return None

    def admit(self, peer: None, method: str, path: str) -> None:
        return None


def test_node_of_a_private_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/network.md says: by the variable that `requests` knows."""
    ca = authority.create(tmp_path / "ca", "Hospital CA", "x")
    party = Party(tmp_path, "node")
    party.write()
    issued = tmp_path / "issued.pem"
    issued.write_bytes(authority.issue(ca.parent, party.tls.certificate, "x", names=("127.0.0.1",)))
    install(party.identity(with_key=False), issued)

    def answer(method: str, path: str, headers: Mapping[str, str], body: Body, /) -> Response:
        asked = json.loads(body.read())
        data = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "0x7a69"}).encode()
        return Response(200, {"Content-Type": "application/json", "Content-Length": str(len(data))}, data)

    server = HttpServer(answer, gate=_Open(party.tls.certificate))
    server.start()
    try:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        with pytest.raises(ChainUnreachableError, match=r"SSLError|certificate"):
            Rpc(server.url, retry_for=0).check_chain(31337)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca))
        Rpc(server.url, retry_for=0).check_chain(31337)
    finally:
        server.close(0.2)


class TestCoordinator:
    def _transport(self, party: Party, url: str, proxy: str, rule: str) -> Transport:
        identity = party.identity()
        return Transport(
            Proxies.of(proxy), domain=lambda: DOMAIN, identity=lambda: identity, pins={url: rule}, coordinators=[url]
        )

    def test_mutual_tls_through_a_tunnel(self, tmp_path: Path, host: str) -> None:
        coordinator, hospital = Party(tmp_path, "coordinator"), Party(tmp_path, "alder")
        with serving(coordinator, lambda node: node == hospital.node) as server, ConnectProxy(login=LOGIN) as proxy:
            url = f"https://{host}:{server.port}"
            transport = self._transport(hospital, url, proxy.url, coordinator.node)
            assert transport.session(url).get(f"{url}/v1/info", timeout=5).status_code == 200
            assert proxy.seen == [f"CONNECT {host}:{server.port}"]
            wrong = self._transport(hospital, url, proxy.url, hospital.node)
            assert isinstance(failing(lambda: wrong.session(url).get(url, timeout=5)), PeerRefusedError)

    def test_refusing_proxy_is_told_from_a_refusing_coordinator(self, tmp_path: Path, host: str) -> None:
        coordinator, hospital = Party(tmp_path, "coordinator"), Party(tmp_path, "alder")
        with (
            serving(coordinator, lambda _: True) as server,
            ConnectProxy(allow=lambda name, port: port == 443) as proxy,
        ):
            url = f"https://{host}:{server.port}"
            transport = self._transport(hospital, url, proxy.url, coordinator.node)
            found = failing(lambda: transport.session(url).get(url, timeout=5))
        assert isinstance(found, ProxyFailedError) and proxy.bare_url in found.message
        assert "403" in found.message and "allow" in found.hint

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_store_names_the_proxy(self, scheme: str, host: str) -> None:
        with ConnectProxy(login=LOGIN) as proxy:
            transport = Transport(Proxies.of(proxy.bare_url))
            store = RemoteStore(f"{scheme}://{host}:9", attempts=1, transport=transport)
            with pytest.raises(StoreUnreachableError, match=proxy.bare_url) as caught:
                store.has(cid_of(b"x"))
        assert isinstance(caught.value, CollegiumError) and "407" in caught.value.message
