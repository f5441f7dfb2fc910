"""A public provider of chain nodes, as rude as real ones: windows, limits, dropped connections, nodes that are behind.

It stands in front of a real node; what it lets through is the node's own answer.
"""

from __future__ import annotations

import json
import random
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Provider"]

RANGE = "eth_getLogs is limited to a {limit} block range"


class Provider:
    """target: URL of the node.

    log_range: widest question for logs it answers. range_message: how it refuses a wider one. throttle, drop: share of
    requests answered with 429 and not at all; half of the dropped ones have reached the node. retry_after: header of a
    429. lag: blocks by which it is behind. status: HTTP status of every answer. chain_id: what it says it serves.
    """

    def __init__(
        self,
        target: str,
        *,
        log_range: int | None = None,
        range_message: str = RANGE,
        throttle: float = 0.0,
        drop: float = 0.0,
        retry_after: str = "",
        lag: int = 0,
        status: int = 200,
        chain_id: int | None = None,
        seed: int = 0,
    ) -> None:
        self.target = target
        self.log_range, self.range_message = log_range, range_message
        self.throttle, self.drop, self.retry_after = throttle, drop, retry_after
        self.lag, self.status, self.chain_id = lag, status, chain_id
        self.down = False
        self.calls: list[str] = []
        self.events: Counter[str] = Counter()
        self.widest = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, data = provider.answer(body)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

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

    def answer(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status (0 hangs up), headers and body of an answer."""
        asked = json.loads(body)
        questions = asked if isinstance(asked, list) else [asked]
        with self._lock:
            self.calls += [question["method"] for question in questions]
            mood, reaches = self._random.random(), self._random.random() < 0.5
        if self.down:
            return 0, {}, b""
        if mood < self.drop:
            self.events["dropped"] += 1
            if reaches:
                self._forward(body)
            return 0, {}, b""
        if mood < self.drop + self.throttle:
            self.events["throttled"] += 1
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return 429, headers, b'{"jsonrpc":"2.0","id":1,"error":{"code":429,"message":"Too Many Requests"}}'
        if self.status != 200:
            return self.status, {}, b"no"
        head = int(self._ask("eth_blockNumber", [])["result"], 16) - self.lag if self.lag else None
        answers = [self._one(question, head) for question in questions]
        data = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
        return 200, {"Content-Type": "application/json"}, data

    def _one(self, question: dict[str, Any], head: int | None) -> dict[str, Any]:
        method, params = question["method"], question.get("params") or []
        reply = {"jsonrpc": "2.0", "id": question.get("id")}
        if method == "eth_chainId" and self.chain_id is not None:
            return {**reply, "result": hex(self.chain_id)}
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            width = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            if self.log_range is not None and width > self.log_range:
                self.events["range refused"] += 1
                return {**reply, "error": {"code": -32600, "message": self.range_message.format(limit=self.log_range)}}
            self.widest = max(self.widest, width)
        if head is not None and method == "eth_getBlockByNumber":
            if params[0] == "latest":
                params = [hex(head), *params[1:]]
            elif params[0].startswith("0x") and int(params[0], 16) > head:
                return {**reply, "result": None}
        return {**reply, **self._ask(method, params)}

    def _ask(self, method: str, params: list[Any]) -> dict[str, Any]:
        found = self._forward(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        return {name: found[name] for name in ("result", "error") if name in found}

    def _forward(self, body: bytes) -> Any:
        request = urllib.request.Request(self.target, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())
