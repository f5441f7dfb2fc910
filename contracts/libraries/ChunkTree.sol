// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title ChunkTree
/// @notice SHA-256 trees over chunks of 64 little-endian int32 (docs/protocol.md, "Trees and blobs"):
///         leaf = sha256(00 || 256 bytes), node = sha256(01 || left || right), by position, never sorted.
/// @dev An opening is `chunk 256 | path 32 * depth` in calldata, named by its offset there; callers check lengths first.
///      The prefix and the fixed depth keep a node from passing as a leaf.
library ChunkTree {
    uint256 internal constant ELEMENTS = 64;
    uint256 internal constant CHUNK_BYTES = 256;
    /// @notice sha256(00 || 256 zero bytes), the leaf of a chunk of zeros.
    bytes32 internal constant ZERO_LEAF = 0x6c934d0cdf9dba94b474d6d1929f16739bd9a8ed31d0c3bcaf82c283fb7a3568;

    /// @dev Lane masks of eight int32 in a word.
    uint256 private constant BYTES_OF_PAIR = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant PAIRS_OF_LANE = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
    uint256 private constant EVEN_LANES = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
    uint256 private constant ONE_PER_LANE = 0x0000000000000001000000000000000100000000000000010000000000000001;

    /// @notice Chunks that `count` elements fill.
    function countLeaves(uint256 count) internal pure returns (uint256 leaves) {
        leaves = (count + ELEMENTS - 1) / ELEMENTS;
    }

    /// @notice Levels above the leaves: (leaves - 1).bit_length(); one leaf is its own root.
    function computeDepth(uint256 leaves) internal pure returns (uint256 depth) {
        unchecked {
            if (leaves > 1) depth = Math.log2(leaves - 1) + 1;
        }
    }

    /// @notice Bytes of one opening.
    function openingLength(uint256 depth) internal pure returns (uint256) {
        unchecked {
            return CHUNK_BYTES + 32 * depth;
        }
    }

    /// @notice Root that the opening at `offset` leads to, `leaf` being below 2^depth.
    function computeRoot(uint256 offset, uint256 leaf, uint256 depth) internal pure returns (bytes32) {
        return _asPure(_computeRoot)(offset, leaf, depth);
    }

    /// @notice Element `k` of the chunk at `offset`.
    function readElement(uint256 offset, uint256 k) internal pure returns (int256 element) {
        uint256 word;
        assembly ("memory-safe") {
            word := shr(224, calldataload(add(offset, shl(2, k))))
        }
        word = ((word & 0x00ff00ff) << 8) | ((word >> 8) & 0x00ff00ff);
        element = int32(uint32((word << 16) | (word >> 16)));
    }

    /// @notice First of the elements `from` … 63 that is not zero; 64 when all are.
    function findNonZero(uint256 offset, uint256 from) internal pure returns (uint256 k) {
        unchecked {
            for (k = from; k < ELEMENTS; ++k) {
                if (readElement(offset, k) != 0) break;
            }
        }
    }

    /// @notice First of the elements 0 … `end` - 1 outside of ±`bound`; `end` when there is none.
    /// @dev Eight lanes a word: lane + bound, modulo 2^32, is at most 2 * bound exactly for the lanes in range. Odd and even
    ///      lanes are looked at apart, each with 32 bits of room. Lanes from `end` on may raise a false alarm; the second
    ///      loop settles it element by element.
    function findOutOfRange(uint256 offset, uint256 end, uint256 bound) internal pure returns (uint256) {
        unchecked {
            uint256 shift = bound * ONE_PER_LANE;
            uint256 limit = (2 * bound + (1 << 32)) * ONE_PER_LANE;
            uint256 carries = ONE_PER_LANE << 32;
            for (uint256 k; k < end; k += 8) {
                uint256 word;
                assembly ("memory-safe") {
                    word := calldataload(add(offset, shl(2, k)))
                }
                word = ((word & BYTES_OF_PAIR) << 8) | ((word >> 8) & BYTES_OF_PAIR);
                word = ((word & PAIRS_OF_LANE) << 16) | ((word >> 16) & PAIRS_OF_LANE);
                uint256 even = limit - (((word & EVEN_LANES) + shift) & EVEN_LANES);
                uint256 odd = limit - ((((word >> 32) & EVEN_LANES) + shift) & EVEN_LANES);
                if (even & odd & carries == carries) continue;
                for (uint256 i = k; i < k + 8 && i < end; ++i) {
                    int256 element = readElement(offset, i);
                    if (element > int256(bound) || element < -int256(bound)) return i;
                }
            }
            return end;
        }
    }

    /// @notice First sibling of the opening that stands for nothing but missing leaves and yet is not their zero subtree.
    /// @return found whether there is one
    /// @return first the first leaf below it
    function findForeignSibling(uint256 offset, uint256 leaf, uint256 depth, uint256 leaves) internal pure returns (bool found, uint256 first) {
        unchecked {
            // A leaf of the payload has such siblings on its right only, and those begin later the higher they stand.
            if (leaf < leaves) {
                uint256 rights = ~leaf & ((1 << depth) - 1);
                uint256 highest = Math.log2(rights);
                if (rights == 0 || ((leaf >> highest) | 1) << highest < leaves) return (false, 0);
            }
            bytes32 zero = ZERO_LEAF;
            uint256 zeroLevel;
            for (uint256 level; level < depth; ++level) {
                first = ((leaf >> level) ^ 1) << level;
                if (first < leaves) continue;
                for (; zeroLevel < level; ++zeroLevel) zero = hashNode(zero, zero);
                bytes32 sibling;
                assembly ("memory-safe") {
                    sibling := calldataload(add(add(offset, CHUNK_BYTES), shl(5, level)))
                }
                if (sibling != zero) return (true, first);
            }
            return (false, 0);
        }
    }

    /// @notice sha256(01 || left || right).
    function hashNode(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    /// @dev Two halves of a node follow a prefix byte in memory, at an address whose low six bits are zero. Each hash is
    ///      written to the half where its parent needs it, its sibling is copied to the other, 32 bytes apart.
    ///      Results of the calls need no look: SHA-256 fails only for want of gas, and then what is left ends this call.
    ///      Reference: tests/contracts/support/Judging.sol.
    function _computeRoot(uint256 offset, uint256 leaf, uint256 depth) private view returns (bytes32 root) {
        assembly ("memory-safe") {
            let halves := and(add(mload(0x40), 64), not(63))
            let prefix := sub(halves, 1)
            mstore8(prefix, 0)
            calldatacopy(halves, offset, CHUNK_BYTES)
            // Bit 5 says on which side the node of the level stands.
            let position := shl(5, leaf)
            let node := or(halves, and(position, 32))
            pop(staticcall(gas(), 2, prefix, 257, node, 32))
            mstore8(prefix, 1)
            let sibling := add(offset, CHUNK_BYTES)
            // Two levels a turn; an odd one first.
            if and(depth, 1) {
                calldatacopy(xor(node, 32), sibling, 32)
                position := shr(1, position)
                node := or(halves, and(position, 32))
                pop(staticcall(gas(), 2, prefix, 65, node, 32))
                sibling := add(sibling, 32)
            }
            for { let end := add(add(offset, CHUNK_BYTES), shl(5, depth)) } lt(sibling, end) { sibling := add(sibling, 64) } {
                position := shr(1, position)
                calldatacopy(xor(node, 32), sibling, 32)
                node := or(halves, and(position, 32))
                pop(staticcall(gas(), 2, prefix, 65, node, 32))
                position := shr(1, position)
                calldatacopy(xor(node, 32), add(sibling, 32), 32)
                node := or(halves, and(position, 32))
                pop(staticcall(gas(), 2, prefix, 65, node, 32))
            }
            root := mload(node)
        }
    }

    /// @dev A call of a precompile reads no state, but the compiler counts every call as a read.
    function _asPure(function(uint256, uint256, uint256) internal view returns (bytes32) f)
        private
        pure
        returns (function(uint256, uint256, uint256) internal pure returns (bytes32) g)
    {
        assembly ("memory-safe") {
            g := f
        }
    }
}
