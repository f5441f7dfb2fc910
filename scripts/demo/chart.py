"""Line charts as SVG text that follows the page's colors, so that one file is readable in light and dark."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "draw_bars", "draw_lines"]

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 150, 16, 40


@dataclass(frozen=True)
class Line:
    """values: one per round, from round 0. style: CSS class that gives color and dash."""

    name: str
    values: Sequence[float]
    style: str


def draw_lines(title: str, unit: str, lines: Sequence[Line], *, marks: Sequence[tuple[int, str]] = ()) -> str:
    """A chart over rounds. marks: rounds to point out, with a word.

    The vertical axis is cut to the values shown, and says so by its labels.
    """
    lowest = min(value for line in lines for value in line.values)
    highest = max(value for line in lines for value in line.values)
    bottom, top, ticks = _axis(lowest, highest)
    last = max(len(line.values) for line in lines) - 1

    def x(round_number: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * round_number / max(last, 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - bottom) / (top - bottom))

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>')
    step = max(1, -(-last // 10))
    for number in range(0, last + 1, step):
        parts.append(f'<text class="tick" x="{x(number):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{number}</text>')
    parts.append(
        f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">round</text>'
    )
    parts.append(f'<text class="tick" x="{LEFT - 44}" y="{TOP - 4}">{escape(unit)}</text>')
    for number, word in marks:
        parts.append(
            f'<line class="mark" x1="{x(number):.1f}" x2="{x(number):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        )
        parts.append(f'<text class="marked" x="{x(number) + 4:.1f}" y="{HEIGHT - BOTTOM - 6}">{escape(word)}</text>')
    for line in lines:
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(line.values))
        parts.append(
            f'<polyline class="line {line.style}" points="{points}"><title>{escape(line.name)}</title></polyline>'
        )
    for line, place in zip(lines, _spread([y(line.values[-1]) for line in lines]), strict=True):
        label = f"{line.name} {line.values[-1]:.3f}"
        parts.append(
            f'<text class="label {line.style}" x="{WIDTH - RIGHT + 8}" y="{place + 4:.1f}">{escape(label)}</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts)


def draw_bars(title: str, unit: str, bars: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with their values."""
    height = 24 * len(bars) + 8
    longest = max((value for _, value in bars), default=0.0) or 1.0
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for number, (name, value) in enumerate(bars):
        at = 4 + 24 * number
        width = (WIDTH - 300) * value / longest
        parts.append(f'<text class="tick" x="170" y="{at + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar" x="180" y="{at + 3}" width="{max(width, 1):.1f}" height="16" rx="2"/>')
        parts.append(f'<text class="tick" x="{186 + width:.1f}" y="{at + 15}">{value:,.2f} {escape(unit)}</text>')
    parts.append("</svg>")
    return "\n".join(parts)


def _axis(lowest: float, highest: float) -> tuple[float, float, list[float]]:
    """Bottom, top and ticks: hundredths, five or so."""
    span = max(highest - lowest, 0.02)
    step = next(each for each in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if span / each <= 6 or each == 0.5)
    bottom = int(lowest / step) * step
    count = int((highest - bottom) / step) + 1
    ticks = [round(bottom + step * number, 4) for number in range(count + 1)]
    top = ticks[-1] if ticks[-1] >= highest else ticks[-1] + step
    return bottom, min(top, max(1.0 + step / 4, highest)), [tick for tick in ticks if tick <= 1.0 + 1e-9]


def _spread(places: Sequence[float], gap: float = 14.0) -> list[float]:
    """Move labels apart, keeping their order, so that none covers another."""
    order = sorted(range(len(places)), key=lambda each: places[each])
    moved = list(places)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    overflow = max((moved[each] for each in order), default=0.0) - (HEIGHT - BOTTOM + 4)
    return [each - max(overflow, 0.0) for each in moved]
