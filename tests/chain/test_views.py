"""Views, reads, calldata and receipts over a federation on the real contracts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collegium.chain import Contracts, Indexer, StudyView, verify_logs
from collegium.chain.calldata import Calldata
from collegium.chain.views import ProposalStatus, RoundView
from collegium.errors import StudyUnknownError
from collegium.messages import digest, recover
from collegium.records import ZERO_ADDRESS, Phase, Role
from tests.support.federation import TOKEN, Federation, Lie

# One history, played in order.
pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("views")]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("federation"), members=4, aggregators=3) as federation:
        yield federation


@pytest.fixture(scope="module")
def indexer(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexer]:
    with Indexer(tmp_path_factory.mktemp("index") / "index.db", federation.chain) as indexer:
        yield indexer


def look(federation: Federation, indexer: Indexer) -> tuple[StudyView, RoundView]:
    indexer.sync()
    study = StudyView.build(indexer.events(), federation.study_id)
    assert study.current is not None
    return study, study.current


def assert_same_phase(federation: Federation, indexer: Indexer) -> Phase:
    """The phase computed from events is the contract's own, and so are duty and deadline."""
    _, round = look(federation, indexer)
    reads = Contracts(federation.chain)
    phase, attempt, deadline = reads.phase(federation.study_id)
    now = federation.now()
    clock = round.clock_at(now)
    assert (clock.phase, clock.attempt) == (phase, attempt)
    if phase not in (Phase.FINAL, Phase.ABORTED):
        assert round.deadline_at(now) == deadline
        assert (round.on_duty(now) or ZERO_ADDRESS) == reads.on_duty(federation.study_id) or phase is not Phase.PROPOSE
    return phase


class TestRoundView:
    def test_phase_follows_the_contract_through_a_refuted_round(self, federation: Federation, indexer: Indexer) -> None:
        federation.open_round()
        assert assert_same_phase(federation, indexer) is Phase.COMMIT
        federation.commit([0, 1])
        assert assert_same_phase(federation, indexer) is Phase.COMMIT
        federation.commit([2, 3])
        assert assert_same_phase(federation, indexer) is Phase.REVEAL
        federation.reveal()
        assert assert_same_phase(federation, indexer) is Phase.CERTIFY
        federation.certify()
        assert assert_same_phase(federation, indexer) is Phase.PROPOSE
        federation.propose(Lie.MEAN)
        assert assert_same_phase(federation, indexer) is Phase.CHALLENGE
        federation.refute()
        assert assert_same_phase(federation, indexer) is Phase.PROPOSE
        federation.propose()
        federation.conclude()
        assert assert_same_phase(federation, indexer) is Phase.FINAL
        study, round = look(federation, indexer)
        played = federation.round
        assert round.record == played.record
        assert [each.status for each in round.proposals] == [ProposalStatus.REFUTED, ProposalStatus.FINAL]
        assert round.ctx == played.ctx
        assert study.model[0] == played.last.proposal.new_model_root
        assert len(round.refutations) == 1

    def test_phase_follows_the_contract_through_timeouts(self, federation: Federation, indexer: Indexer) -> None:
        federation.open_round()
        federation.commit([0, 1, 2])
        federation.pass_time(federation.plan.commit_window)
        assert assert_same_phase(federation, indexer) is Phase.REVEAL
        federation.reveal([0, 1])
        federation.pass_time(federation.plan.reveal_window)
        assert assert_same_phase(federation, indexer) is Phase.CERTIFY
        federation.certify([0, 1])
        federation.pass_time(federation.plan.propose_window)
        assert assert_same_phase(federation, indexer) is Phase.PROPOSE
        federation.settle()
        assert assert_same_phase(federation, indexer) is Phase.PROPOSE
        federation.propose()
        federation.pass_time(federation.plan.challenge_window)
        assert assert_same_phase(federation, indexer) is Phase.PROPOSE
        federation.propose()
        federation.conclude()
        _, round = look(federation, indexer)
        assert len(round.missed) == 1
        assert [each.status for each in round.proposals] == [ProposalStatus.LAPSED, ProposalStatus.FINAL]
        assert assert_same_phase(federation, indexer) is Phase.FINAL

    def test_abandoned_round_aborts_in_both(self, federation: Federation, indexer: Indexer) -> None:
        federation.open_round()
        federation.commit([0])
        federation.pass_time(federation.plan.commit_window)
        assert assert_same_phase(federation, indexer) is Phase.ABORTED
        federation.settle()
        _, round = look(federation, indexer)
        assert round.is_over
        assert round.record is None

    def test_unknown_study_is_told(self, indexer: Indexer) -> None:
        indexer.sync()
        with pytest.raises(StudyUnknownError):
            StudyView.build(indexer.events(), 99)


class TestContracts:
    def test_reads_are_the_records(self, federation: Federation, indexer: Indexer) -> None:
        study, _ = look(federation, indexer)
        reads = Contracts(federation.chain)
        read = reads.study(federation.study_id)
        assert (read.plan, read.format) == (federation.plan, federation.table.format)
        assert read.plan_hash == study.plan_hash
        assert (read.members, read.aggregators) == (4, 3)
        assert reads.study_count() == 1
        snapshot = reads.snapshot(federation.study_id)
        assert snapshot.node_keys == study.snapshots[-1].node_keys
        final = study.final_rounds[-1]
        assert reads.record(federation.study_id, final.number) == (final.record, False)
        assert (reads.model(federation.study_id).root, reads.model(federation.study_id).cid) == study.model[:2]
        member = federation.members[1]
        assert reads.seat(federation.study_id, member.institution.address).index == 1
        assert reads.node_key(member.institution.address) == member.node.address
        assert reads.institution(member.node.address) == member.institution.address
        assert reads.is_active(member.institution.address)
        assert reads.stake(member.institution.address).free > 0
        assert reads.lock(federation.study_id, member.institution.address, Role.MEMBER).amount <= 100 * TOKEN
        assert reads.council()[1] == 2
        assert reads.live_round(federation.study_id).round == study.rounds[-1].number
        assert reads.update(federation.study_id, 0).slot

    def test_unknown_study_is_told_in_plain_words(self, federation: Federation) -> None:
        with pytest.raises(StudyUnknownError, match="no study 77"):
            Contracts(federation.chain).study(77)


class TestCalldata:
    def test_every_signature_is_recovered(self, federation: Federation, indexer: Indexer) -> None:
        federation.play_round()
        _, round = look(federation, indexer)
        calldata, domain = Calldata(federation.chain), federation.chain.domain()
        for index, commit in round.commits.items():
            (signed,) = [
                each for each in calldata.updates(round, commit.event.transaction) if each.message.index == index
            ]
            assert signed.message.commitment == commit.commitment
            assert recover(digest(signed.message, domain), signed.signature) == commit.node_key
        attested = {each.message.index for each in calldata.attestations(round, round.attestations[0].transaction)}
        assert attested == {0, 1, 2, 3}
        assert round.finalized is not None
        final = round.proposals[-1]
        endorsed = calldata.endorsements(round, round.finalized.transaction, final.hash)
        assert {each.message.index for each in endorsed} == {0, 1, 2, 3}
        assert calldata.endorsements(round, round.finalized.transaction, b"\x01" * 32) == []
        assert calldata.updates(round, round.finalized.transaction) == []

    def test_skipped_item_keeps_its_signature(self, federation: Federation, indexer: Indexer) -> None:
        """A second, different update is skipped by the contract, and is the evidence against its signer."""
        federation.open_round()
        first = federation.prepare(0)
        second = federation.prepare(0, elements=federation.make_elements())
        federation.commit(submissions=[first])
        sent = federation.commit(submissions=[replace(second), federation.prepare(1)])[0]
        _, round = look(federation, indexer)
        carried = Calldata(federation.chain).updates(round, sent.hash)
        assert [each.message.index for each in carried] == [0, 1]
        assert carried[0].message.commitment != round.commits[0].commitment
        assert [event.transaction for event in round.skipped] == [sent.hash]


class TestWholeHistory:
    def test_every_event_is_in_the_receipts(self, federation: Federation, indexer: Indexer) -> None:
        head = indexer.sync().head
        deployment = federation.deployment
        started = time.monotonic()
        verified = verify_logs(
            federation.chain.rpc,
            indexer.raw_logs(),
            deployment.start_block,
            head,
            list(deployment.addresses.values()),
        )
        verified.require()
        assert verified.logs == len(indexer.events()) > 50
        assert time.monotonic() - started < 30

    def test_every_kind_of_event_names_its_contract(self, indexer: Indexer) -> None:
        contracts = {event.contract for event in indexer.events()}
        assert contracts >= {"Collegium", "Members", "Bonds", "CollegiumToken", "Refutations"}

    def test_second_index_tells_the_same_story(self, federation: Federation, indexer: Indexer, tmp_path: Path) -> None:
        indexer.sync()
        with Indexer(tmp_path / "index.db", federation.chain) as second:
            second.sync()
            assert second.events() == indexer.events()
