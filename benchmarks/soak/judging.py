"""What a soak's samples amount to: whether memory and disk stay flat, as ratios of the last quarter to the second."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .sampling import is_side_file

__all__ = ["Samples", "growth_per_round", "median_ratio_of_quarters"]

LIFE_ROUNDS = 12
"""A process that lived through as many rounds tells whether it grows."""
WARM_UP_ROUNDS = 3


@dataclass(frozen=True)
class Samples:
    """The lines of a run's journal."""

    entries: Sequence[Mapping[str, Any]]

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    @property
    def rounds(self) -> int:
        """The last final one."""
        return max((entry["round"] for entry in self.of("round")), default=0)

    @property
    def kills(self) -> list[tuple[int, str]]:
        return [(entry["round"], entry["name"]) for entry in self.of("kill")]

    @property
    def rounds_with_kills(self) -> set[int]:
        """Those that a kill can delay: its own, or the next one when it came at the end."""
        return {each for number, _ in self.kills for each in (number, number + 1)}

    @property
    def names(self) -> list[str]:
        return sorted({entry["name"] for entry in self.of("memory")})

    def seconds(self) -> list[tuple[int, float]]:
        """Round and its seconds from opening to record, of those whose opening was seen before their end."""
        return [(entry["round"], entry["seconds"]) for entry in self.of("round") if entry["seconds"]]

    def memory(self, name: str) -> list[tuple[int, float]]:
        """Round and resident bytes."""
        return [(entry["round"], entry["rss"]) for entry in self.of("memory") if entry["name"] == name]

    def memory_ratio(self, name: str) -> float | None:
        """Median of the last quarter of rounds over that of the second; None for too few rounds."""
        return median_ratio_of_quarters(self.memory(name), self.rounds)

    def memory_within_lives(self, name: str) -> list[float]:
        """For each life of a process between two kills: its last third over its first, after it has warmed up."""
        lives: dict[int, list[tuple[int, float]]] = {}
        for entry in self.of("memory"):
            if entry["name"] == name:
                lives.setdefault(entry["pid"], []).append((entry["round"], entry["rss"]))
        ratios = []
        for life in lives.values():
            begin = life[0][0] + WARM_UP_ROUNDS
            grown = [(at, rss) for at, rss in life if at >= begin]
            if grown and grown[-1][0] - begin >= LIFE_ROUNDS:
                third = len(grown) // 3
                early, late = [rss for _, rss in grown[:third]], [rss for _, rss in grown[-third:]]
                ratios.append(statistics.median(late) / statistics.median(early))
        return ratios

    def folders(self) -> list[str]:
        return sorted({name for entry in self.of("disk") for name in entry["folders"]})

    def disk(self, keep: Callable[[str], bool]) -> list[tuple[int, float]]:
        """Round and bytes of all homes together, of the folders to keep."""
        totals: dict[int, float] = {}
        for entry in self.of("disk"):
            size = sum(size for name, size in entry["folders"].items() if keep(name))
            totals[entry["round"]] = totals.get(entry["round"], 0) + size
        return sorted(totals.items())

    def disk_ratio(self) -> float:
        """Bytes a round in the last quarter over those in the second; write-ahead logs apart."""
        points = self.disk(lambda name: not is_side_file(name))
        return growth_per_round(quarter(points, self.rounds, 3)) / max(
            growth_per_round(quarter(points, self.rounds, 1)), 1.0
        )

    def largest_side_file(self) -> int:
        """Bytes of the largest write-ahead log ever seen."""
        sizes = (size for entry in self.of("disk") for name, size in entry["folders"].items() if is_side_file(name))
        return max(sizes, default=0)


def quarter(points: Iterable[tuple[int, float]], rounds: int, number: int) -> list[tuple[int, float]]:
    """Those of one quarter of the rounds, 0 to 3."""
    begin, end = rounds * number / 4, rounds * (number + 1) / 4
    return [(at, value) for at, value in points if begin < at <= end]


def median_ratio_of_quarters(points: Sequence[tuple[int, float]], rounds: int) -> float | None:
    """None when either quarter is empty."""
    second, last = (quarter(points, rounds, number) for number in (1, 3))
    if not second or not last:
        return None
    return statistics.median(value for _, value in last) / statistics.median(value for _, value in second)


def growth_per_round(points: Sequence[tuple[int, float]]) -> float:
    """Slope of the line through the points, by least squares; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression([at for at, _ in points], [value for _, value in points]).slope
