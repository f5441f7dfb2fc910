"""Reasons that only transport has: certificates, peers, proxies."""

from __future__ import annotations

from collegium.errors import CollegiumError, KeystoreError, PreconditionError, UnauthorizedError, UnreachableError

__all__ = [
    "CertificateError",
    "CertificateExpiredError",
    "CertificateForeignError",
    "CertificateMissingError",
    "CertificateNotYetValidError",
    "CertificateUnboundError",
    "InsecureListenError",
    "PeerRefusedError",
    "PlainHttpError",
    "ProxyFailedError",
    "TlsFailedError",
]


class CertificateError(KeystoreError):
    """A certificate or its key cannot be used, or proves nothing."""

    code = "certificate_invalid"


class CertificateMissingError(CertificateError):
    code = "certificate_missing"


class CertificateExpiredError(CertificateError):
    code = "certificate_expired"


class CertificateNotYetValidError(CertificateError):
    """Most often a clock that is wrong."""

    code = "certificate_not_yet_valid"


class CertificateForeignError(CertificateError):
    """Bound to a node key for another chain or another Collegium."""

    code = "certificate_foreign"


class CertificateUnboundError(CertificateError):
    """An ordinary certificate where one bound to a node key is expected."""

    code = "certificate_unbound"


class PeerRefusedError(UnauthorizedError):
    """The certificate is right, its node key is not one to talk to."""

    code = "peer_refused"


class InsecureListenError(PreconditionError):
    """Serving others without TLS."""

    code = "insecure_listen"


class TlsFailedError(UnreachableError):
    """The handshake failed for a reason of the connection, not of a certificate."""

    code = "tls_failed"


class PlainHttpError(UnreachableError):
    """One side speaks TLS, the other plain HTTP."""

    code = "plain_http"


class ProxyFailedError(UnreachableError):
    """The HTTP proxy does not answer or refuses."""

    code = "proxy_failed"


def refusal(code: str, message: str, hint: str) -> CollegiumError:
    """An error a server sent as JSON, by its code."""
    kinds = (
        CertificateMissingError, CertificateExpiredError, CertificateNotYetValidError, CertificateForeignError,
        CertificateUnboundError, PeerRefusedError, PlainHttpError, CertificateError,
    )  # fmt: skip
    kind = next((each for each in kinds if each.code == code), UnauthorizedError)
    return kind(message, hint=hint)
