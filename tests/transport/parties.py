"""Parties with node keys and certificates, and a server that lets in whom a test says; no chain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from eth_hash.auto import keccak

from collegium.chain.signer import LocalSigner
from collegium.files import write_atomically
from collegium.storage.http_server import Body, HttpServer, Response
from collegium.transport import certificates
from collegium.transport.binding import Domain
from collegium.transport.client import Transport
from collegium.transport.errors import PeerRefusedError
from collegium.transport.failures import failure_of
from collegium.transport.gate import RosterGate
from collegium.transport.identity import Identity
from collegium.transport.settings import TlsSettings

DOMAIN = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
ELSEWHERE = Domain(1, DOMAIN.contract)
DAY = 86400


def signer_of(name: str) -> LocalSigner:
    """A node key that follows from a name."""
    return LocalSigner(bytes(keccak(name.encode())))


class Party:
    """A node key and a home for its TLS files."""

    def __init__(self, folder: Path, name: str, *, domain: Domain = DOMAIN, **settings: Any) -> None:
        self.home = folder / name
        self.home.mkdir(parents=True, exist_ok=True)
        self.signer = signer_of(name)
        self.domain = domain
        self.tls = TlsSettings(self.home / "tls" / "node.pem", **settings)

    @property
    def node(self) -> str:
        return self.signer.address

    def identity(self, *, with_key: bool = True, **options: Any) -> Identity:
        return Identity(self.tls, self.domain, self.signer if with_key else None, **options)

    def write(self, *, at: float | None = None, days: float = 90, domain: Domain | None = None) -> bytes:
        """A certificate as if made at another time or for another contract, into the home's file."""
        pem = certificates.make(self.signer, domain or self.domain, days=days, now=at)
        self.put(pem)
        return pem

    def put(self, pem: bytes, *, mode: int = 0o600) -> None:
        self.tls.certificate.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.tls.certificate, pem, mode=mode)

    def transport(self, server: str, rule: str, *, with_key: bool = False, anonymous: bool = False) -> Transport:
        """To a server that must fulfil `rule`. with_key: whether the node key may make and renew certificates."""
        identity = None if anonymous else self.identity(with_key=with_key)
        return Transport(
            domain=lambda: self.domain, identity=lambda: identity, pins={server: rule} if rule else {},
            coordinators=[server], ca=self.tls.ca,
        )  # fmt: skip


def answer(method: str, path: str, headers: Mapping[str, str], body: Body, /) -> Response:
    """Echoes the length of what came."""
    data = json.dumps({"method": method, "path": path, "bytes": len(body.read())}).encode()
    return Response(200, {"Content-Type": "application/json", "Content-Length": str(len(data))}, data)


@contextmanager
def serving(
    party: Party, allowed: Callable[[str], bool], *, clock: Callable[[], float] = time.time, **options: Any
) -> Iterator[HttpServer]:
    """A coordinator's server with TLS; `allowed` is asked for each request."""

    def require(node: str) -> None:
        if not allowed(node):
            raise PeerRefusedError(f"Node key {node} is not in the roster of study 7.", hint="Join it.", node=node)

    gate = RosterGate(party.identity(), require, clock=clock)
    server = HttpServer(answer, gate=gate, **options)
    server.start()
    try:
        yield server
    finally:
        server.close(0.2)


def failing(call: Callable[[], Any]) -> Any:
    """The reason that a request failed with."""
    try:
        call()
    except requests.RequestException as error:
        found = failure_of(error)
        assert found is not None, f"unexplained: {error!r}"
        return found
    raise AssertionError("it did not fail")
