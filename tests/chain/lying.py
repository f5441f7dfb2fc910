"""A node between us and the chain that lies as it is told."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Lie = Callable[[str, list[Any], Any], Any]
"""(method, parameters, true result) to the result served."""


class Proxy:
    """Forwards JSON-RPC to `target`; `lie` changes results or hangs up by ConnectionError, `down` answers nothing."""

    def __init__(self, target: str) -> None:
        self.lie: Lie = lambda method, parameters, result: result
        self.down = False
        self.calls: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if proxy.down:
                    self.close_connection = True
                    return
                request = urllib.request.Request(target, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request) as response:
                    answers = json.loads(response.read())
                asked = json.loads(body)
                for question, answer in zip(
                    *([each] if isinstance(each, dict) else each for each in (asked, answers)), strict=True
                ):
                    proxy.calls.append(question["method"])
                    if "result" in answer:
                        try:
                            answer["result"] = proxy.lie(question["method"], question["params"], answer["result"])
                        except ConnectionError:
                            self.close_connection = True
                            return
                data = json.dumps(answers).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
