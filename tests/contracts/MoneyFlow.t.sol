// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IBonds} from "../../contracts/interfaces/IBonds.sol";
import {Kind, Phase, Proposal, Role} from "../../contracts/interfaces/Types.sol";
import {cheats} from "./support/Cheats.sol";
import {VM} from "./support/Judging.sol";
import {JudgingWorld} from "./support/JudgingWorld.sol";

/// @notice Every token of a federation, from the first deposit to the last withdrawal, on the real contracts.
contract MoneyFlowTest is JudgingWorld {
    uint256 private constant STAKE = 1000 ether;
    uint256 private constant BOND = 100 ether;
    bytes32 private constant SALT = keccak256("salt");

    address private watcher = address(0xabcd);
    address private passerby = address(0xdcba);
    address private liar;
    address private other;
    bytes32 private bondKey;
    bytes32 private rangeKey;

    function setUp() public {
        foundJudged(4, 1000, 3);
    }

    /// @dev Hospital 1 trains garbage in the first round.
    function bendUpdates() internal override {
        updates[1][11] = int32(BOUND) + 5;
    }

    function hospital(uint256 i) private pure returns (address) {
        return cheats.addr(HOSPITAL + i);
    }

    function party(uint256 i) private pure returns (address) {
        return i < 4 ? hospital(i) : cheats.addr(COORDINATOR + i - 4);
    }

    // ---- steps

    /// @dev The aggregator on duty lies in a coordinate and pays its whole bond; the watcher had announced it.
    function refuteTheLie() private {
        mean[7] += 1;
        Proposal memory p = proposeJudged();
        liar = members.institutionOf(p.aggregator);
        other = liar == party(4) ? party(5) : party(4);
        bytes memory evidence = meanEvidence(7);
        announce(watcher, evidence, SALT);
        VM.roll(1000);
        pass(1);
        cheats.prank(watcher);
        refutations.refute(Kind.Mean, study, p, evidence, SALT);
        mean[7] -= 1;
        bondKey = keccak256(abi.encode(p.ctx, liar, Kind.Mean));
    }

    /// @dev A passer-by proves the garbage of hospital 1 without having announced it.
    function refuteTheGarbage() private {
        (, bytes32 ctx) = live();
        bytes memory evidence = rangeEvidence(1);
        cheats.prank(passerby);
        refutations.refuteRange(study, evidence, 0);
        rangeKey = keccak256(abi.encode(ctx, hospital(1), Kind.Range));
    }

    /// @dev Hospital 3 commits and never reveals, then the last aggregator lets three duties pass: the round aborts.
    function abortTheSecondRound() private {
        open();
        commit(all());
        reveal(7);
        endPhase();
        certifySet(7);
        for (uint256 i; i < 3; ++i) endPhase();
        checkPhase(Phase.Aborted);
        collegium.settle(study);
    }

    function endPhase() private {
        (,, uint40 deadline) = collegium.phaseOf(study);
        cheats.warp(deadline);
    }

    function claimShare(address institution, bytes32 key) private {
        cheats.prank(institution);
        bonds.claimShare(key);
    }

    function everybodyLeaves() private {
        for (uint256 i; i < 6; ++i) {
            cheats.prank(party(i));
            if (i < 4) collegium.leave(study);
            else collegium.delist(study);
        }
        (, uint40 releasableAt) = bonds.lockOf(study, party(0), Role.Member);
        cheats.warp(releasableAt);
        for (uint256 i; i < 6; ++i) {
            bonds.release(study, party(i), i < 4 ? Role.Member : Role.Aggregator);
            (uint256 free,,) = bonds.stakeOf(party(i));
            cheats.prank(party(i));
            bonds.unlock(free);
        }
        cheats.warp(releasableAt + bonds.UNBONDING_PERIOD());
        for (uint256 i; i < 6; ++i) {
            cheats.prank(party(i));
            bonds.withdraw();
        }
    }

    // ---- the flow

    function test_EveryTokenIsAccountedForAndBondsEndsEmpty() public {
        checkEq(token.balanceOf(address(bonds)), 6 * STAKE, "deposits");
        trainRound();
        refuteTheLie();
        refuteTheGarbage();
        recordRound(proposeJudged());

        checkEq(lockOf(liar, Role.Aggregator), 0, "the bond is gone");
        checkEq(lockOf(other, Role.Aggregator), BOND, "the honest bond");
        checkEq(lockOf(hospital(1), Role.Member), MAX_FINE - 5 ether, "the lock of hospital 1");
        checkEq(bonds.creditOf(watcher), 30 ether, "30% at once");
        checkEq(bonds.creditOf(passerby), 0, "held");

        // 20% of the bond for all four; of the garbage for the three others.
        for (uint256 i; i < 4; ++i) claimShare(hospital(i), bondKey);
        for (uint256 i; i < 4; ++i) if (i != 1) claimShare(hospital(i), rangeKey);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, rangeKey, hospital(1)));
        claimShare(hospital(1), rangeKey);
        cheats.prank(watcher);
        bonds.withdrawCredit();
        (,, uint40 claimableAt) = bonds.heldRewardOf(rangeKey);
        cheats.warp(claimableAt);
        bonds.claimReward(rangeKey);

        // Hospital 1 restores what it signed and goes on.
        cheats.prank(hospital(1));
        bonds.topUp(study, 5 ether);
        checkEq(lockOf(hospital(1), Role.Member), MAX_FINE, "restored");

        abortTheSecondRound();
        checkEq(lockOf(hospital(3), Role.Member), MAX_FINE - 1 ether, "unrevealed");
        checkEq(lockOf(other, Role.Aggregator), BOND - 2 ether, "duty");

        everybodyLeaves();
        uint256 left = bonds.burnable(study);
        checkEq(token.balanceOf(address(bonds)), left, "only what is to be burned remains");
        bonds.burnFines(study);
        checkEq(token.balanceOf(address(bonds)), 0, "empty");
        checkPurses(left);
    }

    function checkPurses(uint256 burned) private view {
        uint256 third = uint256(1 ether) / 3;
        checkEq(burned, 50 ether + (3.5 ether - 3 * third) + 1 ether + 2 ether, "half of the fines, dust, and an aborted round's");
        checkEq(token.balanceOf(hospital(0)), STAKE + 5 ether + third, "hospital 0");
        checkEq(token.balanceOf(hospital(1)), STAKE + 5 ether - 5 ether, "hospital 1");
        checkEq(token.balanceOf(hospital(2)), STAKE + 5 ether + third, "hospital 2");
        checkEq(token.balanceOf(hospital(3)), STAKE + 5 ether + third - 1 ether, "hospital 3");
        checkEq(token.balanceOf(liar), STAKE - BOND, "the liar");
        checkEq(token.balanceOf(other), STAKE - 2 ether, "the other aggregator");
        checkEq(token.balanceOf(watcher), 30 ether, "the watcher");
        checkEq(token.balanceOf(passerby), 1.5 ether, "the passer-by");
        checkEq(token.totalSupply(), 1e9 ether - burned, "supply");
    }

    function test_MemberThatLeftStillClaimsItsShare() public {
        trainRound();
        refuteTheLie();
        recordRound(proposeJudged());
        cheats.prank(hospital(2));
        collegium.leave(study);
        claimShare(hospital(2), bondKey);
        checkEq(token.balanceOf(hospital(2)), 5 ether, "share");
    }

    function test_LockInReleaseStillPays() public {
        trainRound();
        cheats.prank(hospital(1));
        collegium.leave(study);
        refuteTheGarbage();
        checkEq(lockOf(hospital(1), Role.Member), MAX_FINE - 5 ether, "lock");
        (, uint40 releasableAt) = bonds.lockOf(study, hospital(1), Role.Member);
        cheats.warp(releasableAt);
        bonds.release(study, hospital(1), Role.Member);
        (uint256 free,,) = bonds.stakeOf(hospital(1));
        checkEq(free, STAKE - 5 ether, "free");
    }

    function test_LockOutlivesTheEvidencePeriodOfTheRunningRound() public {
        trainRound();
        Proposal memory p = proposeJudged();
        cheats.prank(hospital(1));
        collegium.leave(study);
        recordRound(p);
        (, uint40 releasableAt) = bonds.lockOf(study, hospital(1), Role.Member);
        check(releasableAt >= block.timestamp + plan().evidencePeriod, "released while evidence is still accepted");
    }
}
