"""The explorer on loopback: read-only, one answer per path, nothing from elsewhere.

Only requests that name this server as their host are answered: a page of another site that made its own name point
to 127.0.0.1 (DNS rebinding) gets nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from collegium.errors import CollegiumError
from collegium.explorer.site import Page, read_page
from collegium.explorer.source import Source
from collegium.storage.http_server import Body, HttpServer, Response

from .render import ASSETS, POLICY, Renderer, read_asset

__all__ = ["ExplorerServer"]

logger = logging.getLogger(__name__)

_HEADERS = {
    "Content-Security-Policy": POLICY + "; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-cache",
}
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
}
_CID = re.compile(r"blobs/(b[a-z2-7]{20,100})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Problem:
    name: str
    detail: str


class ExplorerServer:
    """Serves until `close`. refresh_seconds: how often the chain is read; the pages are as of the last reading."""

    def __init__(self, source: Source, renderer: Renderer, *, port: int = 0, refresh_seconds: float = 5.0) -> None:
        self._source = source
        self._renderer = renderer
        self._refresh_seconds = refresh_seconds
        self._server = HttpServer(self.answer, host="127.0.0.1", port=port)
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="explorer-reader", daemon=True)
        self._hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        if self.port == 80:
            self._hosts |= {"127.0.0.1", "localhost"}

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._server.start()
        self._reader.start()

    def wait(self) -> None:
        """Until another thread closes the server or the process is interrupted."""
        while not self._stop.wait(3600):
            pass

    def close(self) -> None:
        self._stop.set()
        self._server.close()
        if self._reader.is_alive():
            self._reader.join(timeout=10)

    def _read(self) -> None:
        while not self._stop.wait(self._refresh_seconds):
            try:
                self._source.refresh()
            except CollegiumError as error:
                # Pages say so themselves; what was read before stays.
                logger.warning("the chain was not read: %s", error.message)
            except Exception:
                logger.exception("the chain was not read")

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> Response:
        """One request."""
        found = {name.lower(): value for name, value in headers.items()}
        if found.get("host", "").lower() not in self._hosts:
            return self._problem(HTTPStatus.MISDIRECTED_REQUEST, "Another host", "It answers this computer only.")
        if method not in ("GET", "HEAD"):
            response = self._problem(HTTPStatus.METHOD_NOT_ALLOWED, "Only for reading", "It answers GET and HEAD.")
            response.headers["Allow"] = "GET, HEAD"
            return response
        path = unquote(target.partition("?")[0].partition("#")[0]).removeprefix("/")
        try:
            return self._get(path, found.get("if-none-match", ""))
        except LookupError:
            return self._problem(HTTPStatus.NOT_FOUND, "No such page", "Perhaps beyond the last block read.")
        except CollegiumError as error:
            return self._problem(HTTPStatus.BAD_GATEWAY, "Not readable now", f"{error.message} {error.hint}")

    def _get(self, path: str, known: str) -> Response:
        """Raises LookupError. A path is only ever compared with known forms, never joined to a folder."""
        if path.removeprefix("assets/") in ASSETS and path.startswith("assets/"):
            name = path.removeprefix("assets/")
            return _content(read_asset(name), _TYPES[name.rpartition(".")[2]], known)
        if path == "status.json":
            as_of = self._source.as_of
            status = {
                "block": as_of.block, "time": as_of.time, "changed_at": as_of.changed_at, "read_at": as_of.read_at,
                "error": as_of.error,
            }  # fmt: skip
            return _content(json.dumps(status).encode(), _TYPES["json"], known)
        blob = _CID.fullmatch(path)
        if blob is not None:
            return self._blob(blob[1], known)
        path = path + "index.html" if path == "" or path.endswith("/") else path
        stem, _, suffix = path.rpartition(".")
        if suffix == "html":
            page = read_page(self._source, stem)
            return _content(self._renderer.html(page, self._source.as_of), _TYPES["html"], known)
        if suffix == "json":
            page = read_page(self._source, stem)
            return _content(self._renderer.json(page, self._source.as_of), _TYPES["json"], known)
        raise LookupError(path)

    def _blob(self, cid: str, known: str) -> Response:
        content = self._source.blob(cid)
        if content is None:
            raise LookupError(cid)
        response = _content(content, "application/octet-stream", known)
        response.headers["Content-Disposition"] = f'attachment; filename="{cid}"'
        return response

    def _problem(self, status: HTTPStatus, name: str, detail: str) -> Response:
        page = Page("problem", "problem", _Problem(name, detail))
        data = self._renderer.html(page, self._source.as_of, root="/")
        headers = {**_HEADERS, "Content-Type": _TYPES["html"], "Content-Length": str(len(data))}
        return Response(int(status), headers, data)


def _content(data: bytes, kind: str, known: str) -> Response:
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {**_HEADERS, "Content-Type": kind, "ETag": tag}
    if tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(HTTPStatus.NOT_MODIFIED, headers)
    return Response(HTTPStatus.OK, {**headers, "Content-Length": str(len(data))}, data)
