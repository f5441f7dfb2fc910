// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title FixedPoint
/// @notice The integer arithmetic of a round (docs/protocol.md, "Arithmetic of a round"). Nothing here overflows while the
///         bounds that `Referee.checkPlan` enforces hold; with 256 bits it does not even near them.
library FixedPoint {
    /// @notice Model elements saturate here: 2^31 - 1, the same on both sides of zero.
    int256 internal constant SATURATION = 2147483647;

    /// @notice The greatest integer that is not above numerator / denominator.
    /// @param denominator positive; zero panics
    function floorDiv(int256 numerator, int256 denominator) internal pure returns (int256 quotient) {
        unchecked {
            quotient = numerator / denominator;
            // Solidity truncates toward zero; the remainder has the sign of the numerator.
            if (numerator % denominator < 0) --quotient;
        }
    }

    /// @notice `element` as a reader of updates takes it: within ±bound.
    function clamp(int256 element, int256 bound) internal pure returns (int256) {
        unchecked {
            if (element > bound) return bound;
            return element < -bound ? -bound : element;
        }
    }

    /// @notice Weighted mean, rounded half up: floorDiv(2 * sum + weight, 2 * weight).
    function mean(int256 sum, int256 weight) internal pure returns (int256) {
        unchecked {
            return floorDiv(2 * sum + weight, 2 * weight);
        }
    }

    /// @notice FedAvg: the model element moved by the mean at the server's rate, rounded half up, saturated.
    function step(int256 model, int256 meanElement, int256 rateNumerator, int256 rateDenominator) internal pure returns (int256) {
        unchecked {
            return clamp(model + floorDiv(2 * meanElement * rateNumerator + rateDenominator, 2 * rateDenominator), SATURATION);
        }
    }
}
