// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IBonds} from "../interfaces/IBonds.sol";
import {ICollegium} from "../interfaces/ICollegium.sol";
import {IMembers} from "../interfaces/IMembers.sol";
import {StudyStatus} from "../interfaces/Types.sol";
import {Code} from "../libraries/Code.sol";
import {Signatures} from "../libraries/Signatures.sol";

/// @notice Shortest windows a study may have, in seconds; zero only on a devnet.
struct MinimumWindows {
    uint32 commit;
    uint32 reveal;
    uint32 certify;
    uint32 propose;
    uint32 challenge;
    uint32 evidence;
}

/// @title CollegiumState
/// @notice What Collegium remembers. Slots of rounds are recycled; only records stay.
abstract contract CollegiumState {
    struct Seat {
        bool seated;
        bool leaving;
        uint16 index;
        uint128 maxFine;
    }

    /// @param state flow packed, see RoundState
    /// @param openUntil no round opens at or after it; zero: no term
    /// @param joined invited 128 | committed 128
    /// @param certificates certified 128 | endorsed 128
    struct Study {
        uint256 state;
        uint256 flow;
        uint256 joined;
        uint256 certificates;
        bytes32 ctx;
        bytes32 proposal;
        bytes32 modelRoot;
        bytes32 modelDigest;
        address planCode;
        uint32 lastFinal;
        uint8 seatCount;
        bool dag;
        StudyStatus status;
        uint40 openUntil;
        address sponsor;
        bytes32 planHash;
        bytes32[3] failed;
        bytes32[128] slots;
        address[128] institutions;
        address[] aggregators;
        mapping(address institution => Seat) seats;
    }

    /// @dev Positions of fields in the plan, in words.
    uint256 internal constant MIN_CLIENTS = 10;
    uint256 internal constant MAX_MEMBERS = 11;
    uint256 internal constant QUORUM_MIN = 12;
    uint256 internal constant MAX_WEIGHT = 13;
    uint256 internal constant COMMIT_WINDOW = 14;
    uint256 internal constant AGGREGATOR_BOND = 20;
    uint256 internal constant UNREVEALED_FINE = 21;
    uint256 internal constant RANGE_FINE = 22;
    uint256 internal constant EQUIVOCATION_FINE = 23;
    uint256 internal constant DUTY_FINE = 24;
    uint256 internal constant AGREEMENT = 28;

    IMembers internal immutable MEMBERS;
    IBonds internal immutable BONDS;

    constructor(IMembers members_, IBonds bonds_) {
        MEMBERS = members_;
        BONDS = bonds_;
    }

    /// @dev The contract that accepts evidence.
    address internal _refutations;
    uint64 internal _studyCount;
    /// @dev Last revision of Members we were told.
    uint32 internal _membersRevision;
    mapping(uint64 studyId => Study) internal _studies;
    mapping(uint64 studyId => mapping(uint256 round => bytes32)) internal _records;
    mapping(uint64 studyId => mapping(uint256 round => bool)) internal _disputed;
    mapping(address institutionOrReferee => uint64) internal _nonces;
    mapping(address referee => bool) internal _refereeAllowed;

    function _computeDomain() internal view returns (bytes32) {
        return keccak256(abi.encode(Signatures.DOMAIN, keccak256("Collegium"), keccak256("1"), block.chainid, address(this)));
    }

    function _existing(uint64 studyId) internal view returns (Study storage study) {
        study = _studies[studyId];
        if (study.planCode == address(0)) revert ICollegium.StudyUnknown(studyId);
    }

    /// @dev Largest fine a member can be ordered to pay for one fault: what it must have locked to be invited.
    function _memberFine(address plan) internal view returns (uint256 fine) {
        fine = Code.word(plan, UNREVEALED_FINE);
        uint256 other = Code.word(plan, RANGE_FINE);
        if (other > fine) fine = other;
        other = Code.word(plan, EQUIVOCATION_FINE);
        if (other > fine) fine = other;
    }

    /// @dev keccak of the words themselves, without offset or length.
    function _hashWords(bytes32[] memory words) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            digest := keccak256(add(words, 32), shl(5, mload(words)))
        }
    }
}
