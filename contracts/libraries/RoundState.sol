// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase} from "../interfaces/Types.sol";
import {Clock} from "./RoundClock.sol";

/// @title RoundState
/// @notice The two packed words a round keeps beside its bitmaps.
/// @dev state: roster code 160 | round 32 | mark 40 | attempt 8 | flags 8 | phase 8
///      flow:  revealed 128 | round 32 | position 8 | excluded 16 | failedDuties 16 | failedProposals 8 | weight sum 48
///      Slots are recycled without being zeroed: flow counts only when its round is the state's, the certified set only
///      with its flag.
library RoundState {
    /// @dev The word with certified and endorsed bitmaps belongs to this round.
    uint256 internal constant CERTIFIED = 1 << 8;
    /// @dev The fines of the ended round are ordered.
    uint256 internal constant SETTLED = 1 << 9;
    /// @dev Until the first proposal its slot holds the hash of the revealed set.
    uint256 internal constant HASHED = 1 << 10;
    /// @dev The round before this one is final.
    uint256 internal constant FOLLOWS = 1 << 11;

    function open(address roster, uint256 round, uint256 time) internal pure returns (uint256 state) {
        return uint256(uint160(roster)) << 96 | round << 64 | time << 24 | uint256(Phase.Commit);
    }

    function rosterOf(uint256 state) internal pure returns (address) {
        return address(uint160(state >> 96));
    }

    function roundOf(uint256 state) internal pure returns (uint256) {
        return uint32(state >> 64);
    }

    function markOf(uint256 state) internal pure returns (uint256) {
        return uint40(state >> 24);
    }

    function attemptOf(uint256 state) internal pure returns (uint256) {
        return uint8(state >> 16);
    }

    function phaseOf(uint256 state) internal pure returns (Phase) {
        return Phase(uint8(state));
    }

    /// @notice The same round, in `phase` since `time`.
    function enter(uint256 state, Phase phase, uint256 time) internal pure returns (uint256) {
        return (state & ~(uint256(type(uint40).max) << 24 | 0xff)) | time << 24 | uint256(phase);
    }

    /// @notice The flow of the current round: empty unless it was written in this round.
    function fresh(uint256 flow, uint256 state) internal pure returns (uint256) {
        uint256 round = roundOf(state);
        return uint32(flow >> 96) == round ? flow : round << 96;
    }

    function isCertified(uint256 state) internal pure returns (bool) {
        return state & CERTIFIED != 0;
    }

    /// @return sum of the weights of all revealed updates
    function weightSum(uint256 flow) internal pure returns (uint256 sum) {
        return uint48(flow);
    }

    /// @param flow fresh
    function addReveal(uint256 flow, uint256 index, uint256 weight) internal pure returns (uint256) {
        unchecked {
            // At most 128 weights of 32 bits.
            return (flow | 1 << (128 + index)) + weight;
        }
    }

    function failedProposals(uint256 flow) internal pure returns (uint256) {
        return uint8(flow >> 48);
    }

    function failedDuties(uint256 flow) internal pure returns (uint256) {
        return uint16(flow >> 56);
    }

    /// @param flow fresh
    function toClock(uint256 state, uint256 flow, uint256 orderSize) internal pure returns (Clock memory clock) {
        clock.phase = phaseOf(state);
        clock.mark = uint40(markOf(state));
        clock.attempt = uint8(attemptOf(state));
        // Who starts rotates with the round.
        clock.position = clock.attempt == 0 ? uint8(roundOf(state) % orderSize) : uint8(flow >> 88);
        clock.excluded = uint16(flow >> 72);
        clock.failedDuties = uint16(flow >> 56);
    }

    /// @return newState newFlow the words that say what `clock` says
    function fromClock(Clock memory clock, uint256 state, uint256 flow, uint256 failed) internal pure returns (uint256 newState, uint256 newFlow) {
        newState = enter(state, clock.phase, clock.mark) & ~uint256(0xff0000) | uint256(clock.attempt) << 16;
        newFlow = flow >> 96 << 96 | uint256(clock.position) << 88 | uint256(clock.excluded) << 72
            | uint256(clock.failedDuties) << 56 | failed << 48 | uint48(flow);
    }
}
