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
        if (hospitals > 2) updates[2][11] = -int32(BOUND) - 5;
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

    /// Flat in the number of clients. The bar of 160k is missed: see docs/contracts/Refutations.md, "Gas".
    function test_step_costs() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        int32 right = next[9];
        next[9] += 1;
        Proposal memory p = proposeJudged();
        bytes memory evidence = stepEvidence(9);
        reserve(evidence);
        check(refuteGas(Kind.Step, "R1s, first of a study and of its watcher", p, evidence, SALT) <= 255_000, "R1s");

        // The other finishes, and lies in the next round.
        next[9] = right;
        recordRound(proposeJudged());
        trainRound();
        next[9] += 1;
        p = proposeJudged();
        evidence = stepEvidence(9);
        reserve(evidence);
        check(refuteGas(Kind.Step, "R1s, later", p, evidence, SALT) <= 221_000, "R1s later");
    }

    function test_step_costs_as_much_with_2_clients_as_with_32() public {
        uint256[2] memory sizes = [uint256(2), 32];
        uint256[2] memory gas;
        for (uint256 i; i < 2; ++i) {
            foundJudged(sizes[i], TEN_MILLION, LEAF);
            trainRound();
            next[9] += 1;
            Proposal memory p = proposeJudged();
            gas[i] = refuteGas(Kind.Step, "R1s, unannounced, 2 and 32 clients", p, stepEvidence(9), 0);
        }
        // The roster holds a key per seat, and reading it is what remains.
        check(gas[1] <= gas[0] + 3_000, "flat");
    }

    /// The bar of 125k is missed: see docs/contracts/Refutations.md, "Gas".
    function test_range_costs() public {
        foundJudged(10, TEN_MILLION, LEAF);
        trainRound();
        for (uint256 i = 1; i < 3; ++i) {
            bytes memory evidence = rangeEvidence(i);
            reserve(evidence);
            cheats.prank(watcher);
            refutations.refuteRange(study, evidence, SALT);
            uint256 gas = spent(i == 1 ? "R4, first of its watcher" : "R4, later");
            check(gas <= (i == 1 ? 181_000 : 165_000), "R4");
        }
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
