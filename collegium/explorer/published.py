"""The plan that people read, as far as a page shows it. It lies in a store and anybody may have written it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

__all__ = ["Published", "read_published"]

_TENSORS = 10_000


@dataclass(frozen=True, slots=True)
class Published:
    """title, description: foreign text. tensors: (name, shape) in payload order."""

    title: str
    description: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]

    def place_of(self, coordinate: int) -> str:
        """The element's tensor and position in it, as NumPy indexes it; empty when it is in none."""
        for name, shape in self.tensors:
            size = math.prod(shape)
            if coordinate < size:
                at = []
                for length in reversed(shape):
                    coordinate, position = divmod(coordinate, length)
                    at.append(position)
                return f"{name}[{', '.join(str(each) for each in reversed(at))}]" if at else name
            coordinate -= size
        return ""


def read_published(content: bytes | None) -> Published | None:
    """None when it cannot be read; nothing in it is believed beyond being text and numbers."""
    if content is None:
        return None
    try:
        found = json.loads(content)
        tensors = tuple(
            (str(row["name"]), tuple(int(size) for size in row["shape"]))
            for row in found.get("format", {}).get("tensors", ())[:_TENSORS]
        )
        if any(size < 1 for _, shape in tensors for size in shape):
            return None
        return Published(str(found.get("title", "")), str(found.get("description", "")), tensors)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
