// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {FineOrder, IBonds} from "../../contracts/interfaces/IBonds.sol";
import {ICollegium} from "../../contracts/interfaces/ICollegium.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Kind, Phase, Proposal, Role, SkipReason, StudyStatus} from "../../contracts/interfaces/Types.sol";
import {Signatures} from "../../contracts/libraries/Signatures.sol";
import {cheats} from "./support/Cheats.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";
import {Checks, Rounds, TreeReference, VM} from "./support/Judging.sol";
import {ChunkTreeCaller} from "./ChunkTree.t.sol";
import {RefutationsActs} from "./Refutations.t.sol";

/// @notice Rows of docs/security/attacks.md that no other test is about.
contract RoundAttacksTest is CollegiumWorld {
    function setUp() public {
        found(4, 2);
        open();
    }

    function expectSkip(uint256 i, SkipReason reason) private {
        (uint32 round,) = live();
        cheats.expectEmit(address(collegium));
        emit ICollegium.ItemSkipped(study, round, uint16(i), reason);
    }

    // ---- 5: a relay that leaves somebody out

    function test_a_member_left_out_by_the_relay_lands_alone() public {
        commit(0x7);
        bytes memory own = commitItem(NODE + 3, 3);
        cheats.prank(cheats.addr(NODE + 3));
        collegium.commitUpdates(study, own);
        reveal(0x7);
        own = revealItems(0x8);
        cheats.prank(cheats.addr(NODE + 3));
        collegium.revealUpdates(study, own);
        // Certificates as well: each call carries what its sender has, and the set only grows.
        own = attestItems(0x7, 0xf);
        cheats.prank(cheats.addr(NODE + 3));
        collegium.certify(study, own);
        Proposal memory p = proposeOnDuty();
        checkEq(p.included, 0xf, "all of them are included");
    }

    // ---- 6: an aggregator that calls a certified update unavailable

    function test_an_aggregator_cannot_leave_out_who_is_certified() public {
        commit(all());
        reveal(all());
        certifySet(all());
        Proposal memory p = proposeOnDuty();
        (uint32 round, bytes32 ctx) = live();
        // The set, its hash and its weights come from the chain; the proposer has no word for them.
        check(p.included == all() && p.setHash == setHashOf(round, ctx, all()), "the certified set");
        (,,,, bytes32 held,,) = collegium.liveOf(study);
        checkEq(held, hashProposal(p), "held");
        p.included = 0x7;
        p.setHash = setHashOf(round, ctx, 0x7);
        bytes memory items = endorseItems(all());
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.ProposalMismatch.selector, held, hashProposal(p)));
        collegium.conclude(study, items, p, false);
    }

    // ---- 7: who serves nothing is left out, in the middle of the others

    function test_who_is_not_certified_is_skipped_in_the_set_hash() public {
        commit(all());
        reveal(all());
        certifySet(0xb);
        pass(WINDOW);
        Proposal memory p = proposeOnDuty();
        (uint32 round, bytes32 ctx) = live();
        check(p.included == 0xb && p.setHash == setHashOf(round, ctx, 0xb), "hospital 2 is skipped");
        checkEq(p.weightSum, weightOf(0) + weightOf(1) + weightOf(3), "and so is its weight");
        (,,,, bytes32 held,,) = collegium.liveOf(study);
        checkEq(held, hashProposal(p), "so the chain says");
    }

    // ---- 17: copying what another committed

    function test_a_copied_commitment_does_not_reveal() public {
        (uint32 round, bytes32 ctx) = live();
        // Seen in a pending transaction, signed anew for the thief's own seat.
        bytes memory stolen = commitItem(NODE + 1, 1, weightOf(0), commitmentOf(round, ctx, 0));
        collegium.commitUpdates(study, bytes.concat(stolen, commitItem(NODE, 0), commitItem(NODE + 2, 2)));
        pass(WINDOW);
        bytes memory reveals = revealItems(0x1);
        // The owner's fields, with the thief's seat: the commitment binds the seat, so they do not open it.
        bytes memory copied = bytes.concat(reveals);
        copied[1] = 0x01;
        expectSkip(1, SkipReason.SlotMismatch);
        collegium.revealUpdates(study, copied);
        collegium.revealUpdates(study, reveals);
        (,,,,,,, uint128 revealed,,,) = collegium.roundOf(study);
        checkEq(revealed, 1, "only the owner's");
    }

    function test_a_copy_of_what_was_revealed_comes_too_late() public {
        commit(0x7);
        pass(WINDOW);
        reveal(0x1);
        bytes memory copy = commitItem(NODE + 3, 3, weightOf(0), keccak256("the update of another"));
        expectWrongPhase(Phase.Reveal, Phase.Commit);
        collegium.commitUpdates(study, copy);
    }

    // ---- 19: signatures of elsewhere

    struct Where {
        uint64 study;
        uint32 round;
        bytes32 ctx;
        uint256 index;
        uint256 chain;
        address verifier;
    }

    function here() private view returns (Where memory w) {
        w.study = study;
        (w.round, w.ctx) = live();
        w.chain = block.chainid;
        w.verifier = address(collegium);
    }

    /// @dev Hospital 0 signs for `w`; the item says what the round wants to hear.
    function commitFor(Where memory w) private view returns (bytes memory) {
        (uint32 round, bytes32 ctx) = live();
        bytes32 commitment = commitmentOf(round, ctx, 0);
        bytes32 structHash =
            keccak256(abi.encode(Signatures.UPDATE, w.study, w.round, w.ctx, w.index, commitment, weightOf(0), extOf(round)));
        bytes32 domain = keccak256(abi.encode(Signatures.DOMAIN, keccak256("Collegium"), keccak256("1"), w.chain, w.verifier));
        return abi.encodePacked(uint16(0), commitment, weightOf(0), extOf(round), compact(NODE, Signatures.toDigest(domain, structHash)));
    }

    function test_a_signature_holds_for_one_chain_contract_study_round_context_and_seat() public {
        for (uint256 field; field < 6; ++field) {
            Where memory w = here();
            if (field == 0) w.chain += 1;
            if (field == 1) w.verifier = address(members);
            if (field == 2) w.study += 1;
            if (field == 3) w.round -= 1;
            if (field == 4) w.ctx = keccak256("another round");
            if (field == 5) w.index = 1;
            bytes memory item = commitFor(w);
            expectSkip(0, SkipReason.BadSignature);
            collegium.commitUpdates(study, item);
        }
        collegium.commitUpdates(study, commitFor(here()));
        (,,,,,, uint128 committed,,,,) = collegium.roundOf(study);
        checkEq(committed, 1, "the one for here");
    }

    function test_items_of_one_round_say_nothing_in_the_next() public {
        bytes memory commits = commitItems(all());
        collegium.commitUpdates(study, commits);
        bytes memory reveals = revealItems(all());
        collegium.revealUpdates(study, reveals);
        bytes memory attestations = attestItems(all(), all());
        collegium.certify(study, attestations);
        Proposal memory p = proposeOnDuty();
        bytes memory endorsements = endorseItems(all());
        collegium.conclude(study, endorsements, p, false);
        open();
        for (uint256 i; i < 4; ++i) expectSkip(i, SkipReason.BadSignature);
        collegium.commitUpdates(study, commits);
        commit(all());
        for (uint256 i; i < 4; ++i) expectSkip(i, SkipReason.SlotMismatch);
        collegium.revealUpdates(study, reveals);
        reveal(all());
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AttestationsTooFew.selector, 0, 3));
        collegium.certify(study, attestations);
        certifySet(all());
        proposeOnDuty();
        for (uint256 i; i < 4; ++i) expectSkip(i, SkipReason.BadSignature);
        collegium.endorse(study, endorsements);
    }

    /// @dev What was said of one attempt is not said of the next, even where both propose the same roots.
    function test_an_endorsement_holds_for_one_attempt() public {
        commit(all());
        reveal(all());
        certifySet(all());
        proposeOnDuty();
        bytes memory endorsements = endorseItems(0x1);
        pass(WINDOW);
        proposeOnDuty();
        expectSkip(0, SkipReason.BadSignature);
        collegium.endorse(study, endorsements);
    }

    // ---- 30: votes of nobody

    function test_who_has_no_seat_has_no_voice() public {
        // Well signed by keys that belong to no seat, or in the name of a seat that is another's.
        expectSkip(4, SkipReason.NotInvited);
        collegium.commitUpdates(study, commitItem(0x7777, 4));
        commit(all());
        reveal(all());
        bytes memory sybils;
        for (uint256 i = 4; i < 12; ++i) sybils = bytes.concat(sybils, attestItem(0x7777 + i, i, 0xf));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AttestationsTooFew.selector, 0, 3));
        collegium.certify(study, sybils);
        sybils = "";
        for (uint256 i; i < 4; ++i) sybils = bytes.concat(sybils, attestItem(0x7777 + i, i, 0xf));
        cheats.expectRevert(abi.encodeWithSelector(ICollegium.AttestationsTooFew.selector, 0, 3));
        collegium.certify(study, sybils);
    }

    // ---- 47: offices

    /// @dev Deployer and sponsor are this contract; then each of the council, the referee and an aggregator on duty.
    function test_no_office_moves_money_decides_rounds_or_speaks_for_others() public {
        address[5] memory offices =
            [address(this), cheats.addr(COUNCIL), address(referee), cheats.addr(COORDINATOR), cheats.addr(COORDINATOR_NODE)];
        for (uint256 i; i < 5; ++i) checkPowerless(offices[i]);
    }

    function checkPowerless(address office) private {
        address victim = cheats.addr(HOSPITAL);
        FineOrder memory order = FineOrder(study, victim, Role.Member, Kind.Range, 1 ether, keccak256("ctx"), office, 0, 0);
        bytes memory only = abi.encodeWithSelector(IBonds.BondsOnlyAuthorized.selector, office);
        refuse(office, address(bonds), abi.encodeCall(IBonds.fine, (order)), only);
        refuse(office, address(bonds), abi.encodeCall(IBonds.lock, (study, victim, Role.Member, 30 ether)), only);
        refuse(office, address(bonds), abi.encodeCall(IBonds.beginRelease, (study, victim, Role.Member, 1)), only);
        refuse(office, address(bonds), abi.encodeCall(IBonds.redirectReward, (0, 0, office)), only);
        refuse(office, address(bonds), abi.encodeCall(IBonds.connect, (office, office)), "");
        bytes memory refutationsOnly = abi.encodeWithSelector(ICollegium.CollegiumOnlyRefutations.selector, office);
        refuse(office, address(collegium), abi.encodeCall(ICollegium.markRefuted, (study, 0)), refutationsOnly);
        refuse(office, address(collegium), abi.encodeCall(ICollegium.markDisputed, (study, 1)), refutationsOnly);
        refuse(office, address(collegium), abi.encodeWithSignature("onMembersRevised(uint32)", 9), "");
        refuse(office, address(collegium), abi.encodeWithSignature("connect(address)", office), "");
        refuse(office, address(collegium), abi.encodeCall(ICollegium.removeMember, (study, victim, type(uint40).max, "")), "");
        refuse(office, address(collegium), abi.encodeCall(ICollegium.allowReferee, (office, true, type(uint40).max, "")), "");
        refuse(office, address(members), abi.encodeWithSignature("connect(address)", office), "");
        refuse(office, address(members), abi.encodeCall(members.suspend, (victim, true, type(uint40).max, "")), "");
        refuse(office, address(members), abi.encodeCall(members.revokeNodeKey, (cheats.addr(NODE))), "");
        refuse(office, address(members), abi.encodeCall(members.registerNodeKey, (victim, office, type(uint40).max, "", "")), "");
        refuse(office, address(token), abi.encodeCall(token.transferFrom, (address(bonds), office, 1)), "");
        // Nothing that is signed by the victim alone can be taken back by an office either.
        checkEq(lockOf(victim, Role.Member), MAX_FINE, "lock");
        (uint256 free, uint256 unbonding,) = bonds.stakeOf(victim);
        check(free == 1000 ether - MAX_FINE && unbonding == 0, "stake");
    }

    function refuse(address office, address target, bytes memory call, bytes memory reason) private {
        cheats.prank(office);
        (bool done, bytes memory answer) = target.call(call);
        check(!done, "an office may not");
        if (reason.length != 0) checkEq(keccak256(answer), keccak256(reason), "reason");
        else check(answer.length >= 4, "for a reason");
    }

    /// @dev The code of Studies is an account of its own: called directly it changes nothing of Collegium.
    function test_the_rare_half_called_directly_touches_nothing() public {
        // The first contract that Collegium created.
        address studies = address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(collegium), hex"01")))));
        check(studies.code.length != 0, "the code of Studies");
        (bool done,) = studies.call(abi.encodeCall(ICollegium.setStudyStatus, (study, StudyStatus.Closed)));
        check(!done, "knows no study");
        (done,) = studies.call(abi.encodeWithSignature("takeSnapshot(uint64,uint32,uint32)", study, 9, 9));
        (, StudyStatus status,) = collegium.governanceOf(study);
        check(!done && status == StudyStatus.Open, "untouched");
        (done,) = address(collegium).call(abi.encodeWithSignature("takeSnapshot(uint64,uint32,uint32)", study, 9, 9));
        check(!done, "nobody takes a snapshot from outside");
    }
}

/// @notice What evidence cannot be bent to, and what refuting costs whom.
contract RefutationAttacksTest is RefutationsActs {
    // ---- 34: refuting oneself to save the bond

    function test_refuting_oneself_costs_seven_tenths_of_the_bond() public {
        mean[3] += 1;
        Proposal memory p = proposeJudged();
        address liar = aggregatorOf(p);
        bytes memory evidence = meanEvidence(3);
        announce(liar, evidence, SALT);
        VM.roll(block.number + 1);
        refuteAs(liar, Kind.Mean, p, evidence, SALT);
        checkEq(bonds.creditOf(liar), BOND * 3 / 10, "it earns the reward");
        checkEq(lockOf(liar, Role.Aggregator), 0, "and lost the bond");
        cheats.prank(liar);
        bonds.withdrawCredit();
        checkEq(token.balanceOf(liar), 30 ether, "three tenths are back");
        // Half is burned whoever refutes; the clients' fifth is not the liar's.
        checkEq(bonds.burnable(study), BOND / 2, "burned");
        bytes32 key = keyOf(p.ctx, liar, Kind.Mean);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsNotEligible.selector, key, liar));
        cheats.prank(liar);
        bonds.claimShare(key);
    }

    // ---- 35: challenges without a fault

    function test_a_hundred_false_challenges_cost_their_sender_alone() public {
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(3);
        for (uint256 i; i < 100; ++i) {
            announce(watcher, evidence, keccak256(abi.encode(i)));
            expectNoFault(mean[3]);
            refuteAs(watcher, Kind.Mean, p, evidence, 0);
        }
        checkUntouched();
        checkPhase(Phase.Challenge);
        collegium.endorse(study, endorseItems(0x7));
        pass(WINDOW);
        collegium.finalize(study, p);
        checkPhase(Phase.Final);
    }

    // ---- 15: weights that are not the signed ones

    function test_evidence_with_another_weight_is_of_no_set() public {
        mean[3] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(3);
        // leaf 4 | k 1 | seal 32 | weight 4: one more for the first hospital.
        evidence[40] = bytes1(uint8(evidence[40]) + 1);
        (bool done, bytes memory answer) = tryRefute(p, evidence);
        check(!done && bytes4(answer) == IReferee.EvidenceMismatch.selector, "the set hash binds every weight");
        checkUntouched();
    }

    /// @dev The mean over weights of which one is rewritten is a wrong mean, and is refuted as one.
    function test_an_aggregate_with_a_rewritten_weight_is_refuted() public {
        int256 sum;
        int256 total;
        for (uint256 i; i < 4; ++i) {
            int256 weight = int256(uint256(weightOf(i))) * (i == 0 ? int256(3) : int256(1));
            sum += weight * updates[i][3];
            total += weight;
        }
        int32 bent = int32(sum / total);
        check(bent != mean[3], "the weight matters here");
        mean[3] = bent;
        Proposal memory p = proposeJudged();
        refuteAs(watcher, Kind.Mean, p, meanEvidence(3), 0);
        checkEq(lockOf(aggregatorOf(p), Role.Aggregator), 0, "bond");
    }

    // ---- 1 and 33: copies of evidence

    function test_a_copied_refutation_pays_who_announced() public {
        mean[3] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(3);
        announce(watcher, evidence, SALT);
        VM.roll(block.number + 1);
        pass(1);
        // A bot copies the transaction with the announcement's salt, then without.
        cheats.expectRevert();
        refuteAs(stranger, Kind.Mean, p, evidence, SALT);
        refuteAs(stranger, Kind.Mean, p, evidence, 0);
        bytes32 key = keyOf(p.ctx, aggregatorOf(p), Kind.Mean);
        cheats.prank(watcher);
        refutations.claimAnnounced(key, keccak256(evidence), SALT);
        checkEq(bonds.creditOf(watcher), BOND * 3 / 10, "the reward is the announcer's");
        pass(2 hours);
        cheats.expectRevert(abi.encodeWithSelector(IBonds.BondsRewardNotHeld.selector, key));
        bonds.claimReward(key);
    }

    function tryRefute(Proposal memory p, bytes memory evidence) private returns (bool done, bytes memory answer) {
        cheats.prank(watcher);
        return address(refutations).call(abi.encodeCall(IRefutations.refute, (Kind.Mean, study, p, evidence, 0)));
    }
}

/// @notice Trees: a chunk is proven at one place.
contract TreeAttacksTest is Checks {
    ChunkTreeCaller private immutable TREE = new ChunkTreeCaller();

    // ---- 12: index confusion, sorted pairs

    function test_a_chunk_proven_at_one_place_is_proven_nowhere_else() external view {
        int32[] memory elements = new int32[](16 * 64);
        for (uint256 k; k < elements.length; ++k) elements[k] = int32(Rounds.draw(keccak256(abi.encode(k)), -1000, 1000));
        bytes32[][] memory levels = TreeReference.build(elements);
        bytes32 root = TreeReference.rootOf(levels);
        for (uint256 leaf; leaf < 16; ++leaf) {
            bytes memory opening = bytes.concat(TreeReference.chunkOf(elements, leaf), TreeReference.pathOf(levels, leaf));
            for (uint256 claimed; claimed < 16; ++claimed) {
                check((TREE.computeRoot(opening, claimed, 4) == root) == (claimed == leaf), "at its own place alone");
            }
        }
    }
}
