"""The real roles, opened from homes as the commands open them; only the task's process is replaced by a `Trainer`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from collegium.chain import StudyView
from collegium.chain.following import StudyFollower
from collegium.encoding import BlobKind, map_elements, pack_blob
from collegium.optimizer import fedavg_step
from collegium.storage import Store
from collegium.tree import root_of
from collegium_client.couriers import Couriers
from collegium_client.delivery import Pusher
from collegium_client.home import Home
from collegium_client.node import Node
from collegium_client.parts import NodeParts
from collegium_client.progress import PreparedUpdate
from collegium_client.session import Log
from collegium_client.watching import Watcher, WatcherParts
from collegium_coordinator.aggregation import Aggregate, Inputs, compute_aggregate
from collegium_coordinator.running import Coordinator

from .trainer import TABLE, Trainer

__all__ = ["Gullible", "Liar", "OutOfRange", "Slow", "open_coordinator", "open_hospital", "open_watcher", "skipping"]

PASSWORD = "correct horse"
Aggregator = Callable[[Inputs], Aggregate]


@contextmanager
def open_hospital(
    folder: Path,
    *,
    trainer: Trainer | None = None,
    make: Callable[[NodeParts, int], Node] = Node,
    serves: bool = True,
) -> Iterator[Node]:
    """serves: whether its blobs leave the house at all."""
    home = Home(folder)
    about = json.loads((folder / "about.json").read_text())
    study_id, table = about["study"], TABLE
    log = Log(home, "node")
    with ExitStack() as stack:
        stack.enter_context(home.alone(f"node-{study_id}"))
        chain = home.chain("node")
        indexer = stack.enter_context(home.indexer(chain))
        parts = NodeParts(
            chain=chain,
            indexer=indexer,
            outbox=stack.enter_context(home.outbox(chain)),
            journal=stack.enter_context(home.journal(chain)),
            signer=chain.signer,
            folder=home.store,
            source=home.blobs(table.format, chain.chain_id),
            pusher=Pusher(
                home.stores_to_push(study_id, chain.chain_id, chain.signer) if serves else [], home.store, log
            ),
            couriers=Couriers(home.settings.coordinators, report=log, egress=home.egress, transport=home.transport),
            sandbox=trainer or Trainer(about["site"]),  # type: ignore[arg-type]
            state=home.state,
            models=home.folder / "models",
            table=table,
            salt_secret=home.salt_secret(study_id, create=True),
            settings=home.settings.node,
            report=log,
        )
        yield make(parts, study_id)


@contextmanager
def open_watcher(folder: Path) -> Iterator[Watcher]:
    home = Home(folder)
    study_id = json.loads((folder / "about.json").read_text())["study"]
    with home.alone(f"watcher-{study_id}"):
        chain = home.chain("node")
        with home.indexer(chain) as indexer, home.outbox(chain) as outbox:
            view: StudyView = StudyFollower(indexer, study_id).refresh()
            parts = WatcherParts(
                chain=chain,
                indexer=indexer,
                outbox=outbox,
                source=home.blobs(view.format, chain.chain_id),
                cases=home.state / "cases",
                report=Log(home, "watcher"),
                announce=home.settings.get("watcher", "announce"),
                poll_interval=home.settings.get("network", "poll_interval"),
            )
            yield Watcher(parts, study_id)


def open_coordinator(
    folder: Path, *, aggregate: Aggregator = compute_aggregate, publish: Store | None = None
) -> Coordinator:
    """publish: where its mean and model go instead of its own store."""
    from collegium.chain import keystore
    from collegium_coordinator.settings import CoordinatorSettings

    settings = CoordinatorSettings.load(folder)
    coordinator = Coordinator(settings, keystore.load(settings.node_key, PASSWORD), aggregate=aggregate)
    if isinstance(aggregate, Liar):
        aggregate.coordinator = coordinator
    if publish is not None:
        coordinator.runner.store = publish
    return coordinator


class Liar:
    """An `aggregate` with one wrong coordinate of the mean, and the model that follows from it.

    rounds: in which it lies; None for all. coordinator: set once it runs.
    """

    def __init__(self, rounds: set[int] | None = None) -> None:
        self._rounds = rounds
        self.coordinator: Coordinator | None = None

    def __call__(self, inputs: Inputs) -> Aggregate:
        honest = compute_aggregate(inputs)
        if self._rounds is not None:
            assert self.coordinator is not None
            if self.coordinator.status()["round"] not in self._rounds:
                return honest
        mean = honest.mean.copy()
        mean[1] += 1 if mean[1] < 0 else -1
        plan, count = inputs.plan, inputs.format.sections[0].count
        rate = {"numerator": plan.rate_numerator, "denominator": plan.rate_denominator}
        return Aggregate(mean, fedavg_step(inputs.base, mean, count=count, **rate))


class OutOfRange(Node):
    """A hospital whose encoder is broken: one element beyond the bound."""

    def prepare(self, view: Any, round: Any, index: int) -> PreparedUpdate:
        honest, parts = super().prepare(view, round, index), self._parts
        fmt, reveal = parts.source.format, honest.reveal
        elements = np.array(
            map_elements(
                parts.folder.path_of(honest.cid(fmt)), kind=BlobKind.UPDATE, format_id=parts.table.format_id,
                ctx=round.ctx, index=index, salt=reveal.salt, payload_bytes=fmt.payload_bytes,
            )
        )  # fmt: skip
        elements[1] = parts.table.bound + 7
        blob = pack_blob(
            BlobKind.UPDATE, elements, format_id=parts.table.format_id, ctx=round.ctx, index=index, salt=reveal.salt
        )
        return PreparedUpdate.make(
            study_id=view.study_id, round=round.number, ctx=round.ctx, index=index, root=root_of(elements),
            cid=parts.folder.put(blob), salt=reveal.salt, weight=reveal.weight, ext_fields=reveal.ext_fields,
        )  # fmt: skip


class Gullible(Node):
    """A hospital that endorses whatever is proposed."""

    def endorse(self, view: Any, round: Any, window: Any, index: int) -> None:
        checker = self._checker
        assert checker is not None
        checker.compare = lambda of, proposal: (checker.recompute(of, proposal.included), [])  # type: ignore[method-assign]
        super().endorse(view, round, window, index)


def skipping(*names: str) -> Callable[[NodeParts, int], Node]:
    """A maker of nodes that do nothing in these phases."""

    def make(parts: NodeParts, study_id: int) -> Node:
        node = Node(parts, study_id)
        for name in names:
            setattr(node, name, lambda *_: None)
        return node

    return make


class Slow(Trainer):
    """Trains longer than anybody waits, in the rounds named. seconds: how long."""

    def __init__(self, site: int, seconds: float, rounds: set[int]) -> None:
        super().__init__(site)
        self._seconds, self._rounds = seconds, rounds

    def train(self, state: Any, *, round: int = 0, **options: Any) -> Any:
        if round in self._rounds:
            time.sleep(self._seconds)
        return super().train(state, round=round, **options)

