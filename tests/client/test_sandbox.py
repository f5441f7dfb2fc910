"""What a hostile task can do: nothing that matters."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium.errors import PreconditionError
from collegium_client.errors import TaskFailed, TaskResultRejected, TaskTimedOut
from collegium_client.progress import compute_weight
from collegium_client.sandbox import Sandbox
from collegium_client.settings import SandboxSettings
from collegium_client.task import TaskSource

ATTACKS = ("", "nan", "shape", "names", "huge", "link", "pickle", "sleep", "exit", "raise")
HOSTILE = TaskSource.read(Path(__file__).with_name("hostile.py"))
pytestmark = pytest.mark.slow


class Home:
    """A home with a secret in its keystore, and a sandbox over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = folder / "keystore" / "node.json"
        self.secret.parent.mkdir(parents=True)
        self.secret.write_text("secret")
        self.log = folder / "task.log"

    def sandbox(self, *, timeout: float = 60, **data: Any) -> Sandbox:
        settings = SandboxSettings(timeout_seconds=timeout, data=data, device="cpu")
        return Sandbox(
            HOSTILE,
            settings,
            protect=[self.secret.parent],
            scratch=self.folder / "scratch",
            log=self.log,
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def base(attack: str = "") -> dict[str, np.ndarray]:
    """Weights that tell the hostile task what to try."""
    bias = np.array([ATTACKS.index(attack), 0], np.float32)
    return {"weight": np.zeros((2, 4), np.float32), "bias": bias}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One process for all tests that may share it: importing torch takes seconds."""
    with Home(tmp_path_factory.mktemp("shared")).sandbox(timeout=5) as sandbox:
        yield sandbox


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems enforce less and say so")
class TestWalls:
    def test_a_hostile_task_reaches_nothing(
        self, home: Home, listener: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("MY_SECRET", "1")
        outside = tmp_path / "outside.txt"
        unix = tmp_path / "unix"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(unix))
            server.listen()
            with home.sandbox(
                secret=str(home.secret),
                outside=str(outside),
                port=listener,
                unix=str(unix),
                parent=os.getpid(),
                home=str(tmp_path),
            ) as sandbox:
                confinement = sandbox.start()
                found = sandbox.evaluate(base())
        if not (confinement.no_network and confinement.no_keystore and confinement.no_writes):
            pytest.skip(f"this kernel cannot confine: {confinement.explain()}")
        # In a process namespace of its own the parent's number may be nobody's.
        assert {name for name, worked in found.items() if worked} == set()
        assert not outside.exists()

    def test_what_is_enforced_is_said(self, shared: Sandbox) -> None:
        told = shared.start()
        assert set(told.mechanisms) >= {"filesystem_allowlist", "system_call_filter", "network_namespace"}
        assert ("NOT BLOCKED" in told.explain()) == (not (told.no_network and told.no_keystore and told.no_writes))

    def test_a_secret_inside_a_readable_folder_is_refused(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        settings = SandboxSettings(read=(str(tmp_path),))
        with (
            Sandbox(HOSTILE, settings, protect=[home.secret.parent], scratch=tmp_path / "s") as sandbox,
            pytest.raises(PreconditionError, match="lies inside"),
        ):
            sandbox.start()


class TestResults:
    def test_an_honest_result_comes_back(self, shared: Sandbox) -> None:
        trained = shared.train(base(), seed=1, round=1)
        again = shared.train(base(), seed=1, round=1)
        assert trained.num_examples == 8
        assert all(np.isfinite(value).all() for value in trained.state.values())
        assert all((trained.state[name] == again.state[name]).all() for name in base())
        assert trained.report["steps"] == 1

    @pytest.mark.parametrize("attack", ["nan", "shape", "names", "huge", "link", "pickle"])
    def test_a_bad_result_is_rejected(self, shared: Sandbox, attack: str) -> None:
        with pytest.raises(TaskResultRejected):
            shared.train(base(attack), seed=1, round=1)
        assert shared.train(base(), seed=1, round=1).num_examples == 8

    def test_an_error_of_the_task_is_told(self, shared: Sandbox) -> None:
        with pytest.raises(TaskFailed, match="on purpose"):
            shared.train(base("raise"), seed=1, round=1)

    def test_a_task_that_hangs_is_ended_and_leaves_nothing_running(self, home: Home) -> None:
        with home.sandbox(timeout=3) as sandbox:
            sandbox.start()
            assert sandbox._process is not None
            group = sandbox._process.pid
            with pytest.raises(TaskTimedOut):
                sandbox.train(base("sleep"), seed=1, round=1)
            with pytest.raises(ProcessLookupError):
                os.killpg(group, 0)
        assert not (home.folder / "scratch").exists()

    def test_a_process_that_died_is_started_again(self, shared: Sandbox) -> None:
        with pytest.raises(TaskFailed, match="ended"):
            shared.train(base("exit"), seed=1, round=1)
        shared.start()
        assert shared.train(base(), seed=1, round=1).num_examples == 8

    def test_a_task_without_the_class_is_told(self, tmp_path: Path) -> None:
        source = TaskSource((("task.py", b"x = 1"),), True)
        with (
            Sandbox(source, SandboxSettings(), protect=[], scratch=tmp_path / "s") as sandbox,
            pytest.raises(TaskFailed, match="class Task"),
        ):
            sandbox.describe()

    def test_buffers_stay_local_and_come_back(self, tmp_path: Path) -> None:
        code = (
            "import torch\n"
            "from collegium_client import Task as Base\n"
            "class Task(Base):\n"
            "    def model(self): return torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))\n"
            "    def data(self, settings):\n"
            "        data = torch.utils.data.TensorDataset(torch.arange(8.0).reshape(4, 2), torch.ones(4, 1))\n"
            "        return data, data\n"
            "    def loss(self, model, batch): return ((model(batch[0]) - batch[1]) ** 2).mean()\n"
            "    def metrics(self, model, data): return {'mean': float(model[0].running_mean[0])}\n"
        )
        source = TaskSource((("task.py", code.encode()),), True)
        settings = SandboxSettings(device="cpu", require_confinement=sys.platform.startswith("linux"))
        with Sandbox(source, settings, protect=[], scratch=tmp_path / "s") as sandbox:
            start = sandbox.genesis(1)
            assert set(start) == {"0.weight", "0.bias", "1.weight", "1.bias"}
            first = sandbox.train(start, seed=1, round=1)
            second = sandbox.train(start, seed=1, round=2, buffers=first.buffers)
            assert {name for name, _ in sandbox.describe().buffers} == {
                "0.running_mean", "0.running_var", "0.num_batches_tracked",
            }  # fmt: skip
            means = [sandbox.evaluate(start, buffers=each.buffers)["mean"] for each in (first, second)]
        assert 0 < means[0] < means[1]


def test_weights_hide_exact_numbers() -> None:
    weights = [compute_weight(number, 1000) for number in range(1, 3000)]
    assert weights == sorted(weights)
    assert weights[0] == 1 and weights[-1] == 1000
    assert len(set(weights)) < 40
    assert all(abs(weight / number - 1) < 0.36 for number, weight in enumerate(weights[:900], start=1))
