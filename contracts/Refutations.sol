// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {FineOrder, IBonds} from "./interfaces/IBonds.sol";
import {ICollegium} from "./interfaces/ICollegium.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IReferee} from "./interfaces/IReferee.sol";
import {IRefutations} from "./interfaces/IRefutations.sol";
import {Format, Kind, Phase, Plan, Proposal, RecordProof, Role} from "./interfaces/Types.sol";
import {Code} from "./libraries/Code.sol";
import {Evidence} from "./libraries/Evidence.sol";

/// @title Refutations
/// @notice Where anyone proves a fault. Holds no money: it binds evidence to the state of Collegium, asks the referee that
///         the study pinned, and orders the fine from Bonds.
/// @dev The order of every path: bind, judge, fine (once per ctx, party and kind), mark, event. Called contracts are the
///      deployment's own and the referee, which is called statically.
contract Refutations is IRefutations {
    /// @notice Studies and rounds.
    ICollegium public immutable COLLEGIUM;
    /// @notice Locks, fines and rewards.
    IBonds public immutable BONDS;
    /// @notice Which institution answers for a node key.
    IMembers public immutable MEMBERS;

    /// @dev One slot. The time is what a held reward can be compared with later.
    struct Announcement {
        uint64 atBlock;
        uint64 atTime;
    }

    /// @notice When a digest was announced; zeros when it was not.
    mapping(bytes32 digest => Announcement) public announcementOf;

    /// @dev A proven fault on its way to Bonds and the log.
    struct Fault {
        uint64 studyId;
        uint32 round;
        Kind kind;
        Role role;
        bool recorded;
        bytes32 ctx;
        /// node key of the accused
        address signer;
        uint128 amount;
        /// seats that share the fine, the accused still among them
        uint128 eligible;
        bytes32 evidenceHash;
        uint256 coordinate;
        int256 claimed;
        int256 right;
    }

    constructor(address collegium, address bonds, address members) {
        COLLEGIUM = ICollegium(collegium);
        BONDS = IBonds(bonds);
        MEMBERS = IMembers(members);
    }

    /// @inheritdoc IRefutations
    function announce(bytes32 digest) external {
        if (announcementOf[digest].atBlock != 0) revert RefutationAlreadyAnnounced(digest);
        announcementOf[digest] = Announcement(uint64(block.number), uint64(block.timestamp));
        emit EvidenceAnnounced(digest, msg.sender, block.number);
    }

    /// @inheritdoc IRefutations
    function refute(Kind kind, uint64 studyId, Proposal calldata proposal, bytes calldata evidence, bytes32 salt) external {
        Fault memory fault;
        bytes32 modelRoot;
        bytes32 proposalHash = Evidence.hashProposal(proposal);
        {
            Phase phase;
            bytes32 liveHash;
            (fault.round, phase,, modelRoot, liveHash,,) = COLLEGIUM.liveOf(studyId);
            // Only a proposal that still waits for its window can be taken back.
            if (phase != Phase.Challenge) revert RefutationWrongPhase(studyId, uint8(phase));
            if (liveHash != proposalHash) revert RefutationWrongProposal(liveHash, proposalHash);
        }
        fault.kind = kind;
        fault.studyId = studyId;
        _judgeAggregate(fault, modelRoot, proposal, evidence);
        fault.evidenceHash = _unreserved(keccak256(evidence), salt);
        uint256 paid = _fine(fault);
        COLLEGIUM.markRefuted(studyId, proposalHash);
        _report(fault, paid);
    }

    /// @inheritdoc IRefutations
    function dispute(
        Kind kind,
        uint64 studyId,
        Proposal calldata proposal,
        RecordProof calldata proof,
        bytes calldata evidence,
        bytes32 salt
    ) external {
        Fault memory fault;
        bool disputed = _bindRecord(studyId, proposal, proof);
        // The step starts from the round's base model, which only the preimage of ctx names.
        if (kind == Kind.Step) _bindContext(studyId, proposal.ctx, proof);
        fault.kind = kind;
        fault.studyId = studyId;
        fault.round = proof.round;
        fault.recorded = true;
        Plan memory plan = _judgeAggregate(fault, proof.modelRoot, proposal, evidence);
        _requireInTime(plan, proof);
        fault.evidenceHash = _unreserved(keccak256(evidence), salt);
        uint256 paid = _fine(fault);
        if (!disputed) COLLEGIUM.markDisputed(studyId, proof.round);
        _report(fault, paid);
    }

    /// @inheritdoc IRefutations
    function refuteRange(uint64 studyId, bytes calldata evidence, bytes32 salt) external {
        Fault memory fault;
        (Plan memory plan, Format memory format) = _planOf(studyId);
        uint16 index;
        (fault.signer, fault.ctx, index, fault.coordinate, fault.claimed) =
            IReferee(plan.referee).judgeRange(studyId, COLLEGIUM.domainSeparator(), format, evidence);
        // Beyond the payload every byte is zero; within it readers take the nearest value in range.
        if (fault.coordinate < format.sections[0].count) {
            int256 bound = int256(uint256(format.sections[0].bound));
            fault.right = fault.claimed > 0 ? bound : -bound;
        }
        fault.kind = Kind.Range;
        fault.amount = plan.rangeFine;
        _fineClient(fault, studyId, evidence, salt);
    }

    /// @inheritdoc IRefutations
    function refuteEquivocation(uint64 studyId, bytes calldata evidence, bytes32 salt) external {
        Fault memory fault;
        (Plan memory plan,) = _planOf(studyId);
        uint16 index;
        (fault.signer, fault.ctx, index) = IReferee(plan.referee).judgeEquivocation(studyId, COLLEGIUM.domainSeparator(), evidence);
        fault.kind = Kind.Equivocation;
        fault.amount = plan.equivocationFine;
        _fineClient(fault, studyId, evidence, salt);
    }

    /// @inheritdoc IRefutations
    function refuteContradiction(
        uint64 studyId,
        Proposal calldata finalProposal,
        RecordProof calldata proof,
        Proposal calldata failedProposal,
        bytes32 salt
    ) external {
        _bindRecord(studyId, finalProposal, proof);
        (Plan memory plan,) = _planOf(studyId);
        _requireInTime(plan, proof);
        // The roots of a round follow from its certified set, so an honest proposal has those of the final one.
        if (
            failedProposal.meanRoot == finalProposal.meanRoot && failedProposal.newModelRoot == finalProposal.newModelRoot
                && failedProposal.newStateRoot == finalProposal.newStateRoot
        ) revert RefutationSameRoots();
        _requireFailed(proof.outcome.failedProposals, Evidence.hashProposal(failedProposal));

        Fault memory fault;
        fault.studyId = studyId;
        fault.round = proof.round;
        fault.kind = Kind.Contradiction;
        fault.role = Role.Aggregator;
        fault.recorded = true;
        fault.ctx = failedProposal.ctx;
        fault.signer = failedProposal.aggregator;
        fault.amount = plan.contradictionFine;
        fault.eligible = finalProposal.included;
        fault.evidenceHash = _unreserved(keccak256(abi.encode(failedProposal)), salt);
        _report(fault, _fine(fault));
    }

    /// @inheritdoc IRefutations
    function claimAnnounced(bytes32 key, bytes32 evidenceHash, bytes32 salt) external {
        bytes32 digest = keccak256(abi.encode(msg.sender, evidenceHash, salt));
        Announcement memory announcement = announcementOf[digest];
        if (announcement.atBlock == 0) revert RefutationNotAnnounced(digest);
        (,, uint40 claimableAt) = BONDS.heldRewardOf(key);
        // Who announced when the fault was already proven may have copied what it saw.
        uint256 fromThen = uint256(announcement.atTime) + BONDS.REWARD_HOLD();
        if (claimableAt != 0 && fromThen >= claimableAt) revert RefutationNotAnnounced(digest);
        BONDS.redirectReward(key, evidenceHash, msg.sender);
    }

    /// @dev Judges a proposal by the kind's rule and writes down who pays what for it.
    function _judgeAggregate(Fault memory fault, bytes32 modelRoot, Proposal calldata proposal, bytes calldata evidence)
        private
        view
        returns (Plan memory plan)
    {
        Format memory format;
        (plan, format) = _planOf(fault.studyId);
        IReferee referee = IReferee(plan.referee);
        if (fault.kind == Kind.Mean) {
            (fault.coordinate, fault.claimed, fault.right) = referee.judgeMean(format, proposal, evidence);
        } else if (fault.kind == Kind.Step) {
            (fault.coordinate, fault.claimed, fault.right) = referee.judgeStep(plan, format, modelRoot, proposal, evidence);
        } else if (fault.kind == Kind.Tail) {
            fault.coordinate = referee.judgeTail(format, proposal, evidence);
        } else {
            revert RefutationKindUnsupported(fault.kind);
        }
        fault.role = Role.Aggregator;
        fault.ctx = proposal.ctx;
        fault.signer = proposal.aggregator;
        fault.amount = plan.aggregatorBond;
        fault.eligible = proposal.included;
    }

    /// @dev Fines a client for what it signed. Others share only while its round is the live one.
    function _fineClient(Fault memory fault, uint64 studyId, bytes calldata evidence, bytes32 salt) private {
        fault.studyId = studyId;
        fault.role = Role.Member;
        fault.round = uint32(Evidence.readUint(Evidence.start(evidence) + 32, 4));
        (,, bytes32 liveCtx,,, uint128 certified,) = COLLEGIUM.liveOf(studyId);
        if (fault.ctx == liveCtx) fault.eligible = certified;
        fault.evidenceHash = _unreserved(keccak256(evidence), salt);
        _report(fault, _fine(fault));
    }

    /// @dev Orders the fine; `fault.signer` becomes its institution.
    function _fine(Fault memory fault) private returns (uint256 paid) {
        address institution = MEMBERS.institutionOf(fault.signer);
        if (institution == address(0)) revert RefutationUnknownSigner(fault.signer);
        fault.signer = institution;
        if (fault.eligible != 0) {
            (bool seated, uint16 index,) = COLLEGIUM.seatOf(fault.studyId, institution);
            if (seated) fault.eligible &= ~(uint128(1) << index);
        }
        paid = BONDS.fine(
            FineOrder({
                studyId: fault.studyId,
                institution: institution,
                role: fault.role,
                kind: fault.kind,
                amount: fault.amount,
                ctx: fault.ctx,
                challenger: msg.sender,
                evidenceHash: fault.evidenceHash,
                eligible: fault.eligible
            })
        );
    }

    function _report(Fault memory fault, uint256 paid) private {
        emit Refuted(
            fault.studyId,
            fault.round,
            fault.signer,
            fault.kind,
            msg.sender,
            fault.ctx,
            fault.coordinate,
            fault.claimed,
            fault.right,
            paid,
            fault.recorded
        );
    }

    /// @return hash zero when the sender announced this evidence in an earlier block: then nobody else can claim the reward
    function _unreserved(bytes32 evidenceHash, bytes32 salt) private view returns (bytes32 hash) {
        if (salt == 0) return evidenceHash;
        bytes32 digest = keccak256(abi.encode(msg.sender, evidenceHash, salt));
        uint256 announced = announcementOf[digest].atBlock;
        if (announced == 0) revert RefutationNotAnnounced(digest);
        return announced < block.number ? bytes32(0) : evidenceHash;
    }

    /// @dev The proposal and its outcome must be the recorded ones.
    function _bindRecord(uint64 studyId, Proposal calldata proposal, RecordProof calldata proof) private view returns (bool disputed) {
        bytes32 record;
        (record, disputed) = COLLEGIUM.recordOf(studyId, proof.round);
        bytes32 actual = Evidence.hashRecord(proof, Evidence.hashProposal(proposal));
        if (record != actual) revert RefutationWrongRecord(record, actual);
    }

    function _bindContext(uint64 studyId, bytes32 ctx, RecordProof calldata proof) private view {
        (,,,,,, bytes32 planHash) = COLLEGIUM.liveOf(studyId);
        bytes32 actual = Evidence.hashContext(address(COLLEGIUM), studyId, planHash, proof);
        if (ctx != actual) revert RefutationWrongContext(ctx, actual);
    }

    /// @dev Locks are released after the evidence period, so later there is nothing to pay with.
    function _requireInTime(Plan memory plan, RecordProof calldata proof) private view {
        uint256 deadline = uint256(proof.outcome.finalizedAt) + plan.evidencePeriod;
        if (block.timestamp >= deadline) revert RefutationTooLate(deadline, block.timestamp);
    }

    function _requireFailed(bytes32[] calldata failed, bytes32 proposalHash) private pure {
        for (uint256 i; i < failed.length; ++i) {
            if (failed[i] == proposalHash) return;
        }
        revert RefutationNotFailedProposal(proposalHash);
    }

    function _planOf(uint64 studyId) private view returns (Plan memory plan, Format memory format) {
        (plan, format) = abi.decode(Code.read(COLLEGIUM.planCodeOf(studyId)), (Plan, Format));
    }
}
