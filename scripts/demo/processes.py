"""Every process of the demo: commands are printed as a user would type them, and nothing outlives the demo."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.setup import supervise
from scripts.setup.paths import ROOT, VENV, VENV_PYTHON, environment

__all__ = ["CommandFailed", "Finished", "Processes", "Service", "typed"]

COMMAND_SECONDS = 120.0
STOP_SECONDS = 8.0


class CommandFailed(RuntimeError):
    """A command of the demo ended badly; the message carries what it said."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended. data: the `data` of its JSON envelope, or its last JSON line."""

    code: int
    data: Any
    stdout: str
    stderr: str


@dataclass
class Service:
    """A process that runs until it is stopped. log: both of its streams."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 15) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


@dataclass
class Processes:
    """Starts, prints, and ends them all. say: prints one line."""

    say: Callable[[str], None]
    logs: Path
    services: list[Service] = field(default_factory=list)
    _running: set[subprocess.Popen[Any]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: bool = False

    def run(
        self,
        who: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        seconds: float = COMMAND_SECONDS,
    ) -> Finished:
        """Run to the end. Raises CommandFailed on a bad exit code when `check`."""
        argv = [str(part) for part in command]
        self.say(show(who, argv))
        process = subprocess.Popen(
            resolve(argv),
            cwd=ROOT,
            env=child_environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_be_a_child,
        )
        self._add(process)
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            stdout, stderr = process.communicate()
            raise CommandFailed(f"{show(who, argv)}\n  took longer than {seconds:.0f} s\n{stderr}") from error
        finally:
            with self._lock:
                self._running.discard(process)
        with (self.logs / f"{who}.commands.log").open("a") as log:
            log.write(f"{show(who, argv)}\n{stdout}{stderr}-> {process.returncode}\n")
        if check and process.returncode != 0:
            raise CommandFailed(f"{show(who, argv)}\n  ended with {process.returncode}\n{stdout}{stderr}".rstrip())
        return Finished(process.returncode, _parse(stdout), stdout, stderr)

    def start(self, who: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Service:
        """Start and leave running. Only from the main thread: Linux ends the child with the thread that started it."""
        assert threading.current_thread() is threading.main_thread()
        argv = [str(part) for part in command]
        self.say(show(who, argv) + " &")
        log = self.logs / f"{who}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                resolve(argv),
                cwd=ROOT,
                env=child_environment({"PYTHONUNBUFFERED": "1", **(env or {})}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_be_a_child,
            )
        self._add(process)
        service = Service(who, process, log)
        self.services.append(service)
        return service

    def check_alive(self, *allowed_to_end: str) -> None:
        """Raises CommandFailed when a service has ended."""
        for service in self.services:
            if not service.is_alive and service.name not in allowed_to_end:
                code = service.process.returncode
                raise CommandFailed(f"{service.name} ended with {code}; the end of {service.log}:\n{service.tail()}")

    def stop(self) -> None:
        """End everything: ask, insist, and sweep up what the processes themselves started."""
        with self._lock:
            self._stopping = True
            running = [process for process in self._running if process.poll() is None]
        for process in running:
            _signal(process, signal.SIGINT)
        give_up = time.monotonic() + STOP_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.05, give_up - time.monotonic()))
        for process in running:
            if process.poll() is None:
                _signal(process, signal.SIGKILL)
                process.wait()

    def _add(self, process: subprocess.Popen[Any]) -> None:
        with self._lock:
            if self._stopping:
                process.kill()
                raise CommandFailed("interrupted")
            self._running.add(process)


def show(who: str, argv: Sequence[str]) -> str:
    """A command as it would be typed in the root of the clone."""
    return f"[{who}] $ {typed(argv)}"


def typed(argv: Sequence[str]) -> str:
    """A command line with paths relative to the root of the clone."""
    return shlex.join(word.replace(f"{ROOT}{os.sep}", "") for word in argv)


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours with `extra`. Dozens of short processes start: each reads compiled modules instead of compiling anew."""
    values = environment(dict(os.environ) | dict(extra))
    values.pop("PYTHONDONTWRITEBYTECODE", None)
    return values


def resolve(argv: Sequence[str]) -> list[str]:
    """Programs of the virtual environment by full path."""
    name = argv[0]
    if name == "python":
        return [str(VENV_PYTHON), *argv[1:]]
    own = VENV / "bin" / name
    return [str(own) if own.exists() else name, *argv[1:]]


def sweep() -> None:
    """End orphans of ended processes, if there are any."""
    if supervise.find_descendants():
        supervise.sweep()


def adopt_orphans() -> None:
    """From now on orphans of our processes become ours, so that `sweep` finds them (Linux)."""
    supervise.prctl(supervise.PR_SET_CHILD_SUBREAPER, 1)


def _be_a_child() -> None:
    """End with the demo, however the demo ends; leave Ctrl-C to the demo."""
    supervise.prctl(supervise.PR_SET_PDEATHSIG, signal.SIGTERM)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)


def _signal(process: subprocess.Popen[Any], signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum) if sys.platform != "win32" else process.send_signal(signum)


def _parse(stdout: str) -> Any:
    """Data of the envelope, or of the last line that is JSON; None when there is none."""
    for text in (stdout, stdout.strip().rpartition("\n")[2]):
        with contextlib.suppress(ValueError):
            found = json.loads(text)
            return found.get("data", found) if isinstance(found, dict) else found
    return None
