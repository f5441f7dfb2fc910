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

    /// @return signer zero when the signature is malformed; callers compare with a key that is never zero
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal view returns (address signer) {
        uint256 s = uint256(vs) & (type(uint256).max >> 1);
        if (s > HALF_ORDER) return address(0);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, digest)
            mstore(add(free, 32), add(shr(255, vs), 27))
            mstore(add(free, 64), r)
            mstore(add(free, 96), s)
            mstore(0, 0)
            pop(staticcall(gas(), 1, free, 128, 0, 32))
            signer := mload(0)
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

    /// @notice Struct hash of an Attest.
    function hashAttest(uint64 studyId, uint256 round, bytes32 ctx, uint256 bitmap, bytes32 setHash) internal pure returns (bytes32 structHash) {
        bytes32 typeHash = ATTEST;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            mstore(add(free, 32), studyId)
            mstore(add(free, 64), round)
            mstore(add(free, 96), ctx)
            mstore(add(free, 128), bitmap)
            mstore(add(free, 160), setHash)
            structHash := keccak256(free, 192)
        }
    }

    /// @notice Struct hash of an Endorse.
    function hashEndorse(uint64 studyId, uint256 round, bytes32 ctx, bytes32 proposal) internal pure returns (bytes32) {
        return keccak256(abi.encode(ENDORSE, studyId, round, ctx, proposal));
    }
}
