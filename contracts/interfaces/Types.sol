// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Types
/// @notice The records that contracts hash, judge and emit. Field order is part of the format (docs/protocol.md).

/// @notice One section of a format table: a run of equally encoded elements, padded to 64.
/// @param count elements, without padding
/// @param firstChunk index of its first 64-element chunk
/// @param elementType 1 = int32 (2 = int64, 3 = int8, 4 = int4 are reserved)
/// @param exponent f: an element e stands for e * 2^-f
/// @param bound B >= 1: update elements are read as clamp(e, -B, B)
/// @param weighted whether the weight multiplies this section
struct Section {
    uint64 count;
    uint32 firstChunk;
    uint8 elementType;
    uint8 exponent;
    uint32 bound;
    bool weighted;
}

/// @notice What a tree's bytes mean. `formatId = keccak(TAG_FORMAT, sectionsHash, tableHash)`.
/// @param sections at most 8, in chunk order
/// @param tableHash sha256 of the canonical JSON table (name, shape, section per tensor)
struct Format {
    Section[] sections;
    bytes32 tableHash;
}

/// @notice A study's whole plan, fixed at creation. `planHash = keccak(TAG_PLAN, words of this struct)`.
struct Plan {
    /// 1 = Open
    uint8 mode;
    /// 1 = weighted mean
    uint8 rule;
    /// 1 = FedAvg
    uint8 optimizer;
    /// server rate = rateNumerator / rateDenominator
    uint64 rateNumerator;
    uint64 rateDenominator;
    bytes32 formatId;
    bytes32 genesisModelRoot;
    /// digest inside the CID of the genesis model blob
    bytes32 genesisModelDigest;
    bytes32 taskDigest;
    address referee;
    uint8 minClients;
    uint8 maxMembers;
    uint8 quorumMin;
    uint32 maxWeight;
    /// windows and periods in seconds
    uint32 commitWindow;
    uint32 revealWindow;
    uint32 certifyWindow;
    uint32 proposeWindow;
    uint32 challengeWindow;
    uint32 evidencePeriod;
    uint128 aggregatorBond;
    /// fines in token units (wei of the stake token)
    uint128 unrevealedFine;
    uint128 rangeFine;
    uint128 equivocationFine;
    uint128 dutyFine;
    uint128 contradictionFine;
    bytes32 rewardTerms;
    bytes32 privacyProfilesHash;
    bytes32 agreement;
    /// digest inside the CID of the human-readable plan (canonical JSON)
    bytes32 planDigest;
}

/// @notice What an institution signs to join (EIP-712 type `Join`).
struct Join {
    uint64 studyId;
    bytes32 planHash;
    address institution;
    address nodeKey;
    uint128 maxFine;
    bytes32 agreement;
    bool openUpdates;
    uint64 nonce;
    uint40 deadline;
}

/// @notice A proposal in full; `keccak(TAG_PROPOSAL, words of this struct)` is what the round stores.
struct Proposal {
    bytes32 ctx;
    /// node key of the proposing aggregator
    address aggregator;
    /// failed duties of this round before it (the format's `try`)
    uint8 attempt;
    bytes32 setHash;
    /// U as a bitmap of seat indices
    uint128 included;
    uint128 dropouts;
    uint64 weightSum;
    bytes32 meanRoot;
    bytes32 newModelRoot;
    bytes32 newStateRoot;
    bytes32 modelDigest;
    bytes32 meanDigest;
    bytes32 seedsHash;
    bytes32 ext;
}

/// @notice How a final round ended. `outcome = keccak(TAG_OUTCOME, committed, revealed, included, failedProposals..., failedDuties, finalizedAt)`.
struct Outcome {
    uint128 committed;
    uint128 revealed;
    uint128 included;
    bytes32[] failedProposals;
    /// bitmap of positions in the aggregator order that let a duty pass (R10)
    uint128 failedDuties;
    uint40 finalizedAt;
}

/// @notice What ties a proposal to a permanent record: `record = keccak(TAG_RECORD, parentRecord, proposal, outcome)`,
/// and what ties the base model to the proposal's ctx.
struct RecordProof {
    uint32 round;
    bytes32 parentRecord;
    bytes32 modelRoot;
    bytes32 stateRoot;
    bytes32 cohortHash;
    bytes32 keysAcc;
    Outcome outcome;
}

/// @notice Phases of a round. `Final` is also computed for a round that may be finalized but is not yet recorded.
enum Phase {
    None,
    Commit,
    Reveal,
    Certify,
    Propose,
    Challenge,
    Final,
    Aborted
}

/// @notice Why an item of a batch was skipped; its neighbours are unaffected.
enum SkipReason {
    None,
    NotInvited,
    AlreadyDone,
    WeightOutOfRange,
    BadSignature,
    RevokedKey,
    SlotMismatch
}

/// @notice Kinds of fines. Values are part of events and of the once-only key.
enum Kind {
    None,
    /// R1: one coordinate of the mean root is wrong
    Mean,
    /// R1s: one coordinate of the new model root is wrong
    Step,
    /// R1z: bytes beyond the payload are not zero
    Tail,
    /// R4: a client's element out of range, or its padding or tail not zero
    Range,
    /// R8: two signed updates for one ctx and index
    Equivocation,
    /// R10: a duty passed without a proposal
    Duty,
    /// R11: an earlier proposal contradicts the finalized one
    Contradiction,
    /// committed but never revealed
    Unrevealed
}

/// @notice Whether the sponsor lets rounds of a study open. Closed is for ever; a running round runs to its end in each of them.
enum StudyStatus {
    Open,
    Paused,
    Closed
}

/// @notice Which lock a fine is taken from.
enum Role {
    Member,
    Aggregator
}
