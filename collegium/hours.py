"""Hours of a week in a place's own time: when a hospital's machines are busy, when rounds may open.

    hours = Hours.parse(["Mon-Fri 07:00-18:00", "Sat 22:00-02:00"], zone="Europe/Berlin")
    hours.contains(time.time()), hours.end(time.time())

A window that ends before it begins runs past midnight and belongs to the day it begins on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collegium.errors import ConfigError, UsageError

__all__ = ["Hours", "format_deadline", "format_utc", "parse_duration"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:(?P<days>[A-Za-z,\-]+)\s+)?(?P<begin>\d\d?:\d\d)\s*-\s*(?P<end>\d\d?:\d\d)")
_DAY_MINUTES = 24 * 60


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `30m`, `12h` or `7d`. Raises UsageError."""
    found = re.fullmatch(r"([1-9]\d{0,6})([smhd])", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no duration.", hint="Write 30m, 12h or 7d.")
    return int(found[1]) * _UNITS[found[2]]


def format_utc(at: int) -> str:
    """A moment (seconds since 1970) to the minute: 2026-11-28 12:00 UTC; a number that is no moment as itself."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return str(at)


def format_deadline(at: int, now: float) -> str:
    """A moment with what is left of the time until then: 2026-11-28 12:00 UTC (in 6 d 23 h). Seconds since 1970."""
    left = int(at - now)
    return f"{format_utc(at)} ({f'in {_two_units(left)}' if left >= 0 else f'{_two_units(-left)} ago'})"


def _two_units(seconds: int) -> str:
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"


@dataclass(frozen=True)
class Hours:
    """windows: (weekday, first minute of that day, minute after the last one, possibly of the next day).

    zone: None is the machine's own.
    """

    windows: tuple[tuple[int, int, int], ...] = ()
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, texts: Sequence[str], *, zone: str = "") -> Self:
        """Raises ConfigError: a text that is no window, an unknown zone."""
        try:
            found = ZoneInfo(zone) if zone else None
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"{zone!r} is no time zone that this machine knows.",
                hint="Write it like Europe/Berlin, or leave it empty for the machine's own.",
            ) from error
        windows: list[tuple[int, int, int]] = []
        for text in texts:
            windows += _parse_window(str(text))
        return cls(tuple(sorted(windows)), found)

    def contains(self, at: float) -> bool:
        """Whether a moment (seconds since 1970) lies in one of the windows."""
        return self.end(at) > at

    def end(self, at: float) -> float:
        """When the window that holds `at` ends, following windows that touch included; `at` itself outside of any."""
        reached = at
        # Windows that touch or overlap are one; a week has come round after seven days.
        while reached < at + timedelta(days=8).total_seconds():
            later = max((end for begin, end in self._around(reached) if begin <= reached < end), default=reached)
            if later <= reached:
                break
            reached = later
        return reached

    def next_begin(self, at: float) -> float | None:
        """When the next window begins, `at` itself inside of one; None without windows."""
        if self.contains(at):
            return at
        return min((begin for begin, _ in self._around(at, days=9) if begin > at), default=None)

    def _around(self, at: float, *, days: int = 2) -> list[tuple[float, float]]:
        """Windows that begin on the day before `at` and on the days after."""
        today = datetime.fromtimestamp(at, self.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        for offset in range(-1, days):
            day = today + timedelta(days=offset)
            for weekday, begin, end in self.windows:
                if day.weekday() == weekday:
                    found.append((_moment(day, begin), _moment(day, end)))
        return found


def _moment(day: datetime, minutes: int) -> float:
    """Wall clock, so a window keeps its hours on the day the clocks change."""
    late, minutes = divmod(minutes, _DAY_MINUTES)
    moment = day + timedelta(days=late)
    return moment.replace(hour=minutes // 60, minute=minutes % 60).timestamp()


def _parse_window(text: str) -> list[tuple[int, int, int]]:
    found = _WINDOW.fullmatch(text.strip())
    begin, end = (_minutes(found[name]) if found else -1 for name in ("begin", "end"))
    if found is None or begin < 0 or end < 0 or begin >= _DAY_MINUTES or begin == end:
        raise ConfigError(f"{text!r} are no hours.", hint="Write them like Mon-Fri 07:00-18:00, or 22:00-06:00.")
    if end < begin:
        end += _DAY_MINUTES
    return [(day, begin, end) for day in _parse_days(found["days"], text)]


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    return hours * 60 + minutes if minutes < 60 and hours * 60 + minutes <= _DAY_MINUTES else -1


def _parse_days(text: str | None, whole: str) -> list[int]:
    if text is None:
        return list(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        names = part.split("-")
        if len(names) > 2 or any(name not in _DAYS for name in names):
            raise ConfigError(f"{whole!r} are no hours: {part!r} is no day.", hint="Write Mon, Mon-Fri or Sat,Sun.")
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        days |= {(first + at) % 7 for at in range((last - first) % 7 + 1)}
    return sorted(days)
