// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bonds} from "../../contracts/Bonds.sol";
import {CollegiumToken} from "../../contracts/CollegiumToken.sol";
import {FineOrder} from "../../contracts/interfaces/IBonds.sol";
import {Kind, Role} from "../../contracts/interfaces/Types.sol";
import {Ledger, Seats} from "./support/Ledger.sol";
import {Test} from "./support/Test.sol";

/// @notice Institutions, two studies and challengers that do whatever they may, in any order.
/// @dev Each action looks for somebody who can take it, from a random place on; donations are the only money nobody is owed.
contract Traffic is Test {
    uint256 private constant ACTORS = 5;

    Bonds private immutable BONDS;
    CollegiumToken private immutable TOKEN;
    Seats private immutable SEATS;
    address private immutable REFUTATIONS;

    bytes32[] public keys;
    uint256 public donated;
    uint256 public burned;
    mapping(bytes32 key => bytes32) private _evidence;
    mapping(address party => mapping(uint64 study => uint256)) private _signed;

    constructor(Bonds bonds, CollegiumToken token, Seats seats, address refutations) {
        (BONDS, TOKEN, SEATS, REFUTATIONS) = (bonds, token, seats, refutations);
        for (uint16 i; i < ACTORS; ++i) {
            seats.seat(1, who(i), i);
            seats.seat(2, who(i), uint16(ACTORS - 1 - i));
            vm.prank(who(i));
            token.approve(address(bonds), type(uint256).max);
        }
    }

    function who(uint256 seed) public pure returns (address) {
        return address(uint160(0xac70000 + seed % ACTORS));
    }

    function keyCount() external view returns (uint256) {
        return keys.length;
    }

    function deposit(uint256 seed, uint96 amount) external {
        uint256 purse = TOKEN.balanceOf(who(seed));
        if (purse == 0) return;
        vm.prank(who(seed));
        BONDS.deposit(bound(amount, 1, purse));
    }

    function unlock(uint256 seed, uint256 amount) external {
        uint256 free = freeOf(who(seed));
        if (free == 0) return;
        vm.prank(who(seed));
        BONDS.unlock(bound(amount, 1, free));
    }

    function withdraw(uint256 seed, bool waits) external {
        for (uint256 i; i < ACTORS; ++i) {
            (, uint256 unbonding, uint40 due) = BONDS.stakeOf(who(seed % ACTORS + i));
            if (unbonding == 0) continue;
            if (waits && block.timestamp < due) vm.warp(due);
            vm.prank(who(seed % ACTORS + i));
            BONDS.withdraw();
            return;
        }
    }

    function lock(uint256 seed, bool second, bool aggregator, uint256 amount) external {
        uint64 study = second ? 2 : 1;
        amount = bound(amount, 0, freeOf(who(seed)));
        vm.prank(address(SEATS));
        BONDS.lock(study, who(seed), aggregator ? Role.Aggregator : Role.Member, uint128(amount));
        if (!aggregator) _signed[who(seed)][study] = amount;
    }

    function topUp(uint256 seed, bool second, uint256 amount) external {
        uint64 study = second ? 2 : 1;
        for (uint256 i; i < ACTORS; ++i) {
            address party = who(seed % ACTORS + i);
            (uint128 held, uint40 releasableAt) = BONDS.lockOf(study, party, Role.Member);
            uint256 room = _signed[party][study] > held && releasableAt == 0 ? _signed[party][study] - held : 0;
            if (room > freeOf(party)) room = freeOf(party);
            if (room == 0) continue;
            vm.prank(party);
            BONDS.topUp(study, bound(amount, 1, room));
            return;
        }
    }

    function beginRelease(uint256 seed, bool second, bool aggregator, uint256 wait_) external {
        vm.prank(address(SEATS));
        BONDS.beginRelease(
            second ? 2 : 1, who(seed), aggregator ? Role.Aggregator : Role.Member, uint40(block.timestamp + bound(wait_, 0, 3 days))
        );
    }

    function release(uint256 seed, bool second, bool waits) external {
        uint64 study = second ? 2 : 1;
        for (uint256 i; i < 2 * ACTORS; ++i) {
            address party = who(seed % ACTORS + i);
            Role role = i < ACTORS ? Role.Member : Role.Aggregator;
            (, uint40 due) = BONDS.lockOf(study, party, role);
            if (due == 0) continue;
            if (waits && block.timestamp < due) vm.warp(due);
            BONDS.release(study, party, role);
            if (role == Role.Member) _signed[party][study] = 0;
            return;
        }
    }

    function fine(uint256 seed, bool second, bool aggregator, uint256 kind, uint256 amount, uint256 mode, uint128 eligible) external {
        FineOrder memory order;
        order.studyId = second ? 2 : 1;
        order.institution = who(seed);
        order.role = aggregator ? Role.Aggregator : Role.Member;
        order.kind = Kind(bound(kind, 1, 8));
        (uint128 held,) = BONDS.lockOf(order.studyId, order.institution, order.role);
        order.amount = uint128(bound(amount, 0, uint256(held) * 2));
        order.ctx = keccak256(abi.encode("ctx", order.studyId, mode % 7));
        order.challenger = mode % 3 == 0 ? address(0) : who(seed % ACTORS + 1);
        order.evidenceHash = mode % 2 == 0 ? bytes32(0) : keccak256(abi.encode(mode));
        order.eligible = eligible & uint128(2 ** ACTORS - 1);
        bytes32 key = keccak256(abi.encode(order.ctx, order.institution, order.kind));
        vm.prank(mode % 5 == 0 ? address(SEATS) : REFUTATIONS);
        uint256 paid = BONDS.fine(order);
        vm.assertLe(paid, held, "a fine took more than the lock held");
        keys.push(key);
        _evidence[key] = order.evidenceHash;
    }

    function claimShare(uint256 seed, uint256 pick) external {
        if (keys.length == 0) return;
        vm.prank(who(seed));
        BONDS.claimShare(keys[pick % keys.length]);
    }

    function claimReward(uint256 pick, bool waits) external {
        if (keys.length == 0) return;
        bytes32 key = keys[pick % keys.length];
        (,, uint40 due) = BONDS.heldRewardOf(key);
        if (waits && block.timestamp < due) vm.warp(due);
        BONDS.claimReward(key);
    }

    function redirectReward(uint256 pick, uint256 seed) external {
        if (keys.length == 0) return;
        bytes32 key = keys[pick % keys.length];
        vm.prank(REFUTATIONS);
        BONDS.redirectReward(key, _evidence[key], who(seed));
    }

    function withdrawCredit(uint256 seed) external {
        for (uint256 i; i < ACTORS; ++i) {
            if (BONDS.creditOf(who(seed % ACTORS + i)) == 0) continue;
            vm.prank(who(seed % ACTORS + i));
            BONDS.withdrawCredit();
            return;
        }
    }

    function burnFines(bool second) external {
        uint256 supply = TOKEN.totalSupply();
        BONDS.burnFines(second ? 2 : 1);
        burned += supply - TOKEN.totalSupply();
    }

    function donate(uint256 seed, uint64 amount) external {
        if (amount > TOKEN.balanceOf(who(seed))) return;
        vm.prank(who(seed));
        TOKEN.transfer(address(BONDS), amount);
        donated += amount;
    }

    function freeOf(address party) private view returns (uint256 free) {
        (free,,) = BONDS.stakeOf(party);
    }
}

contract BondsInvariantTest is Ledger {
    uint256 private constant ACTORS = 5;
    uint256 private constant PURSE = 1_000_000e18;
    Traffic private traffic;

    function setUp() public override {
        super.setUp();
        traffic = new Traffic(bonds, token, seats, refutations);
        for (uint256 i; i < ACTORS; ++i) {
            token.transfer(traffic.who(i), PURSE);
            stake(traffic.who(i), PURSE);
            traffic.lock(i, false, false, PURSE / 10);
            traffic.lock(i, true, false, PURSE / 20);
            traffic.lock(i, i % 2 == 0, true, PURSE / 5);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(traffic);
    }

    function invariant_BalanceEqualsObligations() external view {
        vm.assertEq(token.balanceOf(address(bonds)), obligations() + traffic.donated(), "obligations");
    }

    function invariant_NobodysMoneyIsCreated() external view {
        uint256 total = token.balanceOf(address(bonds)) + token.balanceOf(address(this));
        for (uint256 i; i < ACTORS; ++i) {
            total += token.balanceOf(traffic.who(i));
        }
        vm.assertEq(total, token.totalSupply(), "somebody else holds tokens");
        vm.assertEq(token.totalSupply(), SUPPLY - traffic.burned(), "supply");
    }

    function obligations() private view returns (uint256 total) {
        total = bonds.burnable(1) + bonds.burnable(2);
        for (uint256 i; i < ACTORS; ++i) {
            address party = traffic.who(i);
            (uint256 free, uint256 unbonding,) = bonds.stakeOf(party);
            total += free + unbonding + bonds.creditOf(party);
            for (uint64 study = 1; study <= 2; ++study) {
                (uint128 member,) = bonds.lockOf(study, party, Role.Member);
                (uint128 aggregator,) = bonds.lockOf(study, party, Role.Aggregator);
                total += uint256(member) + aggregator;
            }
        }
        uint256 count = traffic.keyCount();
        for (uint256 i; i < count; ++i) {
            (, uint256 share, uint128 unclaimed) = bonds.sharesOf(traffic.keys(i));
            (, uint256 held,) = bonds.heldRewardOf(traffic.keys(i));
            total += held;
            for (; unclaimed != 0; unclaimed &= unclaimed - 1) {
                total += share;
            }
        }
    }
}
