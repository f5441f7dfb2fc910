"""A study's governance through the bindings: what sponsor and council do, as the reads and the events tell it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collegium.chain import Contracts, Indexer, StudyView, intents
from collegium.chain.permit import permit_digest
from collegium.errors import RevertedError
from collegium.records import StudyStatus
from tests.support.federation import TOKEN, Federation

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("governance")]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("federation"), members=3) as federation:
        yield federation


@pytest.fixture(scope="module")
def indexer(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexer]:
    with Indexer(tmp_path_factory.mktemp("index") / "index.db", federation.chain) as indexer:
        yield indexer


def look(federation: Federation, indexer: Indexer) -> StudyView:
    """The study from events; it says of its governance what the contract says."""
    indexer.sync()
    view = StudyView.build(indexer.events(), federation.study_id)
    read = Contracts(federation.chain).governance(federation.study_id)
    assert (view.sponsor, view.status, view.open_until) == (read.sponsor, read.status, read.open_until)
    now = federation.now()
    assert view.may_open(now) == read.may_open(now)
    return view


class TestGovernance:
    def test_study_begins_open(self, federation: Federation, indexer: Indexer) -> None:
        view = look(federation, indexer)
        assert view.sponsor == federation.operator.address
        assert (view.status, view.open_until, view.governance) == (StudyStatus.OPEN, 0, [])

    def test_paused_study_opens_no_round_and_says_so(self, federation: Federation, indexer: Indexer) -> None:
        federation.operator.send(intents.set_study_status(federation.study_id, StudyStatus.PAUSED))
        assert look(federation, indexer).status is StudyStatus.PAUSED
        with pytest.raises(RevertedError, match="it is paused, its term ends never") as caught:
            federation.open_round()
        assert caught.value.error == "StudyNotOpen"
        federation.operator.send(intents.set_study_status(federation.study_id, StudyStatus.OPEN))
        federation.play_round()

    def test_term_ends_openings_and_is_extended(self, federation: Federation, indexer: Indexer) -> None:
        until = federation.now() + 600
        federation.operator.send(intents.extend_study(federation.study_id, until))
        assert look(federation, indexer).open_until == until
        federation.pass_time(600)
        assert not look(federation, indexer).may_open(federation.now())
        with pytest.raises(RevertedError, match="its term ends 20"):
            federation.open_round()
        with pytest.raises(RevertedError, match="only ever extended"):
            federation.operator.send(intents.extend_study(federation.study_id, until))
        federation.operator.send(intents.extend_study(federation.study_id, federation.now() + 10**6))
        federation.play_round()

    def test_removed_member_is_told_as_such(self, federation: Federation, indexer: Indexer) -> None:
        institution = federation.members[2].institution.address
        federation.send(federation.removal(institution))
        seat = look(federation, indexer).seat_of(institution)
        assert seat is not None and seat.removed and seat.left is not None and seat.left.args["approvals"] == 2
        with pytest.raises(RevertedError, match="is not a member of study"):
            federation.send(federation.removal(institution))
        federation.play_round()
        view = look(federation, indexer)
        assert institution not in view.snapshots[-1].institutions
        assert [event.name for event in view.governance][-1] == "MemberRemoved"

    def test_closed_study_stays_closed(self, federation: Federation, indexer: Indexer) -> None:
        federation.operator.send(intents.set_study_status(federation.study_id, StudyStatus.CLOSED))
        assert not look(federation, indexer).may_open(federation.now())
        with pytest.raises(RevertedError, match="it is closed"):
            federation.operator.send(intents.set_study_status(federation.study_id, StudyStatus.OPEN))


class TestPermit:
    def test_deposit_is_one_transaction_of_the_payer(self, federation: Federation) -> None:
        payer, institution = federation.operator, federation.members[0].institution.address
        before, deadline = Contracts(federation.chain).stake(institution).free, federation.now() + 600
        digest = permit_digest(federation.chain, payer.address, 7 * TOKEN, deadline)
        signature = payer.signer.sign_digest(digest)
        payer.send(intents.deposit_with_permit(institution, 7 * TOKEN, deadline, signature))
        assert Contracts(federation.chain).stake(institution).free == before + 7 * TOKEN
        bonds = federation.chain.address_of("Bonds")
        assert federation.chain.call("CollegiumToken", "allowance", payer.address, bonds) == 0
        with pytest.raises(RevertedError, match="refused the permit"):
            payer.send(intents.deposit_with_permit(institution, 7 * TOKEN, deadline, signature))
