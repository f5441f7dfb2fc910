"""A real server and real clients: who is let in, who is not, and what each of them is told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from collegium.storage import gatekeeping, http_server
from collegium.storage.http_server import HttpServer
from collegium.transport import authority, certificates
from collegium.transport.errors import (
    CertificateError,
    CertificateExpiredError,
    CertificateForeignError,
    CertificateNotYetValidError,
    CertificateUnboundError,
    PeerRefusedError,
    PlainHttpError,
    TlsFailedError,
)
from collegium.transport.identity import install

from .parties import DAY, DOMAIN, ELSEWHERE, Party, answer, failing, serving

PASSWORD = "correct horse"


@pytest.fixture
def coordinator(tmp_path: Path) -> Party:
    return Party(tmp_path, "coordinator")


@pytest.fixture
def hospital(tmp_path: Path) -> Party:
    party = Party(tmp_path, "alder")
    party.write()
    return party


def get(party: Party, server: HttpServer, rule: str, path: str = "/v1/info", **options: Any) -> requests.Response:
    url = server.url
    with party.transport(url, rule, **options).session(url) as session:
        return session.get(f"{url}{path}", timeout=5)


def refused(response: requests.Response, code: str) -> dict[str, Any]:
    """The server's reason, which is in the body and in headers."""
    assert response.status_code == 403
    body: dict[str, Any] = response.json()
    assert body["code"] == code == response.headers["X-Collegium-Error"] and body["hint"], body
    return body


class TestMutual:
    def test_both_sides_know_each_other(self, coordinator: Party, hospital: Party) -> None:
        asked: list[str] = []
        with serving(coordinator, lambda node: bool(asked.append(node)) or True) as server:
            assert server.url.startswith("https://127.0.0.1")
            assert get(hospital, server, coordinator.node).status_code == 200
        assert asked == [hospital.node]

    def test_tls_1_3_alone(self, coordinator: Party) -> None:
        with serving(coordinator, lambda _: True) as server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with (
                socket.create_connection(("127.0.0.1", server.port)) as link,
                pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
            ):
                context.wrap_socket(link)

    def test_health_is_open_to_all(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: False) as server:
            assert get(hospital, server, coordinator.node, "/health", anonymous=True).status_code == 200

    def test_large_body_arrives_whole(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: True) as server:
            session = hospital.transport(server.url, coordinator.node).session(server.url)
            for size in (0, 1, 3 << 20):
                sent = session.post(f"{server.url}/x", data=b"x" * size, timeout=10)
                assert sent.json()["bytes"] == size


class TestServerRefuses:
    def test_node_key_outside_the_roster(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: False) as server:
            body = refused(get(hospital, server, coordinator.node), "peer_refused")
        assert hospital.node in body["message"] and "roster" in body["message"]

    def test_no_certificate(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: True) as server:
            body = refused(get(hospital, server, coordinator.node, anonymous=True), "certificate_missing")
        assert "collegium tls new" in body["hint"]

    @pytest.mark.parametrize(
        ("shift", "code"), [(-91 * DAY, "certificate_expired"), (DAY, "certificate_not_yet_valid")]
    )
    def test_expired_or_from_a_wrong_clock(self, coordinator: Party, hospital: Party, shift: int, code: str) -> None:
        """The client's own clock is as wrong as its certificate, so that only the server can object."""
        moment = time.time() + shift
        hospital.write(at=moment)
        identity = hospital.identity(with_key=False, clock=lambda: moment)
        transport = hospital.transport("https://127.0.0.1:1", "")
        with serving(coordinator, lambda _: True) as server:
            transport = type(transport)(
                domain=lambda: DOMAIN, identity=lambda: identity, pins={server.url: coordinator.node}
            )
            body = refused(transport.session(server.url).get(f"{server.url}/v1/info", timeout=5), code)
        assert "clock" in body["message"] + body["hint"]

    def test_certificate_of_another_chain(self, coordinator: Party, tmp_path: Path) -> None:
        stranger = Party(tmp_path, "stranger", domain=ELSEWHERE)
        stranger.write()
        with serving(coordinator, lambda _: True) as server:
            # It trusts the server blindly, so that only the server can object.
            session = _careless(stranger.tls.certificate)
            body = refused(session.get(f"{server.url}/v1/info", timeout=5, verify=False), "certificate_foreign")
        assert "chain 1," in body["message"] and "chain 31337" in body["message"]

    def test_binding_that_the_node_key_did_not_sign(self, coordinator: Party, hospital: Party) -> None:
        """A thief of the certificate without its key makes a key of his own; the anchor signs anything."""
        thief = ec.generate_private_key(ec.SECP256R1())
        hospital.put(_bound_by_force(thief, hospital))
        with serving(coordinator, lambda _: True) as server:
            session = _careless(hospital.tls.certificate)
            body = refused(session.get(f"{server.url}/v1/info", timeout=5, verify=False), "certificate_invalid")
        assert "did not sign" in body["message"]

    def test_self_signed_certificate(self, coordinator: Party, hospital: Party, tmp_path: Path) -> None:
        """OpenSSL itself breaks off: as an alert, or as the end of the connection if that is faster."""
        hospital.put(_self_signed(tmp_path / "own.pem").read_bytes())
        with serving(coordinator, lambda _: True) as server:
            found = failing(lambda: get(hospital, server, coordinator.node))
        assert isinstance(found, CertificateError | TlsFailedError)
        assert "certificate" in found.hint or "collegium tls new" in found.hint

    def test_key_revoked_while_connected(self, coordinator: Party, hospital: Party) -> None:
        allowed = {hospital.node}
        with serving(coordinator, allowed.__contains__) as server:
            session = hospital.transport(server.url, coordinator.node).session(server.url)
            assert session.get(f"{server.url}/a", timeout=5).status_code == 200
            allowed.clear()
            refused(session.get(f"{server.url}/a", timeout=5), "peer_refused")

    def test_readers_may_be_anyone_and_still_not_write(self, tmp_path: Path, hospital: Party) -> None:
        coordinator = Party(tmp_path, "open", readers="anyone")
        with serving(coordinator, lambda _: False) as server:
            for options in ({}, {"anonymous": True}):
                session = hospital.transport(server.url, coordinator.node, **options).session(server.url)
                assert session.get(f"{server.url}/v1/info", timeout=5).status_code == 200
                code = "certificate_missing" if options else "peer_refused"
                refused(session.post(f"{server.url}/v1/updates", data=b"{}", timeout=5), code)


class TestClientRefuses:
    def test_server_with_another_node_key(self, coordinator: Party, hospital: Party, tmp_path: Path) -> None:
        other = Party(tmp_path, "other")
        with serving(other, lambda _: True) as server:
            found = failing(lambda: get(hospital, server, coordinator.node))
        assert isinstance(found, PeerRefusedError)
        assert other.node in found.message and coordinator.node in found.message and "pins" in found.hint

    def test_nothing_is_sent_before_the_check(self, coordinator: Party, hospital: Party, tmp_path: Path) -> None:
        seen: list[str] = []
        with serving(Party(tmp_path, "other"), lambda node: bool(seen.append(node)) or True) as server:
            failing(lambda: get(hospital, server, coordinator.node))
        assert not seen

    def test_expired_server(self, coordinator: Party, hospital: Party) -> None:
        moment = time.time() - 91 * DAY
        coordinator.write(at=moment)
        with _raw_server(coordinator.tls.certificate) as url:
            found = failing(lambda: _get(hospital, url, coordinator.node))
        assert isinstance(found, CertificateExpiredError) and "clock" in found.message

    def test_server_from_the_future(self, coordinator: Party, hospital: Party) -> None:
        coordinator.write(at=time.time() + DAY)
        with _raw_server(coordinator.tls.certificate) as url:
            found = failing(lambda: _get(hospital, url, coordinator.node))
        assert isinstance(found, CertificateNotYetValidError) and "NTP" in found.hint

    def test_server_of_another_chain(self, coordinator: Party, hospital: Party) -> None:
        coordinator.write(domain=ELSEWHERE)
        with _raw_server(coordinator.tls.certificate) as url:
            assert isinstance(failing(lambda: _get(hospital, url, coordinator.node)), CertificateForeignError)

    def test_server_with_a_stolen_binding(self, coordinator: Party, hospital: Party) -> None:
        coordinator.write()
        coordinator.put(_bound_by_force(ec.generate_private_key(ec.SECP256R1()), coordinator))
        with _raw_server(coordinator.tls.certificate) as url:
            found = failing(lambda: _get(hospital, url, coordinator.node))
        assert isinstance(found, CertificateError) and "did not sign" in found.message

    def test_ordinary_certificate_where_a_bound_one_is_due(self, hospital: Party, tmp_path: Path) -> None:
        with _raw_server(_self_signed(tmp_path / "own.pem")) as url:
            found = failing(lambda: _get(hospital, url, "enlisted"))
        assert isinstance(found, CertificateUnboundError) and '"public"' in found.hint

    def test_bound_certificate_where_a_public_one_is_due(self, coordinator: Party, hospital: Party) -> None:
        """The anchor is never an authority for names."""
        with serving(coordinator, lambda _: True) as server:
            found = failing(lambda: get(hospital, server, "public"))
        assert isinstance(found, CertificateError) and "coordinators.pins" in found.hint

    def test_unpinned_server_that_nobody_vouches_for(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: True) as server:
            found = failing(lambda: get(hospital, server, ""))
        assert isinstance(found, PeerRefusedError) and coordinator.node in found.hint


class TestPlainAndTls:
    def test_plain_http_to_a_tls_port(self, coordinator: Party) -> None:
        with serving(coordinator, lambda _: True) as server:
            told = requests.get(f"http://127.0.0.1:{server.port}/v1/info", timeout=5)
        assert told.status_code == 400 and told.json()["code"] == "plain_http" and "https://" in told.json()["hint"]

    def test_tls_to_a_plain_http_port(self, hospital: Party) -> None:
        server = HttpServer(answer)
        server.start()
        try:
            url = server.url.replace("http://", "https://")
            found = failing(lambda: _get(hospital, url, "enlisted"))
        finally:
            server.close(0.2)
        assert isinstance(found, PlainHttpError) and "plain HTTP" in found.hint


class TestRude:
    def test_silent_and_dripping_clients_hold_up_nobody(
        self, coordinator: Party, hospital: Party, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gatekeeping, "HANDSHAKE_SECONDS", 1.0)
        with serving(coordinator, lambda _: True) as server:
            rude = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
            for link in rude[4:]:
                link.sendall(b"\x16\x03\x01")
            began = time.monotonic()
            assert get(hospital, server, coordinator.node).status_code == 200
            assert time.monotonic() - began < 1.0
            for link in rude[4:]:
                # One byte in a while does not buy more time.
                for _ in range(2):
                    time.sleep(0.2)
                    with contextlib.suppress(OSError):
                        link.sendall(b"\x00")
            for link in rude:
                link.settimeout(5)
                with contextlib.suppress(ConnectionError):
                    assert not link.recv(100).startswith(b"\x16")
                link.close()
            assert time.monotonic() - began < 6

    def test_dripping_head_and_body_end_in_time(
        self, coordinator: Party, hospital: Party, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The deadlines of the server hold inside TLS as they do without it."""
        monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.8)
        monkeypatch.setattr(http_server, "BODY_SECONDS", 0.8)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(hospital.tls.certificate)
        for begin in (b"GET /", b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"):
            with serving(coordinator, lambda _: True) as server:
                raw = socket.create_connection(("127.0.0.1", server.port), timeout=5)
                with context.wrap_socket(raw) as link:
                    link.sendall(begin)
                    began = time.monotonic()
                    with contextlib.suppress(OSError):
                        while time.monotonic() - began < 4:
                            time.sleep(0.1)
                            link.sendall(b"x")
                    assert 0.5 < time.monotonic() - began < 3

    def test_garbage_after_a_hello_and_a_vanished_client(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: True) as server:
            for junk in (b"\x16" + b"\xff" * 4000, b"\x16\x03\x01\xff\xff", b"\x00", b""):
                with socket.create_connection(("127.0.0.1", server.port)) as link:
                    link.sendall(junk)
            assert get(hospital, server, coordinator.node).status_code == 200

    def test_connections_are_counted_before_the_handshake(self, coordinator: Party, hospital: Party) -> None:
        with serving(coordinator, lambda _: True, max_connections=3) as server:
            held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
            time.sleep(0.3)
            with pytest.raises(requests.RequestException):
                get(hospital, server, coordinator.node)
            for link in held:
                link.close()
            give_up = time.monotonic() + 5
            while True:
                try:
                    assert get(hospital, server, coordinator.node).status_code == 200
                    break
                except requests.RequestException:
                    assert time.monotonic() < give_up
                    time.sleep(0.1)


class TestAuthority:
    @pytest.fixture
    def ca(self, tmp_path: Path) -> Path:
        return authority.create(tmp_path / "ca", "Federation CA", PASSWORD)

    def test_issued_certificates_keep_their_binding(self, ca: Path, tmp_path: Path) -> None:
        coordinator, hospital = (Party(tmp_path, name, ca=ca) for name in ("one", "two"))
        for party in (coordinator, hospital):
            party.write()
            _issue(ca, party, tmp_path, "127.0.0.1")
        with serving(coordinator, lambda node: node == hospital.node) as server:
            for rule in ("ca", coordinator.node):
                assert get(hospital, server, rule).status_code == 200
            refused(get(coordinator, server, "ca"), "peer_refused")

    def test_name_is_checked(self, ca: Path, tmp_path: Path) -> None:
        coordinator, hospital = Party(tmp_path, "one", ca=ca), Party(tmp_path, "two", ca=ca)
        hospital.write()
        coordinator.write()
        _issue(ca, coordinator, tmp_path, "coordinator.example")
        with serving(coordinator, lambda _: True) as server:
            found = failing(lambda: get(hospital, server, "ca"))
        assert isinstance(found, CertificateError) and "another name" in found.message

    def test_client_of_the_authority_without_binding_is_let_in(self, ca: Path, tmp_path: Path) -> None:
        """As a hospital's own public key infrastructure issues them, by openssl for one."""
        coordinator = Party(tmp_path, "one", ca=ca)
        own = _issued_without_binding(ca, tmp_path / "client.pem")
        with serving(coordinator, lambda _: False) as server:
            reply = _careless(own).get(f"{server.url}/v1/info", timeout=5, verify=False)
        assert reply.status_code == 200

    def test_server_with_a_public_certificate_still_asks_for_node_keys(
        self, ca: Path, tmp_path: Path, hospital: Party, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The authority plays one that every machine trusts."""
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        own = _issued_without_binding(ca, tmp_path / "server.pem", "127.0.0.1")
        own.chmod(0o600)
        coordinator = Party(tmp_path, "public")
        coordinator.tls = replace(coordinator.tls, certificate=own, key=own)
        asked: list[str] = []
        with serving(coordinator, lambda node: bool(asked.append(node)) or True) as server:
            assert get(hospital, server, "public").status_code == 200
            refused(get(hospital, server, "public", anonymous=True), "certificate_missing")
            found = failing(lambda: get(hospital, server, coordinator.node))
            assert isinstance(found, CertificateUnboundError)
        assert asked == [hospital.node]
        with pytest.raises(CertificateError, match="files of its own"):
            coordinator.identity().make()

    def test_anchor_cannot_impersonate_the_authority(self, ca: Path, tmp_path: Path) -> None:
        """A certificate under the anchor without binding, with the authority's name as issuer's text."""
        coordinator = Party(tmp_path, "one", ca=ca)
        key = ec.generate_private_key(ec.SECP256R1())
        now = int(time.time())
        made = (
            certificates.leaf(key.public_key(), name="x", names=(), not_before=now - 60, not_after=now + DAY)
            .issuer_name(certificates._anchor().subject)
            .add_extension(certificates.authority_of(certificates._anchor()), critical=False)
            .sign(certificates._anchor_key(), None)
        )
        path = _write(tmp_path / "forged.pem", key, made)
        with serving(coordinator, lambda _: True) as server:
            refused(_careless(path).get(f"{server.url}/v1/info", timeout=5, verify=False), "certificate_unbound")


# what a careless or hostile party does


def _get(party: Party, url: str, rule: str) -> requests.Response:
    return party.transport(url, rule).session(url).get(f"{url}/v1/info", timeout=5)


def _careless(certificate: Path) -> requests.Session:
    """A client that checks nothing."""
    session = requests.Session()
    session.trust_env = False
    session.cert = str(certificate)
    return session


class _raw_server:
    """A TLS server that shows a file and checks nothing."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(link, server_side=True) as secure:
                    assert not secure.recv(1), "the client sent something"
            except OSError:
                continue


def _write(path: Path, key: ec.EllipticCurvePrivateKey, made: x509.Certificate) -> Path:
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    return path


def _bound_by_force(key: ec.EllipticCurvePrivateKey, victim: Party) -> bytes:
    """The victim's binding in a certificate for another key."""
    binding = certificates.find_binding(victim.identity(with_key=False).read())
    assert binding is not None
    now = int(time.time())
    made = (
        certificates.leaf(key.public_key(), name=victim.node, names=(), not_before=now - 60, not_after=now + DAY)
        .issuer_name(certificates._anchor().subject)
        .add_extension(certificates.authority_of(certificates._anchor()), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(certificates.OID), binding.to_der()), critical=False
        )
        .sign(certificates._anchor_key(), None)
    )
    return _write(victim.home / "forced.pem", key, made).read_bytes()


def _self_signed(path: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), int(time.time())
    builder: Callable[..., x509.CertificateBuilder] = certificates.leaf
    made = builder(key.public_key(), name="own", names=("127.0.0.1",), not_before=now - 60, not_after=now + DAY)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "own")])
    return _write(path, key, made.issuer_name(name).sign(key, hashes.SHA256()))


def _issue(ca: Path, party: Party, folder: Path, name: str) -> None:
    issued = folder / f"{party.node}.pem"
    issued.write_bytes(authority.issue(ca.parent, party.tls.certificate, PASSWORD, names=(name,)))
    install(party.identity(with_key=False), issued)


def _issued_without_binding(ca: Path, path: Path, *names: str) -> Path:
    issuer = x509.load_pem_x509_certificate(ca.read_bytes())
    secret = serialization.load_pem_private_key((ca.parent / authority.KEY).read_bytes(), PASSWORD.encode())
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), int(time.time())
    made = (
        certificates.leaf(key.public_key(), name="gateway", names=names, not_before=now - 60, not_after=now + DAY)
        .issuer_name(issuer.subject)
        .add_extension(certificates.authority_of(issuer), critical=False)
        .sign(secret, hashes.SHA256())
    )
    return _write(path, key, made)
