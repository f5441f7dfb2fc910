"""Charts of the demo's report: every line is named at its end, for wide and narrow screens."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from scripts.demo.chart import CANVASES, Line, draw_bars, draw_lines

NAMES = ("north", "east", "south", "west")
LINES = [
    Line(f"{name} alone", [0.5, 0.95 - at / 1000], f"site-{at + 1}", name) for at, name in enumerate(NAMES)
]


def charts(text: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(f"<page>{text}</page>"))


@pytest.mark.parametrize("at", range(len(CANVASES)), ids=[canvas.style for canvas in CANVASES])
def test_labels_are_inside_and_apart(at: int) -> None:
    canvas, chart = CANVASES[at], charts(draw_lines("Accuracy", LINES, marks=[(1, "refuted")]))[at]
    assert chart.attrib["class"] == canvas.style
    labels = [each for each in chart.iter("text") if each.attrib["class"].startswith("label")]
    name = (lambda line: line.short) if canvas.short else (lambda line: line.name)
    assert [each.text for each in labels] == [f"{name(line)} {line.values[-1]:.3f}" for line in LINES]
    places = sorted(float(each.attrib["y"]) for each in labels)
    assert all(after - before >= 14 for before, after in itertools.pairwise(places))
    assert places[0] > 0 and places[-1] <= canvas.height
    # A letter of 12 pixels is less than seven wide, on average.
    assert all(float(each.attrib["x"]) + 6.5 * len(each.text or "") <= canvas.width for each in labels)


def test_each_line_has_a_color_and_a_way_to_its_label() -> None:
    for chart in charts(draw_lines("Accuracy", LINES)):
        styles = [each.attrib["class"] for each in chart.iter("polyline")]
        assert sorted(styles) == sorted(f"{kind} site-{at}" for kind in ("line", "lead") for at in range(1, 5))


def test_names_are_escaped() -> None:
    text = draw_lines("<b>", [Line("<script>", [1.0, 0.0], "fed")]) + draw_bars("<i>", "s", [("<p>", 1.0)])
    assert not re.search(r"<(script|b|i|p)>", text)
    assert len(charts(text)) == 4
