// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Format, Plan} from "../../contracts/interfaces/Types.sol";
import {Rounds, Signed, TreeReference} from "./support/Judging.sol";
import {RefereeActs} from "./support/RefereeActs.sol";

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
