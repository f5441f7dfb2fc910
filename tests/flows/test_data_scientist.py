"""From a CSV and from a folder of images to an exported model, by the commands a person types."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from safetensors.numpy import load_file
from sklearn.datasets import load_breast_cancer

from collegium.chain.devnet import Devnet
from collegium.encoding import parse_blob
from collegium.storage import BlobFolder, parse_cid
from collegium_client.cli import app
from collegium_client.data import Schema
from collegium_client.data.synthetic import write_examples

from .arena import free_ports
from .commands import Operator, Person
from .test_processes import _wait_for_line, make_party

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

HOSPITALS = 3
COLUMNS = ("mean radius", "mean texture", "mean smoothness", "mean concavity", "worst area", "worst symmetry")
WINDOWS = ("commit", "reveal", "certify", "propose", "challenge")


def write_tables(folder: Path) -> list[Path]:
    """The Wisconsin data dealt to the hospitals, as a person would export them."""
    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data[list(COLUMNS)].assign(
        patient_id=[f"CANARY-{at}" for at in range(len(bunch.data))],
        diagnosis=np.where(bunch.target == 0, "malignant", "benign"),
    )
    folder.mkdir()
    paths = [folder / f"hospital-{at}" / "cohort.csv" for at in range(HOSPITALS)]
    for at, path in enumerate(paths):
        path.parent.mkdir()
        frame.iloc[at::HOSPITALS].to_csv(path, index=False)
    return paths


def finish_plan(plan: Path, *, clients: int) -> Path:
    """What a sponsor edits in the draft."""
    text = plan.read_text().replace("min_clients = 3", f"min_clients = {clients}")
    for name in WINDOWS:
        text = text.replace(f"{name}_window = 3600", f"{name}_window = 90")
    plan.write_text(text.replace("evidence_period = 604800", "evidence_period = 600"))
    return plan


class Hospital(Person):
    """Types the same commands without a process for each: an interpreter's start costs more than most of them."""

    def run(self, program: str, *arguments: str | Path, code: int = 0, seconds: float = 120) -> Any:
        if program != "collegium":
            return super().run(program, *arguments, code=code, seconds=seconds)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = app.run([*map(str, arguments), "--home", str(self.home), "--json"])
        assert found == code, f"{arguments}: {found}\n{out.getvalue()}\n{err.getvalue()}"
        envelope = json.loads(out.getvalue())
        return envelope["error"] if code else envelope["data"]


class Scene:
    """A coordinator and hospitals on a chain."""

    def __init__(self, devnet: Devnet, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self.operator = Operator(devnet, folder / "operator")
        self.coordinator = Hospital(folder / "coordinator")
        self.hospitals = [Hospital(folder / f"hospital-{at}") for at in range(HOSPITALS)]
        listen = f"coordinator.listen={self.url.removeprefix('http://')}"
        make_party(self.operator, devnet, self.coordinator, "Coordinator", 2500, "--set", listen)
        for at, hospital in enumerate(self.hospitals):
            make_party(self.operator, devnet, hospital, f"Hospital {at}", 400, "--coordinator", self.url)

    def give_data(self, at: int, path: Path) -> None:
        settings = (f"data.path={path}", "data.holdout=0.5", f'training.read=["{path.parent}"]')
        self.hospitals[at].run("collegium", "config", "set", *settings)

    def found(self, plan: Path) -> int:
        # One coordinator process serves one study.
        self.coordinator.stop()
        self.coordinator.running.clear()
        self.coordinator.home.with_suffix(".log").unlink(missing_ok=True)
        study = int(self.coordinator.run("collegium", "study", "create", plan, "--yes")["study"])
        self.coordinator.run("collegium-coordinator", "enlist", "--study", str(study), "--yes")
        self.coordinator.start("collegium-coordinator", "run", "--study", str(study), "--rounds", "1")
        _wait_for_line(self.coordinator, "serves")
        return study

    def join(self, at: int, study: int) -> None:
        self.hospitals[at].run("collegium", "join", str(study), "--accept-open-updates", "--yes")

    def train(self, study: int, hospitals: list[int]) -> None:
        chosen = [self.hospitals[at] for at in hospitals]
        processes = [each.start("collegium", "train", "run", str(study), "--rounds", "1", "--json") for each in chosen]
        for hospital, process in zip(chosen, processes, strict=True):
            assert process.wait(150) == 0, hospital.log()

    def stop(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Person.stop, [self.coordinator, *self.hospitals]))


def test_from_data_to_models(devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(tmp_path / "password"))
    scene = Scene(devnet, tmp_path)
    try:
        _table(scene, tmp_path)
        _images(scene, tmp_path)
    finally:
        scene.stop()


def _table(scene: Scene, folder: Path) -> None:
    tables = write_tables(folder / "data")
    scientist = scene.hospitals[0]
    scientist.run("collegium", "task", "new", folder / "cancer", "--from", "csv", "--data", tables[0],
                  "--target", "diagnosis", "--name", "Breast masses")  # fmt: skip
    schema = folder / "cancer" / "task" / "schema.toml"
    # Another hospital's ranges differ: the scientist agrees on wider ones.
    mend_ranges(schema, tables)
    for at, table in enumerate(tables):
        checked = scene.hospitals[at].run("collegium", "data", "check", table, "--schema", schema)
        assert checked["problems"] == [] and checked["rows"] in (189, 190)
        scene.give_data(at, table)
    plan = finish_plan(folder / "cancer" / "plan.toml", clients=3)

    # Before the study exists, and again when it does but nobody has joined.
    scientist.run("collegium", "study", "approve-task", folder / "cancer" / "task", "--yes")
    draft = scientist.run("collegium", "train", "dry-run", "--plan", plan, "--output", folder / "draft")
    study = scene.found(plan)
    for hospital in scene.hospitals:
        hospital.run("collegium", "study", "approve-task", "--study", str(study), "--yes")
    shown = scientist.run("collegium", "train", "dry-run", str(study), "--output", folder / "shown")
    assert shown["update_root"] == draft["update_root"]
    for at in range(HOSPITALS):
        scene.join(at, study)
    scene.train(study, [0, 1, 2])

    # What really left is what was shown: the same payload, the header's context aside.
    final = scientist.run("collegium", "study", "show", str(study))
    assert [each["final"] for each in final["rounds"]] == [True]
    sent = find_update(scientist, shown["update_root"])
    assert sent.payload == parse_blob((folder / "shown" / "update.blob").read_bytes()).payload
    leaked = [path.name for path in (folder / "shown").iterdir() if b"CANARY" in path.read_bytes()]
    assert leaked == []

    _evaluate(scene, folder, study)
    _export(scene, folder, study)


def mend_ranges(schema: Path, tables: list[Path]) -> None:
    frame = pandas.concat([pandas.read_csv(path) for path in tables])
    found = Schema.read(schema)
    text = schema.read_text()
    for column in found.features:
        assert column.range is not None
        low, high = column.range
        wider = (min(low, float(frame[column.name].min())), max(high, float(frame[column.name].max())))
        old = f'name = "{column.name}"\ntype = "number"\nrange = [{_tidy(low)}, {_tidy(high)}]'
        assert old in text
        text = text.replace(old, f'name = "{column.name}"\ntype = "number"\nrange = [{wider[0]}, {wider[1]}]')
    schema.write_text(text)


def _tidy(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def find_update(hospital: Person, root: str) -> Any:
    from collegium.errors import CollegiumError
    from collegium.tree import root_of

    store = BlobFolder(hospital.home / "store")
    for path in sorted((hospital.home / "store").rglob("*")):
        try:
            blob = parse_blob(store.get(parse_cid(path.name), max_bytes=1 << 20))
        except (CollegiumError, OSError):
            continue
        if "0x" + root_of(blob.payload).hex() == root:
            return blob
    raise AssertionError("the update that was shown was never stored")


def _evaluate(scene: Scene, folder: Path, study: int) -> None:
    reports = [folder / f"report-{at}.json" for at in range(HOSPITALS)]
    for hospital, report in zip(scene.hospitals, reports, strict=True):
        here = hospital.run("collegium", "model", "evaluate", str(study), "--bootstrap", "7", "--output", report)
        assert here["bootstrap"]["low"] < here["local"]["auroc"]["value"] <= here["bootstrap"]["high"]
        assert here["local"]["auroc"]["value"] > 0.8 and here["local"]["cases"] > 60
        assert "CANARY" not in report.read_text()
    compared = scene.hospitals[1].run("collegium", "model", "compare", *reports, "--plot", folder / "forest.svg")
    assert compared["pooled"]["sites"]["auroc"] == HOSPITALS and len(compared["sites"]) == HOSPITALS
    low, high = compared["pooled"]["area_low"], compared["pooled"]["area_high"]
    assert low <= compared["pooled"]["auroc"]["value"] <= high <= 1
    assert compared["heterogeneity"]["summary"]["value"] > 0.8
    assert "<svg" in (folder / "forest.svg").read_text()[:800]

    changed = json.loads(reports[0].read_text())
    changed["disclosed"]["auroc"]["value"] = 0.999
    forged = folder / "forged.json"
    forged.write_text(json.dumps(changed, sort_keys=True, separators=(",", ":")) + "\n")
    refused = scene.hospitals[1].run("collegium", "model", "compare", forged, *reports[1:], code=4)
    assert "not signed by" in refused["message"]
    twice = scene.hospitals[1].run("collegium", "model", "compare", reports[0], reports[0], reports[1], code=4)
    assert "same institution" in twice["message"]
    old = folder / "old.json"
    scene.hospitals[0].run("collegium", "model", "evaluate", str(study), "--round", "0", "--output", old)
    other = scene.hospitals[1].run("collegium", "model", "compare", reports[1], old, code=4)
    assert "another model" in other["message"]


def _export(scene: Scene, folder: Path, study: int) -> None:
    import onnxruntime

    hospital = scene.hospitals[2]
    words = ("collegium", "model", "export", str(study))
    reports = [word for at in range(HOSPITALS) for word in ("--report", folder / f"report-{at}.json")]
    first = hospital.run(*words, "--output", folder / "model.safetensors", "--card", folder / "card.md", *reports)
    again = scene.hospitals[0].run(*words, "--output", folder / "again.safetensors")
    assert first["sha256"] == again["sha256"]
    hospital.run("collegium", "model", "verify", str(study), folder / "model.safetensors")
    exported = hospital.run(*words, "--format", "onnx", "--output", folder / "model.onnx")
    assert exported["difference"] < 1e-5 and exported["unused"] == []

    state = load_file(folder / "model.safetensors")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    inputs = np.random.default_rng(3).normal(size=(17, len(COLUMNS))).astype(np.float32)
    hidden = np.maximum(inputs @ state["0.weight"].T + state["0.bias"], 0)
    right = hidden @ state["2.weight"].T + state["2.bias"]
    assert np.allclose(session.run(None, {"input": inputs})[0], right, atol=1e-5)

    final = hospital.run("collegium", "study", "show", str(study))
    card = (folder / "card.md").read_text()
    for fact in ("# Breast masses, round 1", first["sha256"], final["model"]["cid"], final["plan_hash"][2:],
                 final["rounds"][0]["record"][2:], *(seat["institution"] for seat in final["members"])):  # fmt: skip
        assert fact in card
    assert "| auroc | " in card and "| 3 |" in card


def _images(scene: Scene, folder: Path) -> None:
    """A second study of two of the hospitals, from pictures."""
    for at in range(2):
        starter = Schema("images", classes=("negative", "positive"), size=(24, 24))
        scene.give_data(at, write_examples(folder / "pictures" / f"hospital-{at}", starter, cases=60, seed=at))
    scene.hospitals[0].run("collegium", "task", "new", folder / "lesion", "--from", "images",
                           "--data", folder / "pictures" / "hospital-0")  # fmt: skip
    study = scene.found(finish_plan(folder / "lesion" / "plan.toml", clients=2))
    for at in range(2):
        scene.hospitals[at].run("collegium", "study", "approve-task", "--study", str(study), "--yes")
        scene.join(at, study)
    scene.train(study, [0, 1])
    exported = scene.hospitals[0].run(
        "collegium", "model", "export", str(study), "--format", "onnx", "--output", folder / "lesion.onnx"
    )
    assert exported["round"] == 1 and exported["difference"] < 1e-4
    assert scene.hospitals[1].run("collegium", "model", "evaluate", str(study))["report"] is None
