"""Whether a node remembers what it signed.

Two updates for one round are a fault that anyone can prove, and only the journal keeps a node from it. A journal that
does not know the last update that the chain has of this key was lost or is of another machine: what else it does not
know cannot be told, so the round that runs is skipped. The next one is safe, because nothing of it was signed before.
"""

from __future__ import annotations

import json
from pathlib import Path

from collegium.chain import Journal, RoundView, StudyView
from collegium.files import write_atomically

__all__ = ["Memory"]


class Memory:
    """Of one node key in one study. path: keeps which round was skipped.

    `must_skip` is asked before a round's first update is signed.
    """

    def __init__(self, journal: Journal, node_key: str, path: Path) -> None:
        self._journal, self._node_key, self._path = journal, node_key, path

    def must_skip(self, view: StudyView, round: RoundView) -> bool:
        """Whether this key may have signed an update in this round that nobody here remembers."""
        gap = self._gap()
        if gap == round.number:
            return True
        last = self._last_commit(view, round)
        if last is None or last < gap or self._journal.find_update(view.study_id, last) is not None:
            return False
        write_atomically(self._path, json.dumps({"study": view.study_id, "round": round.number}).encode())
        return True

    def _last_commit(self, view: StudyView, round: RoundView) -> int | None:
        """The latest earlier round in which the chain has an update of this key."""
        for earlier in reversed(view.rounds):
            keys = earlier.snapshot.node_keys
            if earlier.number < round.number and any(keys[index] == self._node_key for index in earlier.commits):
                return earlier.number
        return None

    def _gap(self) -> int:
        try:
            return int(json.loads(self._path.read_text())["round"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1
