// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TAG_EXT, TAG_ITEM, TAG_SEAL, TAG_SET, TAG_UPDATE} from "./Tags.sol";

/// @title UpdateSet
/// @notice Sets of seats as bitmaps, and what the slots of their updates hash to.
library UpdateSet {
    /// @notice Seats a study can have; a larger index is refused, never shifted.
    uint256 internal constant CAPACITY = 128;

    /// @return count members of `set`, a bitmap below 2^128
    function size(uint256 set) internal pure returns (uint256 count) {
        unchecked {
            set -= (set >> 1) & 0x55555555555555555555555555555555;
            set = (set & 0x33333333333333333333333333333333) + ((set >> 2) & 0x33333333333333333333333333333333);
            set = (set + (set >> 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
            count = ((set * 0x01010101010101010101010101010101) >> 120) & 0xff;
        }
    }

    /// @notice `keccak(TAG_SET, slots of set in index order…)` and the sum of the weights in the slots.
    function hash(bytes32[128] storage slots, uint256 set) internal view returns (bytes32 setHash, uint256 weightSum) {
        bytes32 tag = TAG_SET;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, tag)
            let end := add(start, 32)
            for { let slot := slots.slot } set { slot := add(slot, 1) set := shr(1, set) } {
                if and(set, 1) {
                    let value := sload(slot)
                    weightSum := add(weightSum, and(value, 0xffffffff))
                    mstore(end, value)
                    end := add(end, 32)
                }
            }
            setHash := keccak256(start, sub(end, start))
        }
    }

    /// @notice `keccak(TAG_UPDATE, ctx, index, root, seal)` with `seal = keccak(TAG_SEAL, salt, contentDigest)`.
    function hashCommitment(bytes32 ctx, uint256 index, bytes32 root, bytes32 salt, bytes32 contentDigest) internal pure returns (bytes32 commitment) {
        bytes32 sealTag = TAG_SEAL;
        bytes32 updateTag = TAG_UPDATE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, sealTag)
            mstore(add(free, 32), salt)
            mstore(add(free, 64), contentDigest)
            let sealed := keccak256(free, 96)
            mstore(free, updateTag)
            mstore(add(free, 32), ctx)
            mstore(add(free, 64), index)
            mstore(add(free, 96), root)
            mstore(add(free, 128), sealed)
            commitment := keccak256(free, 160)
        }
    }

    /// @notice `keccak(TAG_EXT, dpProfile, baseRound, localSteps, extras)`.
    function hashExt(uint256 dpProfile, uint256 baseRound, uint256 localSteps, bytes32 extras) internal pure returns (bytes32 ext) {
        bytes32 tag = TAG_EXT;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 32), dpProfile)
            mstore(add(free, 64), baseRound)
            mstore(add(free, 96), localSteps)
            mstore(add(free, 128), extras)
            ext := keccak256(free, 160)
        }
    }

    /// @notice First 28 bytes of `keccak(TAG_ITEM, commitment, weight, ext)`, then the weight.
    function toSlot(bytes32 commitment, uint256 weight, bytes32 ext) internal pure returns (bytes32 slot) {
        bytes32 tag = TAG_ITEM;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 32), commitment)
            mstore(add(free, 64), weight)
            mstore(add(free, 96), ext)
            slot := or(and(keccak256(free, 128), not(0xffffffff)), weight)
        }
    }
}
