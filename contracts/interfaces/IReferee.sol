// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Format, Plan, Proposal} from "./Types.sol";

/// @title IReferee
/// @notice Judges evidence. Pure: holds no state and no money; pinned per study, allowlisted by the council.
/// @dev Evidence is packed. depth = (L-1).bit_length(); opening = chunk 256 | path 32*depth.
///      mean  leaf 4 | k 1 | for i in U ascending: seal 32 | weight 4 | ext 32 | opening   | mean opening
///      step  leaf 4 | k 1 | mean opening | base model opening | new model opening
///      tail  tree 1 (0 mean, 1 new model) | leaf 4 | opening
///      range ctx 32 | round 4 | index 2 | seal 32 | weight 4 | ext 32 | r 32 | vs 32 | leaf 4 | opening   (any out-of-range element, padding or tail in it counts)
///      equivocation ctx 32 | round 4 | index 2 | (commitment 32 | weight 4 | ext 32 | r 32 | vs 32) twice
///      A verdict that no fault is shown is a revert, never a silent false.
interface IReferee {
    error EvidenceMalformed(uint256 length);
    error EvidenceOutOfRange(uint256 leaf, uint256 k);
    error EvidenceMismatch(bytes32 expected, bytes32 actual);
    error EvidenceShowsNoFault(int256 claimed);
    error PlanNotJudgeable(uint256 reason);

    /// @notice Reverts PlanNotJudgeable unless this referee can judge every refutation of a study with this plan
    ///         and the arithmetic bounds of docs/protocol.md section 4 hold with maxMembers.
    function checkPlan(Plan calldata plan, Format calldata format) external pure;
    /// @return coordinate element index in the payload; claimed what the root holds; right what the rule gives
    function judgeMean(Format calldata format, Proposal calldata proposal, bytes calldata evidence) external pure returns (uint256 coordinate, int256 claimed, int256 right);
    function judgeStep(Plan calldata plan, Format calldata format, bytes32 modelRoot, Proposal calldata proposal, bytes calldata evidence) external pure returns (uint256 coordinate, int256 claimed, int256 right);
    function judgeTail(Format calldata format, Proposal calldata proposal, bytes calldata evidence) external pure returns (uint256 coordinate);
    /// @return signer recovered from the signed Update in `domainSeparator`; ctx of that Update; coordinate and its claimed value (0 for a tail node)
    function judgeRange(uint64 studyId, bytes32 domainSeparator, Format calldata format, bytes calldata evidence) external pure returns (address signer, bytes32 ctx, uint16 index, uint256 coordinate, int256 claimed);
    function judgeEquivocation(uint64 studyId, bytes32 domainSeparator, bytes calldata evidence) external pure returns (address signer, bytes32 ctx, uint16 index);
}
