"""Plots of a soak: memory, disk and seconds over rounds, kills marked."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .judging import Samples
from .sampling import is_side_file

__all__ = ["draw"]

MIB = 1 << 20
KILL_COLOR = "#b3261e"


def draw(samples: Samples, part: str, out: Path, *, suffix: str = "svg") -> list[Path]:
    """Write `soak-<part>-memory`, `-disk` and `-seconds`; their paths. Needs the extra `report`."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update(
        {"svg.hashsalt": "collegium", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
         "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False}
    )  # fmt: skip
    drawn = []
    for name, plot in (("memory", _memory), ("disk", _disk), ("seconds", _seconds)):
        path = out / f"soak-{part}-{name}.{suffix}"
        _save(plot, samples, part, path)
        drawn.append(path)
    return drawn


def _save(plot: Any, samples: Samples, part: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9, 4.6), layout="constrained")
    for axes in plot(figure, samples, part):
        axes.set_xlim(left=0, right=max(samples.rounds, 1) * 1.01)
        axes.set_ylim(bottom=0)
        for number, _ in samples.kills:
            axes.axvline(number, color=KILL_COLOR, linewidth=0.7, alpha=0.3, zorder=0)
    axes.set_xlabel("round (red lines: a process was killed)" if samples.kills else "round")
    # Without a date, the same samples give the same bytes.
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, facecolor="white", dpi=110)
    plt.close(figure)


def _memory(figure: Any, samples: Samples, part: str) -> list[Any]:
    """Large processes above small ones, or lines that differ by a tenth could not be told apart."""
    import matplotlib.pyplot as plt

    median = {name: statistics.median(rss for _, rss in samples.memory(name)) for name in samples.names}
    large = [name for name in median if median[name] > 4 * min(median.values())]
    groups = [group for group in (large, [name for name in median if name not in large]) if group]
    colors = plt.get_cmap("tab10").colors
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for axes, names in zip(panels, groups, strict=True):
        for name in names:
            points = [(x, y / MIB) for x, y in _median_by_round(samples.memory(name))]
            axes.plot(*_split(points), label=name, color=colors[samples.names.index(name) % 10], linewidth=1.3)
            # A cross where this process was killed, at its own height.
            height = dict(points)
            kills = [number for number, killed in samples.kills if killed == name and number in height]
            axes.plot(kills, [height[each] for each in kills], "x", color=KILL_COLOR, markersize=5, zorder=5)
        if samples.kills:
            axes.plot([], [], "x", color=KILL_COLOR, label="killed")
        axes.set_ylabel("MiB")
        _legend(axes)
    panels[0].set_title(f"{part}: resident memory per process with its children, median of each round", fontsize=11)
    return list(panels)


def _disk(figure: Any, samples: Samples, part: str) -> list[Any]:
    axes = figure.subplots()
    folders = [name for name in samples.folders() if not is_side_file(name)]
    series = {name: samples.disk(lambda kept, name=name: kept == name) for name in folders}  # type: ignore[misc]
    largest = sorted(folders, key=lambda name: -series[name][-1][1])
    shown, rest = largest[:7], set(largest[7:])
    rounds = [x for x, _ in samples.disk(lambda name: True)]
    stacks = [_on(series[name], rounds) for name in shown]
    labels = list(shown)
    if rest:
        stacks.append(_on(samples.disk(lambda name: name in rest), rounds))
        labels.append("everything else")
    stacks.append(_on(samples.disk(is_side_file), rounds))
    labels.append("write-ahead logs")
    axes.stackplot(rounds, stacks, labels=labels, alpha=0.85, linewidth=0)
    homes = len({entry["name"] for entry in samples.of("disk")})
    axes.set_title(f"{part}: disk of all {homes} homes together", fontsize=11)
    axes.set_ylabel("MiB")
    _legend(axes, reverse=True)
    return [axes]


def _seconds(figure: Any, samples: Samples, part: str) -> list[Any]:
    axes = figure.subplots()
    hit = samples.rounds_with_kills
    axes.plot(*_split(samples.seconds()), color="#9aa0a6", linewidth=0.8, zorder=1)
    for label, color, points in (
        ("undisturbed round", "#1f77b4", [(x, y) for x, y in samples.seconds() if x not in hit]),
        ("round of a kill, or the next", KILL_COLOR, [(x, y) for x, y in samples.seconds() if x in hit]),
    ):
        if points:
            axes.plot(*_split(points), ".", color=color, label=label, zorder=2)
    axes.set_title(f"{part}: seconds from a round's opening to its record", fontsize=11)
    axes.set_ylabel("seconds")
    _legend(axes)
    return [axes]


def _legend(axes: Any, *, reverse: bool = False) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, reverse=reverse)


def _split(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _on(points: Sequence[tuple[int, float]], rounds: Sequence[int]) -> list[float]:
    known = dict(points)
    return [known.get(each, 0.0) / MIB for each in rounds]


def _median_by_round(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    found: dict[int, list[float]] = {}
    for at, value in points:
        found.setdefault(at, []).append(value)
    return [(at, statistics.median(values)) for at, values in sorted(found.items())]
