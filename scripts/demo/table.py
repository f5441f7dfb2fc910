"""The live picture of a run: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from collegium.chain.views import StudyView

from .evaluation import MEASURES, Measures
from .observer import describe_seat

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

__all__ = ["Screen"]


class Screen:
    """Says lines and, on a terminal, shows a table below them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._console: Console | None = None
        if sys.stdout.isatty():
            from rich.console import Console

            self._console = Console(highlight=False)
        self._started = time.monotonic()

    def say(self, line: str = "") -> None:
        """One line, with the seconds since the start on a terminal or not."""
        stamp = f"{time.monotonic() - self._started:6.1f}s  " if line else ""
        with self._lock:
            if self._console is not None:
                self._console.print(stamp + line, markup=False, soft_wrap=True)
            else:
                print(stamp + line, flush=True)

    def title(self, text: str) -> None:
        """A heading."""
        self.say()
        with self._lock:
            if self._console is not None:
                self._console.print(text, style="bold", markup=False)
            else:
                print(f"== {text}", flush=True)

    def __enter__(self) -> Self:
        """Begin to show the table."""
        if self._console is not None:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, view: StudyView, *, names: Mapping[str, str], rounds: int, measured: Mapping[int, Measures]) -> None:
        """Draw where the study stands. names: lower-case address to name. measured: round to metrics."""
        if self._live is not None:
            with self._lock:
                self._live.update(_draw(view, names, rounds, measured))


def _draw(view: StudyView, names: Mapping[str, str], rounds: int, measured: Mapping[int, Measures]) -> Table:
    from rich.table import Table

    current = view.current
    now = int(time.time())
    table = Table(title_justify="left", expand=False)
    if current is None:
        table.title = "no round yet"
    else:
        phase = current.phase_at(now).name.lower()
        left = max(0, current.deadline_at(now) - now)
        duty = names.get((current.on_duty(now) or "").lower(), "–")
        table.title = f"round {current.number} of {rounds}   phase {phase} (window: {left} s left)   on duty {duty}"
    table.add_column("hospital")
    table.add_column("state")
    table.add_column("weight", justify="right")
    for measure in MEASURES:
        table.add_column(measure, justify="right")
    seats: Sequence[int] = sorted(view.seats)
    last = max(measured, default=None)
    for index in seats:
        seat = view.seats[index]
        commit = current.commits.get(index) if current else None
        table.add_row(
            names.get(seat.institution.lower(), seat.institution[:10]),
            describe_seat(current, index),
            str(commit.weight) if commit else "",
            *[""] * len(MEASURES),
        )
    if last is not None:
        values = measured[last]
        table.add_row(
            f"model of round {last}",
            "final" if last else "genesis",
            "",
            *[f"{values[each]:.3f}" for each in MEASURES],
            style="bold",
        )
    return table
