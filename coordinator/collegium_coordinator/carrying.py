"""When a batch of signed messages is carried to the chain, and by whom first.

Every coordinator hears every message. The one whose rank is 0 carries at once when a batch is complete;
the others wait their turn and carry only what the chain still lacks. Nothing here can hurt a hospital:
one whose message is not carried in time carries it itself.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CarryPolicy", "is_due"]


@dataclass(frozen=True)
class CarryPolicy:
    """gather: share of a phase's window to wait for an incomplete batch. stagger: share waited more per rank."""

    gather: float = 0.25
    stagger: float = 0.15

    def wait(self, window: float, rank: int) -> float:
        return window * (self.gather + self.stagger * rank)


def is_due(policy: CarryPolicy, *, complete: bool, rank: int, phase_start: float, window: float, now: float) -> bool:
    """Whether this coordinator carries what it holds.

    complete: nothing more can come for this batch.
    phase_start, now: unix seconds; window: seconds.
    """
    if complete:
        return now >= phase_start + window * policy.stagger * rank
    return now >= phase_start + policy.wait(window, rank)
