"""A small HTTP server for one application function, made for clients that are slow, broken or rude.

Every read has a deadline as a whole, connections are counted, errors are JSON, and closing lets the
requests in progress end first. With a gate it speaks TLS and asks the gate who may ask what.
"""

from __future__ import annotations

import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Protocol

from collegium.errors import CollegiumError
from collegium.storage.gatekeeping import Gate, error_body, greet

__all__ = ["Application", "Body", "Gate", "HttpServer", "Response"]

logger = logging.getLogger(__name__)

IDLE_SECONDS = 30.0
"""How long a connection may stay silent, between requests or inside one."""

HEAD_SECONDS = 30.0
"""How long the head of a request may take from its first byte."""

BODY_SECONDS = 60.0
BODY_BYTES_PER_SECOND = 32 << 10
PIECE_BYTES = 1 << 20
MAX_CONNECTIONS = 128


@dataclass
class Response:
    """An answer.

    headers: include Content-Length. body: bytes, or an open file that `write_to` closes.
    close: the connection must not be used again.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | BinaryIO = b""
    close: bool = False

    def write_to(self, output: BinaryIO) -> None:
        """Send the body."""
        if isinstance(self.body, bytes):
            if self.body:
                output.write(self.body)
            return
        try:
            left = int(self.headers["Content-Length"])
            while left and (piece := self.body.read(min(left, PIECE_BYTES))):
                output.write(piece)
                left -= len(piece)
            if left:
                raise ConnectionAbortedError("the blob's file became shorter while it was sent")
        finally:
            self.body.close()

    def discard(self) -> None:
        """Close the body without sending it."""
        if not isinstance(self.body, bytes):
            self.body.close()


class Body:
    """The body of a request: ends after Content-Length bytes.

    left: bytes not read yet.
    """

    def __init__(self, source: io.BufferedReader, length: int) -> None:
        self._source = source
        self.left = length

    def read1(self, size: int = -1) -> bytes:
        """What has arrived, at most `size` bytes; empty at the end or when the client left."""
        if not self.left:
            return b""
        piece = self._source.read1(min(self.left, size if size >= 0 else PIECE_BYTES, PIECE_BYTES))
        self.left -= len(piece)
        return piece

    def read(self, size: int = -1) -> bytes:
        """`size` bytes or everything; shorter only when the client left."""
        wanted = self.left if size < 0 else min(size, self.left)
        pieces = bytearray()
        while len(pieces) < wanted and (piece := self.read1(wanted - len(pieces))):
            pieces += piece
        return bytes(pieces)


class Application(Protocol):
    """Answers one request."""

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: Body, /) -> Response: ...


class HttpServer:
    """Serves an application until `close`, each connection in a thread.

    host: loopback unless told otherwise. port: 0 takes a free one. gate: for TLS; None speaks plain HTTP.
    """

    def __init__(
        self,
        application: Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        max_connections: int = MAX_CONNECTIONS,
        gate: Gate | None = None,
    ) -> None:
        self._server = _Server((host, port), application, max_connections, gate)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"http-{self.port}",
            daemon=True,
        )
        self._is_started = False

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        host = str(self._server.server_address[0])
        scheme = "http" if self._server.gate is None else "https"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    def start(self) -> None:
        self._is_started = True
        self._thread.start()

    def close(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting, let requests in progress end for `grace_seconds`, then close every connection."""
        if self._is_started:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.finish(grace_seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], application: Application, max_connections: int, gate: Gate | None
    ) -> None:
        self.application = application
        self.gate = gate
        self.is_closing = False
        self._max = max_connections
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._idle: dict[socket.socket, None] = {}
        """Between two requests, longest first."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The inherited method asks the name service for this machine's name, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])

    def get_request(self) -> tuple[Any, Any]:
        request, address = super().get_request()
        if self.gate is not None:
            # Wrapped here, so that one object is counted and closed; the handshake itself waits for its thread.
            request = self.gate.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            is_full = len(self._open) >= self._max and not self._make_room()
            if not is_full:
                self._open.add(request)
        if is_full:
            with suppress(OSError):
                request.settimeout(1.0)
                # Over TLS that would need a handshake, which is work for nobody's thread.
                if self.gate is None:
                    request.sendall(_FULL)
            super().shutdown_request(request)
            return
        super().process_request(request, client_address)

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest after an answer; whether there was one.

        Clients keep connections open for their next request; that must not turn others away. One that has not asked
        anything yet is left alone, or newcomers could push each other out.
        """
        if not self._idle:
            return False
        longest = next(iter(self._idle))
        self._idle.pop(longest)
        self._open.discard(longest)
        with suppress(OSError):
            # Its thread reads the end and closes it.
            longest.shutdown(socket.SHUT_RDWR)
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._idle.pop(request, None)
            self._open.discard(request)
            self._busy.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def set_busy(self, request: socket.socket, is_busy: bool) -> None:
        with self._changed:
            (self._busy.add if is_busy else self._busy.discard)(request)
            self._idle.pop(request, None)
            if not is_busy and request in self._open:
                self._idle[request] = None
            self._changed.notify_all()

    def finish(self, grace_seconds: float) -> None:
        self.is_closing = True
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, timeout=grace_seconds)
            for connection in list(self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout=2.0)

    def handle_error(self, request: object, client_address: object) -> None:
        logger.debug("connection of %s ended by an error", client_address, exc_info=True)


_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Deadline(io.RawIOBase):
    """A socket whose reads end at a deadline, however the client spreads its bytes."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.deadline = time.monotonic() + IDLE_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client is too slow")
        self._connection.settimeout(min(left, IDLE_SECONDS))
        try:
            return self._connection.recv_into(buffer)  # type: ignore[arg-type]
        finally:
            with suppress(OSError):
                self._connection.settimeout(IDLE_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "collegium"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        self._peer: Any = None
        self._stranger: CollegiumError | None = None
        if self.server.gate is not None:
            self._peer, self._stranger = greet(self.request, self.server.gate)
        super().setup()
        self.rfile.close()
        self._input = _Deadline(self.connection)
        self.rfile = io.BufferedReader(self._input, 1 << 16)

    def _refusal(self) -> CollegiumError | None:
        if self.server.gate is None or self._stranger is not None:
            return self._stranger
        try:
            self.server.gate.admit(self._peer, self.command, self.path)
        except CollegiumError as error:
            return error
        return None

    def handle_one_request(self) -> None:
        if self.server.is_closing:
            self.close_connection = True
            return
        self._input.deadline = time.monotonic() + HEAD_SECONDS
        super().handle_one_request()

    def dispatch(self) -> None:
        self.server.set_busy(self.connection, True)
        try:
            self._answer()
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True
        finally:
            self.server.set_busy(self.connection, False)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = dispatch

    def _answer(self) -> None:
        text = self.headers.get("Content-Length", "0")
        is_sized = text.isascii() and text.isdigit() and len(text) <= 18
        length = int(text) if is_sized and "Transfer-Encoding" not in self.headers else 0
        self._input.deadline = time.monotonic() + BODY_SECONDS + length / BODY_BYTES_PER_SECOND
        body = Body(self.rfile, length)  # type: ignore[arg-type]
        try:
            if (refusal := self._refusal()) is not None:
                response = _forbidden(refusal, body)
            else:
                response = self.server.application(self.command, self.path, dict(self.headers.items()), body)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            raise
        except Exception:
            logger.exception("%s %s failed", self.command, self.path)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        if response.close or body.left or not is_sized or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        self.send_response(response.status)
        for name, value in response.headers.items():
            if name.lower() != "connection":
                self.send_header(name, value)
        if self.close_connection or self.server.is_closing:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            response.discard()
        else:
            response.write_to(self.wfile)  # type: ignore[arg-type]

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors below the application, in its form."""
        self.close_connection = True
        with suppress(ValueError):
            message = message or HTTPStatus(code).phrase
        data = error_body("http", message or str(code), "")
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        if getattr(self, "command", None) != "HEAD":
            with suppress(OSError):
                self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("%s %s", self.address_string(), format % args)


def _forbidden(error: CollegiumError, body: Body) -> Response:
    """A refusal of the gate, in the body and, for answers without one, in headers."""
    # A client that is still sending would miss the answer if the connection just broke.
    body.read(1 << 16)
    data = error_body(error.code, error.message, error.hint)
    said = {"Error": error.code, "Message": error.message, "Hint": error.hint}
    lines = {name: " ".join(text.split()).encode("ascii", "replace").decode()[:500] for name, text in said.items()}
    headers = {f"X-Collegium-{name}": text for name, text in lines.items()}
    headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
    return Response(HTTPStatus.FORBIDDEN, headers, data, close=True)
