"""Following one study: an index kept up with the chain, and the view that its events give."""

from __future__ import annotations

import threading
import time

from collegium.observability import metrics
from collegium.records import Phase

from .indexer import Indexer
from .views import RoundView, StudyView

__all__ = ["ChainTime", "StudyFollower"]


class ChainTime:
    """Seconds as the chain's next block would carry them: this machine's clock, never behind the chain's."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def observe(self, timestamp: int) -> None:
        """Take note of a block's time."""
        self._ahead = max(self._ahead, timestamp - time.time())

    def now(self) -> int:
        """Unix seconds."""
        return int(time.time() + self._ahead)


class StudyFollower:
    """Thread-safe. A view, once given out, never changes; a new one is built only when events came."""

    def __init__(self, indexer: Indexer, study_id: int, clock: ChainTime | None = None) -> None:
        self.time = clock or ChainTime()
        self._indexer = indexer
        self._study_id = study_id
        self._lock = threading.Lock()
        self._view: StudyView | None = None
        self._stale = False
        self.head, self.head_time, self.read_at = -1, 0, 0.0
        """Number and time of the chain's newest block as last read, and when that was (unix seconds)."""

    def refresh(self) -> StudyView:
        """Read the chain, then as `view`.

        Raises:
            StudyUnknownError, LogMismatchError, ChainUnreachableError.
        """
        # Under the lock: another thread's sync must not leave this one with the view from before it.
        with self._lock:
            # A sync that fails half-way may have stored events.
            stale, self._stale = self._stale, True
            synced = self._indexer.sync()
            self.head, self.head_time, self.read_at = synced.head, self._indexer.head_time, time.time()
            self.time.observe(self.head_time)
            metrics.set_gauge("chain_head_age_seconds", max(0.0, self.read_at - self.head_time))
            if self._view is None or stale or synced.changed:
                self._view = StudyView.build(self._indexer.events(self._study_id), self._study_id)
            self._stale = False
            return self._view

    def is_closed_to_commits(self, round: RoundView) -> bool:
        """Whether no reorganization that the network's confirmations allow for could still let somebody commit.

        The clock alone does not say so: a block that carries commits of before the deadline may still take the place
        of one that is not confirmed yet. Without confirmations (a devnet) the clock is all there is.
        """
        known = self._indexer.head_time if self._indexer.confirmations != 0 else self.time.now()
        return round.phase_at(known) is not Phase.COMMIT

    @property
    def view(self) -> StudyView:
        """The study as last read."""
        with self._lock:
            known = self._view
        return known if known is not None else self.refresh()
