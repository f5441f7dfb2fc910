"""What a coordinator takes and what it refuses, each refusal with its reason, nothing of it kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium.errors import (
    DeadlinePassedError,
    NotAMemberError,
    RecordError,
    SignatureError,
    StudyUnknownError,
    VerificationError,
    WireError,
    WrongPhaseError,
)
from collegium.messages import pack_attestations, pack_commits, pack_endorsements, pack_reveals
from collegium_coordinator.inbox import Topic
from collegium_coordinator.intake import SlotMismatchError
from tests.support.federation import WINDOW, Federation

from .desk import Desk

pytestmark = pytest.mark.chain

Desks = Callable[..., Desk]


def kept(mine: Desk, topic: Topic, subject: bytes = b"") -> list[int]:
    """Seats with an item in the inbox."""
    found = mine.inbox.get(mine.federation.study_id, mine.played.number, topic, subject)
    return [item.index for item in found]


class TestUpdates:
    def test_taken_and_kept_as_it_was_signed(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        wire = pack_commits([federation.prepare(1).signed])
        answer = mine.take(Topic.UPDATES, wire)
        assert answer == {"status": "accepted", "topic": "updates", "round": 1, "index": 1}
        (item,) = mine.inbox.get(federation.study_id, 1, Topic.UPDATES)
        assert (item.index, item.wire) == (1, wire)

    def test_hex_prefix_is_fine(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        wire = pack_commits([federation.prepare(0).signed])
        mine.take(Topic.UPDATES, wire, item="0x" + wire.hex())
        assert kept(mine, Topic.UPDATES) == [0]

    def test_a_round_that_this_coordinator_has_not_seen_yet(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        mine.view()
        federation.open_round()
        mine.take(Topic.UPDATES, pack_commits([federation.prepare(0).signed]))
        assert kept(mine, Topic.UPDATES) == [0]

    def test_wrong_signer(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        stranger = federation.relay.sign(federation.prepare(0).signed.message, mine.chain.domain())
        neighbor = federation.members[1].node.sign(federation.prepare(0).signed.message, mine.chain.domain())
        for signed in (stranger, neighbor):
            with pytest.raises(NotAMemberError, match="does not sign with"):
                mine.take(Topic.UPDATES, pack_commits([signed]))
        assert kept(mine, Topic.UPDATES) == []

    def test_signed_for_another_deployment(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        message = federation.prepare(0).signed.message
        other = federation.members[0].node.sign(message, mine.chain.domain("Members"))
        with pytest.raises(NotAMemberError):
            mine.take(Topic.UPDATES, pack_commits([other]))

    def test_unusable_signature(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        wire = bytearray(pack_commits([federation.prepare(0).signed]))
        wire[-64:] = bytes([0xFF]) * 64
        with pytest.raises(SignatureError):
            mine.take(Topic.UPDATES, bytes(wire))

    def test_seat_that_is_not_invited(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        wire = bytearray(pack_commits([federation.prepare(0).signed]))
        wire[:2] = (99).to_bytes(2, "big")
        with pytest.raises(NotAMemberError, match="Seat 99 is not invited"):
            mine.take(Topic.UPDATES, bytes(wire))

    def test_too_late(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        wire = pack_commits([federation.prepare(0).signed])
        federation.commit([1, 2])
        federation.pass_time(WINDOW)
        with pytest.raises(WrongPhaseError, match="the round is in reveal"):
            mine.take(Topic.UPDATES, wire)


class TestEnvelope:
    def test_wrong_study(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        with pytest.raises(StudyUnknownError, match="serves study"):
            mine.take(Topic.UPDATES, pack_commits([federation.prepare(0).signed]), study=federation.study_id + 1)

    @pytest.mark.parametrize("number", [0, 2, 1 << 40])
    def test_wrong_round(self, desk: Desks, federation: Federation, number: int) -> None:
        mine = desk()
        federation.open_round()
        with pytest.raises(DeadlinePassedError, match="is not the current one; that is 1"):
            mine.take(Topic.UPDATES, pack_commits([federation.prepare(0).signed]), round=number)

    def test_before_any_round(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        with pytest.raises(DeadlinePassedError, match="that is 0"):
            mine.intake(Topic.UPDATES, {"study": federation.study_id, "round": 1, "item": "00"})

    def test_phase_before_its_time(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        for topic in (Topic.REVEALS, Topic.ATTESTATIONS):
            with pytest.raises(WrongPhaseError, match="the round is in commit"):
                mine.take(topic, bytes(81))

    @pytest.mark.parametrize(
        "changes",
        [{"study": None}, {"study": "1"}, {"study": True}, {"study": -1}, {"study": 1 << 64}, {"round": 1.0},
         {"item": None}, {"item": 7}, {"item": "zz"}, {"item": "abc"}],
    )  # fmt: skip
    def test_malformed(self, desk: Desks, federation: Federation, changes: dict[str, object]) -> None:
        mine = desk()
        federation.open_round()
        with pytest.raises(WireError, match=f"needs `{next(iter(changes))}`"):
            mine.take(Topic.UPDATES, pack_commits([federation.prepare(0).signed]), **changes)

    def test_several_items_or_none(self, desk: Desks, federation: Federation) -> None:
        mine = desk()
        federation.open_round()
        two = pack_commits([federation.prepare(seat).signed for seat in (0, 1)])
        for wire in (two, b"", two[:-1], two[:10]):
            with pytest.raises(WireError):
                mine.take(Topic.UPDATES, wire)
        assert kept(mine, Topic.UPDATES) == []


class TestReveals:
    @pytest.fixture
    def mine(self, desk: Desks, federation: Federation) -> Desk:
        federation.open_round()
        federation.commit([0, 1])
        federation.pass_time(WINDOW)
        return desk()

    def test_taken(self, mine: Desk) -> None:
        mine.hand_reveals(0, 1)
        assert kept(mine, Topic.REVEALS) == [0, 1]

    def test_what_does_not_open_the_commitment(self, mine: Desk) -> None:
        wire = bytearray(pack_reveals([mine.played.updates[0].reveal]))
        for at in (5, 40, 70, 100):
            broken = bytearray(wire)
            broken[at] ^= 1
            with pytest.raises(SlotMismatchError, match="does not open the commitment of seat 0"):
                mine.take(Topic.REVEALS, bytes(broken))
        assert kept(mine, Topic.REVEALS) == []

    def test_seat_that_committed_to_nothing(self, mine: Desk) -> None:
        for seat in (2, 127, 128, 65535):
            wire = bytearray(pack_reveals([mine.played.updates[0].reveal]))
            wire[:2] = seat.to_bytes(2, "big")
            with pytest.raises((VerificationError, RecordError)):
                mine.take(Topic.REVEALS, bytes(wire))


class TestAttestations:
    @pytest.fixture
    def mine(self, desk: Desks, federation: Federation) -> Desk:
        federation.open_round()
        federation.commit()
        federation.reveal()
        return desk()

    def test_a_later_one_replaces_the_earlier(self, mine: Desk, federation: Federation) -> None:
        mine.hand_attestations(0, seats=[0])
        mine.hand_attestations(0, 1)
        items = mine.inbox.get(federation.study_id, 1, Topic.ATTESTATIONS)
        assert [(item.index, int.from_bytes(item.wire[1:17], "big")) for item in items] == [(0, 0b111), (1, 0b111)]

    def test_over_another_set_of_revealed_updates(self, mine: Desk, federation: Federation) -> None:
        """The set is part of what is signed, so another one makes another signer."""
        federation.round.revealed = {0, 1}
        signed = federation.attest(0)
        federation.round.revealed = {0, 1, 2}
        with pytest.raises((VerificationError, NotAMemberError)):
            mine.take(Topic.ATTESTATIONS, pack_attestations([signed]))

    def test_wrong_signer(self, mine: Desk, federation: Federation) -> None:
        signed = federation.relay.sign(federation.attest(0).message, mine.chain.domain())
        with pytest.raises(NotAMemberError):
            mine.take(Topic.ATTESTATIONS, pack_attestations([signed]))
        wire = bytearray(pack_attestations([federation.attest(0)]))
        wire[0] = 100
        with pytest.raises((NotAMemberError, VerificationError)):
            mine.take(Topic.ATTESTATIONS, bytes(wire))


class TestEndorsements:
    @pytest.fixture
    def mine(self, desk: Desks, federation: Federation) -> Desk:
        mine = desk()
        mine.to_propose()
        federation.propose()
        return mine

    def test_taken_under_their_proposal(self, mine: Desk) -> None:
        mine.hand_endorsements(0, 2)
        assert kept(mine, Topic.ENDORSEMENTS, mine.live_hash()) == [0, 2]
        assert kept(mine, Topic.ENDORSEMENTS) == []

    def test_of_another_proposal(self, mine: Desk) -> None:
        wire = pack_endorsements([mine.endorsement(0)])
        with pytest.raises(DeadlinePassedError, match="not up for endorsement"):
            mine.take(Topic.ENDORSEMENTS, wire, bytes(31) + b"\x01")
        with pytest.raises(WireError, match="needs `proposal`"):
            mine.take(Topic.ENDORSEMENTS, wire)

    def test_of_a_refuted_or_lapsed_proposal(self, mine: Desk, federation: Federation) -> None:
        wire, live = pack_endorsements([mine.endorsement(0)]), mine.live_hash()
        federation.pass_time(WINDOW)
        federation.settle()
        mine.view()
        with pytest.raises((DeadlinePassedError, WrongPhaseError)):
            mine.take(Topic.ENDORSEMENTS, wire, live)

    def test_wrong_signer(self, mine: Desk, federation: Federation) -> None:
        signed = federation.relay.sign(mine.endorsement(0).message, mine.chain.domain())
        with pytest.raises(NotAMemberError):
            mine.take(Topic.ENDORSEMENTS, pack_endorsements([signed]), mine.live_hash())
