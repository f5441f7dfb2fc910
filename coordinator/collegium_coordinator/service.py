"""The coordinator's HTTP application: message intake and blob store behind one port.

It knows HTTP and nothing of rounds: intake and store are handed to it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from collegium.errors import CollegiumError, UnauthorizedError, UnreachableError, UsageError, VerificationError
from collegium.files import explain_disk
from collegium.observability import metrics
from collegium.storage.embedded import StoreRoutes
from collegium.storage.http_server import Body, Response

from .inbox import Topic

__all__ = ["CoordinatorApplication", "Intake"]

MAX_MESSAGE_BYTES = 64 * 1024

_STATUS: tuple[tuple[type[CollegiumError], HTTPStatus], ...] = (
    (UnauthorizedError, HTTPStatus.FORBIDDEN),
    (VerificationError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
)

Intake = Callable[[Topic, Mapping[str, Any]], Mapping[str, Any]]
"""Takes a topic and a decoded body, returns what to answer; raises CollegiumError to refuse."""


class CoordinatorApplication:
    """Answers `/health`, `/v1/info`, `POST /v1/<topic>`, `GET /v1/attestations` and the routes of the blob store."""

    def __init__(
        self,
        *,
        intake: Intake,
        attestations: Callable[[int, int], list[bytes]],
        info: Callable[[], Mapping[str, Any]],
        routes: StoreRoutes,
    ) -> None:
        self._intake = intake
        self._attestations = attestations
        self._info = info
        self._routes = routes

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> Response:
        if path == "/health" and method in ("GET", "HEAD"):
            return _json(HTTPStatus.OK, {"status": "ok"})
        if path == "/v1/info" and method in ("GET", "HEAD"):
            return _json(HTTPStatus.OK, self._info())
        topic, _, query = path.removeprefix("/v1/").partition("?")
        if topic == Topic.ATTESTATIONS and method == "GET":
            return self._share(query)
        if topic not in set(Topic):
            return self._routes.handle(method, path, headers, body)
        if method != "POST":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", f"{path} takes POST.")
        return self._take(Topic(topic), body)

    def _share(self, query: str) -> Response:
        """Attestations of a round: a hospital that is not served posts a quorum of them itself."""
        values = parse_qs(query)
        try:
            study_id, round_number = int(values["study"][0]), int(values["round"][0])
        except (KeyError, ValueError):
            study_id = round_number = -1
        if not (0 <= study_id < 1 << 63 and 0 <= round_number < 1 << 32):
            return _refusal(HTTPStatus.BAD_REQUEST, "query", "Write it as /v1/attestations?study=1&round=1.")
        return _json(HTTPStatus.OK, {"items": [item.hex() for item in self._attestations(study_id, round_number)]})

    def _take(self, topic: Topic, body: Body) -> Response:
        if body.left > MAX_MESSAGE_BYTES:
            return _refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "message_too_large",
                f"A message has at most {MAX_MESSAGE_BYTES} bytes.",
            )
        try:
            content = json.loads(body.read())
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            return _refusal(HTTPStatus.BAD_REQUEST, "not_json", "The body must be a JSON object.")
        try:
            taken = self._intake(topic, content)
            metrics.count("aggregator_messages_total", topic=topic.value)
            return _json(HTTPStatus.ACCEPTED, taken)
        except CollegiumError as error:
            metrics.count("aggregator_rejected_total", reason=error.code)
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.CONFLICT)
            return _json(status, error.to_json())
        except (OSError, sqlite3.OperationalError) as error:
            if explain_disk(error) is None:
                raise
            metrics.count("aggregator_rejected_total", reason="disk")
            return _refusal(HTTPStatus.INSUFFICIENT_STORAGE, "disk", "The coordinator's disk cannot be written now.")


def _refusal(status: HTTPStatus, code: str, message: str) -> Response:
    return _json(status, {"code": code, "message": message, "hint": "", "retryable": False})


def _json(status: HTTPStatus, content: Mapping[str, Any]) -> Response:
    data = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    return Response(status, headers, data, close=status >= HTTPStatus.BAD_REQUEST)
