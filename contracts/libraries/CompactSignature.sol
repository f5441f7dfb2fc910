// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title CompactSignature
/// @notice EIP-2098 signatures: 64 bytes, r and vs (the parity of y in the top bit of s). Low s only.
library CompactSignature {
    uint256 internal constant LENGTH = 64;

    /// @return signer zero when the signature is not one: callers refuse zero, or compare with an address that is not zero
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address signer) {
        (signer,,) = ECDSA.tryRecover(digest, r, vs);
    }

    /// @return signer zero also when the length is not 64
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        if (signature.length != LENGTH) return address(0);
        return recover(digest, bytes32(signature[:32]), bytes32(signature[32:]));
    }

    /// @notice Whether `institution` signed `digest`: ERC-1271 for an address with code; else 64 bytes compact or 65 bytes r, s, v.
    function isValid(address institution, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (signature.length == LENGTH && institution.code.length == 0) {
            address signer = recover(digest, signature);
            return signer != address(0) && signer == institution;
        }
        return SignatureChecker.isValidSignatureNowCalldata(institution, digest, signature);
    }
}
