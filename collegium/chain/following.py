"""Following one study: an index kept up with the chain, and the view that its events give."""

from __future__ import annotations

import logging
import math
import threading
import time

from collegium.observability import metrics
from collegium.records import Phase

from .client import Chain
from .indexer import Indexer
from .views import RoundView, StudyView

__all__ = ["TOLERANCE", "ChainTime", "StudyFollower", "measure_skew"]

logger = logging.getLogger(__name__)

TOLERANCE = 30.0
"""Seconds by which this machine's clock may differ from the chain's before it is not believed: a block or two."""
CALIBRATE_EVERY = 30.0


def measure_skew(chain: Chain) -> float:
    """Seconds by which this machine's clock is ahead of the chain's; negative when it is behind.

    Raises ChainUnreachableError. A node that knows no pending block tells the time of its latest, a block too early.
    """
    return time.time() - chain.now()


class ChainTime:
    """Seconds as the chain's next block would carry them: the time of deadlines, whatever this machine's clock says.

    It is this machine's clock while that agrees with the chain. It is never behind the newest block; and a clock that
    is ahead is set back by as much, so that nobody acts on a deadline that the chain has not reached. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._floor, self._floor_at = 0.0, time.monotonic()
        self._ahead = 0.0
        self._calibrated_at = -math.inf

    @property
    def skew(self) -> float:
        """Seconds by which this machine's clock is ahead of the chain, 0 within the tolerance."""
        return self._ahead

    def observe(self, timestamp: int) -> None:
        """Take note of a block's time."""
        with self._lock:
            now = time.monotonic()
            if timestamp > self._floor + (now - self._floor_at):
                self._floor, self._floor_at = float(timestamp), now

    def calibrate(self, chain: Chain) -> None:
        """Compare the clocks, now and then. Raises ChainUnreachableError."""
        now = time.monotonic()
        if now - self._calibrated_at < CALIBRATE_EVERY:
            return
        skew = measure_skew(chain)
        with self._lock:
            self._calibrated_at = now
            was, self._ahead = self._ahead, skew if skew > TOLERANCE else 0.0
        if (self._ahead > 0) != (was > 0):
            logger.warning(
                "this machine's clock is %s", f"{skew:.0f} s ahead of the chain; the chain's time is used"
                if self._ahead else "that of the chain again",
            )  # fmt: skip

    def now(self) -> int:
        """Unix seconds."""
        with self._lock:
            return int(max(time.time() - self._ahead, self._floor + time.monotonic() - self._floor_at))


class StudyFollower:
    """Thread-safe. A view, once given out, never changes; a new one is made only when events came, from those alone:
    what a look costs does not grow with the rounds that are over. Several followers may share an index."""

    def __init__(self, indexer: Indexer, study_id: int, clock: ChainTime | None = None) -> None:
        self.time = clock or ChainTime()
        self._indexer = indexer
        self._study_id = study_id
        self._lock = threading.Lock()
        self._view: StudyView | None = None
        self._read_to, self._generation = -1, -1
        self.head, self.head_time, self.read_at = -1, 0, 0.0
        """Number and time of the chain's newest block as last read, and when that was (unix seconds)."""

    def refresh(self) -> StudyView:
        """Read the chain, then as `view`.

        Raises:
            StudyUnknownError, LogMismatchError, ChainUnreachableError.
        """
        with self._lock:
            synced = self._indexer.sync()
            self.time.calibrate(self._indexer.chain)
            self.head, self.head_time, self.read_at = synced.head, self._indexer.head_time, time.time()
            self.time.observe(self.head_time)
            metrics.set_gauge("chain_head_age_seconds", max(0.0, self.read_at - self.head_time))
            return self._read()

    def _read(self) -> StudyView:
        """Make the view of what the index holds, whoever brought it there: this follower, another one, or a command."""
        while True:
            generation, until = self._indexer.generation, self._indexer.head
            known = self._view if generation == self._generation else None
            if known is not None and until == self._read_to:
                return known
            events = self._indexer.events(self._study_id, since=self._read_to + 1 if known else None, until=until)
            if self._indexer.generation != generation:
                # Another process followed a reorganization meanwhile.
                continue
            if known is None:
                self._view = StudyView.build(events, self._study_id)
            elif events:
                self._view = known.extended(events)
            self._read_to, self._generation = until, generation
            assert self._view is not None
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
