"""Following one study: an index kept up with the chain, and the view that its events give."""

from __future__ import annotations

import threading

from .indexer import Indexer
from .views import StudyView

__all__ = ["StudyFollower"]


class StudyFollower:
    """Thread-safe. A view, once given out, never changes; a new one is built only when events came."""

    def __init__(self, indexer: Indexer, study_id: int) -> None:
        self._indexer = indexer
        self._study_id = study_id
        self._lock = threading.Lock()
        self._view: StudyView | None = None

    def refresh(self) -> StudyView:
        """Read the chain, then as `view`.

        Raises:
            StudyUnknownError, LogMismatchError, ChainUnreachableError.
        """
        synced = self._indexer.sync()
        with self._lock:
            if self._view is None or synced.added or synced.rolled_back_to is not None:
                self._view = StudyView.build(self._indexer.events(self._study_id), self._study_id)
            return self._view

    @property
    def view(self) -> StudyView:
        """The study as last read."""
        with self._lock:
            known = self._view
        return known if known is not None else self.refresh()
