// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice What Bonds keeps of a fine, in one word: seats that still may claim 128 | amount 88 | seats that shared 8 | study id + 1, 32.
type FineSlot is uint256;

/// @title FineSlots
/// @notice One write marks the key as used and opens the clients' share. Packed by hand: a struct is written member by member.
library FineSlots {
    /// @dev The study is kept plus one, so that the slot of a fine is never zero.
    uint256 internal constant MAX_STUDY = type(uint32).max - 1;

    /// @dev The caller has checked the widths: study <= MAX_STUDY, amount < 2^88, clients <= 128.
    function pack(uint256 study, uint256 paid, uint256 sharing, uint128 seats) internal pure returns (FineSlot) {
        return FineSlot.wrap(uint256(seats) << 128 | paid << 40 | sharing << 32 | study + 1);
    }

    function isUsed(FineSlot slot) internal pure returns (bool) {
        return FineSlot.unwrap(slot) != 0;
    }

    function eligible(FineSlot slot) internal pure returns (uint128) {
        return uint128(FineSlot.unwrap(slot) >> 128);
    }

    function amount(FineSlot slot) internal pure returns (uint256) {
        return uint88(FineSlot.unwrap(slot) >> 40);
    }

    function clients(FineSlot slot) internal pure returns (uint256) {
        return uint8(FineSlot.unwrap(slot) >> 32);
    }

    function studyId(FineSlot slot) internal pure returns (uint64) {
        return uint64(uint32(FineSlot.unwrap(slot))) - 1;
    }

    /// @notice The same fine after a seat took its share.
    function without(FineSlot slot, uint256 seat) internal pure returns (FineSlot) {
        return FineSlot.wrap(FineSlot.unwrap(slot) & ~(uint256(1) << (128 + seat)));
    }
}
