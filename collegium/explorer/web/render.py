"""Records to HTML and JSON. Whatever a template prints passes `clean` and is escaped; nothing is marked safe."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from collegium.cli.framework import to_jsonable
from collegium.errors import ConfigError
from collegium.explorer.grid import LEGEND
from collegium.explorer.records import Amount, CidRef, PartyRef
from collegium.explorer.site import Page
from collegium.explorer.source import BLOB_BYTES, AsOf
from collegium.explorer.words import format_duration, format_number, format_tokens
from collegium.extras import require

from .figures import draw_phases, draw_plot
from .text import clean, shorten

__all__ = ["ASSETS", "POLICY", "SCHEMA", "Renderer", "read_asset"]

SCHEMA = "collegium.explorer/1"
ASSETS = ("explorer.css", "explorer.js", "favicon.svg")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'"
)
"""What a page may load; served pages add frame-ancestors, which no `meta` element can carry."""

_HASH = re.compile(r"0x[0-9a-f]{64}")


def read_asset(name: str) -> bytes:
    """A packaged style, script or picture."""
    return (resources.files(__package__) / "assets" / name).read_bytes()


class Renderer:
    """explorer_url: of a block explorer, to which `/tx/…` and `/address/…` are added; empty for none.

    is_live: pages are served, so they may ask for news. Raises ExtraMissingError when Jinja2 is not installed.
    """

    def __init__(self, *, network: str, chain_id: int, explorer_url: str = "", is_live: bool = False) -> None:
        require("explorer", "jinja2")
        import jinja2

        self._explorer_url = _check_url(explorer_url)
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader(__package__, "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_finalize,
        )
        self._environment.filters.update(_FILTERS)
        self._environment.tests.update(
            party=lambda value: isinstance(value, PartyRef),
            cid=lambda value: isinstance(value, CidRef),
            amount=lambda value: isinstance(value, Amount),
            digest=lambda value: isinstance(value, str) and _HASH.fullmatch(value) is not None,
        )
        self._environment.globals.update(
            policy=POLICY, network=network, chain_id=chain_id, is_live=is_live, legend=LEGEND, blob_bytes=BLOB_BYTES,
            draw_plot=draw_plot, draw_phases=draw_phases,
            transaction_url=lambda name: self._outside("tx", name),
            address_url=lambda name: self._outside("address", name),
        )  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the same record would be shown differently."""
        digest = hashlib.sha256(repr((self._explorer_url, POLICY, SCHEMA)).encode())
        loader = self._environment.loader
        for name in sorted(loader.list_templates() if loader else ()):
            digest.update((resources.files(__package__) / "templates" / name).read_bytes())
        for name in ASSETS:
            digest.update(read_asset(name))
        return digest.hexdigest()

    def html(self, page: Page, as_of: AsOf, *, root: str | None = None) -> bytes:
        """The page; links are relative, so that it works below any address and from a folder."""
        root = "../" * page.path.count("/") if root is None else root
        template = self._environment.get_template(f"{page.kind}.html")
        text = template.render(
            page=page.record, path=page.path, root=root, as_of=as_of, kind=page.kind,
            asset=hashlib.sha256(read_asset("explorer.css") + read_asset("explorer.js")).hexdigest()[:12],
        )  # fmt: skip
        return text.encode("utf-8")

    @staticmethod
    def json(page: Page, as_of: AsOf) -> bytes:
        """The record as it is; escaped, so that even text editors show no trick."""
        content = {
            "schema": SCHEMA,
            "kind": page.kind,
            "as_of": {"block": as_of.block, "block_hash": as_of.block_hash, "time": as_of.time},
            "page": to_jsonable(dataclasses.asdict(page.record)),
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    def digest(self, page: Page) -> str:
        """Of everything that a page shows, except how far was read."""
        content = json.dumps(to_jsonable(dataclasses.asdict(page.record)), sort_keys=True)
        return hashlib.sha256(f"{self.fingerprint} {page.path} {content}".encode()).hexdigest()

    def _outside(self, kind: str, name: str) -> str:
        """Only hex goes into a link; empty when no explorer is set."""
        return f"{self._explorer_url}/{kind}/{name}" if self._explorer_url and _is_hex(name) else ""


def _is_hex(name: str) -> bool:
    return re.fullmatch(r"0x[0-9a-fA-F]{40}|0x[0-9a-fA-F]{64}", name) is not None


def _check_url(url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            f"{url!r} is no address of a block explorer.", hint="Write it like https://sepolia.etherscan.io"
        )
    return url.rstrip("/")


def _finalize(value: Any) -> Any:
    return clean(value) if type(value) is str else value


def _moment(seconds: int) -> str:
    return _datetime(seconds).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds else "–"


def _iso(seconds: int) -> str:
    return _datetime(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _datetime(seconds: int) -> datetime:
    """A time beyond the calendar, which a chain may well carry, stands at its end."""
    return datetime.fromtimestamp(min(max(seconds, 0), 253_402_300_799), UTC)


def _number(value: int | float | None) -> str:
    return "–" if value is None else format_number(value) if isinstance(value, int) else f"{value:,.2f}"


def _round_tokens(units: int) -> str:
    """Four decimals are enough for the eye; the exact amount is in the title and in the JSON."""
    exact = format_tokens(units)
    whole, _, decimals = exact.partition(".")
    return exact if len(decimals) <= 4 else f"{whole}.{decimals[:4]}…"


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "moment": _moment,
    "iso": _iso,
    "number": _number,
    "clock": lambda seconds: _datetime(seconds).strftime("%H:%M:%S"),
    "duration": format_duration,
    "brief": lambda words: words.partition(":")[0],
    "tokens": format_tokens,
    "round_tokens": _round_tokens,
    "shorten": shorten,
    "head": lambda text, count=8: text[:count],
    "middle": lambda text, count=8, tail=6: text[count:-tail],
    "tail": lambda text, count=6: text[-count:],
}
