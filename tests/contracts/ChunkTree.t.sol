// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {Checks, Rounds, TreeReference} from "./support/Judging.sol";

/// @notice Hands calldata to the library, which reads openings from there only.
contract ChunkTreeCaller {
    function computeRoot(bytes calldata opening, uint256 leaf, uint256 depth) external pure returns (bytes32) {
        return ChunkTree.computeRoot(_offset(opening), leaf, depth);
    }

    function readElement(bytes calldata chunk, uint256 k) external pure returns (int256) {
        return ChunkTree.readElement(_offset(chunk), k);
    }

    function findOutOfRange(bytes calldata chunk, uint256 end, uint256 bound) external pure returns (uint256) {
        return ChunkTree.findOutOfRange(_offset(chunk), end, bound);
    }

    function findNonZero(bytes calldata chunk, uint256 from) external pure returns (uint256) {
        return ChunkTree.findNonZero(_offset(chunk), from);
    }

    function findForeignSibling(bytes calldata opening, uint256 leaf, uint256 depth, uint256 leaves) external pure returns (bool, uint256) {
        return ChunkTree.findForeignSibling(_offset(opening), leaf, depth, leaves);
    }

    function _offset(bytes calldata data) private pure returns (uint256 offset) {
        assembly ("memory-safe") {
            offset := data.offset
        }
    }
}

contract ChunkTreeTest is Checks {
    ChunkTreeCaller internal immutable TREE = new ChunkTreeCaller();

    function test_zero_leaf_is_the_hash_of_a_chunk_of_zeros() external pure {
        checkEq(ChunkTree.ZERO_LEAF, TreeReference.zeroSubtree(0), "zero leaf");
    }

    function test_depth_is_the_bit_length_of_the_last_leaf() external pure {
        checkEq(ChunkTree.computeDepth(1), uint256(0), "1");
        checkEq(ChunkTree.computeDepth(2), uint256(1), "2");
        checkEq(ChunkTree.computeDepth(3), uint256(2), "3");
        for (uint256 k = 1; k <= 32; ++k) {
            checkEq(ChunkTree.computeDepth((1 << k) - 1), k == 1 ? 0 : k, "2^k - 1");
            checkEq(ChunkTree.computeDepth(1 << k), k, "2^k");
            checkEq(ChunkTree.computeDepth((1 << k) + 1), k + 1, "2^k + 1");
        }
    }

    function test_leaves_hold_64_elements() external pure {
        checkEq(ChunkTree.countLeaves(1), uint256(1), "1");
        checkEq(ChunkTree.countLeaves(64), uint256(1), "64");
        checkEq(ChunkTree.countLeaves(65), uint256(2), "65");
        checkEq(ChunkTree.countLeaves(type(uint64).max), uint256(1) << 58, "2^64 - 1");
    }

    /// Every leaf of trees around each power of two opens to the reference's root.
    function test_every_opening_leads_to_the_root() external view {
        for (uint256 leaves = 1; leaves <= 9; ++leaves) {
            int32[] memory elements = new int32[](leaves * 64 - 1);
            for (uint256 k; k < elements.length; ++k) elements[k] = int32(Rounds.draw(keccak256(abi.encode(leaves, k)), -(2 ** 31), 2 ** 31 - 1));
            bytes32[][] memory levels = TreeReference.build(elements);
            uint256 depth = ChunkTree.computeDepth(leaves);
            for (uint256 leaf; leaf < uint256(1) << depth; ++leaf) {
                bytes memory opening = bytes.concat(TreeReference.chunkOf(elements, leaf), TreeReference.pathOf(levels, leaf));
                checkEq(TREE.computeRoot(opening, leaf, depth), TreeReference.rootOf(levels), "root");
                (bool found,) = TREE.findForeignSibling(opening, leaf, depth, leaves);
                check(!found, "an honest tree has no foreign sibling");
            }
        }
    }

    function testFuzz_root_matches_reference(bytes32 seed, uint8 depth, uint256 leaf) external view {
        uint256 levels = depth % 25;
        leaf %= uint256(1) << levels;
        bytes memory chunk;
        for (uint256 i; i < 8; ++i) chunk = bytes.concat(chunk, keccak256(abi.encode(seed, "chunk", i)));
        bytes32[] memory path = new bytes32[](levels);
        for (uint256 i; i < levels; ++i) path[i] = keccak256(abi.encode(seed, i));
        bytes memory opening = bytes.concat(chunk, abi.encodePacked(path));
        checkEq(TREE.computeRoot(opening, leaf, levels), TreeReference.rootFrom(chunk, path, leaf), "root");
    }

    function testFuzz_element_is_little_endian(int32 element, uint8 k) external view {
        int32[] memory elements = new int32[](64);
        elements[k % 64] = element;
        checkEq(TREE.readElement(TreeReference.chunkOf(elements, 0), k % 64), element, "element");
    }

    function testFuzz_range_matches_reference(bytes32 seed, uint32 bound, uint8 end, uint8 exceptions) external view {
        uint256 limit = uint256(bound) % (2 ** 31 - 1) + 1;
        uint256 last = uint256(end) % 65;
        int32[] memory elements = new int32[](64);
        for (uint256 k; k < 64; ++k) elements[k] = int32(Rounds.draw(keccak256(abi.encode(seed, k)), -int256(limit), int256(limit)));
        // A few elements anywhere in int32, at the bound and just beyond it.
        for (uint256 i; i < exceptions % 4; ++i) {
            uint256 k = uint256(keccak256(abi.encode(seed, "where", i))) % 64;
            int256 value = i == 0 ? int256(limit) + 1 : i == 1 ? -int256(limit) - 1 : Rounds.draw(keccak256(abi.encode(seed, "what", i)), -(2 ** 31), 2 ** 31 - 1);
            if (value > 2 ** 31 - 1) value = 2 ** 31 - 1;
            elements[k] = int32(value);
        }
        uint256 expected;
        while (expected < last && elements[expected] <= int256(limit) && elements[expected] >= -int256(limit)) ++expected;
        checkEq(TREE.findOutOfRange(TreeReference.chunkOf(elements, 0), last, limit), expected, "first out of range");
    }

    function test_range_holds_at_the_extremes_of_int32() external view {
        int32[] memory elements = new int32[](64);
        elements[63] = type(int32).min;
        bytes memory chunk = TreeReference.chunkOf(elements, 0);
        checkEq(TREE.findOutOfRange(chunk, 64, 2 ** 31 - 1), uint256(63), "-2^31 is below every bound");
        checkEq(TREE.findOutOfRange(chunk, 63, 1), uint256(63), "not among the first 63");
        elements[63] = type(int32).max;
        checkEq(TREE.findOutOfRange(TreeReference.chunkOf(elements, 0), 64, 2 ** 31 - 1), uint256(64), "2^31 - 1 may be in range");
    }

    function testFuzz_non_zero_is_found_from_any_start(uint8 at, uint8 from, int32 value) external view {
        int32[] memory elements = new int32[](64);
        uint256 k = at % 64;
        uint256 first = from % 65;
        elements[k] = value;
        uint256 expected = value != 0 && k >= first ? k : 64;
        checkEq(TREE.findNonZero(TreeReference.chunkOf(elements, 0), first), expected, "first non-zero");
    }

    /// One foreign leaf beyond the payload shows in the path of every leaf that has it in a subtree wholly beyond.
    function test_foreign_sibling_is_found() external view {
        for (uint256 leaves = 3; leaves <= 9; ++leaves) {
            uint256 depth = ChunkTree.computeDepth(leaves);
            for (uint256 foreign = leaves; foreign < uint256(1) << depth; ++foreign) {
                bytes[] memory chunks = TreeReference.chunksOf(new int32[](leaves * 64));
                bytes32[][] memory levels = TreeReference.build(chunks, TreeReference.zeroSubtree(0));
                levels[0][foreign] = keccak256("foreign");
                TreeReference.fill(levels);
                for (uint256 leaf; leaf < uint256(1) << depth; ++leaf) {
                    (bool expected, uint256 expectedFirst) = _foreignReference(leaf, depth, leaves, foreign);
                    bytes memory opening = bytes.concat(new bytes(256), TreeReference.pathOf(levels, leaf));
                    (bool found, uint256 first) = TREE.findForeignSibling(opening, leaf, depth, leaves);
                    check(found == expected, "found");
                    if (found) checkEq(first, expectedFirst, "first leaf below it");
                }
            }
        }
    }

    function _foreignReference(uint256 leaf, uint256 depth, uint256 leaves, uint256 foreign) private pure returns (bool, uint256) {
        for (uint256 level; level < depth; ++level) {
            uint256 start = ((leaf >> level) ^ 1) << level;
            if (start >= leaves && foreign >= start && foreign < start + (1 << level)) return (true, start);
        }
        return (false, 0);
    }
}
