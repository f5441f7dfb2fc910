// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../../contracts/interfaces/ICollegium.sol";
import {Phase, Proposal, SkipReason} from "../../contracts/interfaces/Types.sol";
import {Cid} from "../../contracts/libraries/Cid.sol";
import {cheats} from "./support/Cheats.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";

/// @notice Batches: each item's event and slot as the compiler would encode them, each reason to skip, neighbors unaffected.
contract CollegiumBatchesTest is CollegiumWorld {
    function setUp() public {
        found(5, 2);
        open();
    }

    function expectSkip(uint256 i, SkipReason reason) private {
        (uint32 round,) = live();
        cheats.expectEmit(address(collegium));
        emit ICollegium.ItemSkipped(study, round, uint16(i), reason);
    }

    // ---- events and slots of the hot loops against plain encoding

    function test_each_act_has_its_event_and_the_slot_is_the_item() public {
        (uint32 round, bytes32 ctx) = live();
        bytes memory items = commitItems(all());
        for (uint256 i; i < 5; ++i) {
            cheats.expectEmit(address(collegium));
            emit ICollegium.UpdateCommitted(
                study, round, cheats.addr(NODE + i), uint16(i), commitmentOf(round, ctx, i), weightOf(i), extOf(round)
            );
        }
        collegium.commitUpdates(study, items);
        for (uint16 i; i < 5; ++i) {
            (bytes32 slot, bool committed, bool revealed, bool certified) = collegium.updateOf(study, i);
            checkEq(slot, slotOf(round, ctx, i), "slot");
            check(committed && !revealed && !certified, "flags");
        }
        items = revealItems(all());
        for (uint256 i; i < 5; ++i) {
            cheats.expectEmit(address(collegium));
            emit ICollegium.UpdateRevealed(
                study,
                round,
                cheats.addr(NODE + i),
                uint16(i),
                rootOf(round, i),
                saltOf(round, i),
                weightOf(i),
                extOf(round),
                Cid.toText(digestOf(round, i), false)
            );
        }
        collegium.revealUpdates(study, items);
        items = attestItems(all(), all());
        for (uint256 i; i < 5; ++i) {
            cheats.expectEmit(address(collegium));
            emit ICollegium.UpdatesAttested(study, round, cheats.addr(NODE + i), uint16(i), uint128(all()));
        }
        cheats.expectEmit(address(collegium));
        emit ICollegium.UpdatesCertified(study, round, uint128(all()));
        collegium.certify(study, items);
        (, bool c, bool r, bool u) = collegium.updateOf(study, 4);
        check(c && r && u, "certified");
        (, c, r, u) = collegium.updateOf(study, 5);
        check(!c && !r && !u, "no such update");

        address duty = collegium.onDuty(study);
        Proposal memory p = expectedProposal(duty);
        cheats.expectEmit(address(collegium));
        emit ICollegium.AggregateProposed(study, round, duty, hashProposal(p), p, cidOf(p.modelDigest), cidOf(p.meanDigest));
        proposeAs(duty);
        items = endorseItems(all());
        for (uint256 i; i < 5; ++i) {
            cheats.expectEmit(address(collegium));
            emit ICollegium.ProposalEndorsed(study, round, cheats.addr(NODE + i), uint16(i), hashProposal(p));
        }
        collegium.endorse(study, items);
        (,,,,,,,,, uint128 endorsed,) = collegium.roundOf(study);
        checkEq(endorsed, all(), "endorsed");
    }

    function testFuzz_any_reveal_that_was_committed_is_accepted(
        bytes32 salt,
        bytes32 root,
        bytes32 digest,
        uint16 dpProfile,
        uint32 baseRound,
        uint32 localSteps,
        bytes32 extras,
        uint32 weight
    ) public {
        weight = weight % (1 << 16) + 1;
        (uint32 round, bytes32 ctx) = live();
        bytes32 ext = keccak256(
            abi.encode(keccak256("collegium/1/ext"), uint256(dpProfile), uint256(baseRound), uint256(localSteps), extras)
        );
        bytes32 seal = keccak256(abi.encode(keccak256("collegium/1/seal"), salt, digest));
        bytes32 commitment = keccak256(abi.encode(keccak256("collegium/1/update"), ctx, uint256(2), root, seal));
        collegium.commitUpdates(study, commitItemWith(2, weight, commitment, ext));
        commit(0x1);
        pass(WINDOW);
        cheats.expectEmit(address(collegium));
        emit ICollegium.UpdateRevealed(study, round, cheats.addr(NODE + 2), 2, root, salt, weight, ext, Cid.toText(digest, false));
        collegium.revealUpdates(
            study, abi.encodePacked(uint16(2), salt, root, digest, weight, dpProfile, baseRound, localSteps, extras)
        );
    }

    function commitItemWith(uint256 i, uint32 weight, bytes32 commitment, bytes32 ext) private view returns (bytes memory) {
        (uint32 round, bytes32 ctx) = live();
        bytes32 typeHash =
            keccak256("Update(uint64 studyId,uint32 round,bytes32 ctx,uint16 index,bytes32 commitment,uint32 weight,bytes32 ext)");
        bytes32 structHash = keccak256(abi.encode(typeHash, study, round, ctx, i, commitment, weight, ext));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", collegium.domainSeparator(), structHash));
        return abi.encodePacked(uint16(i), commitment, weight, ext, compact(NODE + i, digest));
    }

    // ---- commit

    function test_a_bad_commit_is_skipped_and_its_neighbors_count() public {
        (uint32 round, bytes32 ctx) = live();
        bytes memory items = bytes.concat(
            commitItem(NODE, 0),
            commitItem(NODE, 0),
            commitItem(NODE + 1, 5),
            commitItem(NODE + 1, 130),
            commitItem(NODE + 1, 1, 0, commitmentOf(round, ctx, 1)),
            commitItem(NODE + 1, 1, (1 << 16) + 1, commitmentOf(round, ctx, 1)),
            commitItem(NODE + 2, 1),
            commitItem(NODE + 1, 1)
        );
        expectSkip(0, SkipReason.AlreadyDone);
        expectSkip(5, SkipReason.NotInvited);
        expectSkip(130, SkipReason.NotInvited);
        expectSkip(1, SkipReason.WeightOutOfRange);
        expectSkip(1, SkipReason.WeightOutOfRange);
        expectSkip(1, SkipReason.BadSignature);
        collegium.commitUpdates(study, items);
        (,,,,,, uint128 committed,,,,) = collegium.roundOf(study);
        checkEq(committed, 3, "committed");
    }

    function test_a_high_s_is_refused() public {
        bytes memory item = commitItem(NODE, 0);
        assembly ("memory-safe") {
            let vs := mload(add(item, 134))
            let s := and(vs, not(shl(255, 1)))
            let order := 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141
            // The other signature of the same message: n - s, other parity. It does not even fit below the parity bit when s is small.
            let other := sub(order, s)
            mstore(add(item, 134), or(and(other, not(shl(255, 1))), shl(255, iszero(shr(255, vs)))))
        }
        expectSkip(0, SkipReason.BadSignature);
        collegium.commitUpdates(study, item);
    }

    function test_a_member_that_was_fined_below_one_fine_is_not_invited() public {
        commit(all());
        reveal(0x1f & ~uint256(2));
        pass(WINDOW);
        // 20 - 1 is still enough for the largest fine of 10; eleven rounds later it is not.
        for (uint256 r; r < 11; ++r) {
            pass(4 * WINDOW);
            open();
            if (r == 10) break;
            commit(all());
            reveal(0x1f & ~uint256(2));
            pass(WINDOW);
        }
        (,,,,, uint128 invited,,,,,) = collegium.roundOf(study);
        checkEq(invited, 0x1d, "invited");
        bytes memory item = commitItem(NODE + 1, 1);
        expectSkip(1, SkipReason.NotInvited);
        collegium.commitUpdates(study, item);
    }

    // ---- reveal

    function test_a_bad_reveal_is_skipped_and_its_neighbors_count() public {
        commit(0x1b);
        pass(WINDOW);
        bytes memory wrong = revealItems(0x2);
        wrong[40] ^= 0x01;
        bytes memory items = bytes.concat(revealItems(0x5), revealItems(0x1), wrong, revealItems(0x2));
        expectSkip(2, SkipReason.NotInvited);
        expectSkip(0, SkipReason.AlreadyDone);
        expectSkip(1, SkipReason.SlotMismatch);
        collegium.revealUpdates(study, items);
        (,,,,,,, uint128 revealed,,,) = collegium.roundOf(study);
        checkEq(revealed, 3, "revealed");
        bytes memory far = revealItems(0x2);
        far[0] = 0x01;
        expectSkip(0x101, SkipReason.NotInvited);
        collegium.revealUpdates(study, far);
    }

    function test_a_recycled_slot_of_the_last_round_does_not_reveal() public {
        commit(all());
        bytes memory old = revealItems(all());
        pass(WINDOW);
        open();
        commit(0x3);
        pass(WINDOW);
        expectSkip(0, SkipReason.SlotMismatch);
        expectSkip(1, SkipReason.SlotMismatch);
        for (uint256 i = 2; i < 5; ++i) expectSkip(i, SkipReason.NotInvited);
        collegium.revealUpdates(study, old);
        (,,,,,,, uint128 revealed,,,) = collegium.roundOf(study);
        checkEq(revealed, 0, "revealed");
    }

    // ---- certify

    function toCertify() private {
        commit(all());
        reveal(all());
    }

    function test_a_bit_needs_the_quorum_in_one_call_and_the_set_only_grows() public {
        toCertify();
        // Quorum of five is three.
        collegium.certify(study, bytes.concat(attestItem(NODE, 0, 0x3), attestItem(NODE + 1, 1, 0x7), attestItem(NODE + 2, 2, 0x5)));
        (,,,,,,,, uint128 certified,,) = collegium.roundOf(study);
        checkEq(certified, 0x1, "only what all three carry");
        collegium.certify(study, bytes.concat(attestItem(NODE, 0, 0x2), attestItem(NODE + 1, 1, 0x2), attestItem(NODE + 3, 3, ~uint256(0) >> 128)));
        (,,,,,,,, certified,,) = collegium.roundOf(study);
        checkEq(certified, 0x3, "grown");
        checkPhase(Phase.Certify);
        collegium.certify(study, attestItems(0x1c, 0x1c));
        checkPhase(Phase.Propose);
        Proposal memory p = proposeOnDuty();
        (,,,,,,,,,, bytes32 hash) = collegium.roundOf(study);
        checkEq(hash, hashProposal(p), "set hash over several calls");
    }

    function test_attestations_ascend_and_reach_the_quorum() public {
        toCertify();
        bytes memory items = bytes.concat(attestItem(NODE + 1, 1, 0x1f), attestItem(NODE, 0, 0x1f), attestItem(NODE + 2, 2, 0x1f));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AttestationsNotAscending.selector, 1, 0));
        collegium.certify(study, items);
        items = bytes.concat(attestItem(NODE, 0, 0x1f), attestItem(NODE, 0, 0x1f), attestItem(NODE + 2, 2, 0x1f));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AttestationsNotAscending.selector, 0, 0));
        collegium.certify(study, items);
        items = attestItems(0x3, 0x1f);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AttestationsTooFew.selector, 2, 3));
        collegium.certify(study, items);
        items = bytes.concat(attestItems(0x7, 0x1f), attestItem(NODE, 3, 0x1f), attestItem(NODE + 4, 77, 0x1f), attestItem(NODE + 4, 200, 0x1f));
        expectSkip(3, SkipReason.BadSignature);
        expectSkip(77, SkipReason.NotInvited);
        expectSkip(200, SkipReason.NotInvited);
        collegium.certify(study, items);
        checkPhase(Phase.Propose);
    }

    // ---- endorse

    function test_a_bad_endorsement_is_skipped_and_its_neighbors_count() public {
        toCertify();
        certifySet(all());
        proposeOnDuty();
        bytes memory items = bytes.concat(
            endorseItem(NODE, 0), endorseItem(NODE, 0), endorseItem(NODE, 1), endorseItem(NODE, 9), endorseItem(NODE, 199), endorseItem(NODE + 2, 2)
        );
        expectSkip(0, SkipReason.AlreadyDone);
        expectSkip(1, SkipReason.BadSignature);
        expectSkip(9, SkipReason.NotInvited);
        expectSkip(199, SkipReason.NotInvited);
        collegium.endorse(study, items);
        (,,,,,,,,, uint128 endorsed,) = collegium.roundOf(study);
        checkEq(endorsed, 0x5, "endorsed");
    }

    // ---- revocation

    function test_revoking_a_node_key_works_at_once_everywhere() public {
        bytes memory commits = commitItems(all());
        cheats.prank(cheats.addr(HOSPITAL + 3));
        members.revokeNodeKey(cheats.addr(NODE + 3));
        expectSkip(3, SkipReason.RevokedKey);
        collegium.commitUpdates(study, commits);
        pass(WINDOW);
        reveal(0x17);
        bytes memory items = attestItems(all(), 0x17);
        expectSkip(3, SkipReason.RevokedKey);
        collegium.certify(study, items);
        address duty = collegium.onDuty(study);
        cheats.prank(duty);
        members.revokeNodeKey(duty);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.ProposalNotOnDuty.selector, duty, duty));
        cheats.prank(duty);
        collegium.propose(study, 0, 0, 0, 0);
        pass(WINDOW);
        Proposal memory p = proposeOnDuty();
        items = endorseItems(all());
        expectSkip(3, SkipReason.RevokedKey);
        collegium.endorse(study, items);
        pass(WINDOW);
        collegium.finalize(study, p);
    }

    function test_suspension_takes_effect_at_the_next_opening() public {
        suspend(cheats.addr(HOSPITAL + 3), true);
        commit(all());
        checkPhase(Phase.Reveal);
        pass(WINDOW);
        open();
        (,,,,, uint128 invited,,,,,) = collegium.roundOf(study);
        checkEq(invited, 0x17, "invited");
    }

    function test_a_rotated_key_signs_from_the_next_opening_on() public {
        setNodeKey(HOSPITAL + 3, 0x7777);
        bytes memory items = bytes.concat(commitItem(0x7777, 3), commitItem(NODE + 3, 3));
        expectSkip(3, SkipReason.BadSignature);
        expectSkip(3, SkipReason.RevokedKey);
        collegium.commitUpdates(study, items);
        pass(WINDOW);
        open();
        collegium.commitUpdates(study, commitItem(0x7777, 3));
        (,,,,,, uint128 committed,,,,) = collegium.roundOf(study);
        checkEq(committed, 8, "committed");
    }

    // ---- lengths

    function test_batches_have_whole_items_and_at_least_one() public {
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundBatchLength.selector, 135, 134));
        collegium.commitUpdates(study, new bytes(135));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundBatchLength.selector, 143, 144));
        collegium.revealUpdates(study, new bytes(143));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundBatchLength.selector, 80, 81));
        collegium.certify(study, new bytes(80));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundBatchLength.selector, 66, 65));
        collegium.endorse(study, new bytes(66));
        cheats.expectRevert(ICollegium.RoundNothingAccepted.selector);
        collegium.commitUpdates(study, "");
    }

    function test_acts_of_other_phases_are_refused() public {
        bytes memory reveals = new bytes(144);
        expectWrongPhase(Phase.Commit, Phase.Reveal);
        collegium.revealUpdates(study, reveals);
        expectWrongPhase(Phase.Commit, Phase.Certify);
        collegium.certify(study, new bytes(81));
        expectWrongPhase(Phase.Commit, Phase.Propose);
        collegium.propose(study, 0, 0, 0, 0);
        expectWrongPhase(Phase.Commit, Phase.Challenge);
        collegium.endorse(study, new bytes(65));
    }
}
