// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {FineOrder, IBonds} from "./interfaces/IBonds.sol";
import {ICollegium} from "./interfaces/ICollegium.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IReferee} from "./interfaces/IReferee.sol";
import {IRefutations} from "./interfaces/IRefutations.sol";
import {Kind, Phase, Proposal, RecordProof, Role} from "./interfaces/Types.sol";
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

    /// @dev Positions in abi.encode(Plan, Format), in words.
    uint256 private constant REFEREE = 9;
    uint256 private constant EVIDENCE_PERIOD = 19;
    uint256 private constant AGGREGATOR_BOND = 20;
    uint256 private constant RANGE_FINE = 22;
    uint256 private constant EQUIVOCATION_FINE = 23;
    uint256 private constant CONTRADICTION_FINE = 25;
    uint256 private constant PLAN_WORDS = 30;
    uint256 private constant SECTION_COUNT = 34;
    uint256 private constant SECTION_BOUND = 38;

    /// @dev What a study is judged by: the words of its plan and of its format, as a call to the referee wants them.
    struct Rules {
        bytes planWords;
        bytes formatWords;
    }

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
        _requireInTime(_judgeAggregate(fault, proof.modelRoot, proposal, evidence), proof);
        fault.evidenceHash = _unreserved(keccak256(evidence), salt);
        uint256 paid = _fine(fault);
        if (!disputed) COLLEGIUM.markDisputed(studyId, proof.round);
        _report(fault, paid);
    }

    /// @inheritdoc IRefutations
    function refuteRange(uint64 studyId, bytes calldata evidence, bytes32 salt) external {
        Fault memory fault;
        Rules memory rules = _rulesOf(studyId);
        bytes memory verdict = _ask(
            _refereeOf(rules),
            abi.encodePacked(
                IReferee.judgeRange.selector,
                uint256(studyId),
                COLLEGIUM.domainSeparator(),
                uint256(4 * 32),
                4 * 32 + rules.formatWords.length,
                rules.formatWords,
                evidence.length,
                evidence
            )
        );
        uint16 index;
        (fault.signer, fault.ctx, index, fault.coordinate, fault.claimed) =
            abi.decode(verdict, (address, bytes32, uint16, uint256, int256));
        // Beyond the payload every byte is zero; within it readers take the nearest value in range.
        if (fault.coordinate < _word(rules, SECTION_COUNT)) {
            int256 bound = int256(_word(rules, SECTION_BOUND));
            fault.right = fault.claimed > 0 ? bound : -bound;
        }
        fault.kind = Kind.Range;
        fault.amount = uint128(_word(rules, RANGE_FINE));
        _fineClient(fault, studyId, evidence, salt);
    }

    /// @inheritdoc IRefutations
    function refuteEquivocation(uint64 studyId, bytes calldata evidence, bytes32 salt) external {
        Fault memory fault;
        Rules memory rules = _rulesOf(studyId);
        uint16 index;
        (fault.signer, fault.ctx, index) = IReferee(_refereeOf(rules)).judgeEquivocation(studyId, COLLEGIUM.domainSeparator(), evidence);
        fault.kind = Kind.Equivocation;
        fault.amount = uint128(_word(rules, EQUIVOCATION_FINE));
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
        Rules memory rules = _rulesOf(studyId);
        _requireInTime(rules, proof);
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
        fault.amount = uint128(_word(rules, CONTRADICTION_FINE));
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
        returns (Rules memory rules)
    {
        rules = _rulesOf(fault.studyId);
        address referee = _refereeOf(rules);
        if (fault.kind == Kind.Step) {
            (fault.coordinate, fault.claimed, fault.right) =
                abi.decode(_ask(referee, _stepCall(rules, modelRoot, proposal, evidence)), (uint256, int256, int256));
        } else if (fault.kind == Kind.Mean) {
            bytes memory call = _proposalCall(IReferee.judgeMean.selector, rules, proposal, evidence);
            (fault.coordinate, fault.claimed, fault.right) = abi.decode(_ask(referee, call), (uint256, int256, int256));
        } else if (fault.kind == Kind.Tail) {
            bytes memory call = _proposalCall(IReferee.judgeTail.selector, rules, proposal, evidence);
            fault.coordinate = abi.decode(_ask(referee, call), (uint256));
        } else {
            revert RefutationKindUnsupported(fault.kind);
        }
        fault.role = Role.Aggregator;
        fault.ctx = proposal.ctx;
        fault.signer = proposal.aggregator;
        fault.amount = uint128(_word(rules, AGGREGATOR_BOND));
        fault.eligible = proposal.included;
    }

    /// @dev judgeMean and judgeTail (format, proposal, evidence).
    function _proposalCall(bytes4 selector, Rules memory rules, Proposal calldata proposal, bytes calldata evidence)
        private
        pure
        returns (bytes memory)
    {
        bytes calldata words = Evidence.wordsOf(proposal);
        return abi.encodePacked(
            selector,
            uint256(16 * 32),
            words,
            16 * 32 + rules.formatWords.length,
            rules.formatWords,
            evidence.length,
            evidence
        );
    }

    /// @dev judgeStep(plan, format, modelRoot, proposal, evidence).
    function _stepCall(Rules memory rules, bytes32 modelRoot, Proposal calldata proposal, bytes calldata evidence)
        private
        pure
        returns (bytes memory)
    {
        bytes calldata words = Evidence.wordsOf(proposal);
        return abi.encodePacked(
            IReferee.judgeStep.selector,
            rules.planWords,
            uint256(47 * 32),
            modelRoot,
            words,
            47 * 32 + rules.formatWords.length,
            rules.formatWords,
            evidence.length,
            evidence
        );
    }

    /// @dev Calls the referee; what it reverts with, reverts.
    function _ask(address referee, bytes memory call) private view returns (bytes memory verdict) {
        bool judged;
        (judged, verdict) = referee.staticcall(call);
        if (!judged) {
            assembly ("memory-safe") {
                revert(add(verdict, 32), mload(verdict))
            }
        }
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
    function _requireInTime(Rules memory rules, RecordProof calldata proof) private view {
        uint256 deadline = uint256(proof.outcome.finalizedAt) + _word(rules, EVIDENCE_PERIOD);
        if (block.timestamp >= deadline) revert RefutationTooLate(deadline, block.timestamp);
    }

    function _requireFailed(bytes32[] calldata failed, bytes32 proposalHash) private pure {
        for (uint256 i; i < failed.length; ++i) {
            if (failed[i] == proposalHash) return;
        }
        revert RefutationNotFailedProposal(proposalHash);
    }

    /// @dev Nothing is decoded: the code is abi.encode(plan, format), and the offset between the two becomes the length of
    ///      the second.
    function _rulesOf(uint64 studyId) private view returns (Rules memory rules) {
        bytes memory planWords = Code.read(COLLEGIUM.planCodeOf(studyId));
        bytes memory formatWords;
        assembly ("memory-safe") {
            let length := shl(5, PLAN_WORDS)
            formatWords := add(add(planWords, 32), length)
            mstore(formatWords, sub(sub(mload(planWords), length), 32))
            mstore(planWords, length)
        }
        rules.planWords = planWords;
        rules.formatWords = formatWords;
    }

    function _refereeOf(Rules memory rules) private pure returns (address) {
        return address(uint160(_word(rules, REFEREE)));
    }

    /// @dev Words of the format follow those of the plan.
    function _word(Rules memory rules, uint256 index) private pure returns (uint256 word) {
        bytes memory words = rules.planWords;
        assembly ("memory-safe") {
            word := mload(add(add(words, 32), shl(5, index)))
        }
    }
}
