"""What a dry run shows is what would leave: every byte explained, no patient in it, no chain needed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium.chain.abi import interface
from collegium.commitment import compute_commitment, compute_ext, compute_seal
from collegium.encoding import BlobKind, FormatTable, parse_blob
from collegium.messages import Domain, digest, unpack_commits, unpack_reveals
from collegium.records import ZERO32, ZERO_ADDRESS
from collegium.storage import BlobFolder, Cid, parse_cid
from collegium.tree import root_of
from collegium_client.cli.app import run
from collegium_client.inventory import describe
from collegium_client.plan import PlanFile
from collegium_client.rehearsal import Situation, check_parts, rehearse
from collegium_client.sandbox import Sandbox, SandboxSettings
from collegium_client.scaffold import write_task
from collegium_client.task import Approvals, TaskSource

TABLE = FormatTable([("0.weight", (3, 30)), ("0.bias", (3,))], exponent=20, bound=1 << 24)
SALT = bytes(range(32))


@pytest.fixture
def elements() -> np.ndarray:
    drawn = np.random.default_rng(1).integers(-(2**20), 2**20, TABLE.elements, dtype=np.int32)
    drawn[TABLE.count :] = 0
    return drawn


@pytest.fixture
def situation() -> Situation:
    return Situation(
        TABLE, study_id=3, round=2, ctx=b"\x05" * 32, index=4, domain=Domain(31337, "0x" + "11" * 20),
        coordinators=("https://a.example:8443", "https://b.example"), stores=("https://a.example:8443",),
        rpc_url="https://rpc.example",
    )  # fmt: skip


class TestBytes:
    def test_every_byte_is_explained_once(self, situation: Situation, elements: np.ndarray) -> None:
        done = rehearse(situation, elements, weight=95, steps=12, salt=SALT)
        binary = [each for each in done.files() if not each.name.endswith(".json")]
        assert {each.name for each in binary} == {
            "join.calldata", "commit.calldata", "update.blob", "reveal.calldata", "attest.calldata", "endorse.calldata"
        }  # fmt: skip
        for each in binary:
            check_parts(each)

    def test_the_bytes_are_those_of_the_protocol(self, situation: Situation, elements: np.ndarray) -> None:
        done = rehearse(situation, elements, weight=95, steps=12, salt=SALT)
        files = {each.name: each.content for each in done.files()}
        blob = parse_blob(files["update.blob"], kind=BlobKind.UPDATE, ctx=situation.ctx, index=4, salt=SALT)
        assert (blob.elements == elements).all() and root_of(elements) == done.root
        call = interface("Collegium").function("commitUpdates").decode_input(files["commit.calldata"])
        item = next(value for value in call.values() if isinstance(value, bytes))
        (signed,) = unpack_commits(item, study_id=3, round=2, ctx=situation.ctx)
        (reveal,) = unpack_reveals(
            next(v for v in interface("Collegium").function("revealUpdates").decode_input(files["reveal.calldata"])
                 .values() if isinstance(v, bytes))
        )  # fmt: skip
        assert signed.message.commitment == compute_commitment(
            situation.ctx, 4, reveal.root, compute_seal(reveal.salt, reveal.content_digest)
        )
        assert signed.message.ext == compute_ext(reveal.ext_fields)
        assert (signed.message.weight, reveal.weight) == (95, 95)
        body = json.loads(files["commit.request.json"])
        assert body == {"study": 3, "round": 2, "item": item.hex()}

    def test_values_stand_where_the_list_says(self, situation: Situation, elements: np.ndarray) -> None:
        done = rehearse(situation, elements, weight=95, steps=12, salt=SALT)
        for each in done.files():
            for part in each.parts:
                found = each.content[part.offset : part.offset + part.length]
                if part.name == "salt" and not each.name.endswith(".json"):
                    assert found == SALT
                if part.name == "weight":
                    assert int.from_bytes(bytes.fromhex(found.decode()) if "json" in each.name else found, "big") == 95

    def test_destinations_and_signed_content(self, situation: Situation, elements: np.ndarray) -> None:
        done = rehearse(situation, elements, weight=95, steps=12, salt=SALT)
        listing = describe(done, situation)
        routes = [route["to"] for act in listing["acts"] for route in act["routes"]]
        assert "https://a.example:8443  POST /v1/updates" in routes and "https://b.example  POST /v1/reveals" in routes
        assert any(route.startswith("https://a.example:8443  PUT /v1/blobs/bafk") for route in routes)
        signed = [each for act in listing["acts"] for each in act["signed"]]
        assert [each["primaryType"] for each in signed] == ["Join", "Update", "Attest", "Endorse"]
        update = next(message for act in done.leaving for _, message in act.signed if message.primary_type == "Update")
        assert signed[1]["digest"] == "0x" + digest(update, situation.domain).hex()  # type: ignore[arg-type]

    def test_what_is_unknown_is_named(self, elements: np.ndarray) -> None:
        done = rehearse(Situation(TABLE), elements, weight=1, steps=1, salt=SALT)
        assert done.open_fields == ("study", "ctx")
        assert parse_blob(done.blob.content, ctx=ZERO32, index=0)


CANARY = 3717.28125
WORDS = ("Canaria Zyxwvu", "CANARY-7731", "73219981")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A draft over a table with canary values, a home that knows no chain, its task approved."""
    rows = ["patient_id,name,marker,outcome"]
    for at in range(120):
        rows.append(f"{WORDS[1]}-{at},{WORDS[0]},{CANARY if at % 7 == 0 else 1000 + at * 31},{at % 2}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cohort.csv").write_text("\n".join(rows).replace("CANARY-7731-5,", f"{WORDS[2]},"))
    write_task(tmp_path / "study", "csv", data=tmp_path / "data" / "cohort.csv", target="outcome")
    home = tmp_path / "home"
    home.mkdir()
    (home / "collegium.toml").write_text(
        '[network]\nrpc_url = "http://127.0.0.1:9"\nretry_for = 0.1\n'
        f'[data]\npath = "{tmp_path}/data/cohort.csv"\n[training]\nread = ["{tmp_path}/data"]\n'
        f'[coordinators]\nurls = ["http://127.0.0.1:9"]\n[stores]\nread = ["file://{tmp_path}/store"]\n'
    )
    Approvals(home / "tasks").approve(TaskSource.read(tmp_path / "study" / "task"), "study")
    return tmp_path


def dry_run(study: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["train", "dry-run", *words, "--home", str(study / "home"), "--json"])
    return code, json.loads(capsys.readouterr().out)


def canaries() -> list[bytes]:
    scaled = (CANARY - 2500) / 2500
    found = [word.encode() for word in WORDS] + [str(CANARY).encode()]
    for value in (CANARY, scaled):
        found += [struct.pack(order + kind, value) for order in "<>" for kind in "fd"]
    return found + [struct.pack(order + kind, int(WORDS[2])) for order in "<>" for kind in "iq"]


def publish(study: Path) -> list[Cid]:
    """Plan, genesis model and task in a store."""
    file = PlanFile.load(study / "study" / "plan.toml")
    source = TaskSource.read(file.task_path)
    with Sandbox(source, SandboxSettings(), protect=()) as sandbox:
        draft = file.draft(source, sandbox.describe().tensors, sandbox.genesis(0), ZERO_ADDRESS)
    return [BlobFolder(study / "store").put(blob) for blob in draft.blobs()]


class TestCommand:
    def test_before_any_study_without_a_chain(self, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = study / "study" / "plan.toml"
        out = study / "shown"
        code, envelope = dry_run(study, "--plan", str(plan), "-o", str(out), capsys=capsys)
        assert code == 0, envelope
        data = envelope["data"]
        names = {path.name for path in out.iterdir()}
        assert {"README.md", "inventory.json", "update.blob", "commit.request.json", "reveal.calldata"} <= names
        for file in data["leaves"]["files"]:
            assert len((out / file["file"]).read_bytes()) == file["bytes"]
        assert data["report"]["steps"] > 0 and json.loads((out / "inventory.json").read_text()) == data["leaves"]
        found = [(path.name, canary) for path in out.iterdir() for canary in canaries() if canary in path.read_bytes()]
        assert found == []
        # The check itself can fail: the data do hold the words.
        assert all(word in (study / "data" / "cohort.csv").read_text() for word in WORDS)

        # The same training from the published plan alone gives the same update; only the salt is new.
        cids = publish(study)
        code, envelope = dry_run(study, "--plan-cid", cids[0].text, "-o", str(out), capsys=capsys)
        assert code == 0, envelope
        assert envelope["data"]["update_root"] == data["update_root"]
        assert parse_cid(envelope["data"]["base"].split()[-1]) == cids[1]

    def test_refusals(self, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = str(study / "study" / "plan.toml")
        assert dry_run(study, capsys=capsys)[0] == 2
        assert dry_run(study, "1", "--plan", plan, capsys=capsys)[0] == 2
        (study / "study" / "task" / "task.py").open("a").write("# changed\n")
        code, envelope = dry_run(study, "--plan", plan, capsys=capsys)
        assert (code, envelope["error"]["code"]) == (3, "task_not_approved")

    def test_other_files_are_left_alone(self, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = str(study / "study" / "plan.toml")
        code, _ = dry_run(study, "--plan", plan, "-o", str(study / "data"), capsys=capsys)
        assert code == 3 and (study / "data" / "cohort.csv").exists()
