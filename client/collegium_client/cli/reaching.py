"""What `doctor` checks and lists of connections: certificate, coordinators, stores, the egress list."""

from __future__ import annotations

import time
from typing import Any

from collegium.transport.errors import CertificateMissingError

__all__ = ["Advice", "check_certificate", "check_coordinator", "check_egress", "check_store", "egress_lines"]


class Advice(Exception):
    """Something that works but deserves attention: what, and how to mend it."""

    def __init__(self, detail: str, fix: str) -> None:
        super().__init__(detail)
        self.detail, self.fix = detail, fix


def check_certificate(home: Any) -> str:
    """Whether this home can show itself to coordinators, and for how long. Raises Advice, CertificateError."""
    from collegium.transport import certificates
    from collegium.transport.identity import Identity
    from collegium.transport.party import find_domain

    identity = Identity(home.settings.tls, find_domain(home.network))
    try:
        certificate = identity.read()
    except CertificateMissingError as error:
        raise Advice(error.message, "collegium tls new (`collegium train run` makes one by itself)") from None
    identity.require_dates(certificate)
    binding = certificates.find_binding(certificate)
    ends = identity.ends(certificate)
    until = f"until {certificates.moment(ends)}"
    if binding is not None and binding.node != home.address("node"):
        raise Advice(f"bound to {binding.node}, which is not the node key of this home", "collegium tls new")
    if binding is not None:
        certificates.parse(certificate, identity.domain, whose="This home's")
    if why := identity.why_renew(certificate):
        days = (ends - time.time()) / 86400
        how = "collegium tls new (`collegium train run` renews it by itself)"
        if not certificates.is_of_anchor(certificate):
            how = "collegium tls show --pem, have it issued anew, collegium tls install"
        raise Advice(f"{why}: {days:.0f} days left, {until}", how)
    return f"bound to {binding.node}, {until}" if binding else f"an ordinary one, {until}"


def check_coordinator(home: Any, url: str) -> str:
    """Whether it lets us in and is who it should be. Raises Advice, and CollegiumError where waiting does not help."""
    from collegium.errors import UnreachableError
    from collegium.transport.client import host_of
    from collegium.words import is_loopback
    from collegium_client.reaching import ask_health

    rule = home.transport.rule(url)
    try:
        status = ask_health(home.transport, url)
    except UnreachableError as error:
        raise Advice(error.message, error.hint or "The client carries messages itself meanwhile.") from error
    if not rule and not is_loopback(host_of(url)):
        raise Advice(f"HTTP {status}, without TLS: whoever is on the way can read along", "Ask its operator for https.")
    return f"HTTP {status}" + (f", TLS, certificate: {rule}" if rule else "")


def check_store(home: Any, uri: str) -> str:
    """Raises CollegiumError."""
    from collegium.storage import cid_of, open_store

    open_store(uri, transport=home.transport).has(cid_of(b"collegium doctor"))
    return "answers"


def check_egress(home: Any) -> list[Any]:
    """Every destination, probed."""
    from collegium_client.egress_list import list_egress, probe

    rows = list_egress(home.settings, home.settings.proxies)
    probe(rows)
    return rows


def egress_lines(rows: list[Any], metrics: str = "") -> list[str]:
    """A table for the people who run the firewall. metrics: address of our metrics endpoint, empty for none."""
    shown = [("host:port", "direction", "TLS", "reachable", "why")]
    for row in rows:
        host = f"[{row.host}]" if ":" in row.host else row.host
        reached = "yes" if row.reachable else f"NO ({row.detail})"
        via = f" (through {row.via}: open that instead)" if row.via else " (this machine)" if row.local else ""
        why = "; ".join(row.why) + via
        shown.append((f"{host}:{row.port}", row.direction, "yes" if row.tls else "no", reached, why))
    widths = [max(len(line[at]) for line in shown) for at in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)).rstrip() for line in shown
    ]
    if metrics:
        return [*lines, f"Nothing inbound needs to be opened, but for your own monitoring: metrics on {metrics}."]
    return [*lines, "This home never listens: nothing inbound needs to be opened."]
