"""Files that are whole or absent, whatever moment the power goes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["sync_folder", "write_atomically"]


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, exclusive: bool = False) -> None:
    """Write `content` beside `path`, flush it to the disk, and move it there in one step.

    exclusive: raise FileExistsError instead of replacing a file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)
        else:
            temporary.replace(path)
            sync_folder(path.parent)
            return
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
