"""The run from an empty folder to a finalized study, told in order. Every act is a command that a user could type."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from collegium.chain import keystore
from collegium.chain.deployment import Deployment
from collegium.chain.devnet import Devnet
from collegium.chain.signer import LocalSigner
from scripts.setup.paths import ROOT, tool

from .parties import COORDINATORS, HOSPITALS, Party, free_ports, make_party
from .processes import CommandFailed, Processes, Service, typed
from .results import MARKER, UNFINISHED_PAGES, empty

__all__ = ["WINDOWS", "Federation", "Options"]

WINDOWS: Mapping[str, int] = {
    "commit_window": 180,
    "reveal_window": 60,
    "certify_window": 60,
    "propose_window": 60,
    "challenge_window": 60,
    "evidence_period": 600,
}
"""Seconds. Every phase ends as soon as everybody has acted; only somebody who stays away makes others wait."""

TASK = ROOT / "examples" / "breast_cancer" / "task.py"
STUDY = 1
HOSPITAL_TOKENS, COORDINATOR_TOKENS, STAKE, BOND = 500, 5000, 500, 1000
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Options:
    """root: folder of everything a run writes, emptied first but for an earlier run's results.

    seed: of training and of the genesis model.
    """

    root: Path
    rounds: int = 10
    store: str = "embedded"
    liar: bool = True
    seed: int = 0


@dataclass
class Federation:
    """All parties and their processes; `say` prints a line. Use as a context manager: it ends everything it started."""

    options: Options
    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    """Transactions of the set-up, by what they achieved."""

    def __post_init__(self) -> None:
        self.root = self.options.root
        empty(self.root)
        (self.root / "logs").mkdir(parents=True)
        (self.root / MARKER).touch()
        self.processes = Processes(self.say, self.root / "logs")
        self.hospitals = [make_party(self.root, name) for name in HOSPITALS]
        self.coordinators = [make_party(self.root, name) for name in COORDINATORS]
        self.watcher = make_party(self.root, "watcher")
        self.auditor = make_party(self.root, "auditor")
        self.operator = make_party(self.root, "operator")
        self.deployment_file = self.root / "deployment.json"
        self.stores: list[str] = []
        self.services: dict[str, Service] = {}
        self._closing = ExitStack()

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Federation:
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop()
        self._closing.close()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the seconds of a step."""
        started = monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - started

    @property
    def members(self) -> list[Party]:
        """Every institution: hospitals, then coordinators."""
        return [*self.hospitals, *self.coordinators]

    @property
    def liar(self) -> Party | None:
        """The second coordinator, which is on duty in odd rounds."""
        return self.coordinators[1] if self.options.liar else None

    @property
    def deployment(self) -> Deployment:
        return Deployment.load(self.deployment_file)

    def names(self) -> dict[str, str]:
        """Lower-case address, of institution or node key, to the party's name."""
        parties = [*self.members, self.watcher]
        return {address.lower(): each.name for each in parties for address in (each.institution, each.node) if address}

    # -- the story ----------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """From an empty folder to a study that everybody has joined, with all processes running."""
        with self.step("chain_and_stores"):
            self.start_chain()
            self.start_stores()
        with self.step("deploy_and_keys"):
            self.deploy_and_make_keys()
        with self.step("admit_and_fund"):
            self.admit_and_fund()
        with self.step("register_and_deposit"):
            self.each(self.members, self.register)
        with self.step("create_study"):
            self.together([self.create_study, *[lambda party=party: self.approve(party) for party in self.hospitals]])
        with self.step("enlist_and_join"):
            self.together([self.enlist, *[lambda party=party: self.join(party) for party in self.hospitals]])
        with self.step("start_processes"):
            self.start_coordinators()
            self.start_watcher()
            for party in self.hospitals:
                self.start_training(party)
            for party in self.hospitals:
                self.wait_until_ready(party)

    def start_chain(self) -> None:
        """One real node that mines a block per transaction and keeps the machine's time."""
        self.devnet = Devnet.start(log=self.root / "logs" / "anvil.log")
        self._closing.callback(self.devnet.stop)
        self.say(f"[chain] anvil at {self.devnet.url}, chain id {self.devnet.record.chain_id},"
                 f" a block per transaction, time of this machine (pid {self.devnet.record.pid})")  # fmt: skip

    def start_stores(self) -> None:
        """With `--store kubo`: two IPFS daemons in a private swarm."""
        ports = free_ports(len(self.coordinators))
        for party, port in zip(self.coordinators, ports, strict=True):
            party.url = f"http://127.0.0.1:{port}"
        if self.options.store != "kubo":
            return
        from collegium.storage.kubo_daemon import KuboDaemon, create_swarm_key

        key = create_swarm_key()
        daemons = [
            KuboDaemon(self.root / "ipfs" / name, executable=tool("ipfs"), swarm_key=key)
            for name in ("first", "second")
        ]
        with ThreadPoolExecutor() as pool:
            for daemon in pool.map(lambda each: each.start(), daemons):
                self._closing.callback(daemon.stop)
                self.stores.append(daemon.uri)
                self.say(f"[store] ipfs daemon at {daemon.uri} (pid {daemon.pid}), peer {daemon.peer_id()}")
        # Each party uses one of them; what lies on the other travels through their private swarm.
        daemons[0].connect(daemons[1])

    def deploy_and_make_keys(self) -> None:
        """The operator deploys through Ape while every party makes its home and its keys."""
        operator_key, council = self.make_operator_keys()
        policy = self.root / "policy.toml"
        members = json.dumps([keystore.address_of(path) for path in council])
        policy.write_text(
            f"[council]\nmembers = {members}\nthreshold = 2\n\n[bonds]\nunbonding_period = 3600\nreward_hold = 60\n"
        )
        self.operator_key, self.council = operator_key, council

        def deploy() -> None:
            done = self.ape("deploy", operator_key, "--policy", policy, "--output", self.deployment_file,
                            *self.council_options(council[0], council[2]))  # fmt: skip
            self.outcomes |= {f"deploy {name}": digest for name, digest in done["transactions"].items()}

        self.each([*self.members, self.watcher, None], lambda party: self.make_home(party) if party else deploy())

    def make_operator_keys(self) -> tuple[Path, list[Path]]:
        """Deployer and council as keystores. The chain funds the first accounts of its own mnemonic."""
        folder = self.operator.home / "keystore"
        password = self.operator.password_file.read_text().strip()
        paths = [folder / "deployer.json", *[folder / f"council-{number}.json" for number in (1, 2, 3)]]
        for index, path in enumerate(paths):
            keystore.save(path, LocalSigner(self.devnet.key(index)), password, light=True)
        return paths[0], paths[1:]

    def make_home(self, party: Party) -> None:
        """Settings and keys. The institution key is cold: it stakes and joins; the node key signs rounds."""
        self.cli(party, "init", *self.network_options(), *self.settings_of(party))
        party.node = self.make_key(party, "node")
        if party is not self.watcher:
            party.institution = self.make_key(party, "institution")

    def make_key(self, party: Party, role: str) -> str:
        return str(self.cli(party, "keys", "new", role, "--light")["address"])

    def network_options(self) -> list[str | Path]:
        url, chain_id = self.devnet.url, str(self.devnet.record.chain_id)
        return ["--rpc-url", url, "--chain-id", chain_id, "--deployment", self.deployment_file,
                "--set", f"network.poll_interval={POLL_SECONDS}"]  # fmt: skip

    def settings_of(self, party: Party) -> list[str]:
        """Options of `collegium init`: coordinators, stores, which hospital's data these are."""
        urls = [each.url for each in self.coordinators]
        options = []
        if party in self.hospitals:
            number = self.hospitals.index(party)
            options += [part for url in urls for part in ("--coordinator", url)]
            if self.stores:
                options += ["--push", self.stores[number % len(self.stores)]]
            for setting in (
                f"data.sites={len(self.hospitals)}",
                f"data.site={number}",
                f"training.seed={self.options.seed}",
            ):
                options += ["--set", setting]
        elif party in self.coordinators:
            listen = party.url.removeprefix("http://")
            urls.remove(party.url)
            options += ["--set", f"coordinator.listen={listen}", "--set", f"coordinator.rounds={self.options.rounds}"]
            if self.stores:
                store = self.stores[self.members.index(party) % len(self.stores)]
                options += ["--set", f"coordinator.store={store}", "--set", f"stores.own={json.dumps([store])}"]
        number = [*self.members, self.watcher].index(party)
        for uri in self.stores[number % len(self.stores) :][:1] if self.stores else urls:
            options += ["--store", uri]
        return options

    def admit_and_fund(self) -> None:
        """Two of three admit, one alone is refused; the operator funds everybody."""
        asked = [f"{each.institution}={each.name.capitalize()}" for each in self.members]
        first, second, third = self.council
        grants = []
        for each in self.members:
            tokens = HOSPITAL_TOKENS if each in self.hospitals else COORDINATOR_TOKENS
            grants += [f"{each.institution},1,{tokens}", f"{each.node},1,0"]
        grants.append(f"{self.watcher.node},1,0")
        deployment = ("--deployment", self.deployment_file)

        def refuse() -> None:
            # Somebody whom nobody else admits: all three commands run at the same time.
            alone = f"{LocalSigner(secrets.token_bytes(32)).address}=Impostor"
            done = self.ape_raw("admit", first, *deployment, *self.council_options(first), alone)
            if done.code != 7 or "council members approved" not in done.stderr:
                raise CommandFailed(f"one council member alone should have been refused\n{done.stdout}{done.stderr}")
            self.say(
                f"[operator]   refused, as it must be: {done.stderr.strip().splitlines()[-2].removeprefix('error: ')}"
            )

        def admit() -> None:
            done = self.ape("admit", second, *deployment, *self.council_options(second, third), *asked)
            for party, digest in zip(self.members, done["transactions"], strict=True):
                party.hash_of["admitted"] = digest

        def fund() -> None:
            self.ape("fund", self.operator_key, *deployment, *grants)

        self.together([refuse, admit, fund])

    def register(self, party: Party) -> None:
        """Bind the node key to the institution and put up stake."""
        self.cli(party, "institution", "register", "--name", party.name.capitalize(), "--yes")
        stake = STAKE if party in self.hospitals else COORDINATOR_TOKENS
        self.cli(party, "stake", "deposit", str(stake), "--yes")

    def create_study(self) -> None:
        """The first coordinator founds the study: plan, format, genesis model, task digest."""
        plan = self.root / "plan.toml"
        plan.write_text(self.plan_text())
        done = self.cli(self.coordinators[0], "study", "create", plan, "--yes")
        self.outcomes["study_created"] = done["transactions"][-1]["hash"]

    def plan_text(self) -> str:
        windows = "\n".join(f"{name} = {value}" for name, value in WINDOWS.items())
        return f"""[study]
title = "Breast cancer over four hospitals"
description = "Is a breast mass malignant, from 30 measurements of cell nuclei? Demonstration on public data."
agreement = "Demonstration agreement: public data, updates are public."

[task]
path = "{TASK.relative_to(ROOT)}"

[model]
seed = {self.options.seed}

[rounds]
min_clients = {len(self.hospitals)}
max_members = 16
quorum_min = 3
{windows}

[money]
aggregator_bond = "{BOND}"
unrevealed_fine = "10"
range_fine = "100"
equivocation_fine = "100"
duty_fine = "50"
contradiction_fine = "500"
""".replace(f'path = "{TASK.relative_to(ROOT)}"', f'path = "{relative(TASK, self.root)}"')

    def enlist(self) -> None:
        """Each coordinator locks its bond, in this order, which is that of duty."""
        for party in self.coordinators:
            done = self.run(party, "collegium-coordinator", "enlist", "--study", str(STUDY), "--yes", "--json")
            party.hash_of["enlisted"] = done["transaction"]

    def start_coordinators(self) -> None:
        for party in self.coordinators:
            self.start_coordinator(party)
        for party in self.coordinators:
            self.wait_for(party)

    def start_coordinator(self, party: Party) -> None:
        """The liar is the same program but for one coordinate."""
        command = ["collegium-coordinator", "run"]
        options = ["--study", str(STUDY)]
        if party is self.liar:
            command = ["python", "-m", "scripts.demo.liar"]
            options += ["--home", str(party.home), "--rounds", str(self.options.rounds)]
        self.services[party.name] = self.processes.start(party.name, [*command, *options], env=party.environment)

    def wait_until_ready(self, party: Party, seconds: float = 120.0) -> None:
        """Until a hospital has loaded its task; the first round may be open by then."""
        log = party.home / "logs" / "node.jsonl"
        give_up = monotonic() + seconds
        while not (log.exists() and '"event":"ready"' in log.read_text()):
            self.processes.check_alive()
            if monotonic() > give_up:
                raise CommandFailed(f"{party.name} is not ready:\n{self.services[party.name].tail()}")
            sleep(0.1)

    def wait_for(self, party: Party, seconds: float = 60.0) -> None:
        """Until a coordinator answers."""
        import requests

        give_up = monotonic() + seconds
        while True:
            self.processes.check_alive()
            try:
                if requests.get(f"{party.url}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                pass
            if monotonic() > give_up:
                raise CommandFailed(f"{party.name} does not answer at {party.url}:\n{self.services[party.name].tail()}")
            sleep(0.1)

    def start_watcher(self) -> None:
        command = ["collegium", "watch", str(STUDY)]
        self.services["watcher"] = self.processes.start("watcher", command, env=self.watcher.environment)

    def approve(self, party: Party) -> None:
        """Let the code with this digest run here, and no other."""
        self.cli(party, "study", "approve-task", TASK, "--yes")

    def join(self, party: Party) -> None:
        """Sign the whole plan and lock what it may cost."""
        joined = self.cli(party, "join", str(STUDY), "--accept-open-updates", "--yes")
        party.hash_of["joined"] = joined["transactions"][-1]["hash"]

    def start_training(self, party: Party) -> None:
        """The hospital's node, until the study has its rounds."""
        command = ["collegium", "train", "run", str(STUDY), "--rounds", str(self.options.rounds)]
        self.services[party.name] = self.processes.start(party.name, command, env=party.environment)

    def audit(self, *, seconds: float = 120.0) -> tuple[str, dict[str, Any], int]:
        """From a fresh home that knows an RPC address and a store. Returns command line, data, exit code."""
        party = self.auditor
        party.home.mkdir(parents=True)
        command = ["collegium", "audit", "--study", str(STUDY), "--rpc-url", self.devnet.url]
        command += ["--deployment", str(self.deployment_file), "--store", self.audit_store(), "--json"]
        done = self.processes.run(party.name, command, env=party.environment, check=False, seconds=seconds)
        if done.data is None:
            raise CommandFailed(f"the audit gave no answer\n{done.stdout}{done.stderr}")
        return typed(command), done.data, done.code

    def build_pages(self) -> None:
        """The explorer's pages of the whole history, as a folder; by the same fresh party as the audit."""
        folder = self.root / UNFINISHED_PAGES
        self.cli(self.auditor, "explore", "build", folder, "--rpc-url", self.devnet.url,
                 "--deployment", self.deployment_file, "--store", self.audit_store())  # fmt: skip

    def audit_store(self) -> str:
        """One store: that of the coordinator that did not lie, or the second IPFS daemon."""
        return self.stores[-1] if self.stores else self.coordinators[0].url

    # -- commands -----------------------------------------------------------------------------------------------

    def cli(self, party: Party, *arguments: str | Path) -> Any:
        """A `collegium` command of a party; its data."""
        return self.run(party, "collegium", *arguments, "--json")

    def run(self, party: Party, *command: str | Path) -> Any:
        return self.processes.run(party.name, command, env=party.environment).data

    def ape(self, script: str, account: Path, *arguments: str | Path) -> Any:
        done = self.ape_raw(script, account, *arguments)
        if done.code != 0:
            raise CommandFailed(f"ape run {script} ended with {done.code}\n{done.stdout}{done.stderr}")
        return done.data

    def ape_raw(self, script: str, account: Path, *arguments: str | Path) -> Any:
        network = f"ethereum:local:{self.devnet.url}"
        command = ["ape", "run", script, "--network", network, "--account", account, *arguments]
        return self.processes.run(self.operator.name, command, env=self.operator.environment, check=False)

    def council_options(self, *keys: Path) -> list[str | Path]:
        return [part for key in keys for part in ("--council-key", key)]

    def each(self, parties: Sequence[Any], act: Callable[[Any], None]) -> None:
        self.together([lambda party=party: act(party) for party in parties])  # type: ignore[misc]

    def together(self, acts: Sequence[Callable[[], None]]) -> None:
        """All at once; the first error ends the demo."""
        with ThreadPoolExecutor(len(acts)) as pool:
            try:
                for done in as_completed([pool.submit(act) for act in acts]):
                    done.result()
            except BaseException:
                self.processes.stop()
                raise


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder."""
    import os

    return os.path.relpath(path, folder)
