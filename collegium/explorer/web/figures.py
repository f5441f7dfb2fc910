"""Geometry of the pictures: numbers for SVG attributes, computed here so that pages need neither scripts nor styles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from collegium.explorer.records import Chart, PhaseRow
from collegium.explorer.words import format_duration

__all__ = ["Bar", "Plot", "draw_phases", "draw_plot"]

WIDTH, HEIGHT = 460, 190
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 12, 28
_PHASES_WIDTH = 1000.0
_LEAST = 84.0
"""Narrowest phase, so that one of no duration is still seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A phase in the bar. x, width: of a bar 1000 wide; tone: its color; label: phase and duration."""

    x: float
    width: float
    tone: str
    phase: str
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """line: points of the polyline. area: of the surface below it. dots: set when there are few points."""

    line: str
    area: str
    ticks_y: tuple[tuple[float, str], ...]
    ticks_x: tuple[tuple[float, str], ...]
    dots: tuple[tuple[float, float, str], ...]
    summary: str


def draw_phases(rows: Sequence[PhaseRow], now: int) -> tuple[Bar, ...]:
    """Widths follow the square root of the duration: a phase of a second stays visible beside one of a day."""
    phases = [row for row in rows if row.phase not in _MOMENTS]
    if not phases:
        return ()
    roots = [math.sqrt(max(0, (now if row.end is None else row.end) - row.start)) for row in phases]
    room = _PHASES_WIDTH - _LEAST * len(phases)
    total, x, bars = sum(roots) or 1.0, 0.0, []
    for row, root in zip(phases, roots, strict=True):
        width = _LEAST + max(room, 0.0) * root / total
        lasted = format_duration((now if row.end is None else row.end) - row.start)
        bars.append(Bar(x, width, _tone(row), row.phase, f"{row.phase}: {lasted}, {row.ended or 'under way'}"))
        x += width
    scale = _PHASES_WIDTH / x
    return tuple(replace(bar, x=round(bar.x * scale, 1), width=round(bar.width * scale, 1)) for bar in bars)


_MOMENTS = ("recorded", "aborted", "disputed")


def _tone(row: PhaseRow) -> str:
    if row.end is None:
        return "live"
    if row.ended in ("refuted", "no proposal came", "too few: aborted"):
        return "bad"
    return "warn" if row.ended in ("time ran out", "too few endorsements") else "good"


def draw_plot(chart: Chart) -> Plot:
    """The vertical axis starts at 0."""
    values = [point.value for point in chart.points]
    top, step = _axis(max(values), is_time=chart.unit == "s")
    first, last = chart.points[0].first, chart.points[-1].last
    span = max(last - first, 1)

    def x(number: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (number - first) / span, 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)

    places = [(x((point.first + point.last) / 2), y(point.value)) for point in chart.points]
    line = " ".join(f"{at},{height}" for at, height in places)
    floor = y(0)
    area = f"{places[0][0]},{floor} {line} {places[-1][0]},{floor}"
    count = round(top / step)
    label = (lambda value: format_duration(int(value))) if chart.unit == "s" else _short
    ticks_y = tuple((y(step * each), label(step * each)) for each in range(count + 1))
    marks = sorted({first, (first + last) // 2, last})
    dots = tuple(
        (at, height, f"round {point.first}: {point.value:,.0f} {chart.unit}")
        for (at, height), point in zip(places, chart.points, strict=True)
    )
    summary = (
        f"{chart.title}: rounds {first} to {last}, from {min(values):,.0f} to {max(values):,.0f} {chart.unit},"
        f" last {values[-1]:,.0f}."
    )
    shown = dots if len(dots) <= 60 else ()
    return Plot(line, area, ticks_y, tuple((x(each), str(each)) for each in marks), shown, summary)


_TIMES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)


def _axis(highest: float, *, is_time: bool) -> tuple[float, float]:
    """Top and step of the vertical axis: round numbers, three to five steps. is_time: of seconds."""
    if highest <= 1:
        return 1.0, 1.0
    raw = highest / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    if is_time and raw <= _TIMES[-1]:
        step = float(next(each for each in _TIMES if each >= raw))
    step = max(step, 1.0)
    return step * math.ceil(highest / step), step


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"
