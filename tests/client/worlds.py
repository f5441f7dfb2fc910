"""Hospitals with homes, coordinators with HTTP, on a real chain: everything a client meets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.chain import NetworkSettings, StudyView, keystore
from collegium.chain.following import StudyFollower
from collegium.encoding import FormatTable
from collegium.storage import cid_of
from collegium_client.home import Home
from collegium_client.plan import PublishedPlan
from collegium_client.session import open_node
from collegium_client.task import TaskSource
from collegium_coordinator.running import Coordinator
from collegium_coordinator.settings import CoordinatorSettings
from scripts.setup.paths import ROOT
from tests.support.federation import Federation, Member

EXAMPLE = ROOT / "examples" / "breast_cancer" / "task.py"
TENSORS = [("0.weight", (16, 30)), ("0.bias", (16,)), ("2.weight", (1, 16)), ("2.bias", (1,))]
PASSWORD = "correct horse"


def example_table() -> FormatTable:
    """What the example task federates."""
    return FormatTable(TENSORS, exponent=16, bound=1 << 20)


@dataclass
class World:
    """A federation with homes. `events` holds what every hospital's node reported."""

    federation: Federation
    folder: Path
    task: Path = EXAMPLE
    homes: list[Path] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    events: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(
        cls,
        folder: Path,
        *,
        hospitals: int = 3,
        coordinators: int = 1,
        task: Path = EXAMPLE,
        table: FormatTable | None = None,
        **plan: Any,
    ) -> Iterator[World]:
        """A chain, a study on a task that all joined, a home per hospital; nothing runs yet.

        `task`, a file or a folder, federates the tensors of `table`.
        """
        source, table = TaskSource.read(task), table or example_table()
        published = PublishedPlan("Breast cancer", "", table, source.digest, {})
        content = published.to_json()
        changes = {
            "task_digest": source.digest,
            "plan_digest": cid_of(content).digest,
            **dict.fromkeys(
                ("commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window"), 60
            ),
            "evidence_period": 600,
            **plan,
        }
        federation = Federation.start(
            folder / "federation",
            members=hospitals,
            aggregators=coordinators,
            table=table,
            plan=changes,
        )
        with federation:
            federation.store.put(content)
            federation.deployment.save(folder / "deployment.json")
            world = cls(federation, folder, task)
            for at, member in enumerate(federation.members):
                world.homes.append(world.make_home(f"hospital-{at}", member, site=at))
            yield world

    def make_home(self, name: str, member: Member, *, site: int = 0, **more: dict[str, Any]) -> Path:
        """A home as `collegium init` makes it, with the member's keys and an approved task."""
        home = self.folder / name
        (home / "keystore").mkdir(parents=True)
        (home / "password").write_text(PASSWORD)
        for role, account in (("institution", member.institution), ("node", member.node)):
            keystore.save(home / "keystore" / f"{role}.json", account.signer, PASSWORD, light=True)
        tables: dict[str, dict[str, Any]] = {
            "network": {
                "rpc_url": self.federation.devnet.url,
                "chain_id": self.federation.chain.chain_id,
                "deployment": str(self.folder / "deployment.json"),
                "poll_interval": 0.05,
                "retry_for": 2.0,
            },
            "keys": {"password_file": "password"},
            "stores": {"read": [f"file://{self.federation.folder / 'store'}"]},
            "coordinators": {"urls": self.urls},
            "data": {"sites": 4, "site": site},
            **more,
        }
        write_settings(home, tables)
        opened = Home(home)
        opened.approvals.approve(TaskSource.read(self.task), "example")
        opened.salt_secret(self.federation.study_id, create=True)
        return home

    def settings(self, at: int, **tables: dict[str, Any]) -> None:
        """Change settings of a hospital."""
        import tomllib

        home = self.homes[at]
        content = tomllib.loads((home / "collegium.toml").read_text())
        write_settings(home, {**content, **{name: {**content.get(name, {}), **new} for name, new in tables.items()}})

    @contextmanager
    def coordinator(self, at: int = 0, **options: Any) -> Iterator[Coordinator]:
        """A real coordinator, running in a thread; every hospital knows it from then on."""
        member = self.federation.aggregators[at]
        home = self.folder / f"coordinator-{at}"
        home.mkdir(exist_ok=True)
        network = NetworkSettings(
            rpc_url=self.federation.devnet.url,
            chain_id=self.federation.chain.chain_id,
            deployment=self.folder / "deployment.json",
            poll_interval=0.05,
        )
        settings = CoordinatorSettings(
            home,
            network,
            home / "unused.json",
            study=self.federation.study_id,
            read=(f"file://{self.federation.folder / 'store'}",),
            **options,
        )
        with Coordinator(settings, member.node.signer) as coordinator:
            self.urls.append(coordinator.url)
            for each in range(len(self.homes)):
                self.settings(each, coordinators={"urls": self.urls})
            stop = threading.Event()
            thread = threading.Thread(target=coordinator.run, args=(stop,), daemon=True)
            thread.start()
            try:
                yield coordinator
            finally:
                stop.set()
                thread.join(20)

    def run_nodes(self, until: int, *, which: list[int] | None = None, timeout: float = 120) -> list[Any]:
        """Run hospitals' nodes in threads until the study has `until` final rounds; results or exceptions."""
        chosen = list(range(len(self.homes))) if which is None else which
        results: dict[int, Any] = {}

        def run(at: int) -> None:
            try:
                with open_node(
                    Home(self.homes[at]), self.federation.study_id, listen=self.events.setdefault(at, []).append
                ) as node:
                    results[at] = node.run(until=until)
            except BaseException as error:
                results[at] = error

        threads = [threading.Thread(target=run, args=(at,), daemon=True) for at in chosen]
        with ExitStack() as stack:
            for thread in threads:
                thread.start()
                stack.callback(thread.join, 1)
            for thread in threads:
                thread.join(timeout)
            alive = sum(thread.is_alive() for thread in threads)
            assert not alive, f"{alive} nodes did not finish: {self.view().current}"
        return [results[at] for at in chosen]

    def view(self) -> StudyView:
        """The study from events."""
        with Home(self.homes[0]).indexer(self.federation.chain) as indexer:
            return StudyFollower(indexer, self.federation.study_id).refresh()

    def named(self, at: int, event: str) -> list[dict[str, Any]]:
        """Events of a hospital's node."""
        return [each for each in self.events.get(at, []) if each["event"] == event]


def write_settings(home: Path, tables: dict[str, dict[str, Any]]) -> None:
    """collegium.toml of a home."""
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    (home / "collegium.toml").write_text("\n".join(lines))
