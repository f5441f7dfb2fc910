"""A measure with its confidence interval, or the reason why it has none.

Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209-212.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Z95", "Measure", "undefined", "wilson"]

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Measure:
    """`value` with the 95 % interval `[low, high]`; None where undefined, `reason` then says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def to_json(self) -> dict[str, Any]:
        """As commands and reports show it."""
        found: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high}
        return {**found, "reason": self.reason} if self.reason else found

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.reason}"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} (no interval: {self.reason})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def undefined(reason: str) -> Measure:
    """No value, and why."""
    return Measure(None, reason=reason)


def wilson(successes: int, trials: int, *, z: float = Z95) -> Measure:
    """A proportion with Wilson's score interval. Raises ValueError unless 0 <= successes <= trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return undefined("no cases")
    share = successes / trials
    factor = 1 + z * z / trials
    center = (share + z * z / (2 * trials)) / factor
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / factor
    # At 0 and 1 rounding must not move the end that is exact.
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == trials else min(1.0, center + half)
    return Measure(share, low, high)
