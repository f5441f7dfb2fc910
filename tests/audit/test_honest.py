"""An honest history passes, whatever happened in it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from collegium.audit import CHECKS, Report, Status, audit_export, export_audit
from collegium.chain import Indexer, intents
from collegium.errors import StudyUnknownError
from collegium.storage import MultiStore
from collegium.storage.folder import BlobFolder
from tests.support.federation import Federation, Lie

from .histories import EVERY_EVENT, audit

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-honest")]


@pytest.fixture(scope="module")
def report(eventful: Federation) -> Report:
    return audit(eventful)


class TestEventfulHistory:
    def test_every_event_of_the_contracts_happened(self, eventful: Federation, tmp_path: Path) -> None:
        with Indexer(tmp_path / "index.sqlite", eventful.chain) as index:
            index.sync()
            assert {event.name for event in index.events()} == EVERY_EVENT

    def test_verdict_is_ok(self, report: Report) -> None:
        assert report.verdict == "ok" and report.exit_code == 0, list(report.lines(verbose=True))
        assert all(check.ok for check in report.checks)
        report.require()

    def test_every_check_was_made_for_every_final_round(self, eventful: Federation, report: Report) -> None:
        made = {(check.name, check.subject) for check in report.checks}
        assert {name for name, _ in made} == set(CHECKS)
        for played in eventful.rounds:
            if played.record is not None:
                for name in ("roster", "context", "commits", "reveals", "certificates", "phases", "endorsements",
                             "blobs", "mean", "step", "record"):  # fmt: skip
                    assert (name, played.number) in made

    def test_facts_are_those_of_the_history(self, eventful: Federation, report: Report) -> None:
        final = [played for played in eventful.rounds if played.record is not None]
        assert report.facts["rounds_final"] == len(final)
        assert report.facts["rounds_aborted"] == len(eventful.rounds) - len(final)
        assert report.facts["proposals_refuted"] == 2 and report.facts["proposals_lapsed"] == 2
        fined = [event for played in eventful.rounds for sent in played.sent for event in sent.named("Fined")]
        # The contradiction was fined outside a step of its round.
        assert report.facts["fines"] == len(fined) + 1
        assert report.facts["model_round"] == final[-1].number

    def test_counts_are_of_real_things(self, eventful: Federation, report: Report) -> None:
        for played in eventful.rounds:
            assert f"{len(played.committed)} updates signed" in report.check("commits", played.number).detail

    def test_report_says_what_each_member_signed(self, eventful: Federation, report: Report) -> None:
        assert [each.seat for each in report.agreements] == list(range(len(report.agreements)))
        assert len(report.agreements) == report.facts["members"] > len(eventful.rounds[0].invited)
        for each in report.agreements:
            assert each.agreement == "0x" + eventful.plan.agreement.hex()
            assert each.open_updates and each.max_fine == 100 * 10**18 and each.signature.startswith("verified")
            assert each.time > 0 and each.transaction.startswith("0x") and each.name.startswith("hospital-")
        assert [each.seat for each in report.agreements if each.left] == [2, 3]
        shown = report.to_json()["agreements"]
        assert shown[0]["at"].endswith("UTC") and shown[0]["max_fine"] == str(100 * 10**18)
        text = "\n".join(report.lines())
        assert f"agreement 0x{eventful.plan.agreement.hex()}" in text and "updates public: agreed" in text

    def test_text_has_no_python_in_it(self, report: Report) -> None:
        text = "\n".join(report.lines(verbose=True))
        for wrong in ("None", "True", "False", "{", "wei", "b'", "facts about", "Outcome("):
            assert wrong not in text, wrong
        assert " tokens" in text

    def test_export_of_it_gives_the_same_report(self, eventful: Federation, report: Report, tmp_path: Path) -> None:
        stores = MultiStore([eventful.store])
        exported = export_audit(eventful.connect(), stores, eventful.study_id, tmp_path / "eventful.zip")
        assert audit_export(exported.path).report.to_json() == report.to_json()

    def test_report_is_json_and_prints(self, report: Report) -> None:
        shown = json.loads(json.dumps(report.to_json()))
        assert shown["verdict"] == "ok" and len(shown["checks"]) == len(report.checks)
        assert all(check["reproduce"] for check in shown["checks"])
        short, whole = list(report.lines()), list(report.lines(verbose=True))
        assert short[-1] == "Verdict: ok" and len(short) < len(whole)


class TestEachCourse:
    def test_round_in_progress_is_no_fault(self, federation: Federation) -> None:
        federation.play_round(open_next=True)
        federation.commit()
        federation.reveal([0, 1])
        assert audit(federation).verdict == "ok"
        federation.reveal([2, 3])
        federation.certify()
        federation.propose(Lie.MEAN)
        report = audit(federation)
        assert report.verdict == "ok"
        assert "a live proposal" in report.check("mean", 2).detail

    def test_any_one_store_may_be_gone(self, federation: Federation, tmp_path: Path) -> None:
        federation.play_round()
        federation.play_round(lie=Lie.STEP)
        copy, gone = BlobFolder(tmp_path / "copy"), BlobFolder(tmp_path / "gone")
        for cid in federation.store.list():
            copy.put(federation.store.get(cid, max_bytes=1 << 20))
        assert audit(federation, stores=[gone, copy]).verdict == "ok"

    def test_unknown_study_is_an_error(self, federation: Federation) -> None:
        federation.study_id = 7
        with pytest.raises(StudyUnknownError):
            audit(federation)

    def test_other_studies_on_the_same_contracts_do_not_matter(self, federation: Federation) -> None:
        federation.play_round(unrevealed=[0])
        first, rounds = federation.study_id, federation.rounds
        federation.create_study()
        federation.members = [federation.join(member) for member in federation.members]
        federation.aggregators = federation.aggregators[:1]
        federation.aggregators[0].institution.send(intents.enlist(federation.study_id))
        federation.rounds = []
        federation.play_round()
        assert audit(federation).verdict == "ok"
        federation.study_id, federation.rounds = first, rounds
        report = audit(federation)
        assert report.verdict == "ok", report.failed()

    def test_fetched_blobs_are_kept_in_the_folder_given(self, federation: Federation, tmp_path: Path) -> None:
        federation.play_round()
        assert audit(federation, folder=tmp_path / "kept").verdict == "ok"
        assert len(list(BlobFolder(tmp_path / "kept").list())) >= 5

    def test_ten_rounds_take_seconds(self, federation: Federation) -> None:
        for _ in range(10):
            federation.play_round()
        started = time.monotonic()
        report = audit(federation)
        assert report.verdict == "ok" and report.facts["rounds_final"] == 10
        # About one second on two idle cores; the limit allows for neighbors.
        assert time.monotonic() - started < 10


def test_statuses_are_ordered_from_best_to_worst() -> None:
    assert list(Status) == ["ok", "warning", "incomplete", "mismatch"]
