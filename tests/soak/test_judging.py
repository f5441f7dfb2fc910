"""A leak is found, steady growth of a disk is not one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.measure import Results
from benchmarks.soak.figures import report
from benchmarks.soak.judging import Samples, growth_per_round
from benchmarks.soak.outcome import Outcome, count_double_signatures
from benchmarks.soak.plots import draw
from benchmarks.soak.sampling import Journal, bytes_by_folder, read_journal

MIB = 1 << 20
GOOD = Outcome(
    asked=40, final=40, aborted=0, incomplete=0, fines=0, lost=0, unequal=0, double_signed=0, audited=True, orphans=0,
    institutions=3, largest_gas=100_000, largest_calldata=1000,
)  # fmt: skip


def make(path: Path, *, leak: float = 0.0, quadratic: float = 0.0) -> Samples:
    """40 rounds of one process. leak: MiB a round. quadratic: bytes a round and round."""
    journal = Journal(path / "samples.jsonl")
    for number in range(1, 41):
        journal.write("memory", round=number, name="north", pid=1 + number // 20, rss=int((100 + leak * number) * MIB))
        journal.write("round", round=number, seconds=1.5)
        size = 4096 * number + int(quadratic * number * number)
        journal.write("disk", round=number, name="north", folders={"store": size, "state/x.sqlite-wal": MIB})
    journal.write("kill", round=20, name="north")
    journal.close()
    return Samples(read_journal(path / "samples.jsonl"))


def missed(samples: Samples, outcome: Outcome = GOOD) -> list[str]:
    results = Results()
    report(results, outcome, samples)
    return [figure.name for figure in results.figures if not figure.ok]


class TestSamples:
    def test_flat_memory_and_steady_disk_pass(self, tmp_path: Path) -> None:
        samples = make(tmp_path)
        assert missed(samples) == []
        assert samples.kills == [(20, "north")]
        assert samples.disk_ratio() == pytest.approx(1.0)

    def test_leak_is_found(self, tmp_path: Path) -> None:
        names = missed(make(tmp_path, leak=2.0))
        assert "memory of north, last quarter / second" in names
        assert any("within a life" in name for name in names)

    def test_disk_that_grows_faster_and_faster_is_found(self, tmp_path: Path) -> None:
        assert missed(make(tmp_path, quadratic=100.0)) == ["disk: growth a round, last quarter / second"]

    def test_growth_is_a_slope(self) -> None:
        assert growth_per_round([(1, 10.0), (2, 13.0), (3, 16.0)]) == pytest.approx(3.0)
        assert growth_per_round([(1, 10.0)]) == 0.0

    @pytest.mark.parametrize(
        "fault",
        [{"final": 39}, {"aborted": 1}, {"incomplete": 3}, {"fines": 1}, {"lost": 1}, {"lost": -1}, {"unequal": 1},
         {"double_signed": 1}, {"audited": False}, {"orphans": 1}, {"largest_gas": 1 << 25},
         {"largest_calldata": 1 << 18}],
    )  # fmt: skip
    def test_every_fault_misses_its_bar(self, tmp_path: Path, fault: dict[str, int]) -> None:
        assert len(missed(make(tmp_path), Outcome(**{**GOOD.__dict__, **fault}))) == 1


class TestSampling:
    def test_databases_count_with_their_log_and_keys_share_a_name(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "store" / "blobs").mkdir(parents=True)
        (tmp_path / "store" / "blobs" / "a").write_bytes(bytes(10))
        (tmp_path / "collegium.toml").write_bytes(bytes(3))
        with closing(sqlite3.connect(tmp_path / "state" / "outbox-1a2b3c4d.sqlite")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE t (content BLOB)")
            database.execute("INSERT INTO t VALUES (?)", (bytes(100_000),))
            database.commit()
            found = bytes_by_folder(tmp_path)
        assert found["store"] == 10 and found["collegium.toml"] == 3
        assert found["state/outbox.sqlite"] >= 100_000
        assert found["state/outbox.sqlite-wal"] >= 100_000

    def test_line_that_was_cut_off_is_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "samples.jsonl"
        path.write_text('{"kind":"round","round":1}\n{"kind":"rou')
        assert read_journal(path) == [{"kind": "round", "round": 1}]


class TestOutcome:
    def test_two_updates_for_one_round_are_counted(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite"
        assert count_double_signatures(path) == 0
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE signed (chain, contract, signer, kind, study, round, slot, message)")
            rows = [("update", 1, "a"), ("update", 2, "b"), ("update", 2, "c"), ("attest", 3, "d"), ("attest", 3, "e")]
            for kind, number, message in rows:
                values = (1, "0x", "0x", kind, 1, number, message, message)
                database.execute("INSERT INTO signed VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            database.commit()
        assert count_double_signatures(path) == 1

    def test_saved_and_loaded(self, tmp_path: Path) -> None:
        GOOD.save(tmp_path / "outcome.json")
        assert Outcome.load(tmp_path / "outcome.json") == GOOD


def test_plots_are_the_same_for_the_same_samples(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    samples = make(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = (draw(samples, "hospitals", tmp_path / folder) for folder in ("a", "b"))
    assert [path.name for path in first] == [f"soak-hospitals-{name}.svg" for name in ("memory", "disk", "seconds")]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"a process was killed" in first[0].read_bytes()
