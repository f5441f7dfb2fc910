"""`model export` and `model evaluate` on a real chain: verified first, honest about what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from safetensors import safe_open

from collegium.encoding import BlobKind, pack_blob, parse_blob
from collegium.errors import PreconditionError, RootMismatchError
from collegium.storage import BlobFolder, parse_cid
from collegium_client.cli import export
from collegium_client.cli.app import run
from collegium_client.finals import open_final
from collegium_client.home import Home
from tests.client.worlds import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World.start(tmp_path_factory.mktemp("world"), hospitals=2, coordinators=1) as started:
        yield started


@pytest.fixture
def shell(world: World, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str | Path, at: int = 0) -> tuple[int, Any]:
        capsys.readouterr()
        code = run([*map(str, words), "--home", str(world.homes[at]), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.mark.chain
class TestOnAChain:
    def test_files_and_card_say_what_the_chain_says(self, world: World, shell: Any, tmp_path: Path) -> None:
        view = world.view()
        paths = [tmp_path / name for name in ("m.safetensors", "m.onnx", "card.md")]
        code, first = shell("model", "export", 1, "-o", paths[0], "--card", paths[2])
        assert code == 0, first
        code, second = shell("model", "export", 1, "--format", "onnx", "-o", paths[1])
        assert code == 0 and second["data"]["difference"] < 1e-5, second
        with safe_open(paths[0], "np") as file:
            said = json.loads(file.metadata()["collegium"])
        (entry,) = onnx.load(paths[1]).metadata_props
        assert json.loads(entry.value) == said
        assert said["root"] == view.plan.genesis_model_root.hex() and said["cid"] == view.genesis_cid
        card = paths[2].read_text()
        for fact in (view.genesis_cid, view.plan_hash.hex(), view.plan.task_digest.hex(), first["data"]["sha256"],
                     "seeded initial weights", "No evaluation report was given", *world.federation.chain.deployment
                     .addresses.values()):  # fmt: skip
            assert fact in card

    def test_an_evaluation_stays_here_unless_asked(self, world: World, shell: Any, tmp_path: Path) -> None:
        code, found = shell("model", "evaluate", 1)
        assert code == 0 and found["data"]["report"] is None and found["data"]["local"]["cases"] == 114
        report = tmp_path / "deep" / "report.json"
        code, found = shell("model", "evaluate", 1, "--threshold", "0.4", "--output", report)
        assert code == 0 and found["data"]["disclosed"]["cases"] == 114
        content = json.loads(report.read_text())
        assert content["institution"] == world.federation.members[0].institution.address
        code, found = shell("model", "compare", report, at=1)
        assert code == 0 and found["data"]["pooled"]["auroc"]["value"] is None
        code, found = shell("model", "compare", report, "--plot", tmp_path / "f.gif", at=1)
        assert code == 2

    def test_a_round_that_is_not_final(self, shell: Any, tmp_path: Path) -> None:
        code, found = shell("model", "export", 1, "--round", 4, "-o", tmp_path / "m")
        assert code == 3 and "not final" in found["error"]["message"] and not (tmp_path / "m").exists()

    def test_another_model_under_the_right_name_is_not_exported(
        self, world: World, shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever proposed it revealed the CID of other bytes than the root: exit 4, and no file."""
        view = world.view()
        store = BlobFolder(world.federation.folder / "store")
        right = parse_blob(store.get(parse_cid(view.genesis_cid), max_bytes=1 << 20), kind=BlobKind.MODEL)
        wrong = right.elements.copy()
        wrong[0] += 1
        cid = store.put(pack_blob(BlobKind.MODEL, wrong, format_id=right.header.format_id))
        import collegium_client.finals as finals

        real = finals.open_study

        def lying(*words: Any) -> Any:
            found = real(*words)
            found.genesis_cid = cid.text
            return found

        monkeypatch.setattr(finals, "open_study", lying)
        with pytest.raises(RootMismatchError):
            open_final(Home(world.homes[0]), 1, 0)
        code, found = shell("model", "export", 1, "-o", tmp_path / "m.safetensors")
        assert code == 4 and found["error"]["code"] == "root_mismatch" and not (tmp_path / "m.safetensors").exists()


class TestBuffers:
    def test_an_incomplete_model_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Described:
            confinement = SimpleNamespace(explain=lambda: "")

            def describe(self) -> Any:
                return SimpleNamespace(buffers=(("norm.running_mean", (3,)),))

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                return None

        monkeypatch.setattr("collegium_client.session.open_sandbox", lambda *_, **__: Described())
        home: Any = SimpleNamespace(approvals=SimpleNamespace(require=lambda _: None), state=tmp_path)
        final: Any = SimpleNamespace(
            view=SimpleNamespace(plan=SimpleNamespace(task_digest=b"")), plan=SimpleNamespace(table=None),
            model=SimpleNamespace(study=1),
        )  # fmt: skip
        app: Any = SimpleNamespace(say=lambda _: None)
        for wish in (False, True):
            with pytest.raises(PreconditionError, match=r"norm\.running_mean"):
                export._to_onnx(app, home, final, {}, local_buffers=wish)
