// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Kind, Proposal, RecordProof} from "./Types.sol";

/// @title IRefutations
/// @notice Where anyone proves a fault: binds evidence to the chain's state, asks the study's pinned referee, orders the fine.
/// @dev `announce(keccak256(abi.encode(sender, keccak256(evidence), salt)))` at least one block ahead pays at once;
///      otherwise the challenger's share is held and an earlier announcer of the same evidence may claim it.
///      For contradiction, evidence is abi.encode(failed Proposal).
interface IRefutations {
    event EvidenceAnnounced(bytes32 indexed digest, address indexed sender, uint256 atBlock);
    event Refuted(uint64 indexed studyId, uint32 indexed round, address indexed accused, Kind kind, address challenger, bytes32 ctx, uint256 coordinate, int256 claimed, int256 right, uint256 fine, bool recorded);

    error RefutationWrongPhase(uint64 studyId, uint8 phase);
    error RefutationWrongProposal(bytes32 expected, bytes32 actual);
    error RefutationWrongRecord(bytes32 expected, bytes32 actual);
    error RefutationWrongContext(bytes32 expected, bytes32 actual);
    error RefutationTooLate(uint256 deadline, uint256 time);
    error RefutationUnknownSigner(address signer);
    error RefutationSameRoots();
    error RefutationNotFailedProposal(bytes32 proposal);
    error RefutationKindUnsupported(Kind kind);
    error RefutationAlreadyAnnounced(bytes32 digest);
    error RefutationNotAnnounced(bytes32 digest);

    function announce(bytes32 digest) external;
    /// @notice Refutes the live proposal (kind Mean, Step or Tail). `salt` zero when not announced.
    function refute(Kind kind, uint64 studyId, Proposal calldata proposal, bytes calldata evidence, bytes32 salt) external;
    /// @notice The same against a recorded round, until finalizedAt + evidencePeriod; marks the record disputed.
    function dispute(Kind kind, uint64 studyId, Proposal calldata proposal, RecordProof calldata proof, bytes calldata evidence, bytes32 salt) external;
    /// @notice R4 against the signer of an Update.
    function refuteRange(uint64 studyId, bytes calldata evidence, bytes32 salt) external;
    /// @notice R8 against the signer of two Updates.
    function refuteEquivocation(uint64 studyId, bytes calldata evidence, bytes32 salt) external;
    /// @notice R11: a failed proposal of a final round has other roots than the finalized one.
    function refuteContradiction(uint64 studyId, Proposal calldata finalProposal, RecordProof calldata proof, Proposal calldata failedProposal, bytes32 salt) external;
    /// @notice Claims a held reward with an announcement older than the accepted refutation.
    function claimAnnounced(bytes32 key, bytes32 evidenceHash, bytes32 salt) external;
}
