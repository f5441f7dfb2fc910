"""Spans for OpenTelemetry: round › train › encode › store › commit › reveal › certify › endorse, and the aggregator's.

Costs one comparison until `enable` is called with the address of a collector. Spans carry numbers of studies and
rounds, CIDs and transaction hashes: what the chain shows anyway. They never carry data, metrics, names or addresses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from collegium.extras import require

__all__ = ["RoundSpan", "enable", "finish", "install", "span"]

FLUSH_MILLISECONDS = 5_000
TIMEOUT_SECONDS = 5.0

_tracer: Any = None
_shutdown: Callable[[], None] | None = None
_lock = threading.Lock()


def enable(endpoint: str, *, service: str, version: str) -> None:
    """Send spans by OTLP over HTTP to `endpoint`, such as http://127.0.0.1:4318. Twice is harmless.

    Raises ExtraMissingError without the extra `otel`.
    """
    require("otel", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    url = endpoint.rstrip("/")
    url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
    install(BatchSpanProcessor(OTLPSpanExporter(url, timeout=TIMEOUT_SECONDS)), service=service, version=version)


def install(processor: Any, *, service: str, version: str) -> None:
    """Hand finished spans to an OpenTelemetry span processor."""
    global _tracer, _shutdown
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    with _lock:
        if _tracer is not None:
            return
        # Not `Resource.create`: detectors would add this machine's name and process.
        resource = Resource({"service.name": service, "service.version": version})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(processor)
        _tracer, _shutdown = provider.get_tracer("collegium", version), provider.shutdown


def finish() -> None:
    """Send what waits, and stop."""
    global _tracer, _shutdown
    with _lock:
        stop, _tracer, _shutdown = _shutdown, None, None
    if stop is not None:
        stop()


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span around the block, below the one that is open here. An exception marks it by its class alone."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes=_named(attributes), record_exception=False,
                                       set_status_on_exception=False) as made:  # fmt: skip
        try:
            yield
        except BaseException as error:
            _fail(made, getattr(error, "code", type(error).__name__))
            raise


class RoundSpan:
    """One round from when it was first seen to its end, which may be in another call; its parts hang below it."""

    def __init__(self, name: str, **attributes: Any) -> None:
        self._span: Any = None
        self._context: Any = None
        if _tracer is not None:
            from opentelemetry.trace import set_span_in_context

            self._span = _tracer.start_span(name, attributes=_named(attributes))
            self._context = set_span_in_context(self._span)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Spans of the block hang below the round."""
        if self._context is None:
            yield
            return
        from opentelemetry import context

        token = context.attach(self._context)
        try:
            yield
        finally:
            context.detach(token)

    def end(self, **attributes: Any) -> None:
        """The round is over; ending it twice is harmless."""
        made, self._span, self._context = self._span, None, None
        if made is not None:
            made.set_attributes(_named(attributes))
            made.end()


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"collegium.{name}": value for name, value in attributes.items() if value is not None}


def _fail(made: Any, reason: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    made.set_status(Status(StatusCode.ERROR, reason))
