"""All sites together, from published cells alone, and how much the sites differ.

AUROC of the union of all cases: pairs of a positive and a negative case of one site are decided by the site's own
AUROC, pairs of two sites by their cells where these do not overlap. What stays open bounds the value by `area_low` and
`area_high`, whatever the scores are; their middle is shown.
Its sampling error is that of Hanley and McNeil (1982), The meaning and use of the area under a ROC curve, Radiology
143, 29-36. Heterogeneity: Cochran's Q and I2 over the sites' AUROC, pooled with random effects after DerSimonian and
Laird (1986), Meta-analysis in clinical trials, Controlled Clinical Trials 7, 177-188.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .binary import logit_interval
from .disclosure import Cells, Disclosed
from .interval import Z95, Measure, undefined, wilson

__all__ = ["MIN_SITES", "Heterogeneity", "Pooled", "area_bounds", "hanley_mcneil_variance", "heterogeneity", "pool"]

MIN_SITES = 3
"""With fewer sites each could subtract itself and see the other."""
_ROUNDING = 0.0005
"""Published areas have three decimals."""


@dataclass(frozen=True)
class Heterogeneity:
    """Random-effects summary of the sites' AUROC. `q` on `freedom` degrees; `i2` and `p` between 0 and 1."""

    q: float
    freedom: int
    p: float
    i2: float
    tau2: float
    summary: Measure

    def to_json(self) -> dict[str, Any]:
        """As commands show it."""
        numbers = {name: getattr(self, name) for name in ("q", "freedom", "p", "i2", "tau2")}
        return {**numbers, "summary": self.summary.to_json()}


@dataclass(frozen=True)
class Pooled:
    """Measures over all sites that disclosed enough. `sites` by measure: how many contributed."""

    sites: dict[str, int]
    cases: int
    threshold: float
    measures: dict[str, Measure]
    area_low: float | None
    """Whatever the scores inside the cells are, the pooled AUROC of these cases is at least this."""
    area_high: float | None

    def to_json(self) -> dict[str, Any]:
        """As commands show it."""
        return {
            "sites": self.sites,
            "cases": self.cases,
            "threshold": self.threshold,
            "area_low": self.area_low,
            "area_high": self.area_high,
            **{name: value.to_json() for name, value in self.measures.items()},
        }


def pool(reports: Sequence[Disclosed], *, min_sites: int = MIN_SITES) -> Pooled:
    """Pool the reports of different sites. Raises ValueError when their thresholds differ."""
    if len({report.threshold for report in reports}) > 1:
        raise ValueError("the sites used different thresholds")
    threshold = reports[0].threshold if reports else 0.5
    complete = [each for each in reports if each.positive and each.negative]
    full = [(each.positive, each.negative) for each in complete if each.positive and each.negative]
    areas = [each.auroc[0] if each.auroc else None for each in complete]
    sites = {"auroc": len(full)}
    positives = [each.positive.split(threshold) for each in reports if each.positive]
    negatives = [each.negative.split(threshold) for each in reports if each.negative]
    truly_positive, truly_negative = [s for s in positives if s], [s for s in negatives if s]
    both = [(p, n) for p, n in zip(positives, negatives, strict=True) if p and n]
    brier = [(each.brier, each.cases) for each in reports if each.brier is not None and each.cases]
    sites |= {"sensitivity": len(truly_positive), "specificity": len(truly_negative), "accuracy": len(both)}
    sites["brier"] = len(brier)
    low, high = area_bounds([p for p, _ in full], [n for _, n in full], areas) if full else (None, None)
    measures = {
        "auroc": _area(full, low, high),
        "sensitivity": wilson(sum(s[1] for s in truly_positive), sum(map(sum, truly_positive))),
        "specificity": wilson(sum(s[0] for s in truly_negative), sum(map(sum, truly_negative))),
        "accuracy": wilson(sum(p[1] + n[0] for p, n in both), sum(sum(p) + sum(n) for p, n in both)),
        "brier": _weighted_mean(brier),
    }
    for name, count in sites.items():
        if count < min_sites:
            measures[name] = undefined(f"{count} of at least {min_sites} sites published what it needs")
    if sites["auroc"] < min_sites:
        low = high = None
    return Pooled(sites, sum(each.cases or 0 for each in reports), threshold, measures, low, high)


def area_bounds(
    positives: Sequence[Cells], negatives: Sequence[Cells], areas: Sequence[float | None] | None = None
) -> tuple[float, float]:
    """Least and greatest AUROC of the union of all cases that these cells allow, one of each per site.

    areas: the AUROC that each site published, rounded to three decimals; it decides the pairs inside the site.
    """
    known = list(areas) if areas is not None else [None] * len(positives)
    least = most = total = 0.0
    for at, above in enumerate(positives):
        for other, below in enumerate(negatives):
            low, high = _pair_bounds(above, below)
            area = known[at] if at == other else None
            if area is not None:
                low, high = max(low, area - _ROUNDING), min(high, area + _ROUNDING)
            pairs = above.total * below.total
            least, most, total = least + pairs * low, most + pairs * high, total + pairs
    return least / total, most / total


def _pair_bounds(above: Cells, below: Cells) -> tuple[float, float]:
    """Least and greatest share of pairs in which a case of `above` has the higher score, ties counted half."""
    upper, lower = _intervals(above), _intervals(below)
    pairs = np.outer(above.counts, below.counts).astype(np.float64)
    # A cell is [low, high): all of it is above another one when its low reaches the other's high.
    wins = upper[:, None, 0] >= lower[None, :, 1]
    losses = lower[None, :, 0] >= upper[:, None, 1]
    return float(pairs[wins].sum() / pairs.sum()), float(1 - pairs[losses].sum() / pairs.sum())


def _intervals(cells: Cells) -> Any:
    return np.array(list(pairwise(cells.edges)))


def hanley_mcneil_variance(area: float, positives: int, negatives: int) -> float:
    """Variance of an AUROC from its value and the class sizes alone."""
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    squares = (positives - 1) * (q1 - area * area) + (negatives - 1) * (q2 - area * area)
    return (area * (1 - area) + squares) / (positives * negatives)


def _area(full: Sequence[tuple[Cells, Cells]], low: float | None, high: float | None) -> Measure:
    if low is None or high is None:
        return undefined("no site published its cells")
    middle = (low + high) / 2
    positives, negatives = sum(p.total for p, _ in full), sum(n.total for _, n in full)
    # Sampling error on top of the bounds: the interval holds for every score the cells allow.
    least = logit_interval(low, hanley_mcneil_variance(low, positives, negatives))[0] if low > 0 else 0.0
    most = logit_interval(high, hanley_mcneil_variance(high, positives, negatives))[1] if high < 1 else 1.0
    return Measure(middle, least, most)


def _weighted_mean(values: Sequence[tuple[float, int]]) -> Measure:
    total = sum(cases for _, cases in values)
    if not total:
        return undefined("no site published it")
    return Measure(sum(value * cases for value, cases in values) / total, reason="squares are not published")


def heterogeneity(areas: Sequence[tuple[float, float]]) -> Heterogeneity | None:
    """Of (AUROC, standard error) per site; None with fewer than two."""
    if len(areas) < 2:
        return None
    values, errors = np.array([area for area, _ in areas]), np.array([error for _, error in areas])
    weights = 1 / errors**2
    fixed = float((weights * values).sum() / weights.sum())
    q, freedom = float((weights * (values - fixed) ** 2).sum()), len(areas) - 1
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    tau2 = max(0.0, (q - freedom) / scale)
    random = 1 / (errors**2 + tau2)
    center, half = float((random * values).sum() / random.sum()), Z95 / math.sqrt(float(random.sum()))
    summary = Measure(center, max(0.0, center - half), min(1.0, center + half))
    return Heterogeneity(q, freedom, _chi2_tail(q, freedom), max(0.0, 1 - freedom / q) if q > 0 else 0.0, tau2, summary)


def _chi2_tail(q: float, freedom: int) -> float:
    """P(chi-squared with `freedom` degrees exceeds q), by the recurrence over degrees of freedom."""
    half = q / 2
    if freedom % 2:
        tail, term, degrees = math.erfc(math.sqrt(half)), math.sqrt(half / math.pi) * 2 * math.exp(-half), 1
    else:
        tail, term, degrees = math.exp(-half), math.exp(-half) * half, 2
    while degrees < freedom:
        tail += term
        degrees += 2
        term *= q / degrees
    return min(1.0, tail)
