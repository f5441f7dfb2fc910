"""What a failed handshake means, in words of certificates, clocks and ports."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from collegium.errors import CollegiumError

from .errors import (
    CertificateError,
    CertificateExpiredError,
    CertificateMissingError,
    CertificateNotYetValidError,
    CertificateUnboundError,
    PlainHttpError,
    TlsFailedError,
)

__all__ = ["explain", "failure_of"]

EXPIRED, NOT_YET_VALID, WRONG_NAME, WRONG_ADDRESS = 10, 9, 62, 64
"""OpenSSL's X509_V_ERR numbers."""
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def failure_of(error: BaseException) -> CollegiumError | None:
    """The reason that a `TransportFailure` carries; None for any other error."""
    found = getattr(error, "error", None)
    return found if isinstance(found, CollegiumError) else None


def explain(error: BaseException, url: str, *, is_bound: bool) -> CollegiumError | None:
    """is_bound: a certificate bound to a node key was expected. None: the failure is none of TLS."""
    found = _find_ssl_error(error)
    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        return _explain_verification(found, server, is_bound=is_bound)
    reason = found.reason or ""
    if any(word in reason for word in _PLAIN):
        return PlainHttpError(
            f"{server} does not speak TLS.",
            hint="It may serve plain HTTP: write http:// only if it is on this machine, else turn on its TLS.",
        )
    if "ALERT" in reason:
        return _explain_alert(reason, server)
    if isinstance(found, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return TlsFailedError(
            f"{server} closed the connection during the TLS handshake.",
            hint="It may not accept our certificate, which must be bound to a node key (`collegium tls show`) or be of"
            " the authority the server names; or it was restarted: try again.",
        )
    return TlsFailedError(f"The TLS handshake with {server} failed ({reason or found}).", hint=_RETRY)


_RETRY = "Try again; check that the address is that of a coordinator, and its log."


def _find_ssl_error(error: BaseException) -> ssl.SSLError | None:
    """In the causes, and in what urllib3 wraps as a `reason` or an argument."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        each = queue.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, ssl.SSLError):
            return each
        queue += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return None


def _explain_verification(error: ssl.SSLCertVerificationError, server: str, *, is_bound: bool) -> CollegiumError:
    code = error.verify_code
    if code == EXPIRED:
        return CertificateExpiredError(
            f"The certificate of {server} has expired.",
            hint="Its operator renews it; if it should be valid, check the clock of this machine.",
        )
    if code == NOT_YET_VALID:
        return CertificateNotYetValidError(
            f"The certificate of {server} is not valid yet.",
            hint="The clock of this machine or of the server's is wrong: set both by NTP.",
        )
    if code in (WRONG_NAME, WRONG_ADDRESS):
        return CertificateError(
            f"The certificate of {server} is for another name: {error.verify_message}.",
            hint="Use the name it was issued for, or pin its node key under [coordinators.pins].",
        )
    if is_bound:
        return CertificateUnboundError(
            f"The certificate of {server} is an ordinary one, bound to no node key ({error.verify_message}).",
            hint='If that is meant, set [coordinators.pins] URL = "public", or "ca" with tls.ca.',
        )
    return CertificateError(
        f"The certificate of {server} is of no authority that is trusted here ({error.verify_message}).",
        hint='For a coordinator, pin its node key: [coordinators.pins] URL = "0x…"; for your own authority, set'
        ' tls.ca and URL = "ca".',
    )


def _explain_alert(reason: str, server: str) -> CollegiumError:
    if "CERTIFICATE_REQUIRED" in reason:
        return CertificateMissingError(f"{server} wants a certificate.", hint="Make one with `collegium tls new`.")
    if "CERTIFICATE_EXPIRED" in reason:
        return CertificateExpiredError(
            f"{server} says that our certificate has expired.", hint="Renew it with `collegium tls new`."
        )
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason or "CERTIFICATE_UNKNOWN" in reason:
        return CertificateError(
            f"{server} does not accept our certificate ({reason.lower()}).",
            hint="It must be bound to a node key (`collegium tls new`) or be of the authority the coordinator names.",
        )
    if "PROTOCOL_VERSION" in reason or "HANDSHAKE_FAILURE" in reason:
        return TlsFailedError(
            f"{server} and this program have no TLS version in common.", hint="TLS 1.3 is needed on both sides."
        )
    return TlsFailedError(f"{server} broke off the TLS handshake ({reason.lower()}).", hint=_RETRY)
