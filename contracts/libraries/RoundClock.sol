// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase} from "../interfaces/Types.sol";

/// @notice Where a round was when it was last written down.
/// @param phase a phase that began at `mark`
/// @param mark start of the current stretch, seconds
/// @param attempt failed duties so far (the format's `tries`)
/// @param position whose duty it is: a position in the order of aggregators
/// @param excluded bitmap of positions that were refuted in this round
/// @param failedDuties bitmap of positions that let a duty pass
struct Clock {
    Phase phase;
    uint40 mark;
    uint8 attempt;
    uint8 position;
    uint16 excluded;
    uint16 failedDuties;
}

/// @notice What the plan and the roster snapshot fix. Windows in seconds.
struct Rules {
    uint32 commitWindow;
    uint32 revealWindow;
    uint32 certifyWindow;
    uint32 proposeWindow;
    uint32 challengeWindow;
    uint8 minClients;
    uint8 quorum;
    uint8 orderSize;
}

/// @notice How many members did what so far; `endorsed` counts for the live proposal.
struct Tally {
    uint8 active;
    uint8 committed;
    uint8 revealed;
    uint8 certified;
    uint8 endorsed;
}

/// @title RoundClock
/// @notice Which phase a round is in: a pure function of what was written down and of the time.
/// @dev Published in Python as `collegium.phases.catch_up`; docs/protocol.md, section Catch-up; shared vectors.
library RoundClock {
    /// @notice Failed duties after which a round aborts.
    uint8 internal constant MAX_ATTEMPTS = 3;
    /// @notice Most aggregators in the order of one round.
    uint256 internal constant MAX_ORDER = 16;

    /// @notice Brings `clock` to `time`: applies timeouts until none is due.
    function catchUp(Clock memory clock, Rules memory rules, Tally memory tally, uint256 time) internal pure returns (Clock memory) {
        while (step(clock, rules, tally, time)) {}
        return clock;
    }

    /// @notice Applies the next due transition, if any.
    /// @return moved whether `clock` changed
    function step(Clock memory clock, Rules memory rules, Tally memory tally, uint256 time) internal pure returns (bool moved) {
        Phase phase = clock.phase;
        // Unanimity needs no waiting.
        if (phase == Phase.Challenge && tally.endorsed >= tally.active) {
            clock.phase = Phase.Final;
            return true;
        }
        uint256 deadline = deadlineOf(clock, rules);
        // A phase holds for start <= t < deadline; an ended round has none.
        if (deadline == 0 || time < deadline) return false;

        clock.mark = uint40(deadline);
        if (phase == Phase.Commit) {
            clock.phase = tally.committed < rules.minClients ? Phase.Aborted : Phase.Reveal;
        } else if (phase == Phase.Reveal) {
            clock.phase = tally.revealed < rules.minClients ? Phase.Aborted : Phase.Certify;
        } else if (phase == Phase.Certify) {
            clock.phase = tally.certified < rules.minClients ? Phase.Aborted : Phase.Propose;
        } else if (phase == Phase.Propose) {
            clock.failedDuties |= uint16(1 << clock.position);
            passOn(clock, rules.orderSize);
        } else if (tally.endorsed >= rules.quorum) {
            clock.phase = Phase.Final;
        } else {
            passOn(clock, rules.orderSize);
        }
        return true;
    }

    /// @notice One more try failed: the next position that is not excluded, cyclically, is on duty; none or three failures abort.
    function passOn(Clock memory clock, uint256 orderSize) internal pure {
        clock.phase = Phase.Aborted;
        if (++clock.attempt >= MAX_ATTEMPTS) return;
        for (uint256 i = 1; i <= orderSize; ++i) {
            uint256 position = (clock.position + i) % orderSize;
            if (clock.excluded & (1 << position) == 0) {
                clock.position = uint8(position);
                clock.phase = Phase.Propose;
                return;
            }
        }
    }

    /// @return deadline of the phase in seconds; 0 for a phase without one
    function deadlineOf(Clock memory clock, Rules memory rules) internal pure returns (uint256 deadline) {
        Phase phase = clock.phase;
        if (phase == Phase.Commit) return uint256(clock.mark) + rules.commitWindow;
        if (phase == Phase.Reveal) return uint256(clock.mark) + rules.revealWindow;
        if (phase == Phase.Certify) return uint256(clock.mark) + rules.certifyWindow;
        if (phase == Phase.Propose) return uint256(clock.mark) + rules.proposeWindow;
        if (phase == Phase.Challenge) return uint256(clock.mark) + rules.challengeWindow;
    }
}
