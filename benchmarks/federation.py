"""What a round costs beyond training: four hospitals as four processes, chain, stores and verification on.

Runs the demo without a liar and reads the hospitals' own logs. Overhead is the time from a round's opening to the
next one's, less the slowest hospital's training, so waiting for windows would count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .measure import Results

__all__ = ["run"]

ROUNDS = 8
WARM_UP = 2
"""Rounds left out: the first ones import PyTorch and open connections."""

STEPS = (
    ("open to trained", "round_opened", "trained"),
    ("trained to revealing (commit on chain)", "trained", "handed:reveals"),
    ("revealing to attested (reveal on chain, blobs fetched and checked)", "handed:reveals", "attested"),
    ("attested to endorsed (certify, aggregate, propose, recompute)", "attested", "endorsed"),
    ("endorsed to final", "endorsed", "round_final"),
)


def run(results: Results) -> None:
    """Play rounds and split their time."""
    print("federation of four processes")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scripts.demo", "--rounds", str(ROUNDS), "--no-liar", "--output", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the demo failed with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        logs = [_read(path) for path in sorted(Path(folder).rglob("logs/node.jsonl"))]
    rounds = range(WARM_UP + 1, ROUNDS + 1)
    opened = {number: min(log[number]["round_opened"] for log in logs) for number in rounds}
    final = {number: max(log[number]["round_final"] for log in logs) for number in rounds}
    trained = {number: max(log[number]["training_seconds"] for log in logs) for number in rounds}
    whole = [final[number] - opened[number] for number in rounds]
    overhead = [final[number] - opened[number] - trained[number] for number in rounds]
    results.at_most("round of 4 processes, opened to final", statistics.median(whole), "s")
    results.at_most("of it training, slowest hospital", statistics.median(trained.values()), "s")
    results.at_most("overhead per round beyond training", statistics.median(overhead), "s", 1.0)
    for name, begin, end in STEPS:
        spans = [max(log[number][end] for log in logs) - max(log[number][begin] for log in logs) for number in rounds]
        results.at_most(f"step: {name}", statistics.median(spans), "s")


def _read(path: Path) -> dict[int, dict[str, Any]]:
    """First time of each event by round."""
    found: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "round" not in entry:
            continue
        times = found.setdefault(int(entry["round"]), {})
        name = f"handed:{entry['topic']}" if entry["event"] == "handed" else entry["event"]
        times.setdefault(name, entry["time"])
        if entry["event"] == "trained":
            times["training_seconds"] = entry["seconds"]
    return found
