// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IMembers, IRevisionListener} from "./interfaces/IMembers.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";

/// @title Members
/// @notice Institutions are admitted by k of n council members; each speaks through one node key at a time.
/// @dev No owner: after `connect` only signatures of the council, of institutions and of node keys change anything.
///      Deadlines are inclusive: a message is good while block.timestamp <= deadline.
///      The council is fixed at deployment and trusted to admit; it can neither move money nor speak for an institution.
contract Members is IMembers, EIP712 {
    struct Institution {
        /// current and not revoked, or zero
        address nodeKey;
        uint64 nonce;
        bool admitted;
        bool suspended;
    }

    struct NodeKey {
        address institution;
        bool revoked;
    }

    bytes32 private constant ADMIT_TYPEHASH = keccak256("Admit(address institution,bytes32 profile,string name,uint64 nonce,uint40 deadline)");
    bytes32 private constant SUSPEND_TYPEHASH = keccak256("Suspend(address institution,bool suspended,uint64 nonce,uint40 deadline)");
    bytes32 private constant NODE_KEY_TYPEHASH = keccak256("NodeKey(address institution,address nodeKey,uint64 nonce,uint40 deadline)");
    uint256 private constant COUNCIL_LIMIT = 64;

    address private immutable _deployer;
    uint256 private immutable _threshold;

    address[] private _council;
    mapping(address signer => bool) private _isCouncil;
    mapping(address institution => Institution) private _institutions;
    mapping(address nodeKey => NodeKey) private _nodeKeys;

    address private _collegium;
    uint32 private _revision;

    /// @param council_ at most 64 addresses, none twice, none zero
    /// @param threshold how many of them must approve; 1 to all
    constructor(address[] memory council_, uint256 threshold) EIP712("Collegium", "1") {
        uint256 size = council_.length;
        if (size == 0 || size > COUNCIL_LIMIT || threshold == 0 || threshold > size) revert MembersBadCouncil(size, threshold);
        for (uint256 i; i < size; ++i) {
            address member = council_[i];
            if (member == address(0)) revert MembersZeroAddress();
            // A member named twice would count once in approvals: the threshold could be out of reach.
            if (_isCouncil[member]) revert MembersBadCouncil(size, threshold);
            _isCouncil[member] = true;
        }
        _council = council_;
        _threshold = threshold;
        _deployer = msg.sender;
    }

    /// @inheritdoc IMembers
    function connect(address collegium) external {
        if (msg.sender != _deployer) revert MembersOnlyDeployer(msg.sender);
        if (_collegium != address(0)) revert MembersAlreadyConnected(_collegium);
        if (collegium == address(0)) revert MembersZeroAddress();
        _collegium = collegium;
        emit CollegiumConnected(collegium);
    }

    /// @inheritdoc IMembers
    function admit(address institution, bytes32 profile, string calldata name, uint40 deadline, bytes calldata approvals) external {
        _requireInTime(deadline);
        if (institution == address(0)) revert MembersZeroAddress();
        Institution storage entry = _institutions[institution];
        if (entry.admitted) revert MembersAlreadyAdmitted(institution);
        // An address is a node key or an institution for ever, never both: a stolen hot key must not hold stake.
        address owner = _nodeKeys[institution].institution;
        if (owner != address(0)) revert MembersNodeKeyTaken(institution, owner);
        uint256 count = requireApprovals(
            keccak256(abi.encode(ADMIT_TYPEHASH, institution, profile, keccak256(bytes(name)), entry.nonce, deadline)), approvals
        );

        entry.admitted = true;
        ++entry.nonce;
        emit InstitutionAdmitted(institution, name, profile, count);
    }

    /// @inheritdoc IMembers
    function suspend(address institution, bool suspended, uint40 deadline, bytes calldata approvals) external {
        _requireInTime(deadline);
        Institution storage entry = _institutions[institution];
        if (!entry.admitted) revert MembersUnknownInstitution(institution);
        uint256 count = requireApprovals(keccak256(abi.encode(SUSPEND_TYPEHASH, institution, suspended, entry.nonce, deadline)), approvals);

        entry.suspended = suspended;
        ++entry.nonce;
        emit InstitutionSuspended(institution, suspended, count);
        _revise();
    }

    /// @inheritdoc IMembers
    function registerNodeKey(
        address institution,
        address nodeKey,
        uint40 deadline,
        bytes calldata institutionSignature,
        bytes calldata nodeKeySignature
    ) external {
        _requireInTime(deadline);
        if (nodeKey == address(0)) revert MembersZeroAddress();
        Institution storage entry = _institutions[institution];
        if (!entry.admitted) revert MembersUnknownInstitution(institution);
        if (entry.suspended) revert MembersSuspended(institution);
        // A node key belongs to one institution for ever, and a revoked one never comes back.
        NodeKey storage key = _nodeKeys[nodeKey];
        if (key.revoked) revert MembersNodeKeyAlreadyRevoked(nodeKey);
        if (key.institution != address(0)) revert MembersNodeKeyTaken(nodeKey, key.institution);
        if (_institutions[nodeKey].admitted) revert MembersNodeKeyIsInstitution(nodeKey);

        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(NODE_KEY_TYPEHASH, institution, nodeKey, entry.nonce, deadline)));
        if (institutionSignature.length == 0) {
            if (msg.sender != institution) revert MembersOnlyInstitution(msg.sender, institution);
        } else if (!CompactSignature.isValid(institution, digest, institutionSignature)) {
            revert MembersBadSignature(institution);
        }
        // Proof of possession: nobody can claim a key that somebody else uses.
        if (CompactSignature.recover(digest, nodeKeySignature) != nodeKey) revert MembersBadSignature(nodeKey);

        address previous = entry.nodeKey;
        if (previous != address(0)) _nodeKeys[previous].revoked = true;
        key.institution = institution;
        entry.nodeKey = nodeKey;
        ++entry.nonce;
        if (previous != address(0)) emit NodeKeyRevoked(institution, previous);
        emit NodeKeyRegistered(institution, nodeKey);
        _revise();
    }

    /// @inheritdoc IMembers
    function revokeNodeKey(address nodeKey) external {
        NodeKey storage key = _nodeKeys[nodeKey];
        address institution = key.institution;
        if (institution == address(0)) revert MembersUnknownNodeKey(nodeKey);
        if (msg.sender != institution && msg.sender != nodeKey) revert MembersOnlyInstitution(msg.sender, institution);
        if (key.revoked) revert MembersNodeKeyAlreadyRevoked(nodeKey);

        key.revoked = true;
        // A key that is not revoked is the current one: registering the next revokes it.
        _institutions[institution].nodeKey = address(0);
        emit NodeKeyRevoked(institution, nodeKey);
        _revise();
    }

    /// @inheritdoc IMembers
    function nodeKeyOf(address institution) external view returns (address) {
        Institution storage entry = _institutions[institution];
        return entry.suspended ? address(0) : entry.nodeKey;
    }

    /// @inheritdoc IMembers
    function institutionOf(address nodeKey) external view returns (address) {
        return _nodeKeys[nodeKey].institution;
    }

    /// @inheritdoc IMembers
    function isRevoked(address nodeKey) external view returns (bool) {
        return _nodeKeys[nodeKey].revoked;
    }

    /// @inheritdoc IMembers
    function isActive(address institution) external view returns (bool) {
        Institution storage entry = _institutions[institution];
        return entry.admitted && !entry.suspended;
    }

    /// @inheritdoc IMembers
    function nonceOf(address institution) external view returns (uint64) {
        return _institutions[institution].nonce;
    }

    /// @inheritdoc IMembers
    function council() external view returns (address[] memory members, uint256 threshold) {
        return (_council, _threshold);
    }

    /// @inheritdoc IMembers
    function revision() external view returns (uint32) {
        return _revision;
    }

    /// @inheritdoc IMembers
    function requireApprovals(bytes32 structHash, bytes calldata approvals) public view returns (uint256 count) {
        if (approvals.length % CompactSignature.LENGTH != 0) revert MembersApprovalsMalformed(approvals.length);
        bytes32 digest = _hashTypedDataV4(structHash);
        count = approvals.length / CompactSignature.LENGTH;
        address previous;
        for (uint256 i; i < count; ++i) {
            uint256 at = i * CompactSignature.LENGTH;
            address signer = CompactSignature.recover(digest, approvals[at:at + CompactSignature.LENGTH]);
            if (!_isCouncil[signer]) revert MembersNotCouncil(signer);
            // Strictly ascending: nobody approves twice.
            if (signer <= previous) revert MembersApprovalsNotAscending(previous, signer);
            previous = signer;
        }
        if (count < _threshold) revert MembersTooFewApprovals(count, _threshold);
    }

    /// @dev Counts the change and tells Collegium, so that it learns of it without asking at every open.
    function _revise() private {
        uint32 next = ++_revision;
        address collegium = _collegium;
        if (collegium != address(0)) IRevisionListener(collegium).onMembersRevised(next);
    }

    function _requireInTime(uint40 deadline) private view {
        if (block.timestamp > deadline) revert MembersDeadlinePassed(deadline, block.timestamp);
    }
}
