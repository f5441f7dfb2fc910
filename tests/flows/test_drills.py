"""The drills of docs/security/drills.md on real contracts: what is lost, what is not, the commands that mend it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from collegium.amounts import TOKEN, format_tokens
from collegium.chain import Indexer, Journal, StudyView, keystore
from collegium_client.cli.app import run
from collegium_client.memory import Memory
from tests.audit.histories import audit
from tests.client.worlds import PASSWORD, write_settings
from tests.support.accounts import Account
from tests.support.federation import Federation

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.xdist_group("drills")]

@dataclass
class Desk:
    """One party's home, and the commands that its people type."""

    home: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path, code: int = 0) -> Any:
        """Data of a command that ends with `code`, or its error."""
        self.capsys.readouterr()
        ended = run([*map(str, words), "--home", str(self.home), "--json"])
        out, err = self.capsys.readouterr()
        assert ended == code, f"{words}: {ended}\n{out}\n{err}"
        envelope = json.loads(out)
        return envelope["error"] if code else envelope["data"]

    def key(self, name: str) -> Path:
        return self.home / "keystore" / f"{name}.json"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("drills"), members=4, aggregators=2) as federation:
        federation.deployment.save(federation.folder / "deployment.json")
        yield federation


@pytest.fixture
def federation(shared: Federation) -> Iterator[Federation]:
    """As it was before the first round; the chain goes back afterwards."""
    rpc = shared.chain.rpc
    snapshot = rpc.request("evm_snapshot")
    fresh = copy(shared)
    fresh.rounds, fresh.members, fresh.aggregators = [], list(shared.members), list(shared.aggregators)
    behind = int(time.time()) - fresh.now()
    if behind > 0:
        fresh.pass_time(behind)
    yield fresh
    rpc.request("evm_revert", snapshot)


class Office:
    """Makes homes for parties of a federation."""

    def __init__(self, federation: Federation, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.federation, self._folder, self._capsys = federation, folder, capsys

    def desk(self, name: str, **keys: Account) -> Desk:
        home = self._folder / name
        (home / "keystore").mkdir(parents=True)
        (home / "password").write_text(PASSWORD)
        for role, account in keys.items():
            keystore.save(home / "keystore" / f"{role}.json", account.signer, PASSWORD, light=True)
        network = {
            "rpc_url": self.federation.devnet.url, "chain_id": self.federation.chain.chain_id, "poll_interval": 0.02,
            "deployment": str(self.federation.folder / "deployment.json"), "retry_for": 2.0,
        }  # fmt: skip
        write_settings(home, {"network": network, "keys": {"password_file": "password"}})
        return Desk(home, self._capsys)

    def hospital(self, at: int) -> Desk:
        member = self.federation.members[at]
        return self.desk(f"hospital-{at}", institution=member.institution, node=member.node)

    def council(self, at: int) -> Desk:
        """A council member: its key, and no institution."""
        return self.desk(f"council-{at}", council=self.federation.council[at])


@pytest.fixture
def office(federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(federation, tmp_path, capsys)


def decide(office: Office, file: Path, *signers: int, code: int = 0) -> Any:
    """Council members sign a decision one after the other, each on a machine of its own; somebody carries it."""
    for at in signers:
        office.council(at)("council", "sign", file, "--yes")
    carrier = office.desk(f"carrier-{len(signers)}", institution=office.federation.operator)
    return carrier("council", "submit", file, "--yes", code=code)


def new_node_key(office: Office, desk: Desk) -> Account:
    """The key that the desk has now, for the next rounds of the federation."""
    signer = keystore.load(desk.key("node"), PASSWORD)
    account = Account(office.federation.chain, signer.private_key)
    office.federation.chain.rpc.request("anvil_setBalance", account.address, hex(10**24))
    return account


class TestNodeKeyLost:
    def test_a_new_one_is_registered_and_the_seat_stays(self, federation: Federation, office: Office) -> None:
        federation.play_round()
        desk = office.hospital(0)
        lost = desk("keys", "show", "node")["address"]
        desk.key("node").unlink()
        assert desk("keys", "rotate", "--yes", code=6)["code"] == "key_missing"
        fresh = desk("keys", "new", "node", "--light")["address"]
        desk("institution", "register", "--yes")
        status = desk("institution", "status")
        assert status["node_key"] == fresh != lost and [seat["index"] for seat in status["seats"]] == [0]
        federation.members[0] = replace(federation.members[0], node=new_node_key(office, desk))
        played = federation.play_round()
        assert played.record is not None and 0 in played.committed
        assert audit(federation).verdict == "ok"


class TestNodeKeyStolen:
    def test_it_is_revoked_at_once_and_nothing_it_signs_counts_any_more(
        self, federation: Federation, office: Office
    ) -> None:
        federation.play_round(open_next=True)
        desk = office.hospital(1)
        stolen = desk("keys", "show", "node")["address"]
        assert desk("keys", "revoke", "--yes")["address"] == stolen
        assert desk("institution", "status")["node_key"] is None
        # The thief signs all the same; what it signed is passed over, and nobody is fined.
        sent = federation.commit(submissions=[federation.prepare(seat) for seat in range(4)])
        assert [event.args["index"] for each in sent for event in each.named("ItemSkipped")] == [1]
        assert federation.round.committed == {0, 2, 3}
        federation.pass_time(federation.plan.commit_window)
        federation.reveal()
        federation.certify([0, 2, 3])
        federation.propose()
        federation.endorse([0, 2, 3])
        federation.pass_time(federation.plan.challenge_window)
        federation.finalize()
        assert federation.round.record is not None
        assert not [event for each in federation.round.sent for event in each.named("Fined")]
        rotated = desk("keys", "rotate", "--yes")
        assert rotated["address"] != stolen and Path(rotated["retired"]).exists()
        assert audit(federation).verdict == "ok"


class TestJournalLost:
    """Only the journal keeps a node from signing twice; a node without it waits one round."""

    def test_the_running_round_is_skipped_and_the_next_is_not(self, federation: Federation, tmp_path: Path) -> None:
        key, folder = federation.members[0].node.signer, tmp_path / "state"

        def remember() -> Memory:
            """A node that starts."""
            journal = Journal(folder / "journal.sqlite", federation.chain.domain(), key)
            return Memory(journal, key.address, folder / "skipped.json")

        def must_skip(memory: Memory) -> bool:
            with Indexer(tmp_path / f"{federation.round.number}.sqlite", federation.chain) as index:
                index.sync()
                view = StudyView.build(index.events(federation.study_id), federation.study_id)
            assert view.current is not None
            return memory.must_skip(view, view.current)

        def play() -> None:
            """With what the node signed in its journal."""
            signed = federation.prepare(0)
            Journal(folder / "journal.sqlite", federation.chain.domain(), key).sign_update(signed.signed.message)
            federation.commit(submissions=[signed, *(federation.prepare(seat) for seat in (1, 2, 3))])
            federation.reveal()
            federation.certify()
            federation.propose()
            federation.conclude(open_next=True)

        federation.open_round()
        assert not must_skip(remember())
        play()
        assert not must_skip(remember())
        for file in folder.glob("journal.sqlite*"):
            file.unlink()
        assert must_skip(remember()) and must_skip(remember())
        federation.commit([1, 2, 3])
        federation.pass_time(federation.plan.commit_window)
        federation.reveal()
        federation.certify()
        federation.propose()
        federation.conclude(open_next=True)
        assert not must_skip(remember())
        play()
        assert not must_skip(remember())
        # Lost again: the mark of the first loss does not excuse it.
        for file in folder.glob("journal.sqlite*"):
            file.unlink()
        assert must_skip(remember())


class TestInstitutionKeyLost:
    def test_rounds_go_on_but_money_and_membership_are_out_of_reach(
        self, federation: Federation, office: Office
    ) -> None:
        desk = office.hospital(2)
        institution = desk("keys", "show", "institution")["address"]
        desk.key("institution").unlink()
        assert 2 in federation.play_round().committed
        for words in (("leave", "1"), ("stake", "withdraw"), ("stake", "unlock", "1"), ("keys", "rotate")):
            assert desk(*words, "--yes", code=6)["code"] == "key_missing"
        # The tokens are nobody else's, and nobody's any more.
        assert int(desk("stake", "status", "--address", institution)["free"]) > 0

    def test_the_council_removes_the_old_seat_and_admits_a_new_institution(
        self, federation: Federation, office: Office, tmp_path: Path
    ) -> None:
        federation.play_round()
        lost = federation.members[2].institution.address
        secretary = office.desk("secretary", institution=federation.operator)
        removal = tmp_path / "removal.json"
        secretary("study", "remove-member", "1", lost, "-o", removal)
        decide(office, removal, 0, 1)
        replacement = federation.admit("hospital-2 again")
        joined = federation.join(replacement)
        federation.members.append(joined)
        played = federation.play_round()
        assert joined.seat == 4 and played.record is not None and played.committed == {0, 1, 3, 4}
        report = audit(federation)
        assert report.verdict == "ok"
        (removed,) = [each for each in report.agreements if each.institution == lost]
        assert "removed by the council" in removed.left


class TestCouncilMemberLeft:
    """Threshold two of three: one may be gone for ever."""

    def test_the_others_still_decide(self, federation: Federation, office: Office, tmp_path: Path) -> None:
        applicant = office.desk("applicant")
        applicant("keys", "new", "institution", "--light")
        address = applicant("keys", "show", "institution")["address"]
        secretary = office.desk("secretary", institution=federation.operator)
        file = tmp_path / "admission.json"
        secretary("council", "admit", f"{address}=New hospital", "-o", file)
        refused = decide(office, file, 0, code=3)
        assert "1 of 2" in refused["message"]
        office.council(2)("council", "sign", file, "--yes")
        carrier = office.desk("carrier", institution=federation.operator)
        assert carrier("council", "submit", file, "--yes")["sent"]
        assert applicant("institution", "status")["active"]


class TestSponsorGone:
    """Nobody has the sponsor's key any more."""

    def test_rounds_still_finalize_and_members_leave_with_their_stake(
        self, federation: Federation, office: Office
    ) -> None:
        assert federation.play_round().record is not None
        desk = office.hospital(3)
        before = int(desk("stake", "status")["free"])
        left = desk("leave", "1", "--yes")
        assert federation.play_round().record is not None
        federation.pass_time(left["releasable_at"] - federation.now() + 1)
        desk("stake", "claim", "--yes")
        freed = desk("stake", "status")
        assert int(freed["free"]) == before + 100 * TOKEN and not freed["locks"]
        desk("stake", "unlock", format_tokens(int(freed["free"])), "--yes")
        federation.pass_time(int(desk("stake", "status")["withdrawable_at"]) - federation.now() + 1)
        desk("stake", "withdraw", "--yes")
        assert int(desk("stake", "status")["balance"]) == before + 100 * TOKEN
        assert audit(federation).verdict == "ok"

    def test_what_only_the_sponsor_may_do_stays_undone(self, federation: Federation, office: Office) -> None:
        desk = office.hospital(0)
        for words in (("study", "pause", "1"), ("study", "close", "1"), ("study", "extend", "1", "--by", "90d")):
            assert desk(*words, "--yes", code=6)["code"] == "unauthorized"
