// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Cid
/// @notice The usual base32 text of a CIDv1 with a sha2-256 digest, built from the digest so that it cannot lie.
library Cid {
    /// @notice Longest blob that is one raw block under profile unixfs-v1-2025.
    uint256 internal constant RAW_LIMIT = 1 << 20;

    /// @param digest sha2-256 digest inside the CID
    /// @param dag whether the blob exceeds one block (codec dag-pb, `bafybei…`); else codec raw (`bafkrei…`)
    /// @return text 59 characters
    function toText(bytes32 digest, bool dag) internal pure returns (string memory text) {
        (bytes32 first, bytes32 second) = toWords(digest, dag);
        assembly ("memory-safe") {
            text := mload(0x40)
            mstore(0x40, add(text, 96))
            mstore(text, 59)
            mstore(add(text, 32), first)
            mstore(add(text, 64), second)
        }
    }

    /// @return first second the 59 characters, then zeros
    function toWords(bytes32 digest, bool dag) internal pure returns (bytes32 first, bytes32 second) {
        // The prefix takes 7 characters; its last 2 bits are 0 and the digest fills the other 52 groups of 5 bits.
        uint256 high = _spread(uint256(digest) >> 98);
        uint256 low = _spread((uint256(digest) << 62) & type(uint160).max);
        bytes32 prefix = dag ? bytes32("bafybei") : bytes32("bafkrei");
        first = prefix | bytes32(high >> 56);
        second = bytes32(high << 200 | (low >> 96 << 96) >> 56);
    }

    /// @dev 32 groups of 5 bits to one character per byte, all groups at once.
    function _spread(uint256 bits) private pure returns (uint256 chars) {
        unchecked {
            uint256 mask = 0xffffffffffffffffffff;
            chars = (bits & mask) | ((bits >> 80) << 128);
            mask = uint256(0xffffffffff) * (1 | 1 << 128);
            chars = (chars & mask) | ((chars & ~mask) << 24);
            mask = uint256(0xfffff) * (1 | 1 << 64 | 1 << 128 | 1 << 192);
            chars = (chars & mask) | ((chars & ~mask) << 12);
            mask = uint256(0x3ff) * 0x0000000100000001000000010000000100000001000000010000000100000001;
            chars = (chars & mask) | ((chars & ~mask) << 6);
            mask = uint256(0x1f) * 0x0001000100010001000100010001000100010001000100010001000100010001;
            chars = (chars & mask) | ((chars & ~mask) << 3);
            // 0..25 become 'a'..'z', 26..31 become '2'..'7'.
            uint256 ones = 0x0101010101010101010101010101010101010101010101010101010101010101;
            uint256 digits = ((chars + ones * 0x66) >> 7) & ones;
            chars = chars + ones * 0x61 - digits * 73;
        }
    }
}
