"""A process that appends to an egress log: `python -m tests.egress.writer FILE NAME COUNT`."""

from __future__ import annotations

import sys
from pathlib import Path

from collegium.egress import EgressLog, about

if __name__ == "__main__":
    log = EgressLog(Path(sys.argv[1]))
    for number in range(int(sys.argv[3])):
        with about(1, number):
            log.record("message", "http://127.0.0.1:1", f"{sys.argv[2]} {number}".encode(), who=sys.argv[2])
