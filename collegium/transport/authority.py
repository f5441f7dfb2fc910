"""A private authority: for federations whose rules ask that certificates come from an operator they know.

It signs the public key of a node-bound certificate and keeps the binding in it, so that the roster counts as before
and the host name can be checked too. Nothing else is taken from what was handed in.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from collegium.errors import KeyExistsError, WrongPasswordError
from collegium.files import write_atomically

from . import certificates
from .errors import CertificateError, CertificateMissingError
from .identity import read_certificates

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["CERTIFICATE", "KEY", "create", "issue"]

CERTIFICATE, KEY = "ca.pem", "ca.key"


def create(folder: Path, name: str, password: str, *, days: int = 3650) -> Path:
    """A fresh authority in a folder; returns the certificate that everybody puts into `tls.ca`.

    Raises KeyExistsError: there is one already.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    for path in (folder / KEY, folder / CERTIFICATE):
        if path.exists():
            raise KeyExistsError(f"There is an authority already: {path}.", hint="Take another folder.")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = int(time.time())
    use = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(certificates.to_date(now - certificates.BACKDATED_SECONDS))
        .not_valid_after(certificates.to_date(now + days * 86400))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(use, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(folder / KEY, secret, mode=0o600, exclusive=True)
    write_atomically(folder / CERTIFICATE, made.public_bytes(serialization.Encoding.PEM), exclusive=True)
    return folder / CERTIFICATE


def issue(folder: Path, request: Path, password: str, *, names: tuple[str, ...] = (), days: int = 365) -> bytes:
    """A certificate (PEM) for the key and binding of a node-bound one.

    names: host names and addresses it is for. days: at most; it never counts longer than the binding.
    Raises CertificateError, WrongPasswordError.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    asked = read_certificates(request)[0]
    bound = certificates.parse(asked, None, whose=f"{request}: the")
    authority = read_certificates(folder / CERTIFICATE)[0]
    key = _load_key(folder / KEY, password)
    now = int(time.time())
    binding = certificates.find_binding(asked)
    assert binding is not None
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(certificates.OID), binding.to_der())
    builder = certificates.leaf(
        asked.public_key(), name=bound.node, names=names, not_before=now - certificates.BACKDATED_SECONDS,
        not_after=min(now + days * 86400, bound.not_after, int(authority.not_valid_after_utc.timestamp())),
    )  # fmt: skip
    made: x509.Certificate = (
        builder.issuer_name(authority.subject)
        .add_extension(certificates.authority_of(authority), critical=False)
        .add_extension(extension, critical=False)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    return made.public_bytes(serialization.Encoding.PEM)


def _load_key(path: Path, password: str) -> object:
    from cryptography.hazmat.primitives import serialization

    if not path.exists():
        raise CertificateMissingError(f"There is no authority's key at {path}.", hint="`collegium tls ca init`.")
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=password.encode())
    except ValueError as error:
        if "password" in str(error).lower() or "decrypt" in str(error).lower():
            raise WrongPasswordError(f"The password does not open {path}.", hint="Check --password-file.") from None
        raise CertificateError(f"{path} is cut off or damaged.", hint="Restore it from a backup.") from error
    except TypeError as error:
        raise CertificateError(f"{path} is not encrypted as ours are.", hint="Use openssl with this key.") from error
