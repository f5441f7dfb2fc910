"""Counts that hide small cells, also from whoever adds and subtracts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["SMALLEST", "suppress"]

SMALLEST = 10
Key = TypeVar("Key")


def suppress(cells: Mapping[Key, int], smallest: int = SMALLEST) -> dict[Key, int | None]:
    """The cells of one partition with None for hidden ones; zero is no secret.

    A cell below `smallest` is hidden. So is then the smallest of the others, because their total is known and one
    hidden cell alone could be computed from it. A total below `smallest` hides every cell. Raises ValueError for
    `smallest` below 3, where two hidden cells of 1 would follow from their sum.
    """
    if smallest < 3:
        raise ValueError("the smallest cell that hides anything is 3")
    present = {key: count for key, count in cells.items() if count}
    if sum(present.values()) < smallest:
        return dict.fromkeys(cells, None)
    hidden = {key for key, count in present.items() if count < smallest}
    if hidden:
        rest = {key: count for key, count in present.items() if key not in hidden}
        if not rest:
            # Only small cells: which of them are empty would tell too much about the others.
            return dict.fromkeys(cells, None)
        hidden.add(min(rest, key=lambda key: rest[key]))
    return {key: None if key in hidden else count for key, count in cells.items()}
