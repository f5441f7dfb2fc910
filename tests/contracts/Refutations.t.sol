// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IBonds} from "../../contracts/interfaces/IBonds.sol";
import {ICollegium} from "../../contracts/interfaces/ICollegium.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {Kind, Outcome, Phase, Proposal, RecordProof, Role} from "../../contracts/interfaces/Types.sol";
import {cheats} from "./support/Cheats.sol";
import {Rounds, Signed, VM} from "./support/Judging.sol";
import {JudgingWorld} from "./support/JudgingWorld.sol";

/// @notice Four hospitals, two coordinators, a thousand elements; the chunk that is opened is the last one, with padding.
abstract contract RefutationsActs is JudgingWorld {
    address internal watcher = address(0xabcd);
    bytes32 internal constant SALT = keccak256("salt");
    uint128 internal constant BOND = 100 ether;

    function setUp() public virtual {
        foundJudged(4, 1000, 15);
        trainRound();
    }

    function keyOf(bytes32 ctx, address institution, Kind kind) internal pure returns (bytes32) {
        return keccak256(abi.encode(ctx, institution, kind));
    }

    function aggregatorOf(Proposal memory p) internal view returns (address) {
        return members.institutionOf(p.aggregator);
    }

    function refuteAs(address sender, Kind kind, Proposal memory p, bytes memory evidence, bytes32 salt) internal {
        cheats.prank(sender);
        refutations.refute(kind, study, p, evidence, salt);
    }

    function disputeAs(address sender, Kind kind, Proposal memory p, RecordProof memory proof, bytes memory evidence) internal {
        cheats.prank(sender);
        refutations.dispute(kind, study, p, proof, evidence, 0);
    }

    function outcomeOf(bytes32[] memory failed, uint128 duties) internal view returns (Outcome memory) {
        return Outcome(uint128(all()), uint128(all()), uint128(all()), failed, duties, uint40(block.timestamp));
    }

    function noFailures() internal pure returns (bytes32[] memory) {
        return new bytes32[](0);
    }

    function expectNoFault(int256 claimed) internal {
        cheats.expectRevert(abi.encodeWithSelector(IReferee.EvidenceShowsNoFault.selector, claimed));
    }

    /// @notice Nobody paid, and nothing moved on.
    function checkUntouched() internal view {
        for (uint256 i; i < hospitals; ++i) checkEq(lockOf(cheats.addr(HOSPITAL + i), Role.Member), MAX_FINE, "hospital lock");
        for (uint256 j; j < 2; ++j) checkEq(lockOf(cheats.addr(COORDINATOR + j), Role.Aggregator), BOND, "bond");
    }
}

contract RefuteTest is RefutationsActs {
    function test_lie_about_the_mean_costs_the_bond_and_the_other_finishes() public {
        int32 right = mean[3];
        mean[3] = right - 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(3);
        address liar = aggregatorOf(p);
        announce(watcher, evidence, SALT);
        VM.roll(block.number + 1);

        cheats.expectEmit(address(refutations));
        emit IRefutations.Refuted(study, 1, liar, Kind.Mean, watcher, p.ctx, 15 * 64 + 3, right - 1, right, BOND, false);
        refuteAs(watcher, Kind.Mean, p, evidence, SALT);

        checkEq(lockOf(liar, Role.Aggregator), 0, "bond");
        checkEq(bonds.creditOf(watcher), BOND * 3 / 10, "reward");
        (, uint256 share, uint128 unclaimed) = bonds.sharesOf(keyOf(p.ctx, liar, Kind.Mean));
        checkEq(unclaimed, all(), "every hospital shares");
        checkEq(share, BOND / 5 / 4, "share");
        checkPhase(Phase.Propose);

        mean[3] = right;
        Proposal memory honest = proposeJudged();
        check(honest.aggregator != p.aggregator, "another aggregator");
        recordRound(honest);
        (bytes32 record, bool disputed) = collegium.recordOf(study, 1);
        check(record != 0 && !disputed, "recorded");
    }

    function test_lie_about_the_step_costs_the_bond() public {
        next[7] += 1;
        Proposal memory p = proposeJudged();
        refuteAs(watcher, Kind.Step, p, stepEvidence(7), 0);
        checkEq(lockOf(aggregatorOf(p), Role.Aggregator), 0, "bond");
        checkPhase(Phase.Propose);
    }

    function test_bytes_beyond_the_payload_cost_the_bond() public {
        // 1000 elements: 40 of the last chunk.
        mean[40] = 1;
        Proposal memory p = proposeJudged();
        refuteAs(watcher, Kind.Tail, p, tailEvidence(0), 0);
        checkEq(lockOf(aggregatorOf(p), Role.Aggregator), 0, "bond");
        next[63] = -1;
        mean[40] = 0;
        p = proposeJudged();
        refuteAs(watcher, Kind.Tail, p, tailEvidence(1), 0);
        checkEq(lockOf(aggregatorOf(p), Role.Aggregator), 0, "the other bond");
        checkPhase(Phase.Aborted);
    }

    function test_honest_aggregator_never_pays() public {
        Proposal memory p = proposeJudged();
        for (uint256 k; k < 40; k += 3) {
            bytes memory evidence = meanEvidence(k);
            expectNoFault(mean[k]);
            refuteAs(watcher, Kind.Mean, p, evidence, 0);
            evidence = stepEvidence(k);
            expectNoFault(next[k]);
            refuteAs(watcher, Kind.Step, p, evidence, 0);
        }
        bytes memory tail = tailEvidence(0);
        expectNoFault(0);
        refuteAs(watcher, Kind.Tail, p, tail, 0);
        bytes memory padding = meanEvidence(40);
        cheats.expectRevert(abi.encodeWithSelector(IReferee.EvidenceOutOfRange.selector, 15, 40));
        refuteAs(watcher, Kind.Mean, p, padding, 0);
        checkUntouched();
        checkPhase(Phase.Challenge);
    }

    function test_only_the_live_proposal_can_be_refuted() public {
        mean[3] += 1;
        bytes memory evidence = meanEvidence(3);
        Proposal memory none;
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationWrongPhase.selector, study, uint8(Phase.Propose)));
        refuteAs(watcher, Kind.Mean, none, evidence, 0);

        Proposal memory p = proposeJudged();
        bytes32 live_ = hashProposal(p);
        p.weightSum += 1;
        bytes32 other = hashProposal(p);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationWrongProposal.selector, live_, other));
        refuteAs(watcher, Kind.Mean, p, evidence, 0);

        p.weightSum -= 1;
        refuteAs(watcher, Kind.Mean, p, evidence, 0);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationWrongPhase.selector, study, uint8(Phase.Propose)));
        refuteAs(watcher, Kind.Mean, p, evidence, 0);
    }

    function test_window_closes() public {
        mean[3] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(3);
        collegium.endorse(study, endorseItems(7));
        pass(WINDOW);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationWrongPhase.selector, study, uint8(Phase.Final)));
        refuteAs(watcher, Kind.Mean, p, evidence, 0);
    }

    function test_other_kinds_are_not_judged_here() public {
        Proposal memory p = proposeJudged();
        Kind[6] memory others = [Kind.None, Kind.Range, Kind.Equivocation, Kind.Duty, Kind.Contradiction, Kind.Unrevealed];
        for (uint256 i; i < others.length; ++i) {
            cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationKindUnsupported.selector, others[i]));
            refuteAs(watcher, others[i], p, "", 0);
        }
    }
}

contract DisputeTest is RefutationsActs {
    Proposal internal recorded;
    RecordProof internal proof;

    /// A lie that everybody endorsed.
    function setUp() public override {
        super.setUp();
        mean[3] += 1;
        next[5] -= 1;
        next[50] = 9;
        Proposal memory p = proposeJudged();
        recordRound(p);
        recorded = p;
        proof = proofOf(outcomeOf(noFailures(), 0));
    }

    function test_recorded_lie_is_disputed_and_pays() public {
        bytes memory evidence = meanEvidence(3);
        address liar = aggregatorOf(recorded);
        cheats.expectEmit(address(refutations));
        emit IRefutations.Refuted(study, 1, liar, Kind.Mean, watcher, recorded.ctx, 15 * 64 + 3, mean[3], mean[3] - 1, BOND, true);
        disputeAs(watcher, Kind.Mean, recorded, proof, evidence);
        checkEq(lockOf(liar, Role.Aggregator), 0, "bond");
        (, bool disputed) = collegium.recordOf(study, 1);
        check(disputed, "disputed");
        (bytes32 root,,,) = collegium.modelOf(study);
        checkEq(root, recorded.newModelRoot, "never rolled back");

        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyFined.selector, keyOf(recorded.ctx, liar, Kind.Mean)));
        disputeAs(watcher, Kind.Mean, recorded, proof, evidence);
        // Another kind finds an empty lock.
        disputeAs(watcher, Kind.Step, recorded, proof, stepEvidence(5));
        check(bonds.isFined(keyOf(recorded.ctx, liar, Kind.Step)), "fined of nothing");
    }

    function test_step_and_tail_are_disputed_as_well() public {
        disputeAs(watcher, Kind.Step, recorded, proof, stepEvidence(5));
        disputeAs(watcher, Kind.Tail, recorded, proof, tailEvidence(1));
        (, bool disputed) = collegium.recordOf(study, 1);
        check(disputed, "disputed");
    }

    function test_step_needs_the_model_that_the_round_started_from() public {
        bytes memory evidence = stepEvidence(5);
        RecordProof memory other = proof;
        other.modelRoot = recorded.newModelRoot;
        vmExpectContext(other);
        disputeAs(watcher, Kind.Step, recorded, other, evidence);
        other.modelRoot = proof.modelRoot;
        other.stateRoot = bytes32(uint256(1));
        vmExpectContext(other);
        disputeAs(watcher, Kind.Step, recorded, other, evidence);
        other.stateRoot = 0;
        other.cohortHash = 0;
        vmExpectContext(other);
        disputeAs(watcher, Kind.Step, recorded, other, evidence);
    }

    function vmExpectContext(RecordProof memory other) private {
        (,, bytes32 planHash,,,) = collegium.studyOf(study);
        bytes32 actual = keccak256(
            abi.encode(
                keccak256("collegium/1/ctx"),
                block.chainid,
                address(collegium),
                study,
                planHash,
                other.round,
                other.parentRecord,
                other.modelRoot,
                other.stateRoot,
                other.cohortHash,
                other.keysAcc
            )
        );
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationWrongContext.selector, recorded.ctx, actual));
    }

    function test_record_must_match() public {
        bytes memory evidence = meanEvidence(3);
        (bytes32 record,) = collegium.recordOf(study, 1);
        for (uint256 i; i < 8; ++i) {
            RecordProof memory other = proof;
            Proposal memory p = recorded;
            if (i == 0) other.parentRecord = 0;
            if (i == 1) other.outcome.finalizedAt += 1;
            if (i == 2) other.outcome.committed = 7;
            if (i == 3) other.outcome.revealed = 7;
            if (i == 4) other.outcome.included = 7;
            if (i == 5) other.outcome.failedDuties = 1;
            if (i == 6) other.outcome.failedProposals = new bytes32[](1);
            if (i == 7) p.meanDigest = 0;
            try refutations.dispute(Kind.Mean, study, p, other, evidence, 0) {
                check(false, "accepted another record");
            } catch (bytes memory reason) {
                checkEq(bytes4(reason), IRefutations.RefutationWrongRecord.selector, "reason");
            }
        }
        RecordProof memory unknown = proof;
        unknown.round = 2;
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationWrongRecord.selector, bytes32(0), record));
        disputeAs(watcher, Kind.Mean, recorded, unknown, evidence);
    }

    function test_evidence_period_ends() public {
        bytes memory evidence = meanEvidence(3);
        uint256 deadline = uint256(proof.outcome.finalizedAt) + 10 * WINDOW;
        cheats.warp(deadline);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationTooLate.selector, deadline, deadline));
        disputeAs(watcher, Kind.Mean, recorded, proof, evidence);
        cheats.warp(deadline - 1);
        disputeAs(watcher, Kind.Mean, recorded, proof, evidence);
    }

    function test_later_rounds_do_not_hide_a_lie() public {
        bytes memory evidence = stepEvidence(5);
        RecordProof memory first = proof;
        trainRound();
        recordRound(proposeJudged());
        disputeAs(watcher, Kind.Step, recorded, first, evidence);
        (, bool disputed) = collegium.recordOf(study, 1);
        check(disputed, "first disputed");
        (, disputed) = collegium.recordOf(study, 2);
        check(!disputed, "second not");
    }

    function test_honest_coordinate_of_a_record_is_not_disputed() public {
        bytes memory evidence = meanEvidence(4);
        expectNoFault(mean[4]);
        disputeAs(watcher, Kind.Mean, recorded, proof, evidence);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationKindUnsupported.selector, Kind.Range));
        disputeAs(watcher, Kind.Range, recorded, proof, evidence);
        checkUntouched();
    }
}

contract RefuteClientTest is RefutationsActs {
    bool private bent;

    function bendUpdates() internal override {
        if (bent) return;
        bent = true;
        updates[2][9] = int32(BOUND) + 1;
        updates[1][45] = -1;
    }

    function test_value_out_of_range_costs_its_client() public {
        address accused = cheats.addr(HOSPITAL + 2);
        (, bytes32 ctx) = live();
        bytes memory evidence = rangeEvidence(2);
        announce(watcher, evidence, SALT);
        VM.roll(block.number + 1);
        cheats.expectEmit(address(refutations));
        emit IRefutations.Refuted(
            study, 1, accused, Kind.Range, watcher, ctx, 15 * 64 + 9, int256(uint256(BOUND)) + 1, int256(uint256(BOUND)), 5 ether, false
        );
        cheats.prank(watcher);
        refutations.refuteRange(study, evidence, SALT);
        checkEq(lockOf(accused, Role.Member), MAX_FINE - 5 ether, "fine");
        checkEq(bonds.creditOf(watcher), 1.5 ether, "reward");
        (,, uint128 unclaimed) = bonds.sharesOf(keyOf(ctx, accused, Kind.Range));
        checkEq(unclaimed, all() & ~uint256(4), "all but the accused");

        // The round goes on with the update, read within the bound.
        recordRound(proposeJudged());
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyFined.selector, keyOf(ctx, accused, Kind.Range)));
        refutations.refuteRange(study, evidence, 0);
    }

    function test_padding_costs_its_client() public {
        refutations.refuteRange(study, rangeEvidence(1), 0);
        checkEq(lockOf(cheats.addr(HOSPITAL + 1), Role.Member), MAX_FINE - 5 ether, "fine");
    }

    function test_honest_client_never_pays() public {
        bytes memory evidence = rangeEvidence(0);
        expectNoFault(0);
        refutations.refuteRange(study, evidence, 0);
        checkUntouched();
    }

    function test_fine_of_an_earlier_round_is_shared_with_nobody() public {
        (, bytes32 ctx) = live();
        bytes memory evidence = rangeEvidence(2);
        recordRound(proposeJudged());
        open();
        refutations.refuteRange(study, evidence, 0);
        (,, uint128 unclaimed) = bonds.sharesOf(keyOf(ctx, cheats.addr(HOSPITAL + 2), Kind.Range));
        checkEq(unclaimed, 0, "nobody");
    }

    /// The node key answers for ever, also when it was revoked.
    function test_revoked_key_still_answers() public {
        bytes memory evidence = rangeEvidence(2);
        cheats.prank(cheats.addr(HOSPITAL + 2));
        members.revokeNodeKey(cheats.addr(NODE + 2));
        refutations.refuteRange(study, evidence, 0);
        checkEq(lockOf(cheats.addr(HOSPITAL + 2), Role.Member), MAX_FINE - 5 ether, "fine");
    }

    function test_strangers_are_nobody() public {
        Signed memory s = signed(2);
        s.key = 0x77777;
        bytes memory evidence = Rounds.rangeEvidence(s, rootOf(updateOpened(2)), leaf, pack(updateOpened(2)));
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationUnknownSigner.selector, cheats.addr(0x77777)));
        refutations.refuteRange(study, evidence, 0);
        evidence = Rounds.equivocationEvidence(s, "one", 1, "other", 1);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationUnknownSigner.selector, cheats.addr(0x77777)));
        refutations.refuteEquivocation(study, evidence, 0);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyUnknown.selector, study + 1));
        refutations.refuteEquivocation(study + 1, evidence, 0);
    }

    /// Fines of one context and kind are paid once; together they never exceed what was signed for.
    function test_two_updates_cost_their_client_once() public {
        Signed memory s = signed(3);
        address accused = cheats.addr(HOSPITAL + 3);
        bytes memory evidence = Rounds.equivocationEvidence(s, "one", 1, "other", 1);
        cheats.expectEmit(address(refutations));
        emit IRefutations.Refuted(study, 1, accused, Kind.Equivocation, watcher, s.ctx, 0, 0, 0, 10 ether, false);
        cheats.prank(watcher);
        refutations.refuteEquivocation(study, evidence, 0);
        checkEq(lockOf(accused, Role.Member), MAX_FINE - 10 ether, "fine");
        evidence = Rounds.equivocationEvidence(s, "one", 1, "third", 1);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyFined.selector, keyOf(s.ctx, accused, Kind.Equivocation)));
        refutations.refuteEquivocation(study, evidence, 0);
    }

    function test_one_update_signed_twice_costs_nothing() public {
        bytes memory evidence = Rounds.equivocationEvidence(signed(3), "one", 1, "one", 1);
        expectNoFault(0);
        refutations.refuteEquivocation(study, evidence, 0);
        checkUntouched();
    }
}

contract ContradictionTest is RefutationsActs {
    Proposal internal failed;
    Proposal internal last;
    RecordProof internal proof;

    /// Nobody endorses the first; the second is right.
    function setUp() public override {
        super.setUp();
        int32 right = next[1];
        next[1] = 0;
        lapse(right);
    }

    function lapse(int32 right) internal {
        failed = proposeJudged();
        pass(WINDOW);
        next[1] = right;
        last = proposeJudged();
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = hashProposal(failed);
        recordRound(last);
        proof = proofOf(outcomeOf(hashes, 0));
    }

    function test_garbage_that_nobody_endorsed_pays() public {
        address accused = aggregatorOf(failed);
        bytes memory evidence = abi.encode(failed);
        announce(watcher, evidence, SALT);
        VM.roll(block.number + 1);
        cheats.expectEmit(address(refutations));
        emit IRefutations.Refuted(study, 1, accused, Kind.Contradiction, watcher, failed.ctx, 0, 0, 0, 50 ether, true);
        cheats.prank(watcher);
        refutations.refuteContradiction(study, last, proof, failed, SALT);
        checkEq(lockOf(accused, Role.Aggregator), BOND - 50 ether, "below the full bond");
        checkEq(bonds.creditOf(watcher), 15 ether, "reward");
        // The record itself was not proven wrong.
        (, bool disputed) = collegium.recordOf(study, 1);
        check(!disputed, "disputed");
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyFined.selector, keyOf(failed.ctx, accused, Kind.Contradiction)));
        refutations.refuteContradiction(study, last, proof, failed, 0);
    }

    function test_honest_lapse_never_pays() public {
        trainRound();
        lapse(next[1]);
        cheats.expectRevert(IRefutations.RefutationSameRoots.selector);
        refutations.refuteContradiction(study, last, proof, failed, 0);
        checkUntouched();
    }

    function test_final_proposal_does_not_contradict_itself() public {
        cheats.expectRevert(IRefutations.RefutationSameRoots.selector);
        refutations.refuteContradiction(study, last, proof, last, 0);
    }

    function test_only_failed_proposals_of_the_round_count() public {
        Proposal memory made = failed;
        made.aggregator = last.aggregator;
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationNotFailedProposal.selector, hashProposal(made)));
        refutations.refuteContradiction(study, last, proof, made, 0);
    }

    function test_evidence_period_ends() public {
        uint256 deadline = uint256(proof.outcome.finalizedAt) + 10 * WINDOW;
        cheats.warp(deadline);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationTooLate.selector, deadline, deadline));
        refutations.refuteContradiction(study, last, proof, failed, 0);
    }

    function test_record_must_match() public {
        RecordProof memory other = proof;
        other.outcome.failedProposals[0] = hashProposal(last);
        try refutations.refuteContradiction(study, last, other, failed, 0) {
            check(false, "accepted another outcome");
        } catch (bytes memory reason) {
            checkEq(bytes4(reason), IRefutations.RefutationWrongRecord.selector, "reason");
        }
    }
}

contract AnnounceTest is RefutationsActs {
    address internal thief = address(0xbad);
    Proposal internal p;
    bytes internal evidence;
    bytes32 internal key;

    function setUp() public override {
        super.setUp();
        mean[3] += 1;
        p = proposeJudged();
        evidence = meanEvidence(3);
        key = keyOf(p.ctx, aggregatorOf(p), Kind.Mean);
    }

    function digestOfEvidence(address sender) private view returns (bytes32) {
        return keccak256(abi.encode(sender, keccak256(evidence), SALT));
    }

    function test_digest_is_announced_once() public {
        bytes32 digest = digestOfEvidence(watcher);
        cheats.expectEmit(address(refutations));
        emit IRefutations.EvidenceAnnounced(digest, watcher, block.number);
        announce(watcher, evidence, SALT);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationAlreadyAnnounced.selector, digest));
        refutations.announce(digest);
    }

    function test_salt_claims_an_announcement() public {
        bytes32 digest = digestOfEvidence(watcher);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationNotAnnounced.selector, digest));
        refuteAs(watcher, Kind.Mean, p, evidence, SALT);
    }

    function test_unannounced_evidence_pays_after_the_hold() public {
        refuteAs(thief, Kind.Mean, p, evidence, 0);
        checkEq(bonds.creditOf(thief), 0, "not yet");
        (address challenger, uint256 amount,) = bonds.heldRewardOf(key);
        checkEq(challenger, thief, "held for");
        checkEq(amount, 30 ether, "amount");
        pass(1 hours);
        bonds.claimReward(key);
        checkEq(token.balanceOf(thief), 30 ether, "paid");
    }

    function test_announcement_in_the_same_block_is_held() public {
        announce(thief, evidence, SALT);
        refuteAs(thief, Kind.Mean, p, evidence, SALT);
        checkEq(bonds.creditOf(thief), 0, "held");
    }

    /// The thief copies the watcher's evidence from the pool and is first; the watcher had announced it.
    function test_earlier_announcer_takes_the_held_reward() public {
        announce(watcher, evidence, SALT);
        VM.roll(block.number + 1);
        pass(12);
        refuteAs(thief, Kind.Mean, p, evidence, 0);
        cheats.prank(watcher);
        refutations.claimAnnounced(key, keccak256(evidence), SALT);
        checkEq(bonds.creditOf(watcher), 30 ether, "watcher");
        pass(1 hours);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        bonds.claimReward(key);
    }

    function test_later_announcer_takes_nothing() public {
        refuteAs(watcher, Kind.Mean, p, evidence, 0);
        announce(thief, evidence, SALT);
        bytes32 digest = digestOfEvidence(thief);
        cheats.prank(thief);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationNotAnnounced.selector, digest));
        refutations.claimAnnounced(key, keccak256(evidence), SALT);
        // Waiting does not make it earlier.
        pass(30 minutes);
        cheats.prank(thief);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationNotAnnounced.selector, digest));
        refutations.claimAnnounced(key, keccak256(evidence), SALT);
    }

    function test_announcement_of_other_evidence_takes_nothing() public {
        bytes memory other = meanEvidence(4);
        announce(thief, other, SALT);
        pass(12);
        refuteAs(watcher, Kind.Mean, p, evidence, 0);
        cheats.prank(thief);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        refutations.claimAnnounced(key, keccak256(other), SALT);
        bytes32 digest = digestOfEvidence(thief);
        cheats.prank(thief);
        cheats.expectRevert(abi.encodeWithSelector(IRefutations.RefutationNotAnnounced.selector, digest));
        refutations.claimAnnounced(key, keccak256(evidence), SALT);
    }

    function test_nothing_held_is_nothing_to_claim() public {
        announce(watcher, evidence, SALT);
        cheats.prank(watcher);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        refutations.claimAnnounced(key, keccak256(evidence), SALT);
    }
}
