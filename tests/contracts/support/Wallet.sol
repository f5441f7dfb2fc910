// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice A contract institution: its signatures are those of its owner (ERC-1271).
contract Wallet {
    address public immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) return 0xffffffff;
        address signer = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
        return signer == OWNER && signer != address(0) ? this.isValidSignature.selector : bytes4(0xffffffff);
    }

    /// @notice Calls on behalf of the wallet.
    function act(address target, bytes calldata data) external returns (bytes memory) {
        require(msg.sender == OWNER, "not the owner");
        (bool done, bytes memory result) = target.call(data);
        require(done, "refused");
        return result;
    }
}
