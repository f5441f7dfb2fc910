"""Figures over rounds, thinned so that a thousand rounds still fit a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .records import Chart, Point

__all__ = ["make_chart"]

POINTS = 200


def make_chart(title: str, unit: str, values: Sequence[tuple[int, float]], note: str = "") -> Chart | None:
    """values: (round, value), ascending. None when there are fewer than two. Beyond 200 rounds, medians of groups."""
    if len(values) < 2:
        return None
    size = -(-len(values) // POINTS)
    points = []
    for at in range(0, len(values), size):
        group = values[at : at + size]
        points.append(Point(group[0][0], group[-1][0], float(statistics.median(value for _, value in group))))
    grouped = f"Each point is the median of {size} rounds. " if size > 1 else ""
    return Chart(title, unit, tuple(points), (grouped + note).strip())
