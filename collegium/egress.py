"""The egress log: one hash-chained line for everything that leaves this party's machine, written before it leaves.

    {"bytes":…,"destination":…,"hash":…,"kind":…,"prev":…,"round":…,"seq":…,"sha256":…,"study":…,"time":…}

`hash` is SHA-256 of the record without it, as canonical JSON; `prev` is the hash of the line before. A line is on the
disk before the first of its bytes is sent, so a line may tell of bytes that never arrived, and no byte arrives without
a line. The same bytes to the same destination are written once per process, however often they are repeated. Who may
write the file could write all of it anew: note the head now and then elsewhere (`collegium log verify --head`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from collegium.crashpoints import crashpoint, register
from collegium.errors import CollegiumError, DiskError
from collegium.files import explain_disk, sync_folder
from collegium.observability import metrics

__all__ = ["FILE", "GENESIS", "EgressLog", "Verdict", "about", "origin_of", "read", "verify"]

FILE = "egress.jsonl"
"""Name of the log in a home's `state/`."""
GENESIS = "0" * 64
"""`prev` of the first record."""
REPAIR = "repair"
"""Kind of the record that says how many bytes of an unfinished line were dropped."""
BLOCK, LONGEST_LINE = 4096, 1 << 16
REMEMBERED = 1 << 14
"""Distinct contents whose repetition this process recognizes."""

register("egress.half_written", "egress.written")

_about: ContextVar[tuple[int | None, int | None]] = ContextVar("collegium_egress_about", default=(None, None))


@contextlib.contextmanager
def about(study: int | None = None, round: int | None = None) -> Iterator[None]:
    """What is sent inside belongs to this study and round. Context variables: threads inherit it when told to."""
    token = _about.set((study, round))
    try:
        yield
    finally:
        _about.reset(token)


def origin_of(url: str) -> str:
    """Scheme, host and port of an address: paths and queries of providers hold access keys, logins hold passwords."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host else f"{parts.scheme}://{parts.path}" if parts.scheme else url


class EgressLog:
    """Appends to one file; threads and processes may share it. A read of nothing but the last line per record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def record(
        self,
        kind: str,
        destination: str,
        content: bytes | bytearray | memoryview | None = None,
        *,
        sha256: str | None = None,
        size: int | None = None,
        **details: Any,
    ) -> None:
        """Write one line to the disk; only then may the bytes go.

        content: what leaves; or its `sha256` (hex) and `size` when it is not at hand as a whole.
        details: further fields, such as `transaction`, or `cid` which may stand for a hash. Raises DiskError: then
        nothing must be sent.
        """
        if content is not None:
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
        key = (kind, destination, sha256 or str(details.get("cid", "")))
        with self._lock:
            if key in self._seen:
                self._seen.move_to_end(key)
                return
            study, round_number = _about.get()
            fields = {"study": study, "round": round_number, **details}
            self._append(
                {"kind": kind, "destination": destination[:300], "sha256": sha256 or "", "bytes": size or 0, **fields}
            )
            self._seen[key] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        metrics.count("egress_records_total", kind=kind)
        metrics.count("egress_bytes_total", size or 0, kind=kind)

    def contact(self, url: str) -> None:
        """Note that a host is asked something; nothing of ours but the question goes there, so a full disk may pass."""
        with contextlib.suppress(CollegiumError):
            self.record("contact", origin_of(url))

    def _append(self, fields: Mapping[str, Any]) -> None:
        try:
            is_new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _append_locked(descriptor, fields)
            finally:
                os.close(descriptor)
            if is_new:
                sync_folder(self.path.parent)
        except OSError as error:
            other = DiskError(
                f"{self.path} cannot be written: {error.strerror}.",
                hint="Nothing leaves without it: check who owns it.",
            )
            raise explain_disk(error, self.path) or other from error
        crashpoint("egress.written")


def _append_locked(descriptor: int, fields: Mapping[str, Any]) -> None:
    size = os.fstat(descriptor).st_size
    last, torn = _read_last(descriptor, size)
    prev, seq = _head_of(last)
    lines = []
    if torn:
        # Its bytes were not on the disk, so what it told of never left.
        os.ftruncate(descriptor, size - len(torn))
        size -= len(torn)
        lines.append(_seal({"kind": REPAIR, "destination": "", "sha256": hashlib.sha256(torn).hexdigest(),
                            "bytes": len(torn), "study": None, "round": None}, prev, seq))  # fmt: skip
        prev, seq = lines[-1]["hash"], seq + 1
    lines.append(_seal(fields, prev, seq))
    data = b"".join(encode(line) + b"\n" for line in lines)
    try:
        if os.environ.get("COLLEGIUM_CRASH_AT"):
            os.write(descriptor, data[: len(data) // 2])
            crashpoint("egress.half_written")
            os.write(descriptor, data[len(data) // 2 :])
        else:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _seal(fields: Mapping[str, Any], prev: str, seq: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"seq": seq, "time": now, **fields, "prev": prev}
    return {**record, "hash": compute_hash(record)}


def encode(record: Mapping[str, Any]) -> bytes:
    """Canonical JSON."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode("ascii")


def compute_hash(record: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a record, its own `hash` left out."""
    return hashlib.sha256(encode({name: value for name, value in record.items() if name != "hash"})).hexdigest()


def _read_last(descriptor: int, size: int) -> tuple[bytes, bytes]:
    """The last whole line (empty when there is none), and the bytes after it."""
    tail, at = b"", size
    while at > 0 and len(tail) < LONGEST_LINE:
        step = min(BLOCK, at)
        at -= step
        tail = os.pread(descriptor, step, at) + tail
        if tail.count(b"\n") >= 2:
            break
    whole, _, torn = tail.rpartition(b"\n")
    return whole.rpartition(b"\n")[2], torn


def _head_of(line: bytes) -> tuple[str, int]:
    """Hash and number that the next record follows on."""
    if not line:
        return GENESIS, 1
    try:
        record = json.loads(line)
        return str(record["hash"]), int(record["seq"]) + 1
    except (ValueError, KeyError, TypeError, OverflowError):
        # Somebody changed it. `verify` names the line; the log goes on, tied to what is there.
        return hashlib.sha256(line).hexdigest(), 1


# Reading


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    records: whole and right ones before the first wrong one. head: hash of the last of them. broken_line: number of
    the first wrong line, from 1; None when all are right. torn_bytes: length of an unfinished last line. repairs:
    unfinished lines that were dropped in the past. has_head: whether the head asked for is among the records.
    """

    records: int
    head: str
    broken_line: int | None = None
    reason: str = ""
    torn_bytes: int = 0
    repairs: int = 0
    has_head: bool = True


def verify(path: Path, *, head: str | None = None) -> Verdict:
    """Check every line of a log against the one before; a file that does not exist is an empty log.

    head: a hash noted earlier that must be among the records. Raises OSError.
    """
    prev, count, repairs, found = GENESIS, 0, 0, head in (None, GENESIS)
    with path.open("rb") if path.exists() else contextlib.nullcontext(()) as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return Verdict(count, prev, torn_bytes=len(line), repairs=repairs, has_head=found)
            record, reason = _check(line[:-1], prev, number)
            if record is None:
                return Verdict(count, prev, number, reason, repairs=repairs, has_head=found)
            prev, count = record["hash"], number
            repairs += record.get("kind") == REPAIR
            found = found or prev == head
    return Verdict(count, prev, repairs=repairs, has_head=found)


def _check(line: bytes, prev: str, number: int) -> tuple[dict[str, Any] | None, str]:
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or encode(record) != line:
            return None, "it is not a record as this program writes it"
        if record.get("hash") != compute_hash(record):
            return None, "its content does not match its hash"
    except (ValueError, RecursionError):
        return None, "it is not a record"
    if record.get("prev") != prev or record.get("seq") != number:
        return None, "it does not follow on the line before: lines were removed, inserted or moved"
    return record, ""


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every record that can be read, unchecked. An unfinished last line is left out. Raises OSError."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line) if line.endswith(b"\n") else None
                if isinstance(record, dict):
                    yield record
