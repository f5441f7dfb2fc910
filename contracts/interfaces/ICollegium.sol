// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Format, Join, Outcome, Phase, Plan, Proposal, RecordProof, SkipReason, StudyStatus} from "./Types.sol";

/// @title ICollegium
/// @notice Studies and rounds: what each member committed, what the aggregate therefore must be, and the log that replays it.
/// @dev EIP-712 domain ("Collegium", "1", chainId, this contract). Types:
///      Join(uint64 studyId,bytes32 planHash,address institution,address nodeKey,uint128 maxFine,bytes32 agreement,bool openUpdates,uint64 nonce,uint40 deadline)
///      Update(uint64 studyId,uint32 round,bytes32 ctx,uint16 index,bytes32 commitment,uint32 weight,bytes32 ext)
///      Attest(uint64 studyId,uint32 round,bytes32 ctx,uint128 bitmap,bytes32 setHash)
///      Endorse(uint64 studyId,uint32 round,bytes32 ctx,bytes32 proposal)
///      AllowReferee(address referee,bool allowed,uint64 nonce,uint40 deadline)   in the domain of Members, by the council
///      RemoveMember(uint64 studyId,address institution,uint40 deadline)           in the domain of Members, by the council; needs no
///      nonce, because a seat is removed once and never given again
///      Signatures of node keys are compact (r, vs), 64 bytes, low s.
///      Wire items, packed:
///        commit  index 2 | commitment 32 | weight 4 | ext 32 | r 32 | vs 32                                            = 134
///        reveal  index 2 | salt 32 | root 32 | contentDigest 32 | weight 4 | dpProfile 2 | baseRound 4 | localSteps 4 | extras 32 = 144
///        attest  index 1 | bitmap 16 | r 32 | vs 32                                                                    = 81
///        endorse index 1 | r 32 | vs 32                                                                                = 65
///      A member's seat index is given at join and never reused within a study.
interface ICollegium {
    event RefereeAllowed(address indexed referee, bool allowed, uint256 approvals);
    event StudyCreated(uint64 indexed studyId, address indexed sponsor, bytes32 indexed planHash, Plan plan, Format format, string planCid, string genesisCid);
    event MemberJoined(uint64 indexed studyId, address indexed institution, uint16 index, address nodeKey, uint128 maxFine, bytes32 agreement, bool openUpdates);
    event MemberLeft(uint64 indexed studyId, address indexed institution, uint16 index, uint40 releasableAt);
    /// @notice The council removed a member: it is in no later snapshot, and its lock is released like that of one that left.
    event MemberRemoved(uint64 indexed studyId, address indexed institution, uint16 index, uint40 releasableAt, uint256 approvals);
    event StudyStatusChanged(uint64 indexed studyId, address indexed sponsor, StudyStatus status);
    /// @notice No round opens at or after `openUntil`, in seconds.
    event StudyExtended(uint64 indexed studyId, address indexed sponsor, uint40 openUntil);
    event AggregatorEnlisted(uint64 indexed studyId, address indexed institution, address nodeKey);
    event AggregatorDelisted(uint64 indexed studyId, address indexed institution, uint40 releasableAt);
    /// @notice Emitted by openRound whenever roster or order differ from the last snapshot. Seats without usable key are zero.
    event RosterSnapshotted(uint64 indexed studyId, uint32 indexed round, bytes32 snapshotHash, address[] institutions, address[] nodeKeys, address[] aggregators);
    event RoundOpened(uint64 indexed studyId, uint32 indexed round, address indexed opener, bytes32 ctx, uint128 invited, uint8 quorum, bytes32 modelRoot, bytes32 stateRoot, bytes32 parentRecord, bytes32 cohortHash, string modelCid);
    event UpdateCommitted(uint64 indexed studyId, uint32 indexed round, address indexed nodeKey, uint16 index, bytes32 commitment, uint32 weight, bytes32 ext);
    event UpdateRevealed(uint64 indexed studyId, uint32 indexed round, address indexed nodeKey, uint16 index, bytes32 root, bytes32 salt, uint32 weight, bytes32 ext, string cid);
    event UpdatesAttested(uint64 indexed studyId, uint32 indexed round, address indexed nodeKey, uint16 index, uint128 bitmap);
    event UpdatesCertified(uint64 indexed studyId, uint32 indexed round, uint128 certified);
    event ItemSkipped(uint64 indexed studyId, uint32 indexed round, uint16 index, SkipReason reason);
    event AggregateProposed(uint64 indexed studyId, uint32 indexed round, address indexed aggregator, bytes32 proposalHash, Proposal proposal, string modelCid, string meanCid);
    event ProposalEndorsed(uint64 indexed studyId, uint32 indexed round, address indexed nodeKey, uint16 index, bytes32 proposalHash);
    event ProposalRefuted(uint64 indexed studyId, uint32 indexed round, address indexed aggregator, bytes32 proposalHash);
    event ProposalLapsed(uint64 indexed studyId, uint32 indexed round, address indexed aggregator, bytes32 proposalHash);
    event DutyMissed(uint64 indexed studyId, uint32 indexed round, address indexed aggregator, uint8 attempt);
    event RoundFinalized(uint64 indexed studyId, uint32 indexed round, bytes32 indexed record, bytes32 proposalHash, Outcome outcome, bytes32 newModelRoot, string modelCid);
    event RoundAborted(uint64 indexed studyId, uint32 indexed round, Phase phase);
    event RecordDisputed(uint64 indexed studyId, uint32 indexed round, bytes32 indexed record);

    error StudyUnknown(uint64 studyId);
    error StudyRefereeNotAllowed(address referee);
    error StudyPlanRejected(uint256 reason);
    error StudyFormatMismatch(bytes32 expected, bytes32 actual);
    error StudyWindowTooShort(uint32 window, uint32 minimum);
    error StudyNotSponsor(uint64 studyId, address caller);
    /// @notice The sponsor paused or closed the study, or its term is over.
    error StudyNotOpen(uint64 studyId, StudyStatus status, uint40 openUntil);
    error StudyStatusUnchanged(uint64 studyId, StudyStatus status);
    error StudyTermNotExtended(uint40 openUntil, uint256 earliest);
    error JoinPlanMismatch(bytes32 expected, bytes32 actual);
    error JoinAgreementMismatch(bytes32 expected, bytes32 actual);
    error JoinOpenUpdatesRequired();
    error JoinFineTooSmall(uint128 maxFine, uint128 needed);
    error JoinNotAdmitted(address institution);
    error JoinNodeKeyMismatch(address expected, address actual);
    error JoinAlreadyMember(address institution, uint16 index);
    error JoinStudyFull(uint8 maxMembers);
    error JoinBadNonce(uint64 expected, uint64 actual);
    error JoinDeadlinePassed(uint40 deadline, uint256 time);
    error JoinBadSignature(address institution);
    error MemberUnknown(uint64 studyId, address institution);
    error AggregatorUnknown(uint64 studyId, address institution);
    error AggregatorAlreadyEnlisted(address institution);
    error AggregatorOrderFull(uint256 maximum);
    error RoundWrongPhase(uint64 studyId, Phase actual, Phase expected);
    error RoundOpenerNotAllowed(address caller);
    error RoundTooFewMembers(uint256 members, uint256 needed);
    error RoundTooFewInvited(uint256 invited, uint256 needed);
    error RoundNoAggregator(uint64 studyId);
    error RoundBatchLength(uint256 length, uint256 itemLength);
    error RoundNothingAccepted();
    error AttestationsTooFew(uint256 valid, uint256 needed);
    error AttestationsNotAscending(uint256 previous, uint256 current);
    error ProposalNotOnDuty(address caller, address onDuty);
    error ProposalMismatch(bytes32 expected, bytes32 actual);
    error CollegiumOnlyRefutations(address caller);
    error CollegiumOnlyMembers(address caller);

    function allowReferee(address referee, bool allowed, uint40 deadline, bytes calldata approvals) external;
    function createStudy(Plan calldata plan, Format calldata format) external returns (uint64 studyId);
    /// @notice Whether rounds may open. Only the sponsor; a closed study stays closed. Touches neither the running round nor money.
    function setStudyStatus(uint64 studyId, StudyStatus status) external;
    /// @notice Sets the term, or moves its end further out: no round opens at or after `openUntil`. Only the sponsor.
    function extendStudy(uint64 studyId, uint40 openUntil) external;
    /// @notice Takes an institution out of a study from the next round on, as member and as aggregator, without a fine: its locks are
    ///         released as if it had left. Only with the council's approvals: a sponsor alone could shrink the roster until it owns the quorum.
    /// @param deadline last second at which `approvals` are good
    /// @param approvals of the council over RemoveMember, see IMembers
    function removeMember(uint64 studyId, address institution, uint40 deadline, bytes calldata approvals) external;
    function join(Join calldata message, bytes calldata signature) external;
    function leave(uint64 studyId) external;
    /// @notice Locks the plan's aggregator bond of msg.sender (an active institution with a node key) and adds it to the order.
    function enlist(uint64 studyId) external;
    function delist(uint64 studyId) external;

    /// @notice By a member, an aggregator or the sponsor, while the study is open and its term runs.
    function openRound(uint64 studyId) external returns (uint32 round);
    function commitUpdates(uint64 studyId, bytes calldata items) external;
    function revealUpdates(uint64 studyId, bytes calldata items) external;
    function certify(uint64 studyId, bytes calldata attestations) external;
    function propose(uint64 studyId, bytes32 meanRoot, bytes32 newModelRoot, bytes32 modelDigest, bytes32 meanDigest) external;
    function endorse(uint64 studyId, bytes calldata endorsements) external;
    function finalize(uint64 studyId, Proposal calldata proposal) external;
    /// @notice Endorses, finalizes and, when asked, opens the next round in one call; a study that is not open or whose term is over
    ///         stays as it is then.
    function conclude(uint64 studyId, bytes calldata endorsements, Proposal calldata proposal, bool openNext) external;
    /// @notice Writes down what time already decided: missed duties, lapsed proposals, aborts, and fines of an ended round. Anyone may call.
    function settle(uint64 studyId) external;

    /// @notice Only Refutations: the live proposal was proven wrong.
    function markRefuted(uint64 studyId, bytes32 proposalHash) external;
    /// @notice Only Refutations: a recorded round was proven wrong; it stays recorded.
    function markDisputed(uint64 studyId, uint32 round) external;

    function studyOf(uint64 studyId) external view returns (Plan memory plan, Format memory format, bytes32 planHash, uint256 members, uint256 aggregators, uint32 round);
    /// @return sponsor who may pause, close and extend; openUntil end of the term in seconds, 0 when there is none
    function governanceOf(uint64 studyId) external view returns (address sponsor, StudyStatus status, uint40 openUntil);
    function roundOf(uint64 studyId) external view returns (uint32 round, Phase phase, uint8 attempt, uint40 deadline, bytes32 ctx, uint128 invited, uint128 committed, uint128 revealed, uint128 certified, uint128 endorsed, bytes32 proposalHash);
    /// @return phase computed at block.timestamp; attempt failed duties so far; deadline of the phase (0 when ended)
    function phaseOf(uint64 studyId) external view returns (Phase phase, uint8 attempt, uint40 deadline);
    function onDuty(uint64 studyId) external view returns (address aggregator);
    function modelOf(uint64 studyId) external view returns (bytes32 modelRoot, bytes32 stateRoot, string memory cid, uint32 round);
    function updateOf(uint64 studyId, uint16 index) external view returns (bytes32 slot, bool committed, bool revealed, bool certified);
    function recordOf(uint64 studyId, uint32 round) external view returns (bytes32 record, bool disputed);
    function seatOf(uint64 studyId, address institution) external view returns (bool seated, uint16 index, uint128 maxFine);
    function snapshotOf(uint64 studyId) external view returns (address[] memory institutions, address[] memory nodeKeys, address[] memory aggregators, uint8 quorum);
    /// @notice Address whose code after the first byte is abi.encode(Plan, Format).
    function planCodeOf(uint64 studyId) external view returns (address);
    /// @notice What Refutations needs of the live round in one call.
    function liveOf(uint64 studyId) external view returns (uint32 round, Phase phase, bytes32 ctx, bytes32 modelRoot, bytes32 proposalHash, uint128 certified, bytes32 planHash);
    function domainSeparator() external view returns (bytes32);
    function studyCount() external view returns (uint64);
}
