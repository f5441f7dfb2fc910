"""A study on real contracts with homes for everybody, and the roles running in threads of this process.

    world = arena(hospitals=3, plan={"reveal_window": 3})
    world.start_coordinator(0)
    world.start_hospitals()
    final = world.wait_final(1)
    world.assert_sound()

Nothing moves the clock: a phase that must time out gets a short window, the others end early.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from collegium.audit import Report, audit_study
from collegium.chain import Indexer, RoundView, StudyView, keystore
from collegium.chain.devnet import Devnet
from collegium.chain.events import ChainEvent
from collegium.commitment import compute_seal
from collegium.encoding import compute_delta, encode_update, export_model
from collegium.inputs import BlobSource
from collegium.records import Kind, bits
from collegium.storage import BlobFolder, MultiStore, parse_cid
from collegium.verification import recompute_round
from collegium_client.progress import compute_weight
from tests.support.federation import Federation, Member

from .money import assert_conserved
from .roles import PASSWORD, open_coordinator, open_hospital, open_watcher
from .trainer import TABLE, Trainer

__all__ = ["Arena", "Running", "free_ports"]

POLL = 0.1
WINDOWS = {"commit_window": 40, "reveal_window": 40, "certify_window": 40, "propose_window": 40, "challenge_window": 40}
PATIENCE = 60.0
_seeds = iter(range(1, 1 << 30))
Work = Callable[[threading.Event, Callable[[], None]], None]
"""Opens a role, calls its second argument, and runs until the event is set."""


class Running:
    """A role in a thread. Raises what it died of when it is stopped."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._stop, self._opened = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()
        assert self._opened.wait(PATIENCE), f"{name} does not open"

    def _run(self, work: Work) -> None:
        try:
            work(self._stop, self._opened.set)
        except BaseException as error:
            self.error = error
        finally:
            self._opened.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def check(self) -> None:
        if self.error is not None:
            raise AssertionError(f"{self.name} died: {self.error!r}") from self.error

    def ask_to_stop(self) -> None:
        self._stop.set()

    def stop(self, seconds: float = 20.0, *, check: bool = True) -> None:
        self._stop.set()
        self._thread.join(seconds)
        if check:
            assert not self._thread.is_alive(), f"{self.name} does not stop"
            self.check()


class Arena:
    """hospitals, coordinators: how many. plan: fields to change. rpc_url: of a proxy. node, coordinator: settings."""

    def __init__(
        self,
        devnet: Devnet,
        folder: Path,
        *,
        hospitals: int = 3,
        coordinators: int = 1,
        rounds: int = 1,
        plan: Mapping[str, Any] | None = None,
        rpc_url: str | None = None,
        node: Mapping[str, Any] | None = None,
        coordinator: Mapping[str, Any] | None = None,
        push: Sequence[str] = (),
        read: Sequence[str] = (),
        store: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.federation = Federation.start(
            folder / "federation", members=hospitals, aggregators=coordinators, table=TABLE, devnet=devnet,
            plan={**WINDOWS, "min_clients": min(2, hospitals), "quorum_min": 2, **(plan or {})}, seed=next(_seeds),
        )  # fmt: skip
        self.rpc_url = rpc_url or devnet.url
        self.ports = free_ports(coordinators)
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self._running: dict[str, Running] = {}
        self._node, self._push, self._read = dict(node or {}), list(push), list(read)
        self._genesis = folder / "genesis"
        self.chain = self.federation.chain
        self._indexer = Indexer(folder / "observer.sqlite", self.chain)
        self.hospitals = [
            self._make_home(f"hospital-{at}", member, site=at, coordinator={})
            for at, member in enumerate(self.federation.members)
        ]
        self.coordinators = [
            self._make_home(
                f"coordinator-{at}", member, site=-1,
                coordinator={
                    "study": self.study_id, "listen": f"127.0.0.1:{port}", "rounds": rounds,
                    **({"store": store[at]} if store else {}), **(coordinator or {}),
                },
            )
            for at, (member, port) in enumerate(zip(self.federation.aggregators, self.ports, strict=True))
        ]  # fmt: skip

    # -- homes ----------------------------------------------------------------------------------------------------

    @property
    def study_id(self) -> int:
        return self.federation.study_id

    def _make_home(self, name: str, member: Member, *, site: int, coordinator: Mapping[str, Any]) -> Path:
        home = self.folder / name
        for part in ("keystore", "state", "store"):
            (home / part).mkdir(parents=True)
        own = str(coordinator.get("listen", "")).rpartition(":")[2]
        others = [f"http://127.0.0.1:{port}" for port in self.ports if str(port) != own]
        settings = {
            "network": {
                "rpc_url": self.rpc_url, "chain_id": self.chain.chain_id, "poll_interval": POLL, "retry_for": 1.0,
                "deployment": str(self.folder / "federation" / "deployment.json"),
            },
            "keys": {"password_file": "password"},
            "stores": {"read": [*self._read, *others], "push": self._push},
            "coordinators": {"urls": self.urls},
            "node": self._node,
            "coordinator": dict(coordinator),
        }  # fmt: skip
        (home / "collegium.toml").write_text(tomlkit.dumps(settings))
        (home / "password").write_text(PASSWORD)
        (home / "about.json").write_text(
            json.dumps({"study": self.study_id, "site": site})
        )
        keystore.save(home / "keystore" / "node.json", member.node.signer, PASSWORD, light=True)
        # The genesis model is public; whoever has no other store for it has it at home.
        store = BlobFolder(home / "store")
        for path in sorted((self.folder / "federation" / "store").rglob("*")):
            if path.is_file() and path.stat().st_size and path.suffix == "":
                store.put(path)
        return home

    def make_watcher_home(self, name: str = "watcher") -> Path:
        """A home with a funded key of no institution."""
        return self._make_home(name, self.federation.admit(name, stake=1), site=len(self.hospitals), coordinator={})

    def edit(self, home: Path, table: str, **values: Any) -> None:
        """Change settings of a home."""
        path = home / "collegium.toml"
        settings = tomlkit.parse(path.read_text())
        settings[table].update(values)  # type: ignore[union-attr]
        path.write_text(tomlkit.dumps(settings))

    def add_twin(self, at: int) -> Path:
        """A second home with the key of a coordinator, known to every hospital; nothing of it runs yet."""
        (port,) = free_ports(1)
        twin = self.folder / f"coordinator-{len(self.coordinators)}"
        shutil.copytree(self.coordinators[at], twin)
        self.edit(twin, "coordinator", listen=f"127.0.0.1:{port}")
        self.coordinators.append(twin)
        self.urls.append(f"http://127.0.0.1:{port}")
        for home in self.hospitals:
            self.edit(home, "coordinators", urls=self.urls)
        return twin

    # -- running --------------------------------------------------------------------------------------------------

    def start(self, name: str, work: Work) -> Running:
        self._running[name] = Running(name, work)
        return self._running[name]

    def start_hospital(self, at: int, **options: Any) -> Running:
        """options: of `open_hospital`."""

        def work(stop: threading.Event, opened: Callable[[], None]) -> None:
            with open_hospital(self.hospitals[at], **options) as node:
                opened()
                node.run(stop=stop)

        return self.start(f"hospital-{at}", work)

    def start_hospitals(self, *but: int) -> None:
        """All of them, but those."""
        for at in range(len(self.hospitals)):
            if at not in but:
                self.start_hospital(at)

    def start_coordinator(self, at: int, **options: Any) -> Running:
        """options: of `open_coordinator`. Returns once it serves."""
        coordinator = open_coordinator(self.coordinators[at], **options)

        def work(stop: threading.Event, opened: Callable[[], None]) -> None:
            with coordinator:
                opened()
                coordinator.run(stop)

        return self.start(f"coordinator-{at}", work)

    def start_watcher(self, name: str = "watcher") -> Running:
        home = self.make_watcher_home(name)

        def work(stop: threading.Event, opened: Callable[[], None]) -> None:
            with open_watcher(home) as watcher:
                opened()
                watcher.run(stop=stop)

        return self.start(name, work)

    def stop(self, name: str) -> None:
        self._running.pop(name).stop()

    def check(self) -> None:
        """Raises when a role has died."""
        for running in self._running.values():
            running.check()

    def close(self) -> None:
        self.close_roles()
        self._indexer.close()

    def close_roles(self) -> None:
        """Stop everything that runs."""
        for running in self._running.values():
            running.ask_to_stop()
        for running in self._running.values():
            running.stop(check=False)
        self._running = {}

    # -- looking --------------------------------------------------------------------------------------------------

    def view(self) -> StudyView:
        """The study as events tell it now."""
        self._indexer.sync()
        return StudyView.build(self._indexer.events(self.study_id), self.study_id)

    def events(self, name: str) -> list[ChainEvent]:
        """Of this study, or of no study."""
        self._indexer.sync()
        return self._indexer.events(name=name)

    def wait(self, what: str, look: Callable[[StudyView], Any], seconds: float = PATIENCE) -> Any:
        """The first truthy answer of `look`; fails when a role dies or time is over."""
        give_up = time.monotonic() + seconds
        while not (found := look(self.view())):
            self.check()
            assert time.monotonic() < give_up, f"{what} did not happen; {self.describe()}"
            time.sleep(0.05)
        return found

    def wait_final(self, number: int, seconds: float = PATIENCE) -> RoundView:
        """The round of that number, once it has a record."""

        def look(view: StudyView) -> RoundView | None:
            found = view.round(number)
            return found if found is not None and found.record is not None else None

        found: RoundView = self.wait(f"round {number} final", look, seconds)
        return found

    def describe(self) -> str:
        """Where things stand, for the message of a failure."""
        view, lines = self.view(), []
        for each in view.rounds:
            lines.append(
                f"round {each.number}: {each.phase_at(int(time.time())).name} committed {each.committed:b}"
                f" revealed {each.revealed:b} certified {each.certified:b} proposals {len(each.proposals)}"
            )
        for home in [*self.hospitals, *self.folder.glob("watcher*")]:
            for path in (home / "logs").glob("*.jsonl"):
                lines.append(f"-- {home.name}")
                lines += path.read_text().splitlines()[-12:]
        return "\n".join(lines)

    def told(self, at: int, event: str) -> list[dict[str, Any]]:
        """What a hospital's log says under that name."""
        path = self.hospitals[at] / "logs" / "node.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [entry for entry in entries if entry["event"] == event]

    def fines(self, kind: Kind | None = None) -> dict[str, int]:
        """Token wei fined, by institution."""
        found: dict[str, int] = {}
        for event in self.events("Fined"):
            if kind is None or event.args["kind"] == kind:
                found[event.args["institution"]] = found.get(event.args["institution"], 0) + event.args["amount"]
        return found

    def institution(self, at: int) -> str:
        return self.federation.members[at].institution.address

    def aggregator(self, at: int) -> Member:
        return self.federation.aggregators[at]

    # -- what must be true at the end -----------------------------------------------------------------------------

    def expected_root(self, number: int) -> bytes:
        """Model root after a round of honest `Trainer`s: from their data, not from what they published."""
        view = self.view()
        round = view.round(number)
        assert round is not None and round.outcome is not None
        base = self._source(view).model(parse_cid(round.model_cid), root=round.model_root).elements
        state, updates, weights = export_model(base, TABLE), [], []
        for seat in bits(round.outcome.included):
            trained = Trainer(seat).train(state)
            updates.append(encode_update(compute_delta(trained.state, state), TABLE))
            weights.append(compute_weight(trained.num_examples, view.plan.max_weight))
        root: bytes = recompute_round(updates, weights, base, view.plan, view.format).model_tree.root
        return root

    def _source(self, view: StudyView, *but: str) -> BlobSource:
        """Every home's folder read as one."""
        homes = [*self.hospitals, *self.coordinators]
        folders = [BlobFolder(home / "store") for home in homes if home.name not in but]
        return BlobSource(BlobFolder(self.folder / "observer"), MultiStore(folders), view.format)

    def assert_sound(self, *, honest: bool = True) -> StudyView:
        """Every final round recomputed from public bytes, one commitment per seat, money conserved, audit green.

        honest: hospitals trained honestly, so that the roots follow from their data.
        """
        view = self.view()
        source = self._source(view)
        for round in view.final_rounds:
            assert round.outcome is not None
            final = round.proposals[-1].proposal
            base = source.model(parse_cid(round.model_cid), root=round.model_root)
            updates = []
            for seat in bits(round.outcome.included):
                opened = round.reveals[seat]
                blob = source.update(
                    parse_cid(opened.cid), ctx=round.ctx, index=seat, salt=opened.salt, root=opened.root
                )
                assert compute_seal(opened.salt, parse_cid(opened.cid).digest)
                updates.append(blob.elements)
            weights = [round.commits[seat].weight for seat in bits(round.outcome.included)]
            right = recompute_round(updates, weights, base.elements, view.plan, view.format)
            assert (final.mean_root, final.new_model_root) == (right.mean_tree.root, right.model_tree.root)
            if honest:
                assert final.new_model_root == self.expected_root(round.number)
        commits = [(event.args["round"], event.args["index"]) for event in self.events("UpdateCommitted")]
        assert len(commits) == len(set(commits)), "a hospital committed twice"
        self._indexer.sync()
        assert_conserved(self.chain, self._indexer.events())
        report = self.audit()
        assert report.verdict == "ok", "\n".join(report.lines())
        return view

    def audit(self, *but: str) -> Report:
        """From public events and the stores of all homes but those named."""
        return audit_study(self.chain, self._source(self.view(), *but).stores, self.study_id)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports

