// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase, Proposal, Role, StudyStatus} from "../../contracts/interfaces/Types.sol";
import {cheats} from "./support/Cheats.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";

/// @notice Everything a federation of four hospitals and three coordinators may do, in any order and at any time.
contract RoundHandler is CollegiumWorld {
    Proposal private proposed;
    mapping(uint256 round => bytes32) public firstRecord;
    mapping(uint256 round => mapping(uint256 index => bytes32)) private firstSlot;
    uint256 public lastRound;
    uint256 public lastRank;
    uint256 public finals;
    uint256 public aborts;
    string public broken;
    /// @dev One more than the round in which hospital 3 was removed.
    uint256 private removedIn;
    bool private wasClosed;
    uint40 private lastTerm;

    constructor() {
        found(4, 3);
    }

    modifier watched() {
        (uint256 round, bool may) = (lastRound, mayOpen());
        _;
        watch();
        if (lastRound > round && !may) broken = "a round opened in a study that was not open";
    }

    /// @dev What the sponsor said last, and the time.
    function mayOpen() private view returns (bool) {
        (, StudyStatus status, uint40 openUntil) = collegium.governanceOf(study);
        if (wasClosed && status != StudyStatus.Closed) return false;
        return status == StudyStatus.Open && (openUntil == 0 || time_() < openUntil);
    }

    /// @dev Ghost state: what was seen must never be seen otherwise.
    function watch() private {
        (uint32 round, Phase phase, uint8 attempt,,,,,,,,) = collegium.roundOf(study);
        uint256 rank = rankOf(phase, attempt);
        if (round < lastRound) broken = "a round number went back";
        if (round == lastRound && rank < lastRank) broken = "a phase went back";
        if (round > lastRound && lastRound != 0 && lastRank < rankOf(Phase.Final, 0)) {
            // One call may conclude a round and open the next.
            (bytes32 last,) = collegium.recordOf(study, uint32(lastRound));
            if (last == 0 || round != lastRound + 1) broken = "a round opened before the last one ended";
        }
        (lastRound, lastRank) = (round, rank);
        (, StudyStatus status, uint40 openUntil) = collegium.governanceOf(study);
        if (wasClosed && status != StudyStatus.Closed) broken = "a closed study is open again";
        if (openUntil < lastTerm) broken = "a term was cut";
        (wasClosed, lastTerm) = (status == StudyStatus.Closed, openUntil);
        if (removedIn != 0 && round >= removedIn) {
            (address[] memory institutions,,,) = collegium.snapshotOf(study);
            if (institutions[3] != address(0)) broken = "a removed member is in a later snapshot";
        }
        for (uint256 r = 1; r <= round; ++r) {
            (bytes32 record,) = collegium.recordOf(study, uint32(r));
            if (firstRecord[r] == 0) {
                if (record != 0) (firstRecord[r], finals) = (record, finals + 1);
            } else if (record != firstRecord[r]) {
                broken = "a record changed";
            }
        }
        for (uint16 i; i < 4; ++i) {
            (bytes32 slot, bool committed,,) = collegium.updateOf(study, i);
            if (!committed) continue;
            if (firstSlot[round][i] == 0) firstSlot[round][i] = slot;
            else if (firstSlot[round][i] != slot) broken = "a member has two items in a round";
        }
    }

    /// @dev Propose and Challenge of a later attempt come after those of an earlier one.
    function rankOf(Phase phase, uint256 attempt) private pure returns (uint256) {
        if (phase >= Phase.Final) return 100;
        if (phase < Phase.Propose) return uint256(phase);
        return 10 + 2 * attempt + (phase == Phase.Challenge ? 1 : 0);
    }

    function wait(uint256 time) external watched {
        pass(time % (WINDOW * 3 / 2));
    }

    function waitFor(uint256 windows) external watched {
        pass(WINDOW * (windows % 3));
    }

    function openRound(uint256 who) external watched {
        cheats.prank(cheats.addr(who % 2 == 0 ? NODE + who % 4 : COORDINATOR_NODE + who % 3));
        collegium.openRound(study);
    }

    function commitSome(uint256 set) external watched {
        collegium.commitUpdates(study, commitItems(set & 0xf));
    }

    function commitTwice(uint256 i, uint32 weight) external watched {
        (uint32 round, bytes32 ctx) = live();
        i %= 4;
        bytes memory one = commitItem(NODE + i, i, weight % 1000, commitmentOf(round, ctx, i));
        collegium.commitUpdates(study, bytes.concat(one, commitItem(NODE + i, i)));
    }

    function revealSome(uint256 set) external watched {
        collegium.revealUpdates(study, revealItems(set & 0xf));
    }

    function certifySome(uint256 signers, uint256 set) external watched {
        collegium.certify(study, attestItems(signers & 0xf, set & 0xf));
    }

    function proposeSome(uint256 who) external watched {
        proposed = who % 4 == 0 ? proposeAs(cheats.addr(COORDINATOR_NODE + who % 3)) : proposeOnDuty();
    }

    function endorseSome(uint256 set) external watched {
        collegium.endorse(study, endorseItems(set & 0xf));
    }

    function finalize() external watched {
        cheats.prank(stranger);
        collegium.finalize(study, proposed);
    }

    function conclude(uint256 set, bool openNext) external watched {
        bytes memory items = endorseItems(set & 0xf);
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, items, proposed, openNext);
    }

    /// @dev The usual way through a round up to some point, so that later phases are reached often.
    function play(uint256 steps, uint256 missing) external watched {
        steps %= 7;
        uint256 some = 0xf & ~(1 << (missing % 8));
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.openRound(study);
        if (steps == 0) return;
        commit(0xf);
        if (steps == 1) return;
        reveal(some);
        if (some != 0xf) pass(WINDOW);
        if (steps == 2) return;
        certifySet(some);
        if (steps == 3) return;
        proposed = proposeOnDuty();
        if (steps == 4) return;
        collegium.endorse(study, endorseItems(some));
        if (some != 0xf) pass(WINDOW);
        if (steps == 5) return;
        collegium.finalize(study, proposed);
    }

    function settle() external watched {
        cheats.prank(stranger);
        collegium.settle(study);
    }

    function refute() external watched {
        (,,,,,,,,,, bytes32 hash) = collegium.roundOf(study);
        cheats.prank(address(refutations));
        collegium.markRefuted(study, hash);
    }

    function topUp(uint256 i) external watched {
        i %= 4;
        uint256 room = MAX_FINE - lockOf(cheats.addr(HOSPITAL + i), Role.Member);
        cheats.prank(cheats.addr(HOSPITAL + i));
        bonds.topUp(study, room);
    }

    function rebond(uint256 j) external watched {
        address institution = cheats.addr(COORDINATOR + j % 3);
        cheats.prank(institution);
        collegium.delist(study);
        cheats.prank(institution);
        collegium.enlist(study);
    }

    /// @dev Closing ends a run, so it is rare.
    function govern(uint256 what) external watched {
        (, StudyStatus status,) = collegium.governanceOf(study);
        StudyStatus wanted = what % 3 == 0 && status == StudyStatus.Open ? StudyStatus.Paused : StudyStatus.Open;
        if (what % 32 == 1) wanted = StudyStatus.Closed;
        if (what % 8 == 2) cheats.prank(stranger);
        collegium.setStudyStatus(study, wanted);
    }

    /// @dev Mostly resumed, so that most of a run is not spent paused.
    function resume() external watched {
        collegium.setStudyStatus(study, StudyStatus.Open);
    }

    function extend(uint256 time) external watched {
        collegium.extendStudy(study, uint40(time_() + time % (100 * WINDOW)));
    }

    /// @dev Hospital 3, by the council; the others stay above the quorum.
    function remove(uint256 approved) external watched {
        address institution = cheats.addr(HOSPITAL + 3);
        uint40 deadline = uint40(time_() + 1);
        bytes32 typeHash = keccak256("RemoveMember(uint64 studyId,address institution,uint40 deadline)");
        bytes memory two = approvals(keccak256(abi.encode(typeHash, study, institution, deadline)));
        if (approved % 4 != 0) two = "";
        collegium.removeMember(study, institution, deadline, two);
        if (two.length == 0) broken = "a member was removed without the council";
        removedIn = lastRound + 1;
    }

    /// @dev Time and one call of a stranger; run by the invariant, which keeps nothing of it.
    function end() external returns (Phase phase) {
        (phase,,) = collegium.phaseOf(study);
        if (phase == Phase.None) return Phase.Aborted;
        pass(20 * WINDOW);
        (phase,,) = collegium.phaseOf(study);
        cheats.prank(stranger);
        if (phase == Phase.Final && firstRecord[lastRound] == 0) collegium.finalize(study, proposed);
        else collegium.settle(study);
        (phase,,) = collegium.phaseOf(study);
    }

    /// @dev After the end every lock comes out: nothing of a round holds honest money back.
    function leaveAndRelease(uint256 i) external returns (uint256 left) {
        address institution = cheats.addr(HOSPITAL + i);
        cheats.prank(institution);
        collegium.leave(study);
        pass(100 * WINDOW);
        bonds.release(study, institution, Role.Member);
        return lockOf(institution, Role.Member);
    }
}

contract CollegiumInvariantTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    RoundHandler private handler;

    error Broken(string what);

    function setUp() public {
        handler = new RoundHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[23] memory selectors = [
            RoundHandler.wait.selector,
            RoundHandler.waitFor.selector,
            RoundHandler.openRound.selector,
            RoundHandler.commitSome.selector,
            RoundHandler.commitTwice.selector,
            RoundHandler.revealSome.selector,
            RoundHandler.certifySome.selector,
            RoundHandler.proposeSome.selector,
            RoundHandler.endorseSome.selector,
            RoundHandler.finalize.selector,
            RoundHandler.conclude.selector,
            RoundHandler.settle.selector,
            RoundHandler.refute.selector,
            RoundHandler.topUp.selector,
            RoundHandler.rebond.selector,
            RoundHandler.govern.selector,
            RoundHandler.resume.selector,
            RoundHandler.extend.selector,
            RoundHandler.remove.selector,
            RoundHandler.play.selector,
            RoundHandler.play.selector,
            RoundHandler.play.selector,
            RoundHandler.play.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = new bytes4[](23);
        for (uint256 i; i < 23; ++i) targets[0].selectors[i] = selectors[i];
    }

    /// @notice Phases only move forward, a member has one item per round, records never change, rounds end before the next opens;
    ///         none opens in a paused, closed or expired study, and only the council removes.
    function invariant_nothing_seen_is_ever_seen_otherwise() public view {
        string memory broken = handler.broken();
        if (bytes(broken).length != 0) revert Broken(broken);
    }

    /// @notice From every reachable state time and one call of a stranger end the round, and an honest member gets its lock back.
    function invariant_time_and_a_stranger_end_every_round() public {
        if (handler.end() < Phase.Final) revert Broken("a round that does not end");
        if (handler.leaveAndRelease(0) != 0) revert Broken("a lock that does not come out");
    }
}
