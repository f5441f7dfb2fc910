"""The texts around a new task: its tests, a draft of the study's plan, and a page that says what to do next."""

from __future__ import annotations

__all__ = ["PLAN", "README", "TESTS"]

TESTS = '''"""The task on made-up data: it learns, runs confined, and scales by the schema alone. Run: pytest"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from collegium_client.data import Schema
from collegium_client.data.synthetic import write_examples
from collegium_client.sandbox import Sandbox, SandboxSettings
from collegium_client.task import TaskSource
from collegium_client.training import Training, initial_state

FOLDER = Path(__file__).resolve().parent.parent / "task"
SCHEMA = Schema.read(FOLDER / "schema.toml")


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("task", None)
    import task

    return task.Task()


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    return write_examples(tmp_path / "examples", SCHEMA, cases=160, seed=1)


def test_it_learns(task, examples: Path) -> None:
    training = Training(task, {"path": str(examples)}, torch.device("cpu"))
    _, _, report = training.run(initial_state(task, 0), seed=0, round=1, buffers={}, epochs=10)
    assert report.last_loss < report.first_loss


def test_patients_are_held_out(task, examples: Path) -> None:
    training, held_out = task.data({"path": str(examples), "holdout": 0.5})
    assert 40 < len(held_out) < 120 and len(training) + len(held_out) == 160


def test_inputs_do_not_depend_on_the_other_cases(task, tmp_path: Path, examples: Path) -> None:
    fewer = write_examples(tmp_path / "fewer", SCHEMA, cases=160, seed=1)
    assert torch.equal(task.data({"path": str(examples)})[0].tensors[0], task.data({"path": str(fewer)})[0].tensors[0])
    inputs = task.data({"path": str(examples), "holdout": 0.0})[0].tensors[0]
    assert inputs.abs().max() <= 1


def test_it_runs_confined(examples: Path) -> None:
    settings = SandboxSettings(read=(str(examples),), data={"path": str(examples)})
    with Sandbox(TaskSource.read(FOLDER), settings, protect=()) as sandbox:
        base = sandbox.genesis(seed=0)
        trained = sandbox.train(base, seed=0, round=1)
        metrics = sandbox.evaluate(trained.state)
    assert set(trained.state) == set(base) and trained.num_examples > 0
    assert all(value >= 0 for value in metrics.values()) and metrics


def test_the_exported_input_fits(task) -> None:
    example = task.example()
    assert len(example) == 1 and len(task.model().eval()(example)) == 1
'''

PLAN = '''# A draft of the study. `collegium study validate plan.toml` checks it, docs/client.md explains every line.
[study]
title = "$title"
description = ""
agreement = ""                     # the agreement's file beside this one, or its text; all who join sign its sha256

[task]
path = "task"

[model]
seed = 0
exponent = 20
bound = 16777216
weighted = true

[rounds]
min_clients = 3
max_members = 16
quorum_min = 2
commit_window = 3600               # seconds; long enough for the slowest hospital to train
reveal_window = 3600
certify_window = 3600
propose_window = 3600
challenge_window = 3600
evidence_period = 604800

[money]
aggregator_bond = "1000"
unrevealed_fine = "10"
range_fine = "100"
equivocation_fine = "100"
duty_fine = "50"
contradiction_fine = "500"
'''

README = '''# $title

A task for Collegium: `task/` is what a study names and what every hospital reads, approves and runs confined.

| file | is |
| --- | --- |
| `task/task.py` | model, loss, metrics |
| `task/schema.toml` | what the data look like; all sites agree on it, and numbers are scaled by its ranges |
| `tests/` | the task on made-up data |
| `plan.toml` | a draft of the study |

## Next

1. Read `task/schema.toml`. Replace its ranges and labels by agreed ones; they are $guessed.
2. `pytest tests` passes on made-up data.
3. `collegium data check $path --schema task/schema.toml` counts what your data break.
4. Name the data in `collegium.toml`:

   ```toml
   [data]
   path = "$path"
   [training]
   read = ["$path"]
   ```

5. `collegium study approve-task task` shows the code and approves its digest for this institution.
6. `collegium train dry-run --plan plan.toml` trains once and shows, byte for byte, what would leave the hospital.
7. `collegium study validate plan.toml`, and the sponsor runs `collegium study create plan.toml`.
'''
