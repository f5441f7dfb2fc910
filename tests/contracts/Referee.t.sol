// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Referee} from "../../contracts/Referee.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Format, Plan, Section} from "../../contracts/interfaces/Types.sol";
import {Checks, Round, Rounds, Signed, TreeReference} from "./support/Judging.sol";

abstract contract RefereeActs is Checks {
    Referee internal immutable REFEREE = new Referee();

    function expectMalformed(bytes memory evidence) internal {
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceMalformed.selector, evidence.length));
    }

    function expectNoFault(int256 claimed) internal {
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceShowsNoFault.selector, claimed));
    }

    function flip(bytes memory data, uint256 at) internal pure returns (bytes memory flipped) {
        flipped = bytes.concat(data);
        flipped[at] = bytes1(uint8(flipped[at]) ^ 1);
    }

    function cut(bytes memory data, uint256 length) internal pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i; i < length; ++i) part[i] = data[i];
    }

    /// @return selector of the error that judging would end in; zero when it finds a fault
    function meanVerdict(Round memory r, bytes memory evidence) internal view returns (bytes4 selector) {
        try REFEREE.judgeMean(r.format, r.proposal, evidence) {}
        catch (bytes memory reason) {
            selector = bytes4(reason);
        }
    }
}

contract RefereeMeanTest is RefereeActs {
    function testFuzz_lie_is_found_and_honesty_is_not(bytes32 seed, uint8 size, uint128 seats, bool weighted) external {
        uint256 count = uint256(size) % 200 + 1;
        uint128 included = _few(seed, seats);
        Round memory r = Rounds.makeRound(seed, count, included, weighted);
        uint256 coordinate = uint256(keccak256(abi.encode(seed, "at"))) % count;
        int256 right = Rounds.rightMean(r, coordinate);

        bytes memory honest = Rounds.meanEvidence(r, coordinate);
        expectNoFault(right);
        REFEREE.judgeMean(r.format, r.proposal, honest);

        int256 lie = Rounds.draw(keccak256(abi.encode(seed, "lie")), -(2 ** 31), 2 ** 31 - 1);
        if (lie == right) lie = right + 1;
        r.mean[coordinate] = int32(lie);
        Rounds.bind(r);
        (uint256 found, int256 claimed, int256 expected) = REFEREE.judgeMean(r.format, r.proposal, Rounds.meanEvidence(r, coordinate));
        checkEq(found, coordinate, "coordinate");
        checkEq(claimed, lie, "claimed");
        checkEq(expected, right, "right");
    }

    /// Up to five seats out of 128, at least one.
    function _few(bytes32 seed, uint128 seats) private pure returns (uint128 included) {
        for (uint256 i; i < 5; ++i) included |= uint128(1) << uint8(uint256(keccak256(abi.encode(seed, seats, i))) % 128);
    }

    function test_weights_do_not_count_where_the_format_says_so() external view {
        Round memory r = Rounds.makeRound("unweighted", 3, 3, false);
        r.updates[0][1] = 10;
        r.updates[1][1] = 20;
        r.mean[1] = 0;
        Rounds.bind(r);
        (,, int256 right) = REFEREE.judgeMean(r.format, r.proposal, Rounds.meanEvidence(r, 1));
        checkEq(right, 15, "plain mean");
    }

    function test_update_elements_are_read_within_the_bound() external view {
        Round memory r = Rounds.makeRound("clamped", 3, 1, true);
        r.updates[0][2] = type(int32).min;
        r.mean[2] = 0;
        Rounds.bind(r);
        (,, int256 right) = REFEREE.judgeMean(r.format, r.proposal, Rounds.meanEvidence(r, 2));
        checkEq(right, -(2 ** 20), "clamped");
    }

    function test_all_128_seats_are_judged() external view {
        Round memory r = Rounds.makeRound("all", 1, type(uint128).max, true);
        int256 right = r.mean[0];
        r.mean[0] += 1;
        Rounds.bind(r);
        (, int256 claimed, int256 expected) = REFEREE.judgeMean(r.format, r.proposal, Rounds.meanEvidence(r, 0));
        checkEq(expected, right, "right");
        checkEq(claimed, right + 1, "claimed");
    }

    function test_every_bent_byte_of_the_clients_is_refused() external view {
        Round memory r = Rounds.makeRound("bent", 70, 0x81, true);
        r.mean[66] += 1;
        Rounds.bind(r);
        bytes memory evidence = Rounds.meanEvidence(r, 66);
        check(meanVerdict(r, evidence) == 0, "the lie shows");
        // leaf 4 | k 1 | two clients of 68 + 256 + 32 | mean 256 + 32; k alone may differ, then it is another coordinate.
        for (uint256 at = 5; at < evidence.length; at += at < 80 ? 1 : 7) {
            check(meanVerdict(r, flip(evidence, at)) == IReferee.EvidenceMismatch.selector, "bent byte");
        }
    }

    function test_clients_in_another_order_are_refused() external view {
        Round memory r = Rounds.makeRound("order", 64, 0x3, true);
        r.mean[5] += 1;
        Rounds.bind(r);
        (r.seals[0], r.seals[1]) = (r.seals[1], r.seals[0]);
        (r.weights[0], r.weights[1]) = (r.weights[1], r.weights[0]);
        (r.exts[0], r.exts[1]) = (r.exts[1], r.exts[0]);
        (r.updates[0], r.updates[1]) = (r.updates[1], r.updates[0]);
        check(meanVerdict(r, Rounds.meanEvidence(r, 5)) == IReferee.EvidenceMismatch.selector, "swapped");
    }

    function test_another_set_is_refused() external view {
        Round memory r = Rounds.makeRound("set", 64, 0x3, true);
        r.mean[5] += 1;
        Rounds.bind(r);
        bytes memory evidence = Rounds.meanEvidence(r, 5);
        r.proposal.included = 0x5;
        check(meanVerdict(r, evidence) == IReferee.EvidenceMismatch.selector, "index is bound");
        r.proposal.included = 0x7;
        check(meanVerdict(r, evidence) == IReferee.EvidenceMalformed.selector, "a client more");
        r.proposal.included = 0x1;
        check(meanVerdict(r, evidence) == IReferee.EvidenceMalformed.selector, "a client fewer");
        r.proposal.included = 0;
        check(meanVerdict(r, evidence) == IReferee.EvidenceMalformed.selector, "nobody");
    }

    function test_empty_set_is_refused_at_the_length_of_one_opening() external {
        Round memory r = Rounds.makeRound("empty", 64, 0x1, true);
        r.proposal.included = 0;
        bytes memory evidence = bytes.concat(hex"0000000000", TreeReference.open(r.mean, 0));
        expectMalformed(evidence);
        REFEREE.judgeMean(r.format, r.proposal, evidence);
    }

    function test_truncated_or_longer_evidence_is_refused() external {
        Round memory r = Rounds.makeRound("length", 130, 0x3, true);
        r.mean[129] += 1;
        Rounds.bind(r);
        bytes memory evidence = Rounds.meanEvidence(r, 129);
        for (uint256 length; length < evidence.length; length += 97) {
            expectMalformed(cut(evidence, length));
            REFEREE.judgeMean(r.format, r.proposal, cut(evidence, length));
        }
        bytes memory longer = bytes.concat(evidence, hex"00");
        expectMalformed(longer);
        REFEREE.judgeMean(r.format, r.proposal, longer);
    }

    function test_coordinate_beyond_the_payload_is_refused() external {
        Round memory r = Rounds.makeRound("beyond", 66, 0x1, true);
        bytes memory evidence = Rounds.meanEvidence(r, 66);
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceOutOfRange.selector, 1, 2));
        REFEREE.judgeMean(r.format, r.proposal, evidence);
        evidence = Rounds.meanEvidence(r, 0);
        evidence[4] = bytes1(uint8(64));
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceOutOfRange.selector, 0, 64));
        REFEREE.judgeMean(r.format, r.proposal, evidence);
    }

    function test_path_of_another_depth_is_refused() external view {
        Round memory r = Rounds.makeRound("depth", 200, 0x1, true);
        r.mean[7] += 1;
        Rounds.bind(r);
        bytes memory evidence = Rounds.meanEvidence(r, 7);
        r.format = Rounds.makeFormat(128, 1 << 20, true);
        check(meanVerdict(r, evidence) == IReferee.EvidenceMalformed.selector, "shallower");
        r.format = Rounds.makeFormat(300, 1 << 20, true);
        check(meanVerdict(r, evidence) == IReferee.EvidenceMalformed.selector, "deeper");
        // Same depth, another leaf: the positions no longer fit.
        r.format = Rounds.makeFormat(200, 1 << 20, true);
        evidence[3] = bytes1(uint8(1));
        check(meanVerdict(r, evidence) == IReferee.EvidenceMismatch.selector, "another leaf");
    }

    /// A node must not pass as a leaf: its preimage is 65 bytes that begin with 01, a leaf's is 257 that begin with 00.
    function test_node_does_not_pass_as_a_leaf() external view {
        Round memory r = Rounds.makeRound("second preimage", 128, 0x1, true);
        bytes32[][] memory levels = TreeReference.build(r.mean);
        bytes memory nodeBytes = abi.encodePacked(levels[0][0], levels[0][1]);
        r.format = Rounds.makeFormat(64, 1 << 20, true);
        bytes memory client = abi.encodePacked(r.seals[0], uint32(r.weights[0]), r.exts[0], TreeReference.open(r.updates[0], 0));
        bytes memory short = bytes.concat(hex"0000000000", cut(client, 68 + 256), nodeBytes);
        check(meanVerdict(r, short) == IReferee.EvidenceMalformed.selector, "64-byte leaf");
        bytes memory padded = bytes.concat(hex"0000000000", cut(client, 68 + 256), nodeBytes, new bytes(192));
        check(meanVerdict(r, padded) == IReferee.EvidenceMismatch.selector, "padded to a chunk");
    }
}

contract RefereeStepTest is RefereeActs {
    function testFuzz_lie_is_found_and_honesty_is_not(bytes32 seed, uint8 size, uint32 numerator, uint32 denominator) external {
        uint256 count = uint256(size) % 200 + 1;
        Round memory r = Rounds.makeRound(seed, count, 1, true);
        r.plan.rateNumerator = numerator;
        r.plan.rateDenominator = uint64(denominator) + 1;
        uint256 coordinate = uint256(keccak256(abi.encode(seed, "at"))) % count;
        // A mean may be any int32 by the time it is judged.
        r.mean[coordinate] = int32(Rounds.draw(keccak256(abi.encode(seed, "mean")), -(2 ** 31), 2 ** 31 - 1));
        int256 right = Rounds.rightStep(r, coordinate);
        r.next[coordinate] = int32(right);
        Rounds.bind(r);

        bytes memory honest = Rounds.stepEvidence(r, coordinate);
        expectNoFault(right);
        REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, honest);

        int256 lie = Rounds.draw(keccak256(abi.encode(seed, "lie")), -(2 ** 31), 2 ** 31 - 1);
        if (lie == right) lie = right == 0 ? int256(1) : -right;
        r.next[coordinate] = int32(lie);
        Rounds.bind(r);
        (uint256 found, int256 claimed, int256 expected) =
            REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, Rounds.stepEvidence(r, coordinate));
        checkEq(found, coordinate, "coordinate");
        checkEq(claimed, lie, "claimed");
        checkEq(expected, right, "right");
    }

    /// -2^31 is an int32, and yet never what the step gives.
    function test_below_saturation_is_a_lie() external view {
        Round memory r = Rounds.makeRound("saturation", 2, 1, true);
        r.model[1] = type(int32).min;
        r.mean[1] = -(1 << 20);
        r.next[1] = type(int32).min;
        Rounds.bind(r);
        (,, int256 right) = REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, Rounds.stepEvidence(r, 1));
        checkEq(right, -(2 ** 31 - 1), "right");
    }

    function test_bent_evidence_is_refused() external {
        Round memory r = Rounds.makeRound("bent", 70, 1, true);
        r.next[3] += 1;
        Rounds.bind(r);
        bytes memory evidence = Rounds.stepEvidence(r, 3);
        for (uint256 at = 5; at < evidence.length; at += 31) {
            bytes memory bent = flip(evidence, at);
            try REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, bent) {
                check(false, "accepted bent evidence");
            } catch (bytes memory reason) {
                check(bytes4(reason) == IReferee.EvidenceMismatch.selector, "mismatch");
            }
        }
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceMismatch.selector, bytes32(uint256(1)), r.modelRoot));
        REFEREE.judgeStep(r.plan, r.format, bytes32(uint256(1)), r.proposal, evidence);
        expectMalformed(cut(evidence, evidence.length - 1));
        REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, cut(evidence, evidence.length - 1));
        expectMalformed(bytes.concat(evidence, hex"00"));
        REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, bytes.concat(evidence, hex"00"));
        evidence = Rounds.stepEvidence(r, 70);
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceOutOfRange.selector, 1, 6));
        REFEREE.judgeStep(r.plan, r.format, r.modelRoot, r.proposal, evidence);
    }
}

contract RefereeTailTest is RefereeActs {
    /// Around the powers of two: an honest tree shows no fault at any leaf, each byte beyond its payload does.
    function test_tail_of_every_shape() external {
        uint256[10] memory counts = [uint256(1), 63, 64, 65, 128, 129, 192, 256, 257, 575];
        for (uint256 i; i < counts.length; ++i) _everyTail(counts[i]);
    }

    function _everyTail(uint256 count) private {
        Round memory r = Rounds.makeRound(keccak256(abi.encode(count)), count, 1, true);
        uint256 leaves = (count + 63) / 64;
        uint256 positions = uint256(1) << TreeReference.depthOf(leaves);
        bytes32[][] memory honest = TreeReference.build(r.mean);
        for (uint256 leaf; leaf < positions; ++leaf) {
            bytes memory opening = bytes.concat(TreeReference.chunkOf(r.mean, leaf), TreeReference.pathOf(honest, leaf));
            expectNoFault(0);
            REFEREE.judgeTail(r.format, r.proposal, Rounds.tailEvidence(0, leaf, opening));
        }
        bytes memory beyond = Rounds.tailEvidence(0, positions, TreeReference.open(r.mean, 0));
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceOutOfRange.selector, positions, 0));
        REFEREE.judgeTail(r.format, r.proposal, beyond);

        // One element beyond the payload, in the last chunk or in a leaf that should be missing.
        for (uint256 at = count; at < positions * 64; at += at < leaves * 64 ? 1 : 29) _oneElement(r, count, positions, at);
    }

    function _oneElement(Round memory r, uint256 count, uint256 positions, uint256 at) private view {
        int32[] memory longer = new int32[](positions * 64);
        for (uint256 k; k < count; ++k) longer[k] = r.mean[k];
        longer[at] = -1;
        bytes32[][] memory levels = TreeReference.build(longer);
        r.proposal.meanRoot = TreeReference.rootOf(levels);
        uint256 leaf = at / 64;
        bytes memory opening = bytes.concat(TreeReference.chunkOf(longer, leaf), TreeReference.pathOf(levels, leaf));
        checkEq(REFEREE.judgeTail(r.format, r.proposal, Rounds.tailEvidence(0, leaf, opening)), at, "element");
        // The same lie in the other tree, and through the sibling of a leaf beside it.
        r.proposal.newModelRoot = r.proposal.meanRoot;
        checkEq(REFEREE.judgeTail(r.format, r.proposal, Rounds.tailEvidence(1, leaf, opening)), at, "model tree");
        if (leaf >= (count + 63) / 64) {
            opening = bytes.concat(TreeReference.chunkOf(longer, leaf ^ 1), TreeReference.pathOf(levels, leaf ^ 1));
            checkEq(REFEREE.judgeTail(r.format, r.proposal, Rounds.tailEvidence(0, leaf ^ 1, opening)), leaf * 64, "sibling");
        }
    }

    /// A node beyond the payload whose preimage nobody shows.
    function test_unopened_node_beyond_the_payload_is_a_fault() external view {
        Round memory r = Rounds.makeRound("node", 64 * 5, 1, true);
        bytes32[][] memory levels = TreeReference.build(r.next);
        levels[1][3] = keccak256("no preimage");
        levels[2][1] = TreeReference.hashNode(levels[1][2], levels[1][3]);
        levels[3][0] = TreeReference.hashNode(levels[2][0], levels[2][1]);
        r.proposal.newModelRoot = levels[3][0];
        bytes memory opening = bytes.concat(TreeReference.chunkOf(r.next, 4), TreeReference.pathOf(levels, 4));
        checkEq(REFEREE.judgeTail(r.format, r.proposal, Rounds.tailEvidence(1, 4, opening)), uint256(6 * 64), "first element below");
    }

    function test_bent_evidence_is_refused() external {
        Round memory r = Rounds.makeRound("bent", 65, 1, true);
        bytes memory evidence = Rounds.tailEvidence(0, 1, TreeReference.open(r.mean, 1));
        for (uint256 at = 5; at < evidence.length; at += 13) {
            bytes memory bent = flip(evidence, at);
            try REFEREE.judgeTail(r.format, r.proposal, bent) {
                check(false, "accepted bent evidence");
            } catch (bytes memory reason) {
                check(bytes4(reason) == IReferee.EvidenceMismatch.selector, "mismatch");
            }
        }
        evidence[0] = bytes1(uint8(2));
        expectMalformed(evidence);
        REFEREE.judgeTail(r.format, r.proposal, evidence);
        evidence[0] = 0;
        expectMalformed(cut(evidence, evidence.length - 32));
        REFEREE.judgeTail(r.format, r.proposal, cut(evidence, evidence.length - 32));
        expectMalformed(bytes.concat(evidence, hex"00"));
        REFEREE.judgeTail(r.format, r.proposal, bytes.concat(evidence, hex"00"));
    }
}

contract RefereeClientTest is RefereeActs {
    uint32 internal constant BOUND = 1 << 20;

    function _signed(bytes32 seed) internal pure returns (Signed memory s) {
        s.key = uint256(keccak256(abi.encode(seed, "key"))) >> 4;
        s.studyId = 7;
        s.domain = keccak256(abi.encode(seed, "domain"));
        s.ctx = keccak256(abi.encode(seed, "ctx"));
        s.round = 9;
        s.index = 127;
        s.seal = keccak256(abi.encode(seed, "seal"));
        s.weight = 5;
        s.ext = keccak256(abi.encode(seed, "ext"));
    }

    function _judge(Signed memory s, Format memory format, bytes memory evidence)
        internal
        view
        returns (address signer, bytes32 ctx, uint16 index, uint256 coordinate, int256 claimed)
    {
        return REFEREE.judgeRange(s.studyId, s.domain, format, evidence);
    }

    function testFuzz_element_out_of_range_is_a_fault(bytes32 seed, uint8 size, bool low) external {
        uint256 count = uint256(size) % 200 + 1;
        Signed memory s = _signed(seed);
        int32[] memory update = Rounds.drawElements(seed, count, int256(uint256(BOUND)));
        uint256 at = uint256(keccak256(abi.encode(seed, "at"))) % count;
        Format memory format = Rounds.makeFormat(count, BOUND, true);

        bytes memory honest = Rounds.rangeEvidence(s, _rootOf(update), at / 64, TreeReference.open(update, at / 64));
        expectNoFault(0);
        _judge(s, format, honest);

        int256 garbage = Rounds.draw(keccak256(abi.encode(seed, "garbage")), int256(uint256(BOUND)) + 1, 2 ** 31 - 1);
        update[at] = int32(low ? -garbage : garbage);
        bytes memory evidence = Rounds.rangeEvidence(s, _rootOf(update), at / 64, TreeReference.open(update, at / 64));
        (address signer, bytes32 ctx, uint16 index, uint256 coordinate, int256 claimed) = _judge(s, format, evidence);
        checkEq(signer, vm.addr(s.key), "signer");
        checkEq(ctx, s.ctx, "ctx");
        checkEq(uint256(index), s.index, "index");
        checkEq(coordinate, at, "coordinate");
        checkEq(claimed, update[at], "claimed");
    }

    function testFuzz_anything_beyond_the_payload_is_a_fault(bytes32 seed, uint8 size) external {
        uint256 count = uint256(size) % 250 + 1;
        uint256 leaves = (count + 63) / 64;
        uint256 positions = uint256(1) << TreeReference.depthOf(leaves);
        if (positions * 64 == count) return;
        Signed memory s = _signed(seed);
        int32[] memory longer = new int32[](positions * 64);
        for (uint256 k; k < count; ++k) longer[k] = int32(Rounds.draw(keccak256(abi.encode(seed, k)), -100, 100));
        bytes32 honest = _rootOf(longer);
        for (uint256 leaf; leaf < positions; ++leaf) {
            bytes memory fine = Rounds.rangeEvidence(s, honest, leaf, TreeReference.open(longer, leaf));
            expectNoFault(0);
            _judge(s, Rounds.makeFormat(count, BOUND, true), fine);
        }
        uint256 at = count + uint256(seed) % (positions * 64 - count);
        longer[at] = 1;
        bytes memory evidence = Rounds.rangeEvidence(s, _rootOf(longer), at / 64, TreeReference.open(longer, at / 64));
        (,,, uint256 coordinate, int256 claimed) = _judge(s, Rounds.makeFormat(count, BOUND, true), evidence);
        checkEq(coordinate, at, "coordinate");
        checkEq(claimed, 1, "claimed");
    }

    function test_foreign_node_beyond_the_payload_is_a_fault() external view {
        Signed memory s = _signed("node");
        int32[] memory update = new int32[](64 * 5);
        bytes32[][] memory levels = TreeReference.build(update);
        levels[1][3] = keccak256("no preimage");
        levels[2][1] = TreeReference.hashNode(levels[1][2], levels[1][3]);
        levels[3][0] = TreeReference.hashNode(levels[2][0], levels[2][1]);
        bytes memory opening = bytes.concat(new bytes(256), TreeReference.pathOf(levels, 4));
        (,,, uint256 coordinate, int256 claimed) = _judge(s, Rounds.makeFormat(320, BOUND, true), Rounds.rangeEvidence(s, levels[3][0], 4, opening));
        checkEq(coordinate, uint256(6 * 64), "first element below");
        checkEq(claimed, 0, "no element");
    }

    function test_whoever_did_not_sign_is_not_named() external {
        Signed memory s = _signed("signer");
        int32[] memory update = new int32[](1);
        update[0] = type(int32).max;
        Format memory format = Rounds.makeFormat(1, BOUND, true);
        bytes memory evidence = Rounds.rangeEvidence(s, _rootOf(update), 0, TreeReference.open(update, 0));
        (address signer,,,,) = _judge(s, format, evidence);
        checkEq(signer, vm.addr(s.key), "signer");

        // Any bent byte of the header makes another message, so another signer or none.
        for (uint256 at; at < 170; ++at) {
            try REFEREE.judgeRange(s.studyId, s.domain, format, flip(evidence, at)) returns (address other, bytes32, uint16, uint256, int256) {
                check(other != signer && other != address(0), "names the signer of another message");
            } catch (bytes memory reason) {
                check(bytes4(reason) == IReferee.EvidenceMismatch.selector, "no signature");
            }
        }
        (address elsewhere,,,,) = REFEREE.judgeRange(s.studyId + 1, s.domain, format, evidence);
        check(elsewhere != signer, "another study");
        (elsewhere,,,,) = REFEREE.judgeRange(s.studyId, keccak256("another deployment"), format, evidence);
        check(elsewhere != signer, "another deployment");

        // Above half the group order no s is taken; in 255 bits that is a narrow range, and this is its end.
        bytes memory high = bytes.concat(evidence);
        assembly {
            mstore(add(high, 170), not(0))
        }
        vm.expectRevert();
        _judge(s, format, high);
    }

    function test_lengths_and_leaves_are_checked() external {
        Signed memory s = _signed("length");
        int32[] memory update = new int32[](65);
        update[64] = type(int32).max;
        Format memory format = Rounds.makeFormat(65, BOUND, true);
        bytes memory evidence = Rounds.rangeEvidence(s, _rootOf(update), 1, TreeReference.open(update, 1));
        _judge(s, format, evidence);
        for (uint256 length; length < evidence.length; length += 33) {
            expectMalformed(cut(evidence, length));
            _judge(s, format, cut(evidence, length));
        }
        expectMalformed(bytes.concat(evidence, hex"00"));
        _judge(s, format, bytes.concat(evidence, hex"00"));
        // Leaf 3 has the same path bits as leaf 1 in a tree of depth 1.
        evidence[173] = bytes1(uint8(3));
        vm.expectRevert(abi.encodeWithSelector(IReferee.EvidenceOutOfRange.selector, 3, 0));
        _judge(s, format, evidence);
    }

    function testFuzz_two_updates_of_one_seat_are_a_fault(bytes32 seed, bytes32 one, bytes32 other, uint32 weightOne, uint32 weightOther)
        external
    {
        Signed memory s = _signed(seed);
        bytes memory evidence = Rounds.equivocationEvidence(s, one, weightOne, other, weightOther);
        if (one == other && weightOne == weightOther) expectNoFault(0);
        (address signer, bytes32 ctx, uint16 index) = REFEREE.judgeEquivocation(s.studyId, s.domain, evidence);
        if (one == other && weightOne == weightOther) return;
        checkEq(signer, vm.addr(s.key), "signer");
        checkEq(ctx, s.ctx, "ctx");
        checkEq(uint256(index), s.index, "index");
    }

    function test_the_same_update_twice_is_no_fault() external {
        Signed memory s = _signed("same");
        bytes memory evidence = Rounds.equivocationEvidence(s, "one", 5, "one", 5);
        expectNoFault(0);
        REFEREE.judgeEquivocation(s.studyId, s.domain, evidence);
    }

    function test_weight_alone_makes_two_updates() external view {
        Signed memory s = _signed("weight");
        (address signer,,) = REFEREE.judgeEquivocation(s.studyId, s.domain, Rounds.equivocationEvidence(s, "one", 5, "one", 6));
        checkEq(signer, vm.addr(s.key), "signer");
    }

    function test_two_signers_are_no_equivocation() external {
        Signed memory s = _signed("first");
        Signed memory t = _signed("first");
        t.key += 1;
        bytes memory evidence = bytes.concat(
            cut(Rounds.equivocationEvidence(s, "one", 5, "other", 5), 170), _tail(Rounds.equivocationEvidence(t, "one", 5, "other", 5), 170)
        );
        vm.expectRevert(
            abi.encodeWithSelector(
                IReferee.EvidenceMismatch.selector, bytes32(uint256(uint160(vm.addr(s.key)))), bytes32(uint256(uint160(vm.addr(t.key))))
            )
        );
        REFEREE.judgeEquivocation(s.studyId, s.domain, evidence);
        for (uint256 length; length < evidence.length; length += 151) {
            expectMalformed(cut(evidence, length));
            REFEREE.judgeEquivocation(s.studyId, s.domain, cut(evidence, length));
        }
    }

    function _tail(bytes memory data, uint256 from) private pure returns (bytes memory part) {
        part = new bytes(data.length - from);
        for (uint256 i; i < part.length; ++i) part[i] = data[from + i];
    }

    function _rootOf(int32[] memory update) private pure returns (bytes32) {
        return TreeReference.rootOf(TreeReference.build(update));
    }
}

contract RefereePlanTest is RefereeActs {
    Plan internal plan;
    Format internal format;

    function _reset() private {
        plan = Rounds.makePlan();
        delete format;
        format.sections.push(Rounds.makeFormat(10_000_000, 1 << 20, true).sections[0]);
        REFEREE.checkPlan(plan, format);
    }

    function _expect(uint256 reason) private {
        vm.expectRevert(abi.encodeWithSelector(IReferee.PlanNotJudgeable.selector, reason));
        REFEREE.checkPlan(plan, format);
        _reset();
    }

    function test_plans_without_a_rule_are_refused() external {
        _reset();
        plan.mode = 2;
        _expect(1);
        plan.rule = 2;
        _expect(2);
        plan.optimizer = 0;
        _expect(3);
        format.sections.push(format.sections[0]);
        _expect(4);
        delete format.sections;
        _expect(4);
        format.sections[0].elementType = 2;
        _expect(5);
        format.sections[0].firstChunk = 1;
        _expect(6);
        format.sections[0].bound = 0;
        _expect(7);
        format.sections[0].bound = 2 ** 31;
        _expect(7);
        format.sections[0].count = 0;
        _expect(8);
        format.sections[0].count = 2 ** 38 + 1;
        plan.maxMembers = 2;
        _expect(8);
        plan.maxMembers = 0;
        _expect(9);
        plan.maxMembers = 129;
        _expect(9);
        plan.quorumMin = 0;
        _expect(10);
        plan.quorumMin = 129;
        _expect(10);
        plan.minClients = 0;
        _expect(11);
        plan.minClients = 129;
        _expect(11);
        plan.maxWeight = 0;
        _expect(12);
    }

    /// 128 * maxWeight * (2B + 1) < 2^63, 2 rd < 2^63, 2 B rn + rd < 2^63: the last value that holds, the first that does not.
    function test_arithmetic_stays_below_2_to_the_63() external {
        _reset();
        format.sections[0].bound = 2 ** 31 - 1;
        plan.maxWeight = 2 ** 24;
        REFEREE.checkPlan(plan, format);
        plan.maxWeight = 2 ** 24 + 1;
        _expect(13);
        plan.rateDenominator = 0;
        _expect(14);
        plan.rateDenominator = 2 ** 62 - 1;
        REFEREE.checkPlan(plan, format);
        plan.rateDenominator = 2 ** 62;
        _expect(15);
        plan.rateDenominator = 1;
        plan.rateNumerator = 2 ** 42 - 1;
        REFEREE.checkPlan(plan, format);
        plan.rateNumerator += 1;
        _expect(16);
    }

    function test_evidence_must_fit_a_transaction() external {
        _reset();
        format.sections[0].count = 64 * 2 ** 21;
        REFEREE.checkPlan(plan, format);
        format.sections[0].count += 1;
        _expect(17);
        format.sections[0].count = 64 * 2 ** 32;
        plan.maxMembers = 80;
        REFEREE.checkPlan(plan, format);
    }

    function test_faults_have_a_price() external {
        _reset();
        plan.aggregatorBond = 0;
        _expect(18);
        plan.unrevealedFine = 0;
        _expect(19);
        plan.rangeFine = 0;
        _expect(19);
        plan.equivocationFine = 0;
        _expect(19);
        plan.dutyFine = 0;
        _expect(20);
        plan.dutyFine = plan.aggregatorBond + 1;
        _expect(20);
        plan.contradictionFine = 0;
        _expect(21);
        plan.contradictionFine = plan.aggregatorBond;
        _expect(21);
    }
}
