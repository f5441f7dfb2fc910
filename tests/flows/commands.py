"""The commands as a person types them, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.chain import Chain, Deployment, NetworkSettings, Rpc
from collegium.chain.devnet import Devnet
from collegium.chain.signer import LocalSigner
from scripts.operations.council import Applicant, admit, allow_referee
from scripts.operations.deployment import deploy
from scripts.operations.funding import Grant, fund
from scripts.operations.policy import Policy
from scripts.operations.sender import Web3Sender
from scripts.setup.paths import ROOT

__all__ = ["Operator", "Person"]

PROGRAMS = {"collegium": "collegium_client.cli", "collegium-coordinator": "collegium_coordinator.cli"}
COIN = 10**18
TASK = '''
import numpy as np
import torch
from collegium_client import Task as BaseTask
from torch.utils.data import TensorDataset


class Task(BaseTask):
    """One feature, two parameters."""

    epochs, batch_size, lr = 2, 16, 0.05

    def model(self):
        return torch.nn.Linear(1, 1)

    def data(self, settings):
        random = np.random.default_rng(int(settings["site"]))
        x = random.normal(size=(64, 1)).astype("float32")
        data = TensorDataset(torch.from_numpy(x), torch.from_numpy(2 * x + 1))
        return data, data

    def loss(self, model, batch):
        x, y = batch
        return ((model(x) - y) ** 2).mean()

    def metrics(self, model, data):
        x, y = data.tensors
        return {"loss": float(((model(x) - y) ** 2).mean())}
'''
PLAN = """
[study]
title = "A line"
description = "Two parameters."
agreement = "Public data."

[task]
path = "task.py"

[model]
seed = 0

[rounds]
min_clients = {hospitals}
max_members = 16
quorum_min = 2
commit_window = 90
reveal_window = 90
certify_window = 90
propose_window = 90
challenge_window = 90
evidence_period = 600

[money]
aggregator_bond = "1000"
unrevealed_fine = "10"
range_fine = "50"
equivocation_fine = "60"
duty_fine = "20"
contradiction_fine = "500"
"""


@dataclass
class Person:
    """One home and what is run from it."""

    home: Path
    cwd: Path = ROOT
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.parent.mkdir(parents=True, exist_ok=True)
        self.password_file = self.home.with_suffix(".password")
        self.password_file.write_text("correct horse\n")

    def run(self, program: str, *arguments: str | Path, code: int = 0, seconds: float = 120) -> Any:
        """Data of the envelope, or its error when another code than 0 is expected."""
        done = subprocess.run(
            self._command(program, [*arguments, "--json"]), env=self._environment(), cwd=self.cwd,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{program} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        envelope = json.loads(done.stdout)
        return envelope["error"] if code else envelope["data"]

    def start(self, program: str, *arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """In the background; its output is in `<home>.log`."""
        with self.home.with_suffix(".log").open("ab") as log:
            process = subprocess.Popen(
                self._command(program, arguments), env=self._environment() | environment, cwd=self.cwd,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append(process)
        return process

    def log(self) -> str:
        return self.home.with_suffix(".log").read_text(errors="replace")

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self, program: str, arguments: Sequence[str | Path]) -> list[str]:
        return [sys.executable, "-m", PROGRAMS[program], *(str(each) for each in arguments)]

    def _environment(self) -> dict[str, str]:
        own = {"COLLEGIUM_HOME": str(self.home), "COLLEGIUM_PASSWORD_FILE": str(self.password_file)}
        return {**os.environ, **own, "PYTHONUNBUFFERED": "1"}


class Operator:
    """Deployer and council in one."""

    def __init__(self, devnet: Devnet, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.deployment_file = folder / "deployment.json"
        self._council = [LocalSigner(devnet.key(2 + at)) for at in range(3)]
        self._sender = Web3Sender(Rpc(devnet.url), LocalSigner(devnet.key(0)))
        council = tuple(each.address for each in self._council)
        policy = Policy(council=council, threshold=2, unbonding_period=3600, reward_hold=60)
        deploy(self._sender, policy, self.deployment_file)
        deployment = Deployment.load(self.deployment_file)
        self.chain = Chain.connect(
            NetworkSettings(devnet.url, devnet.record.chain_id, poll_interval=0.1), deployment=deployment
        )
        allow_referee(self.chain, self._sender, deployment.addresses["Referee"], self._council[:2])

    def admit(self, institution: str, name: str) -> None:
        admit(self.chain, self._sender, [Applicant(institution, name)], self._council[1:])

    def fund(self, account: str, tokens: int = 0) -> None:
        fund(self.chain, self._sender, [Grant(account, COIN, tokens * COIN)])
