"""Measures of a binary classifier at one site, from a score and a label per case.

AUROC: the Mann-Whitney statistic with ties counted half; its variance after DeLong, DeLong and Clarke-Pearson (1988),
Comparing the areas under two or more correlated receiver operating characteristic curves, Biometrics 44, 837-845, by
the midranks of Sun and Xu (2014), IEEE Signal Processing Letters 21, 1389-1393. Its interval is symmetric on the logit
scale, so it stays within 0 and 1. Proportions have Wilson's interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .interval import Z95, Measure, undefined, wilson

__all__ = ["BinaryMeasures", "auroc", "bootstrap", "delong_variance", "logit_interval", "measure_binary", "midranks"]

Floats = NDArray[np.float64]
FEW = 10
"""With fewer cases in a class an interval that rests on the normal distribution is not shown."""


@dataclass(frozen=True)
class BinaryMeasures:
    """All measures of one site. A case counts as called positive when its score is at least `threshold`."""

    cases: int
    positives: int
    threshold: float
    confusion: tuple[int, int, int, int]
    """True positives, false negatives, false positives, true negatives."""
    auroc: Measure
    sensitivity: Measure
    specificity: Measure
    accuracy: Measure
    brier: Measure
    """Mean squared difference of score and label; its interval is that of a mean of independent cases."""

    def measures(self) -> dict[str, Measure]:
        """By name."""
        names = ("auroc", "sensitivity", "specificity", "accuracy", "brier")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """As commands show it to the site itself."""
        counts = {"cases": self.cases, "positives": self.positives, "threshold": self.threshold}
        named = dict(zip(("tp", "fn", "fp", "tn"), self.confusion, strict=True))
        return {**counts, "confusion": named, **{name: value.to_json() for name, value in self.measures().items()}}


def check_cases(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores float64 [n] and labels bool [n]. Raises ValueError for other shapes, labels or non-finite scores."""
    given, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if given.ndim != 1 or given.shape != truth.shape:
        raise ValueError(f"scores {given.shape} and labels {truth.shape} must be two vectors of one length")
    if not np.isfinite(given).all():
        raise ValueError("a score is not finite")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return given, truth.astype(bool)


def midranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2)[where]
    return shared


def delong_variance(positive: Floats, negative: Floats) -> tuple[float, float]:
    """AUROC and DeLong's variance of it; both classes need two cases for the variance, else it is NaN."""
    m, n = len(positive), len(negative)
    both = midranks(np.concatenate([positive, negative]))
    # Share of the other class that each case beats: the structural components V10 and V01.
    of_positive = (both[:m] - midranks(positive)) / n
    of_negative = 1.0 - (both[m:] - midranks(negative)) / m
    area = float(of_positive.mean())
    if m < 2 or n < 2:
        return area, math.nan
    return area, float(of_positive.var(ddof=1) / m + of_negative.var(ddof=1) / n)


def logit_interval(value: float, variance: float, *, z: float = Z95) -> tuple[float, float]:
    """Interval of a share strictly between 0 and 1, symmetric on the logit scale (delta method)."""
    center, half = math.log(value / (1 - value)), z * math.sqrt(variance) / (value * (1 - value))
    return tuple(1 / (1 + math.exp(-bound)) for bound in (center - half, center + half))  # type: ignore[return-value]


def auroc(scores: ArrayLike, labels: ArrayLike) -> Measure:
    """Area under the ROC curve with DeLong's interval. Raises ValueError as `check_cases` does."""
    given, truth = check_cases(scores, labels)
    positive, negative = given[truth], given[~truth]
    if not len(positive) or not len(negative):
        kind = "positive" if len(negative) else "negative"
        return undefined("no cases" if not len(given) else f"no {kind} cases")
    value, variance = delong_variance(positive, negative)
    if min(len(positive), len(negative)) < FEW:
        return Measure(value, reason=f"fewer than {FEW} cases in a class")
    if not 0 < value < 1 or variance <= 0:
        return Measure(value, reason="the scores separate the classes completely, so the variance cannot be estimated")
    low, high = logit_interval(value, variance)
    return Measure(value, low, high)


def measure_binary(scores: ArrayLike, labels: ArrayLike, *, threshold: float = 0.5) -> BinaryMeasures:
    """Every measure of one site. Scores are probabilities of label 1. Raises ValueError as `check_cases` does."""
    given, truth = check_cases(scores, labels)
    if len(given) and (given.min() < 0 or given.max() > 1):
        raise ValueError("scores must be probabilities between 0 and 1")
    said = given >= threshold
    tp, fn = int((said & truth).sum()), int((~said & truth).sum())
    fp, tn = int((said & ~truth).sum()), int((~said & ~truth).sum())
    return BinaryMeasures(
        cases=len(given),
        positives=tp + fn,
        threshold=threshold,
        confusion=(tp, fn, fp, tn),
        auroc=auroc(given, truth),
        sensitivity=wilson(tp, tp + fn) if tp + fn else undefined("no positive cases"),
        specificity=wilson(tn, tn + fp) if tn + fp else undefined("no negative cases"),
        accuracy=wilson(tp + tn, len(given)),
        brier=_mean((given - truth) ** 2),
    )


def _mean(values: Floats) -> Measure:
    if not len(values):
        return undefined("no cases")
    value = float(values.mean())
    if len(values) < FEW:
        return Measure(value, reason=f"fewer than {FEW} cases")
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Measure(value, max(0.0, value - half), min(1.0, value + half))


def bootstrap(scores: ArrayLike, labels: ArrayLike, *, seed: int, samples: int = 2000) -> Measure:
    """AUROC with the percentile interval of a stratified bootstrap; the same seed gives the same interval."""
    given, truth = check_cases(scores, labels)
    found = auroc(given, truth)
    positive, negative = given[truth], given[~truth]
    if found.value is None or min(len(positive), len(negative)) < FEW:
        return found
    random = np.random.default_rng(seed)
    areas = np.empty(samples)
    for at in range(samples):
        drawn = (random.choice(positive, len(positive)), random.choice(negative, len(negative)))
        areas[at] = delong_variance(*drawn)[0]
    low, high = np.quantile(areas, (0.025, 0.975))
    return Measure(found.value, float(low), float(high))
