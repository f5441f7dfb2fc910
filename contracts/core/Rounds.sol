// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../interfaces/ICollegium.sol";
import {Outcome, Phase, Proposal, SkipReason} from "../interfaces/Types.sol";
import {Cid} from "../libraries/Cid.sol";
import {Code} from "../libraries/Code.sol";
import {Roster} from "../libraries/Roster.sol";
import {Clock, RoundClock, Rules, Tally} from "../libraries/RoundClock.sol";
import {RoundState} from "../libraries/RoundState.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TAG_OUTCOME, TAG_PROPOSAL, TAG_RECORD} from "../libraries/Tags.sol";
import {UpdateSet} from "../libraries/UpdateSet.sol";
import {Openings} from "./Openings.sol";

/// @title Rounds
/// @notice One round, top to bottom: commit, reveal, certify, propose, endorse, finalize.
/// @dev A bad item of a batch is skipped with a reason; it never reverts its neighbors.
abstract contract Rounds is Openings {
    using RoundState for uint256;
    using Roster for bytes;

    uint256 private constant COMMIT_ITEM = 134;
    uint256 private constant REVEAL_ITEM = 144;
    uint256 private constant ATTEST_ITEM = 81;
    uint256 private constant ENDORSE_ITEM = 65;

    /// @inheritdoc ICollegium
    function domainSeparator() public view virtual returns (bytes32);

    /// @dev Fixed for a whole batch.
    struct Batch {
        bytes roster;
        bytes32 ctx;
        bytes32 domain;
        uint256 round;
        bool revised;
    }

    function _batch(Study storage study, uint256 state, bytes memory roster) private view returns (Batch memory) {
        return Batch(roster, study.ctx, domainSeparator(), state.roundOf(), roster.membersRevision() != _membersRevision);
    }

    function _requireItems(uint256 length, uint256 itemLength) private pure {
        if (length % itemLength != 0) revert RoundBatchLength(length, itemLength);
        if (length == 0) revert RoundNothingAccepted();
    }

    /// @dev Whether `key` signed `structHash` and still may: revoking a key works at once.
    function _checkSigner(Batch memory batch, address key, bytes32 structHash, bytes32 r, bytes32 vs) private view returns (SkipReason) {
        if (Signatures.recover(Signatures.toDigest(batch.domain, structHash), r, vs) != key) return SkipReason.BadSignature;
        if (batch.revised && MEMBERS.isRevoked(key)) return SkipReason.RevokedKey;
        return SkipReason.None;
    }

    /// @inheritdoc ICollegium
    function commitUpdates(uint64 studyId, bytes calldata items) external {
        _requireItems(items.length, COMMIT_ITEM);
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Commit);
        Batch memory batch = _batch(study, state, roster);
        uint256 joined = study.joined;
        unchecked {
            for (uint256 at; at < items.length; at += COMMIT_ITEM) {
                uint256 index;
                bytes32 commitment;
                uint256 weight;
                bytes32 ext;
                assembly ("memory-safe") {
                    let place := add(items.offset, at)
                    index := shr(240, calldataload(place))
                    commitment := calldataload(add(place, 2))
                    weight := shr(224, calldataload(add(place, 34)))
                    ext := calldataload(add(place, 38))
                }
                address key;
                SkipReason reason;
                // An invited member speaks once per round.
                if (index >= UpdateSet.CAPACITY || (joined >> (128 + index)) & 1 == 0) {
                    reason = SkipReason.NotInvited;
                } else if ((joined >> index) & 1 != 0) {
                    reason = SkipReason.AlreadyDone;
                } else if (weight == 0 || weight > roster.maxWeight()) {
                    reason = SkipReason.WeightOutOfRange;
                } else {
                    bytes32 r;
                    bytes32 vs;
                    assembly ("memory-safe") {
                        r := calldataload(add(add(items.offset, at), 70))
                        vs := calldataload(add(add(items.offset, at), 102))
                    }
                    key = roster.seatKey(index);
                    reason = _checkSigner(batch, key, Signatures.hashUpdate(studyId, batch.round, batch.ctx, index, commitment, weight, ext), r, vs);
                }
                if (reason != SkipReason.None) {
                    emit ItemSkipped(studyId, uint32(batch.round), uint16(index), reason);
                    continue;
                }
                joined |= 1 << index;
                study.slots[index] = UpdateSet.toSlot(commitment, weight, ext);
                emit UpdateCommitted(studyId, uint32(batch.round), key, uint16(index), commitment, uint32(weight), ext);
            }
        }
        study.joined = joined;
        if (uint128(joined) == joined >> 128) study.state = state.enter(Phase.Reveal, block.timestamp);
    }

    /// @inheritdoc ICollegium
    function revealUpdates(uint64 studyId, bytes calldata items) external {
        _requireItems(items.length, REVEAL_ITEM);
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Reveal);
        uint256 committed = uint128(study.joined);
        uint256 flow = study.flow.fresh(state);
        bytes32 ctx = study.ctx;
        uint32 round = uint32(state.roundOf());
        unchecked {
            for (uint256 at; at < items.length; at += REVEAL_ITEM) {
                uint256 index;
                assembly ("memory-safe") {
                    index := shr(240, calldataload(add(items.offset, at)))
                }
                SkipReason reason;
                if (index >= UpdateSet.CAPACITY || (committed >> index) & 1 == 0) {
                    reason = SkipReason.NotInvited;
                } else if ((flow >> (128 + index)) & 1 != 0) {
                    reason = SkipReason.AlreadyDone;
                } else if (!_reveal(studyId, study, roster, ctx, round, items[at:])) {
                    reason = SkipReason.SlotMismatch;
                }
                if (reason != SkipReason.None) emit ItemSkipped(studyId, round, uint16(index), reason);
                else flow |= 1 << (128 + index);
            }
        }
        study.flow = flow;
        if (flow >> 128 == committed) study.state = state.enter(Phase.Certify, block.timestamp);
    }

    /// @dev A reveal proves itself: its fields hash to the slot that was committed.
    function _reveal(uint64 studyId, Study storage study, bytes memory roster, bytes32 ctx, uint32 round, bytes calldata item) private returns (bool) {
        uint256 index;
        bytes32 salt;
        bytes32 root;
        bytes32 contentDigest;
        uint256 weight;
        bytes32 ext;
        {
            uint256 dpProfile;
            uint256 baseRound;
            uint256 localSteps;
            bytes32 extras;
            assembly ("memory-safe") {
                let place := item.offset
                index := shr(240, calldataload(place))
                salt := calldataload(add(place, 2))
                root := calldataload(add(place, 34))
                contentDigest := calldataload(add(place, 66))
                weight := shr(224, calldataload(add(place, 98)))
                dpProfile := shr(240, calldataload(add(place, 102)))
                baseRound := shr(224, calldataload(add(place, 104)))
                localSteps := shr(224, calldataload(add(place, 108)))
                extras := calldataload(add(place, 112))
            }
            ext = UpdateSet.hashExt(dpProfile, baseRound, localSteps, extras);
        }
        bytes32 commitment = UpdateSet.hashCommitment(ctx, index, root, salt, contentDigest);
        if (study.slots[index] != UpdateSet.toSlot(commitment, weight, ext)) return false;
        emit UpdateRevealed(
            studyId,
            round,
            roster.seatKey(index),
            uint16(index),
            root,
            salt,
            uint32(weight),
            ext,
            Cid.toText(contentDigest, roster.isDag())
        );
        return true;
    }

    /// @inheritdoc ICollegium
    function certify(uint64 studyId, bytes calldata attestations) external {
        _requireItems(attestations.length, ATTEST_ITEM);
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Certify);
        uint256 revealed = study.flow >> 128;
        uint256 agreed = _countAttestations(studyId, study, _batch(study, state, roster), revealed, attestations);
        // The set only grows.
        uint256 certified = agreed & revealed;
        if (state & RoundState.CERTIFIED != 0) certified |= study.certificates >> 128;
        study.certificates = certified << 128;
        if (certified == revealed) study.state = state.enter(Phase.Propose, block.timestamp) | RoundState.CERTIFIED;
        else if (state & RoundState.CERTIFIED == 0) study.state = state | RoundState.CERTIFIED;
        emit UpdatesCertified(studyId, uint32(state.roundOf()), uint128(certified));
    }

    /// @return agreed bits that at least the quorum of this call's attestations carry
    function _countAttestations(uint64 studyId, Study storage study, Batch memory batch, uint256 revealed, bytes calldata attestations)
        private
        returns (uint256 agreed)
    {
        (bytes32 setHash,) = UpdateSet.hash(study.slots, revealed);
        uint256 active = batch.roster.active();
        uint256 quorum = batch.roster.quorum();
        // 128 counters at once, one bit of each per word; they start at 128 - quorum, so a carry out means the quorum.
        uint256[7] memory planes;
        unchecked {
            for (uint256 j; j < 7; ++j) if (((128 - quorum) >> j) & 1 != 0) planes[j] = type(uint128).max;
            uint256 valid;
            uint256 next;
            for (uint256 at; at < attestations.length; at += ATTEST_ITEM) {
                uint256 index;
                uint256 bitmap;
                bytes32 r;
                bytes32 vs;
                assembly ("memory-safe") {
                    let place := add(attestations.offset, at)
                    index := byte(0, calldataload(place))
                    bitmap := shr(128, calldataload(add(place, 1)))
                    r := calldataload(add(place, 17))
                    vs := calldataload(add(place, 49))
                }
                // Ascending signers: nobody counts twice.
                if (index < next) revert AttestationsNotAscending(next - 1, index);
                next = index + 1;
                SkipReason reason = SkipReason.NotInvited;
                address key;
                if ((active >> index) & 1 != 0) {
                    key = batch.roster.seatKey(index);
                    reason = _checkSigner(batch, key, Signatures.hashAttest(studyId, batch.round, batch.ctx, bitmap, setHash), r, vs);
                }
                if (reason != SkipReason.None) {
                    emit ItemSkipped(studyId, uint32(batch.round), uint16(index), reason);
                    continue;
                }
                ++valid;
                emit UpdatesAttested(studyId, uint32(batch.round), key, uint16(index), uint128(bitmap));
                for (uint256 j; bitmap != 0 && j < 7; ++j) {
                    uint256 plane = planes[j];
                    planes[j] = plane ^ bitmap;
                    bitmap &= plane;
                }
                agreed |= bitmap;
            }
            if (valid < quorum) revert AttestationsTooFew(valid, quorum);
        }
    }

    /// @inheritdoc ICollegium
    function propose(uint64 studyId, bytes32 meanRoot, bytes32 newModelRoot, bytes32 modelDigest, bytes32 meanDigest) external {
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Propose);
        address duty = roster.orderKey(state.toClock(study.flow, roster.orderSize()).position);
        if (msg.sender != duty || (roster.membersRevision() != _membersRevision && MEMBERS.isRevoked(duty))) {
            revert ProposalNotOnDuty(msg.sender, duty);
        }
        uint256 certificates = study.certificates;
        Proposal memory p;
        p.ctx = study.ctx;
        p.aggregator = duty;
        p.attempt = uint8(state.attemptOf());
        p.included = uint128(certificates >> 128);
        uint256 weightSum;
        (p.setHash, weightSum) = UpdateSet.hash(study.slots, p.included);
        p.weightSum = uint64(weightSum);
        p.meanRoot = meanRoot;
        p.newModelRoot = newModelRoot;
        p.modelDigest = modelDigest;
        p.meanDigest = meanDigest;
        bytes32 proposalHash = keccak256(abi.encode(TAG_PROPOSAL, p));
        study.proposal = proposalHash;
        study.state = state.enter(Phase.Challenge, block.timestamp);
        // Endorsements of a proposal that lapsed or was refuted do not count for this one.
        if (uint128(certificates) != 0) study.certificates = certificates >> 128 << 128;
        bool dag = roster.isDag();
        emit AggregateProposed(
            studyId, uint32(state.roundOf()), duty, proposalHash, p, Cid.toText(modelDigest, dag), Cid.toText(meanDigest, dag)
        );
    }

    /// @inheritdoc ICollegium
    function endorse(uint64 studyId, bytes calldata endorsements) external {
        _requireItems(endorsements.length, ENDORSE_ITEM);
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Challenge);
        uint256 certificates = study.certificates;
        uint256 endorsed = uint128(certificates);
        if (endorsed == roster.active()) revert RoundWrongPhase(studyId, Phase.Final, Phase.Challenge);
        study.certificates = certificates >> 128 << 128 | _countEndorsements(studyId, study, state, roster, endorsed, endorsements);
    }

    function _countEndorsements(
        uint64 studyId,
        Study storage study,
        uint256 state,
        bytes memory roster,
        uint256 endorsed,
        bytes calldata endorsements
    ) private returns (uint256) {
        Batch memory batch = _batch(study, state, roster);
        bytes32 proposalHash = study.proposal;
        bytes32 structHash = Signatures.hashEndorse(studyId, batch.round, batch.ctx, proposalHash);
        uint256 active = roster.active();
        unchecked {
            for (uint256 at; at < endorsements.length; at += ENDORSE_ITEM) {
                uint256 index;
                bytes32 r;
                bytes32 vs;
                assembly ("memory-safe") {
                    let place := add(endorsements.offset, at)
                    index := byte(0, calldataload(place))
                    r := calldataload(add(place, 1))
                    vs := calldataload(add(place, 33))
                }
                SkipReason reason = SkipReason.NotInvited;
                address key;
                if ((active >> index) & 1 != 0) {
                    reason = SkipReason.AlreadyDone;
                    if ((endorsed >> index) & 1 == 0) {
                        key = roster.seatKey(index);
                        reason = _checkSigner(batch, key, structHash, r, vs);
                    }
                }
                if (reason != SkipReason.None) {
                    emit ItemSkipped(studyId, uint32(batch.round), uint16(index), reason);
                    continue;
                }
                endorsed |= 1 << index;
                emit ProposalEndorsed(studyId, uint32(batch.round), key, uint16(index), proposalHash);
            }
        }
        return endorsed;
    }

    /// @inheritdoc ICollegium
    function finalize(uint64 studyId, Proposal calldata proposal) external {
        _conclude(studyId, msg.data[0:0], proposal, false);
    }

    /// @inheritdoc ICollegium
    function conclude(uint64 studyId, bytes calldata endorsements, Proposal calldata proposal, bool openNext) external {
        _conclude(studyId, endorsements, proposal, openNext);
    }

    function _conclude(uint64 studyId, bytes calldata endorsements, Proposal calldata proposal, bool openNext) private {
        Study storage study = _existing(studyId);
        uint256 state = study.state;
        if (state.phaseOf() != Phase.Challenge) revert RoundWrongPhase(studyId, _phaseNow(study), Phase.Challenge);
        bytes memory roster = Code.read(state.rosterOf());
        uint256 certificates = study.certificates;
        bool open = block.timestamp < state.markOf() + roster.windowOf(Phase.Challenge);
        uint256 endorsed = uint128(certificates);
        // Endorsements count on chain before the deadline.
        if (open && endorsements.length != 0 && endorsed != roster.active()) {
            _requireItems(endorsements.length, ENDORSE_ITEM);
            endorsed = _countEndorsements(studyId, study, state, roster, endorsed, endorsements);
            certificates = certificates >> 128 << 128 | endorsed;
            // The next opening would overwrite it anyway.
            if (!openNext) study.certificates = certificates;
        }
        // All endorsed: final at once. The quorum endorsed: final when the window has passed unrefuted.
        if (endorsed != roster.active()) {
            if (open) revert RoundWrongPhase(studyId, Phase.Challenge, Phase.Final);
            if (UpdateSet.size(endorsed) < roster.quorum()) revert RoundWrongPhase(studyId, _phaseNow(study), Phase.Final);
        }
        state = _record(studyId, study, state, certificates >> 128, proposal);
        if (openNext) _open(studyId, study, state, roster);
    }

    function _record(uint64 studyId, Study storage study, uint256 state, uint256 certified, Proposal calldata proposal) private returns (uint256) {
        bytes32 proposalHash = keccak256(abi.encode(TAG_PROPOSAL, proposal));
        if (proposalHash != study.proposal) revert ProposalMismatch(study.proposal, proposalHash);
        Outcome memory outcome = _outcome(study, certified);
        uint32 round = uint32(state.roundOf());
        bytes32 record = keccak256(abi.encode(TAG_RECORD, _parentRecord(studyId, study), proposalHash, _hashOutcome(outcome)));
        _records[studyId][round] = record;
        study.modelRoot = proposal.newModelRoot;
        study.modelDigest = proposal.modelDigest;
        study.lastFinal = round;
        state = state.enter(Phase.Final, block.timestamp);
        study.state = state;
        emit RoundFinalized(
            studyId, round, record, proposalHash, outcome, proposal.newModelRoot, Cid.toText(proposal.modelDigest, study.dag)
        );
        return state;
    }

    function _outcome(Study storage study, uint256 certified) private view returns (Outcome memory outcome) {
        uint256 flow = study.flow;
        outcome.committed = uint128(study.joined);
        outcome.revealed = uint128(flow >> 128);
        outcome.included = uint128(certified);
        uint256 failed = flow.failedProposals();
        outcome.failedProposals = new bytes32[](failed);
        for (uint256 i; i < failed; ++i) outcome.failedProposals[i] = study.failed[i];
        outcome.failedDuties = uint128(flow.failedDuties());
        outcome.finalizedAt = uint40(block.timestamp);
    }

    function _hashOutcome(Outcome memory outcome) private pure returns (bytes32) {
        uint256 failed = outcome.failedProposals.length;
        bytes32[] memory words = new bytes32[](6 + failed);
        words[0] = TAG_OUTCOME;
        words[1] = bytes32(uint256(outcome.committed));
        words[2] = bytes32(uint256(outcome.revealed));
        words[3] = bytes32(uint256(outcome.included));
        for (uint256 i; i < failed; ++i) words[4 + i] = outcome.failedProposals[i];
        words[4 + failed] = bytes32(uint256(outcome.failedDuties));
        words[5 + failed] = bytes32(uint256(outcome.finalizedAt));
        return _hashWords(words);
    }

    /// @dev Phase at this moment, without writing anything down.
    function _phaseNow(Study storage study) internal view returns (Phase) {
        uint256 state = study.state;
        if (state == 0) return Phase.None;
        (Clock memory clock,) = _clockNow(study, state, Code.read(state.rosterOf()));
        return clock.phase;
    }

    function _clockNow(Study storage study, uint256 state, bytes memory roster) internal view returns (Clock memory clock, Rules memory rules) {
        (Clock memory written, Rules memory r, Tally memory tally) = _clockOf(study, state, study.flow.fresh(state), roster);
        return (RoundClock.catchUp(written, r, tally, block.timestamp), r);
    }

    /// @inheritdoc ICollegium
    function settle(uint64 studyId) external {
        Study storage study = _existing(studyId);
        uint256 state = study.state;
        if (state == 0) return;
        bytes memory roster = Code.read(state.rosterOf());
        (state,) = _checkpoint(studyId, study, state, roster);
        _settleFines(studyId, study, state, roster);
    }
}
