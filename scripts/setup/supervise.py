"""`python -m scripts.setup.supervise COMMAND ...`: run it with this clone's tools, and leave no process.

An interrupt goes to the command first, so that it can end its own processes in order. Whatever is still
there after a grace period, or after the command has ended in any way, is ended here, orphans included.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from . import paths

ORDERLY_SECONDS = 20.0
TERMINATE_SECONDS = 5.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def prctl(option: int, value: int) -> None:
    """Linux process control; elsewhere nothing happens."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def read_parents() -> dict[int, int]:
    """Parent of every live process of this machine."""
    parents: dict[int, int] = {}
    if Path("/proc/self/stat").exists():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    # The name in parentheses may hold anything; the state and the parent follow it.
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    if state != "Z":
                        parents[int(entry.name)] = int(parent)
        return parents
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=False)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()[:3]
        if not state.startswith("Z"):
            parents[int(pid)] = int(parent)
    return parents


def find_descendants() -> list[int]:
    """Every live process below this one; on Linux orphans too, since they come back to this one."""
    parents = read_parents()
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = list(children.get(os.getpid(), []))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, []))
    return found


def reap() -> None:
    """Collect ended orphans, so that they do not count as live."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def send(pids: list[int], signum: int) -> None:
    """Signal each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def sweep() -> int:
    """End every descendant, asking first; returns how many there were."""
    first = find_descendants()
    send(first, signal.SIGTERM)
    deadline = time.monotonic() + TERMINATE_SECONDS
    while find_descendants() and time.monotonic() < deadline:
        time.sleep(0.05)
        reap()
    while left := find_descendants():
        send(left, signal.SIGKILL)
        time.sleep(0.02)
        reap()
    return len(first)


class Interrupts:
    """Counts interrupts and hands the first to the command."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0
        self.child: subprocess.Popen[bytes] | None = None
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self.receive)

    def receive(self, signum: int, _frame: FrameType | None) -> None:
        """SIGINT whatever came: it is what Python programs clean up after."""
        self.count += 1
        if self.count == 1:
            self.since = time.monotonic()
            if self.child is not None and self.child.poll() is None:
                self.child.send_signal(signal.SIGINT)

    def exhausted(self) -> bool:
        """Whether the command had its time, or the user insists."""
        return self.count > 1 or (self.count == 1 and time.monotonic() - self.since > ORDERLY_SECONDS)


def main(command: list[str]) -> int:
    """Exit code of the command; 130 after an interrupt."""
    if not command:
        print("usage: python -m scripts.setup.supervise COMMAND ...", file=sys.stderr)
        return 2
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    interrupts = Interrupts()
    environment = paths.environment()
    # Python looks a command up in its own PATH, not in the one it passes on.
    command = [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]]

    def prepare() -> None:
        os.setpgid(0, 0)  # the terminal's interrupt comes through us, once
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        child = subprocess.Popen(command, preexec_fn=prepare, env=environment)
    except OSError as error:
        print(f"cannot start {command[0]}: {error}", file=sys.stderr)
        return 127
    interrupts.child = child
    if interrupts.count and child.poll() is None:
        child.send_signal(signal.SIGINT)
    while child.poll() is None and not interrupts.exhausted():
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.2)
    code = child.poll()
    left = sweep()
    if left and code is not None and not interrupts.count:
        print(f"note: {left} process(es) were still running after the command and have been ended",
              file=sys.stderr)
    if interrupts.count:
        return 130
    return code if code is not None and code >= 0 else 128 - (code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
