// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {CollegiumState, MinimumWindows} from "./core/CollegiumState.sol";
import {Rounds} from "./core/Rounds.sol";
import {Snapshots} from "./core/Snapshots.sol";
import {Studies} from "./core/Studies.sol";
import {IBonds} from "./interfaces/IBonds.sol";
import {ICollegium} from "./interfaces/ICollegium.sol";
import {IMembers, IRevisionListener} from "./interfaces/IMembers.sol";
import {Format, Join, Phase, Plan, StudyStatus} from "./interfaces/Types.sol";
import {Cid} from "./libraries/Cid.sol";
import {Code} from "./libraries/Code.sol";
import {Roster} from "./libraries/Roster.sol";
import {Clock, RoundClock, Rules} from "./libraries/RoundClock.sol";
import {RoundState} from "./libraries/RoundState.sol";

/// @title Collegium
/// @notice Studies and rounds of federated learning among institutions that trust no operator: what each member committed,
///         what the aggregate therefore must be, and the log that replays it. Holds no money.
/// @dev Assumes of Members that a node key never changes its institution, of Bonds that it calls nobody but its token.
contract Collegium is Rounds, IRevisionListener {
    using RoundState for uint256;
    using Roster for bytes;

    /// @notice Emitted once, when the contract that accepts evidence is named.
    event RefutationsConnected(address indexed refutations);

    error CollegiumOnlyDeployer(address caller);
    error CollegiumAlreadyConnected(address refutations);

    address private immutable DEPLOYER;
    address private immutable STUDIES;
    uint256 private immutable DOMAIN_CHAIN;
    bytes32 private immutable DOMAIN_SEPARATOR;

    /// @param minimum shortest windows a study may have
    /// @param referees allowed from the start; later ones through the council
    constructor(IMembers members_, IBonds bonds_, MinimumWindows memory minimum, address[] memory referees)
        CollegiumState(members_, bonds_)
    {
        DEPLOYER = msg.sender;
        STUDIES = address(new Studies(members_, bonds_, minimum));
        DOMAIN_CHAIN = block.chainid;
        DOMAIN_SEPARATOR = _computeDomain();
        for (uint256 i; i < referees.length; ++i) {
            _refereeAllowed[referees[i]] = true;
            emit RefereeAllowed(referees[i], true, 0);
        }
    }

    /// @notice Names the contract that accepts evidence. Only the deployer, once.
    function connect(address refutations_) external {
        if (msg.sender != DEPLOYER) revert CollegiumOnlyDeployer(msg.sender);
        if (_refutations != address(0)) revert CollegiumAlreadyConnected(_refutations);
        _refutations = refutations_;
        emit RefutationsConnected(refutations_);
    }

    /// @inheritdoc IRevisionListener
    function onMembersRevised(uint32 revision) external {
        if (msg.sender != address(MEMBERS)) revert CollegiumOnlyMembers(msg.sender);
        _membersRevision = revision;
    }

    /// @inheritdoc ICollegium
    function markRefuted(uint64 studyId, bytes32 proposalHash) external {
        _requireRefutations();
        Study storage study = _studies[studyId];
        (uint256 state, bytes memory roster) = _enter(studyId, study, Phase.Challenge);
        if (uint128(study.certificates) == roster.active()) revert RoundWrongPhase(studyId, Phase.Final, Phase.Challenge);
        if (proposalHash != study.proposal) revert ProposalMismatch(study.proposal, proposalHash);
        uint256 flow = study.flow;
        uint256 size = roster.orderSize();
        uint256 failed = flow.failedProposals();
        Clock memory clock = state.toClock(flow, size);
        address aggregator = roster.orderKey(clock.position);
        // Refuted in this round: skipped for the rest of it. Propose starts anew at once.
        clock.excluded |= uint16(1 << clock.position);
        clock.mark = uint40(block.timestamp);
        RoundClock.passOn(clock, size);
        study.failed[failed] = proposalHash;
        (study.state, study.flow) = RoundState.fromClock(clock, state, flow, failed + 1);
        emit ProposalRefuted(studyId, uint32(state.roundOf()), aggregator, proposalHash);
        if (clock.phase == Phase.Aborted) emit RoundAborted(studyId, uint32(state.roundOf()), Phase.Challenge);
    }

    /// @inheritdoc ICollegium
    function markDisputed(uint64 studyId, uint32 round) external {
        _requireRefutations();
        _disputed[studyId][round] = true;
        emit RecordDisputed(studyId, round, _records[studyId][round]);
    }

    function _requireRefutations() private view {
        if (msg.sender != _refutations) revert CollegiumOnlyRefutations(msg.sender);
    }

    // ---- studies: the rare half runs from its own code; the names of its parameters are for whoever reads the ABI

    /// @inheritdoc ICollegium
    function allowReferee(address referee, bool allowed, uint40 deadline, bytes calldata approvals) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function createStudy(Plan calldata plan, Format calldata format) external returns (uint64 studyId) {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function setStudyStatus(uint64 studyId, StudyStatus status) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function extendStudy(uint64 studyId, uint40 openUntil) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function removeMember(uint64 studyId, address institution, uint40 deadline, bytes calldata approvals) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function join(Join calldata message, bytes calldata signature) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function leave(uint64 studyId) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function enlist(uint64 studyId) external {
        _runStudies();
    }

    /// @inheritdoc ICollegium
    function delist(uint64 studyId) external {
        _runStudies();
    }

    /// @dev The same call by the code of Studies in this storage; ends the call.
    function _runStudies() private {
        address studies = STUDIES;
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let ok := delegatecall(gas(), studies, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            if iszero(ok) { revert(free, returndatasize()) }
            return(free, returndatasize())
        }
    }

    function _takeSnapshot(uint64 studyId, uint32 round, uint32 bondsRevision) internal override returns (address) {
        bytes memory result = Address.functionDelegateCall(STUDIES, abi.encodeCall(Snapshots.takeSnapshot, (studyId, round, bondsRevision)));
        return abi.decode(result, (address));
    }

    // ---- views

    /// @notice The contract that accepts evidence.
    function refutations() external view returns (address) {
        return _refutations;
    }

    /// @inheritdoc ICollegium
    function domainSeparator() public view override returns (bytes32) {
        return block.chainid == DOMAIN_CHAIN ? DOMAIN_SEPARATOR : _computeDomain();
    }

    /// @notice The EIP-712 domain of what institutions and node keys sign, for wallets and explorers (ERC-5267).
    /// @return fields 0x0f: name, version, chain and contract are used; salt and extensions are not
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        (fields, name, version, chainId, verifyingContract, salt, extensions) =
            (0x0f, "Collegium", "1", block.chainid, address(this), 0, extensions);
    }

    /// @inheritdoc ICollegium
    function studyOf(uint64 studyId)
        external
        view
        returns (Plan memory plan, Format memory format, bytes32 planHash, uint256 members, uint256 aggregators, uint32 round)
    {
        Study storage study = _existing(studyId);
        (plan, format) = abi.decode(Code.read(study.planCode), (Plan, Format));
        return (plan, format, study.planHash, study.seatCount, study.aggregators.length, uint32(study.state.roundOf()));
    }

    /// @inheritdoc ICollegium
    function governanceOf(uint64 studyId) external view returns (address sponsor, StudyStatus status, uint40 openUntil) {
        Study storage study = _existing(studyId);
        return (study.sponsor, study.status, study.openUntil);
    }

    /// @inheritdoc ICollegium
    function roundOf(uint64 studyId)
        external
        view
        returns (
            uint32 round,
            Phase phase,
            uint8 attempt,
            uint40 deadline,
            bytes32 ctx,
            uint128 invited,
            uint128 committed,
            uint128 revealed,
            uint128 certified,
            uint128 endorsed,
            bytes32 proposalHash
        )
    {
        Study storage study = _existing(studyId);
        uint256 state = study.state;
        (phase, attempt, deadline) = _clockedOf(study);
        round = uint32(state.roundOf());
        ctx = study.ctx;
        invited = uint128(study.joined >> 128);
        committed = uint128(study.joined);
        revealed = uint128(study.flow.fresh(state) >> 128);
        certified = _certified(study, state);
        if (_isLive(phase)) {
            endorsed = uint128(study.certificates);
            proposalHash = study.proposal;
        }
    }

    function _certified(Study storage study, uint256 state) private view returns (uint128) {
        return state & RoundState.CERTIFIED == 0 ? 0 : uint128(study.certificates >> 128);
    }

    /// @dev Whether the stored proposal is the one that counts now.
    function _isLive(Phase phase) private pure returns (bool) {
        return phase == Phase.Challenge || phase == Phase.Final;
    }

    /// @inheritdoc ICollegium
    function phaseOf(uint64 studyId) external view returns (Phase phase, uint8 attempt, uint40 deadline) {
        return _clockedOf(_existing(studyId));
    }

    function _clockedOf(Study storage study) private view returns (Phase phase, uint8 attempt, uint40 deadline) {
        uint256 state = study.state;
        if (state == 0) return (Phase.None, 0, 0);
        (Clock memory clock, Rules memory rules) = _clockNow(study, state, Code.read(state.rosterOf()));
        return (clock.phase, clock.attempt, uint40(RoundClock.deadlineOf(clock, rules)));
    }

    /// @inheritdoc ICollegium
    function onDuty(uint64 studyId) external view returns (address aggregator) {
        Study storage study = _existing(studyId);
        uint256 state = study.state;
        if (state == 0) return address(0);
        bytes memory roster = Code.read(state.rosterOf());
        (Clock memory clock,) = _clockNow(study, state, roster);
        if (clock.phase < Phase.Final) aggregator = roster.orderKey(clock.position);
    }

    /// @inheritdoc ICollegium
    function modelOf(uint64 studyId) external view returns (bytes32 modelRoot, bytes32 stateRoot, string memory cid, uint32 round) {
        Study storage study = _existing(studyId);
        return (study.modelRoot, 0, Cid.toText(study.modelDigest, study.dag), uint32(_lastFinal(study, study.state)));
    }

    /// @inheritdoc ICollegium
    function updateOf(uint64 studyId, uint16 index) external view returns (bytes32 slot, bool committed, bool revealed, bool certified) {
        Study storage study = _existing(studyId);
        uint256 state = study.state;
        if (index > 127 || (study.joined >> index) & 1 == 0) return (0, false, false, false);
        return (study.slots[index], true, (study.flow.fresh(state) >> (128 + index)) & 1 != 0, (_certified(study, state) >> index) & 1 != 0);
    }

    /// @inheritdoc ICollegium
    function recordOf(uint64 studyId, uint32 round) external view returns (bytes32 record, bool disputed) {
        return (_records[studyId][round], _disputed[studyId][round]);
    }

    /// @inheritdoc ICollegium
    function seatOf(uint64 studyId, address institution) external view returns (bool seated, uint16 index, uint128 maxFine) {
        Seat storage seat = _studies[studyId].seats[institution];
        return (seat.seated, seat.index, seat.maxFine);
    }

    /// @inheritdoc ICollegium
    function snapshotOf(uint64 studyId)
        external
        view
        returns (address[] memory institutions, address[] memory nodeKeys, address[] memory aggregators, uint8 quorum)
    {
        Study storage study = _existing(studyId);
        if (study.state == 0) return (institutions, nodeKeys, aggregators, 0);
        bytes memory roster = Code.read(study.state.rosterOf());
        institutions = new address[](roster.seatCount());
        nodeKeys = new address[](institutions.length);
        aggregators = new address[](roster.orderSize());
        for (uint256 i; i < institutions.length; ++i) {
            nodeKeys[i] = roster.seatKey(i);
            if (nodeKeys[i] != address(0)) institutions[i] = study.institutions[i];
        }
        for (uint256 i; i < aggregators.length; ++i) aggregators[i] = roster.orderKey(i);
        quorum = uint8(roster.quorum());
    }

    /// @inheritdoc ICollegium
    function planCodeOf(uint64 studyId) external view returns (address) {
        return _existing(studyId).planCode;
    }

    /// @inheritdoc ICollegium
    function liveOf(uint64 studyId)
        external
        view
        returns (uint32 round, Phase phase, bytes32 ctx, bytes32 modelRoot, bytes32 proposalHash, uint128 certified, bytes32 planHash)
    {
        Study storage study = _existing(studyId);
        uint256 state = study.state;
        phase = _phaseNow(study);
        if (_isLive(phase)) proposalHash = study.proposal;
        return (uint32(state.roundOf()), phase, study.ctx, study.modelRoot, proposalHash, _certified(study, state), study.planHash);
    }

    /// @inheritdoc ICollegium
    function studyCount() external view returns (uint64) {
        return _studyCount;
    }

    /// @notice Nonce of the next Join of an institution, or of the next AllowReferee of a referee.
    function nonceOf(address institutionOrReferee) external view returns (uint64) {
        return _nonces[institutionOrReferee];
    }
}
