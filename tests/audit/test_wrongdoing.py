"""What the contracts cannot prevent, an audit tells: colluding members, out-of-range updates, foreign callers."""

from __future__ import annotations

import numpy as np
import pytest
from eth_hash.auto import keccak

from collegium.audit import Status
from collegium.chain import intents
from collegium.chain.abi import interface
from collegium.chain.intents import Intent
from collegium.errors import AuditFailedError
from collegium.messages import pack_attestations, pack_commits
from collegium.records import ZERO32, Admit, Join, Kind, NodeKey, checksum_address
from tests.support.accounts import Sent
from tests.support.federation import TOKEN, Federation, Lie

from .histories import audit, wrong

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-wrongdoing")]

#: calls the address in the first word with the rest of its input, and fails when that fails
FORWARDER = bytes.fromhex(
    "6022600c60003960226000f3602036038060206000376000600082600060006000355af160205760006000fd5b00"
)
#: accepts every signature (ERC-1271)
WALLET = bytes.fromhex("6029600c60003960296000f37f1626ba7e" + "00" * 28 + "60005260206000f3")


def create(federation: Federation, code: bytes) -> str:
    sent = federation.relay.send_raw("", code)
    receipt = federation.chain.rpc.request("eth_getTransactionReceipt", sent.hash)
    return checksum_address(receipt["contractAddress"])


def forward(federation: Federation, forwarder: str, intent: Intent) -> Sent:
    """Let a foreign contract make the call."""
    target = federation.chain.address_of(intent.to)
    calldata = interface(intent.to).function(intent.function).encode(intent.args)
    return federation.relay.send_raw(forwarder, bytes(12) + bytes.fromhex(target[2:]) + calldata)


class TestCollusion:
    @pytest.mark.parametrize(("lie", "check"), [(Lie.MEAN, "mean"), (Lie.STEP, "step")])
    def test_lie_that_all_members_endorsed_is_found(self, federation: Federation, lie: Lie, check: str) -> None:
        federation.play_round()
        federation.open_round()
        federation.commit()
        federation.reveal()
        federation.certify()
        federation.propose(lie)
        federation.conclude()
        report = audit(federation)
        assert report.verdict == "mismatch"
        assert (check, 2) in {(each.name, each.subject) for each in report.failed()}
        assert report.check("mean", 1).ok and report.check("step", 1).ok
        # Everything that the contracts do vouch for is as it should be.
        assert wrong(report) <= {"mean", "step"}
        with pytest.raises(AuditFailedError, match=check):
            report.require()

    def test_dispute_pays_and_the_record_stays_a_mismatch(self, federation: Federation) -> None:
        federation.open_round()
        federation.commit()
        federation.reveal()
        federation.certify()
        lied = federation.propose(Lie.MEAN)
        federation.conclude()
        kind, evidence = federation.build_refutation(lied)
        federation.send(intents.dispute(kind, federation.study_id, lied.proposal, federation.round.proof(), evidence))
        report = audit(federation)
        assert report.verdict == "mismatch" and "mean" in wrong(report) <= {"mean", "step"}
        assert report.check("refutations", 1).ok and "disputed" in report.check("refutations", 1).detail
        assert report.check("money").ok

    def test_certified_update_out_of_range_is_found(self, federation: Federation) -> None:
        federation.open_round()
        bad = np.array(federation.make_elements())
        bad[7] = federation.table.bound + 1
        submissions = [federation.prepare(0, elements=bad)] + [federation.prepare(seat) for seat in (1, 2, 3)]
        federation.commit(submissions=submissions)
        federation.reveal()
        federation.certify()
        federation.propose()
        federation.conclude()
        report = audit(federation)
        assert wrong(report) == {"blobs"} and "seat 0" in report.check("blobs", 1).detail
        assert "Element 7" in report.check("blobs", 1).detail
        # Who paid for it has settled the matter: the mean is a total function of the bytes.
        federation.refute_range(0)
        report = audit(federation)
        assert report.verdict == "ok"
        assert report.check("refutations", 1).ok and report.check("fines", 1).ok


class TestForeignCallers:
    def test_signatures_carried_by_another_contract_are_found_in_its_calldata(self, federation: Federation) -> None:
        forwarder = create(federation, FORWARDER)
        played = federation.open_round()
        submissions = [federation.prepare(seat) for seat in played.invited]
        items = pack_commits([each.signed for each in submissions])
        assert len(forward(federation, forwarder, intents.commit_updates(1, 1, items)).named("UpdateCommitted")) == 4
        played.updates = {each.seat: each for each in submissions}
        played.committed = set(played.updates)
        federation.reveal()
        attested = pack_attestations([federation.attest(seat) for seat in range(4)])
        played.certified = set(played.updates)
        assert forward(federation, forwarder, intents.certify(1, 1, attested)).named("UpdatesCertified")
        federation.propose()
        endorsed = [federation.sign_endorsement(seat) for seat in range(4)]
        intent = intents.conclude(1, 1, endorsed, played.last.proposal, open_next=False)
        assert forward(federation, forwarder, intent).named("RoundFinalized")
        report = audit(federation)
        assert report.verdict == "ok", report.failed()
        for name in ("commits", "certificates", "endorsements"):
            assert report.check(name, 1).ok

    def test_what_calldata_does_not_show_is_a_warning_and_no_pass(self, federation: Federation) -> None:
        forwarder = create(federation, FORWARDER)
        federation.open_round()
        federation.commit()
        sent = forward(
            federation,
            forwarder,
            intents.reveal_updates(1, 1, [each.reveal for each in federation.round.updates.values()]),
        )
        assert len(sent.named("UpdateRevealed")) == 4
        report = audit(federation)
        check = report.check("reveals", 1)
        assert check.status is Status.WARNING and not check.ok and "another contract" in check.detail
        assert report.verdict == "ok"

    def test_wallet_contract_may_join_and_is_reported_as_the_nodes_word(self, federation: Federation) -> None:
        wallet = create(federation, WALLET)
        chain, node = federation.chain, federation.members[0].node
        node = type(node)(chain, federation.key_of("wallet", "node"))
        deadline = federation.now() + 3600
        approvals = federation._approve(Admit(wallet, ZERO32, "wallet", 0, deadline))
        federation.send(intents.admit(wallet, ZERO32, "wallet", deadline, approvals))
        message = NodeKey(wallet, node.address, 1, deadline)
        federation.send(
            intents.register_node_key(
                wallet, node.address, deadline, institution_signature=b"any words",
                node_key_signature=node.sign(message, chain.domain("Members")).signature,
            )
        )  # fmt: skip
        federation.stake(wallet, 1000 * TOKEN)
        join = Join(
            1, federation.plan_hash, wallet, node.address, 100 * TOKEN, federation.plan.agreement, True, 0, deadline
        )
        federation.send(intents.join(join, b"any words"))
        federation.play_round(late=[4], endorsers=[0, 1, 2])
        report = audit(federation)
        assert report.verdict == "ok", report.failed()
        assert report.check("joins").status is Status.WARNING and wallet in report.check("joins").detail


class TestRewards:
    def test_earlier_announcer_gets_the_held_reward(self, federation: Federation) -> None:
        """RewardRedirected, the one event of money that the eventful history lacks."""
        federation.open_round()
        federation.commit()
        federation.reveal()
        federation.certify()
        federation.propose(Lie.MEAN)
        _, evidence = federation.build_refutation()
        first, salt = federation.members[0].node, bytes(keccak(b"salt"))
        who = bytes(12) + bytes.fromhex(first.address[2:])
        first.send(intents.announce(bytes(keccak(who + keccak(evidence) + salt))))
        federation.pass_time(2)
        fined = federation.refute().event("Fined")
        first.send(intents.claim_announced(fined.bytes32("key"), bytes(keccak(evidence)), salt))
        federation.propose()
        federation.conclude()
        report = audit(federation)
        assert report.verdict == "ok", report.failed()
        assert Kind(fined.args["kind"]) is Kind.MEAN
