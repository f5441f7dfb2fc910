"""`/metrics`, `/healthz` and `/readyz` of a running role: off unless asked for, on loopback unless told otherwise."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from collegium.egress import EgressLog
from collegium.errors import ConfigError
from collegium.files import explain_disk, write_atomically
from collegium.observability import metrics, tracing
from collegium.storage.http_server import Body, HttpServer, Response

__all__ = ["HEALTH_FOLDER", "Check", "ObservabilitySettings", "check_chain", "check_disk", "observed", "parse_address"]

HEALTH_FOLDER = "health"
"""Below a home's `state/`: one file per running role with the address of its health endpoint."""
SILENT_SECONDS = 60.0
"""How long the chain may not have been read before a role counts as not ready."""
DEVNET = 31337
LEAST_FREE_BYTES = 64 << 20

Check = Callable[[], dict[str, Any]]
"""Returns facts; with a key `problem` when the role is not ready because of them."""


@dataclass(frozen=True)
class ObservabilitySettings:
    """The `[observability]` table.

    metrics: host:port or port of the endpoints, empty for none. otlp_endpoint: collector of traces, empty for none.
    max_head_age: seconds; an older newest block means not ready. 0 for no limit, as on a devnet, which may be idle.
    """

    metrics: str = ""
    otlp_endpoint: str = ""
    max_head_age: float = 600.0


class Following(Protocol):
    """What knows how far the chain was read: `StudyFollower`."""

    head: int
    head_time: int
    read_at: float


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:9464`, `:9464` or `9464`: without a host it is loopback. Raises ConfigError."""
    host, separator, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535 or (separator and host.endswith(":")):
        raise ConfigError(f"{text!r} is no address for metrics.", hint="Write it as 127.0.0.1:9464.")
    return host.strip("[]") or "127.0.0.1", int(port)


def check_chain(follower: Following, *, chain_id: int, max_head_age: float) -> Check:
    """The chain was read lately, and its newest block is not old."""

    def check() -> dict[str, Any]:
        now = time.time()
        silent, age = now - follower.read_at, now - follower.head_time
        if follower.read_at == 0:
            return {"problem": "the chain was not read yet"}
        facts: dict[str, Any] = {
            "head_block": follower.head, "head_age_seconds": round(age, 1), "last_read_seconds": round(silent, 1)
        }  # fmt: skip
        if silent > SILENT_SECONDS:
            facts["problem"] = f"the chain's node has not answered for {silent:.0f} s"
        elif max_head_age and chain_id != DEVNET and age > max_head_age:
            facts["problem"] = f"the newest block is {age:.0f} s old"
        return facts

    return check


def check_disk(folder: Path) -> Check:
    """The folder can be written and has some room."""

    def check() -> dict[str, Any]:
        free = shutil.disk_usage(folder).free
        probe = folder / f".probe-{os.getpid()}"
        try:
            with probe.open("wb") as file:
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            told = explain_disk(error, folder)
            return {"free_bytes": free, "problem": told.message if told else f"{folder}: {error.strerror}"}
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        facts: dict[str, Any] = {"free_bytes": free}
        if free < LEAST_FREE_BYTES:
            facts["problem"] = f"only {free >> 20} MiB are free"
        return facts

    return check


class _Application:
    def __init__(self, role: str, version: str, checks: Mapping[str, Check]) -> None:
        self._role, self._version, self._checks = role, version, checks
        self._started = time.time()

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> Response:
        if method not in ("GET", "HEAD"):
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"message": "Only GET and HEAD."})
        name = path.partition("?")[0]
        if name == "/metrics":
            kind, text = metrics.render()
            return Response(HTTPStatus.OK, {"Content-Type": kind, "Content-Length": str(len(text))}, text)
        if name == "/healthz":
            uptime = round(time.time() - self._started, 1)
            facts = {"status": "ok", "role": self._role, "version": self._version, "uptime_seconds": uptime}
            return _json(HTTPStatus.OK, facts)
        if name == "/readyz":
            found = {each: _run(check) for each, check in self._checks.items()}
            ready = not any("problem" in facts for facts in found.values())
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            return _json(status, {"ready": ready, "role": self._role, "checks": found})
        return _json(HTTPStatus.NOT_FOUND, {"message": "There are /metrics, /healthz and /readyz."})


def _run(check: Check) -> dict[str, Any]:
    try:
        return check()
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {error}"}


def _json(status: HTTPStatus, content: Mapping[str, Any]) -> Response:
    data = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), "Cache-Control": "no-store"}
    return Response(status, headers, data, close=status >= HTTPStatus.BAD_REQUEST)


@contextmanager
def observed(
    settings: ObservabilitySettings, *, home: Path, role: str, version: str, checks: Mapping[str, Check],
    egress: EgressLog | None = None,
) -> Iterator[str | None]:  # fmt: skip
    """Serve and trace while the block runs. Yields the address of the endpoints, None when they are off.

    Raises ConfigError: the address cannot be taken. ExtraMissingError: traces without the extra `otel`.
    """
    with ExitStack() as stack:
        if settings.otlp_endpoint:
            if egress is not None:
                egress.contact(settings.otlp_endpoint)
            tracing.enable(settings.otlp_endpoint, service=f"collegium-{role}", version=version)
            stack.callback(tracing.finish)
        if not settings.metrics:
            yield None
            return
        host, port = parse_address(settings.metrics)
        if metrics.enable(version):
            stack.callback(metrics.disable)
        try:
            server = HttpServer(_Application(role, version, checks), host=host, port=port)
        except OSError as error:
            raise ConfigError(
                f"The metrics cannot be served at {settings.metrics}: {error.strerror}.",
                hint="Another process may use the port: choose another one, or 0 for a free one.",
            ) from error
        server.start()
        stack.callback(server.close)
        file = home / "state" / HEALTH_FOLDER / f"{role}.json"
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(file, json.dumps({"url": server.url, "pid": os.getpid()}).encode())
        stack.callback(_forget, file)
        yield server.url


def _forget(file: Path) -> None:
    """A read-only disk must not turn an orderly end into a failure."""
    with suppress(OSError):
        file.unlink(missing_ok=True)
