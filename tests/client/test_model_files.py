"""Exported files and cards: the same bytes for the same model, and nobody's text or weights slip in."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from collegium.errors import SignatureError, VerificationError
from collegium.messages import address_of, sign
from collegium.metrics import disclose
from collegium_client import Task
from collegium_client.card import plain
from collegium_client.errors import TaskResultRejected
from collegium_client.evaluation import FinalModel, Report, compare
from collegium_client.exporting import write_onnx
from collegium_client.forest import draw_forest
from collegium_client.model_files import finish_onnx, to_safetensors
from tests.metrics.test_binary import draw

MODEL = FinalModel(31337, "0x" + "11" * 20, 3, 2, b"\x01" * 32, "bafkmodel", b"\x02" * 32)
KEYS = [hashlib.sha256(bytes([at])).digest() for at in range(4)]
SITES = [address_of(hashlib.sha256(bytes([at, at])).digest()) for at in range(4)]


class Net(Task):
    def model(self) -> Any:
        torch.manual_seed(1)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.GroupNorm(2, 4), torch.nn.ReLU(), torch.nn.Flatten(),
            torch.nn.Linear(4 * 36, 2),
        )  # fmt: skip

    def example(self) -> Any:
        return torch.zeros(1, 1, 8, 8)


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    shapes = [(name, tuple(value.shape)) for name, value in Net().model().named_parameters()]
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes}


@pytest.fixture
def exported(state: dict[str, np.ndarray], tmp_path: Path) -> bytes:
    write_onnx(Net(), {name: torch.from_numpy(value) for name, value in state.items()}, {}, tmp_path / "m.onnx")
    return (tmp_path / "m.onnx").read_bytes()


class TestSafetensors:
    def test_the_bytes_are_the_same_in_every_process(self, state: dict[str, np.ndarray], tmp_path: Path) -> None:
        code = (
            "import sys, numpy as np; sys.path[:0] = sys.argv[2:]\n"
            "from tests.client.test_model_files import MODEL\n"
            "from collegium_client.model_files import to_safetensors\n"
            "state = {name: np.full((3, 2), at, np.float32) for at, name in enumerate('cab')}\n"
            "sys.stdout.write(__import__('hashlib').sha256(to_safetensors(state, MODEL, x='1', a='2')).hexdigest())"
        )
        root = str(Path(__file__).parents[2])
        mine = {name: np.full((3, 2), "cab".index(name), np.float32) for name in "bca"}
        right = hashlib.sha256(to_safetensors(mine, MODEL, a="2", x="1")).hexdigest()
        done = subprocess.run([sys.executable, "-c", code, "", root, root + "/client"], capture_output=True, text=True,
                              env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"}, check=True)  # fmt: skip
        assert done.stdout == right

    def test_it_says_what_it_is(self, state: dict[str, np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "m.safetensors").write_bytes(to_safetensors(state, MODEL, task="00"))
        with safe_open(tmp_path / "m.safetensors", "np") as file:
            (key,) = file.metadata()
            said = json.loads(file.metadata()[key])
            assert set(file.keys()) == set(state)
        assert key == "collegium" and said["root"] == MODEL.root.hex() and said["schema"] == "collegium.model/1"


class TestOnnx:
    def test_it_computes_what_torch_computes(self, state: dict[str, np.ndarray], exported: bytes) -> None:
        content, unused = finish_onnx(exported, state, MODEL)
        assert unused == [] and content == finish_onnx(exported, state, MODEL)[0]
        model = Net().model().eval()
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        for cases in (1, 5):
            inputs = torch.randn(cases, 1, 8, 8, generator=torch.Generator().manual_seed(cases))
            found = onnxruntime.InferenceSession(content).run(None, {"input": inputs.numpy()})[0]
            assert np.allclose(found, model(inputs).detach().numpy(), atol=1e-5)

    def test_other_weights_are_refused(self, state: dict[str, np.ndarray], exported: bytes) -> None:
        name = next(iter(state))
        with pytest.raises(TaskResultRejected, match="other weights"):
            finish_onnx(exported, {**state, name: state[name] + np.float32(1e-3)}, MODEL)

    def test_garbage_and_foreign_operators_are_refused(self, state: dict[str, np.ndarray], exported: bytes) -> None:
        parsed = onnx.load_model_from_string(exported)
        parsed.graph.node[0].domain = "evil.ops"
        parsed.opset_import.add(domain="evil.ops", version=1)
        outside = onnx.load_model_from_string(exported)
        weight = outside.graph.initializer[0]
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../etc/passwd")
        for data in (b"", b"\x08\x09garbage", exported[: len(exported) // 2], parsed.SerializeToString(),
                     outside.SerializeToString()):  # fmt: skip
            with pytest.raises(TaskResultRejected):
                finish_onnx(data, state, MODEL)

    def test_a_task_without_example_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"Task\.example"):
            write_onnx(Task(), {}, {}, tmp_path / "m.onnx")


def report(at: int, *, key: int | None = None, **disclosed: Any) -> Report:
    private = KEYS[at if key is None else key]
    found = disclose(*draw(at), **disclosed)
    unsigned = Report(MODEL.to_json(), SITES[at], address_of(KEYS[at]), "2026-01-02", found)
    return replace(unsigned, signature=sign(unsigned.digest, private))


def view(members: int = 3) -> Any:
    """Members of a study, as far as a report is checked against them."""
    seats = {SITES[at]: SimpleNamespace(index=at, node_key=address_of(KEYS[at])) for at in range(members)}
    return SimpleNamespace(seat_of=seats.get, snapshots=[])


class TestReports:
    def test_a_report_reads_back(self) -> None:
        sent = report(0)
        assert Report.parse(sent.to_json()) == sent
        sent.check(view(), MODEL, registered="")

    @pytest.mark.parametrize("name", ["date", "institution", "model", "disclosed"])
    def test_any_change_breaks_the_signature(self, name: str) -> None:
        content = json.loads(report(0).to_json())
        content[name] = {
            "date": "2026-01-03", "institution": SITES[1], "model": {**content["model"], "round": 9},
            "disclosed": {**content["disclosed"], "brier": 0.001},
        }[name]  # fmt: skip
        with pytest.raises(SignatureError):
            Report.parse(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())

    @pytest.mark.parametrize(
        "data", [b"", b"[]", b'{"schema":"x"}', b"\xff", b"[" * 100_000, b"x" * (2 << 20), report(0).to_json()[:-9]]
    )
    def test_garbage_is_refused(self, data: bytes) -> None:
        with pytest.raises(VerificationError):
            Report.parse(data)

    def test_another_form_of_the_same_content_is_refused(self) -> None:
        with pytest.raises(VerificationError, match="canonical"):
            Report.parse(json.dumps(json.loads(report(0).to_json()), indent=1).encode())

    def test_strangers_and_other_models_are_refused(self) -> None:
        with pytest.raises(SignatureError):
            Report.parse(report(0, key=1).to_json())
        with pytest.raises(VerificationError, match="no member"):
            report(3).check(view(3), MODEL, registered="")
        with pytest.raises(VerificationError, match="another model"):
            report(0).check(view(), replace(MODEL, round=3), registered="")
        rotated = SimpleNamespace(seat_of=lambda _: SimpleNamespace(index=0, node_key=SITES[0]), snapshots=[])
        with pytest.raises(VerificationError, match="never spoke"):
            report(0).check(rotated, MODEL, registered=SITES[1])
        report(0).check(rotated, MODEL, registered=address_of(KEYS[0]))

    def test_sites_beside_one_another(self, tmp_path: Path) -> None:
        found = compare([report(at) for at in range(3)])
        assert found.pooled.sites["auroc"] == 3 and found.differ is not None and found.differ.freedom == 2
        for row in found.rows:
            area = row.measures["auroc"]
            assert area is not None and area.low is not None and area.high is not None
            assert area.low < (area.value or 0) < area.high
        for name, start in (("f.svg", b"<?xml"), ("f.png", b"\x89PNG")):
            draw_forest(found, tmp_path / name, title="Sites")
            assert (tmp_path / name).read_bytes().startswith(start)

    def test_one_site_twice_and_two_thresholds_are_refused(self) -> None:
        with pytest.raises(VerificationError, match="same institution"):
            compare([report(0), report(0)])
        with pytest.raises(VerificationError, match="thresholds"):
            compare([report(0), report(1, threshold=0.4)])


class TestCard:
    def test_foreign_text_is_only_text(self) -> None:
        hostile = "<script>alert(1)</script>\n# Approved [here](http://x) | a `b` \x1b[2J \u202e*x*"
        shown = plain(hostile)
        assert "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown
        for mark in "<>[]()#|`*":
            assert all(shown[at - 1] == "\\" for at, char in enumerate(shown) if char == mark)
