"""Passes over whole vectors: tree against hashlib, mean against a plain copy, memory against the number of clients."""

from __future__ import annotations

import hashlib
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

from collegium.aggregation import weighted_mean
from collegium.optimizer import fedavg_step
from collegium.records import CHUNK_BYTES
from collegium.tree import root_of

from .measure import Results, median_ratio

__all__ = ["run"]

TREE_ELEMENTS = 10_000_000
MEAN_CLIENTS = 10
MEAN_ELEMENTS = 20_000_000
MEMORY_ELEMENTS = 8_000_000
BOUND = 2**23


def run(results: Results) -> None:
    """Take the figures of trees, means and memory."""
    print("vectors")
    _tree(results)
    _mean(results)
    _memory(results)


def _tree(results: Results) -> None:
    payload = np.random.default_rng(1).integers(-BOUND, BOUND, TREE_ELEMENTS, dtype="<i4")
    view = payload.data.cast("B")

    def chunk_by_chunk() -> None:
        sha256 = hashlib.sha256
        for at in range(0, len(view), CHUNK_BYTES):
            sha256(view[at : at + CHUNK_BYTES]).digest()

    ratio = median_ratio(lambda: root_of(payload), chunk_by_chunk, pairs=5)
    results.at_most("tree of 10M int32 / hashing its chunks with hashlib", ratio, "x time", 1.5)
    if root_of(payload, threads=1) != root_of(payload, threads=2):
        raise AssertionError("one and two threads give different roots")
    ratio = median_ratio(lambda: root_of(payload, threads=2), lambda: root_of(payload), pairs=5)
    results.at_most("tree of 10M int32, two threads / one thread", ratio, "x time")


def _mean(results: Results) -> None:
    rng = np.random.default_rng(2)
    updates = [rng.integers(-BOUND, BOUND, MEAN_ELEMENTS, dtype="<i4") for _ in range(MEAN_CLIENTS)]
    weights = [int(weight) for weight in rng.integers(100, 60_000, MEAN_CLIENTS)]
    out = np.empty(MEAN_ELEMENTS, dtype="<i4")
    copies = [np.empty_like(update) for update in updates[:1]]

    def copy_all() -> None:
        for update in updates:
            np.copyto(copies[0], update)

    ratio = median_ratio(copy_all, lambda: weighted_mean(updates, weights, bound=BOUND, out=out), pairs=5)
    results.at_least("weighted int64 mean of 10 x 20M / bandwidth of a plain copy", ratio, "x bandwidth", 0.5)
    ratio = median_ratio(copy_all, lambda: weighted_mean(updates, weights, bound=BOUND, out=out, threads=2), pairs=5)
    results.at_least("the same with two threads", ratio, "x bandwidth")
    model = updates[0]
    ratio = median_ratio(
        lambda: fedavg_step(model, updates[1], numerator=1, denominator=1, out=out),
        lambda: np.copyto(out, model),
        pairs=5,
    )
    results.at_most("FedAvg step of 20M / plain copy", ratio, "x time")


def _memory(results: Results) -> None:
    """Peak of what the mean allocates (mapped inputs are the system's to take back), next to the model it makes."""
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        for position in range(4):
            rng.integers(-BOUND, BOUND, MEMORY_ELEMENTS, dtype="<i4").tofile(Path(folder) / str(position))
        for clients in (4, 32):
            updates = [np.memmap(Path(folder) / str(i % 4), dtype="<i4", mode="r") for i in range(clients)]
            tracemalloc.start()
            out = weighted_mean(updates, list(range(1, clients + 1)), bound=BOUND)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            results.at_most(f"peak memory of the mean of {clients} clients / model", peak / out.nbytes, "x model", 1.25)
