// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Outcome, Phase, Proposal} from "../../contracts/interfaces/Types.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";
import {cheats} from "./support/Cheats.sol";

/// @notice A round from opening to record, as it goes when everybody acts.
contract CollegiumRoundTest is CollegiumWorld {
    function setUp() public {
        found(4, 2);
    }

    function test_unanimous_round_is_recorded_and_the_next_starts_from_it() public {
        checkEq(open(), 1, "round");
        checkPhase(Phase.Commit);
        commit(0x3);
        checkPhase(Phase.Commit);
        commit(0xc);
        checkPhase(Phase.Reveal);
        reveal(0xf);
        checkPhase(Phase.Certify);
        certifySet(0xf);
        checkPhase(Phase.Propose);
        Proposal memory p = proposeOnDuty();
        checkPhase(Phase.Challenge);
        (,,,,,,,,,, bytes32 proposalHash) = collegium.roundOf(study);
        checkEq(proposalHash, hashProposal(p), "proposal hash");
        collegium.endorse(study, endorseItems(0x7));
        checkPhase(Phase.Challenge);
        collegium.endorse(study, endorseItems(0x8));
        checkPhase(Phase.Final);

        collegium.finalize(study, p);
        checkPhase(Phase.Final);
        (, Phase phase,,, bytes32 ctx,,,,,,) = collegium.roundOf(study);
        checkEq(uint256(phase), uint256(Phase.Final), "phase");
        (bytes32 record, bool disputed) = collegium.recordOf(study, 1);
        check(!disputed, "disputed");
        (,, bytes32 planHash,,, uint32 round) = collegium.studyOf(study);
        checkEq(round, 1, "round");
        checkEq(record, recordOf(firstRecord(planHash), proposalHash, Outcome(15, 15, 15, new bytes32[](0), 0, uint40(time_()))), "record");
        (bytes32 modelRoot,,, uint32 from) = collegium.modelOf(study);
        checkEq(modelRoot, p.newModelRoot, "model");
        checkEq(from, 1, "model round");

        checkEq(open(), 2, "next round");
        (,, bytes32 nextCtx, bytes32 base,,,) = collegium.liveOf(study);
        check(nextCtx != ctx, "a new round has a new ctx");
        checkEq(base, p.newModelRoot, "base model");
    }

    function test_ten_rounds_in_one_path_each_opened_by_conclude() public {
        open();
        for (uint32 r = 1; r <= 10; ++r) {
            commit(all());
            reveal(all());
            certifySet(all());
            Proposal memory p = proposeOnDuty();
            bytes memory endorsements = endorseItems(all());
            cheats.prank(cheats.addr(COORDINATOR_NODE + r % 2));
            collegium.conclude(study, endorsements, p, true);
            (bytes32 record,) = collegium.recordOf(study, r);
            check(record != 0, "recorded");
            checkPhase(Phase.Commit);
        }
    }

    function test_quorum_waits_for_the_window() public {
        open();
        commit(0x7);
        pass(WINDOW);
        checkPhase(Phase.Reveal);
        reveal(0x7);
        certifySet(0x7);
        Proposal memory p = proposeOnDuty();
        collegium.endorse(study, endorseItems(0x7));
        expectWrongPhase(Phase.Challenge, Phase.Final);
        collegium.finalize(study, p);
        pass(WINDOW);
        checkPhase(Phase.Final);
        cheats.prank(stranger);
        collegium.finalize(study, p);
        (bytes32 record,) = collegium.recordOf(study, 1);
        check(record != 0, "recorded");
    }

    function firstRecord(bytes32 planHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("collegium/1/record"), bytes32(0), planHash, bytes32(0)));
    }

    function recordOf(bytes32 parent, bytes32 proposalHash, Outcome memory o) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("collegium/1/record"), parent, proposalHash, hashOutcome(o)));
    }
}
