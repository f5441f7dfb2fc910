// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Proposal} from "../../contracts/interfaces/Types.sol";
import {CollegiumWorld} from "./support/CollegiumWorld.sol";
import {cheats} from "./support/Cheats.sol";

/// @notice The bars for ten hospitals, transaction gas in full: intrinsic, calldata with its floor, cold storage.
/// forge-config: default.isolate = true
contract CollegiumGasTest is CollegiumWorld {
    uint256 private constant N = 10;

    event Gas(string what, uint256 gas);

    function setUp() public {
        found(N, 2);
        open();
        // Recycled slots are in their steady state after two rounds.
        for (uint256 i; i < 2; ++i) finishRound();
    }

    function finishRound() private {
        commit(all());
        reveal(all());
        certifySet(all());
        Proposal memory p = proposeOnDuty();
        conclude(p);
    }

    function conclude(Proposal memory p) private {
        bytes memory endorsements = endorseItems(all());
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, endorsements, p, true);
    }

    function spent(string memory what) private returns (uint256 gas) {
        gas = cheats.lastCallGas().gasTotalUsed;
        emit Gas(what, gas);
    }

    function test_whole_round_costs_at_most_72k_per_hospital() public {
        bytes memory items = commitItems(all());
        collegium.commitUpdates(study, items);
        uint256 committed = spent("commit batch of 10");
        items = revealItems(all());
        collegium.revealUpdates(study, items);
        uint256 total = committed + spent("reveal batch of 10");
        items = attestItems(all(), all());
        collegium.certify(study, items);
        total += spent("certify by 10");
        (uint32 round,) = live();
        address duty = collegium.onDuty(study);
        cheats.prank(duty);
        collegium.propose(
            study,
            keccak256(abi.encode("mean", round)),
            keccak256(abi.encode("model", round)),
            keccak256(abi.encode("model blob", round)),
            keccak256(abi.encode("mean blob", round))
        );
        total += spent("propose");
        Proposal memory p = expectedProposal(duty);
        items = endorseItems(all());
        cheats.prank(cheats.addr(COORDINATOR_NODE));
        collegium.conclude(study, items, p, true);
        total += spent("conclude with 10 endorsements, open the next");
        emit Gas("whole round per hospital", total / N);
        check(committed / N <= 20_000, "commit batch");
        check(total / N <= 72_000, "whole round");
    }

    function test_commit_alone_costs_at_most_54k_in_every_round() public {
        for (uint256 r; r < 3; ++r) {
            bytes memory item = commitItem(NODE + 3, 3);
            collegium.commitUpdates(study, item);
            uint256 gas = spent("commit alone");
            check(gas <= 54_000, "commit alone");
            collegium.commitUpdates(study, commitItems(all() & ~uint256(8)));
            reveal(all());
            certifySet(all());
            conclude(proposeOnDuty());
        }
    }
}
