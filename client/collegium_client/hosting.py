"""Many nodes of one study in one process: each with its own key, journal, outbox and store; the chain is read once.

For an operator who hosts small members, and for load tests. Nodes trust their host as they trust their own process;
what each signs is still refused by its own journal when it must be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from collegium.chain import Indexer, StudyView
from collegium.chain.following import StudyFollower
from collegium.errors import ChainUnreachableError

from .node import Node

__all__ = ["Host", "SharedFollower"]

PAUSE_SECONDS = 0.02
"""Longest sleep while a node may come due."""


class SharedFollower(StudyFollower):
    """Asks the chain at most once in `every` seconds, however many nodes look. Thread-safe."""

    def __init__(self, indexer: Indexer, study_id: int, *, every: float = 0.2) -> None:
        super().__init__(indexer, study_id)
        self._every = every
        self._turn = threading.Lock()
        self._asked: tuple[float, StudyView | ChainUnreachableError] | None = None

    def refresh(self) -> StudyView:
        """The view, at most `every` seconds old. Raises as `StudyFollower.refresh`; an outage too is asked for once."""
        with self._turn:
            if self._asked is None or time.monotonic() - self._asked[0] >= self._every:
                try:
                    found: StudyView | ChainUnreachableError = super().refresh()
                except ChainUnreachableError as error:
                    found = error
                self._asked = time.monotonic(), found
            known = self._asked[1]
            if isinstance(known, ChainUnreachableError):
                raise known
            return known


class Host:
    """Lets nodes take turns on a few threads. poll_interval: seconds from the end of a turn to the node's next one.

    A node never has two turns at once. An error that would end one node ends the host: all its nodes lose a process
    that cannot go on, and find what they had begun when it starts again.
    """

    def __init__(self, nodes: Sequence[Node], *, threads: int = 8, poll_interval: float = 0.25) -> None:
        self._nodes = tuple(nodes)
        self._threads, self._poll_interval = max(1, threads), poll_interval

    def run(self, *, until: int | None = None, stop: threading.Event | None = None) -> None:
        """Until the study has `until` final rounds for every node (None: for ever), or `stop` is set."""
        stop = stop or threading.Event()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="node")
        try:
            self._take_turns(pool, until, stop)
        finally:
            pool.shutdown(cancel_futures=True)
            for node in self._nodes:
                node.close()

    def _take_turns(self, pool: ThreadPoolExecutor, until: int | None, stop: threading.Event) -> None:
        waiting = dict.fromkeys(self._nodes, 0.0)
        """Nodes without a turn, and when each may have its next one (monotonic seconds)."""
        running: dict[Future[bool], Node] = {}
        while (waiting or running) and not stop.is_set():
            now = time.monotonic()
            for node in [each for each, since in waiting.items() if since <= now]:
                del waiting[node]
                running[pool.submit(node.turn, until=until)] = node
            done, _ = wait(running, timeout=PAUSE_SECONDS, return_when=FIRST_COMPLETED)
            for each in done:
                node = running.pop(each)
                if not each.result():
                    waiting[node] = time.monotonic() + self._poll_interval
            if not running:
                stop.wait(PAUSE_SECONDS)
