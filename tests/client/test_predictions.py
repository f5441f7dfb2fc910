"""Predictions cross the wall of the task's process as two checked vectors, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from collegium_client.errors import TaskFailed, TaskResultRejected
from collegium_client.sandbox import Sandbox, SandboxSettings
from collegium_client.task import TaskSource

TASK = '''
import torch
from torch.utils.data import TensorDataset
from collegium_client import Task as BaseTask

class Task(BaseTask):
    """The bias chooses what is returned."""

    def model(self):
        return torch.nn.Linear(1, 1)

    def data(self, settings):
        data = TensorDataset(torch.linspace(0, 1, 6)[:, None], torch.tensor([0, 1, 0, 1, 0, 1]))
        return data, data

    def predict(self, model, data):
        labels = data.tensors[1]
        scores = torch.linspace(0, 1, 6)
        return [
            (scores, labels), None, (scores[:5], labels), (scores * 2, labels), (scores, labels * 2),
            (scores * float("nan"), labels), (["x"] * 6, labels), (scores[:, None], labels),
        ][int(model.bias)]
'''


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    path = tmp_path_factory.mktemp("task") / "task.py"
    path.write_text(TASK)
    with Sandbox(TaskSource.read(path), SandboxSettings(), protect=()) as opened:
        yield opened


def state(bias: int) -> dict[str, np.ndarray]:
    return {"weight": np.zeros((1, 1), np.float32), "bias": np.array([bias], np.float32)}


def test_good_ones_come_through(sandbox: Sandbox) -> None:
    for bias in (0, 7):
        found = sandbox.predict(state(bias))
        assert found is not None
        assert found[0].tolist() == pytest.approx(np.linspace(0, 1, 6)) and found[1].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_task_may_give_none(sandbox: Sandbox) -> None:
    assert sandbox.predict(state(1)) is None


@pytest.mark.parametrize("bias", [2, 3, 4, 5, 6])
def test_bad_ones_are_refused(sandbox: Sandbox, bias: int) -> None:
    with pytest.raises((TaskResultRejected, TaskFailed)):
        sandbox.predict(state(bias))


def test_a_model_without_example_is_not_exported(sandbox: Sandbox) -> None:
    with pytest.raises(TaskFailed, match=r"Task\.example"):
        sandbox.export_onnx(state(0))
