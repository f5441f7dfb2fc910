"""The demo as its user starts it; then every claim of its summary is computed again from the chain and the blobs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from collegium.chain.abi import interface
from collegium.chain.deployment import Deployment
from collegium.chain.rpc import Rpc, to_int
from collegium.encoding import BlobKind, parse_blob
from collegium.optimizer import fedavg_step
from collegium.records import Format, Section
from collegium.storage import open_store, parse_cid
from collegium_coordinator.aggregation import Aggregate, Inputs
from scripts.demo.liar import choose_rounds, tamper
from scripts.demo.results import MARKER
from scripts.setup.paths import ROOT, VENV, VENV_PYTHON, environment

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow, pytest.mark.xdist_group("demo")]

ROUNDS = 3
PATIENCE = 900


@dataclass
class Demo:
    """A run that has written its summary and, with `--keep`, still runs."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "summary.json").read_text()))

    @property
    def rpc(self) -> Rpc:
        settings = tomllib.loads((self.folder / "homes" / "north" / "collegium.toml").read_text())
        return Rpc(settings["network"]["rpc_url"])

    @property
    def deployment(self) -> Deployment:
        return Deployment.load(self.folder / "deployment.json")

    def logs(self, contract: str, event: str) -> list[dict[str, Any]]:
        """Decoded logs, straight from the node, with their transaction."""
        entry = interface(contract).events[event]
        query = {
            "address": self.deployment.addresses[contract],
            "fromBlock": "0x0",
            "topics": ["0x" + entry.topic.hex()],
        }
        return [
            entry.decode([bytes.fromhex(topic[2:]) for topic in log["topics"]], bytes.fromhex(log["data"][2:]))
            | {"transaction": log["transactionHash"]}
            for log in self.rpc.request("eth_getLogs", query)
        ]

    def receipt(self, transaction: str) -> dict[str, Any]:
        return dict(self.rpc.request("eth_getTransactionReceipt", transaction))


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [str(VENV_PYTHON), "-m", "scripts.demo", "--output", str(folder), *arguments]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "demo.out").open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT)


def wait_until_kept(process: subprocess.Popen[bytes], folder: Path) -> Demo:
    """Until a `--keep` run has everything written down."""
    output = folder.parent / "demo.out"
    give_up = time.monotonic() + PATIENCE
    while "Ctrl-C ends it" not in output.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > give_up:
            process.kill()
            pytest.fail(f"the demo did not finish:\n{output.read_text(errors='replace')[-6000:]}")
        time.sleep(0.5)
    return Demo(process, folder)


def end(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C, once."""
    process.send_signal(signal.SIGINT)
    return process.wait(60)


def find_left(folder: Path) -> list[str]:
    """Processes that name the folder of a run in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in text:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("liar") / "demo"
    process = start(folder, "--rounds", str(ROUNDS), "--keep")
    try:
        yield wait_until_kept(process, folder)
    finally:
        code = end(process)
    assert code == 130
    assert sys.platform != "linux" or find_left(folder) == []


class TestSummaryFromTheChain:
    def test_rounds_and_hospitals(self, demo: Demo) -> None:
        summary, finals = demo.summary, demo.logs("Collegium", "RoundFinalized")
        assert summary["rounds_finalized"] == len(finals) == ROUNDS
        assert summary["hospitals"] == len(demo.logs("Collegium", "MemberJoined")) == 4
        assert summary["transactions"]["rounds_finalized"] == [each["transaction"] for each in finals]
        assert [each["record"] for each in summary["rounds"]] == ["0x" + each["record"].hex() for each in finals]

    def test_the_lie_is_the_only_one_and_was_refuted(self, demo: Demo) -> None:
        summary, refuted = demo.summary, demo.logs("Refutations", "Refuted")
        assert summary["lie_refuted"] is True and len(refuted) == 1
        assert refuted[0]["claimed"] != refuted[0]["right"]
        assert summary["transactions"]["lie_refuted"] == refuted[0]["transaction"]
        lie = summary["lie"]
        assert [lie["coordinate"], lie["claimed"], lie["right"]] == [
            refuted[0]["coordinate"], refuted[0]["claimed"], refuted[0]["right"],
        ]  # fmt: skip
        assert lie["liar_alive"] is True

    def test_the_bond_paid_what_the_summary_says(self, demo: Demo) -> None:
        fines = [each for each in demo.logs("Bonds", "Fined") if each["role"] == 1]
        assert demo.summary["aggregator_slashed_wei"] == sum(each["amount"] for each in fines) == 1000 * 10**18
        fine = fines[0]
        shares = fine["sharePerClient"] * fine["eligible"].bit_count()
        assert fine["burned"] + fine["challengerReward"] + shares == fine["amount"]
        assert demo.summary["transactions"]["aggregator_slashed"] == [fine["transaction"]]

    def test_another_aggregator_finished_the_round_of_the_lie(self, demo: Demo) -> None:
        number = demo.logs("Refutations", "Refuted")[0]["round"]
        proposed = [each for each in demo.logs("Collegium", "AggregateProposed") if each["round"] == number]
        final = next(each for each in demo.logs("Collegium", "RoundFinalized") if each["round"] == number)
        assert len({each["aggregator"] for each in proposed}) == len(proposed) == 2
        assert final["proposalHash"] == proposed[-1]["proposalHash"]
        assert demo.summary["takeover_round_finalized"] is True
        assert demo.summary["transactions"]["takeover_round_finalized"] == final["transaction"]
        assert demo.summary["transactions"]["lie_proposed"] == proposed[0]["transaction"]

    def test_gas_is_that_of_every_receipt(self, demo: Demo) -> None:
        head = to_int(demo.rpc.request("eth_blockNumber"))
        blocks = demo.rpc.batch("eth_getBlockReceipts", [[hex(number)] for number in range(head + 1)])
        assert demo.summary["gas"]["total"] == sum(to_int(each["gasUsed"]) for block in blocks for each in block)

    def test_every_transaction_succeeded(self, demo: Demo) -> None:
        for claim, value in demo.summary["transactions"].items():
            for each in value if isinstance(value, list) else [value]:
                assert to_int(demo.receipt(each)["status"]) == 1, claim

    def test_accuracy_of_the_final_model(self, demo: Demo) -> None:
        """The blob of the last record, read by hand: two layers in numpy."""
        final = demo.logs("Collegium", "RoundFinalized")[-1]
        cid = parse_cid(final["modelCid"])
        data = (open_store((demo.folder / "homes" / "alder" / "store").as_uri())).get(cid, max_bytes=1 << 20)
        blob = parse_blob(data, kind=BlobKind.MODEL)
        elements = np.frombuffer(blob.payload, "<i4")[:513].astype(np.float64) / (1 << 20)
        first, bias, second, last = np.split(elements, [480, 496, 512])
        module = load_task()
        features, labels, _, held_out = module.split(4)
        hidden = np.maximum(features[held_out] @ first.reshape(16, 30).T + bias, 0)
        said = hidden @ second + last > 0
        accuracy = float((said == (labels[held_out] == 1)).mean())
        assert demo.summary["accuracy_global"] == pytest.approx(accuracy, abs=1.01 / len(held_out))
        assert demo.summary["accuracy_global"] == demo.summary["measures"]["global"][-1]["accuracy"]

    def test_baselines_are_trained_anew(self, demo: Demo) -> None:
        from scripts.demo.evaluation import Evaluation

        genesis = demo.logs("Collegium", "StudyCreated")[0]["genesisCid"]
        store = open_store((demo.folder / "homes" / "alder" / "store").as_uri())
        payload = parse_blob(store.get(parse_cid(genesis), max_bytes=1 << 20), kind=BlobKind.MODEL).payload
        values = (np.frombuffer(payload, "<i4")[:513].astype(np.float64) / (1 << 20)).astype(np.float32)
        shapes = {"0.weight": (16, 30), "0.bias": (16,), "2.weight": (1, 16), "2.bias": (1,)}
        sizes = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
        parts = np.split(values, sizes)
        state = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        evaluation = Evaluation(ROOT / "examples" / "breast_cancer" / "task.py", sites=4, seed=demo.summary["seed"])
        pooled = evaluation.train_pooled(state, ROUNDS)[-1]["accuracy"]
        alone = [each[-1]["accuracy"] for each in evaluation.train_alone(state, ROUNDS)]
        assert demo.summary["accuracy_pooled"] == pytest.approx(pooled, abs=1e-9)
        assert demo.summary["accuracy_local_mean"] == pytest.approx(sum(alone) / 4, abs=1e-9)

    def test_audit_verdict(self, demo: Demo, tmp_path: Path) -> None:
        store = (demo.folder / "homes" / "alder" / "store").as_uri()
        command = [VENV / "bin" / "collegium", "audit", "--study", "1", "--rpc-url", demo.rpc.url, "--json"]
        command += ["--deployment", demo.folder / "deployment.json", "--store", store, "--home", tmp_path]
        done = subprocess.run([str(part) for part in command], env=environment(), capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["data"]["verdict"] == demo.summary["audit_verdict"] == "ok"

    def test_storage_backend_serves_the_model(self, demo: Demo) -> None:
        assert demo.summary["storage_backend"] == "embedded"
        url = json.loads((demo.folder / "homes" / "alder" / "state" / "coordinator.json").read_text())["url"]
        cid = demo.logs("Collegium", "RoundFinalized")[-1]["modelCid"]
        assert requests.head(f"{url}/v1/blobs/{cid}", timeout=10).status_code == 200

    def test_seconds_add_up(self, demo: Demo) -> None:
        seconds = demo.summary["seconds"]
        assert 0 < sum(seconds["steps"].values()) <= seconds["total"] + 1
        assert 0 < seconds["training"] < seconds["rounds"] <= seconds["steps"]["rounds"] + 5
        assert set(demo.summary["windows"]) == {
            "commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window", "evidence_period",
        }  # fmt: skip

    def test_report_is_one_file_that_fetches_nothing(self, demo: Demo) -> None:
        page = (demo.folder / "report.html").read_text()
        assert not re.search(r"<script|<link|<img|@import|src=|url\(|https?://(?!127\.0\.0\.1)", page)
        # The pages beside it are opened by whoever wants them.
        assert re.findall(r'href="([^"]*)"', page) == ["explorer/index.html"]
        assert (demo.folder / "explorer" / "index.html").exists()
        assert demo.summary["transactions"]["lie_refuted"] in page
        assert page.count("<svg") >= 5 and "prefers-color-scheme: dark" in page

    def test_time_is_that_of_the_machine(self, demo: Demo) -> None:
        block = demo.rpc.header("latest")
        assert block is not None and abs(block.timestamp - time.time()) < PATIENCE
        sources = "".join(path.read_text() for path in (ROOT / "scripts" / "demo").glob("*.py"))
        assert not re.search(r"evm_|anvil_[a-z]+[A-Z]", sources)


@pytest.mark.kubo
def test_honest_run_on_two_ipfs_daemons(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = start(folder, "--rounds", "1", "--no-liar", "--store", "kubo")
    try:
        assert process.wait(PATIENCE) == 0, (tmp_path / "demo.out").read_text()[-6000:]
    finally:
        process.kill()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["lie_refuted"] is False and summary["lie"] is None
    assert summary["aggregator_slashed_wei"] == 0 and summary["takeover_round_finalized"] is False
    assert summary["rounds_finalized"] == 1 and summary["audit_verdict"] == "ok"
    assert summary["storage_backend"] == "kubo"
    daemons = re.findall(r"ipfs daemon at (\S+) \(pid (\d+)\)", (tmp_path / "demo.out").read_text())
    assert len(set(daemons)) == 2
    assert sys.platform != "linux" or find_left(folder) == []


def test_an_interrupted_run_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / MARKER).touch()
    (folder / "report.html").write_text("of the run before")
    process = start(folder, "--rounds", "2")
    give_up = time.monotonic() + 120
    while "ape run deploy" not in (tmp_path / "demo.out").read_text() and time.monotonic() < give_up:
        time.sleep(0.2)
    assert end(process) == 130
    assert sys.platform != "linux" or find_left(folder) == []
    assert (folder / "report.html").read_text() == "of the run before"


class TestLiar:
    @given(rounds=st.integers(1, 40), size=st.integers(1, 5), data=st.data())
    def test_draws_among_its_own_duties(self, rounds: int, size: int, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, size - 1))
        chosen = choose_rounds(position, size, rounds)
        assert all(number % size == position and 1 <= number <= rounds for number in chosen)
        if rounds > 2 * size:
            assert chosen and all(1 < number < rounds for number in chosen)

    @given(count=st.integers(1, 300), bound=st.integers(1, 1 << 24), seed=st.integers(0, 1 << 32))
    def test_changes_one_coordinate_and_what_follows(self, count: int, bound: int, seed: int) -> None:
        leaves = -(-count // 64)
        draw = np.random.default_rng(seed)
        mean = np.zeros(leaves * 64, np.int32)
        mean[:count] = draw.integers(-bound, bound + 1, count)
        base = np.zeros(leaves * 64, np.int32)
        plan = type("PlanStub", (), {"rate_numerator": 1, "rate_denominator": 1})()
        fmt = Format((Section(count, 0, 1, 20, bound, True),), bytes(32))
        inputs = Inputs(plan, fmt, bytes(32), base, [], [])
        model = fedavg_step(base, mean, numerator=1, denominator=1, count=count)
        lied = tamper(Aggregate(mean, model), inputs)
        changed = np.flatnonzero(lied.mean != mean)
        assert len(changed) == 1 and changed[0] < count and abs(int(lied.mean[changed[0]])) <= bound
        assert np.array_equal(lied.model, fedavg_step(base, lied.mean, numerator=1, denominator=1, count=count))


def load_task() -> Any:
    spec = importlib.util.spec_from_file_location("task_of_the_demo", ROOT / "examples" / "breast_cancer" / "task.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
