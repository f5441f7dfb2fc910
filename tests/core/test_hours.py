"""Hours of a week, across midnight, weekends and the days when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.errors import ConfigError
from collegium.hours import Hours

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def hours(*texts: str) -> Hours:
    return Hours.parse(texts, zone="Europe/Berlin")


class TestHours:
    def test_working_days(self) -> None:
        busy = hours("Mon-Fri 07:00-18:00")
        assert busy.contains(at("2026-11-20T07:00"))  # a Friday
        assert busy.end(at("2026-11-20T12:00")) == at("2026-11-20T18:00")
        assert not busy.contains(at("2026-11-20T18:00"))
        assert not busy.contains(at("2026-11-21T12:00"))
        assert busy.next_begin(at("2026-11-20T19:00")) == at("2026-11-23T07:00")

    def test_past_midnight_belongs_to_the_day_it_began(self) -> None:
        night = hours("Fri 22:00-06:00")
        assert night.contains(at("2026-11-21T05:59"))
        assert night.end(at("2026-11-20T23:00")) == at("2026-11-21T06:00")
        assert not night.contains(at("2026-11-20T05:00"))
        assert not night.contains(at("2026-11-22T01:00"))

    def test_windows_that_touch_are_one(self) -> None:
        assert hours("08:00-12:00", "12:00-16:00").end(at("2026-11-20T09:00")) == at("2026-11-20T16:00")
        assert hours("00:00-24:00").end(at("2026-11-20T09:00")) > at("2026-11-27T00:00")

    def test_the_week_wraps(self) -> None:
        weekend = hours("Sat-Mon 10:00-11:00")
        for day in (21, 22, 23):
            assert weekend.contains(at(f"2026-11-{day}T10:30"))
        assert not weekend.contains(at("2026-11-24T10:30"))

    def test_hours_are_wall_clock_when_clocks_change(self) -> None:
        # Clocks go back in Berlin on 2026-10-25 at 03:00.
        night = hours("Sat 22:00-06:00")
        assert night.end(at("2026-10-24T23:00")) == datetime(2026, 10, 25, 5, 0, tzinfo=UTC).timestamp()

    def test_none(self) -> None:
        none = hours()
        assert not none.contains(0.0) and none.next_begin(0.0) is None and none.end(5.0) == 5.0

    @given(st.floats(0, 4e9), st.integers(0, 1439), st.integers(1, 1439))
    def test_end_is_outside(self, moment: float, begin: int, length: int) -> None:
        end = (begin + length) % 1440
        daily = Hours.parse([f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"], zone="UTC")
        assert not daily.contains(daily.end(moment))
        upcoming = daily.next_begin(moment)
        assert upcoming is not None and daily.contains(upcoming)

    @pytest.mark.parametrize(
        "text", ["", "7-18", "07:00", "25:00-26:00", "07:60-08:00", "Mo 07:00-08:00", "Mon-Tue-Wed 1:00-2:00",
                 "08:00-08:00", "24:00-06:00"],
    )  # fmt: skip
    def test_what_is_no_window(self, text: str) -> None:
        with pytest.raises(ConfigError, match="no hours"):
            Hours.parse([text])

    @pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime"])
    def test_unknown_zone(self, zone: str) -> None:
        with pytest.raises(ConfigError, match="time zone"):
            Hours.parse([], zone=zone)
