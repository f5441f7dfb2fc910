"""Which phase a round is in: a pure function of what was written down and of the time.

The twin of ``contracts/libraries/RoundClock.sol``. A call that completes a phase writes ``mark`` = now; a phase that
timed out ended at its deadline, and the next one starts there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from collegium.records import Phase

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_ORDER",
    "Clock",
    "Rules",
    "Tally",
    "catch_up",
    "compute_deadline",
    "compute_quorum",
    "pass_on",
]

#: failed duties after which a round aborts
MAX_ATTEMPTS = 3
#: most aggregators in the order of one round
MAX_ORDER = 16


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a round was when it was last written down. ``mark`` in seconds; bitmaps of positions in the order."""

    phase: Phase
    mark: int
    attempt: int = 0
    position: int = 0
    excluded: int = 0
    failed_duties: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the plan and the roster snapshot fix. Windows in seconds."""

    commit_window: int
    reveal_window: int
    certify_window: int
    propose_window: int
    challenge_window: int
    min_clients: int
    quorum: int
    order_size: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many members did what so far; ``endorsed`` counts for the live proposal."""

    active: int
    committed: int = 0
    revealed: int = 0
    certified: int = 0
    endorsed: int = 0


def compute_quorum(quorum_min: int, members: int) -> int:
    """K = max(quorumMin, N/2 + 1) on the snapshot of N members."""
    return max(quorum_min, members // 2 + 1)


def compute_deadline(clock: Clock, rules: Rules) -> int:
    """Deadline of the phase in seconds; 0 for a phase without one. A phase holds for mark <= t < deadline."""
    window = {
        Phase.COMMIT: rules.commit_window,
        Phase.REVEAL: rules.reveal_window,
        Phase.CERTIFY: rules.certify_window,
        Phase.PROPOSE: rules.propose_window,
        Phase.CHALLENGE: rules.challenge_window,
    }.get(clock.phase)
    return 0 if window is None else clock.mark + window


def catch_up(clock: Clock, rules: Rules, tally: Tally, now: int) -> Clock:
    """The clock at ``now``: timeouts applied until none is due."""
    while (moved := _step(clock, rules, tally, now)) is not None:
        clock = moved
    return clock


def _step(clock: Clock, rules: Rules, tally: Tally, now: int) -> Clock | None:
    # Unanimity needs no waiting.
    if clock.phase is Phase.CHALLENGE and tally.endorsed >= tally.active:
        return replace(clock, phase=Phase.FINAL)
    deadline = compute_deadline(clock, rules)
    if deadline == 0 or now < deadline:
        return None
    clock = replace(clock, mark=deadline)
    enough = {
        Phase.COMMIT: (tally.committed, Phase.REVEAL),
        Phase.REVEAL: (tally.revealed, Phase.CERTIFY),
        Phase.CERTIFY: (tally.certified, Phase.PROPOSE),
    }.get(clock.phase)
    if enough is not None:
        done, following = enough
        return replace(clock, phase=Phase.ABORTED if done < rules.min_clients else following)
    if clock.phase is Phase.PROPOSE:
        failed = clock.failed_duties | 1 << clock.position
        return pass_on(replace(clock, failed_duties=failed), rules.order_size)
    if tally.endorsed >= rules.quorum:
        return replace(clock, phase=Phase.FINAL)
    return pass_on(clock, rules.order_size)


def pass_on(clock: Clock, order_size: int) -> Clock:
    """One more try failed: the next position that is not excluded is on duty; none, or three failures, abort."""
    clock = replace(clock, attempt=clock.attempt + 1, phase=Phase.ABORTED)
    if clock.attempt >= MAX_ATTEMPTS:
        return clock
    for distance in range(1, order_size + 1):
        position = (clock.position + distance) % order_size
        if not clock.excluded >> position & 1:
            return replace(clock, phase=Phase.PROPOSE, position=position)
    return clock
