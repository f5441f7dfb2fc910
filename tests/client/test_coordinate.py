"""`collegium round coordinate`: one coordinate by hand, against what a federation really played."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import Indexer
from collegium.chain.following import StudyFollower
from collegium.storage import BlobFolder, parse_cid
from collegium.storage.cid import cid_of
from collegium_client.cli.app import run
from tests.support.federation import Federation
from tests.support.rounds import Lie

pytestmark = pytest.mark.chain

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Rounds: 1 honest, 2 with a wrong step, 3 with a proposal of nothing."""
    with Federation.start(tmp_path_factory.mktemp("coordinate"), members=3) as federation:
        federation.play_round()
        federation.play_round(lie=Lie.STEP)
        federation.play_round(lie=Lie.WITHHELD)
        yield federation


@pytest.fixture
def ask(federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def call(*words: object, store: Path | None = None) -> tuple[int, Any]:
        capsys.readouterr()
        where = ["--rpc", federation.devnet.url, "--deployment", str(federation.folder / "deployment.json"),
                 "--store", f"file://{store or federation.folder / 'store'}"]  # fmt: skip
        code = run(["round", "coordinate", *map(str, words), *where, "--home", str(tmp_path / "home"), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_an_honest_round_comes_out_as_proposed(federation: Federation, ask: Ask) -> None:
    played = federation.rounds[0]
    for position in (0, 7, federation.table.count - 1):
        code, envelope = ask(1, 1, position)
        assert code == 0, envelope["error"]
        found = envelope["data"]
        assert found["ok"] is True and found["mean"]["right"] == int(played.last.mean[position])
        assert found["model"] == {
            "base": int(played.base[position]), "right": int(played.last.model[position]),
            "claimed": int(played.last.model[position]),
        }  # fmt: skip
        weights = {each["seat"]: each["weight"] for each in found["updates"]}
        assert weights == {seat: each.weight for seat, each in played.updates.items()}


def test_a_refuted_step_is_shown_where_it_was_refuted(federation: Federation, ask: Ask) -> None:
    code, envelope = ask(1, 2)
    (event,) = [each for sent in federation.rounds[1].sent for each in sent.named("Refuted")]
    found = envelope["data"]
    assert code == 4 and envelope["error"]["code"] == "verification_failed"
    assert found["coordinate"] == event.args["coordinate"] and found["status"] == "refuted"
    assert (found["model"]["claimed"], found["model"]["right"]) == (event.args["claimed"], event.args["right"])
    # The proposal that replaced it is right there.
    assert ask(1, 2, found["coordinate"])[1]["data"]["status"] == "final"


def test_a_refutation_tells_what_the_liar_took_away(federation: Federation, ask: Ask, tmp_path: Path) -> None:
    """The claimed value is on chain, whatever became of the liar's blobs."""
    emptied = tmp_path / "store"
    shutil.copytree(federation.folder / "store", emptied)
    with Indexer(tmp_path / "index.sqlite", federation.chain) as indexer:
        round = StudyFollower(indexer, federation.study_id).refresh().round(2)
    assert round is not None
    folder, lie = BlobFolder(emptied), round.proposals[0]
    for cid in (lie.mean_cid, lie.model_cid):
        folder.remove(parse_cid(cid))
    code, envelope = ask(1, 2, store=emptied)
    assert code == 4 and envelope["data"]["model"]["claimed"] is not None and envelope["data"]["ok"] is False


def test_a_proposal_whose_blobs_nobody_has_is_recomputed_all_the_same(federation: Federation, ask: Ask) -> None:
    code, envelope = ask(1, 3, 5, "--attempt", 0)
    found = envelope["data"]
    assert code == 5 and found["ok"] is None and found["status"] == "lapsed"
    assert "--store" in envelope["error"]["hint"]
    assert found["mean"] == {"right": int(federation.rounds[2].last.mean[5]), "claimed": None}


def test_an_update_that_no_store_has_is_told(federation: Federation, ask: Ask, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, envelope = ask(1, 1, 0, store=empty)
    assert code == 5 and envelope["error"]["retryable"]


def test_a_lying_store_is_not_believed(federation: Federation, ask: Ask, tmp_path: Path) -> None:
    lying = tmp_path / "lying"
    shutil.copytree(federation.folder / "store", lying)
    wanted = cid_of(federation.rounds[0].updates[1].blob).text
    (path,) = [each for each in lying.rglob("*") if each.is_file() and wanted in each.name]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert ask(1, 1, 0, store=lying)[0] in (4, 5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((1, 1, 10**6), 2, "no coordinate"),
        ((1, 9, 0), 3, "no round 9"),
        ((1, 1), 2, "was refuted"),
        ((1, 1, 0, "--attempt", 5), 3, "attempt 5"),
        ((7, 1, 0), 3, ""),
    ],
)
def test_questions_without_an_answer(
    ask: Ask, words: tuple[object, ...], code: int, said: str
) -> None:
    found, envelope = ask(*words)
    assert found == code and said in envelope["error"]["message"]
