// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Signatures
/// @notice Compact EIP-712 signatures of node keys (EIP-2098: r, then s with the parity in its top bit).
library Signatures {
    bytes32 internal constant DOMAIN = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant JOIN = keccak256(
        "Join(uint64 studyId,bytes32 planHash,address institution,address nodeKey,uint128 maxFine,bytes32 agreement,bool openUpdates,uint64 nonce,uint40 deadline)"
    );
    bytes32 internal constant UPDATE =
        keccak256("Update(uint64 studyId,uint32 round,bytes32 ctx,uint16 index,bytes32 commitment,uint32 weight,bytes32 ext)");
    bytes32 internal constant ATTEST = keccak256("Attest(uint64 studyId,uint32 round,bytes32 ctx,uint128 bitmap,bytes32 setHash)");
    bytes32 internal constant ENDORSE = keccak256("Endorse(uint64 studyId,uint32 round,bytes32 ctx,bytes32 proposal)");
    bytes32 internal constant REMOVE_MEMBER = keccak256("RemoveMember(uint64 studyId,address institution,uint40 deadline)");
    bytes32 internal constant ALLOW_REFEREE = keccak256("AllowReferee(address referee,bool allowed,uint64 nonce,uint40 deadline)");

    /// @dev Half the group order: a larger s is refused, so that a message has one signature.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @return digest what is signed for `structHash` under `domain`
    function toDigest(bytes32 domain, bytes32 structHash) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, hex"1901")
            mstore(add(free, 2), domain)
            mstore(add(free, 34), structHash)
            digest := keccak256(free, 66)
        }
    }

    /// @notice Struct hash of an Update.
    function hashUpdate(uint64 studyId, uint256 round, bytes32 ctx, uint256 index, bytes32 commitment, uint256 weight, bytes32 ext)
        internal
        pure
        returns (bytes32 structHash)
    {
        bytes32 typeHash = UPDATE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            mstore(add(free, 32), studyId)
            mstore(add(free, 64), round)
            mstore(add(free, 96), ctx)
            mstore(add(free, 128), index)
            mstore(add(free, 160), commitment)
            mstore(add(free, 192), weight)
            mstore(add(free, 224), ext)
            structHash := keccak256(free, 256)
        }
    }

    /// @notice A buffer for many signatures over messages that begin alike.
    /// @dev struct hash words 8 × 32 | 0x1901 2 | domain 32 | struct hash 32 | 30 unused | input of ecrecover 128. The first four
    ///      words are filled: type hash, study, round, ctx; the caller puts the others.
    function prepare(bytes32 domain, bytes32 typeHash, uint64 studyId, uint256 round, bytes32 ctx) internal pure returns (uint256 buffer) {
        assembly ("memory-safe") {
            buffer := mload(0x40)
            mstore(0x40, add(buffer, 480))
            mstore(buffer, typeHash)
            mstore(add(buffer, 32), studyId)
            mstore(add(buffer, 64), round)
            mstore(add(buffer, 96), ctx)
            mstore(add(buffer, 256), hex"1901")
            mstore(add(buffer, 258), domain)
        }
    }

    /// @notice Puts word `at` of the message.
    function put(uint256 buffer, uint256 at, uint256 value) internal pure {
        assembly ("memory-safe") {
            mstore(add(buffer, shl(5, at)), value)
        }
    }

    /// @notice Who signed the first `words` words of the buffer; the compact signature is at `signature` in calldata.
    /// @return signer zero when the signature is malformed; callers compare with a key that is never zero
    function recover(uint256 buffer, uint256 words, uint256 signature) internal view returns (address signer) {
        assembly ("memory-safe") {
            let vs := calldataload(add(signature, 32))
            let s := shr(1, shl(1, vs))
            mstore(0, 0)
            if iszero(gt(s, HALF_ORDER)) {
                mstore(add(buffer, 290), keccak256(buffer, shl(5, words)))
                mstore(add(buffer, 352), keccak256(add(buffer, 256), 66))
                mstore(add(buffer, 384), add(shr(255, vs), 27))
                mstore(add(buffer, 416), calldataload(signature))
                mstore(add(buffer, 448), s)
                pop(staticcall(gas(), 1, add(buffer, 352), 128, 0, 32))
            }
            signer := mload(0)
        }
    }
}
