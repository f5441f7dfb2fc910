// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TAG_ITEM, TAG_SET} from "./Tags.sol";

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

    /// @notice 128 counters of 7 bits, one word per bit, that overflow when they have counted to `quorum`, 1 to 128.
    function newCounters(uint256 quorum) internal pure returns (uint256 counters) {
        assembly ("memory-safe") {
            counters := mload(0x40)
            mstore(0x40, add(counters, 224))
            let first := sub(128, quorum)
            for { let j := 0 } lt(j, 7) { j := add(j, 1) } {
                mstore(add(counters, shl(5, j)), mul(and(shr(j, first), 1), 0xffffffffffffffffffffffffffffffff))
            }
        }
    }

    /// @notice Adds one to every counter in `set`.
    /// @return reached those that have now been counted `quorum` times
    function addTo(uint256 counters, uint256 set) internal pure returns (uint256 reached) {
        assembly ("memory-safe") {
            reached := set
            let plane := counters
            for { let end := add(counters, 224) } and(lt(plane, end), gt(reached, 0)) { plane := add(plane, 32) } {
                let value := mload(plane)
                mstore(plane, xor(value, reached))
                reached := and(reached, value)
            }
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
