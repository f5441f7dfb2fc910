"""A shell of one party, into which commands of documents are typed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

__all__ = ["Terminal"]


class Terminal:
    """Bash that ends at the first failing command; variables and background programs stay from one text to the next.

    home: `~`, and where the output goes. folder: the current folder.
    """

    def __init__(self, home: Path, environment: dict[str, str], *, folder: Path | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.output = home / "terminal.log"
        self._told, tell = os.pipe()
        self._tell = tell
        with self.output.open("wb") as file:
            self._process = subprocess.Popen(
                ["bash", "-eu", "-o", "pipefail"], cwd=folder or home, env=environment | {"HOME": str(home)},
                stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, pass_fds=[tell], start_new_session=True,
            )  # fmt: skip
        os.close(tell)

    def type(self, text: str) -> None:
        """Type without waiting. What runs reads nothing from the keyboard."""
        assert self._process.stdin is not None
        typed = f"{{\n{text}\n}} </dev/null {self._tell}>&-\necho done >&{self._tell}\n"
        try:
            self._process.stdin.write(typed.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(self.tail()) from None

    def wait(self, seconds: float) -> None:
        """Until everything that was typed last is done. Raises AssertionError with the output when it failed."""
        give_up = time.monotonic() + seconds
        while not select.select([self._told], [], [], 0.2)[0]:
            assert self._process.poll() is None, self.tail()
            assert time.monotonic() < give_up, f"not done after {seconds} s\n{self.tail()}"
        assert os.read(self._told, 5) == b"done\n", self.tail()

    def run(self, text: str, seconds: float = 120) -> str:
        """Type, wait, and what was shown meanwhile."""
        before = self.output.stat().st_size
        self.type(text)
        self.wait(seconds)
        return self.output.read_bytes()[before:].decode(errors="replace")

    def tail(self) -> str:
        logs = [self.output, *sorted(each for each in self.home.rglob("*.log") if each != self.output)]
        return "".join(f"\n--- {log}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def close(self) -> None:
        """End it and whatever it left running."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
                time.sleep(0.3)
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        os.close(self._told)
