"""A coordinator as a process: index the chain, serve HTTP, step the round, survive whatever goes away for a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Self

from collegium.chain import keystore
from collegium.chain.client import Chain
from collegium.chain.following import ChainTime, StudyFollower
from collegium.chain.indexer import Indexer
from collegium.chain.outbox import Outbox
from collegium.chain.signer import Signer
from collegium.chain.views import StudyView
from collegium.egress import FILE, EgressLog
from collegium.errors import CollegiumError, PreconditionError
from collegium.files import explain_disk
from collegium.inputs import BlobSource
from collegium.observability import metrics
from collegium.observability.serving import check_chain, check_disk, observed
from collegium.retention import Keeper, Pruned
from collegium.storage.address import open_store
from collegium.storage.cid import parse_cid
from collegium.storage.embedded import StoreRoutes
from collegium.storage.folder import BlobFolder
from collegium.storage.http_server import HttpServer
from collegium.storage.multi import MultiStore
from collegium.storage.recorded import RecordedStore
from collegium.storage.store import OwnStore, Store
from collegium.transport.binding import Domain
from collegium.transport.gate import RosterGate
from collegium.transport.identity import Identity
from collegium.transport.party import make_transport
from collegium.transport.roster import StudyRoster
from collegium.transport.settings import TlsSettings

from . import __version__
from .aggregation import Aggregate, Inputs, compute_aggregate
from .inbox import Inbox, Topic
from .intake import MessageIntake
from .round import RoundRunner, RunnerSettings
from .service import CoordinatorApplication
from .settings import CoordinatorSettings

__all__ = ["Coordinator"]

logger = logging.getLogger(__name__)

MAX_PLAN_BYTES = 1 << 20
MAX_CONNECTIONS = 512
"""A roster has at most 128 members, and each keeps up to three connections: messages, blobs read, blobs written."""


class Coordinator:
    """Everything one coordinator runs; a context manager that leaves nothing behind."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        signer: Signer,
        *,
        aggregate: Callable[[Inputs], Aggregate] = compute_aggregate,
    ) -> None:
        self._settings = settings
        self._closing = ExitStack()
        try:
            self._open(signer, aggregate)
        except BaseException:
            self._closing.close()
            raise

    def _open(self, signer: Signer, aggregate: Callable[[Inputs], Aggregate]) -> None:
        settings = self._settings
        state = settings.home / "state"
        self._egress = EgressLog(state / FILE)
        self.chain = Chain.connect(settings.network, signer, egress=self._egress)
        self._indexer = Indexer(state / "index.sqlite", self.chain)
        self._closing.callback(self._indexer.close)
        self._time = ChainTime()
        self._follower = StudyFollower(self._indexer, settings.study, self._time)
        view = self._follower.refresh()
        self._require_enlisted(view)
        self._outbox = Outbox(state / f"outbox-{signer.address.lower()[2:10]}.sqlite", self.chain)
        self._closing.callback(self._outbox.close)
        self._inbox = Inbox(state / "inbox.sqlite")
        self._closing.callback(self._inbox.close)
        folder = BlobFolder(settings.home / "store")
        self._server = self._serve(folder)
        self._closing.callback(self._server.close)
        transport = make_transport(
            settings.network, self._tls, signer=lambda: signer, chain=lambda: self.chain,
            pins=settings.pins, coordinators=settings.coordinators,
        )  # fmt: skip
        further = [open_store(uri, chain_id=self.chain.chain_id, transport=transport) for uri in settings.read]
        published: Store = open_store(settings.store, transport=transport) if settings.store else folder
        own = [each for each in dict.fromkeys((folder, published)) if isinstance(each, OwnStore)]
        self._keeper = Keeper(own, lambda view: self._read_plan(folder, further, view), state / "pruned.jsonl", _tell)
        if published is not folder:
            published = RecordedStore(published, self._egress)
            further = [published, *further]
        self.runner = RoundRunner(
            chain=self.chain,
            outbox=self._outbox,
            study_id=settings.study,
            inbox=self._inbox,
            source=BlobSource(folder, MultiStore([folder, *further]), view.format, settings.threads),
            store=_Both(folder, published) if published is not folder else folder,
            settings=RunnerSettings(
                settings.gather,
                settings.stagger,
                settings.rounds or None,
                settings.open_rounds,
                settings.open_every,
                settings.schedule,
            ),
            aggregate=aggregate,
            now=self._time.now,
        )

    @classmethod
    def open(cls, home: Path, *, password_file: Path | None = None, **flags: Any) -> Self:
        """From a home and command-line flags; unlocks the node key."""
        settings = CoordinatorSettings.load(home, **flags)
        password = keystore.read_password(password_file, prompt="Password of the node key: ")
        return cls(settings, keystore.load(settings.node_key, password))

    @property
    def url(self) -> str:
        return self._server.url

    def run(self, stop: threading.Event) -> None:
        """Step until `stop` is set; an unreachable node or store is waited for, nothing is lost."""
        resumed = False
        while not stop.is_set():
            acted = False
            try:
                if not resumed:
                    self._outbox.resume()
                    resumed = True
                acted = self.step()
            except CollegiumError as error:
                logger.warning("%s: %s", error.code, error)
                metrics.count("errors_total", code=error.code)
                stop.wait(1.0)
            except Exception as error:
                if (disk := explain_disk(error)) is not None:
                    logger.warning("%s: %s", disk.code, disk)
                else:
                    logger.exception("the step failed; it is tried again")
                metrics.count("errors_total", code=disk.code if disk else "unexpected")
                stop.wait(1.0)
            if not acted:
                stop.wait(self._settings.network.poll_interval)

    def observed(self) -> AbstractContextManager[str | None]:
        """Metrics, health and traces, as the settings ask for them."""
        settings = self._settings
        checks = {
            "chain": check_chain(
                self._follower, chain_id=self.chain.chain_id, max_head_age=settings.observability.max_head_age
            ),
            "disk": check_disk(settings.home / "state"),
        }
        return observed(settings.observability, home=settings.home, role="coordinator", version=__version__,
                        checks=checks, egress=self._egress)  # fmt: skip

    def step(self) -> bool:
        """Look at the chain once and do what is due; whether anything was sent."""
        view = self._follower.refresh()
        self._keeper.tick(view, self._time.now())
        return self.runner.step(view)

    @staticmethod
    def _read_plan(folder: BlobFolder, further: list[Store], view: StudyView) -> bytes:
        return MultiStore([folder, *further]).get(parse_cid(view.plan_cid), max_bytes=MAX_PLAN_BYTES)

    def status(self) -> Mapping[str, Any]:
        """What `/v1/info` answers."""
        view = self._follower.view
        current = view.current
        now = self._time.now()
        return {
            "chain_id": self.chain.chain_id,
            "collegium": self.chain.address_of("Collegium"),
            "study": self._settings.study,
            "aggregator": self.chain.signer.address,
            "round": current.number if current else 0,
            "phase": current.phase_at(now).name.lower() if current else "none",
            "deadline": current.deadline_at(now) if current else 0,
            "on_duty": current.on_duty(now) if current else None,
            "final_rounds": len(view.final_rounds),
        }

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_enlisted(self, view: StudyView) -> None:
        institution = self.chain.call("Members", "institutionOf", self.chain.signer.address)
        if institution not in view.aggregators:
            raise PreconditionError(
                f"{self.chain.signer.address} is no aggregator of study {self._settings.study}.",
                hint=f"Lock the bond first: `collegium-coordinator enlist --study {self._settings.study}`.",
            )

    def _serve(self, folder: BlobFolder) -> HttpServer:
        host, port = self._settings.address
        routes = StoreRoutes(
            folder, self._may_write, chain_id=self.chain.chain_id, quota_bytes=self._settings.quota_bytes or None,
            egress=self._egress,
        )  # fmt: skip
        intake = MessageIntake(
            study_id=self._settings.study,
            domain=self.chain.domain(),
            inbox=self._inbox,
            view=lambda: self._follower.view,
            refresh=self._follower.refresh,
            refresh_every=self._settings.network.poll_interval,
            clock=self._time.now,
        )
        server = HttpServer(
            CoordinatorApplication(
                intake=intake, attestations=self._shared_attestations, info=self.status, routes=routes
            ),
            host=host,
            port=port,
            max_connections=MAX_CONNECTIONS,
            gate=self._make_gate() if self._settings.speaks_tls() else None,
        )
        server.start()
        return server

    @property
    def _tls(self) -> TlsSettings:
        return self._settings.tls or TlsSettings(self._settings.home / "tls" / "node.pem")

    def _make_gate(self) -> RosterGate:
        """TLS by our node key, for the roster of our study. Raises CertificateError."""
        domain = Domain(self.chain.chain_id, self.chain.address_of("Collegium"))
        roster = StudyRoster(self._indexer, lambda: self._follower.view)
        return RosterGate(Identity(self._tls, domain, self.chain.signer), roster.require)

    def _shared_attestations(self, study_id: int, round_number: int) -> list[bytes]:
        return [item.wire for item in self._inbox.get(study_id, round_number, Topic.ATTESTATIONS)]

    def _may_write(self, node_key: str, study_id: int) -> bool:
        """Whether a key is in the current roster, or in the order of aggregators, of our study."""
        if study_id != self._settings.study:
            return False
        snapshots = self._follower.view.snapshots
        return bool(snapshots) and node_key in (*snapshots[-1].node_keys, *snapshots[-1].aggregators)


def _tell(pruned: Pruned) -> None:
    logger.info("retention passed: update of seat %d, round %d: %s", pruned.index, pruned.round, pruned.cid)


class _Both:
    """Writes to the own folder and to a published store; reads from the folder."""

    def __init__(self, folder: BlobFolder, published: Store) -> None:
        self._folder = folder
        self._published = published
        self.name = published.name

    def put(self, data: Any) -> Any:
        self._published.put(data)
        return self._folder.put(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)
