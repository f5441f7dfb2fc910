// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../interfaces/ICollegium.sol";
import {SkipReason} from "../interfaces/Types.sol";
import {Cid} from "./Cid.sol";
import {TAG_EXT, TAG_ITEM, TAG_SEAL, TAG_UPDATE} from "./Tags.sol";

/// @title WireItems
/// @notice The packed items of a batch: read into a prepared buffer, hashed there, and told by their event from there.
/// @dev The measured hot loops: each word is written once and serves hash, signature and event. Layouts: ICollegium.
///      tests/contracts/CollegiumWire.t.sol holds them against the compiler's own encoding.
library WireItems {
    /// @notice Where the bytes of a batch begin in calldata.
    function start(bytes calldata items) internal pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := items.offset
        }
    }

    function loadIndex(uint256 place) internal pure returns (uint256 index) {
        assembly ("memory-safe") {
            index := shr(240, calldataload(place))
        }
    }

    function loadByte(uint256 place) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(0, calldataload(place))
        }
    }

    /// @notice Puts index, commitment, weight and ext behind the four words of the buffer (Signatures.prepare).
    function loadCommit(uint256 place, uint256 buffer) internal pure returns (uint256 index, uint256 weight) {
        assembly ("memory-safe") {
            index := shr(240, calldataload(place))
            weight := shr(224, calldataload(add(place, 34)))
            mstore(add(buffer, 128), index)
            mstore(add(buffer, 160), calldataload(add(place, 2)))
            mstore(add(buffer, 192), weight)
            mstore(add(buffer, 224), calldataload(add(place, 38)))
        }
    }

    /// @notice Emits UpdateCommitted for the buffer's update.
    /// @return slot first 28 bytes of `keccak(TAG_ITEM, commitment, weight, ext)`, then the weight
    function emitCommitted(uint256 buffer, address key) internal returns (bytes32 slot) {
        bytes32 topic = ICollegium.UpdateCommitted.selector;
        bytes32 tag = TAG_ITEM;
        assembly ("memory-safe") {
            let data := add(buffer, 128)
            log4(data, 128, topic, mload(add(buffer, 32)), mload(add(buffer, 64)), key)
            mstore(data, tag)
            slot := or(shl(32, shr(32, keccak256(data, 128))), mload(add(buffer, 192)))
        }
    }

    /// @notice A buffer for reveals of one round.
    /// @dev event data 8 × 32: index, root, salt, weight, ext, offset of text, its length, its first word |
    ///      its second word 32 | TAG_SEAL, salt, content digest | TAG_UPDATE, ctx, index, root, seal |
    ///      TAG_EXT, dp profile, base round, local steps, extras | TAG_ITEM, commitment, weight, ext
    function prepareReveal(bytes32 ctx) internal pure returns (uint256 buffer) {
        (bytes32 sealTag, bytes32 updateTag, bytes32 extTag, bytes32 itemTag) = (TAG_SEAL, TAG_UPDATE, TAG_EXT, TAG_ITEM);
        assembly ("memory-safe") {
            buffer := mload(0x40)
            mstore(0x40, add(buffer, 832))
            mstore(add(buffer, 160), 192)
            mstore(add(buffer, 192), 59)
            mstore(add(buffer, 288), sealTag)
            mstore(add(buffer, 384), updateTag)
            mstore(add(buffer, 416), ctx)
            mstore(add(buffer, 544), extTag)
            mstore(add(buffer, 704), itemTag)
        }
    }

    /// @notice Reads the reveal at `place` into the buffer.
    /// @return slot that a commitment to exactly this reveal has
    function loadReveal(uint256 place, uint256 buffer) internal pure returns (bytes32 slot) {
        assembly ("memory-safe") {
            let index := shr(240, calldataload(place))
            let salt := calldataload(add(place, 2))
            let root := calldataload(add(place, 34))
            let weight := shr(224, calldataload(add(place, 98)))
            mstore(add(buffer, 320), salt)
            mstore(add(buffer, 352), calldataload(add(place, 66)))
            mstore(add(buffer, 448), index)
            mstore(add(buffer, 480), root)
            mstore(add(buffer, 512), keccak256(add(buffer, 288), 96))
            let fields := calldataload(add(place, 102))
            mstore(add(buffer, 576), shr(240, fields))
            mstore(add(buffer, 608), and(shr(208, fields), 0xffffffff))
            mstore(add(buffer, 640), and(shr(176, fields), 0xffffffff))
            mstore(add(buffer, 672), calldataload(add(place, 112)))
            let ext := keccak256(add(buffer, 544), 160)
            mstore(add(buffer, 736), keccak256(add(buffer, 384), 160))
            mstore(add(buffer, 768), weight)
            mstore(add(buffer, 800), ext)
            slot := or(shl(32, shr(32, keccak256(add(buffer, 704), 128))), weight)
            mstore(buffer, index)
            mstore(add(buffer, 32), root)
            mstore(add(buffer, 64), salt)
            mstore(add(buffer, 96), weight)
            mstore(add(buffer, 128), ext)
        }
    }

    /// @return weight of the buffer's reveal
    function weightOf(uint256 buffer) internal pure returns (uint256 weight) {
        assembly ("memory-safe") {
            weight := mload(add(buffer, 96))
        }
    }

    /// @notice Emits UpdateRevealed for the buffer's reveal.
    function emitRevealed(uint256 buffer, uint64 studyId, uint256 round, address key, bool dag) internal {
        bytes32 topic = ICollegium.UpdateRevealed.selector;
        bytes32 digest;
        assembly ("memory-safe") {
            digest := mload(add(buffer, 352))
        }
        (bytes32 first, bytes32 second) = Cid.toWords(digest, dag);
        assembly ("memory-safe") {
            mstore(add(buffer, 224), first)
            mstore(add(buffer, 256), second)
            log4(buffer, 288, topic, studyId, round, key)
        }
    }

    /// @notice Puts the bitmap behind the four words of the buffer.
    function loadAttestation(uint256 place, uint256 buffer) internal pure returns (uint256 index, uint256 bitmap) {
        assembly ("memory-safe") {
            let word := calldataload(place)
            index := byte(0, word)
            bitmap := and(shr(120, word), 0xffffffffffffffffffffffffffffffff)
            mstore(add(buffer, 128), bitmap)
        }
    }

    /// @notice Emits an event of the buffer's round and a node key, with two words of data.
    function emitPair(bytes32 topic, uint256 buffer, address key, uint256 first, uint256 second) internal {
        assembly ("memory-safe") {
            mstore(0, first)
            mstore(32, second)
            log4(0, 64, topic, mload(add(buffer, 32)), mload(add(buffer, 64)), key)
        }
    }

    /// @notice Emits ItemSkipped for the buffer's round.
    function emitSkipped(uint256 buffer, uint256 index, SkipReason reason) internal {
        bytes32 topic = ICollegium.ItemSkipped.selector;
        assembly ("memory-safe") {
            mstore(0, index)
            mstore(32, reason)
            log3(0, 64, topic, mload(add(buffer, 32)), mload(add(buffer, 64)))
        }
    }
}
