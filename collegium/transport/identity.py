"""A home's TLS identity: a private key and its certificate on disk, renewed while a node key is at hand."""

from __future__ import annotations

import contextlib
import logging
import ssl
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collegium.errors import CollegiumError
from collegium.files import write_atomically

from . import certificates
from .binding import DigestSigner, Domain
from .certificates import BoundCertificate
from .errors import CertificateError, CertificateMissingError
from .settings import TlsSettings

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Identity", "install", "read_certificates"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""How often at most the file and its dates are looked at."""


class Identity:
    """Thread-safe. signer: the node key; without it nothing is made or renewed. domain: where bindings count."""

    def __init__(
        self,
        settings: TlsSettings,
        domain: Domain,
        signer: DigestSigner | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.domain = domain
        self._signer = signer
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -LOOK_SECONDS
        self._stamp = (0, 0)
        self._generation = 0

    def make(self, *, names: tuple[str, ...] = ()) -> BoundCertificate:
        """A fresh key and certificate in place of what is there. Raises CertificateError: no node key, own files."""
        if self._signer is None:
            raise CertificateError("A certificate needs the node key.", hint="Run `collegium tls new`.")
        if self.settings.key is not None:
            raise CertificateError(
                f"tls.key names {self.settings.key}: this home brings files of its own.",
                hint="Leave tls.key and tls.certificate out for a node-bound certificate.",
            )
        pem = certificates.make(
            self._signer, self.domain, days=self.settings.valid_days, names=names, now=self._clock()
        )
        path = self.settings.certificate
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, pem, mode=0o600)
        return certificates.parse(self.read(), self.domain, now=self._clock(), whose="This home's")

    def read(self) -> x509.Certificate:
        """The certificate, after looking at key, file modes and whether both fit; its dates are not looked at.

        Raises CertificateMissingError, CertificateError.
        """
        settings = self.settings
        for path in {settings.certificate, settings.key_file}:
            if not path.exists():
                raise CertificateMissingError(
                    f"There is no TLS certificate at {path}.", hint="Make one: `collegium tls new`.", path=str(path)
                )
        _check_mode(settings.key_file)
        certificate = read_certificates(settings.certificate)[0]
        key = _read_key(settings.key_file)
        if certificates.public_key_der(key.public_key()) != certificates.public_key_der(certificate.public_key()):
            raise CertificateError(
                f"The key in {settings.key_file} is not that of the certificate in {settings.certificate}.",
                hint="Make both anew with `collegium tls new`, or name files that belong together.",
            )
        return certificate

    def ensure(self) -> x509.Certificate:
        """The certificate to use now: made when missing, renewed when it is time and the node key is at hand.

        Raises CertificateError: it cannot be used and cannot be made anew.
        """
        with self._lock:
            return self._ensure()

    def _ensure(self) -> x509.Certificate:
        may_make = self._signer is not None and self.settings.key is None
        try:
            certificate = self.read()
        except CertificateMissingError:
            if not may_make:
                raise
            logger.info("made a TLS certificate: %s", self.make().fingerprint)
            return self.read()
        why = self.why_renew(certificate)
        if why and may_make and certificates.find_binding(certificate) and certificates.is_of_anchor(certificate):
            logger.info("renewed the TLS certificate (%s): %s", why, self.make().fingerprint)
            return self.read()
        self.require_dates(certificate)
        return certificate

    def require_dates(self, certificate: x509.Certificate) -> None:
        """Raises CertificateExpiredError, CertificateNotYetValidError."""
        begins, ends = certificate.not_valid_before_utc.timestamp(), self.ends(certificate)
        certificates.check_dates(int(begins), ends, now=self._clock(), whose="This home's")

    def ends(self, certificate: x509.Certificate) -> int:
        """Unix seconds from which on it counts no more."""
        binding = certificates.find_binding(certificate)
        end = int(certificate.not_valid_after_utc.timestamp())
        return min(end, binding.expiry) if binding else end

    def why_renew(self, certificate: x509.Certificate) -> str:
        """Why a new one is due; empty when none is."""
        binding = certificates.find_binding(certificate)
        left = self.ends(certificate) - self._clock()
        if left < self.settings.renew_days * 86400:
            return "it has expired" if left <= 0 else f"it expires in {left / 86400:.0f} days"
        if binding is None:
            return ""
        if self._signer is not None and binding.node != self._signer.address:
            return f"it is bound to {binding.node}, the node key is {self._signer.address}"
        return "it is for another chain or contract" if binding.domain != self.domain else ""

    def load_into(self, context: ssl.SSLContext) -> None:
        """Give a context our key and certificate. Raises CertificateError."""
        with self._lock:
            self._ensure()
            self._load(context)

    def generation(self) -> int:
        """A number that grows when key or certificate changed; renews when due. Cheap to ask often, never raises.

        Contexts are made anew then: one in use must not be changed under another thread's handshake.
        """
        if time.monotonic() - self._looked_at < LOOK_SECONDS or not self._lock.acquire(blocking=False):
            return self._generation
        try:
            self._looked_at = time.monotonic()
            before = self._stamp
            self._ensure()
            self._stamp = self._find_stamp()
            if before not in (self._stamp, (0, 0)):
                self._generation += 1
        except (CollegiumError, OSError) as error:
            logger.warning("the TLS certificate cannot be renewed: %s", error)
        finally:
            self._lock.release()
        return self._generation

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.settings.certificate, self.settings.key)
        except (ssl.SSLError, OSError) as error:
            raise CertificateError(
                f"{self.settings.certificate} cannot be used for TLS: {error}.", hint="Run `collegium tls new`."
            ) from error

    def _find_stamp(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            return self.settings.certificate.stat().st_mtime_ns, self.settings.key_file.stat().st_mtime_ns
        return (0, 0)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file, at least one. Raises CertificateError: truncated, or none."""
    from cryptography import x509

    text = _read_file(path)
    begun, ended = text.count(b"-----BEGIN CERTIFICATE-----"), text.count(b"-----END CERTIFICATE-----")
    if begun and begun == ended:
        with contextlib.suppress(ValueError):
            return x509.load_pem_x509_certificates(text)
    what = "is cut off or damaged" if begun else "holds no certificate"
    raise CertificateError(
        f"The PEM file {path} {what}.", hint="Restore it, or make it anew with `collegium tls new`.", path=str(path)
    )


def _read_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    text = _read_file(path)
    try:
        return serialization.load_pem_private_key(text, password=None)
    except TypeError:
        raise CertificateError(
            f"The key in {path} is encrypted.", hint="TLS keys are kept without a password, readable by you alone."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        what = "is cut off or damaged" if b"PRIVATE KEY-----" in text else "holds no private key"
        raise CertificateError(
            f"The PEM file {path} {what}.", hint="Restore it, or make it anew with `collegium tls new`.", path=str(path)
        ) from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its path, owner and mode.", path=str(path)
        ) from error


def _check_mode(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise CertificateError(
            f"The TLS key {path} can be read by others (mode {mode:04o}); it is not used.",
            hint=f"Run `chmod 600 {path}`; if anybody may have read it, `collegium tls new`.",
            path=str(path),
        )


def install(identity: Identity, issued: Path) -> None:
    """Replace the certificate by another for the same key; what an authority adds as its chain is kept.

    Raises CertificateError: it is for another key, node or contract, or not of now.
    """
    from cryptography.hazmat.primitives import serialization

    settings = identity.settings
    present, (made, *chain) = identity.read(), read_certificates(issued)
    if certificates.public_key_der(present.public_key()) != certificates.public_key_der(made.public_key()):
        raise CertificateError(
            f"{issued} is for another key than {settings.key_file}.",
            hint="Hand `collegium tls show --pem` to the authority anew; `tls new` makes a new key each time.",
        )
    if certificates.find_binding(made) is not None:
        certificates.parse(made, identity.domain, whose=f"{issued}: the")
    identity.require_dates(made)
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (made, *chain))
    if settings.key is None:
        key: Any = _read_key(settings.key_file)
        pem = _key_pem(key) + pem
    write_atomically(settings.certificate, pem, mode=0o600)


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
