"""The egress list: every host and port that this home's settings make it contact: what a firewall must open.

A home never listens; every row is outbound. What goes through a proxy needs the proxy's row only.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from collegium.errors import ConfigError
from collegium.words import is_loopback, printable, reason_of

if TYPE_CHECKING:
    from collegium.transport.proxies import Proxies

    from .settings import Settings

__all__ = ["Destination", "list_egress", "probe"]

TIMEOUT = 4.0
_PORTS = {"http": 80, "https": 443, "kubo": 5001, "kubo+https": 5001, "ws": 80, "wss": 443}


@dataclass
class Destination:
    """why: the settings that name it. via: the proxy it is reached through, empty for directly.

    reachable: None until it was probed; detail: why it is not.
    """

    host: str
    port: int
    tls: bool
    why: list[str]
    via: str = ""
    direction: str = "outbound"
    local: bool = False
    reachable: bool | None = None
    detail: str = ""
    proxy: str = field(default="", repr=False)
    """With its credentials: for probing only."""

    def to_json(self) -> dict[str, Any]:
        """For people and machines, without secrets."""
        return {name: value for name, value in asdict(self).items() if name != "proxy"}


def list_egress(settings: Settings, proxies: Proxies) -> list[Destination]:
    """One row per host and port, proxies first. Raises ConfigError."""
    found: dict[tuple[str, int], Destination] = {}
    for given, why in _urls(settings):
        url = given.removeprefix("gateway+")
        parts = urlsplit(url)
        if not parts.hostname:
            continue
        proxy = proxies.for_url(url) if parts.scheme in ("http", "https") else None
        if proxy:
            _add(found, proxy, "HTTP proxy")
        _add(found, url, why, proxy=proxy or "")
    return sorted(found.values(), key=lambda each: "HTTP proxy" not in each.why)


def probe(rows: list[Destination]) -> None:
    """Connect to each and fill in `reachable`; nothing but a proxy's CONNECT is sent."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(_probe, rows))


def _urls(settings: Settings) -> Iterator[tuple[str, str]]:
    tables = settings.tables()
    for name, value in tables["network"].items():
        if name.startswith("rpc_url"):
            for url in str(value).split(","):
                yield url.strip(), f"chain node (network.{name})"
    for url in settings.coordinators:
        yield url, "coordinator: messages"
    for url in settings.push_stores:
        yield url, "store: own updates go there"
    for url in settings.read_stores:
        yield url, "store: models and updates are read"
    endpoint = tables.get("observability", {}).get("otlp_endpoint")
    if endpoint:
        yield str(endpoint), "traces (observability.otlp_endpoint)"


def _add(found: dict[tuple[str, int], Destination], url: str, why: str, *, proxy: str = "") -> None:
    from collegium.transport.proxies import without_credentials

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    except ValueError as error:
        raise ConfigError(f"An address in the settings is wrong: {error}.", hint="collegium config show") from error
    row = found.setdefault(
        (host, port),
        Destination(
            host, port, parts.scheme.endswith(("https", "wss")), [], without_credentials(proxy) if proxy else "",
            local=is_loopback(host), proxy=proxy,
        ),
    )  # fmt: skip
    if why not in row.why:
        row.why.append(why)


def _probe(row: Destination) -> None:
    try:
        if row.proxy:
            _connect_through(row)
        else:
            socket.create_connection((row.host, row.port), timeout=TIMEOUT).close()
        row.reachable = True
    except OSError as error:
        row.reachable = False
        row.detail = printable(reason_of(error), 120)


def _connect_through(row: Destination) -> None:
    """Raises OSError: the proxy does not answer, or refuses."""
    from urllib3.util import make_headers

    parts = urlsplit(row.proxy)
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = dict(make_headers(proxy_basic_auth=login))
    raw = socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), timeout=TIMEOUT)
    if parts.scheme == "https":
        raw = ssl.create_default_context().wrap_socket(raw, server_hostname=parts.hostname)
    with raw as link:
        host = f"[{row.host}]" if ":" in row.host else row.host
        lines = [f"CONNECT {host}:{row.port} HTTP/1.1", f"Host: {host}:{row.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = link.recv(4096).split(b"\r\n", 1)[0].decode("latin-1").split(maxsplit=2)
    if len(status) < 2 or not status[1].startswith("2"):
        raise OSError(f"the proxy {row.via} answers {' '.join(status[1:]) or 'nothing'}")
