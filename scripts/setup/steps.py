"""A set-up step: skipped while its inputs have not changed and its outputs are there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .paths import BUILD, ROOT


class SetupError(RuntimeError):
    """The set-up cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Step:
    """One part of the set-up."""

    name: str
    title: str
    stamp: Path
    """Written last, beside the outputs, so that deleting them also deletes it."""
    inputs: Callable[[], Iterable[str | Path]]
    """Text taken as it is; of a path the content counts."""
    outputs: Callable[[], Iterable[Path]]
    act: Callable[[], None]

    def digest(self) -> str:
        """SHA-256 over the inputs."""
        state = hashlib.sha256()
        for entry in self.inputs():
            content = entry.read_bytes() if isinstance(entry, Path) else entry.encode()
            label = str(entry.relative_to(ROOT)) if isinstance(entry, Path) else ""
            state.update(f"{label}:{len(content)}:".encode() + content)
        return state.hexdigest()

    def is_current(self) -> bool:
        """Whether there is nothing to do."""
        try:
            stamped = self.stamp.read_text()
        except OSError:
            return False
        return stamped == self.digest() and all(path.exists() for path in self.outputs())

    def run(self) -> None:
        """Do it and write the stamp, unless it is current."""
        if self.is_current():
            return
        say(f"{self.title} ...")
        started = time.monotonic()
        self.stamp.unlink(missing_ok=True)
        self.act()
        missing = [str(path) for path in self.outputs() if not path.exists()]
        if missing:
            raise SetupError(f"{self.title}: finished, but {', '.join(missing)} is not there.")
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(self.digest())
        say(f"{self.title}: done in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """Tell the user; standard output stays free for data."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def call(
    command: list[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: float | None = None,
    quiet: bool = False,
) -> str:
    """Run a command in its own process group and return its standard output.

    The whole group is ended when the set-up is interrupted, so nothing keeps running behind it.

    Raises:
        SetupError: it failed or took longer than `timeout` seconds.
    """
    pipe = subprocess.PIPE if quiet else None
    try:
        child = subprocess.Popen(
            command, cwd=cwd, env=dict(env) if env is not None else None, stdin=subprocess.DEVNULL,
            stdout=pipe if quiet else sys.stderr, stderr=subprocess.STDOUT if quiet else None,
            start_new_session=True, text=True,
        )
    except OSError as error:
        raise SetupError(f"cannot start {command[0]}: {error}") from error
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"`{' '.join(command)}` took longer than {timeout:.0f} s") from error
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode != 0:
        detail = f"\n{output.strip()}" if output else ""
        raise SetupError(f"`{' '.join(command)}` failed with exit code {child.returncode}{detail}")
    return output or ""


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold the clone's set-up lock: two `make` in one clone do not install over each other."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this clone")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def link(target: Path, name: Path) -> None:
    """Make `name` a symbolic link to `target`, replacing what is there in one move."""
    name.parent.mkdir(parents=True, exist_ok=True)
    fresh = name.with_name(f".{name.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(name)


def read_json(path: Path) -> dict[str, object]:
    """Parse a JSON object."""
    value = json.loads(path.read_text())
    if not isinstance(value, dict):
        raise SetupError(f"{path} is not a JSON object")
    return value
