"""`python3 -m scripts.setup [STEP ...]`: bring this clone up to date, doing only what changed."""

from __future__ import annotations

import signal
import sys
from types import FrameType

if sys.version_info < (3, 9):  # noqa: UP036 - this file runs under whatever Python is there
    sys.exit("setup: Python 3.9 or newer is needed to set up, 3.11 or 3.12 to run.")

from .contracts import COMPILED
from .ethereum_tools import COMPILER, NODE
from .kubo import KUBO
from .python_packages import OURSELVES, PACKAGES
from .steps import SetupError, Step, exclusive, say

DEFAULT: tuple[Step, ...] = (PACKAGES, OURSELVES, NODE, COMPILER, COMPILED)
STEPS: dict[str, Step] = {step.name: step for step in (*DEFAULT, KUBO)}


def interrupt(signum: int, _frame: FrameType | None) -> None:
    """Leave through the `finally` blocks, which end the children."""
    raise SystemExit(128 + signum)


def main(names: list[str]) -> int:
    """Run the named steps, without names all but Kubo."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        say(f"unknown step {', '.join(unknown)}. Steps: {', '.join(STEPS)}.")
        return 2
    steps = [STEPS[name] for name in names] if names else list(DEFAULT)
    if all(step.is_current() for step in steps):
        return 0
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
    try:
        with exclusive():
            for step in steps:
                step.run()
    except SetupError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
