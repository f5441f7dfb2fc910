"""The mean of a round: exact integers, streamed in blocks that stay in cache.

S = sum of w_i * clamp(v_i, -B, B), W = sum of w_i, D = floorDiv(2 S + W, 2 W): the weighted mean, rounded half up.
Memory is the result and a few blocks, however many clients there are; sources may be arrays or memory maps.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.errors import ArithmeticBoundError, ShapeError
from collegium.records import CHUNK_ELEMENTS, MAX_SEATS, Format, Section

__all__ = ["BLOCK", "INT64_LIMIT", "Source", "aggregate", "compute_mean", "each_range", "weighted_mean"]

INT64_LIMIT = 1 << 63
#: elements of a block: three int64 and int32 buffers of it fit the second-level cache
BLOCK = 1 << 16

#: int32 elements of one update, or of a part of it: an array or a memory map
Source = NDArray[Any]


def compute_mean(elements: Sequence[int], weights: Sequence[int], *, bound: int, weighted: bool = True) -> int:
    """The mean of one coordinate in plain integers: what the Referee computes."""
    factors = list(weights) if weighted else [1] * len(weights)
    total = sum(w * max(-bound, min(bound, e)) for w, e in zip(factors, elements, strict=True))
    return (2 * total + sum(factors)) // (2 * sum(factors))


def _check(updates: Sequence[Source], weights: Sequence[int], bound: int, factors: Sequence[int]) -> int:
    if not updates or len(updates) != len(weights):
        raise ShapeError(f"{len(updates)} updates need as many weights, not {len(weights)}.")
    if len(updates) > MAX_SEATS:
        raise ArithmeticBoundError(f"A round has at most {MAX_SEATS} updates, not {len(updates)}.")
    if any(not 1 <= weight < 1 << 32 for weight in weights):
        raise ArithmeticBoundError("Every weight is between 1 and 2^32 - 1.")
    if not 1 <= bound < 1 << 31:
        raise ArithmeticBoundError(f"The bound is between 1 and 2^31 - 1, not {bound}.")
    if sum(factors) * (2 * bound + 1) >= INT64_LIMIT:
        raise ArithmeticBoundError("These weights and this bound exceed 64 bits.", hint="Lower maxWeight.")
    size = updates[0].size
    for update in updates:
        if update.ndim != 1 or update.size != size or update.dtype != np.dtype("<i4"):
            raise ShapeError(f"An update has {update.size} elements of {update.dtype}, expected {size} of int32.")
    return size


def each_range(size: int, threads: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(start, stop)`` over 0..size, on as many threads; ranges begin at whole blocks."""
    blocks = -(-size // BLOCK)
    threads = max(1, min(threads, blocks))
    if threads == 1:
        work(0, size)
        return
    cuts = [min(size, blocks * i // threads * BLOCK) for i in range(threads + 1)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for done in [pool.submit(work, a, b) for a, b in itertools.pairwise(cuts)]:
            done.result()


def weighted_mean(
    updates: Sequence[Source],
    weights: Sequence[int],
    *,
    bound: int,
    weighted: bool = True,
    count: int | None = None,
    out: NDArray[np.int32] | None = None,
    threads: int = 1,
) -> NDArray[np.int32]:
    """Mean of int32 updates of equal length, written to ``out`` when given.

    Elements from ``count`` on are padding: 0 in the result, whatever the updates say. The result does not depend
    on ``threads``. Raises ``ShapeError`` or ``ArithmeticBoundError``.
    """
    factors = list(weights) if weighted else [1] * len(weights)
    size = _check(updates, weights, bound, factors)
    used = size if count is None else count
    if not 0 <= used <= size:
        raise ShapeError(f"{used} elements do not fit a payload of {size}.")
    if out is None:
        out = np.empty(size, dtype="<i4")
    elif out.shape != (size,) or out.dtype != np.dtype("<i4"):
        raise ShapeError(f"The result needs {size} int32 elements.")
    out[used:] = 0
    # Slicing a plain view of a memory map is much cheaper than slicing the map.
    plain = [np.asarray(update) for update in updates]
    each_range(used, threads, functools.partial(_mean_range, plain, factors, bound, out))
    return out


def _mean_range(
    updates: Sequence[Source], factors: Sequence[int], bound: int, out: NDArray[np.int32], start: int, stop: int
) -> None:
    width = min(BLOCK, max(stop - start, 1))
    sums = np.empty(width, dtype=np.int64)
    terms = np.empty(width, dtype=np.int64)
    total = sum(factors)
    for at in range(start, stop, BLOCK):
        size = min(BLOCK, stop - at)
        acc, term = sums[:size], terms[:size]
        for position, (update, factor) in enumerate(zip(updates, factors, strict=True)):
            part = update[at : at + size]
            target = term if position else acc
            # Honest updates are in range, and looking costs less than clamping.
            if part.max() > bound or part.min() < -bound:
                np.clip(part, -bound, bound, out=target)
            else:
                np.copyto(target, part)
            if factor != 1:
                target *= factor
            if position:
                acc += term
        acc *= 2
        acc += total
        np.floor_divide(acc, 2 * total, out=acc)
        np.copyto(out[at : at + size], acc, casting="unsafe")


def _span(section: Section) -> slice:
    first = section.first_chunk * CHUNK_ELEMENTS
    return slice(first, first + section.chunks * CHUNK_ELEMENTS)


def aggregate(
    updates: Sequence[Source],
    weights: Sequence[int],
    fmt: Format,
    *,
    out: NDArray[np.int32] | None = None,
    threads: int = 1,
) -> NDArray[np.int32]:
    """``weighted_mean`` of whole payloads, section by section."""
    if any(update.shape != (fmt.elements,) for update in updates):
        raise ShapeError(f"Every update of this format has {fmt.elements} elements.")
    if out is None:
        out = np.empty(fmt.elements, dtype="<i4")
    for section in fmt.sections:
        span = _span(section)
        weighted_mean(
            [update[span] for update in updates],
            weights,
            bound=section.bound,
            weighted=section.weighted,
            count=section.count,
            out=out[span],
            threads=threads,
        )
    return out
