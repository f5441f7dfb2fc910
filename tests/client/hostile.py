"""A task that attacks. The first bias of the base chooses how; what it reached is told through its metrics."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.utils.data import TensorDataset

from collegium_client import Task as BaseTask

ATTACKS = ("", "nan", "shape", "names", "huge", "link", "pickle", "sleep", "exit", "raise")


def replace_saving(save: Any) -> None:
    """Write the next result in another way."""
    honest = safetensors.torch.save_file

    def once(tensors: Any, path: str) -> None:
        safetensors.torch.save_file = honest
        save(tensors, path)

    safetensors.torch.save_file = once


def attempt(work: Any) -> float:
    """1.0 when the attack worked."""
    try:
        return 1.0 if work() else 0.0
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return 0.0


class Task(BaseTask):
    epochs = 1
    batch_size = 8

    def model(self) -> nn.Module:
        return nn.Linear(4, 2)

    def data(self, settings: Mapping[str, Any]) -> tuple[TensorDataset, TensorDataset]:
        self.settings = settings
        data = TensorDataset(torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(8, dtype=int))
        return data, data

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        attack = ATTACKS[int(model.bias[0])]
        if attack == "nan":
            with torch.no_grad():
                model.weight[0, 0] = float("nan")
        if attack == "shape":
            model.weight = nn.Parameter(torch.zeros(3, 4))
            return model.weight.sum()
        if attack == "names":
            model.extra = nn.Parameter(torch.zeros(1))
        if attack == "sleep":
            time.sleep(60)
        if attack == "exit":
            os._exit(3)
        if attack == "raise":
            raise ValueError("on purpose")
        if attack == "huge":
            replace_saving(lambda tensors, path: Path(path).write_bytes(bytes(1 << 24)))
        if attack == "link":
            replace_saving(lambda tensors, path: (Path(path).unlink(), Path(path).symlink_to("/etc/passwd")))
        if attack == "pickle":
            replace_saving(lambda tensors, path: Path(path).write_bytes(pickle.dumps({"weight": [1.0]})))
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: nn.Module, data: TensorDataset) -> dict[str, float]:
        secret = Path(self.settings["secret"])
        outside = Path(self.settings["outside"])
        port = int(self.settings["port"])
        parent = int(self.settings["parent"])

        def connect() -> bool:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True

        def unix() -> bool:
            with socket.socket(socket.AF_UNIX) as opened:
                opened.connect(self.settings["unix"])
                return True

        def write() -> bool:
            outside.write_text("owned")
            return True

        def child() -> bool:
            return b"secret" in subprocess.run(["cat", str(secret)], capture_output=True, timeout=10).stdout

        def kill() -> bool:
            os.kill(parent, 0)
            return True

        return {
            "read_secret": attempt(lambda: "secret" in secret.read_text()),
            "list_secret": attempt(lambda: bool(list(secret.parent.iterdir()))),
            "read_by_child": attempt(child),
            "read_by_link": attempt(lambda: (Path("link").symlink_to(secret), "secret" in Path("link").read_text())[1]),
            "connect": attempt(connect),
            "unix": attempt(unix),
            "environment": float(any("SECRET" in name for name in os.environ)),
            "parent_environment": attempt(lambda: b"SECRET" in Path(f"/proc/{parent}/environ").read_bytes()),
            "parent_memory": attempt(lambda: Path(f"/proc/{parent}/mem").open("rb").read(1) or True),
            "signal_parent": attempt(kill),
            "write_outside": attempt(write),
            "shadow": attempt(lambda: bool(Path("/etc/shadow").read_text())),
            "home": attempt(lambda: bool(list(Path(self.settings["home"]).iterdir()))),
            "keys_in_memory": float("collegium.chain.keystore" in sys.modules),
        }
