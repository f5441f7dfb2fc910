"""Following a study: its history from events, and the time that the chain would see."""

from __future__ import annotations

import time
from dataclasses import dataclass

from collegium.chain import Chain, Indexer, StudyView
from collegium.errors import ChainUnreachableError

__all__ = ["ChainTime", "Follower"]


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


@dataclass
class Follower:
    """Keeps a `StudyView` up to date with the network's confirmed blocks."""

    chain: Chain
    indexer: Indexer
    study_id: int

    def __post_init__(self) -> None:
        self.time = ChainTime()
        self._view: StudyView | None = None
        self._seen: tuple[int, int] = (-1, -1)

    def refresh(self) -> StudyView:
        """Catch up and return the study.

        Raises `StudyUnknownError`, or `ChainUnreachableError` when the node stays silent for `retry_for`.
        """
        synced = self.indexer.sync()
        self.time.observe(self.indexer.head_time)
        state = (self.indexer.generation, synced.head)
        if self._view is None or state[0] != self._seen[0] or synced.added:
            self._view = StudyView.build(self.indexer.events(), self.study_id)
        self._seen = state
        return self._view

    def is_reachable(self) -> bool:
        """Whether the node answers now."""
        try:
            self.chain.rpc.check_chain(self.chain.chain_id)
        except ChainUnreachableError:
            return False
        return True
