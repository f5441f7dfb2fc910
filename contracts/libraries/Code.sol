// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Code
/// @notice Bytes that never change, kept as the code of an account: a tenth of the price of storage to read.
/// @dev The code begins with a STOP byte so that nobody can call it.
library Code {
    error CodeWriteFailed();

    /// @notice Creates an account whose code is `00 || data`.
    function write(bytes memory data) internal returns (address account) {
        bytes memory creation = abi.encodePacked(hex"600B5981380380925939F300", data);
        assembly ("memory-safe") {
            account := create(0, add(creation, 32), mload(creation))
        }
        if (account == address(0)) revert CodeWriteFailed();
    }

    /// @notice All data of the account, without the STOP byte.
    function read(address account) internal view returns (bytes memory data) {
        assembly ("memory-safe") {
            let size := sub(extcodesize(account), 1)
            data := mload(0x40)
            mstore(0x40, add(data, and(add(size, 63), not(31))))
            mstore(data, size)
            extcodecopy(account, add(data, 32), 1, size)
        }
    }

    /// @notice The 32-byte word at `index` words into the data.
    function word(address account, uint256 index) internal view returns (uint256 value) {
        assembly ("memory-safe") {
            extcodecopy(account, 0, add(1, shl(5, index)), 32)
            value := mload(0)
        }
    }
}
