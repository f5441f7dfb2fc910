"""The two kinds of TLS context, which are never mixed.

A bound context trusts the anchor, which anybody can issue under: whoever uses it must check the peer's binding, and its
dates, right after the handshake. An ordinary context trusts authorities and checks names and dates itself.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from .certificates import anchor_pem
from .errors import CertificateError
from .identity import Identity, read_certificates

__all__ = ["make_bound_client", "make_bound_server", "make_ordinary_client"]

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: dates are checked by `certificates.parse`, whose errors name both clocks."""


def make_bound_server(identity: Identity, *, ca: Path | None = None) -> ssl.SSLContext:
    """Asks clients for a certificate and takes any that is readable; the gate decides what it is worth.

    TLS 1.3 alone when our own certificate is bound to a node key. ca: certificates of a private authority.
    """
    from . import certificates

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    is_bound = certificates.find_binding(identity.ensure()) is not None
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if is_bound else ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    # No resumption: each connection proves anew who it is, with the certificate of now.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    _trust_anchor(context, ca)
    identity.load_into(context)
    return context


def make_bound_client(identity: Identity | None, *, ca: Path | None = None) -> ssl.SSLContext:
    """For servers with a node-bound certificate. The caller checks the binding before it sends anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A node key is no host name.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    _trust_anchor(context, ca)
    if identity is not None:
        identity.load_into(context)
    return context


def make_ordinary_client(identity: Identity | None = None, *, ca: Path | None = None) -> ssl.SSLContext:
    """Checks issuer, dates and host name: of the private authority if there is one, else of the public ones."""
    if ca is not None:
        read_certificates(ca)
        context = ssl.create_default_context(cafile=str(ca))
    else:
        import certifi

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if identity is not None:
        identity.load_into(context)
    return context


def _trust_anchor(context: ssl.SSLContext, ca: Path | None) -> None:
    context.load_verify_locations(cadata=anchor_pem())
    if ca is not None:
        read_certificates(ca)
        try:
            context.load_verify_locations(cafile=str(ca))
        except (ssl.SSLError, OSError) as error:
            raise CertificateError(f"tls.ca {ca} cannot be used: {error}.", hint="Name a PEM file.") from error
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
