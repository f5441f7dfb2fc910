// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Members} from "../../../contracts/Members.sol";
import {Test} from "./Test.sol";

/// @notice A council of three of which two must approve, and what institutions sign.
abstract contract Council is Test {
    bytes32 internal constant PROFILE = keccak256("profile of the institution");
    uint40 internal constant FOREVER = type(uint40).max;

    /// private keys, ascending by address
    uint256[3] internal councilKeys;

    function seatCouncil() internal returns (address[] memory seats) {
        councilKeys = [keyOf("council one"), keyOf("council two"), keyOf("council three")];
        for (uint256 i = 1; i < 3; ++i) {
            for (uint256 j = i; j > 0 && vm.addr(councilKeys[j - 1]) > vm.addr(councilKeys[j]); --j) {
                (councilKeys[j - 1], councilKeys[j]) = (councilKeys[j], councilKeys[j - 1]);
            }
        }
        seats = new address[](3);
        for (uint256 i; i < 3; ++i) {
            seats[i] = vm.addr(councilKeys[i]);
        }
    }

    /// @notice Signatures of the first two of the council, in order.
    function approve(Members members, bytes32 structHash) internal view returns (bytes memory) {
        bytes32 digest = typedDigest(address(members), structHash);
        return bytes.concat(sign(councilKeys[0], digest), sign(councilKeys[1], digest));
    }

    function hashAdmit(address institution, string memory name, uint64 nonce, uint40 deadline) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256("Admit(address institution,bytes32 profile,string name,uint64 nonce,uint40 deadline)");
        return keccak256(abi.encode(typeHash, institution, PROFILE, keccak256(bytes(name)), nonce, deadline));
    }

    function hashSuspend(address institution, bool suspended, uint64 nonce, uint40 deadline) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256("Suspend(address institution,bool suspended,uint64 nonce,uint40 deadline)");
        return keccak256(abi.encode(typeHash, institution, suspended, nonce, deadline));
    }

    function hashNodeKey(address institution, address nodeKey, uint64 nonce, uint40 deadline) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256("NodeKey(address institution,address nodeKey,uint64 nonce,uint40 deadline)");
        return keccak256(abi.encode(typeHash, institution, nodeKey, nonce, deadline));
    }

    function admit(Members members, address institution, string memory name) internal {
        bytes memory approvals = approve(members, hashAdmit(institution, name, members.nonceOf(institution), FOREVER));
        members.admit(institution, PROFILE, name, FOREVER, approvals);
    }

    function suspend(Members members, address institution, bool suspended) internal {
        bytes memory approvals = approve(members, hashSuspend(institution, suspended, members.nonceOf(institution), FOREVER));
        members.suspend(institution, suspended, FOREVER, approvals);
    }

    /// @notice Anyone carries what both keys signed.
    function register(Members members, uint256 institutionKey, uint256 nodeKey) internal {
        address institution = vm.addr(institutionKey);
        address node = vm.addr(nodeKey);
        bytes32 digest = typedDigest(address(members), hashNodeKey(institution, node, members.nonceOf(institution), FOREVER));
        members.registerNodeKey(institution, node, FOREVER, signLong(institutionKey, digest), sign(nodeKey, digest));
    }
}
