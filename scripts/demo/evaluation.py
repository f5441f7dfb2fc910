"""How good the models are on the held-out patients: the federation's, each hospital's alone, and pooled training.

The baselines get the same budget: as many rounds of the task's epochs as the federation has.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["MEASURES", "Evaluation", "Measures"]

MEASURES = ("accuracy", "auroc", "sensitivity", "specificity")

Measures = Mapping[str, float]


@dataclass(frozen=True)
class Site:
    """What a hospital has. malignant: how many of its patients."""

    patients: int
    malignant: int


class Evaluation:
    """The task's own metrics. Imports torch, which takes seconds."""

    def __init__(self, task_file: Path, *, sites: int, seed: int) -> None:
        import torch

        from collegium_client.training import Training

        torch.set_num_threads(1)
        self._module = _load(task_file)
        self._seed = seed
        device = torch.device("cpu")
        self._all = Training(self._module.Task(), {"sites": sites}, device)
        self._sites = [Training(self._module.Task(), {"sites": sites, "site": site}, device) for site in range(sites)]

    @property
    def held_out(self) -> int:
        """How many patients the models are judged by."""
        return len(self._all.holdout)

    def describe_sites(self) -> list[Site]:
        """Size and skew of every hospital."""
        found = []
        for each in self._sites:
            labels = each.train_data.tensors[1]
            found.append(Site(len(labels), int(labels.sum())))
        return found

    def measure(self, state: Mapping[str, Any]) -> Measures:
        """Metrics of a model: name to float32 array."""
        import torch

        tensors = {name: torch.as_tensor(value) for name, value in state.items()}
        found = self._all.evaluate(tensors, {})
        return {name: found[name] for name in MEASURES}

    def train_pooled(self, genesis: Mapping[str, Any], rounds: int) -> list[Measures]:
        """Metrics before and after each round's worth of epochs on everybody's data."""
        return self._train(self._all, genesis, rounds)

    def train_alone(self, genesis: Mapping[str, Any], rounds: int) -> list[list[Measures]]:
        """The same for each hospital on its own data."""
        return [self._train(site, genesis, rounds) for site in self._sites]

    def _train(self, training: Any, genesis: Mapping[str, Any], rounds: int) -> list[Measures]:
        import torch

        state = {name: torch.as_tensor(value) for name, value in genesis.items()}
        buffers: Mapping[str, Any] = {}
        measured = [self.measure(state)]
        for number in range(1, rounds + 1):
            state, buffers, _ = training.run(state, seed=self._seed, round=number, buffers=buffers)
            measured.append(self.measure(state))
        return measured


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_task", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
