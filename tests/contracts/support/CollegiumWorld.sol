// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bonds} from "../../../contracts/Bonds.sol";
import {Collegium} from "../../../contracts/Collegium.sol";
import {CollegiumToken} from "../../../contracts/CollegiumToken.sol";
import {Members} from "../../../contracts/Members.sol";
import {Referee} from "../../../contracts/Referee.sol";
import {Refutations} from "../../../contracts/Refutations.sol";
import {MinimumWindows} from "../../../contracts/core/CollegiumState.sol";
import {ICollegium} from "../../../contracts/interfaces/ICollegium.sol";
import {Format, Join, Outcome, Phase, Plan, Proposal, Role, Section} from "../../../contracts/interfaces/Types.sol";
import {Cid} from "../../../contracts/libraries/Cid.sol";
import {Signatures} from "../../../contracts/libraries/Signatures.sol";
import {cheats} from "./Cheats.sol";

/// @notice A deployment of the real contracts with institutions, node keys, aggregators and one study.
/// @dev Actors act: `hospital i` has institution key 0x1000+i and node key 0x2000+i; `coordinator j` 0x3000+j and 0x4000+j.
abstract contract CollegiumWorld {
    uint256 internal constant HOSPITAL = 0x1000;
    uint256 internal constant NODE = 0x2000;
    uint256 internal constant COORDINATOR = 0x3000;
    uint256 internal constant COORDINATOR_NODE = 0x4000;
    uint256 internal constant COUNCIL = 0x5000;
    uint128 internal constant MAX_FINE = 20 ether;
    uint32 internal constant WINDOW = 100;

    CollegiumToken internal token;
    Members internal members;
    Bonds internal bonds;
    Referee internal referee;
    Collegium internal collegium;
    Refutations internal refutations;
    uint64 internal study;
    uint256 internal hospitals;
    address internal stranger = address(0xbeef);

    error CheckFailed(string what, uint256 actual, uint256 expected);

    // ---- deployment

    function deploy() internal {
        cheats.warp(1_700_000_000);
        token = new CollegiumToken("Collegium", "CLG", address(this), 1e9 ether);
        address[] memory council = new address[](3);
        for (uint256 i; i < 3; ++i) council[i] = cheats.addr(COUNCIL + i);
        members = new Members(council, 2);
        bonds = new Bonds(address(token), 1 days, 1 hours);
        referee = new Referee();
        address[] memory referees = new address[](1);
        referees[0] = address(referee);
        collegium = new Collegium(members, bonds, minimumWindows(), referees);
        refutations = new Refutations(address(collegium), address(bonds), address(members));
        collegium.connect(address(refutations));
        bonds.connect(address(collegium), address(refutations));
        members.connect(address(collegium));
        token.approve(address(bonds), type(uint256).max);
    }

    function minimumWindows() internal pure virtual returns (MinimumWindows memory) {
        return MinimumWindows(10, 10, 10, 10, 10, 10);
    }

    function approvals(bytes32 structHash) internal view returns (bytes memory packed) {
        bytes32 digest = Signatures.toDigest(domainOf(address(members)), structHash);
        (uint256 a, uint256 b) = (COUNCIL, COUNCIL + 1);
        if (cheats.addr(a) > cheats.addr(b)) (a, b) = (b, a);
        return bytes.concat(compact(a, digest), compact(b, digest));
    }

    function domainOf(address verifier) internal view returns (bytes32) {
        return keccak256(abi.encode(Signatures.DOMAIN, keccak256("Collegium"), keccak256("1"), block.chainid, verifier));
    }

    function compact(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(key, digest);
        return abi.encodePacked(r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    function admit(uint256 institutionKey) internal {
        address institution = cheats.addr(institutionKey);
        uint40 deadline = uint40(time_() + 1 hours);
        bytes32 typeHash = keccak256("Admit(address institution,bytes32 profile,string name,uint64 nonce,uint40 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, institution, bytes32(0), keccak256("h"), members.nonceOf(institution), deadline));
        members.admit(institution, 0, "h", deadline, approvals(structHash));
    }

    function suspend(address institution, bool suspended) internal {
        uint40 deadline = uint40(time_() + 1 hours);
        bytes32 typeHash = keccak256("Suspend(address institution,bool suspended,uint64 nonce,uint40 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, institution, suspended, members.nonceOf(institution), deadline));
        members.suspend(institution, suspended, deadline, approvals(structHash));
    }

    function setNodeKey(uint256 institutionKey, uint256 nodeKey) internal {
        address institution = cheats.addr(institutionKey);
        uint40 deadline = uint40(time_() + 1 hours);
        bytes32 typeHash = keccak256("NodeKey(address institution,address nodeKey,uint64 nonce,uint40 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, institution, cheats.addr(nodeKey), members.nonceOf(institution), deadline));
        bytes32 digest = Signatures.toDigest(domainOf(address(members)), structHash);
        cheats.prank(institution);
        members.registerNodeKey(institution, cheats.addr(nodeKey), deadline, "", compact(nodeKey, digest));
    }

    function fund(address institution, uint256 amount) internal {
        bonds.depositFor(institution, amount);
    }

    function format(uint64 count) internal pure returns (Format memory f) {
        f.sections = new Section[](1);
        f.sections[0] = Section(count, 0, 1, 16, 1 << 20, true);
        f.tableHash = keccak256("table");
    }

    function formatId(Format memory f) internal pure returns (bytes32) {
        Section memory s = f.sections[0];
        bytes32 sections = keccak256(abi.encode(s.count, s.firstChunk, s.elementType, s.exponent, s.bound, s.weighted));
        return keccak256(abi.encode(keccak256("collegium/1/format"), sections, f.tableHash));
    }

    function plan() internal view returns (Plan memory p) {
        p.mode = 1;
        p.rule = 1;
        p.optimizer = 1;
        p.rateNumerator = 1;
        p.rateDenominator = 1;
        p.formatId = formatId(format(1000));
        p.genesisModelRoot = keccak256("genesis");
        p.genesisModelDigest = keccak256("genesis blob");
        p.taskDigest = keccak256("task");
        p.referee = address(referee);
        p.minClients = 2;
        p.maxMembers = 32;
        p.quorumMin = 2;
        p.maxWeight = 1 << 16;
        p.commitWindow = WINDOW;
        p.revealWindow = WINDOW;
        p.certifyWindow = WINDOW;
        p.proposeWindow = WINDOW;
        p.challengeWindow = WINDOW;
        p.evidencePeriod = 10 * WINDOW;
        p.aggregatorBond = 100 ether;
        p.unrevealedFine = 1 ether;
        p.rangeFine = 5 ether;
        p.equivocationFine = 10 ether;
        p.dutyFine = 2 ether;
        p.contradictionFine = 50 ether;
        p.agreement = keccak256("agreement");
        p.planDigest = keccak256("plan document");
    }

    /// @dev `n` hospitals in one study, `m` coordinators in its order.
    function found(uint256 n, uint256 m) internal {
        deploy();
        study = collegium.createStudy(plan(), format(1000));
        for (uint256 i; i < n; ++i) {
            admit(HOSPITAL + i);
            setNodeKey(HOSPITAL + i, NODE + i);
            fund(cheats.addr(HOSPITAL + i), 1000 ether);
            joinStudy(i);
        }
        for (uint256 j; j < m; ++j) {
            admit(COORDINATOR + j);
            setNodeKey(COORDINATOR + j, COORDINATOR_NODE + j);
            fund(cheats.addr(COORDINATOR + j), 1000 ether);
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.enlist(study);
        }
        hospitals = n;
    }

    function joinMessage(uint256 i) internal view returns (Join memory) {
        (,, bytes32 planHash,,,) = collegium.studyOf(study);
        address institution = cheats.addr(HOSPITAL + i);
        return Join(
            study,
            planHash,
            institution,
            cheats.addr(NODE + i),
            MAX_FINE,
            keccak256("agreement"),
            true,
            collegium.nonceOf(institution),
            uint40(time_() + 1 hours)
        );
    }

    function signJoin(uint256 key, Join memory message) internal view returns (bytes memory) {
        return compact(key, Signatures.toDigest(collegium.domainSeparator(), keccak256(abi.encode(Signatures.JOIN, message))));
    }

    function joinStudy(uint256 i) internal {
        Join memory message = joinMessage(i);
        collegium.join(message, signJoin(HOSPITAL + i, message));
    }

    // ---- one round

    function open() internal returns (uint32 round) {
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        return collegium.openRound(study);
    }

    function live() internal view returns (uint32 round, bytes32 ctx) {
        (round,, ctx,,,,) = collegium.liveOf(study);
    }

    function all() internal view returns (uint256) {
        return (1 << hospitals) - 1;
    }

    function saltOf(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", round, i));
    }

    function rootOf(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("root", round, i));
    }

    function digestOf(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("blob", round, i));
    }

    function weightOf(uint256 i) internal pure returns (uint32) {
        return uint32(100 + i);
    }

    function extOf(uint32 round) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("collegium/1/ext"), uint256(3), uint256(round), uint256(20), bytes32(0)));
    }

    function commitmentOf(uint32 round, bytes32 ctx, uint256 i) internal pure returns (bytes32) {
        bytes32 seal = keccak256(abi.encode(keccak256("collegium/1/seal"), saltOf(round, i), digestOf(round, i)));
        return keccak256(abi.encode(keccak256("collegium/1/update"), ctx, i, rootOf(round, i), seal));
    }

    function slotOf(uint32 round, bytes32 ctx, uint256 i) internal pure returns (bytes32) {
        bytes32 item = keccak256(abi.encode(keccak256("collegium/1/item"), commitmentOf(round, ctx, i), weightOf(i), extOf(round)));
        return bytes32(uint256(item) >> 32 << 32 | weightOf(i));
    }

    function setHashOf(uint32 round, bytes32 ctx, uint256 set) internal pure returns (bytes32) {
        bytes memory words = abi.encode(keccak256("collegium/1/set"));
        for (uint256 i; i < 128; ++i) if ((set >> i) & 1 != 0) words = bytes.concat(words, slotOf(round, ctx, i));
        return keccak256(words);
    }

    function commitItem(uint256 key, uint256 i) internal view returns (bytes memory) {
        (uint32 round, bytes32 ctx) = live();
        return commitItem(key, i, weightOf(i), commitmentOf(round, ctx, i));
    }

    function commitItem(uint256 key, uint256 i, uint32 weight, bytes32 commitment) internal view returns (bytes memory) {
        (uint32 round, bytes32 ctx) = live();
        bytes32 structHash = keccak256(abi.encode(Signatures.UPDATE, study, round, ctx, i, commitment, weight, extOf(round)));
        bytes memory signature = compact(key, Signatures.toDigest(collegium.domainSeparator(), structHash));
        return abi.encodePacked(uint16(i), commitment, weight, extOf(round), signature);
    }

    function commitItems(uint256 set) internal view returns (bytes memory items) {
        for (uint256 i; i < 128; ++i) if ((set >> i) & 1 != 0) items = bytes.concat(items, commitItem(NODE + i, i));
    }

    function revealItems(uint256 set) internal view returns (bytes memory items) {
        (uint32 round,) = live();
        for (uint256 i; i < 128; ++i) {
            if ((set >> i) & 1 == 0) continue;
            items = abi.encodePacked(items, uint16(i), saltOf(round, i), rootOf(round, i), digestOf(round, i), weightOf(i));
            items = abi.encodePacked(items, uint16(3), round, uint32(20), bytes32(0));
        }
    }

    function attestItem(uint256 key, uint256 i, uint256 bitmap) internal view returns (bytes memory) {
        (uint32 round, bytes32 ctx) = live();
        (,,,,,,, uint128 revealed,,,) = collegium.roundOf(study);
        bytes32 structHash = keccak256(abi.encode(Signatures.ATTEST, study, round, ctx, bitmap, setHashOf(round, ctx, revealed)));
        return abi.encodePacked(uint8(i), uint128(bitmap), compact(key, Signatures.toDigest(collegium.domainSeparator(), structHash)));
    }

    function attestItems(uint256 signers, uint256 bitmap) internal view returns (bytes memory items) {
        for (uint256 i; i < 128; ++i) if ((signers >> i) & 1 != 0) items = bytes.concat(items, attestItem(NODE + i, i, bitmap));
    }

    function endorseItem(uint256 key, uint256 i) internal view returns (bytes memory) {
        (uint32 round, bytes32 ctx) = live();
        (,,,,,,,,,, bytes32 proposal) = collegium.roundOf(study);
        bytes32 structHash = keccak256(abi.encode(Signatures.ENDORSE, study, round, ctx, proposal));
        return abi.encodePacked(uint8(i), compact(key, Signatures.toDigest(collegium.domainSeparator(), structHash)));
    }

    function endorseItems(uint256 set) internal view returns (bytes memory items) {
        for (uint256 i; i < 128; ++i) if ((set >> i) & 1 != 0) items = bytes.concat(items, endorseItem(NODE + i, i));
    }

    function commit(uint256 set) internal {
        collegium.commitUpdates(study, commitItems(set));
    }

    function reveal(uint256 set) internal {
        collegium.revealUpdates(study, revealItems(set));
    }

    function certifySet(uint256 set) internal {
        collegium.certify(study, attestItems(all(), set));
    }

    function proposeOnDuty() internal returns (Proposal memory) {
        return proposeAs(collegium.onDuty(study));
    }

    function proposeAs(address aggregator) internal returns (Proposal memory p) {
        (uint32 round,) = live();
        cheats.prank(aggregator);
        collegium.propose(
            study,
            keccak256(abi.encode("mean", round)),
            keccak256(abi.encode("model", round)),
            keccak256(abi.encode("model blob", round)),
            keccak256(abi.encode("mean blob", round))
        );
        return expectedProposal(aggregator);
    }

    /// @dev What the chain must have computed for the proposal just made.
    function expectedProposal(address aggregator) internal view returns (Proposal memory p) {
        (uint32 round, bytes32 ctx) = live();
        (, Phase phase, uint8 attempt,,,,,, uint128 certified,,) = collegium.roundOf(study);
        phase;
        p.ctx = ctx;
        p.aggregator = aggregator;
        p.attempt = attempt;
        p.included = certified;
        p.setHash = setHashOf(round, ctx, certified);
        for (uint256 i; i < 128; ++i) if ((certified >> i) & 1 != 0) p.weightSum += weightOf(i);
        p.meanRoot = keccak256(abi.encode("mean", round));
        p.newModelRoot = keccak256(abi.encode("model", round));
        p.modelDigest = keccak256(abi.encode("model blob", round));
        p.meanDigest = keccak256(abi.encode("mean blob", round));
    }

    function hashProposal(Proposal memory p) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("collegium/1/proposal"), p));
    }

    function hashOutcome(Outcome memory o) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                keccak256("collegium/1/outcome"),
                uint256(o.committed),
                uint256(o.revealed),
                uint256(o.included),
                o.failedProposals,
                uint256(o.failedDuties),
                uint256(o.finalizedAt)
            )
        );
    }

    /// @dev Text of the CID of a blob of this study, which is one raw block.
    function cidOf(bytes32 digest) internal pure returns (string memory) {
        return Cid.toText(digest, false);
    }

    /// @dev A whole unanimous round; the next one is not opened.
    function wholeRound() internal returns (Proposal memory p) {
        open();
        commit(all());
        reveal(all());
        certifySet(all());
        p = proposeOnDuty();
        collegium.conclude(study, endorseItems(all()), p, false);
    }

    /// @dev The optimizer takes block.timestamp for a constant of the call, so it is asked for.
    function pass(uint256 time) internal {
        cheats.warp(time_() + time);
    }

    function time_() internal view returns (uint256) {
        return cheats.getBlockTimestamp();
    }

    // ---- checks

    function checkPhase(Phase expected) internal view {
        (Phase actual,,) = collegium.phaseOf(study);
        checkEq(uint256(actual), uint256(expected), "phase");
    }

    function checkEq(uint256 actual, uint256 expected, string memory what) internal pure {
        if (actual != expected) revert CheckFailed(what, actual, expected);
    }

    function checkEq(bytes32 actual, bytes32 expected, string memory what) internal pure {
        checkEq(uint256(actual), uint256(expected), what);
    }

    function checkEq(address actual, address expected, string memory what) internal pure {
        checkEq(uint160(actual), uint160(expected), what);
    }

    function check(bool condition, string memory what) internal pure {
        if (!condition) revert CheckFailed(what, 0, 1);
    }

    function lockOf(address institution, Role role) internal view returns (uint256 amount) {
        (amount,) = bonds.lockOf(study, institution, role);
    }

    function expectWrongPhase(Phase actual, Phase expected) internal {
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.RoundWrongPhase.selector, study, actual, expected));
    }
}
