"""Whom a coordinator talks to: members and aggregators of its study by their node keys, others perhaps for reading."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collegium.errors import CollegiumError

from . import certificates
from .contexts import make_bound_server
from .errors import CertificateMissingError
from .identity import Identity, read_certificates

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Peer", "RosterGate"]

logger = logging.getLogger(__name__)

READING = ("GET", "HEAD")
OPEN_PATHS = ("/health",)
"""What load balancers ask; it tells nothing."""
LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Peer:
    """A client. node: address of its node key, empty for one that the private authority vouches for. name: for logs.

    not_before, not_after: unix seconds.
    """

    node: str
    name: str
    not_before: int
    not_after: int


class RosterGate:
    """A gate of `HttpServer`.

    require: raises CollegiumError when a node key may not (any more) speak to this coordinator.
    """

    def __init__(
        self, identity: Identity, require: Callable[[str], None], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._identity = identity
        self._require = require
        self._clock = clock
        settings = identity.settings
        self._readers = settings.readers
        self._authorities = read_certificates(settings.ca) if settings.ca else []
        self._generation = identity.generation()
        self._context = make_bound_server(identity, ca=settings.ca)
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def context(self) -> ssl.SSLContext:
        """A new one when the certificate was renewed. Asked for by one thread, that which accepts connections."""
        generation = self._identity.generation()
        if generation != self._generation:
            try:
                self._context = make_bound_server(self._identity, ca=self._identity.settings.ca)
            except CollegiumError as error:
                self._log(error)
            self._generation = generation
        return self._context

    def identify(self, certificate: bytes | None) -> Peer | None:
        """None without a certificate. Raises CertificateError."""
        if certificate is None:
            return None
        try:
            return self._identify(certificates.load(certificate))
        except CollegiumError as error:
            self._log(error)
            raise

    def _identify(self, certificate: x509.Certificate) -> Peer:
        name = certificates.shown_name(certificate)
        if certificates.find_binding(certificate) is None and any(
            _is_issued_by(certificate, authority) for authority in self._authorities
        ):
            begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
            certificates.check_dates(int(begins), int(ends), now=self._clock(), whose="Your")
            return Peer("", name, int(begins), int(ends))
        bound = certificates.parse(certificate, self._identity.domain, now=self._clock(), whose="Your")
        return Peer(bound.node, name, bound.not_before, bound.not_after)

    def admit(self, peer: Peer | None, method: str, path: str) -> None:
        """Raises CertificateMissingError, CertificateExpiredError, PeerRefusedError."""
        if path in OPEN_PATHS and method in READING:
            return
        try:
            self._admit(peer, is_reading=method in READING)
        except CollegiumError as error:
            self._log(error)
            raise

    def _admit(self, peer: Peer | None, *, is_reading: bool) -> None:
        if self._readers == "anyone" and is_reading:
            return
        if peer is None:
            raise CertificateMissingError(
                "This coordinator talks to members of its study only, and you showed no certificate.",
                hint="Make one with `collegium tls new`; a running client does so by itself.",
            )
        # A connection may outlive its certificate, and its node key's place in the roster.
        certificates.check_dates(peer.not_before, peer.not_after, now=self._clock(), whose="Your")
        if peer.node:
            self._require(peer.node)

    def _log(self, error: CollegiumError) -> None:
        """One line per reason and a few seconds: strangers must not fill the disk."""
        now = time.monotonic()
        with self._lock:
            if now - self._logged.get(error.code, -LOG_SECONDS) < LOG_SECONDS:
                return
            self._logged[error.code] = now
        logger.warning("refused a client: %s", error.message)


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Directly: what OpenSSL verified may have come through the anchor, under which anybody can issue."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
