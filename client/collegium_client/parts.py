"""What a node is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collegium.chain import Chain, Indexer, Journal, Outbox, Signer, StudyView
from collegium.chain.following import StudyFollower
from collegium.encoding import FormatTable
from collegium.inputs import BlobSource
from collegium.storage import BlobFolder

from .couriers import Couriers
from .delivery import Pusher
from .sandbox import Sandbox
from .settings import NodeSettings

__all__ = ["NodeParts", "Report"]

Report = Callable[..., None]
"""Takes an event's name and its fields; for logs and people."""


@dataclass(frozen=True)
class NodeParts:
    """What a node is built from. salt_secret: made when joining. table: the study's format table.

    upkeep: called at every look with the chain's time; drops what the plan's retention term lets go of.
    follower: shared with other nodes of the same study in this process; None makes one of the node's own.
    """

    chain: Chain
    indexer: Indexer
    outbox: Outbox
    journal: Journal
    signer: Signer
    folder: BlobFolder
    source: BlobSource
    pusher: Pusher
    couriers: Couriers
    sandbox: Sandbox
    state: Path
    models: Path
    table: FormatTable
    salt_secret: bytes
    settings: NodeSettings
    report: Report
    progress: Callable[[int, int], None] | None = None
    upkeep: Callable[[StudyView, int], object] = lambda view, now: None
    follower: StudyFollower | None = None
