// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../interfaces/ICollegium.sol";
import {Phase, StudyStatus} from "../interfaces/Types.sol";
import {Cid} from "../libraries/Cid.sol";
import {Code} from "../libraries/Code.sol";
import {Roster} from "../libraries/Roster.sol";
import {RoundState} from "../libraries/RoundState.sol";
import {TAG_CTX, TAG_RECORD} from "../libraries/Tags.sol";
import {RoundKeeping} from "./RoundKeeping.sol";

/// @title Openings
/// @notice How a round begins: who may open it, who is invited, in which order aggregators are on duty.
abstract contract Openings is RoundKeeping {
    using RoundState for uint256;
    using Roster for bytes;

    /// @inheritdoc ICollegium
    function openRound(uint64 studyId) external returns (uint32 round) {
        Study storage study = _existing(studyId);
        if (!_mayOpen(study)) revert StudyNotOpen(studyId, study.status, study.openUntil);
        uint256 state = study.state;
        bytes memory roster;
        if (state != 0) {
            roster = Code.read(state.rosterOf());
            Phase phase;
            (state, phase) = _checkpoint(studyId, study, state, roster);
            // A round that may be finalized is recorded before the next one opens.
            if (state.phaseOf() < Phase.Final) revert RoundWrongPhase(studyId, phase, Phase.Final);
        }
        return _open(studyId, study, state, roster, Cid.toText(study.modelDigest, study.dag));
    }

    /// @dev The sponsor lets rounds open and the term, if there is one, runs.
    function _mayOpen(Study storage study) internal view returns (bool) {
        uint256 openUntil = study.openUntil;
        return study.status == StudyStatus.Open && (openUntil == 0 || block.timestamp < openUntil);
    }

    /// @dev The last round has ended; `state` is zero when there was none.
    function _open(uint64 studyId, Study storage study, uint256 state, bytes memory roster, string memory modelCid)
        internal
        returns (uint32 round)
    {
        _requireOpener(study, roster);
        address code = state.rosterOf();
        if (code != address(0)) _settleFines(studyId, study, state, roster);
        round = uint32(state.roundOf() + 1);

        uint256 bondsRevision = BONDS.revisionOf(studyId);
        if (
            // Joining, leaving and fines all change a lock.
            code == address(0) || roster.membersRevision() != _membersRevision || roster.bondsRevision() != uint32(bondsRevision)
        ) {
            code = _takeSnapshot(studyId, round, uint32(bondsRevision));
            roster = Code.read(code);
        }

        uint256 invited = roster.invited();
        bytes32 modelRoot = study.modelRoot;
        uint256 opened = RoundState.open(code, round, block.timestamp);
        if (state.phaseOf() == Phase.Final) opened |= RoundState.FOLLOWS;
        else if (state & RoundState.FOLLOWS != 0) study.lastFinal = uint32(state.roundOf() - 1);
        bytes32 parentRecord = _parentRecord(studyId, study, opened);
        bytes32 cohortHash = roster.cohortHash();
        bytes32 ctx = _hashCtx(studyId, round, roster.planHash(), parentRecord, modelRoot, cohortHash);
        study.state = opened;
        study.joined = invited << 128;
        study.ctx = ctx;
        emit RoundOpened(
            studyId,
            round,
            msg.sender,
            ctx,
            uint128(invited),
            uint8(roster.quorum()),
            modelRoot,
            0,
            parentRecord,
            cohortHash,
            modelCid
        );
    }

    /// @dev stateRoot and keysAcc are zero with FedAvg in Open mode.
    function _hashCtx(uint64 studyId, uint256 round, bytes32 planHash, bytes32 parentRecord, bytes32 modelRoot, bytes32 cohortHash)
        private
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                TAG_CTX, block.chainid, address(this), studyId, planHash, round, parentRecord, modelRoot, bytes32(0), cohortHash, bytes32(0)
            )
        );
    }

    /// @dev Record of the last final round: of this one once it is final, else of one before.
    function _parentRecord(uint64 studyId, Study storage study, uint256 state) internal view returns (bytes32) {
        uint256 last = _lastFinal(study, state);
        if (last != 0) return _records[studyId][last];
        return keccak256(abi.encode(TAG_RECORD, bytes32(0), study.planHash, bytes32(0)));
    }

    /// @dev Written only when an aborted round lies between: a round that follows a final one knows it by its flag.
    function _lastFinal(Study storage study, uint256 state) internal view returns (uint256) {
        if (state.phaseOf() == Phase.Final) return state.roundOf();
        return state & RoundState.FOLLOWS != 0 ? state.roundOf() - 1 : study.lastFinal;
    }

    function _takeSnapshot(uint64 studyId, uint32 round, uint32 bondsRevision) internal virtual returns (address code);

    /// @dev A member, an aggregator or the sponsor; institution or its current node key.
    function _requireOpener(Study storage study, bytes memory roster) private view {
        // Cheap first: a key of the last snapshot, while no identity has changed since.
        if (roster.length != 0 && roster.membersRevision() == _membersRevision) {
            uint256 count = roster.seatCount() + roster.orderSize();
            for (uint256 i = count; i != 0; --i) {
                if (roster.seatKey(i - 1) == msg.sender) return;
            }
        }
        if (msg.sender == study.sponsor) return;
        address institution = MEMBERS.institutionOf(msg.sender);
        if (institution == address(0) || MEMBERS.nodeKeyOf(institution) != msg.sender) institution = msg.sender;
        Seat storage seat = study.seats[institution];
        if (seat.seated && !seat.leaving) return;
        for (uint256 i; i < study.aggregators.length; ++i) {
            if (study.aggregators[i] == institution) return;
        }
        revert RoundOpenerNotAllowed(msg.sender);
    }
}
