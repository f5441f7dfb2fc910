"""Transport: how one party reaches every server its settings name.

What must be true of a server follows from its URL: its pin, else what is usual for a coordinator or for any other.

| rule | the server's certificate |
| --- | --- |
| `0x…` | is bound to this node key |
| `enlisted` | is bound to the node key of an aggregator enlisted in a study: coordinators without a pin |
| `ca` | is of the authority `tls.ca`, for this host name: coordinators without a pin where `tls.ca` is set |
| `public` | is of a public authority, for this host name: everything else |
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from collegium.errors import ConfigError

from .proxies import Proxies

if TYPE_CHECKING:
    import requests

    from .binding import Domain
    from .identity import Identity

__all__ = ["Transport", "host_of", "origin_of"]

ENLISTED, PUBLIC, CA = "enlisted", "public", "ca"
_NODE = re.compile(r"0x[0-9a-fA-F]{40}")


class Transport:
    """Thread-safe; sessions are not, so each thread asks for its own.

    domain: where bindings must count. identity: what we show coordinators, None for nothing. pins: rule by URL.
    coordinators: URLs of coordinators. ca: certificates of a private authority. enlisted: raises CollegiumError for a
    node key of no enlisted aggregator. The callables are called when first needed.
    """

    def __init__(
        self,
        proxies: Proxies | None = None,
        *,
        domain: Callable[[], Domain] | None = None,
        identity: Callable[[], Identity | None] | None = None,
        pins: Mapping[str, str] | None = None,
        coordinators: Iterable[str] = (),
        ca: Path | None = None,
        enlisted: Callable[[str], None] | None = None,
    ) -> None:
        self.proxies = proxies or Proxies()
        self._find_domain = domain
        self._find_identity = identity
        self._ca = ca
        self._enlisted = enlisted
        self._pins = {origin_of(url): _check_pin(url, pin, ca) for url, pin in (pins or {}).items()}
        self._coordinators = {origin_of(url) for url in coordinators}
        self._contexts: dict[str, tuple[int, ssl.SSLContext]] = {}
        self._lock = threading.Lock()

    def rule(self, url: str) -> str:
        """What must be true of the server at a URL; empty for plain HTTP."""
        if urlsplit(url).scheme != "https":
            return ""
        origin = origin_of(url)
        if origin in self._pins:
            return self._pins[origin]
        if origin not in self._coordinators:
            return PUBLIC
        return CA if self._ca else ENLISTED

    def session(self, url: str, headers: Mapping[str, str] | None = None) -> requests.Session:
        """For requests to that server only. Raises CertificateError: our own certificate cannot be used."""
        from .sessions import Adapter, make_session

        rule = self.rule(url)
        if not rule:
            return make_session(Adapter(self.proxies), headers)
        check = None if rule in (PUBLIC, CA) else lambda certificate: self._check(certificate, rule, url)
        adapter = Adapter(self.proxies, context=lambda: self._context(rule, url), check=check)
        return make_session(adapter, headers)

    @cached_property
    def _domain(self) -> Domain | None:
        return self._find_domain() if self._find_domain else None

    @cached_property
    def _identity(self) -> Identity | None:
        return self._find_identity() if self._find_identity else None

    def _context(self, rule: str, url: str) -> ssl.SSLContext:
        from .contexts import make_bound_client, make_ordinary_client

        # Only coordinators learn who we are.
        shows = rule != PUBLIC or origin_of(url) in self._coordinators
        name = f"{rule if rule in (PUBLIC, CA) else ENLISTED}/{shows}"
        with self._lock:
            identity = self._identity if shows else None
            generation = identity.generation() if identity is not None else 0
            if name not in self._contexts or self._contexts[name][0] != generation:
                if rule in (PUBLIC, CA):
                    made = make_ordinary_client(identity, ca=self._ca if rule == CA else None)
                else:
                    made = make_bound_client(identity, ca=self._ca)
                self._contexts[name] = generation, made
            return self._contexts[name][1]

    def _check(self, certificate: bytes, rule: str, url: str) -> None:
        from . import certificates
        from .errors import PeerRefusedError

        server = origin_of(url)
        bound = certificates.parse(certificate, self._domain, whose=f"{server} is not who it should be: its")
        if rule != ENLISTED:
            if bound.node != rule:
                raise PeerRefusedError(
                    f"{server} shows the certificate of node key {bound.node}, not of {rule}.",
                    hint="Ask its operator. If the node key was rotated, change the pin under [coordinators.pins].",
                    node=bound.node, expected=rule,
                )  # fmt: skip
        elif self._enlisted is not None:
            self._enlisted(bound.node)
        else:
            raise PeerRefusedError(
                f"{server} shows the certificate of node key {bound.node}, which nothing here vouches for.",
                hint=f'If you expect it, pin it: [coordinators.pins] "{server}" = "{bound.node}".',
                node=bound.node,
            )


def origin_of(url: str) -> str:
    """Scheme, host and port, in one spelling."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port and parts.port != default else "")


def host_of(url: str) -> str:
    """The host alone."""
    return urlsplit(url).hostname or ""


def _check_pin(url: str, pin: str, ca: Path | None) -> str:
    from collegium.records import checksum_address

    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise ConfigError(f"[coordinators.pins] has {url!r}.", hint='Write it as "https://host:port" = "0xnode".')
    if pin == CA and ca is None:
        raise ConfigError(f'{url} is pinned to "ca", but there is no tls.ca.', hint="Name the authority's PEM file.")
    if pin in (ENLISTED, PUBLIC, CA):
        return pin
    if not isinstance(pin, str) or not _NODE.fullmatch(pin):
        raise ConfigError(
            f"[coordinators.pins] {url} is {pin!r}.",
            hint='Write a node key address, or "enlisted", "ca" or "public".',
        )
    return checksum_address(pin)
