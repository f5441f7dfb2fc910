"""A task's bytes in stores: found again by the digest that a study names.

A task of one file is the blob with that sha256. A task of several files is its manifest, the canonical JSON
`{path: sha256}` whose own sha256 is the task's digest, and one blob per file. Nothing but the digest is needed to
fetch it, and every byte is checked against it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from collegium.storage import Cid, cid_from_digest

from .errors import TaskInvalid
from .task import ENTRY, MAX_SOURCE_BYTES, TaskSource

__all__ = ["MAX_FILE_BYTES", "MAX_FILES", "fetch_task", "task_blobs"]

MAX_FILE_BYTES = 1 << 20
"""Largest file that can be found by its sha256 alone: beyond it a CID is that of a tree of chunks."""
MAX_FILES = 1000
_PART = re.compile(r"[^/\\\x00-\x1f\x7f]{1,255}")


class _Readable(Protocol):
    def get(self, cid: Cid, *, max_bytes: int) -> bytes: ...


def task_blobs(source: TaskSource) -> list[bytes]:
    """What must be in a store so that members can fetch and review the task.

    Raises `TaskInvalid` when a file is too large to be found by its digest.
    """
    for name, data in source.files:
        if len(data) > MAX_FILE_BYTES:
            raise TaskInvalid(
                f"{name} has {len(data)} bytes; a file of a task has at most {MAX_FILE_BYTES}.",
                hint="Keep data and weights outside the task; members could not fetch this file by its digest.",
            )
    files = [data for _, data in source.files]
    return files if source.single else [source.manifest, *files]


def fetch_task(stores: _Readable, digest: bytes) -> TaskSource:
    """The task with this digest, a file or a folder, from stores that verify what they give.

    Raises `TaskInvalid` for a manifest that names paths outside its folder, and what reading a store raises.
    """
    first = stores.get(cid_from_digest(digest, 0), max_bytes=MAX_FILE_BYTES)
    manifest = _parse_manifest(first)
    if manifest is None:
        return _checked(TaskSource(((ENTRY, first),), True), digest)
    files: list[tuple[str, bytes]] = []
    left = MAX_SOURCE_BYTES
    for name, content in sorted(manifest.items()):
        data = stores.get(cid_from_digest(content, 0), max_bytes=MAX_FILE_BYTES)
        left -= len(data)
        if left < 0:
            raise TaskInvalid(f"The task has more than {MAX_SOURCE_BYTES} bytes.", hint="Ask the study's sponsor.")
        files.append((name, data))
    return _checked(TaskSource(tuple(files), False), digest)


def _checked(source: TaskSource, digest: bytes) -> TaskSource:
    if source.digest != digest:
        raise TaskInvalid(f"The task that was fetched has digest {source.digest.hex()}, not {digest.hex()}.")
    return source


def _parse_manifest(data: bytes) -> dict[str, bytes] | None:
    """The manifest's paths and digests; None when these bytes are no manifest but the task itself."""
    try:
        content: Any = json.loads(data)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or ENTRY not in content or text.encode("utf-8", "replace") != data:
        return None
    if len(content) > MAX_FILES:
        raise TaskInvalid(f"The task names {len(content)} files; {MAX_FILES} are allowed.")
    found = {}
    for name, value in content.items():
        if not _is_inside(name) or not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
            raise TaskInvalid(
                f"The task's manifest names {name!r}, which is no path of a file inside the task.",
                hint="Do not join: ask the study's sponsor.",
            )
        found[name] = bytes.fromhex(value)
    if any(one != other and other.startswith(one + "/") for one in found for other in found):
        raise TaskInvalid("The task's manifest names a file inside a file.", hint="Ask the study's sponsor.")
    return found


def _is_inside(name: str) -> bool:
    """Relative, without dots, hidden parts, control characters or Windows' separators and drives."""
    parts = name.split("/")
    return (
        len(name) < 1024
        and len(parts) <= 16
        and ":" not in name
        and all(_PART.fullmatch(part) and not part.startswith(".") for part in parts)
    )
