"""A role in a process of its own, to be killed: `python -m tests.flows.killed hospital|coordinator|watcher HOME`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from .roles import open_coordinator, open_hospital, open_watcher


def main(role: str, home: Path) -> None:
    """Run until SIGTERM; Ctrl-C is left as it is."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if role == "hospital":
        with open_hospital(home) as node:
            node.run(stop=stop)
    elif role == "watcher":
        with open_watcher(home) as watcher:
            watcher.run(stop=stop)
    else:
        with open_coordinator(home) as coordinator:
            coordinator.run(stop)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
