"""What anybody can see of the study, from the chain's events alone; for the table and for the summary."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collegium.chain.client import Chain, NetworkSettings
from collegium.chain.deployment import Deployment
from collegium.chain.following import StudyFollower
from collegium.chain.indexer import Indexer
from collegium.chain.views import RoundView, StudyView
from collegium.encoding import export_model
from collegium.inputs import BlobSource
from collegium.records import Phase
from collegium.storage import BlobFolder, open_stores, parse_cid
from collegium_client.plan import MAX_PLAN_BYTES, PublishedPlan

__all__ = ["ModelReader", "Observer", "PhaseTimes", "describe_seat"]

STORY = (Phase.COMMIT, Phase.REVEAL, Phase.CERTIFY, Phase.PROPOSE, Phase.CHALLENGE)


@dataclass
class PhaseTimes:
    """Wall-clock seconds that one round spent in each phase, as seen from outside."""

    opened: float
    seconds: dict[str, float] = field(default_factory=dict)
    ended: float | None = None

    @property
    def total(self) -> float:
        return (self.ended or time.monotonic()) - self.opened


class Observer:
    """Reads the chain on its own, like an outsider. Not thread-safe."""

    def __init__(self, rpc_url: str, deployment: Deployment, study_id: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = NetworkSettings(rpc_url=rpc_url, chain_id=deployment.chain_id)
        self.chain = Chain.connect(settings, deployment=deployment)
        self.indexer = Indexer(folder / "index.sqlite", self.chain)
        self._follower = StudyFollower(self.indexer, study_id)
        self.times: dict[int, PhaseTimes] = {}
        self._last: tuple[int, str, float] | None = None

    def look(self) -> StudyView:
        """Read the chain once, and note how long phases last."""
        view = self._follower.refresh()
        now = time.monotonic()
        for each in view.rounds:
            known = self.times.setdefault(each.number, PhaseTimes(now))
            if each.is_over and known.ended is None:
                known.ended = now
        if self._last is not None:
            number, phase, since = self._last
            seconds = self.times[number].seconds
            seconds[phase] = seconds.get(phase, 0.0) + now - since
        current = view.current
        self._last = None
        if current is not None and not current.is_over:
            self._last = (current.number, current.phase_at(int(time.time())).name.lower(), now)
        return view

    def close(self) -> None:
        self.indexer.close()


class ModelReader:
    """Fetches finalized models from public stores and believes only what matches the chain."""

    def __init__(self, view: StudyView, stores: Sequence[str], folder: Path, chain_id: int) -> None:
        own = BlobFolder(folder / "blobs")
        self._source = BlobSource(own, open_stores(stores, chain_id=chain_id), view.format)
        content = self._source.stores.get(parse_cid(view.plan_cid), max_bytes=MAX_PLAN_BYTES)
        self._table = PublishedPlan.parse(content, plan=view.plan, format=view.format).table

    def read(self, cid: str, root: bytes) -> Mapping[str, NDArray[np.float32]]:
        """Weights by name."""
        return export_model(self._source.model(parse_cid(cid), root=root).elements, self._table)


def describe_seat(current: RoundView | None, index: int) -> str:
    """How far a hospital has come in the round, in one word or two."""
    if current is None:
        return "waiting"
    bit = 1 << index
    live = current.live
    if current.record is not None:
        return "done"
    if live is not None and live.endorsed & bit:
        return "endorsed"
    if live is not None:
        return "checking"
    if current.certified & bit:
        return "certified"
    if index in current.reveals:
        return "revealed"
    if index in current.commits:
        return "committed"
    return "training" if current.invited & bit else "not invited"
