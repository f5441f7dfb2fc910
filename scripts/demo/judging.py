"""Judges models in the background: importing torch takes seconds that the set-up needs anyway."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .evaluation import Evaluation, Measures, Site

__all__ = ["Judge", "Judgment"]

State = Mapping[str, Any]


@dataclass
class Judgment:
    """of_global: round to metrics, 0 is the genesis model. pooled, alone: lists from round 0 on."""

    of_global: dict[int, Measures] = field(default_factory=dict)
    pooled: Sequence[Measures] = ()
    alone: Sequence[Sequence[Measures]] = ()
    sites: Sequence[Site] = ()
    held_out: int = 0


class Judge:
    """A thread that evaluates what it is given, and trains the baselines once it knows the genesis model."""

    def __init__(self, task_file: Path, *, sites: int, seed: int, rounds: int) -> None:
        self._task_file, self._sites, self._seed, self._rounds = task_file, sites, seed, rounds
        self._work: queue.Queue[tuple[int, State] | None] = queue.Queue()
        self._news: queue.Queue[tuple[int, Measures]] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True, name="judge")
        self._error: BaseException | None = None
        self._judgment = Judgment()

    def start(self) -> None:
        self._thread.start()

    def submit(self, round_number: int, state: State) -> None:
        """A model as float32 arrays by name; round 0 is genesis and comes first."""
        self._work.put((round_number, state))

    def news(self) -> list[tuple[int, Measures]]:
        """What was judged since the last call. Raises what the thread failed with."""
        if self._error is not None:
            raise self._error
        found = []
        while not self._news.empty():
            found.append(self._news.get())
        return found

    @property
    def measured(self) -> Mapping[int, Measures]:
        return dict(self._judgment.of_global)

    def finish(self) -> Judgment:
        """Wait for everything submitted."""
        self._work.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._judgment

    def _run(self) -> None:
        try:
            evaluation = Evaluation(self._task_file, sites=self._sites, seed=self._seed)
            self._judgment.sites = evaluation.describe_sites()
            self._judgment.held_out = evaluation.held_out
            while (item := self._work.get()) is not None:
                number, state = item
                measures = evaluation.measure(state)
                self._judgment.of_global[number] = measures
                self._news.put((number, measures))
                if number == 0:
                    self._judgment.pooled = evaluation.train_pooled(state, self._rounds)
                    self._judgment.alone = evaluation.train_alone(state, self._rounds)
        except BaseException as error:
            self._error = error
