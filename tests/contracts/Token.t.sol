// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {CollegiumToken} from "../../contracts/CollegiumToken.sol";
import {Test} from "./support/Test.sol";

contract TokenTest is Test {
    uint256 private constant SUPPLY = 1_000_000e18;

    address private treasury = actor("treasury");
    address private hospital = actor("hospital");
    CollegiumToken private token = new CollegiumToken("Collegium", "CLGM", treasury, SUPPLY);

    function test_DeploymentGivesTheRecipientTheWholeSupply() public view {
        vm.assertEq(token.totalSupply(), SUPPLY, "supply");
        vm.assertEq(token.balanceOf(treasury), SUPPLY, "treasury");
        vm.assertEq(keccak256(bytes(token.name())), keccak256("Collegium"), "name");
        vm.assertEq(keccak256(bytes(token.symbol())), keccak256("CLGM"), "symbol");
        vm.assertEq(token.decimals(), 18, "decimals");
    }

    function testFuzz_BurnShrinksTheSupply(uint256 sent, uint256 burned) public {
        sent = bound(sent, 0, SUPPLY);
        burned = bound(burned, 0, sent);
        vm.prank(treasury);
        token.transfer(hospital, sent);
        vm.prank(hospital);
        token.burn(burned);
        vm.assertEq(token.totalSupply(), SUPPLY - burned, "supply");
        vm.assertEq(token.balanceOf(hospital), sent - burned, "hospital");
    }

    function test_BurnOfMoreThanOwnedReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, hospital, 0, 1));
        vm.prank(hospital);
        token.burn(1);
    }

    function test_BurnFromWithoutAllowanceReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, hospital, 0, 1));
        vm.prank(hospital);
        token.burnFrom(treasury, 1);
    }

    function test_NobodyCanMint() public {
        (bool done,) = address(token).call(abi.encodeWithSignature("mint(address,uint256)", hospital, 1));
        vm.assertTrue(!done, "a mint was accepted");
    }
}
