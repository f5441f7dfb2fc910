"""Putting a node together from a home: everything that must be right before the first round is checked here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from collegium.chain import Chain, Contracts, StudyView
from collegium.chain.abi import to_jsonable
from collegium.chain.following import StudyFollower
from collegium.encoding import FormatTable
from collegium.errors import NotAMemberError, UnauthorizedError
from collegium.inputs import BlobSource
from collegium.records import ZERO_ADDRESS
from collegium.retention import Keeper, Pruned
from collegium.storage import parse_cid
from collegium.storage.store import OwnStore

from . import vitals
from .couriers import Couriers
from .delivery import Pusher
from .errors import TaskInvalid
from .home import Home
from .node import Node
from .parts import NodeParts
from .plan import MAX_PLAN_BYTES, PublishedPlan
from .reaching import find_refusals
from .sandbox import Sandbox
from .task import TaskSource

__all__ = ["Log", "open_keeper", "open_node", "open_sandbox", "open_study", "own_stores", "read_plan"]


class Log:
    """Events of this process: one JSON object per line in `logs/`, and to whoever listens."""

    def __init__(self, home: Home, name: str, listen: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._path = home.logs / f"{name}.jsonl"
        self._listen = listen

    def __call__(self, event: str, **fields: Any) -> None:
        vitals.observe(event, fields)
        entry = {"time": round(time.time(), 3), "event": event, **to_jsonable(fields)}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, separators=(",", ":"), default=str) + "\n")
        except OSError:
            # Nobody's round depends on this file; whoever listens is still told, also that the disk is full.
            entry["unlogged"] = True
        if self._listen is not None:
            self._listen(entry)


def open_study(home: Home, chain: Chain, study_id: int) -> StudyView:
    """The study as events tell it. Raises `StudyUnknownError`."""
    with home.indexer(chain) as indexer:
        return StudyFollower(indexer, study_id).refresh()


def read_plan(source: BlobSource, view: StudyView) -> PublishedPlan:
    """The published plan, fetched by its CID and checked against the chain."""
    data = source.stores.get(parse_cid(view.plan_cid), max_bytes=MAX_PLAN_BYTES)
    source.folder.put(data)
    return PublishedPlan.parse(data, plan=view.plan, format=view.format)


def open_sandbox(
    home: Home, source: TaskSource, *, name: str = "task", table: FormatTable | None = None, study: int | None = None
) -> Sandbox:
    """The process for a task, with the data of a study; with a table, the task must federate exactly its tensors.

    Raises `TaskInvalid` when it does not, and closes the process.
    """
    sandbox = Sandbox(
        source,
        home.settings.sandbox(study),
        protect=home.protected,
        scratch=home.folder / "scratch" / name,
        log=home.logs / f"{name}.log",
    )
    try:
        sandbox.start()
        if table is not None and sandbox.describe().tensors != table.tensors:
            raise TaskInvalid(
                "The task's model has other parameters than the study's format table.",
                hint="Approve the task that the study names, unchanged.",
            )
    except BaseException:
        sandbox.close()
        raise
    return sandbox


@contextmanager
def open_node(
    home: Home,
    study_id: int,
    *,
    listen: Callable[[dict[str, Any]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Node]:
    """A node of this home for a study, ready to run.

    Raises `TaskNotApprovedError`, `NotAMemberError`, `UnauthorizedError`, and what opening a key or chain raises.
    """
    log = Log(home, "node", listen)
    with ExitStack() as stack:
        stack.enter_context(home.alone(f"node-{study_id}"))
        chain = home.chain("node")
        indexer = stack.enter_context(home.indexer(chain))
        view = StudyFollower(indexer, study_id).refresh()
        task = home.approvals.require(view.plan.task_digest)
        _require_member(chain, view, study_id)
        secret = home.salt_secret(study_id)
        source = home.blobs(view.format, chain.chain_id)
        plan = read_plan(source, view)
        process = open_sandbox(home, task, name=f"study-{study_id}", table=plan.table, study=study_id)
        sandbox = stack.enter_context(process)
        log("ready", study=study_id, title=plan.title, sandbox=sandbox.confinement.explain(),
            mechanisms=dict(sandbox.confinement.mechanisms))  # fmt: skip
        for refused in find_refusals(home.transport, home.settings.coordinators):
            log("coordinator_refused", **refused)
        folder = home.store
        parts = NodeParts(
            chain=chain,
            indexer=indexer,
            outbox=stack.enter_context(home.outbox(chain)),
            journal=stack.enter_context(home.journal(chain)),
            signer=chain.signer,
            folder=folder,
            source=source,
            pusher=Pusher(home.stores_to_push(study_id, chain.chain_id, chain.signer), folder, log),
            couriers=Couriers(home.settings.coordinators, report=log, egress=home.egress, transport=home.transport),
            sandbox=sandbox,
            state=home.state,
            models=home.folder / "models",
            table=plan.table,
            salt_secret=secret,
            settings=home.settings.node,
            report=log,
            progress=progress,
            upkeep=open_keeper(home, plan, log).tick,
        )
        yield Node(parts, study_id)


def open_keeper(home: Home, plan: PublishedPlan, log: Callable[..., None]) -> Keeper:
    """Honors the plan's retention term in this home's own stores."""

    def report(pruned: Pruned) -> None:
        log("retention_passed", round=pruned.round, seat=pruned.index, cid=pruned.cid.text, store=pruned.store)

    return Keeper(own_stores(home), lambda view: plan.to_json(), home.state / "pruned.jsonl", report)


def own_stores(home: Home) -> list[OwnStore]:
    """The home's folder and those of its published stores that can let go of blobs."""
    from collegium.storage import open_store

    opened = [open_store(str(uri), transport=home.transport) for uri in home.settings.get("stores", "own")]
    return [home.store, *(store for store in opened if isinstance(store, OwnStore))]


def _require_member(chain: Chain, view: StudyView, study_id: int) -> None:
    contracts = Contracts(chain)
    address = chain.signer.address
    institution = contracts.institution(address)
    if institution == ZERO_ADDRESS:
        raise UnauthorizedError(
            f"The node key {address} belongs to no institution.", hint="Run `collegium institution register` first."
        )
    if contracts.is_revoked(address):
        raise UnauthorizedError(f"The node key {address} was revoked.", hint="Run `collegium keys rotate`.")
    seat = view.seat_of(institution)
    if seat is not None and seat.left is not None:
        raise NotAMemberError(
            f"{institution} {'was removed from' if seat.removed else 'left'} study {study_id}.",
            hint="A seat is given once: it cannot be taken again.",
        )
    if seat is None:
        raise NotAMemberError(
            f"{institution} is not a member of study {study_id}.", hint=f"Run `collegium join {study_id}` first."
        )
