// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Collegium} from "../../contracts/Collegium.sol";
import {MinimumWindows} from "../../contracts/core/CollegiumState.sol";
import {IBonds} from "../../contracts/interfaces/IBonds.sol";
import {ICollegium} from "../../contracts/interfaces/ICollegium.sol";
import {IMembers} from "../../contracts/interfaces/IMembers.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Format, Join, Phase, Plan, Proposal, Role} from "../../contracts/interfaces/Types.sol";
import {Code} from "../../contracts/libraries/Code.sol";
import {Signatures} from "../../contracts/libraries/Signatures.sol";
import {Cheats, cheats} from "./support/Cheats.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";

/// @notice An institution that is a contract.
contract Clinic {
    address private immutable SIGNER;
    IBonds private immutable BONDS;

    constructor(address signer, IBonds bonds) {
        SIGNER = signer;
        BONDS = bonds;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 vs) = abi.decode(signature, (bytes32, bytes32));
        bytes32 s = bytes32(uint256(vs) & type(uint256).max >> 1);
        return ecrecover(digest, uint8(uint256(vs) >> 255) + 27, r, s) == SIGNER ? this.isValidSignature.selector : bytes4(0);
    }
}

/// @notice Founding, joining, leaving, enlisting.
contract CollegiumStudiesTest is CollegiumWorld {
    function setUp() public {
        found(3, 2);
    }

    // ---- founding

    function test_creating_a_study_tells_everything() public {
        Plan memory p = plan();
        Format memory f = format(1000);
        bytes32 planHash = keccak256(abi.encode(keccak256("collegium/1/plan"), p));
        cheats.expectEmit(address(collegium));
        emit ICollegium.StudyCreated(2, stranger, planHash, p, f, cidOf(p.planDigest), cidOf(p.genesisModelDigest));
        cheats.prank(stranger);
        checkEq(collegium.createStudy(p, f), 2, "study");
        checkEq(collegium.studyCount(), 2, "count");
        (Plan memory q, Format memory g, bytes32 hash, uint256 seats, uint256 order, uint32 round) = collegium.studyOf(2);
        checkEq(keccak256(abi.encode(q, g)), keccak256(abi.encode(p, f)), "plan and format");
        checkEq(hash, planHash, "plan hash");
        checkEq(seats + order + round, 0, "empty");
        checkEq(keccak256(Code.read(collegium.planCodeOf(2))), keccak256(abi.encode(p, f)), "plan code");
        (bytes32 root, bytes32 stateRoot, string memory cid, uint32 from) = collegium.modelOf(2);
        check(root == p.genesisModelRoot && stateRoot == 0 && from == 0, "genesis");
        checkEq(keccak256(bytes(cid)), keccak256(bytes(cidOf(p.genesisModelDigest))), "cid");
    }

    function test_a_model_beyond_one_block_is_named_by_dag_pb() public {
        // 4095 chunks and the header fill 1 MiB exactly.
        for (uint64 count = 4095 * 64; count <= 4095 * 64 + 1; ++count) {
            Plan memory p = plan();
            p.formatId = formatId(format(count));
            uint64 id = collegium.createStudy(p, format(count));
            (,, string memory cid,) = collegium.modelOf(id);
            checkEq(uint8(bytes(cid)[3]), uint8(count == 4095 * 64 ? bytes1("k") : bytes1("y")), "codec");
        }
    }

    function test_only_allowed_referees_judge() public {
        Plan memory p = plan();
        p.referee = stranger;
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyRefereeNotAllowed.selector, stranger));
        collegium.createStudy(p, format(1000));

        uint40 deadline = uint40(time_());
        bytes32 structHash = keccak256(abi.encode(Signatures.ALLOW_REFEREE, address(referee), false, uint64(0), deadline));
        bytes memory two = approvals(structHash);
        cheats.expectEmit(address(collegium));
        emit ICollegium.RefereeAllowed(address(referee), false, 2);
        collegium.allowReferee(address(referee), false, deadline, two);
        checkEq(collegium.nonceOf(address(referee)), 1, "nonce");
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyRefereeNotAllowed.selector, address(referee)));
        collegium.createStudy(plan(), format(1000));
        // The same approvals do not work twice, nor after their deadline.
        cheats.expectRevert();
        collegium.allowReferee(address(referee), false, deadline, two);
        pass(1);
        cheats.expectRevert(abi.encodeWithSelector(IMembers.MembersDeadlinePassed.selector, deadline, time_()));
        collegium.allowReferee(address(referee), false, deadline, two);
    }

    function test_a_plan_that_cannot_hold_is_refused() public {
        Plan memory p = plan();
        p.minClients = 0;
        refused(p, 1);
        p = plan();
        p.minClients = p.maxMembers + 1;
        refused(p, 1);
        p = plan();
        p.maxMembers = 129;
        refused(p, 2);
        p = plan();
        p.quorumMin = p.maxMembers + 1;
        refused(p, 3);
        p = plan();
        p.maxWeight = 0;
        refused(p, 4);
        p = plan();
        p.dutyFine = p.aggregatorBond + 1;
        refused(p, 5);
        p = plan();
        p.contradictionFine = p.aggregatorBond;
        refused(p, 6);
        p = plan();
        (p.dutyFine, p.contradictionFine, p.aggregatorBond) = (0, 0, 0);
        refused(p, 6);
        p = plan();
        p.rule = 2;
        cheats.expectRevert(abi.encodeWithSelector(IReferee.PlanNotJudgeable.selector, 2));
        collegium.createStudy(p, format(1000));
        p = plan();
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyFormatMismatch.selector, p.formatId, formatId(format(999))));
        collegium.createStudy(p, format(999));
    }

    function refused(Plan memory p, uint256 reason) private {
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyPlanRejected.selector, reason));
        collegium.createStudy(p, format(1000));
    }

    function test_windows_below_the_minimum_are_refused() public {
        for (uint256 i; i < 6; ++i) {
            Plan memory p = plan();
            if (i == 0) p.commitWindow = 9;
            if (i == 1) p.revealWindow = 9;
            if (i == 2) p.certifyWindow = 9;
            if (i == 3) p.proposeWindow = 9;
            if (i == 4) p.challengeWindow = 9;
            if (i == 5) p.evidencePeriod = 9;
            cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyWindowTooShort.selector, uint32(9), uint32(10)));
            collegium.createStudy(p, format(1000));
        }
    }

    /// @dev A devnet: its minimum is zero, and a window of no duration would still never hold.
    function test_without_minimum_windows_a_window_lasts_a_second() public {
        address[] memory referees = new address[](1);
        referees[0] = address(referee);
        collegium = new Collegium(members, bonds, MinimumWindows(0, 0, 0, 0, 0, 0), referees);
        Plan memory p = plan();
        p.revealWindow = 0;
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.StudyWindowTooShort.selector, uint32(0), uint32(1)));
        collegium.createStudy(p, format(1000));
        p.revealWindow = 1;
        checkEq(collegium.createStudy(p, format(1000)), 1, "study");
    }

    function test_before_the_first_round_there_is_no_snapshot() public view {
        (address[] memory institutions, address[] memory keys, address[] memory order, uint8 quorum) = collegium.snapshotOf(study);
        check(institutions.length + keys.length + order.length + quorum == 0, "empty");
        checkEq(collegium.onDuty(study), address(0), "nobody on duty");
        checkPhase(Phase.None);
    }

    function test_unknown_studies_are_named() public {
        bytes memory unknown = abi.encodeWithSelector(ICollegium.StudyUnknown.selector, uint64(9));
        cheats.expectRevert(unknown);
        collegium.openRound(9);
        cheats.expectRevert(unknown);
        collegium.commitUpdates(9, new bytes(134));
        cheats.expectRevert(unknown);
        collegium.settle(9);
        cheats.expectRevert(unknown);
        collegium.leave(9);
        cheats.expectRevert(unknown);
        collegium.enlist(9);
        cheats.expectRevert(unknown);
        collegium.delist(9);
        cheats.expectRevert(unknown);
        collegium.phaseOf(9);
        Proposal memory none;
        cheats.expectRevert(unknown);
        collegium.finalize(9, none);
        expectWrongPhase(Phase.None, Phase.Commit);
        collegium.commitUpdates(study, new bytes(134));
        collegium.settle(study);
        checkPhase(Phase.None);
        checkEq(collegium.onDuty(study), address(0), "nobody yet");
    }

    // ---- joining

    function test_joining_tells_locks_and_seats() public {
        bring(7);
        Join memory m = joinMessage(7);
        bytes memory signature = signJoin(HOSPITAL + 7, m);
        cheats.expectEmit(address(collegium));
        emit ICollegium.MemberJoined(study, m.institution, 3, m.nodeKey, MAX_FINE, m.agreement, true);
        cheats.prank(stranger);
        collegium.join(m, signature);
        checkEq(lockOf(m.institution, Role.Member), MAX_FINE, "lock");
        (bool seated, uint16 index, uint128 maxFine) = collegium.seatOf(study, m.institution);
        check(seated && index == 3 && maxFine == MAX_FINE, "seat");
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinAlreadyMember.selector, m.institution, uint16(3)));
        collegium.join(m, signature);
    }

    function test_a_join_binds_plan_agreement_fine_key_nonce_deadline_and_signer() public {
        bring(7);
        Join memory m = joinMessage(7);
        bytes32 planHash = m.planHash;
        m.planHash = 0;
        rejected(m, abi.encodeWithSelector(ICollegium.JoinPlanMismatch.selector, planHash, bytes32(0)));
        m = joinMessage(7);
        m.agreement = 0;
        rejected(m, abi.encodeWithSelector(ICollegium.JoinAgreementMismatch.selector, keccak256("agreement"), bytes32(0)));
        m = joinMessage(7);
        m.openUpdates = false;
        rejected(m, abi.encodeWithSelector(ICollegium.JoinOpenUpdatesRequired.selector));
        m = joinMessage(7);
        m.maxFine = 10 ether - 1;
        rejected(m, abi.encodeWithSelector(ICollegium.JoinFineTooSmall.selector, m.maxFine, uint128(10 ether)));
        m = joinMessage(7);
        m.nodeKey = stranger;
        rejected(m, abi.encodeWithSelector(ICollegium.JoinNodeKeyMismatch.selector, cheats.addr(NODE + 7), stranger));
        m = joinMessage(7);
        m.nonce = 4;
        rejected(m, abi.encodeWithSelector(ICollegium.JoinBadNonce.selector, uint64(0), uint64(4)));
        m = joinMessage(7);
        m.deadline = uint40(time_() - 1);
        rejected(m, abi.encodeWithSelector(ICollegium.JoinDeadlinePassed.selector, m.deadline, time_()));
        m = joinMessage(7);
        bytes memory wrong = signJoin(HOSPITAL + 1, m);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinBadSignature.selector, m.institution));
        collegium.join(m, wrong);
        m = joinMessage(8);
        rejected(m, abi.encodeWithSelector(ICollegium.JoinNotAdmitted.selector, cheats.addr(HOSPITAL + 8)));
        m = joinMessage(7);
        m.maxFine = 10_000 ether;
        rejected(m, abi.encodeWithSelector(IBonds.BondsInsufficientStake.selector, m.institution, 1000 ether, 10_000 ether));
    }

    function rejected(Join memory m, bytes memory error) private {
        bytes memory signature = signJoin(HOSPITAL + 7, m);
        cheats.expectRevert(error);
        collegium.join(m, signature);
    }

    function test_a_full_study_takes_nobody() public {
        Plan memory p = plan();
        (p.maxMembers, p.minClients, p.quorumMin) = (2, 2, 2);
        study = collegium.createStudy(p, format(1000));
        joinStudy(0);
        joinStudy(1);
        Join memory m = joinMessage(2);
        bytes memory signature = signJoin(HOSPITAL + 2, m);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinStudyFull.selector, uint8(2)));
        collegium.join(m, signature);
    }

    function test_an_institution_may_be_a_contract() public {
        Clinic clinic = new Clinic(cheats.addr(77), bonds);
        uint40 deadline = uint40(time_() + 1);
        bytes32 typeHash = keccak256("Admit(address institution,bytes32 profile,string name,uint64 nonce,uint40 deadline)");
        members.admit(
            address(clinic),
            0,
            "clinic",
            deadline,
            approvals(keccak256(abi.encode(typeHash, address(clinic), bytes32(0), keccak256("clinic"), uint64(0), deadline)))
        );
        typeHash = keccak256("NodeKey(address institution,address nodeKey,uint64 nonce,uint40 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, address(clinic), cheats.addr(78), uint64(1), deadline));
        bytes32 digest = Signatures.toDigest(domainOf(address(members)), structHash);
        members.registerNodeKey(address(clinic), cheats.addr(78), deadline, compact(77, digest), compact(78, digest));
        fund(address(clinic), 100 ether);
        Join memory m = joinMessage(0);
        (m.institution, m.nodeKey, m.nonce) = (address(clinic), cheats.addr(78), 0);
        bytes memory wrong = signJoin(79, m);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinBadSignature.selector, address(clinic)));
        collegium.join(m, wrong);
        collegium.join(m, signJoin(77, m));
    }

    function bring(uint256 i) private {
        admit(HOSPITAL + i);
        setNodeKey(HOSPITAL + i, NODE + i);
        fund(cheats.addr(HOSPITAL + i), 1000 ether);
    }

    // ---- leaving, enlisting

    function test_leaving_frees_the_lock_after_the_longest_round_and_the_evidence_period() public {
        open();
        address institution = cheats.addr(HOSPITAL + 2);
        // commit, reveal, certify; three times propose and challenge; evidence
        uint40 releasableAt = uint40(time_() + 3 * WINDOW + 6 * WINDOW + 10 * WINDOW);
        cheats.expectEmit(address(collegium));
        emit ICollegium.MemberLeft(study, institution, 2, releasableAt);
        cheats.prank(institution);
        collegium.leave(study);
        (, uint40 at) = bonds.lockOf(study, institution, Role.Member);
        checkEq(at, releasableAt, "releasable");
        // Still in the round it was invited to, no longer in the next.
        commit(0x7);
        reveal(0x7);
        pass(WINDOW);
        open();
        (,,,,, uint128 invited,,,,,) = collegium.roundOf(study);
        checkEq(invited, 3, "invited");
        (address[] memory institutions, address[] memory keys,,) = collegium.snapshotOf(study);
        check(institutions.length == 3 && institutions[2] == address(0) && keys[2] == address(0), "an empty seat");

        bytes memory unknown = abi.encodeWithSelector(ICollegium.MemberUnknown.selector, study, institution);
        cheats.expectRevert(unknown);
        cheats.prank(institution);
        collegium.leave(study);
        unknown = abi.encodeWithSelector(ICollegium.MemberUnknown.selector, study, stranger);
        cheats.expectRevert(unknown);
        cheats.prank(stranger);
        collegium.leave(study);
        // A seat is for ever: who left does not come back to this study.
        Join memory m = joinMessage(2);
        bytes memory signature = signJoin(HOSPITAL + 2, m);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinAlreadyMember.selector, institution, uint16(2)));
        collegium.join(m, signature);
        pass(30 * WINDOW);
        bonds.release(study, institution, Role.Member);
    }

    function test_enlisting_and_delisting() public {
        address institution = cheats.addr(COORDINATOR + 1);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AggregatorAlreadyEnlisted.selector, institution));
        cheats.prank(institution);
        collegium.enlist(study);
        cheats.expectEmit(address(collegium));
        emit ICollegium.AggregatorDelisted(study, institution, uint40(time_() + 19 * WINDOW));
        cheats.prank(institution);
        collegium.delist(study);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AggregatorUnknown.selector, study, institution));
        cheats.prank(institution);
        collegium.delist(study);
        cheats.expectEmit(address(collegium));
        emit ICollegium.AggregatorEnlisted(study, institution, cheats.addr(COORDINATOR_NODE + 1));
        cheats.prank(institution);
        collegium.enlist(study);
        (uint128 amount, uint40 at) = bonds.lockOf(study, institution, Role.Aggregator);
        check(amount == 100 ether && at == 0, "bond locked again");

        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinNotAdmitted.selector, stranger));
        cheats.prank(stranger);
        collegium.enlist(study);
        admit(0x9001);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.JoinNodeKeyMismatch.selector, address(0), address(0)));
        cheats.prank(cheats.addr(0x9001));
        collegium.enlist(study);
    }

    function test_an_order_holds_sixteen() public {
        for (uint256 j = 2; j < 17; ++j) {
            admit(COORDINATOR + j);
            setNodeKey(COORDINATOR + j, COORDINATOR_NODE + j);
            fund(cheats.addr(COORDINATOR + j), 100 ether);
            if (j == 16) cheats.expectRevert(abi.encodeWithSelector(ICollegium.AggregatorOrderFull.selector, 16));
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.enlist(study);
        }
        open();
        (,, address[] memory order,) = collegium.snapshotOf(study);
        checkEq(order.length, 16, "order");
        for (uint256 j; j < 16; ++j) checkEq(order[j], cheats.addr(COORDINATOR_NODE + j), "in order of enlisting");
    }

    // ---- opening

    function test_opening_tells_the_snapshot_and_the_round() public {
        (,, bytes32 planHash,,,) = collegium.studyOf(study);
        address[] memory institutions = new address[](3);
        address[] memory keys = new address[](3);
        address[] memory order = new address[](2);
        bytes memory words = abi.encode(keccak256("collegium/1/roster"));
        for (uint256 i; i < 3; ++i) {
            (institutions[i], keys[i]) = (cheats.addr(HOSPITAL + i), cheats.addr(NODE + i));
            words = bytes.concat(words, abi.encode(uint256(1), institutions[i], keys[i]));
        }
        for (uint256 j; j < 2; ++j) order[j] = cheats.addr(COORDINATOR_NODE + j);
        bytes32 snapshot = keccak256(words);
        bytes32 cohort = keccak256(abi.encode(keccak256("collegium/1/cohort"), snapshot, uint256(7), bytes32(0)));
        bytes32 parent = keccak256(abi.encode(keccak256("collegium/1/record"), bytes32(0), planHash, bytes32(0)));
        bytes32 model = plan().genesisModelRoot;
        bytes32 ctx = keccak256(
            abi.encode(
                keccak256("collegium/1/ctx"), block.chainid, address(collegium), study, planHash, 1, parent, model, bytes32(0), cohort, bytes32(0)
            )
        );
        cheats.expectEmit(address(collegium));
        emit ICollegium.RosterSnapshotted(study, 1, snapshot, institutions, keys, order);
        cheats.expectEmit(address(collegium));
        string memory cid = cidOf(plan().genesisModelDigest);
        emit ICollegium.RoundOpened(study, 1, address(this), ctx, 7, 2, model, 0, parent, cohort, cid);
        collegium.openRound(study);
    }

    function test_a_snapshot_is_taken_anew_only_when_something_changed() public {
        open();
        pass(WINDOW);
        cheats.recordLogs();
        open();
        checkEq(snapshots(), 0, "nothing changed");
        pass(WINDOW);
        cheats.prank(cheats.addr(COORDINATOR_NODE + 1));
        members.revokeNodeKey(cheats.addr(COORDINATOR_NODE + 1));
        open();
        checkEq(snapshots(), 1, "a key was revoked");
        pass(WINDOW);
        cheats.prank(cheats.addr(HOSPITAL));
        collegium.leave(study);
        open();
        checkEq(snapshots(), 1, "a member left");
        (,, address[] memory order,) = collegium.snapshotOf(study);
        checkEq(order.length, 1, "without the revoked");
    }

    function snapshots() private returns (uint256 count) {
        Cheats.Log[] memory logs = cheats.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) if (logs[i].topics[0] == ICollegium.RosterSnapshotted.selector) ++count;
        cheats.recordLogs();
    }

    function test_who_may_open() public {
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundOpenerNotAllowed.selector, stranger));
        cheats.prank(stranger);
        collegium.openRound(study);
        // sponsor, member by either key, aggregator by either key
        address[5] memory openers =
            [address(this), cheats.addr(HOSPITAL), cheats.addr(NODE + 1), cheats.addr(COORDINATOR), cheats.addr(COORDINATOR_NODE + 1)];
        for (uint256 i; i < 5; ++i) {
            cheats.prank(openers[i]);
            collegium.openRound(study);
            pass(WINDOW);
        }
        cheats.prank(cheats.addr(NODE));
        members.revokeNodeKey(cheats.addr(NODE));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundOpenerNotAllowed.selector, cheats.addr(NODE)));
        cheats.prank(cheats.addr(NODE));
        collegium.openRound(study);
        cheats.prank(cheats.addr(COORDINATOR));
        collegium.openRound(study);
        expectWrongPhase(Phase.Commit, Phase.Final);
        collegium.openRound(study);
    }

    function test_opening_needs_the_clients_of_the_plan() public {
        Plan memory p = plan();
        p.minClients = 4;
        study = collegium.createStudy(p, format(1000));
        for (uint256 i; i < 3; ++i) joinStudy(i);
        cheats.prank(cheats.addr(COORDINATOR));
        collegium.enlist(study);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundTooFewInvited.selector, 3, 4));
        collegium.openRound(study);
    }

    function test_opening_needs_members_invited_and_an_aggregator() public {
        suspend(cheats.addr(HOSPITAL), true);
        suspend(cheats.addr(HOSPITAL + 1), true);
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundTooFewMembers.selector, 1, 2));
        collegium.openRound(study);
        suspend(cheats.addr(HOSPITAL), false);
        suspend(cheats.addr(HOSPITAL + 1), false);
        for (uint256 j; j < 2; ++j) {
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.delist(study);
        }
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundNoAggregator.selector, study));
        collegium.openRound(study);
    }

    // ---- deployment

    function test_refutations_are_named_once_by_the_deployer() public {
        cheats.expectRevert(abi.encodeWithSelector(Collegium.CollegiumAlreadyConnected.selector, address(refutations)));
        collegium.connect(stranger);
        cheats.expectRevert(abi.encodeWithSelector(Collegium.CollegiumOnlyDeployer.selector, stranger));
        cheats.prank(stranger);
        collegium.connect(stranger);
        checkEq(collegium.refutations(), address(refutations), "refutations");
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.CollegiumOnlyMembers.selector, stranger));
        cheats.prank(stranger);
        collegium.onMembersRevised(9);
    }

    function test_the_domain_follows_the_chain() public {
        checkEq(collegium.domainSeparator(), domainOf(address(collegium)), "domain");
        cheats.chainId(5);
        checkEq(collegium.domainSeparator(), domainOf(address(collegium)), "domain of a fork");
    }

    function test_code_fits() public view {
        check(address(collegium).code.length <= 24_576, "Collegium");
    }
}
