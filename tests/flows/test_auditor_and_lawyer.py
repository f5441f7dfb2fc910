"""What auditor and lawyer type: the annex before and after a study exists, an export, the audit of it elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain.devnet import Devnet
from collegium_client.cli.app import run
from tests.client.worlds import PASSWORD

from .commands import PLAN, TASK, Operator, Person

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow, pytest.mark.xdist_group("auditor")]


class Desk:
    """Commands of one home, in this process."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *words: str | Path, code: int = 0) -> Any:
        envelope = self.run(*words, code=code)
        return envelope["error"] if code else envelope["data"]

    def run(self, *words: str | Path, code: int = 0) -> Any:
        """The whole envelope."""
        self._capsys.readouterr()
        ended = run([*map(str, words), "--home", str(self.home), "--json"])
        out, err = self._capsys.readouterr()
        assert ended == code, f"{words}: {ended}\n{out}\n{err}"
        return json.loads(out)


@pytest.fixture
def network() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet


def test_from_the_annex_to_the_offline_audit(
    network: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Operator(network, tmp_path / "operator")
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(password))
    desk = Desk(Person(tmp_path / "hospital").home, capsys)
    desk("init", "--rpc-url", network.url, "--chain-id", str(network.record.chain_id),
         "--deployment", operator.deployment_file, "--set", "network.poll_interval=0.05")  # fmt: skip
    institution = desk("keys", "new", "institution", "--light")["address"]
    node = desk("keys", "new", "node", "--light")["address"]
    operator.admit(institution, "Hospital \x1b[31mred")
    operator.fund(institution, 3000)
    operator.fund(node)
    desk("institution", "register", "--yes")
    desk("stake", "deposit", "3000", "--yes")

    # The lawyer reads the annex, and it becomes the agreement.
    (tmp_path / "task.py").write_text(TASK)
    plan, annex = tmp_path / "plan.toml", tmp_path / "annex.md"
    text = PLAN.format(hospitals=2).replace('agreement = "Public data."', 'agreement = "annex.md"\nretention_days = 40')
    plan.write_text(text)
    written = desk("study", "annex", "--plan", plan, "-o", annex)
    assert written["sha256"] == hashlib.sha256(annex.read_bytes()).hexdigest()
    study = str(desk("study", "create", plan, "--yes")["study"])
    again = desk("study", "annex", study)
    assert again["text"].encode() == annex.read_bytes() and again["is_agreement"]
    assert "40 days" in again["text"] and "at least 60 tokens" in again["text"]
    sheet = desk("study", "annex", study, "--sheet", "--format", "html")["text"]
    assert written["sha256"] in sheet and "openUpdates" in sheet
    assert institution in sheet and f"chain id {network.record.chain_id}" in sheet
    assert desk("study", "annex", code=2)["code"] == "usage"
    desk("join", study, "--agreement", annex, "--accept-open-updates", "--yes")
    assert desk("store", "prune", "--study", study, "--dry-run") == {
        "study": 1, "retention_days": 40, "dry_run": True, "bytes": 0, "removed": [],
    }  # fmt: skip

    # A plan that binds no contract works, and everybody who signs is told.
    bare = tmp_path / "bare.toml"
    bare.write_text(PLAN.format(hospitals=2).replace('agreement = "Public data."', "").replace("Two parameters.", ""))
    for command in (("validate", bare), ("create", bare, "--yes")):
        warned = " ".join(desk.run("study", *command)["warnings"])
        assert "names no agreement" in warned and "no description" in warned
    before, after = desk.run("study", "annex", "--plan", bare), desk.run("study", "annex", "2")
    assert before["data"]["text"] == after["data"]["text"] and not after["data"]["is_agreement"]
    for found in (before, after, desk.run("join", "2", "--accept-open-updates", "--yes")):
        assert "names no agreement" in " ".join(found["warnings"])
    assert "The plan names no agreement" in desk("study", "annex", "2", "--sheet")["text"]

    # The auditor has no home, and later no network.
    auditor = Desk(tmp_path / "auditor", capsys)
    where = ("--rpc", network.url, "--deployment", operator.deployment_file, "--store", (desk.home / "store").as_uri())
    online = auditor("audit", "--study", study, *where)
    file = tmp_path / "study.zip"
    made = auditor("audit", "export", "--study", study, "-o", file, *where, "--document", annex)
    assert made["verdict"] == online["verdict"] == "ok"
    assert made["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert auditor("audit", "export", "--study", study, "-o", file, *where, code=2)["code"] == "usage"
    network.stop()
    head = online["head"]["hash"]
    offline = auditor("audit", "--offline", file, "--trusted-head", head, "--deployment", operator.deployment_file)
    assert {**offline, "checks": None} == {**online, "checks": None}
    (signed,) = offline["agreements"]
    assert signed["agreement"] == "0x" + written["sha256"] and signed["open_updates"] and signed["institution"]
    assert signed["signature"].startswith("verified")

    # What goes wrong says so.
    assert auditor("audit", "--offline", file, "--trusted-head", "0x12", code=2)["code"] == "usage"
    assert auditor("audit", "--offline", file, "--study", "9", code=2)["code"] == "usage"
    assert auditor("audit", "--offline", plan, code=2)["code"] == "not_an_export"
    wrong = auditor("audit", "--offline", file, "--trusted-head", "0x" + "11" * 32, code=4)
    assert wrong["code"] == "audit_failed" and "another source" in wrong["message"]
    cut = tmp_path / "cut.zip"
    cut.write_bytes(file.read_bytes()[:-1000])
    assert auditor("audit", "--offline", cut, code=4)["code"] == "export_damaged"
    assert run(["audit", "--offline", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "Signed by the members" in shown and "updates public: agreed" in shown
