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
import {WireItems} from "../libraries/WireItems.sol";
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

    function _requireItems(uint256 length, uint256 itemLength) private pure {
        if (length % itemLength != 0) revert RoundBatchLength(length, itemLength);
        if (length == 0) revert RoundNothingAccepted();
    }

    /// @dev A buffer for the signed items of one batch.
    function _prepare(bytes32 typeHash, uint64 studyId, Study storage study, uint256 state) private view returns (uint256 buffer) {
        return Signatures.prepare(domainSeparator(), typeHash, studyId, state.roundOf(), study.ctx);
    }

    /// @dev Whether identities changed since the snapshot: then every signer is looked up, because revoking a key works at once.
    function _isRevised(bytes memory roster) private view returns (bool) {
        return roster.membersRevision() != _membersRevision;
    }

    /// @dev Whether `key` signed the first `words` words of `buffer` and still may.
    function _checkSigner(uint256 buffer, uint256 words, uint256 signature, address key, bool revised) private view returns (SkipReason) {
        if (Signatures.recover(buffer, words, signature) != key) return SkipReason.BadSignature;
        if (revised && MEMBERS.isRevoked(key)) return SkipReason.RevokedKey;
        return SkipReason.None;
    }

    /// @inheritdoc ICollegium
    function commitUpdates(uint64 studyId, bytes calldata items) external {
        _requireItems(items.length, COMMIT_ITEM);
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Commit);
        uint256 buffer = _prepare(Signatures.UPDATE, studyId, study, state);
        bool revised = _isRevised(roster);
        uint256 maxWeight = roster.maxWeight();
        uint256 joined = study.joined;
        uint256 place = WireItems.start(items);
        uint256 end = place + items.length;
        unchecked {
            for (; place < end; place += COMMIT_ITEM) {
                (uint256 index, uint256 weight) = WireItems.loadCommit(place, buffer);
                SkipReason reason;
                // An invited member speaks once per round.
                if (index >= UpdateSet.CAPACITY || (joined >> (128 + index)) & 1 == 0) {
                    reason = SkipReason.NotInvited;
                } else if ((joined >> index) & 1 != 0) {
                    reason = SkipReason.AlreadyDone;
                } else if (weight == 0 || weight > maxWeight) {
                    reason = SkipReason.WeightOutOfRange;
                } else {
                    address key = roster.seatKey(index);
                    reason = _checkSigner(buffer, 8, place + 70, key, revised);
                    if (reason == SkipReason.None) {
                        joined |= 1 << index;
                        study.slots[index] = WireItems.emitCommitted(buffer, key);
                        continue;
                    }
                }
                WireItems.emitSkipped(buffer, index, reason);
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
        uint256 buffer = WireItems.prepareReveal(study.ctx);
        bool dag = roster.isDag();
        uint256 place = WireItems.start(items);
        uint256 end = place + items.length;
        unchecked {
            for (; place < end; place += REVEAL_ITEM) {
                uint256 index = WireItems.loadIndex(place);
                SkipReason reason;
                if (index >= UpdateSet.CAPACITY || (committed >> index) & 1 == 0) {
                    reason = SkipReason.NotInvited;
                } else if ((flow >> (128 + index)) & 1 != 0) {
                    reason = SkipReason.AlreadyDone;
                } else if (study.slots[index] != WireItems.loadReveal(place, buffer)) {
                    // A reveal proves itself: its fields hash to the slot that was committed.
                    reason = SkipReason.SlotMismatch;
                } else {
                    flow = flow.addReveal(index, WireItems.weightOf(buffer));
                    WireItems.emitRevealed(buffer, studyId, state.roundOf(), roster.seatKey(index), dag);
                    continue;
                }
                emit ItemSkipped(studyId, uint32(state.roundOf()), uint16(index), reason);
            }
        }
        bool alone = study.flow.fresh(state) >> 128 == 0;
        study.flow = flow;
        if (flow >> 128 == committed) {
            state = state.enter(Phase.Certify, block.timestamp);
            // All slots were read in this call: their hash is cheap here and dear later.
            if (alone) (state,) = _hashRevealed(study, state, committed);
            study.state = state;
        }
    }

    /// @inheritdoc ICollegium
    function certify(uint64 studyId, bytes calldata attestations) external {
        _requireItems(attestations.length, ATTEST_ITEM);
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Certify);
        uint256 revealed = study.flow >> 128;
        bytes32 setHash;
        (state, setHash) = _hashRevealed(study, state, revealed);
        // The set only grows.
        uint256 buffer = _prepare(Signatures.ATTEST, studyId, study, state);
        Signatures.put(buffer, 5, uint256(setHash));
        uint256 certified = _countAttestations(buffer, roster, attestations) & revealed;
        if (state.isCertified()) certified |= study.certificates >> 128;
        study.certificates = certified << 128;
        state |= RoundState.CERTIFIED;
        if (certified == revealed) state = state.enter(Phase.Propose, block.timestamp);
        if (state != study.state) study.state = state;
        emit UpdatesCertified(studyId, uint32(state.roundOf()), uint128(certified));
    }

    /// @dev The hash of the revealed set is kept where the proposal's will be.
    function _hashRevealed(Study storage study, uint256 state, uint256 revealed) private returns (uint256 newState, bytes32 setHash) {
        if (state & RoundState.HASHED != 0) return (state, study.proposal);
        (setHash,) = UpdateSet.hash(study.slots, revealed);
        study.proposal = setHash;
        return (state | RoundState.HASHED, setHash);
    }

    /// @return agreed bits that at least the quorum of this call's attestations carry
    function _countAttestations(uint256 buffer, bytes memory roster, bytes calldata attestations) private returns (uint256 agreed) {
        bool revised = _isRevised(roster);
        uint256 active = roster.active();
        uint256 quorum = roster.quorum();
        uint256 place = WireItems.start(attestations);
        uint256 end = place + attestations.length;
        uint256 counters = UpdateSet.newCounters(quorum);
        unchecked {
            uint256 valid;
            uint256 next;
            for (; place < end; place += ATTEST_ITEM) {
                (uint256 index, uint256 bitmap) = WireItems.loadAttestation(place, buffer);
                // Ascending signers: nobody counts twice.
                if (index < next) revert AttestationsNotAscending(next - 1, index);
                next = index + 1;
                SkipReason reason = SkipReason.NotInvited;
                if ((active >> index) & 1 != 0) {
                    address key = roster.seatKey(index);
                    reason = _checkSigner(buffer, 6, place + 17, key, revised);
                    if (reason == SkipReason.None) {
                        ++valid;
                        WireItems.emitPair(UpdatesAttested.selector, buffer, key, index, bitmap);
                        agreed |= UpdateSet.addTo(counters, bitmap);
                        continue;
                    }
                }
                WireItems.emitSkipped(buffer, index, reason);
            }
            if (valid < quorum) revert AttestationsTooFew(valid, quorum);
        }
    }

    /// @inheritdoc ICollegium
    function propose(uint64 studyId, bytes32 meanRoot, bytes32 newModelRoot, bytes32 modelDigest, bytes32 meanDigest) external {
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Propose);
        uint256 flow = study.flow;
        address duty = roster.orderKey(state.toClock(flow, roster.orderSize()).position);
        if (msg.sender != duty || (_isRevised(roster) && MEMBERS.isRevoked(duty))) revert ProposalNotOnDuty(msg.sender, duty);
        uint256 certificates = study.certificates;
        Proposal memory p;
        p.ctx = study.ctx;
        p.aggregator = duty;
        p.attempt = uint8(state.attemptOf());
        p.included = uint128(certificates >> 128);
        // The hash is there when all that was revealed is certified and no proposal has overwritten it.
        if (p.attempt == 0 && state & RoundState.HASHED != 0 && p.included == flow >> 128) {
            p.setHash = study.proposal;
            p.weightSum = uint64(flow.weightSum());
        } else {
            uint256 weightSum;
            (p.setHash, weightSum) = UpdateSet.hash(study.slots, p.included);
            p.weightSum = uint64(weightSum);
        }
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
        endorsed = _countEndorsements(studyId, study, state, roster, endorsed, endorsements);
        study.certificates = certificates >> 128 << 128 | endorsed;
    }

    /// @return endorsed with the signers of this call
    function _countEndorsements(
        uint64 studyId,
        Study storage study,
        uint256 state,
        bytes memory roster,
        uint256 endorsed,
        bytes calldata endorsements
    ) private returns (uint256) {
        uint256 buffer = _prepare(Signatures.ENDORSE, studyId, study, state);
        uint256 proposalHash = uint256(study.proposal);
        Signatures.put(buffer, 4, proposalHash);
        bool revised = _isRevised(roster);
        uint256 active = roster.active();
        uint256 place = WireItems.start(endorsements);
        uint256 end = place + endorsements.length;
        unchecked {
            for (; place < end; place += ENDORSE_ITEM) {
                uint256 index = WireItems.loadByte(place);
                SkipReason reason = SkipReason.NotInvited;
                if ((active >> index) & 1 != 0) {
                    reason = SkipReason.AlreadyDone;
                    if ((endorsed >> index) & 1 == 0) {
                        address key = roster.seatKey(index);
                        reason = _checkSigner(buffer, 5, place + 1, key, revised);
                        if (reason == SkipReason.None) {
                            endorsed |= 1 << index;
                            WireItems.emitPair(ProposalEndorsed.selector, buffer, key, index, proposalHash);
                            continue;
                        }
                    }
                }
                WireItems.emitSkipped(buffer, index, reason);
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
        Study storage study = _studies[studyId];
        uint256 state = study.state;
        if (state.phaseOf() != Phase.Challenge) {
            _existing(studyId);
            revert RoundWrongPhase(studyId, _phaseNow(study), Phase.Challenge);
        }
        bytes memory roster = Code.read(state.rosterOf());
        // Who stopped the study must not keep the round that ran from being recorded.
        if (openNext) openNext = _mayOpen(study);
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
        string memory modelCid = Cid.toText(proposal.modelDigest, roster.isDag());
        state = _record(studyId, study, state, certificates >> 128, proposal, modelCid);
        if (openNext) _open(studyId, study, state, roster, modelCid);
    }

    function _record(
        uint64 studyId,
        Study storage study,
        uint256 state,
        uint256 certified,
        Proposal calldata proposal,
        string memory modelCid
    ) private returns (uint256) {
        bytes32 proposalHash = keccak256(abi.encode(TAG_PROPOSAL, proposal));
        if (proposalHash != study.proposal) revert ProposalMismatch(study.proposal, proposalHash);
        Outcome memory outcome = _outcome(study, certified);
        uint32 round = uint32(state.roundOf());
        bytes32 record = keccak256(abi.encode(TAG_RECORD, _parentRecord(studyId, study, state), proposalHash, _hashOutcome(outcome)));
        _records[studyId][round] = record;
        study.modelRoot = proposal.newModelRoot;
        study.modelDigest = proposal.modelDigest;
        state = state.enter(Phase.Final, block.timestamp);
        study.state = state;
        emit RoundFinalized(studyId, round, record, proposalHash, outcome, proposal.newModelRoot, modelCid);
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
