"""The server step: from base model and mean to the new model, in exact integers.

FedAvg: saturate(model + floorDiv(2 D n + d, 2 d)) with server rate n/d; saturates at +-(2^31 - 1).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.aggregation import BLOCK, INT64_LIMIT, each_range
from collegium.errors import ArithmeticBoundError, PlanRejectedError, ShapeError
from collegium.records import MAX_SEATS, ElementType, Format, Mode, Optimizer, Plan, Rule

__all__ = ["SATURATION", "check_plan", "compute_step", "fedavg_step"]

SATURATION = 2**31 - 1
_MAX_LEAVES = 1 << 32
_MAX_EVIDENCE = 131_072 - 1_024


def compute_step(model: int, mean: int, *, numerator: int, denominator: int) -> int:
    """The step of one coordinate in plain integers: what the Referee computes."""
    moved = model + (2 * mean * numerator + denominator) // (2 * denominator)
    return max(-SATURATION, min(SATURATION, moved))


def fedavg_step(
    model: NDArray[Any],
    mean: NDArray[Any],
    *,
    numerator: int,
    denominator: int,
    count: int | None = None,
    out: NDArray[np.int32] | None = None,
    threads: int = 1,
) -> NDArray[np.int32]:
    """New model elements (int32) from model and mean elements (int32) of one length.

    Elements from ``count`` on are padding and become 0. Raises ``ShapeError``, or ``ArithmeticBoundError`` when
    rate and mean exceed 64 bits, which no mean within its format's bound does.
    """
    if model.ndim != 1 or model.shape != mean.shape:
        raise ShapeError(f"Model and mean differ in shape: {model.shape} and {mean.shape}.")
    if model.dtype != np.dtype("<i4") or mean.dtype != np.dtype("<i4"):
        raise ShapeError(f"Model and mean are int32, not {model.dtype} and {mean.dtype}.")
    if denominator < 1 or numerator < 0 or 2 * denominator >= INT64_LIMIT:
        raise ArithmeticBoundError(f"The server rate {numerator}/{denominator} is out of range.")
    used = model.size if count is None else count
    if out is None:
        out = np.empty(model.size, dtype="<i4")
    out[used:] = 0
    each_range(used, threads, functools.partial(_step_range, model, mean, numerator, denominator, out))
    return out


def _step_range(
    model: NDArray[Any],
    mean: NDArray[Any],
    numerator: int,
    denominator: int,
    out: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    moved = np.empty(min(BLOCK, max(stop - start, 1)), dtype=np.int64)
    for at in range(start, stop, BLOCK):
        size = min(BLOCK, stop - at)
        part, work = mean[at : at + size], moved[:size]
        np.copyto(work, part)
        if numerator != denominator:
            largest = max(int(part.max()), -int(part.min()))
            if 2 * largest * numerator + denominator >= INT64_LIMIT:
                raise ArithmeticBoundError(
                    f"A mean element of {largest} and the rate {numerator}/{denominator} exceed 64 bits.",
                    hint="This mean is outside the bound of its format.",
                )
            work *= 2 * numerator
            work += denominator
            np.floor_divide(work, 2 * denominator, out=work)
        work += model[at : at + size]
        np.clip(work, -SATURATION, SATURATION, out=work)
        np.copyto(out[at : at + size], work, casting="unsafe")


def check_plan(plan: Plan, fmt: Format) -> None:
    """The Referee's creation checks. Raises ``PlanRejectedError`` with the Referee's ``reason`` number."""
    # Only what the referee has rules for.
    _require(plan.mode == Mode.OPEN, 1, "The mode must be Open.")
    _require(plan.rule == Rule.WEIGHTED_MEAN, 2, "The rule must be the weighted mean.")
    _require(plan.optimizer == Optimizer.FEDAVG, 3, "The optimizer must be FedAvg.")
    _require(len(fmt.sections) == 1, 4, "The format must have one section.")
    section = fmt.sections[0]
    _require(section.element_type == ElementType.INT32, 5, "Elements must be int32.")
    _require(section.first_chunk == 0, 6, "The first section must begin at chunk 0.")
    _require(1 <= section.bound <= SATURATION, 7, "The bound must be between 1 and 2^31 - 1.")
    _require(section.count >= 1 and section.chunks <= _MAX_LEAVES, 8, "The format must have 1 to 2^38 elements.")

    # A round must be possible with the members that the plan allows.
    members = plan.max_members
    _require(1 <= members <= MAX_SEATS, 9, f"maxMembers must be between 1 and {MAX_SEATS}.")
    _require(1 <= plan.quorum_min <= members, 10, "quorumMin must be between 1 and maxMembers.")
    _require(1 <= plan.min_clients <= members, 11, "minClients must be between 1 and maxMembers.")
    _require(plan.max_weight >= 1, 12, "maxWeight must be at least 1.")

    # Nothing overflows in 64 bits, whatever the members send.
    reach = members * plan.max_weight * (2 * section.bound + 1)
    _require(reach < INT64_LIMIT, 13, "maxMembers * maxWeight * (2 * bound + 1) must be below 2^63.")
    _require(plan.rate_denominator >= 1, 14, "The rate's denominator must be at least 1.")
    _require(2 * plan.rate_denominator < INT64_LIMIT, 15, "The rate's denominator must be below 2^62.")
    step = 2 * section.bound * plan.rate_numerator + plan.rate_denominator
    _require(step < INT64_LIMIT, 16, "2 * bound * numerator + denominator must be below 2^63.")

    # The largest evidence must fit a transaction, or a large study could not be judged.
    opening = 256 + 32 * fmt.depth
    evidence = 5 + members * (68 + opening) + opening
    _require(evidence <= _MAX_EVIDENCE, 17, f"Evidence of {evidence} bytes would not fit a transaction.")

    # A fault without a price is not a rule; smaller faults cost the aggregator less than a proven lie.
    bond = plan.aggregator_bond
    _require(bond >= 1, 18, "The aggregator bond must be positive.")
    fines = (plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine)
    _require(min(fines) >= 1, 19, "Every client fine must be positive.")
    _require(1 <= plan.duty_fine <= bond, 20, "The duty fine must be positive and at most the bond.")
    _require(1 <= plan.contradiction_fine < bond, 21, "The contradiction fine must be positive and below the bond.")


def _require(condition: bool, reason: int, message: str) -> None:
    if not condition:
        raise PlanRejectedError(message, hint="Change the plan before creating the study.", reason=reason)
