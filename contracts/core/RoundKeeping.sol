// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {FineOrder} from "../interfaces/IBonds.sol";
import {ICollegium} from "../interfaces/ICollegium.sol";
import {Kind, Phase, Role} from "../interfaces/Types.sol";
import {Code} from "../libraries/Code.sol";
import {Roster} from "../libraries/Roster.sol";
import {Clock, RoundClock, Rules, Tally} from "../libraries/RoundClock.sol";
import {RoundState} from "../libraries/RoundState.sol";
import {UpdateSet} from "../libraries/UpdateSet.sol";
import {CollegiumState} from "./CollegiumState.sol";

/// @title RoundKeeping
/// @notice Writes down what time decided, and orders the fines that follow from it.
abstract contract RoundKeeping is ICollegium, CollegiumState {
    using RoundState for uint256;
    using Roster for bytes;

    /// @dev The round must be in `expected` now; what time decided before is written down first.
    function _enter(uint64 studyId, Study storage study, Phase expected) internal returns (uint256 state, bytes memory roster) {
        state = study.state;
        address code = state.rosterOf();
        if (code == address(0)) {
            _existing(studyId);
            revert RoundWrongPhase(studyId, Phase.None, expected);
        }
        roster = Code.read(code);
        Phase actual = state.phaseOf();
        // A phase holds for start <= t < deadline.
        if (actual != expected || block.timestamp >= state.markOf() + roster.windowOf(expected)) {
            (state, actual) = _checkpoint(studyId, study, state, roster);
            if (actual != expected) revert RoundWrongPhase(studyId, actual, expected);
        }
    }

    /// @dev Applies every due timeout and tells it by events. A round that became final by time stays as it is: `finalize` records it.
    /// @return newState what is written now; phase computed at this moment
    function _checkpoint(uint64 studyId, Study storage study, uint256 state, bytes memory roster) internal returns (uint256 newState, Phase phase) {
        uint256 flow = study.flow.fresh(state);
        (Clock memory clock, Rules memory rules, Tally memory tally) = _clockOf(study, state, flow, roster);
        uint256 failed = flow.failedProposals();
        uint32 round = uint32(state.roundOf());
        bool moved;
        while (true) {
            phase = clock.phase;
            uint8 position = clock.position;
            uint8 attempt = clock.attempt;
            if (!RoundClock.step(clock, rules, tally, block.timestamp)) break;
            if (clock.phase == Phase.Final) return (state, Phase.Final);
            moved = true;
            if (phase == Phase.Propose) {
                emit DutyMissed(studyId, round, roster.orderKey(position), attempt);
            } else if (phase == Phase.Challenge) {
                study.failed[failed++] = study.proposal;
                emit ProposalLapsed(studyId, round, roster.orderKey(position), study.proposal);
            }
            if (clock.phase == Phase.Aborted) {
                emit RoundAborted(studyId, round, phase);
                // Nobody could reveal yet, so nobody is fined.
                if (phase == Phase.Commit) state |= RoundState.SETTLED;
            }
        }
        if (!moved) return (state, phase);
        (newState, flow) = RoundState.fromClock(clock, state, flow, failed);
        study.state = newState;
        if (clock.attempt != 0) study.flow = flow;
    }

    function _clockOf(Study storage study, uint256 state, uint256 flow, bytes memory roster)
        internal
        view
        returns (Clock memory clock, Rules memory rules, Tally memory tally)
    {
        rules = roster.rules();
        clock = state.toClock(flow, rules.orderSize);
        tally.active = uint8(UpdateSet.size(roster.active()));
        tally.committed = uint8(UpdateSet.size(uint128(study.joined)));
        tally.revealed = uint8(UpdateSet.size(flow >> 128));
        if (state & RoundState.CERTIFIED != 0) {
            uint256 certificates = study.certificates;
            tally.certified = uint8(UpdateSet.size(certificates >> 128));
            tally.endorsed = uint8(UpdateSet.size(uint128(certificates)));
        }
    }

    /// @dev Orders the fines of an ended round, once: members that committed and never revealed, aggregators that let a duty pass.
    function _settleFines(uint64 studyId, Study storage study, uint256 state, bytes memory roster) internal returns (uint256) {
        if (state.phaseOf() < Phase.Final || state & RoundState.SETTLED != 0) return state;
        uint256 flow = study.flow.fresh(state);
        uint256 unrevealed = uint128(study.joined) & ~(flow >> 128);
        uint256 duties = flow.failedDuties();
        if (unrevealed | duties == 0) return state;
        state |= RoundState.SETTLED;
        study.state = state;

        // The clients that served the round share; an aborted round has none.
        uint256 eligible = state.phaseOf() == Phase.Final ? study.certificates >> 128 : 0;
        bytes32 ctx = study.ctx;
        uint256 amount = Code.word(study.planCode, UNREVEALED_FINE);
        for (uint256 i; unrevealed != 0; ++i) {
            if (unrevealed & 1 != 0) _fine(studyId, study.institutions[i], Role.Member, Kind.Unrevealed, amount, ctx, eligible);
            unrevealed >>= 1;
        }
        amount = Code.word(study.planCode, DUTY_FINE);
        for (uint256 i; duties != 0; ++i) {
            if (duties & 1 != 0) {
                address institution = MEMBERS.institutionOf(roster.orderKey(i));
                Seat storage seat = study.seats[institution];
                uint256 others = seat.seated ? eligible & ~(1 << seat.index) : eligible;
                _fine(studyId, institution, Role.Aggregator, Kind.Duty, amount, ctx, others);
            }
            duties >>= 1;
        }
        return state;
    }

    function _fine(uint64 studyId, address institution, Role role, Kind kind, uint256 amount, bytes32 ctx, uint256 eligible) private {
        if (amount == 0 || BONDS.isFined(keccak256(abi.encode(ctx, institution, kind)))) return;
        BONDS.fine(FineOrder(studyId, institution, role, kind, uint128(amount), ctx, address(0), 0, uint128(eligible)));
    }
}
