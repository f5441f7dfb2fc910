"""The Ape commands as an operator types them, on a devnet and on the path of a live network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from collegium.chain import keystore
from collegium.chain.client import Chain, NetworkSettings
from collegium.chain.deployment import Deployment
from collegium.chain.devnet import Devnet
from collegium.chain.rpc import Rpc, to_int
from collegium.chain.signer import LocalSigner
from collegium.storage import open_store, parse_cid
from scripts.setup.paths import ROOT, VENV, environment

pytestmark = [pytest.mark.chain, pytest.mark.slow, pytest.mark.xdist_group("ape")]

COUNCIL = (1, 2, 3)


class Operator:
    """Keystores of a deployer and a council, and `ape run` at one network."""

    def __init__(self, devnet: Devnet, folder: Path, network: str) -> None:
        self.devnet, self.folder, self.network = devnet, folder, network
        self.password = folder / "password"
        self.password.write_text("a devnet has no secrets\n")
        for index in (0, *COUNCIL):
            signer = LocalSigner(devnet.key(index))
            keystore.save(self.key(index), signer, "a devnet has no secrets", light=True)
        self.policy = folder / "policy.toml"
        members = [LocalSigner(devnet.key(index)).address for index in COUNCIL]
        self.policy.write_text(f"[council]\nmembers = {json.dumps(members)}\nthreshold = 2\n")
        self.output = folder / "deployment.json"

    def key(self, index: int) -> Path:
        return self.folder / f"key{index}.json"

    def ape(self, *arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [VENV / "bin" / "ape", "run", arguments[0], "--network", self.network]
        command += ["--account", self.key(0), "--password-file", self.password, *arguments[1:]]
        return subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment() | (env or {}),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def deploy(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return self.ape("deploy", "--policy", self.policy, "--output", self.output, *arguments, env=env)

    def council(self, *members: int) -> list[str | Path]:
        keys: list[str | Path] = ["--council-password-file", self.password]
        for member in members:
            keys += ["--council-key", self.key(member)]
        return keys

    def count(self) -> int:
        address = LocalSigner(self.devnet.key(0)).address
        return to_int(Rpc(self.devnet.url).request("eth_getTransactionCount", address, "latest"))

    def chain(self, chain_id: int) -> Chain:
        return Chain.connect(NetworkSettings(self.devnet.url, chain_id), deployment=Deployment.load(self.output))


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.strip().rpartition("\n")[2]))


def test_devnet_by_url_killed_and_resumed(tmp_path: Path) -> None:
    """A keyfile account signs for the chain id of the node, which Ape itself takes to be 1337."""
    with Devnet.start() as devnet:
        operator = Operator(devnet, tmp_path, f"ethereum:local:{devnet.url}")
        for point in ("operation.recorded:3", "operation.sent:6"):
            assert operator.deploy(COLLEGIUM_CRASH_AT=point).returncode == -signal.SIGKILL
        done = answer(operator.deploy(*operator.council(3, 1)))
        assert operator.count() == len(done["transactions"]) == 10  # type: ignore[arg-type]


def test_a_study_is_founded_from_a_plan_file(tmp_path: Path) -> None:
    with Devnet.start() as devnet:
        operator = Operator(devnet, tmp_path, f"ethereum:local:{devnet.url}")
        answer(operator.deploy(*operator.council(1, 2)))
        plan, home = tmp_path / "plan.toml", tmp_path / "home"
        task = ROOT / "examples" / "breast_cancer" / "task.py"
        plan.write_text(f'[study]\ntitle = "Rehearsal"\n[task]\npath = "{task}"\n')
        done = answer(operator.ape("create_study", "--deployment", operator.output, "--home", home, plan))
        assert done["study"] == 1
        chain = operator.chain(31337)
        cid = chain.call("Collegium", "modelOf", 1)["cid"]
        assert open_store((home / "store").as_uri()).has(parse_cid(cid))


def test_devnet_by_the_foundry_provider(tmp_path: Path) -> None:
    with Devnet.start() as devnet:
        operator = Operator(devnet, tmp_path, "ethereum:local:foundry")
        answer(operator.deploy(APE_FOUNDRY_HOST=devnet.url))
        assert operator.count() == 9


def test_rehearsal_of_a_testnet(tmp_path: Path) -> None:
    """Ape's path for live networks: confirmations, keyfile account, chain id 11155111."""
    with Devnet.start(chain_id=11155111, block_time=1) as devnet:
        operator = Operator(devnet, tmp_path, f"ethereum:sepolia:{devnet.url}")
        answer(operator.deploy(*operator.council(1, 2)))
        assert Deployment.load(operator.output).chain_id == 11155111
        chain = operator.chain(11155111)
        institution = LocalSigner(os.urandom(32)).address
        asked = ("--deployment", operator.output, f"{institution}=North")

        alone = operator.ape("admit", *operator.council(2), *asked)
        assert alone.returncode == 7
        assert "1 council members approved and 2 are needed" in alone.stderr
        assert not chain.call("Members", "isActive", institution)

        answer(operator.ape("admit", *operator.council(2, 3), *asked))
        assert chain.call("Members", "isActive", institution)

        answer(operator.ape("fund", "--deployment", operator.output, f"{institution},0.5,12.25"))
        assert chain.balance(institution) == 5 * 10**17
        assert chain.call("CollegiumToken", "balanceOf", institution) == 1225 * 10**16


def test_wrong_password_and_missing_account_are_told(tmp_path: Path) -> None:
    with Devnet.start() as devnet:
        operator = Operator(devnet, tmp_path, f"ethereum:local:{devnet.url}")
        operator.password.write_text("wrong")
        done = operator.deploy()
        assert done.returncode == 6 and "does not open" in done.stderr
        assert operator.count() == 0
