"""`RoundRunner.step` in every phase: what is due, whose turn it is, and what happens when others fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from collegium.chain import Contracts, intents
from collegium.chain.views import ProposalStatus
from collegium.errors import ChainUnreachableError
from collegium.hours import Hours
from collegium.messages import pack_commits
from collegium.records import Kind, Phase, Role, StudyStatus, bits
from collegium_coordinator.inbox import Topic
from tests.chain.lying import Proxy
from tests.support.federation import WINDOW, Federation, Lie

from .desk import Desk

pytestmark = pytest.mark.chain

Desks = Callable[..., Desk]
SECOND, FIRST = 0, 1
"""In round 1 the second in the order of enlisting is on duty first."""


class TestOpening:
    def test_first_round_is_opened_once(self, desk: Desks) -> None:
        mine = desk()
        assert mine.step()
        assert not mine.step()
        assert [round.number for round in mine.view().rounds] == [1]

    def test_other_coordinator_may_have_been_faster(self, desk: Desks, federation: Federation) -> None:
        mine, other = desk(0), desk(1)
        stale = mine.view()
        assert other.step()
        # It acts on an old view: the chain refuses, nothing breaks.
        assert not mine.runner.step(stale)
        assert len(mine.view().rounds) == 1

    def test_nothing_is_opened_when_told_so(self, desk: Desks) -> None:
        assert not desk(auto_open=False).step()

    def test_rounds_open_in_their_hours_only(self, desk: Desks, federation: Federation) -> None:
        now = datetime.fromtimestamp(federation.chain.now(), UTC)
        later, soon = now + timedelta(hours=2), now + timedelta(hours=1)
        closed = Hours.parse([f"{later:%H:%M}-{later + timedelta(hours=1):%H:%M}"], zone="UTC")
        assert not desk(open_hours=closed).step()
        assert desk(open_hours=Hours.parse([f"{now - timedelta(hours=1):%H:%M}-{soon:%H:%M}"], zone="UTC")).step()

    def test_openings_keep_their_distance(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST, open_every=5 * WINDOW, stagger=0.0)
        assert mine.step()
        federation.pass_time(WINDOW)
        assert mine.view().rounds[-1].phase_at(mine.time.now()) is Phase.ABORTED
        assert mine.step()  # what time decided is written down
        assert not mine.step() and len(mine.view().rounds) == 1
        federation.pass_time(4 * WINDOW)
        assert mine.step() and len(mine.view().rounds) == 2

    def test_nothing_is_opened_in_a_stopped_study(self, desk: Desks, federation: Federation) -> None:
        mine, study = desk(FIRST), federation.study_id
        federation.operator.send(intents.set_study_status(study, StudyStatus.PAUSED))
        assert not mine.step() and not mine.view().rounds
        federation.operator.send(intents.set_study_status(study, StudyStatus.OPEN))
        federation.operator.send(intents.extend_study(study, federation.now() + WINDOW))
        federation.pass_time(WINDOW)
        assert not mine.step() and not mine.view().rounds
        federation.operator.send(intents.extend_study(study, federation.now() + WINDOW))
        assert mine.step() and len(mine.view().rounds) == 1

    def test_a_stopped_study_keeps_its_last_round(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        federation.commit()
        federation.reveal()
        federation.certify()
        assert mine.step()
        federation.operator.send(intents.set_study_status(federation.study_id, StudyStatus.CLOSED))
        mine.hand_endorsements(0, 1, 2)
        assert mine.step()
        (round,) = mine.view().rounds
        assert round.record is not None
        assert not mine.step()

    def test_aborted_round_is_followed_by_the_next(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        federation.commit([0])
        federation.pass_time(WINDOW)
        assert mine.view().rounds[-1].phase_at(mine.time.now()) is Phase.ABORTED
        later = desk(SECOND)
        # Round 2 is the other one's: it opens at once, this one waits.
        assert not mine.step()
        assert later.step()
        assert [round.aborted is not None for round in mine.view().rounds] == [True, False]
        assert mine.view().model[2] == 0

    def test_whoever_should_open_is_not_waited_for_long(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST, stagger=0.001)
        federation.play_round()
        assert not mine.step()
        federation.pass_time(10)
        assert mine.step()
        assert len(mine.view().rounds) == 2

    def test_too_few_members_is_no_disaster(self, desk: Desks, federation: Federation) -> None:
        federation.create_study()
        mine = desk()
        for _ in range(3):
            assert not mine.step()
        assert mine.view().rounds == []


class TestCarrying:
    def test_complete_batch_goes_at_once(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        mine.hand_updates(0, 1, 2)
        assert mine.step()
        assert mine.view().rounds[-1].committed == 0b111
        mine.hand_reveals(0, 1, 2)
        assert mine.step()
        assert mine.view().rounds[-1].revealed == 0b111
        mine.hand_attestations(0, 1, 2)
        assert mine.step()
        assert mine.view().rounds[-1].certified == 0b111
        transactions = {commit.event.transaction for commit in mine.view().rounds[-1].commits.values()}
        assert len(transactions) == 1

    def test_nothing_handed_in_is_nothing_to_do(self, desk: Desks, federation: Federation) -> None:
        federation.open_round()
        mine = desk(FIRST)
        assert not mine.step()
        federation.commit()
        assert not mine.step()
        federation.reveal()
        assert not mine.step()

    def test_incomplete_batch_waits_for_its_share(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        mine.hand_updates(0, 1)
        assert not mine.step()
        federation.pass_time(WINDOW // 2)
        assert mine.step()
        assert mine.view().rounds[-1].committed == 0b011
        assert not mine.step()

    def test_later_ranks_wait_longer(self, desk: Desks, federation: Federation) -> None:
        mine = desk(SECOND)
        federation.open_round()
        mine.hand_updates(0, 1, 2)
        assert not mine.step()
        federation.pass_time(WINDOW // 10 + 5)
        assert mine.step()

    def test_what_is_on_chain_is_not_carried_again(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        prepared = mine.hand_updates(0, 1, 2)
        federation.members[1].node.send(
            intents.commit_updates(federation.study_id, 1, [prepared[1].signed])
        )
        assert mine.step()
        mined = mine.view().rounds[-1]
        assert mined.committed == 0b111 and not mined.skipped

    def test_revoked_key_costs_one_transaction_not_many(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        mine.hand_updates(0, 1, 2)
        federation.members[2].institution.send(intents.revoke_node_key(federation.members[2].node.address))
        assert mine.step()
        mined = mine.view().rounds[-1]
        assert mined.committed == 0b011 and [event.args["index"] for event in mined.skipped] == [2]
        assert not mine.step() and not mine.step()
        assert len(mine.view().rounds[-1].skipped) == 1

    def test_certificates_wait_for_a_quorum(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        federation.commit()
        federation.reveal()
        mine.hand_attestations(0)
        federation.pass_time(WINDOW // 2)
        assert not mine.step()
        mine.hand_attestations(1)
        assert mine.step()
        assert mine.view().rounds[-1].certified == 0b111

    def test_partial_agreement_is_carried_late_and_grows(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        federation.commit()
        federation.reveal()
        mine.hand_attestations(0, 1, seats=[0, 1])
        assert not mine.step()
        federation.pass_time(WINDOW // 2)
        assert mine.step()
        assert mine.view().rounds[-1].certified == 0b011
        # Both have fetched the third update since.
        mine.hand_attestations(0, 1)
        assert mine.step()
        assert mine.view().rounds[-1].certified == 0b111

    def test_forged_item_in_the_inbox_harms_nobody(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        federation.open_round()
        mine.hand_updates(0, 1)
        forged = bytearray(pack_commits([federation.prepare(2).signed]))
        forged[-1] ^= 1
        mine.put(Topic.UPDATES, 2, bytes(forged))
        assert mine.step()
        assert mine.view().rounds[-1].committed == 0b011


class TestProposing:
    def test_on_duty_proposes_what_anybody_would_compute(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        mine.to_propose()
        right = federation.recompute()
        assert mine.step()
        live = mine.view().rounds[-1].live
        assert live is not None and live.proposal.aggregator == mine.member.node.address
        assert (live.proposal.mean_root, live.proposal.new_model_root) == (right.mean_tree.root, right.model_tree.root)
        assert not mine.step()

    def test_not_my_duty(self, desk: Desks) -> None:
        mine = desk(SECOND)
        mine.to_propose()
        assert not mine.step()
        assert mine.view().rounds[-1].proposals == []

    def test_missed_duty_is_taken_over(self, desk: Desks, federation: Federation) -> None:
        mine = desk(SECOND)
        mine.to_propose()
        federation.pass_time(WINDOW)
        assert mine.step()
        live = mine.view().rounds[-1].live
        assert live is not None and live.proposal.attempt == 1
        assert live.proposal.aggregator == mine.member.node.address

    def test_lapsed_proposal_is_followed_by_the_next_ones(self, desk: Desks, federation: Federation) -> None:
        first, second = desk(FIRST), desk(SECOND)
        first.to_propose()
        assert first.step()
        federation.pass_time(WINDOW)
        # Nobody endorsed: the other one is on duty.
        assert not first.step()
        assert second.step()
        statuses = [each.status for each in second.view().rounds[-1].proposals]
        assert statuses == [ProposalStatus.LAPSED, ProposalStatus.LIVE]

    def test_refuted_proposal_is_followed_by_an_honest_one(self, desk: Desks, federation: Federation) -> None:
        mine = desk(SECOND)
        mine.to_propose()
        federation.propose(Lie.MEAN)
        federation.refute()
        assert mine.step()
        statuses = [each.status for each in mine.view().rounds[-1].proposals]
        assert statuses == [ProposalStatus.REFUTED, ProposalStatus.LIVE]

    def test_missing_bytes_are_waited_for(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        mine.to_propose()
        path = federation.store.path_of(parse(mine))
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(Exception, match="No store gave blob"):
            mine.step()
        assert mine.view().rounds[-1].proposals == []
        federation.store.put(content)
        assert mine.step()

    def test_three_failed_duties_abort_and_are_fined(self, desk: Desks, federation: Federation) -> None:
        mine = desk(SECOND)
        mine.to_propose()
        federation.pass_time(4 * WINDOW)
        assert mine.view().rounds[-1].phase_at(mine.time.now()) is Phase.ABORTED
        # Both bonds will be too small for another round; the fines are ordered all the same.
        assert mine.step()
        assert mine.view().rounds[-1].aborted is not None and len(mine.view().rounds) == 1
        fined = mine._indexer.events(name="Fined")
        assert [event.args["kind"] for event in fined] == [Kind.DUTY] * 2
        assert not mine.step()

    def test_enlisting_again_brings_a_fined_coordinator_back(self, desk: Desks, federation: Federation) -> None:
        mine, gone = desk(SECOND, rounds=1), federation.aggregators[FIRST]
        mine.to_propose()
        federation.pass_time(WINDOW)
        assert mine.step()
        mine.hand_endorsements(0, 1, 2)
        assert mine.step() and mine.step()
        lock = Contracts(mine.chain).lock(federation.study_id, gone.institution.address, Role.AGGREGATOR)
        assert lock.amount < federation.plan.aggregator_bond
        gone.institution.send_all([intents.delist(federation.study_id), intents.enlist(federation.study_id)])
        gone.node.send(intents.open_round(federation.study_id, 2))
        order = {each.node.address for each in federation.aggregators}
        assert set(mine.view().snapshots[-1].aggregators) == order


class TestConcluding:
    def test_all_endorsed_is_final_and_the_next_round_open(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST)
        mine.to_propose()
        assert mine.step()
        mine.hand_endorsements(0, 1)
        assert not mine.step()
        mine.hand_endorsements(2)
        assert mine.step()
        view = mine.view()
        assert view.rounds[0].record is not None and len(view.rounds) == 2
        assert view.rounds[0].finalized.transaction == view.rounds[1].opened.transaction  # type: ignore[union-attr]
        assert mine.inbox.get(federation.study_id, 1, Topic.ENDORSEMENTS, view.rounds[0].proposals[0].hash)

    def test_old_messages_are_forgotten_by_whoever_did_not_conclude_too(
        self, desk: Desks, federation: Federation
    ) -> None:
        first, second = desk(FIRST), desk(SECOND)
        first.to_propose()
        first.step()
        live = first.live_hash()
        for each in (first, second):
            each.hand_endorsements(0, 1, 2)
        assert first.step()
        for each in (first, second):
            assert each.inbox.get(federation.study_id, 1, Topic.ENDORSEMENTS, live)
            each.step()
            assert not each.inbox.get(federation.study_id, 1, Topic.ENDORSEMENTS, live)

    def test_rounds_limit(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST, rounds=1)
        mine.to_propose()
        assert mine.step()
        mine.hand_endorsements(0, 1, 2)
        assert mine.step()
        assert not mine.step()
        assert [round.number for round in mine.view().rounds] == [1]

    def test_quorum_is_written_down_before_the_deadline_and_final_after_it(
        self, desk: Desks, federation: Federation
    ) -> None:
        mine = desk(FIRST, rounds=1)
        mine.to_propose()
        assert mine.step()
        mine.hand_endorsements(0, 1)
        federation.pass_time(WINDOW // 2)
        assert mine.step()
        live = mine.view().rounds[-1].live
        assert live is not None and bits(live.endorsed) == [0, 1]
        assert not mine.step()
        federation.pass_time(WINDOW // 2)
        assert mine.step()
        assert mine.view().rounds[-1].record is not None

    def test_late_endorsement_does_not_spoil_finality(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST, rounds=1)
        mine.to_propose()
        assert mine.step()
        mine.hand_endorsements(0, 1)
        federation.pass_time(WINDOW // 2)
        assert mine.step()
        late = mine.endorsement(2)
        federation.pass_time(WINDOW)
        from collegium.messages import pack_endorsements

        mine.put(Topic.ENDORSEMENTS, 2, pack_endorsements([late]), mine.live_hash())
        assert mine.step()
        assert mine.view().rounds[-1].record is not None

    def test_other_coordinator_finalizes_when_the_proposer_is_gone(self, desk: Desks, federation: Federation) -> None:
        gone, mine = desk(FIRST), desk(SECOND)
        gone.to_propose()
        assert gone.step()
        mine.hand_endorsements(0, 1, 2)
        assert not mine.step()
        federation.pass_time(WINDOW // 10 + 5)
        assert mine.step()
        assert mine.view().rounds[0].record is not None

    def test_impossible_next_round_does_not_keep_this_one_from_its_record(
        self, desk: Desks, federation: Federation
    ) -> None:
        mine = desk(FIRST)
        mine.to_propose()
        assert mine.step()
        mine.hand_endorsements(0, 1, 2)
        for member in federation.members[1:]:
            member.institution.send(intents.leave(federation.study_id))
        assert mine.step()
        assert mine.view().rounds[0].record is not None
        assert len(mine.view().rounds) == 1

    def test_fines_of_the_last_round_are_settled(self, desk: Desks, federation: Federation) -> None:
        mine = desk(FIRST, rounds=1)
        federation.open_round()
        federation.commit()
        federation.reveal([0, 1])
        federation.pass_time(WINDOW)
        federation.certify([0, 1])
        assert mine.step()
        mine.hand_endorsements(0, 1, 2)
        assert mine.step()
        assert mine.step(), "the fine of the hospital that never revealed"
        mine.view()
        (fined,) = mine._indexer.events(name="Fined")
        assert fined.args["kind"] == Kind.UNREVEALED
        assert not mine.step()


class TestOutages:
    @pytest.fixture
    def proxy(self, federation: Federation) -> Iterator[Proxy]:
        proxy = Proxy(federation.devnet.url)
        yield proxy
        proxy.close()

    def test_nothing_is_lost_while_the_node_is_away(self, desk: Desks, federation: Federation, proxy: Proxy) -> None:
        mine = desk(FIRST, rpc_url=proxy.url)
        federation.open_round()
        mine.hand_updates(0, 1, 2)
        view = mine.view()
        proxy.down = True
        with pytest.raises(ChainUnreachableError):
            mine.step()
        # The node goes away between the look and the act: delayed, not failed.
        assert not mine.runner.step(view)
        proxy.down = False
        assert mine.step()
        assert mine.view().rounds[-1].committed == 0b111


def parse(mine: Desk) -> object:
    from collegium.storage import parse_cid

    return parse_cid(mine.view().rounds[-1].reveals[1].cid)
