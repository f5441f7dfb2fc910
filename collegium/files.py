"""Files that are whole or absent, whatever moment the power goes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import sys
import time
from pathlib import Path

from collegium.crashpoints import crashpoint, register
from collegium.errors import DiskError

__all__ = ["explain_disk", "sync_folder", "write_atomically"]

register("files.written", "files.replaced")

TOKEN_BYTES = 6
YOUNG_SECONDS = 10.0
_swept: set[Path] = set()

_HINTS = {
    errno.ENOSPC: "Free some space, then go on; nothing that was promised is lost.",
    errno.EDQUOT: "The quota of this user is used up: free some space, then go on; nothing is lost.",
    errno.EFBIG: "A limit on the size of files was reached (`ulimit -f`): raise it, then go on; nothing is lost.",
    errno.EROFS: "The disk is mounted read-only: mount it for writing, or move the home (--home).",
    errno.EIO: "The disk is failing: see the system's log, and restore the home from a backup elsewhere.",
}


def explain_disk(error: BaseException | None, path: Path | None = None) -> DiskError | None:
    """What a full, read-only or failing disk means for people; None when the error is of another kind.

    path: named when the error itself names none. Looks through causes: libraries wrap what the system told them.
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        # Not imported for its own sake: no command should pay for a database it does not open.
        if "sqlite3" in sys.modules and isinstance(error, sys.modules["sqlite3"].OperationalError):
            said = str(error)
            number = next((code for words, code in _SQLITE.items() if words in said), None)
        if number in _HINTS:
            where = getattr(error, "filename", None) or path or "the disk"
            return DiskError(f"{where} cannot be written: {os.strerror(number)}.", hint=_HINTS[number], errno=number)
        error = error.__cause__ or error.__context__
    return None


_SQLITE = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "disk I/O error": errno.EIO,
}


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, exclusive: bool = False) -> None:
    """Write `content` beside `path`, flush it to the disk, and move it there in one step.

    exclusive: raise FileExistsError instead of replacing a file.
    """
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(TOKEN_BYTES)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # Held to the end: an unlocked file of this name belongs to a process that died.
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        crashpoint("files.written")
        if exclusive:
            os.link(temporary, path)
        else:
            temporary.replace(path)
            crashpoint("files.replaced")
            sync_folder(path.parent)
            return
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.unlink()
    sync_folder(path.parent)


def _sweep(path: Path) -> None:
    """Once per process and file: remove what writers that were killed left beside it."""
    if path in _swept:
        return
    _swept.add(path)
    beside = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * TOKEN_BYTES}}}")
    with contextlib.suppress(OSError):
        for file in [each for each in path.parent.iterdir() if beside.fullmatch(each.name)]:
            _remove_abandoned(file)


def _remove_abandoned(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(handle.fileno())
        # Its writer may stand between creating and locking it.
        if status.st_size or time.time() - status.st_mtime > YOUNG_SECONDS:
            file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
