"""What a site may publish about its evaluation: cells of cases, none of them small.

The scores of each class are cut into intervals. Every published interval of every class holds at least `min_cell`
cases, so nothing smaller can be had by adding or subtracting what one report shows. The threshold is an edge of a
class only when both sides of it are large enough; without it the class's sensitivity or specificity stays undisclosed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .binary import Floats, check_cases, measure_binary

__all__ = ["MIN_CELL", "Cells", "Disclosed", "cut", "disclose"]

MIN_CELL = 10
"""Smallest number of cases that a report shows."""
_GRID = 64
"""Edges come from this many equal steps between 0 and 1, so that an edge is never a patient's own score."""


@dataclass(frozen=True)
class Cells:
    """Scores of one class: `counts[i]` cases with `edges[i] <= score < edges[i + 1]`; the last includes 1."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Cases of the class."""
        return sum(self.counts)

    def split(self, threshold: float) -> tuple[int, int] | None:
        """Cases below and from the threshold on; None when it is no edge."""
        if threshold not in self.edges[1:-1]:
            return None
        at = self.edges.index(threshold)
        return sum(self.counts[:at]), sum(self.counts[at:])

    def to_json(self) -> dict[str, Any]:
        """Edges and counts."""
        return {"edges": list(self.edges), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, data: Any, *, min_cell: int) -> Cells:
        """Raises ValueError unless edges rise from 0 to 1 and every count reaches `min_cell`."""
        edges, counts = [float(edge) for edge in data["edges"]], list(data["counts"])
        if not all(type(count) is int and min_cell <= count < 2**53 for count in counts):
            raise ValueError(f"a count is below the smallest cell of {min_cell}")
        rising = all(math.isfinite(edge) for edge in edges) and all(a < b for a, b in pairwise(edges))
        if len(edges) != len(counts) + 1 or not counts or not rising or (edges[0], edges[-1]) != (0.0, 1.0):
            raise ValueError("edges must rise from 0 to 1, one more than counts")
        return cls(tuple(edges), tuple(counts))


@dataclass(frozen=True)
class Disclosed:
    """The publishable part of an evaluation. Withheld parts are None, each with a line in `withheld`."""

    min_cell: int
    threshold: float
    cases: int | None
    positive: Cells | None
    negative: Cells | None
    auroc: tuple[float, float | None] | None
    """Value and standard error, three decimals."""
    brier: float | None
    withheld: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Canonical content of a report."""
        return {
            "min_cell": self.min_cell,
            "threshold": self.threshold,
            "cases": self.cases,
            "positive": self.positive.to_json() if self.positive else None,
            "negative": self.negative.to_json() if self.negative else None,
            "auroc": None if self.auroc is None else {"value": self.auroc[0], "standard_error": self.auroc[1]},
            "brier": self.brier,
            "withheld": list(self.withheld),
        }

    @classmethod
    def from_json(cls, data: Any) -> Disclosed:
        """Raises ValueError, KeyError or TypeError for what `to_json` would never write."""
        smallest, threshold = int(data["min_cell"]), float(data["threshold"])
        if smallest < 1 or not 0 < threshold < 1:
            raise ValueError("min_cell must be positive and the threshold between 0 and 1")
        cells = [
            Cells.from_json(data[name], min_cell=smallest) if data[name] is not None else None
            for name in ("positive", "negative")
        ]
        positive, negative = cells
        if (positive is None) != (negative is None):
            raise ValueError("one class alone tells the size of the other")
        cases = None if data["cases"] is None else int(data["cases"])
        if positive and negative and cases != positive.total + negative.total:
            raise ValueError("the classes do not add up to the cases")
        if cases is not None and cases < smallest:
            raise ValueError("fewer cases than the smallest cell")
        area = data["auroc"]
        found = None if area is None else (_share(area["value"]), _spread(area["standard_error"]))
        brier = None if data["brier"] is None else _share(data["brier"])
        withheld = tuple(str(line)[:300] for line in list(data["withheld"])[:20])
        return cls(smallest, threshold, cases, positive, negative, found, brier, withheld)


def disclose(scores: ArrayLike, labels: ArrayLike, *, threshold: float = 0.5, min_cell: int = MIN_CELL) -> Disclosed:
    """What may be published of these cases. Raises ValueError for bad cases or thresholds off (0, 1)."""
    if not 0 < threshold < 1 or min_cell < 1:
        raise ValueError("the threshold lies between 0 and 1 and the smallest cell is positive")
    given, truth = check_cases(scores, labels)
    found = measure_binary(given, truth, threshold=threshold)
    if len(given) < min_cell:
        return Disclosed(min_cell, threshold, None, None, None, None, None, (f"fewer than {min_cell} cases",))
    if min(found.positives, found.cases - found.positives) < min_cell:
        why = (f"a class has fewer than {min_cell} cases: only the number of cases is shown",)
        return Disclosed(min_cell, threshold, found.cases, None, None, None, None, why)
    positive, negative = (
        cut(given[chosen], threshold=threshold, min_cell=min_cell) for chosen in (truth, ~truth)
    )
    withheld = [
        f"{name}: fewer than {min_cell} cases on one side of the threshold"
        for name, cells in (("sensitivity", positive), ("specificity", negative))
        if cells.split(threshold) is None
    ]
    area, error = found.auroc.value, _standard_error(given[truth], given[~truth])
    assert area is not None and found.brier.value is not None
    rounded = (round(area, 3), None if error is None else round(error, 3))
    return Disclosed(
        min_cell, threshold, found.cases, positive, negative, rounded, round(found.brier.value, 3), tuple(withheld)
    )


def cut(scores: Floats, *, threshold: float, min_cell: int) -> Cells:
    """Cells of at least `min_cell` scores: first at the threshold when both sides allow it, then as fine as allowed."""
    grid = [at / _GRID for at in range(1, _GRID)]
    below, above = scores[scores < threshold], scores[scores >= threshold]
    if min(len(below), len(above)) >= min_cell:
        left = _cut(below, [edge for edge in grid if edge < threshold], min_cell)
        right = _cut(above, [edge for edge in grid if edge > threshold], min_cell)
        inner = [*left, threshold, *right]
    else:
        inner = [edge for edge in _cut(scores, grid, min_cell) if edge != threshold]
    edges = (0.0, *inner, 1.0)
    at = np.searchsorted(np.array(inner), scores, side="right")
    return Cells(edges, tuple(int(count) for count in np.bincount(at, minlength=len(edges) - 1)))


def _cut(scores: Floats, grid: Sequence[float], min_cell: int) -> list[float]:
    """Edges out of the grid, from the left; what would remain too small stays with its left neighbor."""
    edges: list[float] = []
    ordered = np.sort(scores)
    done = 0
    for edge in grid:
        before = int(np.searchsorted(ordered, edge, side="left"))
        if before - done >= min_cell and len(ordered) - before >= min_cell:
            edges.append(edge)
            done = before
    return edges


def _standard_error(positive: Floats, negative: Floats) -> float | None:
    from .binary import delong_variance

    variance = delong_variance(positive, negative)[1]
    return math.sqrt(variance) if math.isfinite(variance) and variance > 0 else None


def _share(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError("a measure lies between 0 and 1")
    return number


def _spread(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not 0 < number <= 0.5:
        raise ValueError("a standard error is positive and at most 0.5")
    return number
