// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bonds} from "../../contracts/Bonds.sol";
import {FineOrder, IBonds} from "../../contracts/interfaces/IBonds.sol";
import {Role} from "../../contracts/interfaces/Types.sol";
import {Ledger} from "./support/Ledger.sol";

contract BondsDeploymentTest is Ledger {
    function test_ParametersArePublic() public view {
        vm.assertEq(bonds.token(), address(token), "token");
        vm.assertEq(bonds.UNBONDING_PERIOD(), UNBONDING, "unbonding");
        vm.assertEq(bonds.REWARD_HOLD(), HOLD, "hold");
    }

    function test_TokenOfZeroReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAddress.selector));
        new Bonds(address(0), 1, 1);
    }

    function test_ConnectEmits() public {
        Bonds fresh = new Bonds(address(token), 1, 1);
        vm.expectEmit(address(fresh));
        emit IBonds.BondsConnected(address(seats), refutations);
        fresh.connect(address(seats), refutations);
    }

    function test_SecondConnectReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyConnected.selector));
        bonds.connect(stranger, stranger);
    }

    function test_ConnectByStrangerReverts() public {
        Bonds fresh = new Bonds(address(token), 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyDeployer.selector, stranger));
        vm.prank(stranger);
        fresh.connect(address(seats), refutations);
    }

    function test_ConnectToZeroReverts() public {
        Bonds fresh = new Bonds(address(token), 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAddress.selector));
        fresh.connect(address(0), refutations);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAddress.selector));
        fresh.connect(address(seats), address(0));
    }

    function test_OrdersBeforeConnectRevert() public {
        Bonds fresh = new Bonds(address(token), 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, address(this)));
        fresh.fine(orderOf(1));
    }
}

contract BondsStakeTest is Ledger {
    function test_DepositIsFreeStake() public {
        token.transfer(hospital, 100);
        vm.startPrank(hospital);
        token.approve(address(bonds), 100);
        vm.expectEmit(address(bonds));
        emit IBonds.StakeDeposited(hospital, hospital, 100);
        bonds.deposit(100);
        vm.stopPrank();
        vm.assertEq(freeOf(hospital), 100, "free");
        vm.assertEq(token.balanceOf(address(bonds)), 100, "balance");
    }

    function test_DepositForAnotherNamesThePayer() public {
        vm.expectEmit(address(bonds));
        emit IBonds.StakeDeposited(hospital, address(this), 7);
        bonds.depositFor(hospital, 7);
        vm.assertEq(freeOf(hospital), 7, "free");
    }

    function test_DepositOfNothingReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        bonds.deposit(0);
    }

    function test_DepositForNobodyReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAddress.selector));
        bonds.depositFor(address(0), 1);
    }

    function test_DepositBeyondTheWidthReverts() public {
        stake(hospital, 5);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsAmountTooLarge.selector, type(uint104).max, type(uint104).max - 5));
        bonds.depositFor(hospital, type(uint104).max);
    }

    function test_UnlockedStakeIsPaidAfterThePeriod() public {
        stake(hospital, 100);
        uint40 due = uint40(block.timestamp) + UNBONDING;
        vm.expectEmit(address(bonds));
        emit IBonds.StakeUnlocked(hospital, 60, due);
        vm.prank(hospital);
        bonds.unlock(60);
        vm.warp(due);
        vm.expectEmit(address(bonds));
        emit IBonds.StakeWithdrawn(hospital, 60);
        vm.prank(hospital);
        bonds.withdraw();
        vm.assertEq(token.balanceOf(hospital), 60, "paid");
        (uint256 free, uint256 unbonding, uint40 at) = bonds.stakeOf(hospital);
        vm.assertEq(free, 40, "free");
        vm.assertEq(unbonding, 0, "unbonding");
        vm.assertEq(at, 0, "clock");
    }

    function test_WithdrawalOneSecondEarlyReverts() public {
        stake(hospital, 100);
        uint40 due = uint40(block.timestamp) + UNBONDING;
        vm.prank(hospital);
        bonds.unlock(100);
        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsStillUnbonding.selector, hospital, due));
        vm.prank(hospital);
        bonds.withdraw();
    }

    function test_SecondUnlockRestartsTheClock() public {
        stake(hospital, 100);
        vm.prank(hospital);
        bonds.unlock(50);
        vm.warp(block.timestamp + UNBONDING - 1);
        uint40 due = uint40(block.timestamp) + UNBONDING;
        vm.prank(hospital);
        bonds.unlock(1);
        (, uint256 unbonding, uint40 at) = bonds.stakeOf(hospital);
        vm.assertEq(unbonding, 51, "unbonding");
        vm.assertEq(at, due, "clock");
    }

    function test_UnlockOfMoreThanFreeReverts() public {
        stakeAndLock(hospital, Role.Member, 90);
        stake(hospital, 10);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsInsufficientStake.selector, hospital, 10, 11));
        vm.prank(hospital);
        bonds.unlock(11);
    }

    function test_UnlockOfNothingReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        bonds.unlock(0);
    }

    function test_WithdrawalOfNothingReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNothingToWithdraw.selector, stranger));
        vm.prank(stranger);
        bonds.withdraw();
    }

    function test_DonatedTokensBelongToNobody() public {
        token.transfer(address(bonds), 1000);
        vm.assertEq(freeOf(address(this)), 0, "free");
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNothingToWithdraw.selector, address(this)));
        bonds.withdraw();
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        bonds.burnFines(STUDY);
    }
}

contract BondsLockTest is Ledger {
    function test_LockTakesFreeStake() public {
        stake(hospital, 100);
        vm.expectEmit(address(bonds));
        emit IBonds.StakeLocked(STUDY, hospital, Role.Member, 80, 80);
        lock(hospital, Role.Member, 80);
        vm.assertEq(freeOf(hospital), 20, "free");
        vm.assertEq(lockedOf(hospital, Role.Member), 80, "locked");
        vm.assertEq(lockedOf(hospital, Role.Aggregator), 0, "the roles share a lock");
        vm.assertEq(bonds.revisionOf(STUDY), 1, "revision");
        vm.assertEq(bonds.revisionOf(STUDY + 1), 0, "revision of another study");
    }

    function test_LockBeyondFreeStakeReverts() public {
        stake(hospital, 79);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsInsufficientStake.selector, hospital, 79, 80));
        lock(hospital, Role.Member, 80);
    }

    function test_UnbondingStakeCannotBeLocked() public {
        stake(hospital, 80);
        vm.prank(hospital);
        bonds.unlock(1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsInsufficientStake.selector, hospital, 79, 80));
        lock(hospital, Role.Member, 80);
    }

    function test_LockByStrangerReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, stranger));
        vm.prank(stranger);
        bonds.lock(STUDY, hospital, Role.Member, 1);
    }

    function test_LockByRefutationsReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, refutations));
        vm.prank(refutations);
        bonds.lock(STUDY, hospital, Role.Member, 1);
    }

    function test_LockBeyondTheWidthReverts() public {
        uint128 much = uint128(type(uint88).max) + 1;
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsAmountTooLarge.selector, much, type(uint88).max));
        lock(hospital, Role.Member, much);
    }

    function test_LockOfStudyOutOfRangeReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsStudyOutOfRange.selector, type(uint32).max));
        vm.prank(address(seats));
        bonds.lock(type(uint32).max, hospital, Role.Member, 0);
    }

    function test_TopUpRestoresWhatAFineTook() public {
        stakeAndLock(hospital, Role.Member, 100);
        stake(hospital, 30);
        fine(orderOf(40));
        vm.expectEmit(address(bonds));
        emit IBonds.StakeLocked(STUDY, hospital, Role.Member, 30, 90);
        vm.prank(hospital);
        bonds.topUp(STUDY, 30);
        vm.assertEq(lockedOf(hospital, Role.Member), 90, "locked");
        vm.assertEq(freeOf(hospital), 0, "free");
        vm.assertEq(bonds.revisionOf(STUDY), 3, "revision");
    }

    function test_TopUpBeyondTheSignedFineReverts() public {
        stakeAndLock(hospital, Role.Member, 100);
        stake(hospital, 100);
        fine(orderOf(40));
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsTopUpTooLarge.selector, 41, 40));
        vm.prank(hospital);
        bonds.topUp(STUDY, 41);
    }

    function test_TopUpWithoutStakeReverts() public {
        stakeAndLock(hospital, Role.Member, 100);
        fine(orderOf(40));
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsInsufficientStake.selector, hospital, 0, 40));
        vm.prank(hospital);
        bonds.topUp(STUDY, 40);
    }

    function test_TopUpWithoutLockReverts() public {
        stake(hospital, 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsTopUpTooLarge.selector, 1, 0));
        vm.prank(hospital);
        bonds.topUp(STUDY, 1);
    }

    function test_TopUpOfLeavingMemberReverts() public {
        stakeAndLock(hospital, Role.Member, 100);
        stake(hospital, 10);
        fine(orderOf(40));
        beginRelease(hospital, Role.Member, uint40(block.timestamp + 1));
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsTopUpTooLarge.selector, 10, 0));
        vm.prank(hospital);
        bonds.topUp(STUDY, 10);
    }

    function test_TopUpOfNothingReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        bonds.topUp(STUDY, 0);
    }

    function test_ReleasedLockIsFreeStake() public {
        stakeAndLock(hospital, Role.Aggregator, 100);
        uint40 due = uint40(block.timestamp) + 50;
        vm.expectEmit(address(bonds));
        emit IBonds.LockReleasing(STUDY, hospital, Role.Aggregator, due);
        beginRelease(hospital, Role.Aggregator, due);
        (, uint40 releasableAt) = bonds.lockOf(STUDY, hospital, Role.Aggregator);
        vm.assertEq(releasableAt, due, "releasableAt");
        vm.warp(due);
        vm.expectEmit(address(bonds));
        emit IBonds.LockReleased(STUDY, hospital, Role.Aggregator, 100);
        vm.prank(stranger);
        bonds.release(STUDY, hospital, Role.Aggregator);
        vm.assertEq(freeOf(hospital), 100, "free");
        vm.assertEq(lockedOf(hospital, Role.Aggregator), 0, "locked");
        vm.assertEq(bonds.revisionOf(STUDY), 3, "revision");
    }

    function test_ReleaseOneSecondEarlyReverts() public {
        stakeAndLock(hospital, Role.Member, 100);
        uint40 due = uint40(block.timestamp) + 50;
        beginRelease(hospital, Role.Member, due);
        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsLockNotReleasable.selector, STUDY, hospital, due));
        bonds.release(STUDY, hospital, Role.Member);
    }

    function test_ReleaseOfActiveLockReverts() public {
        stakeAndLock(hospital, Role.Member, 100);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsLockActive.selector, STUDY, hospital, Role.Member));
        bonds.release(STUDY, hospital, Role.Member);
    }

    function test_ReleaseOfUnknownLockReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsLockUnknown.selector, STUDY, hospital, Role.Member));
        bonds.release(STUDY, hospital, Role.Member);
    }

    function test_SecondReleaseReverts() public {
        stakeAndLock(hospital, Role.Member, 100);
        beginRelease(hospital, Role.Member, uint40(block.timestamp));
        bonds.release(STUDY, hospital, Role.Member);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsLockUnknown.selector, STUDY, hospital, Role.Member));
        bonds.release(STUDY, hospital, Role.Member);
    }

    function test_SecondBeginNeverShortens() public {
        stakeAndLock(hospital, Role.Member, 100);
        beginRelease(hospital, Role.Member, 2_000_000);
        beginRelease(hospital, Role.Member, 1_500_000);
        (, uint40 releasableAt) = bonds.lockOf(STUDY, hospital, Role.Member);
        vm.assertEq(releasableAt, 2_000_000, "releasableAt");
    }

    function test_BeginOfUnknownLockReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsLockUnknown.selector, STUDY, hospital, Role.Aggregator));
        beginRelease(hospital, Role.Aggregator, 1);
    }

    function test_BeginAtTimeZeroReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        beginRelease(hospital, Role.Aggregator, 0);
    }

    function test_BeginByStrangerReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, stranger));
        vm.prank(stranger);
        bonds.beginRelease(STUDY, hospital, Role.Member, 1);
    }

    function test_LockAgainCancelsTheReleaseAndRestoresTheBond() public {
        stakeAndLock(hospital, Role.Aggregator, 100);
        stake(hospital, 40);
        FineOrder memory order = orderOf(30);
        order.role = Role.Aggregator;
        fine(order);
        beginRelease(hospital, Role.Aggregator, uint40(block.timestamp + 1));
        vm.expectEmit(address(bonds));
        emit IBonds.StakeLocked(STUDY, hospital, Role.Aggregator, 30, 100);
        lock(hospital, Role.Aggregator, 100);
        (uint128 amount, uint40 releasableAt) = bonds.lockOf(STUDY, hospital, Role.Aggregator);
        vm.assertEq(amount, 100, "amount");
        vm.assertEq(releasableAt, 0, "still in release");
        vm.assertEq(freeOf(hospital), 10, "free");
    }

    function test_SmallerLockAgainFreesNothing() public {
        stakeAndLock(hospital, Role.Member, 100);
        beginRelease(hospital, Role.Member, uint40(block.timestamp + 1));
        lock(hospital, Role.Member, 60);
        vm.assertEq(lockedOf(hospital, Role.Member), 100, "locked");
        vm.assertEq(freeOf(hospital), 0, "free");
    }

    function test_LockOfNothingCanBeReleased() public {
        lock(hospital, Role.Member, 0);
        beginRelease(hospital, Role.Member, 1);
        bonds.release(STUDY, hospital, Role.Member);
    }
}
