"""Named points at which a process can be killed on purpose, right before or after something durable.

A module registers its names when it is imported and calls `crashpoint(name)` where they lie. With
`COLLEGIUM_CRASH_AT=name` (or `name:3` for the third pass) the process kills itself there with SIGKILL;
otherwise a point costs one comparison. Tests enumerate `registered()` and kill at each.
"""

from __future__ import annotations

import os
import signal

__all__ = ["crashpoint", "register", "registered"]

_names: set[str] = set()
_target, _, _pass = os.environ.get("COLLEGIUM_CRASH_AT", "").partition(":")
_passes_left = int(_pass or "1")


def register(*names: str) -> None:
    """Declare crash points, as `part.what_just_happened`."""
    _names.update(names)


def registered() -> tuple[str, ...]:
    """Every name declared by the modules imported so far, sorted."""
    return tuple(sorted(_names))


def crashpoint(name: str) -> None:
    """Kill this process here when the environment asks for it."""
    global _passes_left
    if not _target:
        return
    if name not in _names:
        raise AssertionError(f"crash point {name!r} is not registered")
    if name == _target:
        _passes_left -= 1
        if _passes_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
