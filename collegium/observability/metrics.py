"""Counting what happens: `metrics.count("tx_total", kind="propose", status="mined")`.

Costs one comparison until `enable` is called; only then prometheus_client is imported. No label ever carries the name
or address of an institution. Names have the prefix `collegium_` when they are shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

__all__ = ["CATALOG", "Metric", "count", "disable", "enable", "is_enabled", "observe", "render", "set_gauge",
           "set_state", "timed"]  # fmt: skip

SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
BYTES = (1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 23, 1 << 26, 1 << 29, 1 << 32)
GAS = (50_000, 100_000, 200_000, 400_000, 800_000, 1 << 20, 1 << 21, 1 << 22, 1 << 23, 1 << 24)


class Metric(NamedTuple):
    """kind: counter, gauge, histogram or state. labels: names. buckets: of a histogram. states: of a state."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    states: tuple[str, ...] = ()


PHASES = ("none", "commit", "reveal", "certify", "propose", "challenge", "final", "aborted")

CATALOG: dict[str, Metric] = {
    "build_info": Metric("gauge", "Always 1; says which version runs.", ("version",)),
    # client
    "client_round_current": Metric("gauge", "Number of the round this client is in."),
    "client_phase": Metric("state", "Phase of that round.", states=PHASES),
    "client_last_success_timestamp_seconds": Metric("gauge", "When the last round became final."),
    "client_rounds_total": Metric("counter", "Rounds that ended, by what became of our update.", ("outcome",)),
    "client_train_duration_seconds": Metric("histogram", "Local training of one round.", buckets=SECONDS),
    "client_upload_duration_seconds": Metric("histogram", "One blob to one store.", buckets=SECONDS),
    "client_update_bytes": Metric("histogram", "Length of an update's blob.", buckets=BYTES),
    # chain
    "chain_head_block": Metric("gauge", "Newest block of the node that is asked."),
    "chain_head_age_seconds": Metric("gauge", "Age of that block."),
    "chain_reorgs_total": Metric("counter", "Reorganizations that took indexed blocks back."),
    "rpc_requests_total": Metric("counter", "Calls to the chain's node.", ("method", "code")),
    "rpc_duration_seconds": Metric("histogram", "Time of one call, repetitions included.", buckets=SECONDS),
    "indexer_last_block": Metric("gauge", "Newest block in the event index."),
    "indexer_lag_blocks": Metric("gauge", "Blocks between the index and the node's head."),
    "tx_total": Metric("counter", "Transactions that came to their end.", ("kind", "status")),
    "tx_gas_used": Metric("histogram", "Gas of a mined transaction.", buckets=GAS),
    "tx_fee_wei_total": Metric("counter", "Fees paid."),
    "wallet_balance_wei": Metric("gauge", "Coin of the key that sends, as last asked for."),
    # blobs; every store speaks in CIDs of IPFS, whatever keeps them
    "ipfs_requests_total": Metric("counter", "Blobs asked for and brought.", ("op", "backend", "result")),
    "ipfs_verify_failures_total": Metric("counter", "Answers that were not the blob asked for."),
    "ipfs_bytes_total": Metric("counter", "Bytes of blobs.", ("dir",)),
    # coordinator
    "aggregator_round_current": Metric("gauge", "Number of the round this coordinator serves."),
    "aggregator_updates_received": Metric("gauge", "Updates of the current round that are on chain or in the inbox."),
    "aggregator_quorum": Metric("gauge", "Attestations that certify in the current round."),
    "aggregator_messages_total": Metric("counter", "Messages that were taken.", ("topic",)),
    "aggregator_rejected_total": Metric("counter", "Messages that were refused.", ("reason",)),
    "aggregator_propose_duration_seconds": Metric("histogram", "Fetching, aggregating, proposing.", buckets=SECONDS),
    # watcher
    "watcher_wrong_proposals_total": Metric("counter", "Proposals that were recomputed and found wrong."),
    # everybody
    "egress_records_total": Metric("counter", "Lines of the egress log.", ("kind",)),
    "egress_bytes_total": Metric("counter", "Bytes those lines tell of.", ("kind",)),
    "errors_total": Metric("counter", "Errors that a running role survived.", ("code",)),
}

_made: dict[str, Any] | None = None
_registry: Any = None
_lock = threading.Lock()


def enable(version: str) -> bool:
    """Begin to count in this process; false when it was counting already."""
    global _made, _registry
    from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram

    with _lock:
        if _made is not None:
            return False
        _registry = CollectorRegistry()
        made: dict[str, Any] = {}
        for name, metric in CATALOG.items():
            full, common = f"collegium_{name}", {"registry": _registry}
            if metric.kind == "counter":
                made[name] = Counter(full, metric.help, metric.labels, **common)
            elif metric.kind == "gauge":
                made[name] = Gauge(full, metric.help, metric.labels, **common)
            elif metric.kind == "state":
                made[name] = Enum(full, metric.help, states=list(metric.states), **common)
            else:
                made[name] = Histogram(full, metric.help, metric.labels, buckets=metric.buckets, **common)
        _made = made
    set_gauge("build_info", 1, version=version)
    return True


def disable() -> None:
    """Forget everything that was counted."""
    global _made, _registry
    with _lock:
        _made = _registry = None


def is_enabled() -> bool:
    """Whether anything is counted: worth asking before a value is computed only to be shown."""
    return _made is not None


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    if (made := _made) is not None:
        _labeled(made[name], labels).inc(amount)


def set_gauge(name: str, value: float, **labels: str) -> None:
    """Set a gauge."""
    if (made := _made) is not None:
        _labeled(made[name], labels).set(value)


def set_state(name: str, state: str) -> None:
    """Set a state."""
    if (made := _made) is not None:
        made[name].state(state)


def observe(name: str, value: float, **labels: str) -> None:
    """Add to a histogram."""
    if (made := _made) is not None:
        _labeled(made[name], labels).observe(value)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Add the seconds that the block takes to a histogram, unless it raises."""
    started = time.monotonic()
    yield
    observe(name, time.monotonic() - started)


def render() -> tuple[str, bytes]:
    """Content type and text for a scrape. Nothing but a comment before `enable`."""
    if _registry is None:
        return "text/plain; charset=utf-8", b"# metrics are off\n"
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    return CONTENT_TYPE_LATEST, bytes(generate_latest(_registry))


def _labeled(found: Any, labels: dict[str, str]) -> Any:
    return found.labels(**labels) if labels else found
