"""Line charts as SVG text that follows the page's colors, so that one file is readable in light and dark.

Each chart is drawn twice, for wide and for narrow screens; the page shows one of them, so that letters keep their size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "draw_bars", "draw_lines"]


@dataclass(frozen=True)
class Canvas:
    """Sizes in pixels of a drawing that is shown about as large. style: CSS class. names: width of a bar's name.

    short: whether lines have their short names.
    """

    style: str
    width: int
    right: int
    left: int = 46
    height: int = 300
    top: int = 18
    bottom: int = 40
    names: int = 190
    short: bool = False


CANVASES = (
    Canvas("wide", width=520, right=160, height=280),
    Canvas("narrow", width=340, right=146, left=38, names=128, short=True),
)


@dataclass(frozen=True)
class Line:
    """values: one per round, from round 0. style: CSS class that gives color and dash. short: name for little room."""

    name: str
    values: Sequence[float]
    style: str
    short: str = ""


def draw_lines(title: str, lines: Sequence[Line], *, marks: Sequence[tuple[int, str]] = ()) -> str:
    """A chart over rounds. marks: rounds to point out, with a word.

    The vertical axis is cut to the values shown, and says so by its labels.
    """
    return "\n".join(_draw_lines(canvas, title, lines, marks) for canvas in CANVASES)


def _draw_lines(canvas: Canvas, title: str, lines: Sequence[Line], marks: Sequence[tuple[int, str]]) -> str:
    lowest = min(value for line in lines for value in line.values)
    highest = max(value for line in lines for value in line.values)
    bottom, top, ticks = _axis(lowest, highest)
    last = max(len(line.values) for line in lines) - 1
    end, floor = canvas.width - canvas.right, canvas.height - canvas.bottom

    def x(round_number: float) -> float:
        return canvas.left + (end - canvas.left) * round_number / max(last, 1)

    def y(value: float) -> float:
        return canvas.top + (floor - canvas.top) * (1 - (value - bottom) / (top - bottom))

    parts = [_open(canvas, canvas.height, title)]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{canvas.left}" x2="{end}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(_text("tick", canvas.left - 8, y(tick) + 4, f"{tick:.2f}", anchor="end"))
    for number in range(0, last + 1, max(1, -(-last // (10 if canvas.width > 400 else 5)))):
        parts.append(_text("tick", x(number), floor + 20, str(number), anchor="middle"))
    parts.append(_text("tick", (canvas.left + end) / 2, canvas.height - 4, "round", anchor="middle"))
    for number, word in marks:
        parts.append(f'<line class="mark" x1="{x(number):.1f}" x2="{x(number):.1f}" y1="{canvas.top}" y2="{floor}"/>')
        parts.append(_text("marked", x(number) + 4, floor - 6, word))
    for line in lines:
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(line.values))
        name = f"<title>{escape(line.name)}</title>"
        parts.append(f'<polyline class="line {line.style}" points="{points}">{name}</polyline>')
    places = _spread([y(line.values[-1]) for line in lines], floor=floor + 4)
    for line, place in zip(lines, places, strict=True):
        # From the end of its line to the words: color alone tells nobody which is which.
        lead = f"{end},{y(line.values[-1]):.1f} {end + 8},{place:.1f} {end + 22},{place:.1f}"
        parts.append(f'<polyline class="lead {line.style}" points="{lead}"/>')
        name = line.short if canvas.short and line.short else line.name
        parts.append(_text(f"label {line.style}", end + 26, place + 4, f"{name} {line.values[-1]:.3f}"))
    return "\n".join([*parts, "</svg>"])


def draw_bars(title: str, unit: str, bars: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with their values."""
    return "\n".join(_draw_bars(canvas, title, unit, bars) for canvas in CANVASES)


def _draw_bars(canvas: Canvas, title: str, unit: str, bars: Sequence[tuple[str, float]]) -> str:
    longest = max((value for _, value in bars), default=0.0) or 1.0
    parts = [_open(canvas, 24 * len(bars) + 8, title)]
    for number, (name, value) in enumerate(bars):
        at = 4 + 24 * number
        width = (canvas.width - canvas.names - 90) * value / longest
        parts.append(_text("tick", canvas.names - 10, at + 15, name, anchor="end"))
        size = f'width="{max(width, 1):.1f}" height="16"'
        parts.append(f'<rect class="bar" x="{canvas.names}" y="{at + 3}" {size} rx="2"/>')
        parts.append(_text("tick", canvas.names + 6 + width, at + 15, f"{value:,.2f} {unit}"))
    return "\n".join([*parts, "</svg>"])


def _open(canvas: Canvas, height: int, title: str) -> str:
    return (
        f'<svg class="{canvas.style}" viewBox="0 0 {canvas.width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
    )


def _text(style: str, x: float, y: float, words: str, *, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _axis(lowest: float, highest: float) -> tuple[float, float, list[float]]:
    """Bottom, top and ticks: hundredths, five or so."""
    span = max(highest - lowest, 0.02)
    step = next(each for each in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if span / each <= 6 or each == 0.5)
    bottom = int(lowest / step) * step
    count = int((highest - bottom) / step) + 1
    ticks = [round(bottom + step * number, 4) for number in range(count + 1)]
    top = ticks[-1] if ticks[-1] >= highest else ticks[-1] + step
    return bottom, min(top, max(1.0 + step / 4, highest)), [tick for tick in ticks if tick <= 1.0 + 1e-9]


def _spread(places: Sequence[float], *, floor: float, gap: float = 15.0) -> list[float]:
    """Move labels apart, keeping their order, so that none covers another and none lies below `floor`."""
    order = sorted(range(len(places)), key=lambda each: places[each])
    moved = list(places)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    overflow = max((moved[each] for each in order), default=0.0) - floor
    return [each - max(overflow, 0.0) for each in moved]
