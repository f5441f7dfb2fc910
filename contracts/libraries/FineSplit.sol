// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title FineSplit
/// @notice Half of a fine is burned, 30% goes to the challenger, 20% in equal parts to the clients of the round.
///         Rounding dust and a part that nobody is there to take are burned as well.
library FineSplit {
    /// @return what the challenger gets
    function rewardOf(uint256 amount) internal pure returns (uint256) {
        return amount * 3 / 10;
    }

    /// @param clients how many share
    /// @return what each of them gets
    function shareOf(uint256 amount, uint256 clients) internal pure returns (uint256) {
        return clients == 0 ? 0 : amount / 5 / clients;
    }

    /// @return count bits set in a set of seats
    function countSeats(uint128 seats) internal pure returns (uint256 count) {
        unchecked {
            uint256 x = seats;
            x -= (x >> 1) & 0x55555555555555555555555555555555;
            x = (x & 0x33333333333333333333333333333333) + ((x >> 2) & 0x33333333333333333333333333333333);
            x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
            // The product of 16 byte counts: their sum, at most 128, ends in the byte at bit 120.
            count = ((x * 0x01010101010101010101010101010101) >> 120) & 0xff;
        }
    }
}
