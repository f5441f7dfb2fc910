// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Referee} from "../../../contracts/Referee.sol";
import {IReferee} from "../../../contracts/interfaces/IReferee.sol";
import {Checks, Round} from "./Judging.sol";

/// @notice A referee, and how tests bend evidence and expect its errors.
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
