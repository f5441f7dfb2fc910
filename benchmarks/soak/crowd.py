"""Many light clients in one process, a coordinator in another; either is killed at random."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import tomlkit

from collegium.chain import keystore
from collegium.chain.devnet import Devnet
from collegium.storage import BlobFolder
from scripts.demo.observer import Observer
from scripts.demo.parties import free_ports
from scripts.demo.processes import CommandFailed, Processes, Service
from tests.flows.trainer import TABLE
from tests.support.federation import Federation, Member

from .chaos import Chaos
from .following import Follow
from .host import SHARED
from .money import count_money
from .outcome import Outcome
from .sampling import Journal

__all__ = ["soak_crowd"]

WINDOW = 240
"""Seconds of each phase; all end early when everybody has acted, so only a kill makes anybody wait."""
PASSWORD = "a crowd of light clients"
POLL_SECONDS = 0.2
AUDIT_SECONDS = 1200.0
MARKER = ".collegium-soak"
CLIENTS, COORDINATOR = "clients", "coordinator"


def soak_crowd(
    folder: Path,
    *,
    clients: int,
    rounds: int,
    minutes: float | None,
    kill_every: int,
    seed: int,
    say: Callable[[str], None],
) -> Outcome:
    """Run and look. folder: emptied first; keeps homes, logs and `samples.jsonl`. Raises Stuck."""
    empty(folder)
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet.start(log=folder / "logs" / "anvil.log"))
        crowd = Crowd(devnet, folder, clients, rounds, seed)
        say(f"{clients} clients have joined study {crowd.study_id}")
        processes = Processes(lambda line: None, folder / "logs")
        stack.callback(processes.stop)
        crowd.start(processes)
        journal = Journal(folder / "samples.jsonl")
        stack.callback(journal.close)
        observer = Observer(devnet.url, crowd.federation.deployment, crowd.study_id, folder / "observer")
        stack.callback(observer.close)
        # Only two processes: half the pause of a federation of seven.
        chaos = Chaos(processes, crowd.services, crowd.restart, min(kill_every, 2), seed)
        view = Follow(
            observer, crowd.services, {"anvil": devnet.record.pid}, crowd.sampled_homes(), chaos, journal, rounds,
            minutes, say, may_end=frozenset({CLIENTS}),
        ).run()  # fmt: skip
        say("auditing from a fresh home")
        audited = crowd.audit(processes)
        events = observer.indexer.events()
        members = [*crowd.federation.members, *crowd.federation.aggregators]
        holdings = count_money(observer.chain, events, crowd.study_id, [each.institution.address for each in members])
        return Outcome.look(
            view, events, chain=observer.chain, asked=rounds, audited=audited, holdings=holdings,
            homes=crowd.clients, orphans=chaos.orphans,
        )  # fmt: skip


def empty(folder: Path) -> None:
    """Remove what an earlier soak left. Raises CommandFailed for a folder that holds anything else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise CommandFailed(f"{folder} holds something that no soak made; choose another --folder.")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    (folder / MARKER).touch()


class Crowd:
    """Contracts with everybody joined, homes for all, and the two processes."""

    def __init__(self, devnet: Devnet, folder: Path, clients: int, rounds: int, seed: int) -> None:
        self.folder, self.rounds = folder, rounds
        windows = ("commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window")
        self.federation = Federation.start(
            folder / "federation", members=clients, aggregators=1, table=TABLE, devnet=devnet, seed=seed + 1,
            plan={**dict.fromkeys(windows, WINDOW), "min_clients": clients, "max_members": 128},
        )  # fmt: skip
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.clients = [
            self._make_home(f"client-{at:03}", member, {"stores": {"read": [self.url]}})
            for at, member in enumerate(self.federation.members)
        ]
        own = {"study": self.study_id, "listen": f"127.0.0.1:{port}", "rounds": rounds}
        self.coordinator = self._make_home("coordinator", self.federation.aggregators[0], {"coordinator": own})
        store = BlobFolder(self.coordinator / "store")
        for cid in self.federation.store.list():
            store.put(self.federation.store.path_of(cid))
        (folder / "crowd.json").write_text(json.dumps({"study": self.study_id, "url": self.url}))
        self.services: dict[str, Service] = {}

    @property
    def study_id(self) -> int:
        return self.federation.study_id

    @property
    def deployment_file(self) -> Path:
        return self.folder / "federation" / "deployment.json"

    def _make_home(self, name: str, member: Member, more: dict[str, dict[str, object]]) -> Path:
        home = self.folder / "homes" / name
        (home / "keystore").mkdir(parents=True)
        settings = {
            "network": {
                "rpc_url": self.federation.devnet.url, "chain_id": self.federation.chain.chain_id,
                "deployment": str(self.deployment_file), "poll_interval": POLL_SECONDS,
            },
            "keys": {"password_file": "password"},
            "coordinators": {"urls": [self.url]},
            **more,
        }  # fmt: skip
        (home / "collegium.toml").write_text(tomlkit.dumps(settings), encoding="utf-8")
        (home / "password").write_text(PASSWORD, encoding="utf-8")
        keystore.save(home / "keystore" / "node.json", member.node.signer, PASSWORD, light=True)
        return home

    def sampled_homes(self) -> dict[str, Path]:
        """Every client's, what they share, and the coordinator's."""
        return {**{home.name: home for home in (*self.clients, self.coordinator)}, SHARED: self.folder / SHARED}

    # processes

    def start(self, processes: Processes) -> None:
        self._processes = processes
        for name in (COORDINATOR, CLIENTS):
            self.restart(name)

    def restart(self, name: str) -> None:
        home = self.coordinator
        env = {"COLLEGIUM_HOME": str(home), "COLLEGIUM_PASSWORD_FILE": str(home / "password")}
        commands = {
            COORDINATOR: ["collegium-coordinator", "run"],
            CLIENTS: ["python", "-m", "benchmarks.soak.host", str(self.folder), "--rounds", str(self.rounds)],
        }
        # A client's home names its own password file.
        self.services[name] = self._processes.start(name, commands[name], env=env if name == COORDINATOR else {})

    def audit(self, processes: Processes) -> bool:
        """From a fresh home that knows an address, a deployment and the coordinator's store."""
        home = self.folder / "homes" / "auditor"
        home.mkdir()
        command = ["collegium", "audit", "--study", str(self.study_id), "--rpc-url", self.federation.devnet.url]
        command += ["--deployment", str(self.deployment_file), "--store", self.url, "--json"]
        done = processes.run("auditor", command, env={"COLLEGIUM_HOME": str(home)}, check=False, seconds=AUDIT_SECONDS)
        return done.code == 0 and bool(done.data) and done.data["verdict"] == "ok"
