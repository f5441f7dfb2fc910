// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IMembers, IRevisionListener} from "../../contracts/interfaces/IMembers.sol";
import {Members} from "../../contracts/Members.sol";
import {Council} from "./support/Council.sol";
import {Wallet} from "./support/Wallet.sol";

/// @notice Stands where Collegium will: remembers the revision it was told.
contract Listener is IRevisionListener {
    uint32 public heard;
    address public teller;

    function onMembersRevised(uint32 revision) external {
        heard = revision;
        teller = msg.sender;
    }
}

abstract contract MembersFixture is Council {
    Members internal members;
    Listener internal listener = new Listener();
    uint256 internal hospitalKey = keyOf("hospital");
    uint256 internal nodeKey = keyOf("node");
    address internal hospital = vm.addr(hospitalKey);
    address internal node = vm.addr(nodeKey);
    address internal stranger = actor("stranger");

    function setUp() public virtual {
        vm.warp(1_000_000);
        members = new Members(seatCouncil(), 2);
        members.connect(address(listener));
    }

    function councilor(uint256 i) internal view returns (address) {
        return vm.addr(councilKeys[i]);
    }
}

contract MembersDeploymentTest is MembersFixture {
    function test_CouncilIsPublic() public view {
        (address[] memory seats, uint256 threshold) = members.council();
        vm.assertEq(seats.length, 3, "size");
        vm.assertEq(threshold, 2, "threshold");
        for (uint256 i; i < 3; ++i) {
            vm.assertEq(seats[i], councilor(i), "seat");
        }
    }

    function test_EmptyCouncilReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadCouncil.selector, 0, 1));
        new Members(new address[](0), 1);
    }

    function test_ThresholdOfZeroReverts() public {
        address[] memory seats = seatCouncil();
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadCouncil.selector, 3, 0));
        new Members(seats, 0);
    }

    function test_ThresholdAboveTheCouncilReverts() public {
        address[] memory seats = seatCouncil();
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadCouncil.selector, 3, 4));
        new Members(seats, 4);
    }

    function test_CouncilAboveSixtyFourReverts() public {
        address[] memory seats = new address[](65);
        for (uint160 i; i < 65; ++i) {
            seats[i] = address(i + 1);
        }
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadCouncil.selector, 65, 2));
        new Members(seats, 2);
    }

    function test_CouncilWithOneNamedTwiceReverts() public {
        address[] memory seats = seatCouncil();
        seats[2] = seats[0];
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadCouncil.selector, 3, 2));
        new Members(seats, 2);
    }

    function test_CouncilWithZeroReverts() public {
        address[] memory seats = seatCouncil();
        seats[1] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersZeroAddress.selector));
        new Members(seats, 2);
    }

    function test_ConnectEmits() public {
        Members fresh = new Members(seatCouncil(), 2);
        vm.expectEmit(address(fresh));
        emit IMembers.CollegiumConnected(address(listener));
        fresh.connect(address(listener));
    }

    function test_SecondConnectReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersAlreadyConnected.selector, address(listener)));
        members.connect(address(this));
    }

    function test_ConnectByStrangerReverts() public {
        Members fresh = new Members(seatCouncil(), 2);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersOnlyDeployer.selector, stranger));
        vm.prank(stranger);
        fresh.connect(address(listener));
    }

    function test_ConnectToZeroReverts() public {
        Members fresh = new Members(seatCouncil(), 2);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersZeroAddress.selector));
        fresh.connect(address(0));
    }

    function test_RevisionBeforeConnectIsKept() public {
        Members fresh = new Members(seatCouncil(), 2);
        admit(fresh, hospital, "H");
        register(fresh, hospitalKey, nodeKey);
        vm.assertEq(fresh.revision(), 1, "revision");
    }

    function test_DomainNamesThisContract() public view {
        (, string memory name, string memory version, uint256 chain, address verifier,,) = members.eip712Domain();
        vm.assertEq(keccak256(bytes(name)), keccak256("Collegium"), "name");
        vm.assertEq(keccak256(bytes(version)), keccak256("1"), "version");
        vm.assertEq(chain, block.chainid, "chain");
        vm.assertEq(verifier, address(members), "verifier");
    }
}

contract MembersApprovalsTest is MembersFixture {
    bytes32 private constant MESSAGE = keccak256("any struct hash");

    function digest() private view returns (bytes32) {
        return typedDigest(address(members), MESSAGE);
    }

    function test_TwoOfThreeAreEnough() public view {
        vm.assertEq(members.requireApprovals(MESSAGE, approve(members, MESSAGE)), 2, "count");
    }

    function test_AllThreeCount() public view {
        bytes memory all = bytes.concat(approve(members, MESSAGE), sign(councilKeys[2], digest()));
        vm.assertEq(members.requireApprovals(MESSAGE, all), 3, "count");
    }

    function test_OneAloneReverts() public {
        bytes memory one = sign(councilKeys[1], digest());
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersTooFewApprovals.selector, 1, 2));
        members.requireApprovals(MESSAGE, one);
    }

    function test_NoneReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersTooFewApprovals.selector, 0, 2));
        members.requireApprovals(MESSAGE, "");
    }

    function test_OneTwiceReverts() public {
        bytes memory twice = bytes.concat(sign(councilKeys[1], digest()), sign(councilKeys[1], digest()));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersApprovalsNotAscending.selector, councilor(1), councilor(1)));
        members.requireApprovals(MESSAGE, twice);
    }

    function test_UnsortedReverts() public {
        bytes memory unsorted = bytes.concat(sign(councilKeys[1], digest()), sign(councilKeys[0], digest()));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersApprovalsNotAscending.selector, councilor(1), councilor(0)));
        members.requireApprovals(MESSAGE, unsorted);
    }

    function test_StrangerAmongThemReverts() public {
        bytes memory mixed = bytes.concat(approve(members, MESSAGE), sign(keyOf("stranger"), digest()));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNotCouncil.selector, stranger));
        members.requireApprovals(MESSAGE, mixed);
    }

    function test_CutSignatureReverts() public {
        bytes memory cut = bytes.concat(approve(members, MESSAGE), hex"00");
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersApprovalsMalformed.selector, 129));
        members.requireApprovals(MESSAGE, cut);
    }

    function test_HighSReverts() public {
        // The largest s that the compact form can carry is above half the order.
        bytes memory high = abi.encodePacked(bytes32(uint256(1)), type(uint256).max >> 1);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNotCouncil.selector, address(0)));
        members.requireApprovals(MESSAGE, high);
    }

    function test_MalleatedSignatureReverts() public {
        (bytes32 r, bytes32 vs) = vm.signCompact(councilKeys[0], digest());
        // The same s under the other parity is the only other form that fits; it names somebody else.
        bytes32 flipped = bytes32(uint256(vs) ^ (1 << 255));
        address other = ecrecover(digest(), uint8(27 + (uint256(flipped) >> 255)), r, bytes32(uint256(vs) & (type(uint256).max >> 1)));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNotCouncil.selector, other));
        members.requireApprovals(MESSAGE, abi.encodePacked(r, flipped));
    }

    function testFuzz_NoiseNeverCounts(bytes32 r, bytes32 vs) public view {
        try members.requireApprovals(MESSAGE, abi.encodePacked(r, vs, r, vs)) {
            vm.assertTrue(false, "noise was taken for approvals");
        } catch {}
    }

    function test_ApprovalsOfAnotherContractRevert() public {
        Members other = new Members(seatCouncil(), 2);
        bytes memory approvals = approve(other, MESSAGE);
        address signer = recoverFirst(approvals, digest());
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNotCouncil.selector, signer));
        members.requireApprovals(MESSAGE, approvals);
    }

    function recoverFirst(bytes memory approvals, bytes32 hash) private pure returns (address) {
        bytes32 r;
        uint256 vs;
        assembly {
            r := mload(add(approvals, 32))
            vs := mload(add(approvals, 64))
        }
        return ecrecover(hash, uint8(27 + (vs >> 255)), r, bytes32(vs & (type(uint256).max >> 1)));
    }
}

contract MembersAdmissionTest is MembersFixture {
    function test_AdmittedInstitutionIsActive() public {
        bytes memory approvals = approve(members, hashAdmit(hospital, "General", 0, FOREVER));
        vm.expectEmit(address(members));
        emit IMembers.InstitutionAdmitted(hospital, "General", PROFILE, 2);
        members.admit(hospital, PROFILE, "General", FOREVER, approvals);
        vm.assertTrue(members.isActive(hospital), "not active");
        vm.assertEq(members.nonceOf(hospital), 1, "nonce");
        vm.assertEq(members.revision(), 0, "an admission alone changes no roster");
    }

    function test_SecondAdmissionReverts() public {
        admit(members, hospital, "H");
        bytes memory approvals = approve(members, hashAdmit(hospital, "H", 1, FOREVER));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersAlreadyAdmitted.selector, hospital));
        members.admit(hospital, PROFILE, "H", FOREVER, approvals);
    }

    function test_AdmissionOfZeroReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersZeroAddress.selector));
        members.admit(address(0), PROFILE, "H", FOREVER, "");
    }

    function test_AdmissionUnderAnotherNameReverts() public {
        bytes memory approvals = approve(members, hashAdmit(hospital, "General", 0, FOREVER));
        vm.assertTrue(!tryAdmit("Private", approvals), "the name is not bound");
    }

    function tryAdmit(string memory name, bytes memory approvals) private returns (bool done) {
        (done,) = address(members).call(abi.encodeCall(IMembers.admit, (hospital, PROFILE, name, FOREVER, approvals)));
    }

    function test_AdmissionAtTheDeadlineIsAccepted() public {
        uint40 deadline = uint40(block.timestamp);
        members.admit(hospital, PROFILE, "H", deadline, approve(members, hashAdmit(hospital, "H", 0, deadline)));
        vm.assertTrue(members.isActive(hospital), "not active");
    }

    function test_AdmissionAfterTheDeadlineReverts() public {
        uint40 deadline = uint40(block.timestamp - 1);
        bytes memory approvals = approve(members, hashAdmit(hospital, "H", 0, deadline));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersDeadlinePassed.selector, deadline, block.timestamp));
        members.admit(hospital, PROFILE, "H", deadline, approvals);
    }

    function test_AdmissionOfANodeKeyReverts() public {
        admit(members, hospital, "H");
        register(members, hospitalKey, nodeKey);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNodeKeyTaken.selector, node, hospital));
        members.admit(node, PROFILE, "N", FOREVER, "");
    }

    function test_SuspendedInstitutionHasNoVoice() public {
        admit(members, hospital, "H");
        register(members, hospitalKey, nodeKey);
        bytes memory approvals = approve(members, hashSuspend(hospital, true, 2, FOREVER));
        vm.expectEmit(address(members));
        emit IMembers.InstitutionSuspended(hospital, true, 2);
        members.suspend(hospital, true, FOREVER, approvals);
        vm.assertTrue(!members.isActive(hospital), "still active");
        vm.assertEq(members.nodeKeyOf(hospital), address(0), "still speaks");
        vm.assertEq(members.institutionOf(node), hospital, "forgot whose key it is");
        vm.assertEq(listener.heard(), 2, "Collegium was not told");
    }

    function test_ReinstatedInstitutionSpeaksWithTheSameKey() public {
        admit(members, hospital, "H");
        register(members, hospitalKey, nodeKey);
        suspend(members, hospital, true);
        suspend(members, hospital, false);
        vm.assertTrue(members.isActive(hospital), "not active");
        vm.assertEq(members.nodeKeyOf(hospital), node, "node key");
    }

    function test_SuspensionOfStrangerReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersUnknownInstitution.selector, stranger));
        members.suspend(stranger, true, FOREVER, "");
    }

    function test_SuspensionAfterTheDeadlineReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersDeadlinePassed.selector, 1, block.timestamp));
        members.suspend(hospital, true, 1, "");
    }

    function test_ReplayedSuspensionReverts() public {
        admit(members, hospital, "H");
        bytes memory approvals = approve(members, hashSuspend(hospital, true, 1, FOREVER));
        members.suspend(hospital, true, FOREVER, approvals);
        suspend(members, hospital, false);
        (bool done,) = address(members).call(abi.encodeCall(IMembers.suspend, (hospital, true, FOREVER, approvals)));
        vm.assertTrue(!done, "an old approval suspended again");
    }

    function test_SuspensionByOneAloneReverts() public {
        admit(members, hospital, "H");
        bytes memory one = sign(councilKeys[0], typedDigest(address(members), hashSuspend(hospital, true, 1, FOREVER)));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersTooFewApprovals.selector, 1, 2));
        members.suspend(hospital, true, FOREVER, one);
    }
}

contract MembersNodeKeyTest is MembersFixture {
    uint256 private otherKey = keyOf("other hospital");
    address private other = vm.addr(otherKey);

    function setUp() public override {
        super.setUp();
        admit(members, hospital, "H");
        admit(members, other, "O");
    }

    function digestOf(address institution, address key) private view returns (bytes32) {
        return typedDigest(address(members), hashNodeKey(institution, key, members.nonceOf(institution), FOREVER));
    }

    function test_RegisteredKeySpeaksForItsInstitution() public {
        bytes32 digest = digestOf(hospital, node);
        vm.expectEmit(address(members));
        emit IMembers.NodeKeyRegistered(hospital, node);
        vm.prank(stranger);
        members.registerNodeKey(hospital, node, FOREVER, signLong(hospitalKey, digest), sign(nodeKey, digest));
        vm.assertEq(members.nodeKeyOf(hospital), node, "node key");
        vm.assertEq(members.institutionOf(node), hospital, "institution");
        vm.assertEq(members.revision(), 1, "revision");
        vm.assertEq(listener.heard(), 1, "Collegium was not told");
        vm.assertEq(listener.teller(), address(members), "teller");
    }

    function test_InstitutionItselfNeedsNoSignature() public {
        bytes memory possession = sign(nodeKey, digestOf(hospital, node));
        vm.prank(hospital);
        members.registerNodeKey(hospital, node, FOREVER, "", possession);
        vm.assertEq(members.nodeKeyOf(hospital), node, "node key");
    }

    function test_CompactSignatureOfTheInstitutionIsAccepted() public {
        bytes32 digest = digestOf(hospital, node);
        members.registerNodeKey(hospital, node, FOREVER, sign(hospitalKey, digest), sign(nodeKey, digest));
        vm.assertEq(members.nodeKeyOf(hospital), node, "node key");
    }

    function test_ContractInstitutionSignsThroughErc1271() public {
        Wallet wallet = new Wallet(hospital);
        admit(members, address(wallet), "W");
        bytes32 digest = digestOf(address(wallet), node);
        members.registerNodeKey(address(wallet), node, FOREVER, signLong(hospitalKey, digest), sign(nodeKey, digest));
        vm.assertEq(members.nodeKeyOf(address(wallet)), node, "node key");
    }

    function test_ContractInstitutionActsItself() public {
        Wallet wallet = new Wallet(hospital);
        admit(members, address(wallet), "W");
        bytes memory possession = sign(nodeKey, digestOf(address(wallet), node));
        vm.prank(hospital);
        wallet.act(address(members), abi.encodeCall(IMembers.registerNodeKey, (address(wallet), node, FOREVER, "", possession)));
        vm.prank(hospital);
        wallet.act(address(members), abi.encodeCall(IMembers.revokeNodeKey, (node)));
        vm.assertTrue(members.isRevoked(node), "not revoked");
    }

    function test_ContractInstitutionRefusingReverts() public {
        Wallet wallet = new Wallet(other);
        admit(members, address(wallet), "W");
        bytes32 digest = digestOf(address(wallet), node);
        bytes memory long = signLong(hospitalKey, digest);
        bytes memory compact = sign(otherKey, digest);
        bytes memory possession = sign(nodeKey, digest);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, address(wallet)));
        members.registerNodeKey(address(wallet), node, FOREVER, long, possession);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, address(wallet)));
        members.registerNodeKey(address(wallet), node, FOREVER, compact, possession);
    }

    function test_StrangerWithoutSignatureReverts() public {
        bytes memory possession = sign(nodeKey, digestOf(hospital, node));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersOnlyInstitution.selector, stranger, hospital));
        vm.prank(stranger);
        members.registerNodeKey(hospital, node, FOREVER, "", possession);
    }

    function test_SignatureOfSomebodyElseReverts() public {
        bytes32 digest = digestOf(hospital, node);
        bytes memory wrong = signLong(otherKey, digest);
        bytes memory possession = sign(nodeKey, digest);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, hospital));
        members.registerNodeKey(hospital, node, FOREVER, wrong, possession);
    }

    function test_KeyWithoutProofOfPossessionReverts() public {
        bytes32 digest = digestOf(hospital, node);
        bytes memory agreed = signLong(hospitalKey, digest);
        bytes memory wrong = sign(hospitalKey, digest);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, node));
        members.registerNodeKey(hospital, node, FOREVER, agreed, wrong);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, node));
        members.registerNodeKey(hospital, node, FOREVER, agreed, "");
    }

    function test_LongProofOfPossessionReverts() public {
        bytes32 digest = digestOf(hospital, node);
        bytes memory agreed = signLong(hospitalKey, digest);
        bytes memory long = signLong(nodeKey, digest);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, node));
        members.registerNodeKey(hospital, node, FOREVER, agreed, long);
    }

    function test_NextKeyRevokesThePreviousAtOnce() public {
        register(members, hospitalKey, nodeKey);
        uint256 nextKey = keyOf("next node");
        bytes32 digest = digestOf(hospital, vm.addr(nextKey));
        vm.expectEmit(address(members));
        emit IMembers.NodeKeyRevoked(hospital, node);
        vm.expectEmit(address(members));
        emit IMembers.NodeKeyRegistered(hospital, vm.addr(nextKey));
        members.registerNodeKey(hospital, vm.addr(nextKey), FOREVER, signLong(hospitalKey, digest), sign(nextKey, digest));
        vm.assertEq(members.nodeKeyOf(hospital), vm.addr(nextKey), "node key");
        vm.assertTrue(members.isRevoked(node), "the old key still speaks");
        vm.assertEq(members.institutionOf(node), hospital, "the old key lost its institution");
    }

    function test_KeyOfAnotherInstitutionReverts() public {
        register(members, hospitalKey, nodeKey);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNodeKeyTaken.selector, node, hospital));
        members.registerNodeKey(other, node, FOREVER, "", "");
    }

    function test_RevokedKeyOfAnotherInstitutionReverts() public {
        register(members, hospitalKey, nodeKey);
        vm.prank(hospital);
        members.revokeNodeKey(node);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNodeKeyAlreadyRevoked.selector, node));
        members.registerNodeKey(other, node, FOREVER, "", "");
    }

    function test_RevokedKeyNeverComesBack() public {
        register(members, hospitalKey, nodeKey);
        vm.prank(node);
        members.revokeNodeKey(node);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNodeKeyAlreadyRevoked.selector, node));
        members.registerNodeKey(hospital, node, FOREVER, "", "");
    }

    function test_InstitutionAsNodeKeyReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNodeKeyIsInstitution.selector, other));
        members.registerNodeKey(hospital, other, FOREVER, "", "");
    }

    function test_ZeroAsNodeKeyReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersZeroAddress.selector));
        members.registerNodeKey(hospital, address(0), FOREVER, "", "");
    }

    function test_KeyOfUnknownInstitutionReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersUnknownInstitution.selector, stranger));
        members.registerNodeKey(stranger, node, FOREVER, "", "");
    }

    function test_KeyOfSuspendedInstitutionReverts() public {
        suspend(members, hospital, true);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersSuspended.selector, hospital));
        members.registerNodeKey(hospital, node, FOREVER, "", "");
    }

    function test_KeyAfterTheDeadlineReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersDeadlinePassed.selector, 5, block.timestamp));
        members.registerNodeKey(hospital, node, 5, "", "");
    }

    function test_ReplayedRegistrationReverts() public {
        bytes32 digest = digestOf(hospital, node);
        bytes memory agreed = signLong(hospitalKey, digest);
        bytes memory possession = sign(nodeKey, digest);
        suspend(members, hospital, true);
        suspend(members, hospital, false);
        // The nonce moved on: what was signed before counts no more.
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersBadSignature.selector, hospital));
        members.registerNodeKey(hospital, node, FOREVER, agreed, possession);
    }

    function test_RevocationByTheInstitutionWorksAtOnce() public {
        register(members, hospitalKey, nodeKey);
        vm.expectEmit(address(members));
        emit IMembers.NodeKeyRevoked(hospital, node);
        vm.prank(hospital);
        members.revokeNodeKey(node);
        vm.assertEq(members.nodeKeyOf(hospital), address(0), "still speaks");
        vm.assertTrue(members.isRevoked(node), "not revoked");
        vm.assertEq(listener.heard(), 2, "Collegium was not told");
    }

    function test_RevocationBySuspendedInstitutionWorks() public {
        register(members, hospitalKey, nodeKey);
        suspend(members, hospital, true);
        vm.prank(hospital);
        members.revokeNodeKey(node);
        vm.assertTrue(members.isRevoked(node), "not revoked");
    }

    function test_RevocationOfAnOldKeyReverts() public {
        register(members, hospitalKey, nodeKey);
        register(members, hospitalKey, keyOf("next node"));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersNodeKeyAlreadyRevoked.selector, node));
        vm.prank(hospital);
        members.revokeNodeKey(node);
        vm.assertEq(members.nodeKeyOf(hospital), actor("next node"), "the next key was hit");
    }

    function test_RevocationByStrangerReverts() public {
        register(members, hospitalKey, nodeKey);
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersOnlyInstitution.selector, other, hospital));
        vm.prank(other);
        members.revokeNodeKey(node);
    }

    function test_RevocationOfUnknownKeyReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.MembersUnknownNodeKey.selector, node));
        members.revokeNodeKey(node);
    }

    function testFuzz_KeyNeverChangesItsInstitution(uint256[8] memory seeds) public {
        address[4] memory owners;
        for (uint256 i; i < seeds.length; ++i) {
            uint256 pick = seeds[i] % 4;
            uint256 key = keyOf(string(abi.encodePacked("node", pick)));
            uint256 owner = seeds[i] >> 128 & 1 == 0 ? hospitalKey : otherKey;
            try this.attempt(owner, key, seeds[i] >> 160 & 1 == 0) {} catch {}
            address now_ = members.institutionOf(vm.addr(key));
            if (owners[pick] != address(0)) vm.assertEq(now_, owners[pick], "institution changed");
            owners[pick] = now_;
        }
    }

    function attempt(uint256 owner, uint256 key, bool registers) external {
        if (registers) {
            register(members, owner, key);
        } else {
            vm.prank(vm.addr(key));
            members.revokeNodeKey(vm.addr(key));
        }
    }
}
