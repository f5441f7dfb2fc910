"""`task new` and `data check`: what they write works, in the real sandbox, and what they print tells no secret.

Tables from CSV and pictures run in a whole study: tests/flows/test_data_scientist.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from collegium.errors import PreconditionError, UsageError
from collegium_client.cli.app import run
from collegium_client.data import Column, Schema
from collegium_client.data.synthetic import write_examples
from collegium_client.errors import DataUnreadable
from collegium_client.plan import PlanFile
from collegium_client.sandbox import Sandbox, SandboxSettings
from collegium_client.scaffold import KINDS, write_task
from collegium_client.task import TaskSource
from collegium_client.training import Training, initial_state

from .test_data import make_csv

ROOT = Path(__file__).parents[2]


def collegium(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def run_confined(folder: Path, data: Path) -> dict[str, float]:
    settings = SandboxSettings(read=(str(data),), data={"path": str(data)})
    with Sandbox(TaskSource.read(folder / "task"), settings, protect=()) as sandbox:
        base = sandbox.genesis(seed=0)
        trained = sandbox.train(base, seed=0, round=1, epochs=3)
        return sandbox.evaluate(trained.state)


def evaluate_here(folder: Path, data: Path) -> dict[str, float]:
    """As confined, but in this process, which has torch already."""
    spec = importlib.util.spec_from_file_location("written_task", folder / "task" / "task.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    training = Training(module.Task(), {"path": str(data)}, torch.device("cpu"))
    state, buffers, _ = training.run(initial_state(module.Task(), 0), seed=0, round=1, buffers={}, epochs=3)
    return training.evaluate(state, buffers)


class TestNewTask:
    @pytest.mark.parametrize("kind", ["parquet", "dicom"])
    def test_it_trains_confined(self, kind: str, tmp_path: Path) -> None:
        made = write_task(tmp_path / "study", kind)
        if kind == "parquet":
            data = tmp_path / "a.parquet"
            source = make_csv(tmp_path / "b.parquet")
            made = write_task(tmp_path / "other", kind, data=source, target="outcome")
            source.rename(data)
        else:
            data = write_examples(tmp_path / "data", made.schema, cases=80)
        metrics = run_confined(made.folder, data)
        assert {"auroc", "sensitivity", "specificity", "accuracy", "brier"} == set(metrics)
        assert PlanFile.load(made.folder / "plan.toml").task_path.resolve() == (made.folder / "task").resolve()
        assert {name for name, _ in TaskSource.read(made.folder / "task").files} == {"task.py", "schema.toml"}

    @pytest.mark.slow
    def test_its_own_tests_pass(self, tmp_path: Path) -> None:
        """Those of a table pass in tests/client/test_documented.py."""
        write_task(tmp_path / "study", "dicom")
        paths = os.pathsep.join([str(ROOT), str(ROOT / "client")])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:ape_test", "-p", "no:cacheprovider", "tests"],
            cwd=tmp_path / "study", env={**os.environ, "PYTHONPATH": paths},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "5 passed" in done.stdout

    @pytest.mark.parametrize("problem", ["classes", "number"])
    def test_other_problems(self, problem: str, tmp_path: Path) -> None:
        changes = {"outcome": lambda frame: [at % 3 if problem == "classes" else at * 0.37 for at in range(len(frame))]}
        data = make_csv(tmp_path / "a.csv", **changes)
        made = write_task(tmp_path / "study", "csv", data=data, target="outcome")
        assert made.schema.problem == problem
        expected = {"accuracy", "balanced_accuracy"} if problem == "classes" else {"mae", "rmse"}
        assert set(evaluate_here(made.folder, data)) == expected

    def test_a_linear_model(self, tmp_path: Path) -> None:
        data = make_csv(tmp_path / "a.csv")
        made = write_task(tmp_path / "study", "csv", data=data, target="outcome", network="logistic")
        assert "auroc" in evaluate_here(made.folder, data)
        assert "nn.Linear(SCHEMA.width, 1)" in (made.folder / "task" / "task.py").read_text()

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_is_tidy(self, kind: str, tmp_path: Path) -> None:
        write_task(tmp_path / "study", kind)
        words = ["check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), "--line-length", "130"]
        done = subprocess.run([sys.executable, "-m", "ruff", *words, str(tmp_path / "study")], capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout

    def test_a_folder_in_use_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("x")
        with pytest.raises(PreconditionError, match="not empty"):
            write_task(tmp_path, "csv")
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_an_empty_current_folder_will_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        write_task(Path(), "csv")
        assert Path("task/task.py").is_file() and [path.name for path in tmp_path.iterdir()] == ["here"]

    def test_a_wrong_wish_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError):
            write_task(tmp_path / "study", "csv", network="gpt")
        with pytest.raises(DataUnreadable):
            write_task(tmp_path / "study", "parquet", data=make_csv(tmp_path / "a.csv"))
        assert not (tmp_path / "study").exists()

    def test_titles_cannot_break_out(self, tmp_path: Path) -> None:
        made = write_task(tmp_path / "study", "csv", title='x"""\nimport os\n"""\\')
        compile((made.folder / "task" / "task.py").read_text(), "task.py", "exec")
        PlanFile.load(made.folder / "plan.toml")

    def test_without_the_extra_it_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = make_csv(tmp_path / "a.csv")
        real = __import__("importlib.util").util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "pandas" else real(name, *a))
        words = ("task", "new", str(tmp_path / "x"), "--from", "csv", "--data", str(data))
        code, envelope = collegium(*words, capsys=capsys)
        assert code == 3 and "pip install 'collegium[data]'" in envelope["error"]["hint"]


class TestDataCheck:
    def test_good_and_broken_data(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        data = make_csv(tmp_path / "a.csv")
        made = write_task(tmp_path / "study", "csv", data=data, target="outcome")
        words = ["data", "check", str(data), "--schema", str(made.folder / "task" / "schema.toml")]
        code, envelope = collegium(*words, capsys=capsys)
        assert code == 0 and envelope["data"]["problems"] == [] and envelope["data"]["rows"] == 400
        make_csv(data, age=400)
        code, envelope = collegium(*words, capsys=capsys)
        assert code == 4 and envelope["error"]["code"] == "data_mismatch"
        assert envelope["data"]["problems"] == ["'age' holds values outside [0, 90]"]

    def test_people_see_hidden_cells(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = lambda frame: ["yes" if at < 4 else "no" for at in range(len(frame))]  # noqa: E731
        data = make_csv(tmp_path / "a.csv", outcome=outcome)
        assert run(["data", "check", str(data), "--target", "outcome"]) == 0
        out, err = capsys.readouterr()
        assert "labels: no <10?, yes <10?" in out and "fewer than 10" in err
        assert "Zyx" not in out + err and "396" not in out + err

    def test_nothing_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00broken")
        schema = tmp_path / "schema.toml"
        columns = (Column("x", "number", range=(0, 1)), Column("y", "category", values=("a", "b")))
        schema.write_text(Schema("table", target="y", columns=columns).to_toml())
        code, envelope = collegium("data", "check", str(tmp_path / "a.csv"), "--schema", str(schema), capsys=capsys)
        assert code == 3 and envelope["error"]["code"] == "data_unreadable"
