"""The same commands a hospital types, each in a process of its own, from `init` to a final round and its model."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collegium.chain.devnet import Devnet

from .arena import free_ports
from .commands import PLAN, TASK, Operator, Person

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

HOSPITALS = 3


def make_party(operator: Operator, devnet: Devnet, person: Person, name: str, tokens: int, *options: str) -> None:
    """From an empty folder to an admitted institution with stake and a node key."""
    person.run(
        "collegium", "init", "--rpc-url", devnet.url, "--chain-id", str(devnet.record.chain_id),
        "--deployment", operator.deployment_file, "--set", "network.poll_interval=0.1", *options,
    )  # fmt: skip
    institution = person.run("collegium", "keys", "new", "institution", "--light")["address"]
    node = person.run("collegium", "keys", "new", "node", "--light")["address"]
    operator.admit(institution, name)
    operator.fund(institution, tokens)
    operator.fund(node)
    person.run("collegium", "institution", "register", "--name", name, "--yes")
    person.run("collegium", "stake", "deposit", str(tokens), "--yes")


def test_one_round_in_processes(devnet: Devnet, tmp_path: Path) -> None:
    play_one_round(devnet, tmp_path, Person)


def play_one_round(
    devnet: Devnet, tmp_path: Path, make: Callable[[Path], Person], *, hospitals: int = HOSPITALS
) -> None:
    """make: a person with this home, who may have another installation than this process."""
    operator = Operator(devnet, tmp_path / "operator")
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "plan.toml").write_text(PLAN.format(hospitals=hospitals))
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    coordinator = make(tmp_path / "coordinator")
    members = [make(tmp_path / f"hospital-{at}") for at in range(hospitals)]
    try:
        listen = f"coordinator.listen={url.removeprefix('http://')}"
        make_party(operator, devnet, coordinator, "Coordinator", 2000, "--set", listen)
        study = coordinator.run("collegium", "study", "create", tmp_path / "plan.toml", "--yes")["study"]
        assert study == 1
        coordinator.run("collegium-coordinator", "enlist", "--study", "1", "--yes")
        coordinator.start("collegium-coordinator", "run", "--study", "1", "--rounds", "1", "--metrics", "127.0.0.1:0")
        _wait_for_line(coordinator, "serves")
        (ready,) = coordinator.run("collegium", "health")["endpoints"]
        assert ready["role"] == "coordinator" and ready["checks"]["chain"]["head_block"] > 0

        def join(at: int) -> None:
            hospital = members[at]
            make_party(operator, devnet, hospital, f"Hospital {at}", 200,
                       "--coordinator", url, "--set", f"data.site={at}", "--set", "training.threads=1")  # fmt: skip
            hospital.run("collegium", "study", "approve-task", tmp_path / "task.py", "--yes")
            if at == 0:
                refused = hospital.run("collegium", "join", "1", "--yes", code=3)
                assert refused["code"] == "confirmation_required"
                assert hospital.run("collegium", "doctor", "--study", "1", code=3)["code"] == "precondition"
            hospital.run("collegium", "join", "1", "--accept-open-updates", "--yes")

        # One after the other: the council's account sends one admission at a time.
        for at in range(hospitals):
            join(at)
        options = ("--rounds", "1", "--metrics", "127.0.0.1:0", "--json")
        processes = [each.start("collegium", "train", "run", "1", *options) for each in members]
        for hospital, process in zip(members, processes, strict=True):
            assert process.wait(120) == 0, hospital.log()
            assert "metrics and health at http://127.0.0.1:" in hospital.log()
        kinds = {record["kind"] for record in members[0].run("collegium", "log", "show")["records"]}
        assert {"contact", "transaction", "message", "blob"} <= kinds
        assert members[0].run("collegium", "log", "verify")["broken_line"] is None
        pulled = tmp_path / "model.safetensors"
        members[0].run("collegium", "model", "pull", "1", "--output", pulled)
        model = members[1].run("collegium", "model", "verify", "1", pulled)
        status = members[1].run("collegium", "round", "status", "1")
        assert status, model
        info = coordinator.run("collegium-coordinator", "status")
        assert info["final_rounds"] == 1
    finally:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Person.stop, [coordinator, *members]))


def _wait_for_line(person: Person, word: str, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while word not in person.log():
        assert time.monotonic() < give_up and person.running[-1].poll() is None, person.log()
        time.sleep(0.1)
