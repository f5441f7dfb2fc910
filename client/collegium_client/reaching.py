"""How a home reaches coordinators and stores, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from collegium.errors import CollegiumError, CoordinatorUnreachableError, KeystoreError
from collegium.transport.client import Transport
from collegium.transport.errors import PlainHttpError, ProxyFailedError
from collegium.transport.failures import failure_of
from collegium.transport.party import make_transport as make_party_transport

if TYPE_CHECKING:
    from collegium.chain import Signer

    from .home import Home

__all__ = ["ask_health", "find_refusals", "make_transport"]

TIMEOUT = 5.0


def make_transport(home: Home, signers: Mapping[str, Signer]) -> Transport:
    """signers: the keys unlocked so far; with the node key a certificate is made and renewed."""
    settings = home.settings
    return make_party_transport(
        home.network,
        settings.tls,
        signer=lambda: signers.get("node"),
        chain=home.chain,
        pins=settings.get("coordinators", "pins"),
        coordinators=settings.coordinators,
    )


def ask_health(transport: Transport, url: str, path: str = "/v1/info") -> int:
    """HTTP status of a coordinator that lets us in.

    Raises CertificateError, PeerRefusedError, ProxyFailedError, CoordinatorUnreachableError and the like.
    """
    import requests

    from collegium.transport.errors import refusal

    try:
        with transport.session(url) as session:
            answer = session.get(f"{url}{path}", timeout=TIMEOUT)
    except requests.RequestException as error:
        known = failure_of(error)
        if known is not None:
            raise known from error
        raise CoordinatorUnreachableError(
            f"The coordinator {url} does not answer ({type(error).__name__}).",
            hint="Check its address; the client carries messages itself meanwhile.",
        ) from error
    if answer.status_code in (400, 403):
        raise refusal(answer.headers.get("X-Collegium-Error", ""), *_said(answer, url))
    return int(answer.status_code)


def find_refusals(transport: Transport, urls: Sequence[str]) -> list[dict[str, str]]:
    """Coordinators that no waiting will make talk to us, and why: wrong keys, certificates, proxies.

    One that merely does not answer is none of them: the client goes on asking it.
    """
    found = []
    for url in urls:
        if transport.rule(url) or transport.proxies.for_url(url):
            try:
                ask_health(transport, url)
            except (KeystoreError, ProxyFailedError, PlainHttpError) as error:
                found.append({"coordinator": url, "code": error.code, "reason": error.message, "next": error.hint})
            except CollegiumError:
                continue
    return found


def _said(answer: object, url: str) -> tuple[str, str]:
    from collegium.words import printable

    headers: Mapping[str, str] = answer.headers  # type: ignore[attr-defined]
    message = printable(headers.get("X-Collegium-Message", ""), 500) or f"HTTP {answer.status_code}"  # type: ignore[attr-defined]
    return f"{url} refuses: {message}", printable(headers.get("X-Collegium-Hint", ""), 300)
