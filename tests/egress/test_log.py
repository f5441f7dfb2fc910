"""The egress log by itself: order, tampering, kills, crowds, full disks."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.egress import GENESIS, EgressLog, about, compute_hash, encode, origin_of, read, verify
from collegium.errors import DiskError
from scripts.setup.paths import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "egress.jsonl"


def fill(path: Path, count: int = 5) -> None:
    log = EgressLog(path)
    for number in range(count):
        with about(7, number):
            log.record("message", "https://coordinator.example", b"bytes %d" % number, topic="updates")


class TestRecord:
    def test_records_follow_each_other(self, path: Path) -> None:
        fill(path)
        records = list(read(path))
        assert [record["round"] for record in records] == [0, 1, 2, 3, 4]
        assert [record["seq"] for record in records] == [1, 2, 3, 4, 5]
        assert records[0]["prev"] == GENESIS
        assert all(after["prev"] == before["hash"] for before, after in pairwise(records))
        assert records[0]["study"] == 7 and records[0]["bytes"] == len(b"bytes 0")
        assert verify(path).records == 5 and verify(path).head == records[-1]["hash"]

    def test_only_its_owner_may_read_it(self, path: Path) -> None:
        fill(path, 1)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_the_same_bytes_to_the_same_place_are_written_once(self, path: Path) -> None:
        log = EgressLog(path)
        for _ in range(3):
            log.record("blob", "http://a", b"x")
        log.record("blob", "http://b", b"x")
        log.record("blob", "http://a", b"y")
        assert len(list(read(path))) == 3
        # Another process cannot know, and writes it again rather than not at all.
        EgressLog(path).record("blob", "http://a", b"x")
        assert len(list(read(path))) == 4

    def test_appending_reads_only_the_end(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(path, 200)
        asked: list[int] = []
        real = os.pread
        monkeypatch.setattr(os, "pread", lambda fd, size, at: asked.append(size) or real(fd, size, at))
        EgressLog(path).record("message", "http://a", b"one more")
        assert sum(asked) < 10_000 < path.stat().st_size
        assert verify(path).records == 201

    @given(url=st.sampled_from(["https", "kubo", "http"]), secret=st.from_regex(r"[A-Za-z0-9]{8,20}", fullmatch=True))
    def test_no_secret_of_an_address_is_kept(self, url: str, secret: str) -> None:
        address = f"{url}://user:{secret}@rpc.example:8545/v2/{secret}?key={secret}"
        assert origin_of(address) == f"{url}://rpc.example:8545"

    def test_a_contact_never_stops_what_only_reads(self, path: Path) -> None:
        path.parent.mkdir()
        path.mkdir()  # nothing can be written here
        EgressLog(path).contact("http://127.0.0.1:8545")


class TestVerify:
    @given(data=st.data())
    def test_any_changed_byte_is_found(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        path = tmp_path_factory.mktemp("log") / "egress.jsonl"
        fill(path)
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 2))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        found = verify(path)
        line = bytes(content[:at]).count(b"\n") + 1
        assert found.broken_line is not None and found.broken_line in (line, line + 1)

    @pytest.mark.parametrize("drop", [0, 2])
    def test_a_removed_line_is_found(self, path: Path, drop: int) -> None:
        fill(path)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:drop] + lines[drop + 1 :]))
        assert verify(path).broken_line == drop + 1
        assert "removed" in verify(path).reason

    def test_a_line_sealed_anew_breaks_the_next_one(self, path: Path) -> None:
        fill(path)
        lines = path.read_bytes().splitlines()
        record: dict[str, Any] = json.loads(lines[1])
        record["bytes"] = 0
        record["hash"] = compute_hash(record)
        lines[1] = encode(record)
        path.write_bytes(b"\n".join(lines) + b"\n")
        assert verify(path).broken_line == 3

    def test_a_cut_tail_is_found_with_a_head_noted_earlier(self, path: Path) -> None:
        fill(path)
        head = verify(path).head
        assert verify(path, head=head).has_head
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]))
        assert verify(path).broken_line is None
        assert not verify(path, head=head).has_head

    @given(garbage=st.binary(max_size=300))
    def test_garbage_is_no_traceback(self, tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
        path = tmp_path_factory.mktemp("log") / "egress.jsonl"
        path.write_bytes(garbage)
        verify(path)
        list(read(path))
        EgressLog(path).record("message", "http://a", b"x")
        assert list(read(path))[-1]["kind"] == "message"


class TestCrash:
    @pytest.mark.parametrize("point", ["egress.half_written", "egress.written"])
    def test_killed_at(self, path: Path, point: str) -> None:
        fill(path, 3)
        done = subprocess.run(
            [sys.executable, "-m", "tests.egress.writer", str(path), "killed", "1"], cwd=ROOT, check=False,
            env={**os.environ, "COLLEGIUM_CRASH_AT": point},
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL
        found = verify(path)
        if point == "egress.half_written":
            assert (found.records, found.broken_line) == (3, None) and found.torn_bytes > 0
        fill(path, 1)
        found = verify(path)
        assert found.broken_line is None and found.torn_bytes == 0
        assert found.repairs == (point == "egress.half_written")
        kinds = [record["kind"] for record in read(path)]
        assert kinds[3:] == (["repair", "message"] if found.repairs else ["message", "message"])

    def test_a_tail_of_zeros_is_dropped(self, path: Path) -> None:
        """What a file system may leave after a power cut."""
        fill(path, 2)
        with path.open("ab") as file:
            file.write(bytes(5000))
        assert verify(path).torn_bytes == 5000
        fill(path, 1)
        assert verify(path).records == 4 and verify(path).broken_line is None


def test_many_writers_make_one_chain(path: Path) -> None:
    path.parent.mkdir()
    count, names = 40, ["a", "b", "c"]
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.egress.writer", str(path), name, str(count)], cwd=ROOT)
        for name in names
    ]
    logs = [EgressLog(path), EgressLog(path)]

    def write(at: int) -> None:
        for number in range(count):
            logs[at].record("message", "http://thread", f"{at} {number}".encode(), who=f"thread-{at}")

    threads = [threading.Thread(target=write, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    found = verify(path)
    assert found.broken_line is None and found.records == 5 * count
    by_writer: dict[str, list[int]] = {}
    for record in read(path):
        by_writer.setdefault(record["who"], []).append(record["seq"])
    assert {len(each) for each in by_writer.values()} == {count}
    assert all(each == sorted(each) for each in by_writer.values())


class TestDisk:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
    def test_a_failed_write_leaves_the_log_as_it_was(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        fill(path, 2)
        before = path.read_bytes()
        real = os.write

        def half(descriptor: int, data: bytes) -> int:
            real(descriptor, data[:10])
            raise OSError(number, os.strerror(number))

        log = EgressLog(path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(DiskError) as caught:
                log.record("message", "http://a", b"x")
        assert caught.value.exit_code == 3 and caught.value.hint and str(path) in caught.value.message
        assert path.read_bytes() == before
        # Nothing was remembered as written: the next attempt writes it.
        log.record("message", "http://a", b"x")
        assert verify(path).records == 3

    def test_a_limit_on_file_size_is_named(self, path: Path) -> None:
        fill(path, 3)
        size = path.stat().st_size
        script = (
            "import sys, signal; from pathlib import Path; from collegium.egress import EgressLog\n"
            "from collegium.errors import DiskError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "try:\n    EgressLog(Path(sys.argv[1])).record('message', 'http://a', b'x')\n"
            "except DiskError as error:\n    print(error.hint)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, cwd=ROOT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20)),
        )  # fmt: skip
        assert "ulimit" in done.stdout, done.stderr
        assert path.stat().st_size == size and verify(path).records == 3
