"""The image example: the same bytes everywhere, and together the hospitals learn what none learns alone."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from collegium.aggregation import weighted_mean
from collegium.encoding import FormatTable, compute_delta, encode_model, encode_update, export_model
from collegium.optimizer import fedavg_step
from collegium_client.progress import compute_weight
from collegium_client.training import Training, initial_state, parameter_shapes
from scripts.setup.paths import ROOT
from tests.client.worlds import World

FOLDER = ROOT / "examples" / "ultrasound" / "task"
ROUNDS = 10


@pytest.fixture(scope="module")
def task() -> Iterator[ModuleType]:
    """The task's module, with `speckle` beside it importable as in the sandbox."""
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("ultrasound_task", FOLDER / "task.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    sys.modules.pop("speckle", None)


def table_of(task: ModuleType) -> FormatTable:
    return FormatTable(parameter_shapes(task.Task().model()), exponent=20, bound=1 << 24)  # type: ignore[arg-type]


class TestImages:
    def test_their_checksum_is_the_one_in_the_file(self, task: ModuleType) -> None:
        speckle = sys.modules["speckle"]
        assert speckle.checksum() == speckle.SHA256

    def test_speckle_is_rayleigh_and_lesions_show(self, task: ModuleType) -> None:
        """The log of a squared Rayleigh amplitude has a standard deviation of pi / sqrt 6 / ln 2 octaves."""
        speckle = sys.modules["speckle"]
        plain = speckle.Hospital(images=120, lesions=0, kinds=(25, 25, 25, 25), gain=0, contrast=16)
        rows = speckle.generate(plain, 77).pixels[:, :, 20].astype(float)
        spread = (rows - rows.mean(axis=0)).std() / 16
        assert spread == pytest.approx(np.pi / np.sqrt(6) / np.log(2), rel=0.12)
        dark = speckle.Hospital(images=120, lesions=100, kinds=(100, 0, 0, 0), gain=0, contrast=16)
        assert speckle.generate(dark, 77).pixels.mean() < speckle.generate(plain, 77).pixels.mean()

    def test_hospitals_differ(self, task: ModuleType) -> None:
        speckle = sys.modules["speckle"]
        found = [speckle.generate(each, speckle.SEED + at) for at, each in enumerate(speckle.HOSPITALS)]
        means = [each.pixels.mean() for each in found]
        assert max(means) - min(means) > 20
        for each, hospital in zip(found, speckle.HOSPITALS, strict=True):
            assert len(each.labels) == hospital.images
            assert abs(each.labels.mean() * 100 - hospital.lesions) < 10


@pytest.mark.slow
class TestLearning:
    def test_together_they_beat_each_alone(self, task: ModuleType) -> None:
        """FedAvg in the protocol's own integers, against as many epochs on each hospital's own images."""
        torch.set_num_threads(1)
        device = torch.device("cpu")
        sites = [Training(task.Task(), {"site": site}, device) for site in range(4)]
        genesis = {name: value.numpy() for name, value in initial_state(task.Task(), 0).items()}
        together = sites[0].evaluate(train_together(sites, genesis, table_of(task)), {})["auroc"]
        alone = [site.evaluate(train_alone(site, genesis), {})["auroc"] for site in sites]
        print(f"\nAUROC together {together:.3f}, alone {', '.join(f'{area:.3f}' for area in alone)}")
        assert together > max(alone) + 0.02
        assert together > np.mean(alone) + 0.12

    @pytest.mark.chain
    @pytest.mark.flow
    def test_a_round_on_a_chain(self, task: ModuleType, tmp_path: Path) -> None:
        table = table_of(task)
        with World.start(tmp_path, hospitals=2, task=FOLDER, table=table) as world, world.coordinator():
            assert world.run_nodes(1) == [1, 1]
            (evaluated,) = world.named(0, "evaluated")
            assert {"auroc", "sensitivity", "specificity"} <= set(evaluated["metrics"])


def _tensors(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in state.items()}


def train_together(sites: list[Training], genesis: dict[str, Any], table: FormatTable) -> dict[str, torch.Tensor]:
    model = encode_model(genesis, table)
    weights = [compute_weight(site.num_examples, 100_000) for site in sites]
    for number in range(1, ROUNDS + 1):
        base = export_model(model, table)
        updates = []
        for site in sites:
            trained, _, _ = site.run(_tensors(base), seed=0, round=number, buffers={})
            delta = compute_delta({name: value.numpy() for name, value in trained.items()}, base)
            updates.append(encode_update(delta, table))
        mean = weighted_mean(updates, weights, bound=table.bound, count=table.count)
        model = fedavg_step(model, mean, numerator=1, denominator=1, count=table.count)
    return _tensors(export_model(model, table))


def train_alone(site: Training, genesis: dict[str, Any]) -> dict[str, torch.Tensor]:
    state, buffers = _tensors(genesis), {}
    for number in range(1, ROUNDS + 1):
        state, buffers, _ = site.run(state, seed=0, round=number, buffers=buffers)
    return state
