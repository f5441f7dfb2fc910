"""An export carries an audit to a machine without a network, and nothing that was done to it goes unnoticed."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.audit import (
    AuditIncompleteError,
    ExportDamagedError,
    Exported,
    NotAnExportError,
    Report,
    audit_export,
    export_audit,
)
from collegium.audit.bundle import write_bundle
from collegium.errors import AuditFailedError, CollegiumError, PreconditionError, StudyUnknownError, UsageError
from collegium.storage import MultiStore
from collegium.storage.folder import BlobFolder
from scripts.setup.paths import ROOT
from tests.chain.lying import Proxy
from tests.support.federation import Federation, Lie

from .histories import audit

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-offline")]


def quiet(stage: str, done: int, total: int) -> None:
    pass


def export(federation: Federation, path: Path, **options: Any) -> Exported:
    rpc_url = options.pop("rpc_url", None)
    stores = MultiStore(options.pop("stores", None) or [federation.store])
    return export_audit(federation.connect(rpc_url), stores, federation.study_id, path, **options)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("offline")) as federation:
        federation.play_round(unrevealed=[1])
        federation.play_round(lie=Lie.MEAN)
        federation.play_round(uncertified=[3])
        yield federation


@pytest.fixture(scope="module")
def whole(played: Federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the honest history."""
    return export(played, tmp_path_factory.mktemp("export") / "study.zip").path


@pytest.fixture(scope="module")
def online(played: Federation, whole: Path) -> Report:
    return audit(played)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("an offline audit opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


class TestHonestExport:
    @pytest.mark.usefixtures("no_network")
    def test_offline_report_is_the_online_report(self, whole: Path, online: Report) -> None:
        assert online.verdict == "ok"
        assert audit_export(whole).report.to_json() == online.to_json()

    def test_same_chain_state_gives_the_same_bytes(self, played: Federation, whole: Path, tmp_path: Path) -> None:
        again = export(played, tmp_path / "other-name.zip").path
        assert again.read_bytes() == whole.read_bytes()

    def test_any_tool_opens_it_and_finds_every_part(self, played: Federation, whole: Path) -> None:
        with zipfile.ZipFile(whole) as archive:
            assert archive.testzip() is None
            names = set(archive.namelist())
            manifest = json.loads(archive.read("manifest.json"))
        assert {"manifest.json", "deployment.json", "blobs.car", "plan.json", "report.json", "readme.txt",
                "chain/headers.jsonl", "chain/blocks.jsonl", "chain/receipts.jsonl", "chain/logs.jsonl",
                "chain/views.jsonl", "chain/code.jsonl", "abi/Collegium.json"} <= names  # fmt: skip
        # Updates, means and models of rounds, genesis and the plan.
        revealed = sum(len(each.revealed) for each in played.rounds)
        assert len(manifest["blobs"]) >= revealed + 2

    def test_network_namespace_without_any_interface(self, whole: Path) -> None:
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
            pytest.skip("this system does not let users make network namespaces")
        command = [sys.executable, "-m", "collegium_client.cli", "audit", "--offline", str(whole), "--json"]
        environment = {**os.environ, "COLLEGIUM_HOME": str(whole.parent / "no-home")}
        done = subprocess.run(
            ["unshare", "-rn", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["data"]["verdict"] == "ok"

    def test_trusted_head_settles_the_chain(self, whole: Path, online: Report) -> None:
        assert audit_export(whole, trusted_head=online.head["hash"]).report.verdict == "ok"
        report = audit_export(whole, trusted_head="0x" + "11" * 32).report
        assert report.verdict == "mismatch" and "another source" in report.check("logs").detail

    def test_deployment_of_another_chain_is_refused(self, played: Federation, whole: Path) -> None:
        from dataclasses import replace

        assert audit_export(whole, deployment=played.deployment).warnings == ()
        with pytest.raises(ExportDamagedError, match="other contracts"):
            audit_export(whole, deployment=replace(played.deployment, chain_id=1))

    def test_another_study_is_wrong_usage(self, whole: Path) -> None:
        with pytest.raises(UsageError):
            audit_export(whole, study_id=7)


def drops_logs(method: str, _: list[Any], result: Any) -> Any:
    return result[:-2] if method == "eth_getLogs" else result


def malforms_logs(method: str, _: list[Any], result: Any) -> Any:
    return [{"address": "0x"}, *result] if method == "eth_getLogs" else result


def hides_receipts(method: str, _: list[Any], result: Any) -> Any:
    return [] if method == "eth_getBlockReceipts" and result else result


def malforms_receipts(method: str, _: list[Any], result: Any) -> Any:
    if method == "eth_getBlockReceipts" and result:
        return [{**each, "cumulativeGasUsed": None} for each in result]
    return result


def hides_code(method: str, parameters: list[Any], result: Any) -> Any:
    return "0x" if method == "eth_getCode" and parameters[1] != "latest" else result


def alters_views(method: str, _: list[Any], result: Any) -> Any:
    return "0x" + "01" * (len(result) // 2 - 1) if method == "eth_call" else result


def alters_a_header(method: str, parameters: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and parameters[0] == "0x9":
        return {**result, "timestamp": hex(int(result["timestamp"], 16) + 1)}
    return result


def alters_calldata(method: str, parameters: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and parameters == ["0x14", True] and result["transactions"]:
        altered = [{**each, "input": each["input"][:-2] + "ff"} for each in result["transactions"]]
        return {**result, "transactions": altered}
    return result


LIES = (
    drops_logs, malforms_logs, hides_receipts, malforms_receipts, hides_code, alters_views, alters_a_header,
    alters_calldata,
)  # fmt: skip


class TestForgedHistories:
    """Whatever a node or a store lied about, the export says the same of it as the audit that met the lie."""

    @pytest.mark.parametrize("lie", LIES, ids=[lie.__name__ for lie in LIES])
    def test_lie_of_a_node_gets_the_same_report(
        self, played: Federation, tmp_path: Path, lie: Callable[[str, list[Any], Any], Any]
    ) -> None:
        with Proxy(played.devnet.url) as node:
            node.lie = lie
            met = audit(played, rpc_url=node.url)
            exported = export(played, tmp_path / "study.zip", rpc_url=node.url)
        assert met.verdict == "mismatch"
        assert exported.report.to_json() == met.to_json()
        assert audit_export(exported.path).report.to_json() == met.to_json()

    def test_missing_blob_is_missing_offline_too(self, played: Federation, tmp_path: Path) -> None:
        some = BlobFolder(tmp_path / "some")
        kept = sorted(played.store.list())
        for cid in kept[: len(kept) // 2]:
            some.put(played.store.get(cid, max_bytes=1 << 20))
        met = audit(played, stores=[some])
        exported = export(played, tmp_path / "study.zip", stores=[some])
        offline = audit_export(exported.path)
        assert met.verdict == "incomplete" and exported.missing == offline.missing != ()
        assert offline.report.to_json() == met.to_json()
        with pytest.raises(AuditIncompleteError):
            offline.report.require()

    def test_store_without_anything_still_gives_an_export(self, played: Federation, tmp_path: Path) -> None:
        exported = export(played, tmp_path / "study.zip", stores=[BlobFolder(tmp_path / "empty")])
        assert exported.blobs == 0 and audit_export(exported.path).report.verdict == "incomplete"


class TestInterruptedExport:
    def test_goes_on_where_it_stopped(self, played: Federation, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "study.zip"

        def stop(stage: str, done: int, total: int) -> None:
            if stage == "rounds":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            export(played, path, progress=stop)
        assert not path.exists()
        with Proxy(played.devnet.url) as node:
            exported = export(played, path, rpc_url=node.url)
            asked = set(node.calls)
        assert exported.resumed and "eth_getLogs" not in asked and "eth_getBlockReceipts" not in asked
        assert path.read_bytes() == whole.read_bytes()
        assert list(tmp_path.iterdir()) == [path]


    def test_chain_that_went_back_is_asked_anew(self, played: Federation, whole: Path, tmp_path: Path) -> None:
        """What was pinned is no block of the chain any more."""
        path = tmp_path / "study.zip"
        work = tmp_path / "study.zip.partial"
        work.mkdir()
        state = {"study": 1, "chain_id": 31337, "collegium": played.chain.address_of("Collegium"), "head": 5}
        (work / "state.json").write_text(json.dumps({**state, "hash": "11" * 32}))
        assert not export(played, path).resumed and path.read_bytes() == whole.read_bytes()

    def test_two_at_once_and_damaged_leftovers_are_told(self, played: Federation, tmp_path: Path) -> None:
        path = tmp_path / "study.zip"

        def meanwhile(stage: str, done: int, total: int) -> None:
            with pytest.raises(PreconditionError, match="Another export"):
                export(played, path)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            export(played, path, progress=meanwhile)
        for file in (tmp_path / "study.zip.partial").glob("answers.sqlite*"):
            file.unlink()
        (tmp_path / "study.zip.partial" / "answers.sqlite").write_bytes(b"no database" * 1000)
        with pytest.raises(PreconditionError, match="damaged"):
            export(played, path)

    def test_unknown_study_leaves_nothing(self, played: Federation, tmp_path: Path) -> None:
        with pytest.raises(StudyUnknownError):
            export_audit(played.connect(), MultiStore([played.store]), 9, tmp_path / "study.zip")
        assert list(tmp_path.iterdir()) == []

    def test_document_of_another_study_is_wrong_usage(self, played: Federation, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("not the agreement")
        with pytest.raises(UsageError, match="not in the plan"):
            export(played, tmp_path / "study.zip", documents=[tmp_path / "text"])


def require(path: Path) -> Report:
    report = audit_export(path).report
    report.require()
    return report


class TestDamagedExport:
    def test_missing_file_and_other_files_are_wrong_usage(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        for content in (b"", b"hello", bytes(10_000)):
            other.write_bytes(content)
            with pytest.raises(NotAnExportError):
                audit_export(other)
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(NotAnExportError):
                audit_export(path)

    @pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.9, 0.9999])
    def test_truncated_export_is_found(self, whole: Path, tmp_path: Path, share: float) -> None:
        data = whole.read_bytes()
        cut = tmp_path / "cut.zip"
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ExportDamagedError, match="cut short"):
            audit_export(cut)

    def test_flipped_byte_anywhere_is_found(self, whole: Path, tmp_path: Path) -> None:
        data, dice = whole.read_bytes(), random.Random(4)
        damaged = tmp_path / "damaged.zip"
        places = {0, 1, 5, len(data) - 1, len(data) - 64, len(data) - 65, len(data) - 100}
        for at in sorted(places | {dice.randrange(len(data)) for _ in range(60)}):
            damaged.write_bytes(data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :])
            with pytest.raises((ExportDamagedError, NotAnExportError)) as caught:
                audit_export(damaged)
            assert caught.value.exit_code == 4, (at, caught.value)

    def test_appended_bytes_are_found(self, whole: Path, tmp_path: Path) -> None:
        (tmp_path / "more.zip").write_bytes(whole.read_bytes() + b"\0")
        with pytest.raises(ExportDamagedError):
            audit_export(tmp_path / "more.zip")


class TestResealedExport:
    """Somebody who knows the format alters a part and makes manifest and seal anew."""

    @pytest.fixture
    def parts(self, whole: Path, tmp_path: Path) -> dict[str, Path]:
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(tmp_path / "parts")
            return {name: tmp_path / "parts" / name for name in archive.namelist() if name != "manifest.json"}

    def reseal(self, parts: dict[str, Path], tmp_path: Path, **changes: Any) -> Path:
        with zipfile.ZipFile(changes.pop("whole")) as archive:
            manifest = json.loads(archive.read("manifest.json"))
        write_bundle(tmp_path / "resealed.zip", parts, {**manifest, **changes}, quiet)
        return tmp_path / "resealed.zip"

    @pytest.mark.parametrize(
        "name",
        ["chain/headers.jsonl", "chain/blocks.jsonl", "chain/receipts.jsonl", "chain/logs.jsonl", "chain/views.jsonl",
         "chain/code.jsonl", "deployment.json"],
    )  # fmt: skip
    def test_missing_part_is_found(self, whole: Path, parts: dict[str, Path], tmp_path: Path, name: str) -> None:
        del parts[name]
        with pytest.raises(CollegiumError) as caught:
            require(self.reseal(parts, tmp_path, whole=whole))
        assert caught.value.exit_code == 4

    def test_missing_blobs_are_found(self, whole: Path, parts: dict[str, Path], tmp_path: Path) -> None:
        del parts["blobs.car"]
        with pytest.raises(ExportDamagedError, match="holds none"):
            require(self.reseal(parts, tmp_path, whole=whole))

    def test_blob_that_the_manifest_names_and_the_archive_lacks_is_found(
        self, whole: Path, parts: dict[str, Path], tmp_path: Path
    ) -> None:
        with zipfile.ZipFile(whole) as archive:
            blobs = json.loads(archive.read("manifest.json"))["blobs"]
        with pytest.raises(CollegiumError) as caught:
            require(self.reseal(parts, tmp_path, whole=whole, blobs=blobs[:-1]))
        assert caught.value.exit_code == 4

    def test_another_head_is_found(self, whole: Path, parts: dict[str, Path], tmp_path: Path, online: Report) -> None:
        head = {**online.head, "hash": "0x" + "22" * 32}
        with pytest.raises(ExportDamagedError, match="its headers lead to"):
            require(self.reseal(parts, tmp_path, whole=whole, head=head))

    def test_altered_parts_never_pass_as_something_else(
        self, whole: Path, parts: dict[str, Path], tmp_path: Path, online: Report
    ) -> None:
        """Random bytes of random parts: an error, a failed check, or a byte that says nothing."""
        dice, found = random.Random(7), 0
        names = sorted(name for name in parts if name.startswith("chain/") or name in ("blobs.car", "deployment.json"))
        for turn in range(30):
            name = names[turn % len(names)]
            good = parts[name].read_bytes()
            at = dice.randrange(len(good))
            parts[name].write_bytes(good[:at] + bytes([dice.randrange(256)]) + good[at + 1 :])
            try:
                report = require(self.reseal(parts, tmp_path, whole=whole))
                assert [check.to_json() for check in report.checks] == [check.to_json() for check in online.checks]
                assert report.facts == online.facts
            except (ExportDamagedError, AuditFailedError, AuditIncompleteError, CollegiumError) as error:
                assert error.exit_code in (4, 5), error
                found += 1
            parts[name].write_bytes(good)
        assert found > 15
