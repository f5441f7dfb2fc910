// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bonds} from "../../contracts/Bonds.sol";
import {FineOrder, IBonds} from "../../contracts/interfaces/IBonds.sol";
import {Kind, Role} from "../../contracts/interfaces/Types.sol";
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

contract BondsFineTest is Ledger {
    uint128 private constant THREE = 7; // seats 0, 1, 2

    function setUp() public override {
        super.setUp();
        stakeAndLock(hospital, Role.Member, 1000);
    }

    function announced(uint128 amount) private view returns (FineOrder memory order) {
        order = orderOf(amount);
        order.challenger = challenger;
        order.eligible = THREE;
    }

    function unannounced(uint128 amount) private view returns (FineOrder memory order) {
        order = announced(amount);
        order.evidenceHash = keccak256("evidence");
    }

    function test_FineIsSplitInThree() public {
        FineOrder memory order = announced(1000);
        vm.expectEmit(address(bonds));
        emit IBonds.Fined(STUDY, hospital, keyOf(order), Kind.Range, Role.Member, CTX, 1000, 502, challenger, 300, 66, THREE);
        vm.assertEq(fine(order), 1000, "paid");
        vm.assertEq(bonds.creditOf(challenger), 300, "challenger");
        vm.assertEq(bonds.burnable(STUDY), 502, "half and the dust");
        vm.assertEq(lockedOf(hospital, Role.Member), 0, "lock");
        vm.assertTrue(bonds.isFined(keyOf(order)), "not marked");
        (uint64 studyId, uint256 share, uint128 unclaimed) = bonds.sharesOf(keyOf(order));
        vm.assertEq(studyId, STUDY, "study");
        vm.assertEq(share, 66, "share");
        vm.assertEq(unclaimed, THREE, "unclaimed");
    }

    function testFuzz_SplitAddsUp(uint128 locked, uint128 amount, uint128 eligible, bool rewarded, bool held) public {
        locked = uint128(bound(locked, 0, type(uint88).max));
        stake(stranger, locked);
        lock(stranger, Role.Aggregator, locked);
        FineOrder memory order =
            FineOrder(STUDY, stranger, Role.Aggregator, Kind.Mean, amount, CTX, rewarded ? challenger : address(0), 0, eligible);
        if (held) order.evidenceHash = CTX;
        uint256 paid = fine(order);

        vm.assertEq(paid, amount < locked ? amount : locked, "paid");
        uint256 clients;
        for (uint256 i; i < 128; ++i) {
            clients += eligible >> i & 1;
        }
        (, uint256 share,) = bonds.sharesOf(keyOf(order));
        (, uint256 waiting,) = bonds.heldRewardOf(keyOf(order));
        vm.assertEq(share, clients == 0 ? 0 : paid / 5 / clients, "share");
        vm.assertEq(bonds.creditOf(challenger), rewarded && !held ? paid * 3 / 10 : 0, "credit");
        vm.assertEq(waiting, rewarded && held ? paid * 3 / 10 : 0, "held");
        vm.assertEq(bonds.creditOf(challenger) + waiting + share * clients + bonds.burnable(STUDY), paid, "sum");
        vm.assertLe(paid / 2, bonds.burnable(STUDY), "less than half was burned");
        vm.assertEq(lockedOf(stranger, Role.Aggregator), locked - paid, "lock");
    }

    function test_FineTakesNoMoreThanTheLockHolds() public {
        stake(hospital, 500);
        vm.assertEq(fine(announced(5000)), 1000, "paid");
        vm.assertEq(freeOf(hospital), 500, "free stake was touched");
    }

    function test_FineOfEmptyLockIsMarkedAndPaysNothing() public {
        fine(orderOf(1000));
        FineOrder memory order = announced(1);
        order.kind = Kind.Equivocation;
        vm.assertEq(fine(order), 0, "paid");
        vm.assertTrue(bonds.isFined(keyOf(order)), "not marked");
        vm.assertEq(bonds.creditOf(challenger), 0, "challenger");
    }

    function test_SecondFineForTheSameFaultReverts() public {
        FineOrder memory order = announced(1);
        fine(order);
        order.studyId = 2;
        order.role = Role.Aggregator;
        order.challenger = stranger;
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyFined.selector, keyOf(order)));
        fine(order);
    }

    function test_AnotherKindOrContextOrPartyIsAnotherFault() public {
        FineOrder memory order = announced(1);
        fine(order);
        order.kind = Kind.Equivocation;
        fine(order);
        order.ctx = keccak256("another context");
        fine(order);
        order.institution = stranger;
        fine(order);
        vm.assertEq(lockedOf(hospital, Role.Member), 997, "lock");
    }

    function test_FineWithoutChallengerOrClientsIsBurned() public {
        fine(orderOf(1000));
        vm.assertEq(bonds.burnable(STUDY), 1000, "burnable");
    }

    function test_SharesTooSmallToSplitAreBurned() public {
        FineOrder memory order = announced(14);
        fine(order);
        (, uint256 share, uint128 unclaimed) = bonds.sharesOf(keyOf(order));
        vm.assertEq(share, 0, "share");
        vm.assertEq(unclaimed, 0, "unclaimed");
        vm.assertEq(bonds.burnable(STUDY), 10, "burnable");
    }

    function test_FineReachesALockInRelease() public {
        beginRelease(hospital, Role.Member, uint40(block.timestamp + 100));
        vm.warp(block.timestamp + 1000);
        vm.assertEq(fine(announced(400)), 400, "paid");
        bonds.release(STUDY, hospital, Role.Member);
        vm.assertEq(freeOf(hospital), 600, "free");
    }

    function test_FineAfterTheReleaseFindsNothing() public {
        beginRelease(hospital, Role.Member, uint40(block.timestamp));
        bonds.release(STUDY, hospital, Role.Member);
        vm.assertEq(fine(announced(400)), 0, "paid");
        vm.assertEq(freeOf(hospital), 1000, "free stake was touched");
    }

    function test_FineByCollegiumIsAccepted() public {
        vm.prank(address(seats));
        vm.assertEq(bonds.fine(orderOf(10)), 10, "paid");
    }

    function test_FineByStrangerReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, stranger));
        vm.prank(stranger);
        bonds.fine(orderOf(1));
    }

    function test_FineInStudyOutOfRangeReverts() public {
        FineOrder memory order = orderOf(1);
        order.studyId = type(uint64).max;
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsStudyOutOfRange.selector, type(uint64).max));
        fine(order);
    }

    function test_FineMovesTheRevision() public {
        uint32 before = bonds.revisionOf(STUDY);
        fine(orderOf(1));
        vm.assertEq(bonds.revisionOf(STUDY), before + 1, "revision");
    }

    function test_BurnedFinesLeaveTheSupply() public {
        fine(announced(1000));
        vm.expectEmit(address(bonds));
        emit IBonds.FinesBurned(STUDY, 502);
        vm.prank(stranger);
        bonds.burnFines(STUDY);
        vm.assertEq(token.totalSupply(), SUPPLY - 502, "supply");
        vm.assertEq(bonds.burnable(STUDY), 0, "burnable");
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        bonds.burnFines(STUDY);
    }

    function test_CreditIsPaidOnce() public {
        fine(announced(1000));
        vm.expectEmit(address(bonds));
        emit IBonds.CreditWithdrawn(challenger, 300);
        vm.prank(challenger);
        bonds.withdrawCredit();
        vm.assertEq(token.balanceOf(challenger), 300, "paid");
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNothingToWithdraw.selector, challenger));
        vm.prank(challenger);
        bonds.withdrawCredit();
    }

    function test_UnannouncedRewardWaits() public {
        FineOrder memory order = unannounced(1000);
        bytes32 key = keyOf(order);
        uint40 due = uint40(block.timestamp) + HOLD;
        vm.expectEmit(address(bonds));
        emit IBonds.RewardHeld(key, challenger, 300, order.evidenceHash, due);
        fine(order);
        (address who, uint256 amount, uint40 at) = bonds.heldRewardOf(key);
        vm.assertEq(who, challenger, "challenger");
        vm.assertEq(amount, 300, "amount");
        vm.assertEq(at, due, "claimableAt");
        vm.assertEq(bonds.creditOf(challenger), 0, "credited at once");
        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotClaimable.selector, key, due));
        bonds.claimReward(key);
        vm.warp(due);
        vm.expectEmit(address(bonds));
        emit IBonds.RewardClaimed(key, challenger, 300);
        vm.prank(stranger);
        bonds.claimReward(key);
        vm.assertEq(token.balanceOf(challenger), 300, "paid");
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        bonds.claimReward(key);
    }

    function test_EarlierAnnouncerTakesTheHeldReward() public {
        FineOrder memory order = unannounced(1000);
        bytes32 key = keyOf(order);
        fine(order);
        vm.expectEmit(address(bonds));
        emit IBonds.RewardRedirected(key, challenger, stranger, 300);
        vm.prank(refutations);
        bonds.redirectReward(key, order.evidenceHash, stranger);
        vm.assertEq(bonds.creditOf(stranger), 300, "announcer");
        vm.warp(block.timestamp + HOLD);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        bonds.claimReward(key);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        vm.prank(refutations);
        bonds.redirectReward(key, order.evidenceHash, stranger);
    }

    function test_RedirectForOtherEvidenceReverts() public {
        FineOrder memory order = unannounced(1000);
        fine(order);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, keyOf(order)));
        vm.prank(refutations);
        bonds.redirectReward(keyOf(order), keccak256("other evidence"), stranger);
    }

    function test_RedirectToNobodyReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAddress.selector));
        vm.prank(refutations);
        bonds.redirectReward(CTX, CTX, address(0));
    }

    function test_RedirectByCollegiumReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, address(seats)));
        vm.prank(address(seats));
        bonds.redirectReward(CTX, CTX, stranger);
    }

    function test_ClientClaimsItsShareOnce() public {
        FineOrder memory order = announced(1000);
        bytes32 key = keyOf(order);
        fine(order);
        seats.seat(STUDY, stranger, 2);
        vm.expectEmit(address(bonds));
        emit IBonds.ShareClaimed(key, stranger, 66);
        vm.prank(stranger);
        bonds.claimShare(key);
        vm.assertEq(token.balanceOf(stranger), 66, "paid");
        (,, uint128 unclaimed) = bonds.sharesOf(key);
        vm.assertEq(unclaimed, 3, "unclaimed");
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, key, stranger));
        vm.prank(stranger);
        bonds.claimShare(key);
    }

    function test_ClaimOfClientOutsideTheSetReverts() public {
        FineOrder memory order = announced(1000);
        fine(order);
        seats.seat(STUDY, stranger, 3);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, keyOf(order), stranger));
        vm.prank(stranger);
        bonds.claimShare(keyOf(order));
    }

    function test_ClaimWithASeatInAnotherStudyReverts() public {
        FineOrder memory order = announced(1000);
        fine(order);
        seats.seat(STUDY + 1, stranger, 0);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, keyOf(order), stranger));
        vm.prank(stranger);
        bonds.claimShare(keyOf(order));
    }

    function test_ClaimOfUnknownFineReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, CTX, stranger));
        vm.prank(stranger);
        bonds.claimShare(CTX);
    }

    function test_LastSeatOfTheBitmapClaims() public {
        FineOrder memory order = announced(1000);
        order.eligible = uint128(1) << 127;
        fine(order);
        seats.seat(STUDY, stranger, 127);
        vm.prank(stranger);
        bonds.claimShare(keyOf(order));
        vm.assertEq(token.balanceOf(stranger), 200, "paid");
    }

    function test_SeatBeyondTheBitmapReverts() public {
        FineOrder memory order = announced(1000);
        fine(order);
        seats.seat(STUDY, stranger, 128);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, keyOf(order), stranger));
        vm.prank(stranger);
        bonds.claimShare(keyOf(order));
    }

    function test_KeyStaysUsedAfterEveryShareIsClaimed() public {
        FineOrder memory order = announced(1000);
        fine(order);
        for (uint16 i; i < 3; ++i) {
            address client = address(uint160(0xc11e47) + i);
            seats.seat(STUDY, client, i);
            vm.prank(client);
            bonds.claimShare(keyOf(order));
        }
        vm.assertTrue(bonds.isFined(keyOf(order)), "forgotten");
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsAlreadyFined.selector, keyOf(order)));
        fine(order);
    }
}

/// @notice What a fine costs Refutations or Collegium, the cold call included.
contract BondsGasTest is Ledger {
    function setUp() public override {
        super.setUp();
        stakeAndLock(hospital, Role.Member, 1e18);
        FineOrder memory first = orderOf(1e10);
        first.kind = Kind.Equivocation;
        fine(first);
    }

    function measure(FineOrder memory order) private returns (uint256 spent) {
        vm.prank(refutations);
        vm.cool(address(bonds));
        spent = gasleft();
        bonds.fine(order);
        spent -= gasleft();
    }

    function contested() private view returns (FineOrder memory order) {
        order = orderOf(1e12);
        order.challenger = challenger;
        order.eligible = 0x3ff;
    }

    function test_FineOfANewChallengerStaysBelow69500() public {
        vm.assertLe(measure(contested()), 69_500, "announced");
    }

    function test_FineHeldForAnAnnouncerStaysBelow72k() public {
        FineOrder memory order = contested();
        order.evidenceHash = CTX;
        vm.assertLe(measure(order), 72_000, "held");
    }

    function test_FineOfAKnownChallengerStaysBelow50k() public {
        FineOrder memory order = contested();
        fine(order);
        order.ctx = keccak256("another context");
        vm.assertLe(measure(order), 50_000, "known");
    }

    function test_FineWithoutChallengerStaysBelow47k() public {
        vm.assertLe(measure(orderOf(1e12)), 47_000, "no challenger");
    }
}
