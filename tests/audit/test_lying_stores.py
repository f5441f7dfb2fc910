"""Blobs that are gone make an audit incomplete, blobs that are wrong fail it, and one honest store is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.storage.cid import Cid, cid_of, parse_cid
from collegium.storage.folder import BlobFolder
from collegium.storage.store import Content, pieces_of, verified
from tests.support.federation import Federation

from .histories import audit, wrong

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-stores")]


class LyingStore:
    """Serves one byte differently, and says so to nobody: its reader verifies, as every store's does."""

    name = "http://127.0.0.1:9"

    def __init__(self, true: BlobFolder, wrong: set[str] | None = None) -> None:
        self._true = true
        self._wrong = wrong

    def put(self, data: Content) -> Cid:
        return self._true.put(data)

    def get(self, cid: Cid, *, max_bytes: int) -> bytes:
        return b"".join(self.stream(cid, max_bytes=max_bytes))

    def stream(self, cid: Cid, *, max_bytes: int) -> Iterator[bytes]:
        data = bytearray(self._true.get(cid, max_bytes=max_bytes))
        if self._wrong is None or cid.text in self._wrong:
            data[-1] ^= 1
        return verified((bytes(piece) for piece in pieces_of(data)), cid, max_bytes=max_bytes, source=self.name)

    def has(self, cid: Cid) -> bool:
        return self._true.has(cid)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("stores")) as federation:
        federation.play_round()
        federation.play_round(uncertified=[3])
        federation.play_round()
        yield federation


def without(federation: Federation, folder: Path, *gone: str) -> BlobFolder:
    """A store with everything but these CIDs."""
    store = BlobFolder(folder)
    for cid in federation.store.list():
        if cid.text not in gone:
            store.put(federation.store.get(cid, max_bytes=1 << 20))
    return store


def update_of(federation: Federation, round: int, seat: int) -> str:
    return cid_of(federation.rounds[round - 1].updates[seat].blob).text


def test_deleted_update_makes_its_round_incomplete(played: Federation, tmp_path: Path) -> None:
    report = audit(played, stores=[without(played, tmp_path / "store", update_of(played, 1, 2))])
    assert report.verdict == "incomplete" and report.exit_code == 5
    assert {(check.name, check.subject) for check in report.failed()} == {("blobs", 1), ("mean", 1), ("step", 1)}
    assert "seat 2" in report.check("blobs", 1).detail


def test_deleted_uncertified_update_matters_to_nobody(played: Federation, tmp_path: Path) -> None:
    report = audit(played, stores=[without(played, tmp_path / "store", update_of(played, 2, 3))])
    assert report.verdict == "ok"
    assert "seat 3 was revealed and not certified (blob_unavailable)" in report.check("blobs", 2).detail


def test_deleted_genesis_model_makes_the_audit_incomplete(played: Federation, tmp_path: Path) -> None:
    from collegium.storage.cid import cid_from_digest

    genesis = cid_from_digest(played.plan.genesis_model_digest, 0).text
    report = audit(played, stores=[without(played, tmp_path / "store", genesis)])
    # The next base models are recomputed where they can be, and fetched where they cannot.
    assert report.verdict == "incomplete" and {"genesis", "mean", "step"} <= wrong(report)
    assert report.check("mean", 2).ok


def test_deleted_final_model_makes_the_audit_incomplete(played: Federation, tmp_path: Path) -> None:
    final = audit(played).facts["model_cid"]
    report = audit(played, stores=[without(played, tmp_path / "store", final)])
    assert report.verdict == "incomplete" and wrong(report) == {"model"}


def test_models_in_between_are_recomputed_and_need_no_store(played: Federation, tmp_path: Path) -> None:
    event = played.rounds[1].sent[-1].event("RoundFinalized")
    report = audit(played, stores=[without(played, tmp_path / "store", parse_cid(event.args["modelCid"]).text)])
    assert report.verdict == "ok"


def test_store_that_alters_every_blob_fails_the_audit(played: Federation) -> None:
    report = audit(played, stores=[LyingStore(played.store)])
    assert report.verdict == "mismatch" and {"genesis", "blobs", "model"} <= wrong(report)
    assert LyingStore.name in report.check("blobs", 1).detail


def test_store_that_alters_one_blob_is_named(played: Federation) -> None:
    altered = update_of(played, 3, 0)
    report = audit(played, stores=[LyingStore(played.store, {altered})])
    assert report.verdict == "mismatch"
    assert "seat 0" in report.check("blobs", 3).detail and LyingStore.name in report.check("blobs", 3).detail


def test_one_honest_store_beside_a_liar_is_enough(played: Federation) -> None:
    report = audit(played, stores=[LyingStore(played.store), played.store])
    assert report.verdict == "ok"
    assert "served other bytes" in report.check("genesis").detail


def test_altered_file_in_the_folder_given_is_fetched_anew(played: Federation, tmp_path: Path) -> None:
    """A cache is not believed either."""
    assert audit(played, folder=tmp_path / "kept").verdict == "ok"
    kept = next((tmp_path / "kept" / "blobs").rglob(f"*{update_of(played, 1, 0)}*"))
    kept.chmod(0o600)
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    assert audit(played, folder=tmp_path / "kept").verdict == "ok"
