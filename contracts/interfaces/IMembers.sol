// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IMembers
/// @notice Who is an institution, which node key speaks for it, and who admitted it.
/// @dev EIP-712 domain ("Collegium", "1", chainId, this contract). Types:
///      Admit(address institution,bytes32 profile,string name,uint64 nonce,uint40 deadline)
///      Suspend(address institution,bool suspended,uint64 nonce,uint40 deadline)
///      NodeKey(address institution,address nodeKey,uint64 nonce,uint40 deadline)   signed by institution and by node key
///      `approvals` are 64-byte compact signatures of council members, recovered addresses strictly ascending.
///      Institution nonces are `nonceOf(institution)`, consumed by each accepted message.
interface IMembers {
    event CollegiumConnected(address indexed collegium);
    event InstitutionAdmitted(address indexed institution, string name, bytes32 profile, uint256 approvals);
    event InstitutionSuspended(address indexed institution, bool suspended, uint256 approvals);
    event NodeKeyRegistered(address indexed institution, address indexed nodeKey);
    event NodeKeyRevoked(address indexed institution, address indexed nodeKey);

    error MembersTooFewApprovals(uint256 valid, uint256 needed);
    error MembersApprovalsNotAscending(address previous, address current);
    error MembersNotCouncil(address signer);
    error MembersApprovalsMalformed(uint256 length);
    error MembersAlreadyAdmitted(address institution);
    error MembersUnknownInstitution(address institution);
    error MembersSuspended(address institution);
    error MembersDeadlinePassed(uint40 deadline, uint256 time);
    error MembersNodeKeyTaken(address nodeKey, address institution);
    error MembersNodeKeyIsInstitution(address nodeKey);
    error MembersUnknownNodeKey(address nodeKey);
    error MembersNodeKeyAlreadyRevoked(address nodeKey);
    error MembersBadSignature(address expected);
    error MembersZeroAddress();
    error MembersAlreadyConnected(address collegium);
    error MembersOnlyDeployer(address caller);
    error MembersOnlyInstitution(address caller, address institution);
    error MembersBadCouncil(uint256 size, uint256 threshold);

    function connect(address collegium) external;
    function admit(address institution, bytes32 profile, string calldata name, uint40 deadline, bytes calldata approvals) external;
    function suspend(address institution, bool suspended, uint40 deadline, bytes calldata approvals) external;
    /// @notice Makes `nodeKey` the institution's only current node key; a previous one is revoked. Anyone may carry it.
    /// @param institutionSignature empty when msg.sender is the institution; else 65-byte or ERC-1271 signature over NodeKey
    /// @param nodeKeySignature 64-byte compact signature of the node key over the same NodeKey message (proof of possession)
    function registerNodeKey(address institution, address nodeKey, uint40 deadline, bytes calldata institutionSignature, bytes calldata nodeKeySignature) external;
    /// @notice Revokes at once. Callable by the institution or by the node key itself.
    function revokeNodeKey(address nodeKey) external;

    /// @notice The current usable node key: zero when none, revoked or the institution is suspended.
    function nodeKeyOf(address institution) external view returns (address);
    /// @notice For ever, also after revocation; zero when never registered.
    function institutionOf(address nodeKey) external view returns (address);
    function isRevoked(address nodeKey) external view returns (bool);
    /// @notice Admitted and not suspended.
    function isActive(address institution) external view returns (bool);
    function nonceOf(address institution) external view returns (uint64);
    /// @notice Reverts unless `approvals` carry the council's threshold over `structHash` in the domain of this contract.
    function requireApprovals(bytes32 structHash, bytes calldata approvals) external view returns (uint256 count);
    function council() external view returns (address[] memory members, uint256 threshold);
    /// @notice Grows with every registration, revocation and suspension.
    function revision() external view returns (uint32);
}

/// @notice What Members tells Collegium: identities changed. Only Members may call.
interface IRevisionListener {
    function onMembersRevised(uint32 revision) external;
}
