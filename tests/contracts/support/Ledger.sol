// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CollegiumToken} from "../../../contracts/CollegiumToken.sol";
import {Bonds} from "../../../contracts/Bonds.sol";
import {FineOrder} from "../../../contracts/interfaces/IBonds.sol";
import {Kind, Role} from "../../../contracts/interfaces/Types.sol";
import {Test} from "./Test.sol";

/// @notice Stands where Collegium will when Bonds asks whose seat is whose.
contract Seats {
    struct Seat {
        bool seated;
        uint16 index;
    }

    mapping(uint64 => mapping(address => Seat)) private _seats;

    function seat(uint64 studyId, address institution, uint16 index) external {
        _seats[studyId][institution] = Seat(true, index);
    }

    function seatOf(uint64 studyId, address institution) external view returns (bool, uint16, uint128) {
        Seat memory found = _seats[studyId][institution];
        return (found.seated, found.index, 0);
    }
}

/// @notice Bonds with its two principals, a token, and institutions that have one.
abstract contract Ledger is Test {
    uint256 internal constant SUPPLY = 1_000_000_000e18;
    uint40 internal constant UNBONDING = 7 days;
    uint40 internal constant HOLD = 1 days;
    uint64 internal constant STUDY = 1;
    bytes32 internal constant CTX = keccak256("a context");

    CollegiumToken internal token;
    Bonds internal bonds;
    Seats internal seats;
    address internal refutations = actor("refutations");
    address internal hospital = actor("hospital");
    address internal challenger = actor("challenger");
    address internal stranger = actor("stranger");

    function setUp() public virtual {
        vm.warp(1_000_000);
        token = new CollegiumToken("Collegium", "CLGM", address(this), SUPPLY);
        bonds = new Bonds(address(token), UNBONDING, HOLD);
        seats = new Seats();
        bonds.connect(address(seats), refutations);
        token.approve(address(bonds), type(uint256).max);
    }

    /// @notice Free stake for an institution, paid by the test.
    function stake(address institution, uint256 amount) internal {
        if (amount != 0) bonds.depositFor(institution, amount);
    }

    function lock(address institution, Role role, uint128 amount) internal {
        vm.prank(address(seats));
        bonds.lock(STUDY, institution, role, amount);
    }

    function stakeAndLock(address institution, Role role, uint128 amount) internal {
        stake(institution, amount);
        lock(institution, role, amount);
    }

    function beginRelease(address institution, Role role, uint40 releasableAt) internal {
        vm.prank(address(seats));
        bonds.beginRelease(STUDY, institution, role, releasableAt);
    }

    /// @notice A fine of the hospital's member lock with nobody to share; tests change what they are about.
    function orderOf(uint128 amount) internal view returns (FineOrder memory) {
        return FineOrder(STUDY, hospital, Role.Member, Kind.Range, amount, CTX, address(0), 0, 0);
    }

    function fine(FineOrder memory order) internal returns (uint256) {
        vm.prank(refutations);
        return bonds.fine(order);
    }

    function keyOf(FineOrder memory order) internal pure returns (bytes32) {
        return keccak256(abi.encode(order.ctx, order.institution, order.kind));
    }

    function freeOf(address institution) internal view returns (uint256 free) {
        (free,,) = bonds.stakeOf(institution);
    }

    function lockedOf(address institution, Role role) internal view returns (uint256) {
        (uint128 amount,) = bonds.lockOf(STUDY, institution, role);
        return amount;
    }
}
