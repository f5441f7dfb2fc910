"""A forest plot: every site's AUROC with its interval, and all sites together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collegium.errors import UsageError
from collegium.extras import require

from .evaluation import Comparison

__all__ = ["draw_forest"]


def draw_forest(comparison: Comparison, path: Path, *, title: str) -> None:
    """Write a PNG or SVG. Raises `UsageError` for another ending, and when no site published an AUROC."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"{path.name} is neither .png nor .svg.", hint="Name the plot forest.svg, for example.")
    rows: list[tuple[str, Any]] = [
        (f"{row.institution[:8]}…{row.institution[-4:]}", row.measures["auroc"])
        for row in comparison.rows if row.measures["auroc"] is not None
    ]  # fmt: skip
    if not rows:
        raise UsageError("No report holds an AUROC, so there is nothing to draw.")
    if comparison.differ is not None:
        rows.append(("random effects", comparison.differ.summary))
    if comparison.pooled.measures["auroc"].is_defined:
        rows.append(("all cases together", comparison.pooled.measures["auroc"]))
    require("report", "matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "collegium"
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 0.45 * len(rows) + 1.3))
    sites = len(comparison.rows)
    for at, (name, measure) in enumerate(rows):
        is_site = at < sites and name[:2] == "0x"
        low, high = (measure.value if end is None else end for end in (measure.low, measure.high))
        axis.plot([low, high], [at, at], color="#1f4e79", linewidth=1.5 if is_site else 3)
        axis.plot([measure.value], [at], "s" if is_site else "D", color="#1f4e79", markersize=6)
        axis.text(1.02, at, str(measure).split(" (")[0], va="center", transform=axis.get_yaxis_transform(), fontsize=8)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8, family="monospace")
    axis.invert_yaxis()
    axis.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    axis.set_xlim(min(0.45, *(m.low or m.value for _, m in rows)), 1.0)
    axis.set_xlabel("AUROC with 95 % interval")
    axis.set_title(title, fontsize=10)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
    figure.savefig(path, bbox_inches="tight", dpi=150, metadata=metadata)
    pyplot.close(figure)
