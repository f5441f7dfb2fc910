"""The sponsor pauses, resumes, extends and closes a study from the command line; nobody else does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import Contracts, Indexer, StudyView, intents, keystore
from collegium.chain.devnet import Devnet
from collegium.chain.following import StudyFollower
from collegium.records import StudyStatus
from collegium_client.cli.app import run
from tests.support.federation import TOKEN, WINDOW, Federation

pytestmark = pytest.mark.chain

PASSWORD = "correct horse"
Shell = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet


@pytest.fixture
def federation(devnet: Devnet, tmp_path: Path) -> Federation:
    """Its own contracts and study on the shared chain."""
    return Federation.start(tmp_path / "federation", members=3, aggregators=1, devnet=devnet)


def view_of(federation: Federation) -> StudyView:
    with Indexer(federation.folder / "index.sqlite", federation.chain) as indexer:
        return StudyFollower(indexer, federation.study_id).refresh()


@pytest.fixture
def shell(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A home with the keys `sponsor`, `node` (seat 0), `institution` (of seat 0), `one` and `two` (of the council)."""
    home = tmp_path / "home"
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run([*(str(each) for each in arguments), "--home", str(home), "--json"])
        return code, json.loads(capsys.readouterr().out)

    deployment = str(federation.folder / "deployment.json")
    assert call("init", "--rpc-url", federation.devnet.url, "--deployment", deployment)[0] == 0
    view = view_of(federation)
    keys = {
        "sponsor": next(a for a in (federation.operator, federation.relay) if a.address == view.sponsor),
        "node": federation.members[0].node, "institution": federation.members[0].institution,
        "one": federation.council[0], "two": federation.council[1],
    }  # fmt: skip
    for alias, account in keys.items():
        keystore.save(home / "keystore" / f"{alias}.json", account.signer, PASSWORD, light=True)
    return call


def sponsor(shell: Shell, *arguments: str) -> tuple[int, dict[str, Any]]:
    return shell("study", *arguments, "--as", "sponsor", "--yes")


class TestStatus:
    def test_paused_and_resumed(self, shell: Shell, federation: Federation) -> None:
        study = str(federation.study_id)
        code, envelope = sponsor(shell, "pause", study)
        assert code == 0, envelope["error"]
        assert envelope["data"]["status"] == "paused"
        code, envelope = shell("study", "open", study, "--yes")
        assert code == 3 and "paused" in envelope["error"]["message"] and "resume" in envelope["error"]["hint"]
        assert sponsor(shell, "pause", study)[0] == 3
        assert sponsor(shell, "resume", study)[0] == 0
        code, envelope = shell("study", "open", study, "--yes")
        assert (code, envelope["data"]["opened"]) == (0, [1])
        code, envelope = shell("study", "open", study, "--yes")
        assert code == 3 and "still running" in envelope["error"]["message"]

    def test_closed_for_ever(self, shell: Shell, federation: Federation) -> None:
        study = str(federation.study_id)
        federation.open_round()
        assert sponsor(shell, "close", study)[0] == 0
        # The running round ends as if nothing had been said.
        federation.commit()
        federation.reveal()
        federation.certify()
        federation.propose()
        federation.conclude()
        assert len(view_of(federation).final_rounds) == 1
        assert sponsor(shell, "resume", study)[0] == 3
        assert shell("study", "open", study, "--yes")[0] == 3
        assert shell("leave", study, "--yes")[0] == 0
        # A seat is given once: what a second joining would need is told instead of a loop of hints.
        code, envelope = shell("join", study, "--yes")
        assert code == 3 and "never again" in envelope["error"]["message"]
        assert shell("study", "show", study)[1]["data"]["status"] == "closed"

    def test_only_the_sponsor(self, shell: Shell, federation: Federation) -> None:
        study = str(federation.study_id)
        for act in ("pause", "resume", "close"):
            assert shell("study", act, study, "--yes")[0] == 6
        assert shell("study", "extend", study, "--by", "1d", "--yes")[0] == 6
        assert Contracts(federation.chain).governance(federation.study_id).status is StudyStatus.OPEN

    def test_a_dry_run_changes_nothing(self, shell: Shell, federation: Federation) -> None:
        study = str(federation.study_id)
        assert shell("study", "pause", study, "--as", "sponsor", "--dry-run")[1]["data"]["sent"] is False
        assert Contracts(federation.chain).governance(federation.study_id).status is StudyStatus.OPEN


class TestTerm:
    def test_extended_and_over(self, shell: Shell, federation: Federation) -> None:
        study, now = str(federation.study_id), federation.chain.now()
        code, envelope = sponsor(shell, "extend", study, "--by", "12h")
        until = envelope["data"]["open_until"]
        assert code == 0 and until >= now + 12 * 3600
        code, envelope = sponsor(shell, "extend", study, "--until", "2020-01-01")
        assert code == 3 and "never cut short" in envelope["error"]["hint"]
        assert sponsor(shell, "extend", study, "--by", "12h")[1]["data"]["open_until"] == until + 12 * 3600
        federation.pass_time(24 * 3600 + WINDOW)
        code, envelope = shell("study", "open", study, "--yes")
        assert code == 3 and "term" in envelope["error"]["message"] and "extend" in envelope["error"]["hint"]

    def test_a_day_is_whole(self, shell: Shell, federation: Federation) -> None:
        _, envelope = sponsor(shell, "extend", str(federation.study_id), "--until", "2099-12-31")
        assert envelope["data"]["open_until"] == datetime(2100, 1, 1, tzinfo=UTC).timestamp()

    @pytest.mark.parametrize("options", [(), ("--by", "1d", "--until", "2099-01-01"), ("--by", "1w"), ("--until", "x")])
    def test_usage(self, shell: Shell, federation: Federation, options: tuple[str, ...]) -> None:
        assert sponsor(shell, "extend", str(federation.study_id), *options)[0] == 2


def test_a_member_is_removed_by_the_council(shell: Shell, federation: Federation) -> None:
    study, victim = str(federation.study_id), federation.members[2].institution.address
    assert shell("study", "remove-member", study, victim, "-o", "r.json")[0] == 0
    assert shell("council", "sign", "r.json", "--key", "one", "--yes")[0] == 0
    assert shell("council", "submit", "r.json", "--as", "sponsor", "--yes")[0] == 3
    assert shell("council", "sign", "r.json", "--key", "two", "--yes")[0] == 0
    assert shell("council", "submit", "r.json", "--as", "sponsor", "--yes")[0] == 0
    seat = next(seat for seat in view_of(federation).seats.values() if seat.institution == victim)
    assert seat.removed


def test_a_deposit_by_permit_is_one_transaction(shell: Shell, federation: Federation) -> None:
    institution = federation.members[0].institution.address
    contracts = Contracts(federation.chain)
    free = contracts.stake(institution).free
    if not contracts.token_balance(institution):
        federation.operator.send(intents.transfer_tokens(institution, 5 * TOKEN))
    code, envelope = shell("stake", "deposit", "2.5", "--permit", "--yes")
    assert code == 0 and len(envelope["data"]["transactions"]) == 1
    assert contracts.stake(institution).free == free + 5 * TOKEN // 2


def test_rounds_open_one_after_the_other(shell: Shell, federation: Federation) -> None:
    """Until the study has as many final rounds as asked for: none more when it has them already."""
    federation.play_round()
    code, envelope = shell("study", "open", str(federation.study_id), "--rounds", "1", "--yes")
    assert (code, envelope["data"]) == (0, {"study": federation.study_id, "opened": [], "final_rounds": 1})
