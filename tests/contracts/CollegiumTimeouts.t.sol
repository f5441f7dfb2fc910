// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../../contracts/interfaces/ICollegium.sol";
import {Format, Kind, Outcome, Phase, Plan, Proposal, Role} from "../../contracts/interfaces/Types.sol";
import {Signatures} from "../../contracts/libraries/Signatures.sol";
import {Cheats, cheats} from "./support/Cheats.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";

/// @notice A referee that the council may allow and that judges every plan.
contract MildReferee {
    function checkPlan(Plan calldata, Format calldata) external pure {}
}

/// @notice What time decides: late members, missed duties, lapsed and refuted proposals, aborts, and who pays.
contract CollegiumTimeoutsTest is CollegiumWorld {
    function setUp() public {
        found(4, 3);
        open();
    }

    // ---- members

    function test_too_few_commits_abort_and_nobody_pays() public {
        commit(0x1);
        pass(WINDOW);
        checkPhase(Phase.Aborted);
        cheats.expectEmit(address(collegium));
        emit ICollegium.RoundAborted(study, 1, Phase.Commit);
        cheats.prank(stranger);
        collegium.settle(study);
        checkEq(lockOf(cheats.addr(HOSPITAL), Role.Member), MAX_FINE, "lock");
        collegium.settle(study);
        checkEq(open(), 2, "next round");
        checkPhase(Phase.Commit);
    }

    function test_commit_at_the_deadline_is_late() public {
        commit(0x3);
        bytes memory late = commitItems(0x4);
        pass(WINDOW);
        expectWrongPhase(Phase.Reveal, Phase.Commit);
        collegium.commitUpdates(study, late);
    }

    function test_too_few_reveals_abort_and_the_unrevealed_pay() public {
        commit(0x7);
        pass(WINDOW);
        reveal(0x1);
        pass(WINDOW);
        checkPhase(Phase.Aborted);
        collegium.settle(study);
        checkEq(lockOf(cheats.addr(HOSPITAL), Role.Member), MAX_FINE, "revealed");
        checkEq(lockOf(cheats.addr(HOSPITAL + 1), Role.Member), MAX_FINE - 1 ether, "unrevealed 1");
        checkEq(lockOf(cheats.addr(HOSPITAL + 2), Role.Member), MAX_FINE - 1 ether, "unrevealed 2");
        checkEq(lockOf(cheats.addr(HOSPITAL + 3), Role.Member), MAX_FINE, "never committed");
    }

    function test_nobody_reveals_after_all_committed() public {
        commit(0xf);
        pass(WINDOW);
        checkPhase(Phase.Aborted);
        open();
        for (uint256 i; i < 4; ++i) checkEq(lockOf(cheats.addr(HOSPITAL + i), Role.Member), MAX_FINE - 1 ether, "unrevealed");
    }

    function test_unrevealed_member_leaves_the_set_and_pays_once_to_the_others() public {
        commit(0xf);
        reveal(0x7);
        pass(WINDOW);
        certifySet(0x7);
        Proposal memory p = proposeOnDuty();
        checkEq(p.included, 7, "included");
        collegium.conclude(study, endorseItems(0xf), p, false);
        (,, bytes32 ctx) = _live();
        cheats.expectCall(address(bonds), abi.encodeWithSelector(bonds.fine.selector), 1);
        collegium.settle(study);
        collegium.settle(study);
        open();
        bytes32 key = keccak256(abi.encode(ctx, cheats.addr(HOSPITAL + 3), Kind.Unrevealed));
        check(bonds.isFined(key), "fined");
        checkEq(lockOf(cheats.addr(HOSPITAL + 3), Role.Member), MAX_FINE - 1 ether, "lock");
        (,, uint128 unclaimed) = bonds.sharesOf(key);
        checkEq(unclaimed, 7, "who shares");
    }

    /// @dev Our referee refuses a plan without fines; another one may not, and then a round ends as ever and nobody pays.
    function test_a_plan_without_fines_orders_none() public {
        Plan memory p = plan();
        p.referee = address(new MildReferee());
        bytes32 allow = keccak256(abi.encode(Signatures.ALLOW_REFEREE, p.referee, true, uint64(0), uint40(time_())));
        collegium.allowReferee(p.referee, true, uint40(time_()), approvals(allow));
        (p.unrevealedFine, p.dutyFine) = (0, 0);
        study = collegium.createStudy(p, format(1000));
        for (uint256 i; i < hospitals; ++i) joinStudy(i);
        for (uint256 j; j < 2; ++j) {
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.enlist(study);
        }
        open();
        commit(all());
        reveal(all() & ~uint256(1));
        pass(WINDOW);
        certifySet(all() & ~uint256(1));
        pass(WINDOW);
        Proposal memory proposal = proposeOnDuty();
        collegium.conclude(study, endorseItems(all()), proposal, false);
        cheats.recordLogs();
        collegium.settle(study);
        Cheats.Log[] memory logs = cheats.getRecordedLogs();
        checkEq(logs.length, 0, "nobody is fined");
        checkEq(lockOf(cheats.addr(HOSPITAL), Role.Member), MAX_FINE, "the unrevealed keeps its lock");
        checkEq(lockOf(cheats.addr(COORDINATOR), Role.Aggregator), 100 ether, "and so does who let a duty pass");
        checkEq(lockOf(cheats.addr(COORDINATOR + 1), Role.Aggregator), 100 ether, "bond");
    }

    function test_uncertified_update_leaves_the_set_without_a_fine() public {
        commit(0xf);
        reveal(0xf);
        certifySet(0x7);
        checkPhase(Phase.Certify);
        pass(WINDOW);
        Proposal memory p = proposeOnDuty();
        checkEq(p.included, 7, "included");
        checkEq(p.weightSum, 303, "weights");
        (,,,,,,,,,, bytes32 hash) = collegium.roundOf(study);
        checkEq(hash, hashProposal(p), "proposal over the certified set");
        collegium.conclude(study, endorseItems(0xf), p, true);
    }

    function conclude(Proposal memory p) private {
        bytes memory items = endorseItems(all());
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, items, p, false);
    }

    function test_too_few_certified_abort() public {
        commit(0xf);
        reveal(0xf);
        certifySet(0x1);
        pass(WINDOW);
        checkPhase(Phase.Aborted);
        cheats.expectEmit(address(collegium));
        emit ICollegium.RoundAborted(study, 1, Phase.Certify);
        open();
    }

    // ---- aggregators

    function toPropose() private {
        commit(0xf);
        reveal(0xf);
        certifySet(0xf);
    }

    function test_a_missed_duty_passes_on_and_is_fined_when_the_round_ends() public {
        toPropose();
        address first = collegium.onDuty(study);
        checkEq(first, cheats.addr(COORDINATOR_NODE + 1), "round 1 of 3 starts at position 1");
        pass(WINDOW);
        address second = collegium.onDuty(study);
        checkEq(second, cheats.addr(COORDINATOR_NODE + 2), "next in order");
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.ProposalNotOnDuty.selector, first, second));
        cheats.prank(first);
        collegium.propose(study, 0, 0, 0, 0);
        cheats.expectEmit(address(collegium));
        emit ICollegium.DutyMissed(study, 1, first, 0);
        Proposal memory p = proposeAs(second);
        checkEq(p.attempt, 1, "attempt");
        (,,,,,,,,,, bytes32 hash) = collegium.roundOf(study);
        checkEq(hash, hashProposal(p), "proposal");
        cheats.expectEmit(address(collegium));
        Outcome memory o = Outcome(15, 15, 15, new bytes32[](0), 2, uint40(time_()));
        emit ICollegium.RoundFinalized(study, 1, recordOf(p, o), hash, o, p.newModelRoot, cidOf(p.modelDigest));
        conclude(p);
        open();
        checkEq(lockOf(cheats.addr(COORDINATOR + 1), Role.Aggregator), 98 ether, "duty fine");
        (,, address[] memory order,) = collegium.snapshotOf(study);
        checkEq(order.length, 2, "a bond that is no longer whole leaves the order");
    }

    function test_three_missed_duties_abort() public {
        toPropose();
        pass(3 * WINDOW);
        checkPhase(Phase.Aborted);
        for (uint8 i; i < 3; ++i) {
            cheats.expectEmit(address(collegium));
            emit ICollegium.DutyMissed(study, 1, cheats.addr(COORDINATOR_NODE + (1 + i) % 3), i);
        }
        cheats.expectEmit(address(collegium));
        emit ICollegium.RoundAborted(study, 1, Phase.Propose);
        collegium.settle(study);
        for (uint256 j; j < 3; ++j) checkEq(lockOf(cheats.addr(COORDINATOR + j), Role.Aggregator), 98 ether, "duty fine");
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundNoAggregator.selector, study));
        open();
    }

    function test_a_proposal_without_quorum_lapses_without_a_fine() public {
        toPropose();
        address first = collegium.onDuty(study);
        Proposal memory lapsed = proposeOnDuty();
        collegium.endorse(study, endorseItems(0x3));
        pass(WINDOW);
        checkPhase(Phase.Propose);
        expectWrongPhase(Phase.Propose, Phase.Final);
        collegium.finalize(study, lapsed);
        cheats.expectEmit(address(collegium));
        emit ICollegium.ProposalLapsed(study, 1, first, hashProposal(lapsed));
        Proposal memory p = proposeOnDuty();
        (,,,,,,,,, uint128 endorsed,) = collegium.roundOf(study);
        checkEq(endorsed, 0, "endorsements of the lapsed one do not count");
        bytes32[] memory failed = new bytes32[](1);
        failed[0] = hashProposal(lapsed);
        Outcome memory o = Outcome(15, 15, 15, failed, 0, uint40(time_()));
        conclude(p);
        (bytes32 record,) = collegium.recordOf(study, 1);
        checkEq(record, recordOf(p, o), "record names the failed proposal");
    }

    function test_a_refuted_proposal_excludes_its_aggregator_at_once() public {
        toPropose();
        address first = collegium.onDuty(study);
        Proposal memory bad = proposeOnDuty();
        bytes32 hash = hashProposal(bad);
        cheats.expectEmit(address(collegium));
        emit ICollegium.ProposalRefuted(study, 1, first, hash);
        refuteLive(hash);
        checkPhase(Phase.Propose);
        (, uint8 attempt, uint40 deadline) = collegium.phaseOf(study);
        checkEq(attempt, 1, "attempt");
        checkEq(deadline, time_() + WINDOW, "anew at once");
        // The others let their duty pass; the excluded one is skipped, and three failures abort.
        pass(WINDOW);
        checkEq(collegium.onDuty(study), cheats.addr(COORDINATOR_NODE), "cyclic");
        pass(WINDOW);
        checkPhase(Phase.Aborted);
    }

    function test_three_refuted_proposals_abort() public {
        toPropose();
        for (uint256 i; i < 3; ++i) {
            bytes32 hash = hashProposal(proposeOnDuty());
            if (i == 2) {
                cheats.expectEmit(address(collegium));
                emit ICollegium.RoundAborted(study, 1, Phase.Challenge);
            }
            refuteLive(hash);
        }
        checkPhase(Phase.Aborted);
        checkEq(collegium.onDuty(study), address(0), "nobody on duty");
        open();
        checkPhase(Phase.Commit);
    }

    function test_refuting_the_only_aggregator_aborts() public {
        for (uint256 j = 1; j < 3; ++j) {
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.delist(study);
        }
        pass(WINDOW);
        open();
        toPropose();
        refuteLive(hashProposal(proposeOnDuty()));
        checkPhase(Phase.Aborted);
    }

    function test_a_live_proposal_is_refuted_by_its_hash_in_time_and_by_refutations_only() public {
        toPropose();
        expectWrongPhase(Phase.Propose, Phase.Challenge);
        refuteLive(0);
        bytes32 hash = hashProposal(proposeOnDuty());
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.CollegiumOnlyRefutations.selector, address(this)));
        collegium.markRefuted(study, hash);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.ProposalMismatch.selector, hash, bytes32(uint256(1))));
        refuteLive(bytes32(uint256(1)));
        collegium.endorse(study, endorseItems(0xf));
        expectWrongPhase(Phase.Final, Phase.Challenge);
        refuteLive(hash);
    }

    function test_a_record_can_be_disputed_and_stays() public {
        toPropose();
        conclude(proposeOnDuty());
        (bytes32 record,) = collegium.recordOf(study, 1);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.CollegiumOnlyRefutations.selector, address(this)));
        collegium.markDisputed(study, 1);
        cheats.expectEmit(address(collegium));
        emit ICollegium.RecordDisputed(study, 1, record);
        cheats.prank(address(refutations));
        collegium.markDisputed(study, 1);
        (bytes32 after_, bool disputed) = collegium.recordOf(study, 1);
        check(disputed && after_ == record, "disputed");
    }

    // ---- finality

    function test_a_round_that_may_be_finalized_is_recorded_before_the_next_opens() public {
        toPropose();
        Proposal memory p = proposeOnDuty();
        collegium.endorse(study, endorseItems(0x7));
        pass(WINDOW);
        expectWrongPhase(Phase.Final, Phase.Final);
        open();
        collegium.settle(study);
        checkPhase(Phase.Final);
        Proposal memory other = proposalWith(p, bytes32(uint256(1)));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.ProposalMismatch.selector, hashProposal(p), hashProposal(other)));
        collegium.finalize(study, other);
        // Late endorsements no longer matter, and a stranger may conclude.
        bytes memory late = endorseItems(0x8);
        cheats.prank(stranger);
        collegium.conclude(study, late, p, false);
        expectWrongPhase(Phase.Final, Phase.Challenge);
        collegium.finalize(study, p);
        expectWrongPhase(Phase.Final, Phase.Challenge);
        collegium.endorse(study, late);
    }

    function test_conclude_opens_the_next_round_only_for_those_who_may() public {
        toPropose();
        Proposal memory p = proposeOnDuty();
        bytes memory items = endorseItems(0xf);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundOpenerNotAllowed.selector, stranger));
        cheats.prank(stranger);
        collegium.conclude(study, items, p, true);
        cheats.prank(cheats.addr(NODE + 2));
        collegium.conclude(study, items, p, true);
        checkPhase(Phase.Commit);
    }

    function test_an_aborted_round_keeps_its_number_and_the_chain_of_records() public {
        toPropose();
        conclude(proposeOnDuty());
        (bytes32 first,) = collegium.recordOf(study, 1);
        open();
        pass(WINDOW);
        open();
        pass(WINDOW);
        open();
        (,,, uint32 from) = collegium.modelOf(study);
        checkEq(from, 1, "model of round 1");
        toPropose();
        Proposal memory p = proposeOnDuty();
        conclude(p);
        (bytes32 record,) = collegium.recordOf(study, 4);
        Outcome memory o = Outcome(15, 15, 15, new bytes32[](0), 0, uint40(time_()));
        checkEq(record, keccak256(abi.encode(keccak256("collegium/1/record"), first, hashProposal(p), hashOutcome(o))), "record");
        (bytes32 none,) = collegium.recordOf(study, 2);
        checkEq(none, bytes32(0), "aborted rounds leave no record");
        (,,, from) = collegium.modelOf(study);
        checkEq(from, 4, "model of round 4");
    }

    // ---- helpers

    function _live() private view returns (uint32 round, Phase phase, bytes32 ctx) {
        (round, phase, ctx,,,,) = collegium.liveOf(study);
    }

    function refuteLive(bytes32 hash) private {
        cheats.prank(address(refutations));
        collegium.markRefuted(study, hash);
    }

    function proposalWith(Proposal memory p, bytes32 meanRoot) private pure returns (Proposal memory q) {
        q = abi.decode(abi.encode(p), (Proposal));
        q.meanRoot = meanRoot;
    }

    function recordOf(Proposal memory p, Outcome memory o) private view returns (bytes32) {
        (,, bytes32 planHash,,,) = collegium.studyOf(study);
        bytes32 parent = keccak256(abi.encode(keccak256("collegium/1/record"), bytes32(0), planHash, bytes32(0)));
        return keccak256(abi.encode(keccak256("collegium/1/record"), parent, hashProposal(p), hashOutcome(o)));
    }
}
