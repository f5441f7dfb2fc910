"""Figures with their bars, and how a ratio is taken fairly on a noisy machine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Figure", "Results", "median_ratio"]


@dataclass(frozen=True)
class Figure:
    """One measured value. bar: the limit DESIGN sets, None where none is set; ok: value within its bar."""

    name: str
    value: float
    unit: str
    bar: float | None
    ok: bool


@dataclass
class Results:
    """Figures in the order they were taken; `write` saves them."""

    figures: list[Figure] = field(default_factory=list)

    def at_most(self, name: str, value: float, unit: str, bar: float | None = None) -> None:
        self._add(Figure(name, _tidy(value), unit, bar, bar is None or value <= bar))

    def at_least(self, name: str, value: float, unit: str, bar: float | None = None) -> None:
        self._add(Figure(name, _tidy(value), unit, bar, bar is None or value >= bar))

    def _add(self, figure: Figure) -> None:
        self.figures.append(figure)
        bar = "" if figure.bar is None else f"  (bar {figure.bar:g}, {'ok' if figure.ok else 'MISSED'})"
        print(f"  {figure.name:<58} {figure.value:>12,g} {figure.unit}{bar}", flush=True)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps([asdict(figure) for figure in self.figures], indent=2) + "\n", encoding="utf-8")


def _tidy(value: float) -> float:
    return float(f"{value:.4g}") if isinstance(value, float) and not value.is_integer() else value


def median_ratio(subject: Callable[[], object], peer: Callable[[], object], *, pairs: int = 7) -> float:
    """Median of time(subject) / time(peer), the two run in turn after one warm-up each."""
    subject()
    peer()
    ratios = []
    for _ in range(pairs):
        ratios.append(_seconds(subject) / _seconds(peer))
    return statistics.median(ratios)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
