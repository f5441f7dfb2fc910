"""The figures of a soak with their bars."""

from __future__ import annotations

import statistics

from ..measure import Results
from .judging import Samples, growth_per_round, median_ratio_of_quarters
from .outcome import Outcome

__all__ = ["report"]

FLAT = 1.10
"""Bar of DESIGN: the last quarter of the rounds over the second one."""
KIB, MIB = 1 << 10, 1 << 20
SIDE_FILE_BAR = 8 * MIB
MAX_GAS, MAX_CALLDATA = 1 << 24, 128 * KIB
"""What one transaction may cost and carry on today's networks."""
UNBARRED = ("anvil",)
"""Not of this product: a devnet keeps its whole history in memory."""


def report(results: Results, outcome: Outcome, samples: Samples) -> None:
    """Add and print everything."""
    _report_outcome(results, outcome, samples)
    _report_memory(results, samples)
    _report_disk(results, samples)
    _report_time(results, samples)


def _report_outcome(results: Results, outcome: Outcome, samples: Samples) -> None:
    results.at_least("rounds final", outcome.final, "rounds", outcome.asked)
    results.at_most("rounds aborted", outcome.aborted, "rounds", 0)
    results.at_least("processes killed", len(samples.kills), "kills")
    # Who is killed may come back too late for its round, but nobody else may be missing.
    bar = len(samples.rounds_with_kills)
    results.at_most("final rounds without everybody's update", outcome.incomplete, "rounds", bar)
    results.at_most("fines", outcome.fines, "fines", 0)
    results.at_most(f"institutions of {outcome.institutions} not holding what they were given", outcome.unequal, "", 0)
    results.at_most("token wei lost", abs(outcome.lost), "wei", 0)
    results.at_most("two updates signed for one round", outcome.double_signed, "cases", 0)
    results.at_least("audit from a fresh home says ok", int(outcome.audited), "", 1)
    results.at_most("processes left by a killed one", outcome.orphans, "processes", 0)
    results.at_most("largest transaction", outcome.largest_gas, "gas", MAX_GAS)
    results.at_most("most calldata of a transaction", outcome.largest_calldata, "bytes", MAX_CALLDATA)


def _report_memory(results: Results, samples: Samples) -> None:
    for name in samples.names:
        bar = None if name in UNBARRED else FLAT
        median = statistics.median(rss for _, rss in samples.memory(name)) / MIB
        results.at_most(f"memory of {name}, median", median, "MiB")
        if (ratio := samples.memory_ratio(name)) is not None:
            results.at_most(f"memory of {name}, last quarter / second", ratio, "x", bar)
    lives = [ratio for name in samples.names if name not in UNBARRED for ratio in samples.memory_within_lives(name)]
    if lives:
        name = f"memory within a life, end / begin, median of {len(lives)}"
        results.at_most(name, statistics.median(lives), "x", FLAT)


def _report_disk(results: Results, samples: Samples) -> None:
    results.at_most("disk: growth a round, last quarter / second", samples.disk_ratio(), "x", FLAT)
    homes = len({entry["name"] for entry in samples.of("disk")})
    for folder in samples.folders():
        slope = growth_per_round(samples.disk(lambda name, folder=folder: name == folder))  # type: ignore[misc]
        if slope >= 1:
            results.at_most(f"disk: {folder}, a round and home", slope / homes / KIB, "KiB")
    results.at_most("disk: largest write-ahead log", samples.largest_side_file() / MIB, "MiB", SIDE_FILE_BAR / MIB)


def _report_time(results: Results, samples: Samples) -> None:
    hit = samples.rounds_with_kills
    quiet = [seconds for at, seconds in samples.seconds() if at not in hit]
    if quiet:
        results.at_most("seconds of an undisturbed round, median", statistics.median(quiet), "s")
        points = [(at, seconds) for at, seconds in samples.seconds() if at not in hit]
        if (ratio := median_ratio_of_quarters(points, samples.rounds)) is not None:
            results.at_most("seconds of an undisturbed round, last quarter / second", ratio, "x")
    if hit:
        longest = max((seconds for at, seconds in samples.seconds() if at in hit), default=0.0)
        results.at_most("seconds of the longest round after a kill", longest, "s")
