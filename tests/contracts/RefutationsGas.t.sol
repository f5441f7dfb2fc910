// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Kind, Proposal} from "../../contracts/interfaces/Types.sol";
import {cheats} from "./support/Cheats.sol";
import {VM} from "./support/Judging.sol";
import {JudgingWorld} from "./support/JudgingWorld.sol";

/// @notice Bars of what a challenger pays: whole transactions, with intrinsic gas, the calldata floor and cold storage.
abstract contract RefutationGas is JudgingWorld {
    /// @dev A name that forge prints.
    event log_named_uint(string key, uint256 val);

    address internal watcher = address(0xabcd);
    bytes32 internal constant SALT = keccak256("salt");
    uint64 internal constant TEN_MILLION = 10_000_000;
    uint32 internal constant LEAF = 101_234;

    function bendUpdates() internal override {
        updates[1][11] = int32(BOUND) + 5;
    }

    function reserve(bytes memory evidence) internal {
        announce(watcher, evidence, SALT);
        VM.roll(block.number + 1);
        pass(12);
    }

    function spent(string memory what) internal returns (uint256 gas) {
        gas = cheats.lastCallGas().gasTotalUsed;
        emit log_named_uint(what, gas);
    }

    function refuteGas(Kind kind, string memory what, Proposal memory p, bytes memory evidence, bytes32 salt) internal returns (uint256) {
        cheats.prank(watcher);
        refutations.refute(kind, study, p, evidence, salt);
        return spent(what);
    }
}

/// forge-config: default.isolate = true
contract RefutationsGasTest is RefutationGas {
    function test_mean_of_10_clients_at_10M_parameters_costs_at_most_430k() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        mean[7] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(7);
        check(refuteGas(Kind.Mean, "R1, 10 clients, 10M", p, evidence, 0) <= 430_000, "R1");
    }

    function test_mean_grows_by_at_most_30_percent_from_1M_to_100M_parameters() public {
        foundJudged(10, 1_000_000, 9_999);
        trainRound();
        mean[7] += 1;
        uint256 small = refuteGas(Kind.Mean, "R1, 10 clients, 1M", proposeJudged(), meanEvidence(7), 0);
        foundJudged(10, 100_000_000, 1_012_345);
        trainRound();
        mean[7] += 1;
        uint256 large = refuteGas(Kind.Mean, "R1, 10 clients, 100M", proposeJudged(), meanEvidence(7), 0);
        check(large * 10 <= small * 13, "growth");
    }

    function test_step_costs_at_most_160k() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        next[9] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = stepEvidence(9);
        reserve(evidence);
        check(refuteGas(Kind.Step, "R1s, announced", p, evidence, SALT) <= 160_000, "R1s");
    }

    function test_unannounced_step_costs_at_most_160k() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        next[9] += 1;
        Proposal memory p = proposeJudged();
        check(refuteGas(Kind.Step, "R1s, unannounced", p, stepEvidence(9), 0) <= 160_000, "R1s");
    }

    function test_range_with_its_fine_paid_costs_at_most_125k() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        bytes memory evidence = rangeEvidence(1);
        reserve(evidence);
        cheats.prank(watcher);
        refutations.refuteRange(study, evidence, SALT);
        check(spent("R4, announced") <= 125_000, "R4");
    }

    function test_range_unannounced() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        bytes memory evidence = rangeEvidence(1);
        cheats.prank(watcher);
        refutations.refuteRange(study, evidence, 0);
        check(spent("R4, unannounced") <= 125_000, "R4");
    }

    /// 128 clients and 2^21 chunks: the largest round that checkPlan allows.
    function test_largest_mean_fits_a_transaction() public {
        foundJudged(128, 64 << 21, 1_234_567);
        trainRound();
        mean[7] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = meanEvidence(7);
        check(refuteGas(Kind.Mean, "R1, 128 clients, depth 21", p, evidence, 0) <= 1 << 24, "gas");
        check(abi.encodeCall(refutations.refute, (Kind.Mean, study, p, evidence, 0)).length <= 131_072, "bytes");
    }
}
