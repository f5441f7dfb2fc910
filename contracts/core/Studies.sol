// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../interfaces/ICollegium.sol";
import {IBonds} from "../interfaces/IBonds.sol";
import {IMembers} from "../interfaces/IMembers.sol";
import {IReferee} from "../interfaces/IReferee.sol";
import {Format, Join, Plan, Role, StudyStatus} from "../interfaces/Types.sol";
import {Cid} from "../libraries/Cid.sol";
import {Code} from "../libraries/Code.sol";
import {CompactSignature} from "../libraries/CompactSignature.sol";
import {RoundClock} from "../libraries/RoundClock.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TAG_FORMAT, TAG_PLAN} from "../libraries/Tags.sol";
import {UpdateSet} from "../libraries/UpdateSet.sol";
import {CollegiumState, MinimumWindows} from "./CollegiumState.sol";
import {Snapshots} from "./Snapshots.sol";

/// @title Studies
/// @notice Who founds a study, who joins and leaves it, who aggregates for it: the rare half of Collegium.
/// @dev Code of Collegium that does not fit below 24,576 bytes. Collegium creates it and runs it by delegatecall, in its own
///      storage, for ever; called directly it works on a storage of its own that nobody reads. Words: ICollegium.
contract Studies is Snapshots {
    uint256 private constant PLAN_WORDS = 30;

    uint256 private immutable MINIMUM_WINDOWS;

    constructor(IMembers members_, IBonds bonds_, MinimumWindows memory minimum) CollegiumState(members_, bonds_) {
        MINIMUM_WINDOWS = uint256(minimum.commit) | uint256(minimum.reveal) << 32 | uint256(minimum.certify) << 64
            | uint256(minimum.propose) << 96 | uint256(minimum.challenge) << 128 | uint256(minimum.evidence) << 160;
    }

    function allowReferee(address referee, bool allowed, uint40 deadline, bytes calldata approvals) external {
        if (block.timestamp > deadline) revert IMembers.MembersDeadlinePassed(deadline, block.timestamp);
        bytes32 structHash = keccak256(abi.encode(Signatures.ALLOW_REFEREE, referee, allowed, _nonces[referee]++, deadline));
        uint256 count = MEMBERS.requireApprovals(structHash, approvals);
        _refereeAllowed[referee] = allowed;
        emit ICollegium.RefereeAllowed(referee, allowed, count);
    }

    function createStudy(Plan calldata plan, Format calldata format) external returns (uint64 studyId) {
        // The accused never picks the judge: only a referee the council allowed may judge.
        if (!_refereeAllowed[plan.referee]) revert ICollegium.StudyRefereeNotAllowed(plan.referee);
        uint256 reason = _refusal(plan);
        if (reason != 0) revert ICollegium.StudyPlanRejected(reason);
        bytes memory blob = abi.encode(plan, format);
        _requireWindows(blob);
        IReferee(plan.referee).checkPlan(plan, format);
        bytes32 formatId = _hashFormat(blob);
        if (formatId != plan.formatId) revert ICollegium.StudyFormatMismatch(plan.formatId, formatId);

        studyId = ++_studyCount;
        Study storage study = _studies[studyId];
        bytes32 planHash;
        bytes32 tag = TAG_PLAN;
        assembly ("memory-safe") {
            // TAG_PLAN takes the place of the length while hashing.
            let length := mload(blob)
            mstore(blob, tag)
            planHash := keccak256(blob, mul(32, add(PLAN_WORDS, 1)))
            mstore(blob, length)
        }
        bool dag = _blobLength(format) > Cid.RAW_LIMIT;
        study.planCode = Code.write(blob);
        study.dag = dag;
        study.planHash = planHash;
        study.sponsor = msg.sender;
        study.modelRoot = plan.genesisModelRoot;
        study.modelDigest = plan.genesisModelDigest;
        emit ICollegium.StudyCreated(
            studyId, msg.sender, planHash, plan, format, Cid.toText(plan.planDigest, false), Cid.toText(plan.genesisModelDigest, dag)
        );
    }

    /// @dev 0 when the plan is fine: 1 clients, 2 members, 3 quorum, 4 weight, 5 duty fine, 6 contradiction fine, 7 no sections.
    function _refusal(Plan calldata plan) private pure returns (uint256 reason) {
        if (plan.minClients == 0 || plan.minClients > plan.maxMembers) return 1;
        if (plan.maxMembers > UpdateSet.CAPACITY) return 2;
        if (plan.quorumMin > plan.maxMembers) return 3;
        if (plan.maxWeight == 0) return 4;
        if (plan.dutyFine > plan.aggregatorBond) return 5;
        // R11 pays below the full bond.
        if (plan.aggregatorBond == 0 || plan.contradictionFine >= plan.aggregatorBond) return 6;
    }

    function _requireWindows(bytes memory blob) private view {
        for (uint256 i; i < 6; ++i) {
            uint256 window;
            assembly ("memory-safe") {
                window := mload(add(blob, mul(32, add(i, add(COMMIT_WINDOW, 1)))))
            }
            uint256 minimum = uint32(MINIMUM_WINDOWS >> (32 * i));
            // A phase of no duration would never hold.
            if (minimum == 0) minimum = 1;
            if (window < minimum) revert ICollegium.StudyWindowTooShort(uint32(window), uint32(minimum));
        }
    }

    /// @dev `keccak(TAG_FORMAT, sectionsHash, tableHash)`; sectionsHash over the words of the sections.
    ///      blob: plan words | offset | sections offset | tableHash | sections length | sections.
    function _hashFormat(bytes memory blob) private pure returns (bytes32) {
        bytes32 sectionsHash;
        bytes32 tableHash;
        assembly ("memory-safe") {
            let at := add(blob, mul(32, add(PLAN_WORDS, 3)))
            tableHash := mload(at)
            sectionsHash := keccak256(add(at, 64), mul(192, mload(add(at, 32))))
        }
        return keccak256(abi.encode(TAG_FORMAT, sectionsHash, tableHash));
    }

    /// @dev Header and payload; every section is padded to chunks of 64 four-byte elements.
    function _blobLength(Format calldata format) private pure returns (uint256 length) {
        length = 256;
        for (uint256 i; i < format.sections.length; ++i) {
            length += (uint256(format.sections[i].count) + 63) / 64 * 256;
        }
    }

    function setStudyStatus(uint64 studyId, StudyStatus status) external {
        Study storage study = _sponsored(studyId);
        if (status == study.status) revert ICollegium.StudyStatusUnchanged(studyId, status);
        study.status = status;
        emit ICollegium.StudyStatusChanged(studyId, msg.sender, status);
    }

    function extendStudy(uint64 studyId, uint40 openUntil) external {
        Study storage study = _sponsored(studyId);
        // What members were promised is never cut short: stopping earlier is what pausing and closing are for.
        uint256 earliest = study.openUntil;
        if (earliest < block.timestamp) earliest = block.timestamp;
        if (openUntil <= earliest) revert ICollegium.StudyTermNotExtended(openUntil, earliest);
        study.openUntil = openUntil;
        emit ICollegium.StudyExtended(studyId, msg.sender, openUntil);
    }

    /// @dev The study, to its sponsor, unless it is closed.
    function _sponsored(uint64 studyId) private view returns (Study storage study) {
        study = _notClosed(studyId);
        if (msg.sender != study.sponsor) revert ICollegium.StudyNotSponsor(studyId, msg.sender);
    }

    function _notClosed(uint64 studyId) private view returns (Study storage study) {
        study = _existing(studyId);
        if (study.status == StudyStatus.Closed) revert ICollegium.StudyNotOpen(studyId, StudyStatus.Closed, study.openUntil);
    }

    function removeMember(uint64 studyId, address institution, uint40 deadline, bytes calldata approvals) external {
        if (block.timestamp > deadline) revert IMembers.MembersDeadlinePassed(deadline, block.timestamp);
        Study storage study = _existing(studyId);
        uint256 count =
            MEMBERS.requireApprovals(keccak256(abi.encode(Signatures.REMOVE_MEMBER, studyId, institution, deadline)), approvals);
        Seat storage seat = study.seats[institution];
        bool seated = seat.seated && !seat.leaving;
        (bool enlisted, uint256 at) = _positionOf(study, institution);
        if (!seated && !enlisted) revert ICollegium.MemberUnknown(studyId, institution);
        uint40 releasableAt = _releasableAt(study.planCode);
        if (seated) {
            seat.leaving = true;
            emit ICollegium.MemberRemoved(studyId, institution, seat.index, releasableAt, count);
            BONDS.beginRelease(studyId, institution, Role.Member, releasableAt);
        }
        // Who may not be a member any more may not compute the model either.
        if (enlisted) _delist(studyId, study, institution, at);
    }

    function join(Join calldata message, bytes calldata signature) external {
        Study storage study = _notClosed(message.studyId);
        address institution = message.institution;
        address plan = study.planCode;
        if (message.planHash != study.planHash) revert ICollegium.JoinPlanMismatch(study.planHash, message.planHash);
        bytes32 agreement = bytes32(Code.word(plan, AGREEMENT));
        if (message.agreement != agreement) revert ICollegium.JoinAgreementMismatch(agreement, message.agreement);
        // Open mode publishes every update: the institution must have said so.
        if (!message.openUpdates) revert ICollegium.JoinOpenUpdatesRequired();
        uint256 needed = _memberFine(plan);
        if (message.maxFine < needed) revert ICollegium.JoinFineTooSmall(message.maxFine, uint128(needed));
        if (block.timestamp > message.deadline) revert ICollegium.JoinDeadlinePassed(message.deadline, block.timestamp);
        if (!MEMBERS.isActive(institution)) revert ICollegium.JoinNotAdmitted(institution);
        address nodeKey = MEMBERS.nodeKeyOf(institution);
        if (nodeKey == address(0) || message.nodeKey != nodeKey) revert ICollegium.JoinNodeKeyMismatch(nodeKey, message.nodeKey);
        // One seat per institution and study, for ever: an index never changes its owner.
        if (study.seats[institution].seated) revert ICollegium.JoinAlreadyMember(institution, study.seats[institution].index);
        uint8 index = study.seatCount;
        uint256 maxMembers = Code.word(plan, MAX_MEMBERS);
        if (index >= maxMembers) revert ICollegium.JoinStudyFull(uint8(maxMembers));
        uint64 nonce = _nonces[institution];
        if (message.nonce != nonce) revert ICollegium.JoinBadNonce(nonce, message.nonce);
        bytes32 digest = Signatures.toDigest(_computeDomain(), keccak256(abi.encode(Signatures.JOIN, message)));
        if (!CompactSignature.isValid(institution, digest, signature)) revert ICollegium.JoinBadSignature(institution);

        _nonces[institution] = nonce + 1;
        study.seats[institution] = Seat(true, false, index, message.maxFine);
        study.institutions[index] = institution;
        study.seatCount = index + 1;
        emit ICollegium.MemberJoined(message.studyId, institution, index, nodeKey, message.maxFine, agreement, true);
        BONDS.lock(message.studyId, institution, Role.Member, message.maxFine);
    }

    function leave(uint64 studyId) external {
        Study storage study = _existing(studyId);
        Seat storage seat = study.seats[msg.sender];
        if (!seat.seated || seat.leaving) revert ICollegium.MemberUnknown(studyId, msg.sender);
        seat.leaving = true;
        uint40 releasableAt = _releasableAt(study.planCode);
        emit ICollegium.MemberLeft(studyId, msg.sender, seat.index, releasableAt);
        BONDS.beginRelease(studyId, msg.sender, Role.Member, releasableAt);
    }

    function enlist(uint64 studyId) external {
        Study storage study = _notClosed(studyId);
        // An order is short: every position must fit the bitmaps of a round.
        uint256 count = study.aggregators.length;
        if (count >= RoundClock.MAX_ORDER) revert ICollegium.AggregatorOrderFull(RoundClock.MAX_ORDER);
        if (!MEMBERS.isActive(msg.sender)) revert ICollegium.JoinNotAdmitted(msg.sender);
        address nodeKey = MEMBERS.nodeKeyOf(msg.sender);
        if (nodeKey == address(0)) revert ICollegium.JoinNodeKeyMismatch(address(0), address(0));
        (bool enlisted,) = _positionOf(study, msg.sender);
        if (enlisted) revert ICollegium.AggregatorAlreadyEnlisted(msg.sender);
        study.aggregators.push(msg.sender);
        emit ICollegium.AggregatorEnlisted(studyId, msg.sender, nodeKey);
        BONDS.lock(studyId, msg.sender, Role.Aggregator, uint128(Code.word(study.planCode, AGGREGATOR_BOND)));
    }

    function delist(uint64 studyId) external {
        Study storage study = _existing(studyId);
        (bool enlisted, uint256 at) = _positionOf(study, msg.sender);
        if (!enlisted) revert ICollegium.AggregatorUnknown(studyId, msg.sender);
        _delist(studyId, study, msg.sender, at);
    }

    function _delist(uint64 studyId, Study storage study, address institution, uint256 at) private {
        address[] storage order = study.aggregators;
        uint256 last = order.length;
        // The others keep their order.
        for (; at + 1 < last; ++at) order[at] = order[at + 1];
        order.pop();
        uint40 releasableAt = _releasableAt(study.planCode);
        emit ICollegium.AggregatorDelisted(studyId, institution, releasableAt);
        BONDS.beginRelease(studyId, institution, Role.Aggregator, releasableAt);
    }

    /// @return enlisted whether the institution is in the order; at its position
    function _positionOf(Study storage study, address institution) private view returns (bool enlisted, uint256 at) {
        uint256 count = study.aggregators.length;
        while (at < count && study.aggregators[at] != institution) ++at;
        return (at < count, at);
    }

    /// @dev The longest round that may be running, then the evidence period: no lock is released while it may have to pay.
    function _releasableAt(address plan) private view returns (uint40) {
        uint256 time = block.timestamp;
        for (uint256 i; i < 6; ++i) {
            // propose and challenge windows may elapse three times
            time += Code.word(plan, COMMIT_WINDOW + i) * (i == 3 || i == 4 ? RoundClock.MAX_ATTEMPTS : 1);
        }
        return uint40(time);
    }
}
