"""Fixtures: contracts deployed once on one Anvil, put back after every test; a home to run commands from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import Deployment, Rpc
from collegium.chain.devnet import Devnet
from collegium.chain.signer import LocalSigner
from collegium.contract_source.release import Release
from collegium.contract_source.targets import Target, find_targets
from collegium_client.cli.app import run
from scripts.operations.deployment import deploy
from scripts.operations.policy import Policy
from scripts.operations.sender import Web3Sender


@dataclass(frozen=True)
class Deployed:
    devnet: Devnet
    deployment: Deployment
    file: Path
    release: Release

    @property
    def rpc(self) -> Rpc:
        return Rpc(self.devnet.url)

    def target(self, name: str) -> Target:
        (found,) = find_targets(self.deployment, self.release, [name])
        return found

    def code(self, name: str) -> bytes:
        return bytes.fromhex(self.rpc.request("eth_getCode", self.target(name).address, "latest")[2:])

    def set_code(self, name: str, code: bytes) -> None:
        self.rpc.request("anvil_setCode", self.target(name).address, "0x" + code.hex())


@pytest.fixture(scope="session")
def release() -> Release:
    return Release.load()


@pytest.fixture(scope="session")
def deployed_once(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    with Devnet.start(accounts=4) as devnet:
        council = tuple(LocalSigner(devnet.key(at)).address for at in (1, 2, 3))
        policy = Policy(council=council, threshold=2, unbonding_period=3600, reward_hold=60)
        file = folder / "deployment.json"
        done = deploy(Web3Sender(Rpc(devnet.url), LocalSigner(devnet.key(0))), policy, file)
        yield Deployed(devnet, done.deployment, file, release)


@pytest.fixture
def deployed(deployed_once: Deployed) -> Iterator[Deployed]:
    snapshot = deployed_once.rpc.request("evm_snapshot")
    yield deployed_once
    deployed_once.rpc.request("evm_revert", snapshot)


class Shell:
    """`collegium …` in this process, from an empty home."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *words: str | Path) -> tuple[int, Any, str]:
        """Exit code, envelope, stderr."""
        self._capsys.readouterr()
        code = run([*map(str, words), "--home", str(self.home), "--json"])
        out, err = self._capsys.readouterr()
        return code, json.loads(out), err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr("collegium.contract_source.publishing.PAUSE", 0.05)
    monkeypatch.delenv("ETHERSCAN_API_KEY", raising=False)
    return Shell(tmp_path / "home", capsys)
