"""A task: the code that a study trains, known by the digest of its bytes and run only when approved.

A task file defines a class `Task(collegium_client.Task)`. This module never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from collegium.errors import TaskNotApprovedError

from .errors import TaskInvalid

__all__ = ["ENTRY", "ApprovedTask", "Approvals", "Task", "TaskSource"]

ENTRY = "task.py"
MAX_SOURCE_BYTES = 16 << 20


class Task:
    """Model, data, loss and metrics of a study. Subclass it under the name `Task` in a task file.

    Trainable parameters are federated; buffers such as batch-norm statistics stay at the institution.
    """

    epochs: int = 1
    """Passes over the local data per round."""
    batch_size: int = 32
    lr: float = 0.1
    optimizer: str = "sgd"
    """`sgd`, `adam` or `adamw`."""
    momentum: float = 0.0
    weight_decay: float = 0.0
    autocast: bool = True
    """Mixed precision; only ever used on CUDA."""

    def model(self) -> Any:
        """Return a fresh `torch.nn.Module`; its initial weights follow torch's seed."""
        raise NotImplementedError

    def data(self, settings: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return `(train, holdout)` as map-style datasets; `holdout` may be None.

        `settings` is the institution's `[data]` table, or an empty mapping.
        """
        raise NotImplementedError

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the scalar loss of one batch."""
        raise NotImplementedError

    def metrics(self, model: Any, data: Any) -> dict[str, float]:
        """Return measures of the model on a dataset; they never leave the institution."""
        return {}

    def predict(self, model: Any, data: Any) -> tuple[Any, Any] | None:
        """Return probabilities of the positive class and labels 0 or 1, one per case; None for other problems.

        They stay at the institution; `collegium model evaluate` counts them.
        """
        return None

    def example(self) -> Any:
        """Return an input of one case that holds no data, such as zeros; `collegium model export` traces it."""
        return None

    def num_examples(self, train: Any) -> int:
        """Return what the update weighs before rounding; by default the size of the training set."""
        return len(train)


@dataclass(frozen=True)
class TaskSource:
    """The bytes of a task, read once: what is hashed is what is shown, approved and run."""

    files: tuple[tuple[str, bytes], ...]
    """`(relative POSIX path, bytes)`, sorted by path."""
    single: bool
    """True for one file: its digest is that of its bytes alone."""

    @classmethod
    def read(cls, path: Path) -> TaskSource:
        """Read a task file, or a folder that holds `task.py`.

        Raises `TaskInvalid` for a missing entry, a link, or more than 16 MiB.
        """
        if path.is_file():
            files = [(ENTRY, path.read_bytes())]
        elif path.is_dir():
            files = [(name.as_posix(), (path / name).read_bytes()) for name in _walk(path)]
            if ENTRY not in dict(files):
                raise TaskInvalid(f"{path} holds no {ENTRY}.", hint=f"Name the entry file {ENTRY}.")
        else:
            raise TaskInvalid(f"There is no task at {path}.", hint="Give the path of a task file or folder.")
        size = sum(len(data) for _, data in files)
        if size > MAX_SOURCE_BYTES:
            raise TaskInvalid(
                f"The task at {path} has {size} bytes; {MAX_SOURCE_BYTES} are allowed.",
                hint="Keep data outside the task folder.",
            )
        return cls(tuple(sorted(files)), path.is_file())

    @property
    def digest(self) -> bytes:
        """sha256 of the file, or of the canonical JSON manifest `{path: sha256}` of the folder."""
        if self.single:
            return hashlib.sha256(self.files[0][1]).digest()
        return hashlib.sha256(self.manifest).digest()

    @property
    def manifest(self) -> bytes:
        """Canonical JSON `{path: sha256}`: what the digest of a folder covers."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.files}
        return json.dumps(digests, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def write(self, folder: Path) -> Path:
        """Write the files below `folder` and return the entry."""
        for name, data in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return folder / ENTRY


def _walk(folder: Path) -> Iterator[PurePosixPath]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if name.startswith(".") or name.endswith((".pyc", ".pyo")):
                continue
            if path.is_symlink():
                raise TaskInvalid(f"{path} is a link.", hint="Copy the file into the task folder.")
            yield PurePosixPath(path.relative_to(folder).as_posix())
        for name in folders:
            if Path(root, name).is_symlink():
                raise TaskInvalid(f"{Path(root, name)} is a link.", hint="Copy the folder into the task.")


@dataclass(frozen=True)
class ApprovedTask:
    """One line of `tasks/approved.json`."""

    digest: str
    """64 hex digits."""
    name: str
    """Where the code was read from, for people."""
    approved_at: int
    """Unix seconds."""


class Approvals:
    """The digests that this institution lets run, and the approved copies: `home/tasks`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "approved.json"

    def entries(self) -> dict[str, ApprovedTask]:
        """All approvals by digest in hex."""
        if not self._file.exists():
            return {}
        try:
            items = json.loads(self._file.read_text())["approved"]
            return {item["digest"]: ApprovedTask(**item) for item in items}
        except (ValueError, KeyError, TypeError) as error:
            raise TaskInvalid(
                f"{self._file} is damaged: {error}.", hint="Move it away and approve the task again."
            ) from error

    def approve(self, source: TaskSource, name: str) -> ApprovedTask:
        """Record the digest and keep a copy of the code. Showing it to a person first is the caller's duty."""
        entry = ApprovedTask(source.digest.hex(), name, int(time.time()))
        copy = self.folder / entry.digest
        if not copy.exists():
            fresh = self.folder / f".{entry.digest}.{os.getpid()}"
            source.write(fresh)
            fresh.rename(copy)
        self._write({**self.entries(), entry.digest: entry})
        return entry

    def withdraw(self, digest: bytes) -> bool:
        """Forget an approval; true when there was one."""
        entries = self.entries()
        found = entries.pop(digest.hex(), None) is not None
        if found:
            self._write(entries)
        return found

    def require(self, digest: bytes) -> TaskSource:
        """Return the approved code with this digest.

        Raises `TaskNotApprovedError` when it was not approved or the copy no longer has these bytes.
        """
        if digest.hex() not in self.entries():
            raise TaskNotApprovedError(
                f"The task {digest.hex()[:16]}… is not approved by this institution, so it was not run.",
                hint="Read the code, then run `collegium study approve-task PATH`.",
                digest=digest.hex(),
            )
        copy = self.folder / digest.hex()
        names = [entry.name for entry in copy.iterdir()] if copy.is_dir() else []
        sources = []
        if names:
            if names == [ENTRY]:
                sources.append(TaskSource.read(copy / ENTRY))
            sources.append(TaskSource.read(copy))
        for source in sources:
            if source.digest == digest:
                return source
        raise TaskNotApprovedError(
            f"The approved copy of task {digest.hex()[:16]}… is missing or was changed, so it was not run.",
            hint="Approve it again with `collegium study approve-task PATH`.",
            digest=digest.hex(),
        )

    def _write(self, entries: Mapping[str, ApprovedTask]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"approved": [asdict(entry) for entry in entries.values()]}, indent=2)
        fresh = self._file.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)
