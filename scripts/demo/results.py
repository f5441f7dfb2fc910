"""What a demo leaves for a person: report, summary, pages. A later run keeps them until it has its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium.errors import UsageError
from collegium.files import write_atomically

from .report import render

__all__ = ["MARKER", "PAGES", "RESULTS", "UNFINISHED_PAGES", "empty", "publish"]

MARKER = ".collegium-demo"
"""Marks a folder that a demo made and another one may empty."""
PAGES = "explorer"
RESULTS = ("report.html", "summary.json", PAGES)
UNFINISHED_PAGES = "explorer.unfinished"


def empty(folder: Path) -> None:
    """Remove what an earlier demo left, but its results. Raises UsageError for a folder that holds anything else."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKER).exists())):
        raise UsageError(
            f"{folder} holds something that no demo made.", hint="Choose a new or empty folder for --output."
        )
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        # The marker stays to the last: emptying may be interrupted, too.
        if path.is_dir() and path.name not in RESULTS:
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and path.name not in (*RESULTS, MARKER):
            path.unlink()


def publish(folder: Path, summary: Mapping[str, Any]) -> None:
    """Put this run's results in the place of the last one's; the pages lie ready as `UNFINISHED_PAGES`."""
    report = render(summary)
    if (folder / UNFINISHED_PAGES).exists():
        shutil.rmtree(folder / PAGES, ignore_errors=True)
        (folder / UNFINISHED_PAGES).rename(folder / PAGES)
    write_atomically(folder / "report.html", report.encode())
    write_atomically(folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
