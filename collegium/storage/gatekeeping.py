"""The TLS side of `http_server`: a gate that says whom a server talks to, and the handshake before all else."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import suppress
from typing import Any, Protocol

from collegium.errors import CollegiumError

__all__ = ["Gate", "error_body", "greet"]

HANDSHAKE_SECONDS = 10.0
"""How long a TLS handshake may take, as a whole; it runs in the connection's own thread."""


class Gate(Protocol):
    """Whom a server that speaks TLS talks to."""

    @property
    def context(self) -> ssl.SSLContext: ...

    def identify(self, certificate: bytes | None, /) -> Any:
        """Who the client is, by its certificate (DER). Raises CollegiumError: it proves nothing."""
        ...

    def admit(self, peer: Any, method: str, path: str, /) -> None:
        """Raises CollegiumError: that client may not ask that. Called for each request."""
        ...


def greet(connection: ssl.SSLSocket, gate: Gate) -> tuple[Any, CollegiumError | None]:
    """Shake hands; who the client is, or why it is nobody: HTTP says that better than a TLS alert.

    Raises OSError: it does not speak TLS, or not in time.
    """
    connection.settimeout(HANDSHAKE_SECONDS)
    # Past the SSLSocket, which would take the byte for itself.
    first = socket.socket.recv(connection, 1, socket.MSG_PEEK)
    if first != b"\x16":
        if first:
            socket.socket.sendall(connection, _SPEAKS_TLS)
            # What lies unread when a connection is closed breaks the answer.
            connection.settimeout(1.0)
            with suppress(OSError):
                socket.socket.recv(connection, 1 << 16)
        raise ConnectionAbortedError("the client does not speak TLS")
    connection.do_handshake()
    try:
        return gate.identify(connection.getpeercert(True)), None
    except CollegiumError as error:
        return None, error


def error_body(code: str, message: str, hint: str) -> bytes:
    """An error as JSON."""
    return json.dumps({"error": code, "code": code, "message": message, "hint": hint}).encode()


def _make_plain_answer() -> bytes:
    body = error_body("plain_http", "This port speaks TLS.", "Write the address with https://.")
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    said = "X-Collegium-Error: plain_http\r\nX-Collegium-Message: This port speaks TLS; write https://.\r\n"
    return f"{head}{said}Connection: close\r\n\r\n".encode() + body


_SPEAKS_TLS = _make_plain_answer()
