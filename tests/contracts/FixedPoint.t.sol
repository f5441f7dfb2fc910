// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {FixedPoint} from "../../contracts/libraries/FixedPoint.sol";
import {Checks, IntegerReference} from "./support/Judging.sol";

contract FixedPointTest is Checks {
    function test_floor_divides_down_on_both_sides_of_zero() external pure {
        checkEq(FixedPoint.floorDiv(7, 2), 3, "7/2");
        checkEq(FixedPoint.floorDiv(-7, 2), -4, "-7/2");
        checkEq(FixedPoint.floorDiv(-8, 2), -4, "-8/2");
        checkEq(FixedPoint.floorDiv(-1, 9), -1, "-1/9");
        checkEq(FixedPoint.floorDiv(0, 9), 0, "0/9");
    }

    function test_half_rounds_up_on_both_sides_of_zero() external pure {
        checkEq(FixedPoint.mean(1, 2), 1, "0.5");
        checkEq(FixedPoint.mean(-1, 2), 0, "-0.5");
        checkEq(FixedPoint.mean(-3, 2), -1, "-1.5");
        checkEq(FixedPoint.mean(3, 2), 2, "1.5");
    }

    function test_step_saturates_at_the_same_distance_from_zero() external pure {
        checkEq(FixedPoint.step(2 ** 31 - 1, 1, 1, 1), 2 ** 31 - 1, "top");
        checkEq(FixedPoint.step(-(2 ** 31), 0, 1, 1), -(2 ** 31 - 1), "bottom of int32");
        checkEq(FixedPoint.step(-(2 ** 31 - 1), -5, 1, 1), -(2 ** 31 - 1), "bottom");
    }

    function test_clamp_reads_any_int32_into_the_bound() external pure {
        checkEq(FixedPoint.clamp(-(2 ** 31), 1), -1, "low");
        checkEq(FixedPoint.clamp(2 ** 31 - 1, 1), 1, "high");
        checkEq(FixedPoint.clamp(-(2 ** 31 - 1), 2 ** 31 - 1), -(2 ** 31 - 1), "edge");
    }

    function testFuzz_floor_matches_reference(int128 a, uint64 m) external pure {
        int256 denominator = int256(uint256(m)) + 1;
        checkEq(FixedPoint.floorDiv(a, denominator), IntegerReference.floorDiv(a, denominator), "floor");
    }

    function testFuzz_step_matches_reference(int32 model, int32 mean, uint32 numerator, uint32 denominator) external pure {
        int256 rn = int256(uint256(numerator));
        int256 rd = int256(uint256(denominator)) + 1;
        checkEq(FixedPoint.step(model, mean, rn, rd), IntegerReference.step(model, mean, rn, rd), "step");
    }

    function testFuzz_mean_stays_within_the_bound(uint32 bound, int32[8] calldata values, uint32[8] calldata weights) external pure {
        int256 limit = int256(uint256(bound % (2 ** 31 - 1))) + 1;
        int256[] memory clamped = new int256[](8);
        uint256[] memory positive = new uint256[](8);
        int256 sum;
        int256 total;
        for (uint256 i; i < 8; ++i) {
            clamped[i] = FixedPoint.clamp(values[i], limit);
            positive[i] = uint256(weights[i]) + 1;
            sum += clamped[i] * int256(positive[i]);
            total += int256(positive[i]);
        }
        int256 mean = FixedPoint.mean(sum, total);
        checkEq(mean, IntegerReference.mean(clamped, positive), "mean");
        check(mean <= limit && mean >= -limit, "within the bound");
    }
}
