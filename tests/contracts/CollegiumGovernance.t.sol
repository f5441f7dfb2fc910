// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../../contracts/interfaces/ICollegium.sol";
import {Join, Kind, Phase, Proposal, Role, StudyStatus} from "../../contracts/interfaces/Types.sol";
import {FineOrder} from "../../contracts/interfaces/IBonds.sol";
import {cheats} from "./support/Cheats.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";

/// @notice The sponsor pauses, resumes, closes and limits a study; nothing of it reaches a running round or money.
contract CollegiumGovernanceTest is CollegiumWorld {
    address private sponsor = address(this);

    function setUp() public {
        found(3, 2);
    }

    function expectNotOpen(StudyStatus status, uint40 openUntil) private {
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyNotOpen.selector, study, status, openUntil));
    }

    function checkGovernance(StudyStatus status, uint40 openUntil) private view {
        (address who, StudyStatus is_, uint40 until) = collegium.governanceOf(study);
        check(who == sponsor && is_ == status && until == openUntil, "governance");
    }

    /// @dev A round up to its proposal, every update certified.
    function proposed() private returns (Proposal memory) {
        open();
        commit(all());
        reveal(all());
        certifySet(all());
        return proposeOnDuty();
    }

    // ---- pausing

    function test_a_study_begins_open_and_without_a_term() public view {
        checkGovernance(StudyStatus.Open, 0);
    }

    function test_a_paused_study_opens_no_round_until_it_is_resumed() public {
        cheats.expectEmit(address(collegium));
        emit ICollegium.StudyStatusChanged(study, sponsor, StudyStatus.Paused);
        collegium.setStudyStatus(study, StudyStatus.Paused);
        checkGovernance(StudyStatus.Paused, 0);
        address[3] memory openers = [sponsor, cheats.addr(NODE), cheats.addr(COORDINATOR)];
        for (uint256 i; i < 3; ++i) {
            expectNotOpen(StudyStatus.Paused, 0);
            cheats.prank(openers[i]);
            collegium.openRound(study);
        }
        cheats.expectEmit(address(collegium));
        emit ICollegium.StudyStatusChanged(study, sponsor, StudyStatus.Open);
        collegium.setStudyStatus(study, StudyStatus.Open);
        checkEq(open(), 1, "round");
    }

    function test_pausing_takes_members_and_aggregators_still() public {
        collegium.setStudyStatus(study, StudyStatus.Paused);
        admit(HOSPITAL + 3);
        setNodeKey(HOSPITAL + 3, NODE + 3);
        fund(cheats.addr(HOSPITAL + 3), 1000 ether);
        joinStudy(3);
        cheats.prank(cheats.addr(HOSPITAL + 3));
        collegium.enlist(study);
    }

    function test_a_round_that_runs_when_the_study_is_paused_runs_to_its_end() public {
        open();
        collegium.setStudyStatus(study, StudyStatus.Paused);
        commit(all());
        reveal(all());
        certifySet(all());
        Proposal memory p = proposeOnDuty();
        collegium.endorse(study, endorseItems(1));
        // Asked to open the next one, conclude records this one and leaves it at that.
        bytes memory items = endorseItems(6);
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, items, p, true);
        (uint32 round, Phase phase,,,,,,,, uint128 endorsed, bytes32 hash) = collegium.roundOf(study);
        check(round == 1 && phase == Phase.Final && endorsed == all() && hash == hashProposal(p), "final");
        (bytes32 record,) = collegium.recordOf(study, 1);
        check(record != 0, "recorded");
        (bytes32 root,,,) = collegium.modelOf(study);
        checkEq(root, p.newModelRoot, "model");
        expectNotOpen(StudyStatus.Paused, 0);
        open();
        collegium.setStudyStatus(study, StudyStatus.Open);
        checkEq(open(), 2, "the next round");
        (,,,,, uint128 invited, uint128 committed,,, uint128 fresh,) = collegium.roundOf(study);
        check(invited == all() && committed == 0 && fresh == 0, "nothing of the last round is left");
    }

    /// @dev Concluding for everybody is not opening: a stranger may ask for both when nothing opens.
    function test_concluding_a_paused_study_asks_for_no_right_to_open() public {
        Proposal memory p = proposed();
        collegium.setStudyStatus(study, StudyStatus.Paused);
        bytes memory items = endorseItems(all());
        cheats.prank(stranger);
        collegium.conclude(study, items, p, true);
        checkPhase(Phase.Final);
    }

    function test_only_the_sponsor_governs() public {
        address[4] memory others = [stranger, cheats.addr(HOSPITAL), cheats.addr(COORDINATOR), cheats.addr(COUNCIL)];
        for (uint256 i; i < 4; ++i) {
            bytes memory refusal = abi.encodeWithSelector(ICollegium.StudyNotSponsor.selector, study, others[i]);
            cheats.expectRevert(refusal);
            cheats.prank(others[i]);
            collegium.setStudyStatus(study, StudyStatus.Paused);
            cheats.expectRevert(refusal);
            cheats.prank(others[i]);
            collegium.extendStudy(study, uint40(time_() + 1));
        }
    }

    function test_a_status_that_is_no_change_is_refused() public {
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyStatusUnchanged.selector, study, StudyStatus.Open));
        collegium.setStudyStatus(study, StudyStatus.Open);
        collegium.setStudyStatus(study, StudyStatus.Paused);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyStatusUnchanged.selector, study, StudyStatus.Paused));
        collegium.setStudyStatus(study, StudyStatus.Paused);
        (bool done,) = address(collegium).call(abi.encodeWithSelector(ICollegium.setStudyStatus.selector, study, 3));
        check(!done, "a status that does not exist");
    }

    function test_unknown_studies_are_not_governed() public {
        bytes memory unknown = abi.encodeWithSelector(ICollegium.StudyUnknown.selector, 9);
        cheats.expectRevert(unknown);
        collegium.setStudyStatus(9, StudyStatus.Paused);
        cheats.expectRevert(unknown);
        collegium.extendStudy(9, type(uint40).max);
        cheats.expectRevert(unknown);
        collegium.removeMember(9, stranger, type(uint40).max, "");
        cheats.expectRevert(unknown);
        collegium.governanceOf(9);
    }

    function test_one_study_is_paused_alone() public {
        collegium.setStudyStatus(study, StudyStatus.Paused);
        study = collegium.createStudy(plan(), format(1000));
        for (uint256 i; i < 3; ++i) joinStudy(i);
        cheats.prank(cheats.addr(COORDINATOR));
        collegium.enlist(study);
        checkEq(open(), 1, "round");
    }

    // ---- closing

    function test_closing_is_for_ever() public {
        collegium.extendStudy(study, uint40(time_() + 1 hours));
        uint40 until = uint40(time_() + 1 hours);
        cheats.expectEmit(address(collegium));
        emit ICollegium.StudyStatusChanged(study, sponsor, StudyStatus.Closed);
        collegium.setStudyStatus(study, StudyStatus.Closed);
        for (uint8 status; status < 3; ++status) {
            expectNotOpen(StudyStatus.Closed, until);
            collegium.setStudyStatus(study, StudyStatus(status));
        }
        expectNotOpen(StudyStatus.Closed, until);
        collegium.extendStudy(study, type(uint40).max);
        expectNotOpen(StudyStatus.Closed, until);
        open();
        checkGovernance(StudyStatus.Closed, until);
    }

    function test_a_closed_study_takes_no_new_party() public {
        admit(HOSPITAL + 3);
        setNodeKey(HOSPITAL + 3, NODE + 3);
        fund(cheats.addr(HOSPITAL + 3), 1000 ether);
        Join memory m = joinMessage(3);
        bytes memory signature = signJoin(HOSPITAL + 3, m);
        collegium.setStudyStatus(study, StudyStatus.Closed);
        expectNotOpen(StudyStatus.Closed, 0);
        collegium.join(m, signature);
        expectNotOpen(StudyStatus.Closed, 0);
        cheats.prank(cheats.addr(HOSPITAL + 3));
        collegium.enlist(study);
        (uint256 free,,) = bonds.stakeOf(cheats.addr(HOSPITAL + 3));
        checkEq(free, 1000 ether, "stake stays free");
    }

    function test_everybody_leaves_a_closed_study_with_all_its_money() public {
        wholeRound();
        collegium.setStudyStatus(study, StudyStatus.Closed);
        for (uint256 i; i < 3; ++i) {
            cheats.prank(cheats.addr(HOSPITAL + i));
            collegium.leave(study);
        }
        for (uint256 j; j < 2; ++j) {
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.delist(study);
        }
        pass(19 * WINDOW);
        for (uint256 i; i < 3; ++i) bonds.release(study, cheats.addr(HOSPITAL + i), Role.Member);
        for (uint256 j; j < 2; ++j) bonds.release(study, cheats.addr(COORDINATOR + j), Role.Aggregator);
        for (uint256 i; i < 5; ++i) {
            (uint256 free,,) = bonds.stakeOf(cheats.addr(i < 3 ? HOSPITAL + i : COORDINATOR + i - 3));
            checkEq(free, 1000 ether, "all of the stake");
        }
    }

    /// @dev Closing is no way out for a liar: what it proposed before is refuted, disputed and fined as ever.
    function test_closing_keeps_refutations_disputes_and_fines() public {
        Proposal memory p = proposed();
        collegium.setStudyStatus(study, StudyStatus.Closed);
        cheats.prank(address(refutations));
        collegium.markRefuted(study, hashProposal(p));
        checkPhase(Phase.Propose);
        p = proposeOnDuty();
        collegium.conclude(study, endorseItems(all()), p, true);
        checkPhase(Phase.Final);
        cheats.prank(address(refutations));
        collegium.markDisputed(study, 1);
        (, bool disputed) = collegium.recordOf(study, 1);
        check(disputed, "disputed");
    }

    function test_the_fines_of_the_last_round_of_a_closed_study_are_settled() public {
        open();
        commit(all());
        reveal(3);
        collegium.setStudyStatus(study, StudyStatus.Closed);
        pass(WINDOW);
        certifySet(3);
        Proposal memory p = proposeOnDuty();
        collegium.conclude(study, endorseItems(all()), p, true);
        checkEq(lockOf(cheats.addr(HOSPITAL + 2), Role.Member), MAX_FINE, "before");
        cheats.prank(stranger);
        collegium.settle(study);
        checkEq(lockOf(cheats.addr(HOSPITAL + 2), Role.Member), MAX_FINE - 1 ether, "the unrevealed pays");
    }

    // ---- the term

    function test_no_round_opens_at_or_after_the_end_of_the_term() public {
        uint40 until = uint40(time_() + 5 * WINDOW);
        cheats.expectEmit(address(collegium));
        emit ICollegium.StudyExtended(study, sponsor, until);
        collegium.extendStudy(study, until);
        checkGovernance(StudyStatus.Open, until);
        cheats.warp(until - 1);
        checkEq(open(), 1, "a second before");
        pass(WINDOW);
        expectNotOpen(StudyStatus.Open, until);
        open();
        // What is over may be extended, and goes on.
        collegium.extendStudy(study, uint40(time_() + WINDOW));
        checkEq(open(), 2, "extended");
    }

    function test_the_end_of_the_term_is_the_first_second_without_an_opening() public {
        uint40 until = uint40(time_() + 5);
        collegium.extendStudy(study, until);
        cheats.warp(until);
        expectNotOpen(StudyStatus.Open, until);
        open();
    }

    function test_a_round_that_runs_over_the_term_is_concluded_and_none_opened() public {
        Proposal memory p = proposed();
        collegium.extendStudy(study, uint40(time_() + 1));
        pass(1);
        bytes memory items = endorseItems(all());
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, items, p, true);
        (uint32 round, Phase phase,) = currentRound();
        check(round == 1 && phase == Phase.Final, "final, none opened");
    }

    function test_a_round_in_the_term_is_concluded_and_the_next_opened() public {
        Proposal memory p = proposed();
        collegium.extendStudy(study, uint40(time_() + 1));
        bytes memory items = endorseItems(all());
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, items, p, true);
        (uint32 round, Phase phase,) = currentRound();
        check(round == 2 && phase == Phase.Commit, "opened");
    }

    function currentRound() private view returns (uint32 round, Phase phase, uint8 attempt) {
        (round, phase, attempt,,,,,,,,) = collegium.roundOf(study);
    }

    function test_a_term_is_only_ever_extended_and_lies_ahead() public {
        uint40 now_ = uint40(time_());
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyTermNotExtended.selector, now_, now_));
        collegium.extendStudy(study, now_);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyTermNotExtended.selector, uint40(0), now_));
        collegium.extendStudy(study, 0);
        collegium.extendStudy(study, now_ + 100);
        for (uint40 until = now_ + 99; until <= now_ + 100; ++until) {
            cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyTermNotExtended.selector, until, now_ + 100));
            collegium.extendStudy(study, until);
        }
        pass(200);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyTermNotExtended.selector, now_ + 150, now_ + 200));
        collegium.extendStudy(study, now_ + 150);
        collegium.extendStudy(study, type(uint40).max);
        // The word beside it: nothing else of the study has moved.
        checkGovernance(StudyStatus.Open, type(uint40).max);
        (,,, uint256 seats, uint256 order, uint32 round) = collegium.studyOf(study);
        check(seats == 3 && order == 2 && round == 0, "the rest of the slot");
        wholeRound();
        (,,, uint32 from) = collegium.modelOf(study);
        checkEq(from, 1, "last final");
    }
}

/// @notice The council removes a member; a sponsor alone cannot.
contract CollegiumRemovalTest is CollegiumWorld {
    uint40 private deadline;
    address private hospital;

    function setUp() public {
        found(3, 2);
        deadline = uint40(time_() + 1 hours);
        hospital = cheats.addr(HOSPITAL + 2);
    }

    function removal(uint64 studyId, address institution, uint40 until) private pure returns (bytes32) {
        bytes32 typeHash = keccak256("RemoveMember(uint64 studyId,address institution,uint40 deadline)");
        return keccak256(abi.encode(typeHash, studyId, institution, until));
    }

    function remove(address institution) private {
        bytes memory two = approvals(removal(study, institution, deadline));
        cheats.prank(stranger);
        collegium.removeMember(study, institution, deadline, two);
    }

    function test_a_removed_member_ends_its_round_and_is_in_no_later_one() public {
        open();
        uint40 releasableAt = uint40(time_() + 19 * WINDOW);
        cheats.expectEmit(address(collegium));
        emit ICollegium.MemberRemoved(study, hospital, 2, releasableAt, 2);
        remove(hospital);
        (uint128 amount, uint40 at) = bonds.lockOf(study, hospital, Role.Member);
        check(amount == MAX_FINE && at == releasableAt, "no fine, released later");
        // It was invited to this round and serves it.
        commit(all());
        reveal(all());
        certifySet(all());
        Proposal memory p = proposeOnDuty();
        collegium.conclude(study, endorseItems(all()), p, true);
        (,,,,, uint128 invited,,,,,) = collegium.roundOf(study);
        checkEq(invited, 3, "not invited any more");
        (address[] memory institutions, address[] memory keys,,) = collegium.snapshotOf(study);
        check(institutions.length == 3 && institutions[2] == address(0) && keys[2] == address(0), "an empty seat");
        (bool seated, uint16 index,) = collegium.seatOf(study, hospital);
        check(seated && index == 2, "its seat stays its own: shares of fines are claimed by it");
        pass(20 * WINDOW);
        bonds.release(study, hospital, Role.Member);
        (uint256 free,,) = bonds.stakeOf(hospital);
        checkEq(free, 1000 ether, "all of its stake");
    }

    function test_a_removed_member_opens_nothing_and_does_not_come_back() public {
        remove(hospital);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundOpenerNotAllowed.selector, hospital));
        cheats.prank(hospital);
        collegium.openRound(study);
        Join memory m = joinMessage(2);
        bytes memory signature = signJoin(HOSPITAL + 2, m);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinAlreadyMember.selector, hospital, uint16(2)));
        collegium.join(m, signature);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.MemberUnknown.selector, study, hospital));
        cheats.prank(hospital);
        collegium.leave(study);
    }

    function test_a_fine_reaches_a_removed_member_until_its_lock_is_released() public {
        open();
        commit(all());
        (, bytes32 ctx) = live();
        remove(hospital);
        cheats.prank(address(refutations));
        bonds.fine(FineOrder(study, hospital, Role.Member, Kind.Range, 5 ether, ctx, stranger, 0, 3));
        checkEq(lockOf(hospital, Role.Member), MAX_FINE - 5 ether, "fined");
        cheats.expectRevert();
        bonds.release(study, hospital, Role.Member);
    }

    function test_a_removed_member_keeps_its_share_of_earlier_fines() public {
        open();
        (, bytes32 ctx) = live();
        cheats.prank(address(refutations));
        bonds.fine(FineOrder(study, cheats.addr(HOSPITAL), Role.Member, Kind.Range, 5 ether, ctx, stranger, 0, 6));
        remove(hospital);
        cheats.prank(hospital);
        bonds.claimShare(keccak256(abi.encode(ctx, cheats.addr(HOSPITAL), Kind.Range)));
        checkEq(token.balanceOf(hospital), 0.5 ether, "its half of 20%");
    }

    function test_a_sponsor_alone_drops_nobody() public {
        // The sponsor is this contract; it has what everybody has: no approvals.
        tooFew("", 0);
        bytes32 digest = digestOf_(removal(study, hospital, deadline));
        tooFew(compact(COUNCIL, digest), 1);
        bytes memory outsiders = bytes.concat(compact(0x77, digest), compact(0x78, digest));
        cheats.expectRevert();
        collegium.removeMember(study, hospital, deadline, outsiders);
        (,,, uint256 seats,,) = collegium.studyOf(study);
        open();
        (,,,,, uint128 invited,,,,,) = collegium.roundOf(study);
        check(seats == 3 && invited == 7, "all are there");
    }

    function tooFew(bytes memory given, uint256 valid) private {
        bytes4 selector = bytes4(keccak256("MembersTooFewApprovals(uint256,uint256)"));
        cheats.expectRevert(abi.encodeWithSelector(selector, valid, 2));
        collegium.removeMember(study, hospital, deadline, given);
    }

    function digestOf_(bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainOf(address(members)), structHash));
    }

    /// @dev Each field is signed: approvals of another study, member or deadline, or for another contract, are of nobody.
    function test_approvals_bind_study_member_deadline_and_contract() public {
        bytes32[4] memory others = [
            removal(study + 1, hospital, deadline),
            removal(study, cheats.addr(HOSPITAL), deadline),
            removal(study, hospital, deadline + 1),
            keccak256(abi.encode(keccak256("Suspend(address institution,bool suspended,uint64 nonce,uint40 deadline)"), hospital, true, 0, deadline))
        ];
        for (uint256 i; i < 4; ++i) {
            bytes memory two = approvals(others[i]);
            cheats.expectRevert();
            collegium.removeMember(study, hospital, deadline, two);
        }
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domainOf(address(collegium)), removal(study, hospital, deadline)));
        (uint256 a, uint256 b) = (COUNCIL, COUNCIL + 1);
        if (cheats.addr(a) > cheats.addr(b)) (a, b) = (b, a);
        bytes memory elsewhere = bytes.concat(compact(a, digest), compact(b, digest));
        cheats.expectRevert();
        collegium.removeMember(study, hospital, deadline, elsewhere);
        remove(hospital);
    }

    function test_approvals_are_good_until_their_deadline_and_once() public {
        bytes memory two = approvals(removal(study, hospital, deadline));
        cheats.warp(deadline + 1);
        bytes4 late = bytes4(keccak256("MembersDeadlinePassed(uint40,uint256)"));
        cheats.expectRevert(abi.encodeWithSelector(late, deadline, deadline + 1));
        collegium.removeMember(study, hospital, deadline, two);
        cheats.warp(deadline);
        collegium.removeMember(study, hospital, deadline, two);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.MemberUnknown.selector, study, hospital));
        collegium.removeMember(study, hospital, deadline, two);
    }

    function test_who_left_or_never_joined_is_not_removed() public {
        cheats.prank(hospital);
        collegium.leave(study);
        bytes memory two = approvals(removal(study, hospital, deadline));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.MemberUnknown.selector, study, hospital));
        collegium.removeMember(study, hospital, deadline, two);
        two = approvals(removal(study, stranger, deadline));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.MemberUnknown.selector, study, stranger));
        collegium.removeMember(study, stranger, deadline, two);
    }

    function test_a_member_that_aggregates_loses_both_places() public {
        fund(hospital, 1000 ether);
        cheats.prank(hospital);
        collegium.enlist(study);
        uint40 releasableAt = uint40(time_() + 19 * WINDOW);
        cheats.expectEmit(address(collegium));
        emit ICollegium.AggregatorDelisted(study, hospital, releasableAt);
        remove(hospital);
        (, uint40 member) = bonds.lockOf(study, hospital, Role.Member);
        (uint128 bond, uint40 aggregator) = bonds.lockOf(study, hospital, Role.Aggregator);
        check(member == releasableAt && aggregator == releasableAt && bond == 100 ether, "both are released later");
        open();
        (,, address[] memory order,) = collegium.snapshotOf(study);
        check(order.length == 2 && order[0] == cheats.addr(COORDINATOR_NODE), "the others keep their order");
    }

    function test_an_aggregator_that_is_no_member_is_removed_from_the_order() public {
        remove(cheats.addr(COORDINATOR));
        open2();
        (,, address[] memory order,) = collegium.snapshotOf(study);
        check(order.length == 1 && order[0] == cheats.addr(COORDINATOR_NODE + 1), "the other aggregates");
    }

    function open2() private {
        cheats.prank(cheats.addr(COORDINATOR_NODE + 1));
        collegium.openRound(study);
    }

    /// @dev The plan's own quorum bounds what a council can shrink a study to.
    function test_removals_never_bring_a_study_below_the_quorum_of_its_plan() public {
        remove(hospital);
        wholeRoundOf(3);
        remove(cheats.addr(HOSPITAL + 1));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundTooFewMembers.selector, 1, 2));
        open();
    }

    function wholeRoundOf(uint256 set) private {
        open();
        commit(set);
        reveal(set);
        certifySet(set);
        Proposal memory p = proposeOnDuty();
        collegium.conclude(study, endorseItems(set), p, false);
    }

    function test_a_member_of_a_closed_or_paused_study_is_removed_as_well() public {
        collegium.setStudyStatus(study, StudyStatus.Closed);
        remove(hospital);
    }
}

/// @notice ERC-5267: what wallets and explorers read before they show a message to sign.
contract CollegiumDomainTest is CollegiumWorld {
    function setUp() public {
        deploy();
    }

    function test_both_contracts_tell_the_domain_that_signatures_are_checked_in() public {
        checkDomain(address(collegium));
        checkDomain(address(members));
        checkEq(collegium.domainSeparator(), domainOf(address(collegium)), "separator");
        cheats.chainId(11155111);
        checkDomain(address(collegium));
        checkDomain(address(members));
    }

    function checkDomain(address account) private view {
        (bool done, bytes memory answer) = account.staticcall(abi.encodeWithSignature("eip712Domain()"));
        check(done, "answers");
        (bytes1 fields, string memory name, string memory version, uint256 chain, address verifier, bytes32 salt, uint256[] memory more) =
            abi.decode(answer, (bytes1, string, string, uint256, address, bytes32, uint256[]));
        check(fields == 0x0f && salt == 0 && more.length == 0, "fields");
        check(keccak256(bytes(name)) == keccak256("Collegium") && keccak256(bytes(version)) == keccak256("1"), "name and version");
        check(chain == block.chainid && verifier == account, "chain and contract");
    }
}
