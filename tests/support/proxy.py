"""A corporate HTTP proxy: CONNECT and plain forwarding, with basic authentication or refusals when told to.

with ConnectProxy(login="user:secret", allow=lambda host, port: port == 443) as proxy:
    proxy.url, proxy.seen
"""

from __future__ import annotations

import base64
import select
import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["ConnectProxy"]


class ConnectProxy:
    """login: `user:password` to demand. allow: of host and port; everything else gets 403.

    seen: `METHOD host:port` of everything asked for.
    """

    def __init__(self, *, login: str = "", allow: Callable[[str, int], bool] = lambda host, port: True) -> None:
        self.seen: list[str] = []
        handler = type("Handler", (_Handler,), {"login": login, "allow": staticmethod(allow), "seen": self.seen})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._login = login

    @property
    def url(self) -> str:
        """With its login."""
        return f"http://{self._login}@127.0.0.1:{self.port}" if self._login else self.bare_url

    @property
    def bare_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    login: str
    allow: Callable[[str, int], bool]
    seen: list[str]

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if not self._may(host.strip("[]"), int(port)):
            return
        try:
            link = socket.create_connection((host.strip("[]"), int(port)), timeout=5)
        except OSError:
            self._refuse(502, "Bad Gateway")
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.close_connection = True
        with link:
            _relay(self.connection, link)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not parts.hostname or not self._may(parts.hostname, parts.port or 80):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        onward = HTTPConnection(parts.hostname, parts.port or 80, timeout=10)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        onward.request(self.command, path or "/", body or None, headers)
        answer = onward.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = do_HEAD = do_GET

    def _may(self, host: str, port: int) -> bool:
        self.seen.append(f"{self.command} {host}:{port}")
        expected = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and self.headers.get("Proxy-Authorization") != expected:
            self._refuse(407, "Proxy Authentication Required")
            return False
        if not type(self).allow(host, port):
            self._refuse(403, "Forbidden")
            return False
        return True

    def _refuse(self, status: int, reason: str) -> None:
        self.send_response(status, reason)
        if status == 407:
            self.send_header("Proxy-Authenticate", 'Basic realm="tests"')
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Silent."""


def _relay(one: socket.socket, two: socket.socket) -> None:
    """Bytes both ways until either side ends."""
    other = {one: two, two: one}
    while True:
        ready, _, _ = select.select([one, two], [], [], 30)
        if not ready:
            return
        for link in ready:
            try:
                data = link.recv(1 << 16)
                if not data:
                    return
                other[link].sendall(data)
            except OSError:
                return
