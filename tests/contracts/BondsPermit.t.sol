// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {Bonds} from "../../contracts/Bonds.sol";
import {IBonds} from "../../contracts/interfaces/IBonds.sol";
import {Ledger} from "./support/Ledger.sol";

/// @notice A stake token of somebody else's, without permits.
contract PlainToken is ERC20Burnable {
    constructor() ERC20("Plain", "PLN") {
        _mint(msg.sender, 100);
    }
}

/// @notice A deposit in one transaction: the payer signs what it would have approved.
contract BondsPermitTest is Ledger {
    uint256 private constant DEADLINE = 1_003_600;

    uint256 private payerKey = keyOf("payer");
    address private payer = vm.addr(payerKey);

    function setUp() public override {
        super.setUp();
        token.transfer(payer, 100);
    }

    function permit(uint256 key, address owner, uint256 amount, uint256 deadline) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 typeHash = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, owner, address(bonds), amount, token.nonces(owner), deadline));
        bytes32 vs;
        (r, vs) = vm.signCompact(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
        s = vs & bytes32(type(uint256).max >> 1);
        v = 27 + uint8(uint256(vs) >> 255);
    }

    function refused(address who, uint256 allowance, uint256 amount) private {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsPermitRefused.selector, who, allowance, amount));
    }

    function test_APermitPaysOneDepositAndLeavesNoAllowance() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, 60, DEADLINE);
        vm.expectEmit(address(bonds));
        emit IBonds.StakeDeposited(hospital, payer, 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, v, r, s);
        vm.assertEq(freeOf(hospital), 60, "free");
        vm.assertEq(token.balanceOf(payer), 40, "payer");
        vm.assertEq(token.balanceOf(address(bonds)), 60, "bonds");
        vm.assertEq(token.allowance(payer, address(bonds)), 0, "allowance");
    }

    /// @dev Somebody saw the permit in a pending transaction and carried it first: the deposit goes through all the same.
    function test_APermitThatSomebodyCarriedBeforeStillDeposits() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, 60, DEADLINE);
        vm.prank(stranger);
        token.permit(payer, address(bonds), 60, DEADLINE, v, r, s);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, v, r, s);
        vm.assertEq(freeOf(hospital), 60, "free");
    }

    /// @dev The payer is who calls: a permit seen in a pending transaction pays for nobody else's stake.
    function test_APermitOfAnotherPaysNothing() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, 60, DEADLINE);
        refused(stranger, 0, 60);
        vm.prank(stranger);
        bonds.depositWithPermit(stranger, 60, DEADLINE, v, r, s);
        // Carried as well, it is an allowance of Bonds, which takes from its caller alone.
        token.permit(payer, address(bonds), 60, DEADLINE, v, r, s);
        refused(stranger, 0, 60);
        vm.prank(stranger);
        bonds.depositWithPermit(stranger, 60, DEADLINE, v, r, s);
        vm.assertEq(token.balanceOf(payer), 100, "payer");
    }

    function test_APermitIsUsedOnce() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, 60, DEADLINE);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, v, r, s);
        refused(payer, 0, 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, v, r, s);
    }

    function test_ALatePermitOrOneForLessOrByAnotherIsRefused() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, 60, 999_999);
        refused(payer, 0, 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, 999_999, v, r, s);
        (v, r, s) = permit(payerKey, payer, 59, DEADLINE);
        refused(payer, 0, 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, v, r, s);
        (v, r, s) = permit(keyOf("another"), payer, 60, DEADLINE);
        refused(payer, 0, 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, v, r, s);
        vm.assertEq(freeOf(hospital), 0, "free");
    }

    function test_AnApprovalThatSufficesNeedsNoPermit() public {
        vm.prank(payer);
        token.approve(address(bonds), 59);
        refused(payer, 59, 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, 27, 0, 0);
        vm.prank(payer);
        token.approve(address(bonds), 60);
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 60, DEADLINE, 27, 0, 0);
        vm.assertEq(freeOf(hospital), 60, "free");
    }

    function test_APermitForMoreThanThePayerHasReverts() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, 101, DEADLINE);
        vm.expectRevert(abi.encodeWithSignature("ERC20InsufficientBalance(address,uint256,uint256)", payer, 100, 101));
        vm.prank(payer);
        bonds.depositWithPermit(hospital, 101, DEADLINE, v, r, s);
        vm.assertEq(token.nonces(payer), 0, "the permit is not used up");
    }

    function test_NobodyAndNothingAreRefused() public {
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAddress.selector));
        bonds.depositWithPermit(address(0), 1, DEADLINE, 27, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IBonds.BondsZeroAmount.selector));
        bonds.depositWithPermit(hospital, 0, DEADLINE, 27, 0, 0);
    }

    /// @dev Bonds takes any plain ERC-20; one without permits is paid by approval.
    function test_ATokenWithoutPermitsIsPaidByApproval() public {
        PlainToken plain = new PlainToken();
        Bonds other = new Bonds(address(plain), 1, 1);
        refused(address(this), 0, 5);
        other.depositWithPermit(hospital, 5, DEADLINE, 27, 0, 0);
        plain.approve(address(other), 5);
        other.depositWithPermit(hospital, 5, DEADLINE, 27, 0, 0);
        (uint256 free,,) = other.stakeOf(hospital);
        vm.assertEq(free, 5, "free");
    }

    /// @dev Whatever was signed, the books and the tokens agree.
    function testFuzz_APermittedDepositAddsUp(uint256 amount, uint256 signed, uint256 approved) public {
        amount = bound(amount, 0, 120);
        signed = bound(signed, 0, 120);
        approved = bound(approved, 0, 120);
        vm.prank(payer);
        token.approve(address(bonds), approved);
        (uint8 v, bytes32 r, bytes32 s) = permit(payerKey, payer, signed, DEADLINE);
        vm.prank(payer);
        (bool done,) = address(bonds).call(abi.encodeCall(IBonds.depositWithPermit, (hospital, amount, DEADLINE, v, r, s)));
        bool allowed = signed == amount || approved >= amount;
        bool expected = amount != 0 && amount <= 100 && allowed;
        vm.assertTrue(done == expected, "accepted exactly when paid for");
        vm.assertEq(freeOf(hospital), done ? amount : 0, "free");
        vm.assertEq(token.balanceOf(address(bonds)), done ? amount : 0, "balance");
    }
}
