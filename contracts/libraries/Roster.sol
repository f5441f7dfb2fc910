// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase} from "../interfaces/Types.sol";
import {Rules} from "./RoundClock.sol";

/// @title Roster
/// @notice The snapshot a round is opened with, as one packed blob kept as code: who may act, with which key, and the rules.
/// @dev planHash 32 | snapshotHash 32 | cohortHash 32 | active 16 | invited 16 | members revision 4 | bonds revision 4 |
///      commit, reveal, certify, propose, challenge window 4 each | max weight 4 | min clients 1 | quorum 1 | seats 1 |
///      order 1 | dag 1 | node key of each seat 20 | node key of each aggregator in order 20.
library Roster {
    uint256 private constant KEYS = 165;

    /// @param dag whether blobs of this study exceed one block (dag-pb)
    struct Header {
        bytes32 planHash;
        bytes32 snapshotHash;
        bytes32 cohortHash;
        uint128 active;
        uint128 invited;
        uint32 membersRevision;
        uint32 bondsRevision;
        uint32[5] windows;
        uint32 maxWeight;
        uint8 minClients;
        uint8 quorum;
        bool dag;
    }

    /// @param seats node key per seat, zero where unusable
    /// @param order node keys of the aggregators in order
    function pack(Header memory h, address[] memory seats, address[] memory order) internal pure returns (bytes memory roster) {
        roster = abi.encodePacked(
            abi.encodePacked(h.planHash, h.snapshotHash, h.cohortHash, h.active, h.invited, h.membersRevision, h.bondsRevision),
            abi.encodePacked(h.windows[0], h.windows[1], h.windows[2], h.windows[3], h.windows[4], h.maxWeight),
            abi.encodePacked(h.minClients, h.quorum, uint8(seats.length), uint8(order.length), h.dag),
            new bytes(20 * (seats.length + order.length))
        );
        _putKeys(roster, 0, seats);
        _putKeys(roster, seats.length, order);
    }

    function _putKeys(bytes memory roster, uint256 start, address[] memory keys) private pure {
        for (uint256 i; i < keys.length; ++i) {
            uint256 at = KEYS + 20 * (start + i);
            address key = keys[i];
            assembly ("memory-safe") {
                // The 12 bytes before a key stay as they are.
                let place := add(add(roster, 20), at)
                mstore(place, or(and(mload(place), shl(160, sub(shl(96, 1), 1))), key))
            }
        }
    }

    function _word(bytes memory roster, uint256 at) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(add(roster, 32), at))
        }
    }

    function planHash(bytes memory roster) internal pure returns (bytes32) {
        return bytes32(_word(roster, 0));
    }

    function cohortHash(bytes memory roster) internal pure returns (bytes32) {
        return bytes32(_word(roster, 64));
    }

    function snapshotHash(bytes memory roster) internal pure returns (bytes32) {
        return bytes32(_word(roster, 32));
    }

    function active(bytes memory roster) internal pure returns (uint256) {
        return _word(roster, 96) >> 128;
    }

    function invited(bytes memory roster) internal pure returns (uint256) {
        return uint128(_word(roster, 96));
    }

    /// @return revision of Members this snapshot was taken at
    function membersRevision(bytes memory roster) internal pure returns (uint256 revision) {
        return _word(roster, 128) >> 224;
    }

    /// @return revision of the study's locks in Bonds this snapshot was taken at
    function bondsRevision(bytes memory roster) internal pure returns (uint256 revision) {
        return uint32(_word(roster, 128) >> 192);
    }

    /// @return window of a phase from Commit to Challenge, in seconds
    function windowOf(bytes memory roster, Phase phase) internal pure returns (uint256 window) {
        return uint32(_word(roster, 128) >> (192 - 32 * uint256(phase)));
    }

    function maxWeight(bytes memory roster) internal pure returns (uint256) {
        return uint32(_word(roster, 128));
    }

    function minClients(bytes memory roster) internal pure returns (uint256) {
        return _word(roster, 160) >> 248;
    }

    function quorum(bytes memory roster) internal pure returns (uint256) {
        return uint8(_word(roster, 160) >> 240);
    }

    function seatCount(bytes memory roster) internal pure returns (uint256) {
        return uint8(_word(roster, 160) >> 232);
    }

    function orderSize(bytes memory roster) internal pure returns (uint256) {
        return uint8(_word(roster, 160) >> 224);
    }

    /// @return dag whether blobs of this study exceed one block
    function isDag(bytes memory roster) internal pure returns (bool dag) {
        return uint8(_word(roster, 160) >> 216) != 0;
    }

    /// @notice Node key of seat `index`, which must be below `seatCount`.
    function seatKey(bytes memory roster, uint256 index) internal pure returns (address) {
        return address(uint160(_word(roster, KEYS + 20 * index) >> 96));
    }

    /// @notice Node key of the aggregator at `position` of the order.
    function orderKey(bytes memory roster, uint256 position) internal pure returns (address) {
        return seatKey(roster, seatCount(roster) + position);
    }

    function rules(bytes memory roster) internal pure returns (Rules memory r) {
        r.commitWindow = uint32(windowOf(roster, Phase.Commit));
        r.revealWindow = uint32(windowOf(roster, Phase.Reveal));
        r.certifyWindow = uint32(windowOf(roster, Phase.Certify));
        r.proposeWindow = uint32(windowOf(roster, Phase.Propose));
        r.challengeWindow = uint32(windowOf(roster, Phase.Challenge));
        r.minClients = uint8(minClients(roster));
        r.quorum = uint8(quorum(roster));
        r.orderSize = uint8(orderSize(roster));
    }
}
