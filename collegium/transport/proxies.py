"""A corporate HTTP proxy: from `[network] proxy` and `no_proxy`, else from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

Loopback is never asked through a proxy. A proxy's user and password never appear in messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from collegium.errors import ConfigError
from collegium.words import is_loopback, reason_of

from .errors import ProxyFailedError

__all__ = ["DIRECT", "Proxies"]

DIRECT = "direct"
"""Value of `network.proxy` that forbids proxies, those of the environment too."""


@dataclass(frozen=True)
class Proxies:
    """proxy: `http[s]://[user:password@]host:port`, `direct`, or empty for what the environment says.

    no_proxy: hosts to reach directly: `host`, `.domain`, `host:port`, `10.0.0.0/8`, `*`.
    """

    proxy: str = field(default="", repr=False)
    no_proxy: tuple[str, ...] = ()

    @classmethod
    def of(cls, proxy: str, no_proxy: Sequence[str] = ()) -> Proxies:
        """From settings. Raises ConfigError: not the address of a proxy."""
        if proxy not in ("", DIRECT):
            _check(proxy, "network.proxy")
        return cls(proxy, tuple(each.strip() for each in no_proxy if each.strip()))

    def for_url(self, url: str) -> str | None:
        """The proxy for a URL, with its credentials; None goes directly. Raises ConfigError."""
        from urllib.request import getproxies_environment

        parts = urlsplit(url)
        host = parts.hostname or ""
        if self.proxy == DIRECT or is_loopback(host):
            return None
        environment = getproxies_environment()
        listed = ",".join(self.no_proxy) or environment.get("no", "")
        if _is_exempt(host, parts.port, listed):
            return None
        if self.proxy:
            return self.proxy
        found = environment.get(parts.scheme) or environment.get("all")
        if found:
            found = found if "://" in found else f"http://{found}"
            _check(found, f"{parts.scheme.upper()}_PROXY")
        return found or None

    def mapping(self, url: str) -> dict[str, Any]:
        """As `requests` takes it: an explicit None keeps it from asking the environment itself."""
        return dict.fromkeys(("http", "https"), self.for_url(url))

    def shown(self, url: str) -> str:
        """The proxy for a URL without its credentials; empty when it is reached directly."""
        proxy = self.for_url(url)
        return without_credentials(proxy) if proxy else ""

    def explain(self, error: BaseException, url: str) -> ProxyFailedError | None:
        """What a failed request means when the proxy is to blame; None when it is not."""
        import requests

        proxy = self.shown(url)
        if not proxy:
            return None
        answer = getattr(error, "response", None)
        refused = answer is not None and answer.status_code == 407
        if not refused and not isinstance(error, requests.exceptions.ProxyError):
            return None
        host = urlsplit(url).netloc.rpartition("@")[2]
        why = "it answers 407, a user and password are needed" if refused else reason_of(error)
        hint = "Check [network] proxy (or HTTPS_PROXY), and [network] no_proxy for hosts to reach directly."
        if refused or "407" in why:
            hint = 'The proxy wants a user and a password: [network] proxy = "http://user:password@host:port".'
        elif "403" in why:
            hint = f"The proxy forbids it: ask its operator to allow {host} (`collegium doctor --egress` lists all)."
        return ProxyFailedError(f"The proxy {proxy} does not connect to {host} ({why}).", hint=hint, proxy=proxy)


def without_credentials(url: str) -> str:
    """A URL as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url


def _check(proxy: str, origin: str) -> None:
    try:
        parts = urlsplit(proxy)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigError(
            f"{origin} is not the address of a proxy.", hint="Write it as http://host:3128, or `direct` for none."
        )


def _is_exempt(host: str, port: int | None, listed: str) -> bool:
    return any(_matches(host.lower(), port, entry.strip().lower()) for entry in listed.split(",") if entry.strip())


def _matches(host: str, port: int | None, entry: str) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        name, _, number = entry.partition(":")
        name = name.lstrip(".")
        return (host == name or host.endswith(f".{name}")) and number in ("", str(port))
