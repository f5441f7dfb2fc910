"""Counts that hide small cells, also from whoever adds and subtracts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["SMALLEST", "suppress"]

SMALLEST = 10
Key = TypeVar("Key")


def suppress(cells: Mapping[Key, int], smallest: int = SMALLEST) -> dict[Key, int | None]:
    """The cells of one partition with None for hidden ones; a zero is no secret beside a large cell.

    One cell below `smallest` hides all that are not zero: their total is known, and whichever of the others stayed
    visible would narrow it down. Without any large cell, and with a total below `smallest`, everything is hidden.
    Raises ValueError for `smallest` below 3, where two hidden ones would follow from their sum.
    """
    if smallest < 3:
        raise ValueError("the smallest cell that hides anything is 3")
    if max(cells.values(), default=0) < smallest:
        return dict.fromkeys(cells, None)
    is_hidden = any(0 < count < smallest for count in cells.values())
    return {key: None if is_hidden and count else count for key, count in cells.items()}
