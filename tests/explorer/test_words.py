"""Text, numbers and pictures, without a chain."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.explorer.charts import POINTS, make_chart
from collegium.explorer.published import read_published
from collegium.explorer.records import Chart, Point
from collegium.explorer.web.figures import HEIGHT, WIDTH, draw_plot
from collegium.explorer.web.text import LONGEST, clean, shorten
from collegium.explorer.words import format_duration, format_number, format_tokens, skip_reason


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_clean_text_can_be_written_and_drives_nothing(text: str) -> None:
    shown = clean(text)
    shown.encode("utf-8")
    for character in shown:
        category = unicodedata.category(character)
        assert character in "\n\t\u200c\u200d" or category not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    run = 0
    for character in shown:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        assert run <= 3


@given(st.text(alphabet="abcäöü ñé漢字한글", max_size=80))
def test_honest_text_stays(text: str) -> None:
    assert clean(text) == text


def test_endless_text_is_cut() -> None:
    assert len(clean("a" * 10 * LONGEST)) < LONGEST + 20
    assert shorten("a  b\n" * 100, 20) == "a b a b a b a b a b…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_725, "1 h 2 min"), (86_400, "1 d"), (90_061, "1 d 1 h"), (-5, "−5 s")],
)
def test_durations(seconds: int, words: str) -> None:
    assert format_duration(seconds) == words


def test_numbers() -> None:
    assert format_tokens(1_234_500_000_000_000_000_000) == "1,234.5"
    assert format_tokens(1) == "0.000000000000000001" and format_tokens(0) == "0"
    assert format_number(-1_234) == "−1,234"
    assert skip_reason(4).startswith("its signature") and skip_reason(99) == "reason 99"


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=1_500))
def test_pictures_stay_in_their_frame(values: list[float]) -> None:
    chart = make_chart("t", "gas", list(enumerate(values, 1)))
    assert chart is not None and len(chart.points) <= POINTS
    assert chart.points[0].first == 1 and chart.points[-1].last == len(values)
    drawn = draw_plot(chart)
    for place in drawn.line.split():
        x, y = map(float, place.split(","))
        assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT
    assert 2 <= len(drawn.ticks_y) <= 8


def test_a_time_axis_has_whole_units() -> None:
    drawn = draw_plot(Chart("t", "s", (Point(1, 1, 10.0), Point(2, 2, 7_300.0))))
    assert [label for _, label in drawn.ticks_y] == ["0 s", "1 h", "2 h", "3 h"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"7", b'"x"', b'{"format": 3}', b'{"format": {"tensors": [{"name": "a"}]}}',
     b'{"format": {"tensors": [{"name": "a", "shape": [0]}]}}', b"[" * 100_000, b"\xff\xfe"],
)  # fmt: skip
def test_a_plan_that_cannot_be_read_has_no_title(content: bytes) -> None:
    assert read_published(content) is None


def test_places_in_tensors() -> None:
    tensors = b'[{"name": "a", "shape": [2, 3]}, {"name": "b", "shape": []}]'
    found = read_published(b'{"title": "T", "format": {"tensors": ' + tensors + b"}}")
    assert found is not None
    assert [found.place_of(at) for at in (0, 5, 6, 7)] == ["a[0, 0]", "a[1, 2]", "b", ""]


def test_without_the_extra_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from collegium import extras
    from collegium.errors import ExtraMissingError
    from collegium.explorer.web.render import Renderer

    monkeypatch.setattr(extras, "_is_there", lambda name: name != "jinja2")
    with pytest.raises(ExtraMissingError) as found:
        Renderer(network="n", chain_id=1)
    assert "collegium[explorer]" in found.value.hint
