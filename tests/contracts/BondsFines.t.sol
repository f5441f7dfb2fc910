// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {FineOrder, IBonds} from "../../contracts/interfaces/IBonds.sol";
import {Kind, Role} from "../../contracts/interfaces/Types.sol";
import {Ledger} from "./support/Ledger.sol";

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
