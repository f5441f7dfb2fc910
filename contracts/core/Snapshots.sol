// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../interfaces/ICollegium.sol";
import {Role} from "../interfaces/Types.sol";
import {Code} from "../libraries/Code.sol";
import {Roster} from "../libraries/Roster.sol";
import {TAG_COHORT, TAG_ROSTER} from "../libraries/Tags.sol";
import {UpdateSet} from "../libraries/UpdateSet.sol";
import {CollegiumState} from "./CollegiumState.sol";

/// @title Snapshots
/// @notice Who is invited to a round and in which order aggregators are on duty.
abstract contract Snapshots is CollegiumState {
    /// @dev A seat spoken for by a node key; contract and study are reserved.
    uint256 private constant KIND_KEY = 1;

    /// @notice Writes a new snapshot: who can act, from Members, and who can pay, from Bonds.
    /// @return code account that holds the roster
    function takeSnapshot(uint64 studyId, uint32 round, uint32 bondsRevision) external returns (address code) {
        Study storage study = _studies[studyId];
        address plan = study.planCode;
        Roster.Header memory h;
        (address[] memory institutions, address[] memory nodeKeys) = _readSeats(studyId, study, plan, h);
        address[] memory order = _readOrder(studyId, study, plan);
        uint256 members = UpdateSet.size(h.active);
        h.minClients = uint8(Code.word(plan, MIN_CLIENTS));
        uint256 quorum = Code.word(plan, QUORUM_MIN);
        if (quorum < members / 2 + 1) quorum = members / 2 + 1;
        if (members < quorum) revert ICollegium.RoundTooFewMembers(members, quorum);
        if (UpdateSet.size(h.invited) < h.minClients) revert ICollegium.RoundTooFewInvited(UpdateSet.size(h.invited), h.minClients);
        if (order.length == 0) revert ICollegium.RoundNoAggregator(studyId);
        h.planHash = study.planHash;
        h.cohortHash = keccak256(abi.encode(TAG_COHORT, h.snapshotHash, h.invited, bytes32(0)));
        h.membersRevision = _membersRevision;
        h.bondsRevision = bondsRevision;
        for (uint256 i; i < 5; ++i) h.windows[i] = uint32(Code.word(plan, COMMIT_WINDOW + i));
        h.maxWeight = uint32(Code.word(plan, MAX_WEIGHT));
        h.quorum = uint8(quorum);
        h.dag = study.dag;
        emit ICollegium.RosterSnapshotted(studyId, round, h.snapshotHash, institutions, nodeKeys, order);
        return Code.write(Roster.pack(h, nodeKeys, order));
    }

    /// @dev Fills snapshotHash, active and invited of `h`.
    function _readSeats(uint64 studyId, Study storage study, address plan, Roster.Header memory h)
        private
        view
        returns (address[] memory institutions, address[] memory nodeKeys)
    {
        uint256 count = study.seatCount;
        uint256 needed = _memberFine(plan);
        institutions = new address[](count);
        nodeKeys = new address[](count);
        bytes32[] memory words = new bytes32[](1 + 3 * count);
        words[0] = TAG_ROSTER;
        for (uint256 i; i < count; ++i) {
            address institution = study.institutions[i];
            address key = study.seats[institution].leaving ? address(0) : MEMBERS.nodeKeyOf(institution);
            // A seat that nobody can use is three zeros; its index stays its own.
            if (key == address(0)) continue;
            institutions[i] = institution;
            nodeKeys[i] = key;
            words[3 * i + 1] = bytes32(KIND_KEY);
            words[3 * i + 2] = bytes32(uint256(uint160(institution)));
            words[3 * i + 3] = bytes32(uint256(uint160(key)));
            h.active |= uint128(1 << i);
            // A member below one fine is not invited.
            if (_lockOf(studyId, institution, Role.Member) >= needed) h.invited |= uint128(1 << i);
        }
        h.snapshotHash = _hashWords(words);
    }

    /// @return order node keys of the enlisted aggregators whose bond is whole
    function _readOrder(uint64 studyId, Study storage study, address plan) private view returns (address[] memory order) {
        uint256 bond = Code.word(plan, AGGREGATOR_BOND);
        uint256 enlisted = study.aggregators.length;
        order = new address[](enlisted);
        uint256 count;
        for (uint256 i; i < enlisted; ++i) {
            address institution = study.aggregators[i];
            address key = MEMBERS.nodeKeyOf(institution);
            if (key != address(0) && _lockOf(studyId, institution, Role.Aggregator) >= bond) order[count++] = key;
        }
        assembly ("memory-safe") {
            mstore(order, count)
        }
    }

    function _lockOf(uint64 studyId, address institution, Role role) private view returns (uint256 amount) {
        (amount,) = BONDS.lockOf(studyId, institution, role);
    }
}
