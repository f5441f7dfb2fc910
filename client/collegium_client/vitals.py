"""Metrics from the events that a node and a watcher report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from collegium.observability import metrics

__all__ = ["observe"]

_SURVIVED = ("failed", "training_failed", "disk_unwritable", "not_stored", "cannot_recompute", "model_unavailable")


def observe(event: str, fields: Mapping[str, Any]) -> None:
    """Count one event."""
    if not metrics.is_enabled():
        return
    if event == "trained":
        metrics.observe("client_train_duration_seconds", fields["seconds"])
        metrics.observe("client_update_bytes", fields["bytes"])
    elif event == "round_final":
        metrics.count("client_rounds_total", outcome=fields["fate"])
        metrics.set_gauge("client_last_success_timestamp_seconds", time.time())
    elif event in ("wrong_proposal", "wrong_coordinate"):
        metrics.count("watcher_wrong_proposals_total")
    elif event in _SURVIVED:
        metrics.count("errors_total", code=str(fields.get("code", event)))
