"""What the plan lets stores drop goes when it may, never earlier, and the audit tells it from a loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.audit import Status, audit_export, export_audit
from collegium.chain import Indexer, NetworkSettings, StudyView
from collegium.encoding import BlobKind, parse_blob
from collegium.errors import BlobError
from collegium.retention import DAY, Keeper, find_expired, prune, read_days
from collegium.storage import MultiStore
from collegium.storage.cid import cid_of
from collegium.storage.folder import BlobFolder
from collegium_coordinator.running import Coordinator
from collegium_coordinator.settings import CoordinatorSettings
from tests.support.federation import Federation

from .histories import audit, wrong

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-retention")]

DAYS = 30
PLAN = json.dumps({"retention": {"days": DAYS}}).encode()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two rounds whose term is over, one whose is not; a member that never revealed."""
    plan = {"plan_digest": cid_of(PLAN).digest}
    with Federation.start(tmp_path_factory.mktemp("retention"), plan=plan) as federation:
        federation.store.put(PLAN)
        federation.play_round()
        federation.play_round(unrevealed=[2])
        federation.pass_time(DAYS * DAY + 1)
        federation.play_round()
        yield federation


@pytest.fixture
def view(played: Federation, tmp_path: Path) -> StudyView:
    with Indexer(tmp_path / "index.sqlite", played.chain) as index:
        index.sync()
        return StudyView.build(index.events(played.study_id), played.study_id)


@pytest.fixture
def copy(played: Federation, tmp_path: Path) -> BlobFolder:
    folder = BlobFolder(tmp_path / "copy")
    for cid in played.store.list():
        folder.put(played.store.get(cid, max_bytes=1 << 20))
    # A member's own store also holds what it never revealed.
    folder.put(played.rounds[1].updates[2].blob)
    return folder


def kinds(folder: BlobFolder) -> list[BlobKind]:
    found = []
    for cid in folder.list():
        try:
            found.append(parse_blob(folder.get(cid, max_bytes=1 << 20)).header.kind)
        except BlobError:
            continue
    return found


@pytest.mark.parametrize(
    "plan",
    [b"", b"{}", b"[]", b"nonsense", b'{"retention":3}', b'{"retention":{"days":0}}', b'{"retention":{"days":true}}',
     b'{"retention":{"days":-1}}', b'{"retention":{"days":1e9}}', b"[" * 100_000],
)  # fmt: skip
def test_plan_without_a_sound_term_has_none(plan: bytes) -> None:
    assert read_days(plan) is None


def test_only_updates_of_ended_rounds_go_and_only_after_the_term(
    played: Federation, view: StudyView, copy: BlobFolder
) -> None:
    now, before = played.now(), kinds(copy)
    assert [each.round for each in find_expired(view, DAYS, now)] == [1, 2]
    dry = list(prune([copy], view, DAYS, now, dry_run=True))
    assert kinds(copy) == before and {each.round for each in dry} == {1, 2}
    assert {each.cid for each in prune([copy], view, DAYS, now)} == {each.cid for each in dry}
    after = kinds(copy)
    # Four hospitals, two expired rounds.
    assert before.count(BlobKind.UPDATE) - after.count(BlobKind.UPDATE) == len(dry) == 8
    assert after.count(BlobKind.MODEL) == before.count(BlobKind.MODEL)
    assert copy.get(cid_of(PLAN), max_bytes=1000) == PLAN
    assert list(prune([copy], view, DAYS, now)) == []


def test_nothing_goes_within_the_evidence_period(played: Federation, view: StudyView) -> None:
    assert played.plan.evidence_period == DAY
    ended = view.rounds[0].finalized
    assert ended is not None
    assert find_expired(view, 1, ended.time + DAY) == []
    assert [each.round for each in find_expired(view, 1, ended.time + DAY + 1)] == [1]


def test_running_round_keeps_its_updates(played: Federation, view: StudyView) -> None:
    last = view.rounds[-1]
    last.finalized = last.record = None
    assert 3 not in [each.round for each in find_expired(view, DAYS, played.now() + 1000 * DAY)]


class TestKeeper:
    def test_works_at_the_start_and_then_once_a_day(
        self, played: Federation, view: StudyView, copy: BlobFolder, tmp_path: Path
    ) -> None:
        asked = []
        keeper = Keeper([copy], lambda study: asked.append(study) or PLAN, tmp_path / "pruned.jsonl")  # type: ignore[func-returns-value]
        assert keeper.tick(view, played.now()) == 8
        assert keeper.tick(view, played.now()) == 0 and len(asked) == 1
        lines = [json.loads(line) for line in (tmp_path / "pruned.jsonl").read_text().splitlines()]
        assert len(lines) == 8 and all(line["retention_passed_at"] <= played.now() for line in lines)

    def test_plan_without_a_term_keeps_everything(
        self, played: Federation, view: StudyView, copy: BlobFolder, tmp_path: Path
    ) -> None:
        assert Keeper([copy], lambda study: b"{}", tmp_path / "log").tick(view, played.now()) == 0


def test_coordinator_lets_go_when_it_starts(played: Federation, copy: BlobFolder, tmp_path: Path) -> None:
    network = NetworkSettings(
        rpc_url=played.devnet.url, chain_id=played.chain.chain_id, deployment=tmp_path / "deployment.json"
    )
    played.deployment.save(tmp_path / "deployment.json")
    home = copy.path.parent
    copy.path.rename(home / "store")
    settings = CoordinatorSettings(home, network, home / "unused", study=played.study_id, open_rounds=False)
    with Coordinator(settings, played.aggregators[0].node.signer) as coordinator:
        coordinator.step()
        assert kinds(BlobFolder(home / "store")).count(BlobKind.UPDATE) == 4
    assert len((home / "state" / "pruned.jsonl").read_text().splitlines()) == 8


class TestAudit:
    def test_dropped_updates_are_retention_and_no_loss(
        self, played: Federation, view: StudyView, copy: BlobFolder, tmp_path: Path
    ) -> None:
        before = audit(played)
        assert before.verdict == "ok" and "is still there, though its retention" in before.check("blobs", 1).detail
        list(prune([copy], view, DAYS, played.now()))
        report = audit(played, stores=[copy])
        assert report.verdict == "ok" and report.facts["retention_days"] == DAYS
        for name in ("blobs", "mean", "step"):
            check = report.check(name, 1)
            assert check.status is Status.WARNING and "retention" in check.detail and " UTC" in check.detail
            assert report.check(name, 3).ok
        exported = export_audit(played.connect(), MultiStore([copy]), played.study_id, tmp_path / "study.zip")
        assert audit_export(exported.path).report.to_json() == report.to_json()

    def test_update_within_its_term_is_a_loss(self, played: Federation, view: StudyView, copy: BlobFolder) -> None:
        from collegium.storage import parse_cid

        copy.remove(parse_cid(view.rounds[2].reveals[0].cid))
        report = audit(played, stores=[copy])
        assert report.verdict == "incomplete" and wrong(report) == {"blobs", "mean", "step"}
