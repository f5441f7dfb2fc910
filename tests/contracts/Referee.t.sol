// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Round, Rounds, TreeReference} from "./support/Judging.sol";
import {RefereeActs} from "./support/RefereeActs.sol";

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
