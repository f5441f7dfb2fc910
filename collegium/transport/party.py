"""The transport of a party as its home describes it; every role's is put together here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .client import Transport
from .settings import TlsSettings

if TYPE_CHECKING:
    from collegium.chain import Chain
    from collegium.chain.client import NetworkSettings

    from .binding import DigestSigner, Domain
    from .identity import Identity

__all__ = ["find_domain", "make_identity", "make_transport"]


def find_domain(network: NetworkSettings) -> Domain:
    """Where bindings of this party count: chain id and Collegium address of its deployment, without asking a node.

    Raises DeploymentMissingError.
    """
    from collegium.chain.deployment import Deployment

    from .binding import Domain

    deployment = Deployment.find(network.chain_id, network.deployment)
    return Domain(network.chain_id, deployment.addresses["Collegium"])


def make_identity(
    tls: TlsSettings, domain: Callable[[], Domain], signer: Callable[[], DigestSigner | None]
) -> Identity | None:
    """None when there is no certificate and no node key at hand to make one."""
    from .identity import Identity

    key = signer()
    if key is None and not tls.certificate.exists():
        return None
    return Identity(tls, domain(), key)


def make_transport(
    network: NetworkSettings,
    tls: TlsSettings,
    *,
    signer: Callable[[], DigestSigner | None],
    chain: Callable[[], Chain],
    pins: Mapping[str, str],
    coordinators: Iterable[str],
) -> Transport:
    """signer: the node key if it is at hand. chain: for looking up coordinators without a pin."""
    from .roster import EnlistedServers

    def domain() -> Domain:
        return find_domain(network)

    return Transport(
        network.proxies,
        domain=domain,
        identity=lambda: make_identity(tls, domain, signer),
        pins=pins,
        coordinators=coordinators,
        ca=tls.ca,
        enlisted=EnlistedServers(chain).require,
    )
