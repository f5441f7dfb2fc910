"""Watching rounds go by: samples, kills, and the moment when nothing moves any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from collegium.chain.views import StudyView
from scripts.demo.observer import Observer
from scripts.demo.processes import CommandFailed, Service

from .chaos import Chaos
from .sampling import Journal

__all__ = ["Follow", "Stuck"]

LOOK_SECONDS = 0.2
SAMPLE_SECONDS = 1.0


class Stuck(CommandFailed):
    """A round that does not end, or a process that ended by itself."""


@dataclass
class Follow:
    """One run. further: pids that are sampled but never killed. homes: folders whose bytes are counted.

    rounds: final rounds to wait for. minutes: stop after as many and judge what there is; None waits.
    patience: seconds without any event that make a round stuck. may_end: who may end once all rounds are final.
    """

    observer: Observer
    services: Mapping[str, Service]
    further: Mapping[str, int]
    homes: Mapping[str, Path]
    chaos: Chaos
    journal: Journal
    rounds: int
    minutes: float | None
    say: Callable[[str], None]
    patience: float = 300.0
    may_end: frozenset[str] = frozenset()

    def run(self) -> StudyView:
        """Until enough rounds are final or time is over. Raises Stuck."""
        started, sampled, known, opened = time.monotonic(), 0.0, -1, time.monotonic()
        moved, events = time.monotonic(), -1
        while True:
            view = self.observer.look()
            now, final = time.monotonic(), len(view.final_rounds)
            current = view.current.number if view.current else 0
            if (size := _size(view)) != events:
                moved, events = now, size
            if current != known:
                known, opened = current, now
                self._note_rounds(view)
            if now - sampled >= SAMPLE_SECONDS:
                sampled = now
                self.journal.sample_memory(self._pids(), round=current)
            if final >= self.rounds or (self.minutes is not None and now - started > 60 * self.minutes):
                self._note_rounds(view)
                return view
            self._check(view, now - moved)
            if current < self.rounds:
                # The last round is left alone: its processes end by themselves.
                killed = self.chaos.act(current, now - opened)
                if killed is not None:
                    moved = now
                    self.journal.write("kill", round=current, name=killed)
                    self.say(f"round {current}: killed {killed}")
            time.sleep(LOOK_SECONDS)

    def _pids(self) -> dict[str, int]:
        return {**{name: each.process.pid for name, each in self.services.items()}, **self.further}

    def _note_rounds(self, view: StudyView) -> None:
        """Once per final round: how long it took, and what the homes hold."""
        noted = self._noted
        for each in view.final_rounds:
            if each.number in noted:
                continue
            noted.add(each.number)
            seconds = self.observer.times[each.number].total
            self.journal.write("round", round=each.number, seconds=round(seconds, 3), included=_included(each))
            self.journal.sample_disk(self.homes, round=each.number)
            if each.number % 10 == 0 or each.number == self.rounds:
                self.say(f"round {each.number}: final after {seconds:.1f} s")

    def __post_init__(self) -> None:
        self._noted: set[int] = set()

    def _check(self, view: StudyView, still: float) -> None:
        for name, each in self.services.items():
            if not each.is_alive and not (name in self.may_end and len(view.final_rounds) >= self.rounds):
                raise Stuck(f"{name} ended by itself with {each.process.returncode}:\n{each.tail(30)}")
        if still > self.patience:
            tails = "\n".join(f"-- {name}\n{each.tail(8)}" for name, each in self.services.items())
            raise Stuck(f"nothing happened on chain for {self.patience:.0f} s\n{tails}")


def _included(round_view: object) -> int:
    outcome = getattr(round_view, "outcome", None)
    return outcome.included.bit_count() if outcome is not None else 0


def _size(view: StudyView) -> int:
    """Grows with every event that moves a round."""
    current = view.current
    if current is None:
        return 0
    return current.number * 1000 + sum(
        (len(current.commits), len(current.reveals), current.certified.bit_count(), len(current.proposals),
         current.is_over)
    )  # fmt: skip
