// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Outcome, Proposal, RecordProof} from "../interfaces/Types.sol";
import {CompactSignature} from "./CompactSignature.sol";
import {Signatures} from "./Signatures.sol";
import {TAG_CTX, TAG_OUTCOME, TAG_PROPOSAL, TAG_RECORD, TAG_UPDATE} from "./Tags.sol";

/// @title Evidence
/// @notice Packed evidence, read by offset in calldata, and the hashes that bind it to a round.
library Evidence {
    /// leaf 4 | k 1
    uint256 internal constant COORDINATE_LENGTH = 5;
    /// seal 32 | weight 4 | ext 32
    uint256 internal constant CLIENT_LENGTH = 68;
    /// ctx 32 | round 4 | index 2 | seal 32 | weight 4 | ext 32 | r 32 | vs 32 | leaf 4
    uint256 internal constant RANGE_LENGTH = 174;
    /// ctx 32 | round 4 | index 2 | (commitment 32 | weight 4 | ext 32 | r 32 | vs 32) twice
    uint256 internal constant EQUIVOCATION_LENGTH = 302;
    uint256 internal constant SIGNED_LENGTH = 132;

    /// @notice The big-endian unsigned integer of `size` bytes at `offset`.
    function readUint(uint256 offset, uint256 size) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(offset))
        }
    }

    function readWord(uint256 offset) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(offset)
        }
    }

    /// @notice Where the bytes of `data` begin in calldata.
    function start(bytes calldata data) internal pure returns (uint256 offset) {
        assembly ("memory-safe") {
            offset := data.offset
        }
    }

    /// @notice keccak(TAG_UPDATE, ctx, index, root, seal).
    function hashCommitment(bytes32 ctx, uint256 index, bytes32 root, bytes32 seal) internal pure returns (bytes32 commitment) {
        bytes32 tag = TAG_UPDATE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 32), ctx)
            mstore(add(free, 64), index)
            mstore(add(free, 96), root)
            mstore(add(free, 128), seal)
            commitment := keccak256(free, 160)
        }
    }

    /// @notice The fourteen words of a proposal, as they are.
    function wordsOf(Proposal calldata proposal) internal pure returns (bytes calldata words) {
        assembly ("memory-safe") {
            words.offset := proposal
            words.length := 448
        }
    }

    /// @notice keccak(TAG_PROPOSAL, words of the proposal). Dirty high bits change the hash, so they match no proposal.
    function hashProposal(Proposal calldata proposal) internal pure returns (bytes32 hash) {
        bytes32 tag = TAG_PROPOSAL;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            calldatacopy(add(free, 32), proposal, 448)
            hash := keccak256(free, 480)
        }
    }

    /// @notice keccak(TAG_OUTCOME, committed, revealed, included, failedProposals…, failedDuties, finalizedAt).
    function hashOutcome(Outcome calldata outcome) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                TAG_OUTCOME,
                uint256(outcome.committed),
                uint256(outcome.revealed),
                uint256(outcome.included),
                outcome.failedProposals,
                uint256(outcome.failedDuties),
                uint256(outcome.finalizedAt)
            )
        );
    }

    /// @notice keccak(TAG_RECORD, record of the previous final round, proposal, outcome).
    function hashRecord(RecordProof calldata proof, bytes32 proposalHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(TAG_RECORD, proof.parentRecord, proposalHash, hashOutcome(proof.outcome)));
    }

    /// @notice keccak(TAG_CTX, chainid, collegium, studyId, planHash, round, parentRecord, modelRoot, stateRoot, cohortHash, keysAcc).
    function hashContext(address collegium, uint64 studyId, bytes32 planHash, RecordProof calldata proof) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                TAG_CTX,
                block.chainid,
                collegium,
                studyId,
                planHash,
                proof.round,
                proof.parentRecord,
                proof.modelRoot,
                proof.stateRoot,
                proof.cohortHash,
                proof.keysAcc
            )
        );
    }

    /// @notice Who signed the Update in `domain`; the compact signature is at `signature` in calldata. Zero when malformed.
    function recoverUpdate(bytes32 domain, bytes32 structHash, uint256 signature) internal pure returns (address) {
        return CompactSignature.recover(Signatures.toDigest(domain, structHash), readWord(signature), readWord(signature + 32));
    }
}
