"""Certificates whose trust is a node key's binding, and the anchor that only keeps TLS libraries content.

TLS libraries hand a client's certificate to an application only after a chain of issuers was verified, so every
node-bound certificate is issued by the anchor: an authority whose key anybody can derive, and which therefore proves
nothing. Contexts that trust it (`contexts`) never trust a chain; they demand a binding, checked here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from .binding import OID, Binding, DigestSigner, Domain
from .errors import (
    CertificateError,
    CertificateExpiredError,
    CertificateForeignError,
    CertificateNotYetValidError,
    CertificateUnboundError,
)

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "BACKDATED_SECONDS",
    "OID",
    "BoundCertificate",
    "anchor_pem",
    "check_dates",
    "find_binding",
    "is_of_anchor",
    "leaf",
    "load",
    "make",
    "parse",
    "to_date",
]

BACKDATED_SECONDS = 300
"""A certificate counts from a little before it was made, for peers whose clocks are a little behind."""
_ANCHOR_NAME = "Collegium node-bound certificates (anybody can issue these)"


@dataclass(frozen=True)
class BoundCertificate:
    """A verified certificate. not_before, not_after: unix seconds; not_after is never beyond the binding's expiry.

    fingerprint: SHA-256 of its DER, hex.
    """

    node: str
    domain: Domain
    not_before: int
    not_after: int
    fingerprint: str


def make(
    signer: DigestSigner, domain: Domain, *, days: float, names: tuple[str, ...] = (), now: float | None = None
) -> bytes:
    """A fresh key and its certificate for a node key, as one PEM: key first.

    names: host names and addresses for clients that check them, which node-bound ones do not.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    at = int(time.time() if now is None else now)
    expiry = at + int(days * 86400)
    key = ec.generate_private_key(ec.SECP256R1())
    spki = public_key_der(key.public_key())
    binding = Binding.sign(signer, domain, public_key=spki, expiry=expiry)
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID), binding.to_der())
    builder = (
        leaf(key.public_key(), name=signer.address, names=names, not_before=at - BACKDATED_SECONDS, not_after=expiry)
        .issuer_name(_anchor().subject)
        .add_extension(authority_of(_anchor()), critical=False)
        .add_extension(extension, critical=False)
    )
    certificate = builder.sign(_anchor_key(), None)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


def parse(
    certificate: bytes | x509.Certificate, domain: Domain | None, *, now: float | None = None, whose: str = "The"
) -> BoundCertificate:
    """Verify a certificate (DER) as far as it speaks for itself; whether its node key may anything is for others.

    domain: where it must count; None takes any. whose: how messages begin, such as "The coordinator's".

    Raises:
        CertificateUnboundError, CertificateForeignError, CertificateExpiredError, CertificateNotYetValidError,
        CertificateError.
    """
    loaded = load(certificate) if isinstance(certificate, bytes) else certificate
    binding = find_binding(loaded)
    if binding is None:
        raise CertificateUnboundError(
            f"{whose} certificate ({shown_name(loaded)}) is an ordinary one, bound to no node key.",
            hint="For a server with a certificate of a public or your own authority, set [coordinators.pins] "
            'URL = "public" or "ca"; else its owner runs `collegium tls new`.',
        )
    binding.verify(public_key_der(loaded.public_key()))
    if domain is not None and binding.domain != domain:
        raise CertificateForeignError(
            f"{whose} certificate is for Collegium {binding.domain.contract} on chain {binding.domain.chain_id}, "
            f"not for {domain.contract} on chain {domain.chain_id}.",
            hint="Check that both sides use the same deployment, then `collegium tls new`.",
            chain_id=binding.domain.chain_id, contract=binding.domain.contract,
        )  # fmt: skip
    not_before = int(loaded.not_valid_before_utc.timestamp())
    not_after = min(int(loaded.not_valid_after_utc.timestamp()), binding.expiry)
    check_dates(not_before, not_after, now=now, whose=whose)
    return BoundCertificate(binding.node, binding.domain, not_before, not_after, fingerprint_of(loaded))


def check_dates(not_before: int, not_after: int, *, now: float | None = None, whose: str = "The") -> None:
    """Raises CertificateExpiredError, CertificateNotYetValidError. Unix seconds."""
    at = time.time() if now is None else now
    if at >= not_after:
        raise CertificateExpiredError(
            f"{whose} certificate expired on {moment(not_after)}; the clock here says {moment(at)}.",
            hint="Its owner runs `collegium tls new`; a running client or coordinator renews it by itself. "
            "If the date here is wrong, set the clock.",
            expired=not_after, now=int(at),
        )  # fmt: skip
    if at < not_before:
        raise CertificateNotYetValidError(
            f"{whose} certificate counts only from {moment(not_before)} on; the clock here says {moment(at)}.",
            hint="One of the two clocks is wrong: set both by NTP (`collegium doctor` compares yours with the chain).",
            valid_from=not_before, now=int(at),
        )  # fmt: skip


def find_binding(certificate: x509.Certificate) -> Binding | None:
    """The binding inside, not verified; None for an ordinary certificate. Raises CertificateError: malformed."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(OID))
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension) as error:
        raise CertificateError(f"The certificate's extensions cannot be read: {error}.", hint=_ANEW) from error
    value = found.value
    return Binding.from_der(value.value if isinstance(value, x509.UnrecognizedExtension) else b"")


def is_of_anchor(certificate: x509.Certificate) -> bool:
    """Whether its owner made it alone; others came from an authority and cannot be made again here."""
    return certificate.issuer == _anchor().subject


def load(der: bytes) -> x509.Certificate:
    """A certificate whose every part can be read. Raises CertificateError."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        loaded = x509.load_der_x509_certificate(der)
        # The parts are parsed when they are first asked for: here, where a failure is expected.
        _ = loaded.public_key(), loaded.extensions, loaded.subject, loaded.issuer
        _ = loaded.not_valid_before_utc, loaded.not_valid_after_utc
        return loaded
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificateError(f"The certificate cannot be read: {error}.", hint=_ANEW) from error


def leaf(
    public_key: object, *, name: str, names: tuple[str, ...], not_before: int, not_after: int
) -> x509.CertificateBuilder:
    """A certificate for both ends of a connection, without issuer."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    use = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(public_key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(to_date(not_before))
        .not_valid_after(to_date(not_after))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(use, critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)  # type: ignore[arg-type]
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
    return builder


def authority_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The extension by which a certificate names its issuer's key."""
    from cryptography import x509

    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]


def public_key_der(public_key: object) -> bytes:
    """DER of the SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives import serialization

    der: bytes = public_key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, hex."""
    from cryptography.hazmat.primitives import serialization

    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def shown_name(certificate: x509.Certificate) -> str:
    """The subject for messages: foreign text, made harmless."""
    from collegium.words import printable

    return printable(certificate.subject.rfc4514_string(), 80) or "without a name"


def shown_issuer(certificate: x509.Certificate) -> str:
    """The issuer for messages: foreign text, made harmless."""
    from collegium.words import printable

    return printable(certificate.issuer.rfc4514_string(), 80) or "without a name"


def names_of(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses it is for."""
    from cryptography import x509

    from collegium.words import printable

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [printable(str(each.value), 100) for each in found]


def moment(at: float) -> str:
    """A time for people, UTC."""
    try:
        return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {int(at)}"


@cache
def anchor_pem() -> str:
    """The anchor's certificate, the same everywhere."""
    from cryptography.hazmat.primitives import serialization

    return _anchor().public_bytes(serialization.Encoding.PEM).decode()


@cache
def _anchor_key() -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"collegium/1/tls/anchor").digest())


@cache
def _anchor() -> x509.Certificate:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    public = _anchor_key().public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ANCHOR_NAME)])
    use = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(use, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(_anchor_key(), None)
    )


def _name(text: str) -> x509.GeneralName:
    from ipaddress import ip_address

    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(text.strip("[]")))
    except ValueError:
        return x509.DNSName(text)


def to_date(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


_ANEW = "Make it again with `collegium tls new`."
