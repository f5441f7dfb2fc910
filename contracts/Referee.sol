// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IReferee} from "./interfaces/IReferee.sol";
import {Format, Plan, Proposal, Section} from "./interfaces/Types.sol";
import {ChunkTree} from "./libraries/ChunkTree.sol";
import {Evidence} from "./libraries/Evidence.sol";
import {FixedPoint} from "./libraries/FixedPoint.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TAG_SET} from "./libraries/Tags.sol";
import {UpdateSet} from "./libraries/UpdateSet.sol";

/// @title Referee
/// @notice Judges evidence for studies in mode Open with the weighted mean and FedAvg over one int32 section.
/// @dev Pure: no storage, no money, no owner. Reasons of `PlanNotJudgeable` are listed in docs/contracts/Referee.md.
contract Referee is IReferee {
    uint8 internal constant MODE_OPEN = 1;
    uint8 internal constant RULE_WEIGHTED_MEAN = 1;
    uint8 internal constant OPTIMIZER_FEDAVG = 1;
    uint8 internal constant TYPE_INT32 = 1;
    uint256 internal constant MAX_BOUND = 2 ** 31 - 1;
    /// @dev Sums and products fit an int64, so that every implementation may use one.
    uint256 internal constant INT64_LIMIT = 2 ** 63;
    /// @dev Leaves are named by four bytes.
    uint256 internal constant MAX_LEAVES = 2 ** 32;
    /// @dev Networks refuse transactions above 128 KiB; 1 KiB of it is left for the call and the envelope.
    uint256 internal constant MAX_EVIDENCE = 131_072 - 1_024;
    uint8 internal constant TREE_MEAN = 0;
    uint8 internal constant TREE_MODEL = 1;

    /// @dev What a format says about its only tree.
    struct Shape {
        uint256 count;
        uint256 leaves;
        uint256 depth;
        uint256 opening;
    }

    /// @inheritdoc IReferee
    function checkPlan(Plan calldata plan, Format calldata format) external pure {
        // Only what this referee has rules for.
        _require(plan.mode == MODE_OPEN, 1);
        _require(plan.rule == RULE_WEIGHTED_MEAN, 2);
        _require(plan.optimizer == OPTIMIZER_FEDAVG, 3);
        _require(format.sections.length == 1, 4);
        Section calldata section = format.sections[0];
        _require(section.elementType == TYPE_INT32, 5);
        _require(section.firstChunk == 0, 6);
        uint256 bound = section.bound;
        _require(bound >= 1 && bound <= MAX_BOUND, 7);
        _require(section.count >= 1 && ChunkTree.countLeaves(section.count) <= MAX_LEAVES, 8);

        // A round must be possible with the members that the plan allows.
        uint256 members = plan.maxMembers;
        _require(members >= 1 && members <= UpdateSet.CAPACITY, 9);
        _require(plan.quorumMin >= 1 && plan.quorumMin <= members, 10);
        _require(plan.minClients >= 1 && plan.minClients <= members, 11);
        _require(plan.maxWeight >= 1, 12);

        // Nothing overflows in 64 bits, whatever the members send.
        uint256 numerator = plan.rateNumerator;
        uint256 denominator = plan.rateDenominator;
        _require(members * plan.maxWeight * (2 * bound + 1) < INT64_LIMIT, 13);
        _require(denominator >= 1, 14);
        _require(2 * denominator < INT64_LIMIT, 15);
        _require(2 * bound * numerator + denominator < INT64_LIMIT, 16);

        // The largest evidence must fit a transaction, or a large study could not be judged.
        uint256 opening = ChunkTree.openingLength(ChunkTree.computeDepth(ChunkTree.countLeaves(section.count)));
        _require(Evidence.COORDINATE_LENGTH + members * (Evidence.CLIENT_LENGTH + opening) + opening <= MAX_EVIDENCE, 17);

        // A fault without a price is not a rule; smaller faults cost the aggregator less than a proven lie.
        _require(plan.aggregatorBond >= 1, 18);
        _require(plan.unrevealedFine >= 1 && plan.rangeFine >= 1 && plan.equivocationFine >= 1, 19);
        _require(plan.dutyFine >= 1 && plan.dutyFine <= plan.aggregatorBond, 20);
        _require(plan.contradictionFine >= 1 && plan.contradictionFine < plan.aggregatorBond, 21);
    }

    /// @inheritdoc IReferee
    function judgeMean(Format calldata format, Proposal calldata proposal, bytes calldata evidence)
        external
        pure
        returns (uint256 coordinate, int256 claimed, int256 right)
    {
        Section calldata section = format.sections[0];
        Shape memory shape = _shapeOf(section);
        uint256 clients = UpdateSet.size(proposal.included);
        // Nobody included means nothing was aggregated, so there is no rule to break.
        if (clients == 0) revert EvidenceMalformed(evidence.length);
        _requireLength(evidence, Evidence.COORDINATE_LENGTH + clients * (Evidence.CLIENT_LENGTH + shape.opening) + shape.opening);
        uint256 leaf;
        uint256 k;
        (coordinate, leaf, k) = _readCoordinate(evidence, shape);

        // Every client of U, as certified: what is opened must be what the proposal's set hash covers.
        bytes32 setHash;
        (setHash, right) = _aggregate(section, shape, proposal, Evidence.start(evidence) + Evidence.COORDINATE_LENGTH, leaf, k);
        _requireMatch(proposal.setHash, setHash);

        uint256 meanOpening = Evidence.start(evidence) + evidence.length - shape.opening;
        _requireMatch(proposal.meanRoot, ChunkTree.computeRoot(meanOpening, leaf, shape.depth));
        claimed = ChunkTree.readElement(meanOpening, k);
        if (claimed == right) revert EvidenceShowsNoFault(claimed);
    }

    /// @inheritdoc IReferee
    function judgeStep(Plan calldata plan, Format calldata format, bytes32 modelRoot, Proposal calldata proposal, bytes calldata evidence)
        external
        pure
        returns (uint256 coordinate, int256 claimed, int256 right)
    {
        Shape memory shape = _shapeOf(format.sections[0]);
        _requireLength(evidence, Evidence.COORDINATE_LENGTH + 3 * shape.opening);
        uint256 leaf;
        uint256 k;
        (coordinate, leaf, k) = _readCoordinate(evidence, shape);

        uint256 opening = Evidence.start(evidence) + Evidence.COORDINATE_LENGTH;
        _requireMatch(proposal.meanRoot, ChunkTree.computeRoot(opening, leaf, shape.depth));
        int256 mean = ChunkTree.readElement(opening, k);

        opening += shape.opening;
        _requireMatch(modelRoot, ChunkTree.computeRoot(opening, leaf, shape.depth));
        int256 model = ChunkTree.readElement(opening, k);

        opening += shape.opening;
        _requireMatch(proposal.newModelRoot, ChunkTree.computeRoot(opening, leaf, shape.depth));
        claimed = ChunkTree.readElement(opening, k);

        right = FixedPoint.step(model, mean, int256(uint256(plan.rateNumerator)), int256(uint256(plan.rateDenominator)));
        if (claimed == right) revert EvidenceShowsNoFault(claimed);
    }

    /// @inheritdoc IReferee
    function judgeTail(Format calldata format, Proposal calldata proposal, bytes calldata evidence) external pure returns (uint256 coordinate) {
        Shape memory shape = _shapeOf(format.sections[0]);
        _requireLength(evidence, Evidence.COORDINATE_LENGTH + shape.opening);
        uint256 tree = Evidence.readUint(Evidence.start(evidence), 1);
        uint256 leaf = Evidence.readUint(Evidence.start(evidence) + 1, 4);
        if (tree > TREE_MODEL) revert EvidenceMalformed(evidence.length);
        _requireLeaf(leaf, shape);

        uint256 opening = Evidence.start(evidence) + Evidence.COORDINATE_LENGTH;
        _requireMatch(tree == TREE_MEAN ? proposal.meanRoot : proposal.newModelRoot, ChunkTree.computeRoot(opening, leaf, shape.depth));
        bool found;
        (found, coordinate,) = _findTailFault(shape, opening, leaf);
        if (!found) revert EvidenceShowsNoFault(0);
    }

    /// @inheritdoc IReferee
    function judgeRange(uint64 studyId, bytes32 domainSeparator, Format calldata format, bytes calldata evidence)
        external
        pure
        returns (address signer, bytes32 ctx, uint16 index, uint256 coordinate, int256 claimed)
    {
        Section calldata section = format.sections[0];
        Shape memory shape = _shapeOf(section);
        _requireLength(evidence, Evidence.RANGE_LENGTH + shape.opening);
        uint256 cursor = Evidence.start(evidence);
        uint256 leaf = Evidence.readUint(cursor + 170, 4);
        _requireLeaf(leaf, shape);

        // The signer answers for the root that its signed commitment hides.
        ctx = Evidence.readWord(cursor);
        index = uint16(Evidence.readUint(cursor + 36, 2));
        {
            bytes32 root = ChunkTree.computeRoot(cursor + Evidence.RANGE_LENGTH, leaf, shape.depth);
            bytes32 commitment = Evidence.hashCommitment(ctx, index, root, Evidence.readWord(cursor + 38));
            signer = _recoverUpdate(studyId, domainSeparator, cursor, commitment, cursor + 70);
        }

        cursor += Evidence.RANGE_LENGTH;
        uint256 end = _elementsOf(shape, leaf);
        uint256 k = ChunkTree.findOutOfRange(cursor, end, section.bound);
        if (k < end) return (signer, ctx, index, leaf * ChunkTree.ELEMENTS + k, ChunkTree.readElement(cursor, k));
        bool found;
        (found, coordinate, claimed) = _findTailFault(shape, cursor, leaf);
        if (!found) revert EvidenceShowsNoFault(0);
    }

    /// @inheritdoc IReferee
    function judgeEquivocation(uint64 studyId, bytes32 domainSeparator, bytes calldata evidence)
        external
        pure
        returns (address signer, bytes32 ctx, uint16 index)
    {
        _requireLength(evidence, Evidence.EQUIVOCATION_LENGTH);
        uint256 cursor = Evidence.start(evidence);
        ctx = Evidence.readWord(cursor);
        index = uint16(Evidence.readUint(cursor + 36, 2));
        uint256 one = cursor + 38;
        uint256 other = one + Evidence.SIGNED_LENGTH;
        // Two signatures over one message are no fault: only commitment, weight and ext count.
        if (keccak256(evidence[38:106]) == keccak256(evidence[170:238])) revert EvidenceShowsNoFault(0);
        signer = _recoverUpdate(studyId, domainSeparator, cursor, Evidence.readWord(one), one + 32);
        address second = _recoverUpdate(studyId, domainSeparator, cursor, Evidence.readWord(other), other + 32);
        _requireMatch(bytes32(uint256(uint160(signer))), bytes32(uint256(uint160(second))));
    }

    /// @dev The set hash over U and the mean of one coordinate.
    /// @param cursor first client in calldata
    function _aggregate(Section calldata section, Shape memory shape, Proposal calldata proposal, uint256 cursor, uint256 leaf, uint256 k)
        private
        pure
        returns (bytes32 setHash, int256 mean)
    {
        bytes32[] memory words = new bytes32[](UpdateSet.CAPACITY + 1);
        words[0] = TAG_SET;
        uint256 filled = 1;
        int256 bound = int256(uint256(section.bound));
        bool weighted = section.weighted;
        bytes32 ctx = proposal.ctx;
        int256 sum;
        int256 total;
        unchecked {
            uint256 index;
            for (uint256 rest = proposal.included; rest != 0; (rest >>= 1, ++index)) {
                if (rest & 1 == 0) continue;
                uint256 opening = cursor + Evidence.CLIENT_LENGTH;
                uint256 weight = Evidence.readUint(cursor + 32, 4);
                bytes32 commitment =
                    Evidence.hashCommitment(ctx, index, ChunkTree.computeRoot(opening, leaf, shape.depth), Evidence.readWord(cursor));
                words[filled++] = UpdateSet.toSlot(commitment, weight, Evidence.readWord(cursor + 36));
                if (!weighted) weight = 1;
                sum += int256(weight) * FixedPoint.clamp(ChunkTree.readElement(opening, k), bound);
                total += int256(weight);
                cursor = opening + shape.opening;
            }
        }
        assembly ("memory-safe") {
            setHash := keccak256(add(words, 32), shl(5, filled))
        }
        mean = FixedPoint.mean(sum, total);
    }

    /// @dev The first non-zero byte run or foreign node beyond the payload, in the chunk first, then up the path.
    function _findTailFault(Shape memory shape, uint256 opening, uint256 leaf) private pure returns (bool found, uint256 coordinate, int256 claimed) {
        uint256 k = ChunkTree.findNonZero(opening, _elementsOf(shape, leaf));
        if (k < ChunkTree.ELEMENTS) return (true, leaf * ChunkTree.ELEMENTS + k, ChunkTree.readElement(opening, k));
        (found, coordinate) = ChunkTree.findForeignSibling(opening, leaf, shape.depth, shape.leaves);
        coordinate *= ChunkTree.ELEMENTS;
    }

    /// @dev Signer of the Update that starts with ctx, round and index at `head`; weight, ext, r and vs follow at `rest`.
    function _recoverUpdate(uint64 studyId, bytes32 domain, uint256 head, bytes32 commitment, uint256 rest) private pure returns (address signer) {
        bytes32 structHash = Signatures.hashUpdate(
            studyId,
            Evidence.readUint(head + 32, 4),
            Evidence.readWord(head),
            Evidence.readUint(head + 36, 2),
            commitment,
            Evidence.readUint(rest, 4),
            Evidence.readWord(rest + 4)
        );
        signer = Evidence.recoverUpdate(domain, structHash, rest + 36);
        // A high s or a signature of nobody: there is no second way to write a signature.
        if (signer == address(0)) revert EvidenceMismatch(structHash, bytes32(0));
    }

    /// @dev Elements of the chunk that belong to the payload.
    function _elementsOf(Shape memory shape, uint256 leaf) private pure returns (uint256) {
        uint256 first = leaf * ChunkTree.ELEMENTS;
        if (first >= shape.count) return 0;
        uint256 rest = shape.count - first;
        return rest < ChunkTree.ELEMENTS ? rest : ChunkTree.ELEMENTS;
    }

    function _shapeOf(Section calldata section) private pure returns (Shape memory shape) {
        shape.count = section.count;
        shape.leaves = ChunkTree.countLeaves(shape.count);
        shape.depth = ChunkTree.computeDepth(shape.leaves);
        shape.opening = ChunkTree.openingLength(shape.depth);
    }

    /// @dev Reads leaf and k. A coordinate must be an element, not padding.
    function _readCoordinate(bytes calldata evidence, Shape memory shape) private pure returns (uint256 coordinate, uint256 leaf, uint256 k) {
        leaf = Evidence.readUint(Evidence.start(evidence), 4);
        k = Evidence.readUint(Evidence.start(evidence) + 4, 1);
        coordinate = leaf * ChunkTree.ELEMENTS + k;
        if (k >= ChunkTree.ELEMENTS || coordinate >= shape.count) revert EvidenceOutOfRange(leaf, k);
    }

    /// @dev A leaf must have one position in the tree; higher bits would be ignored by the path.
    function _requireLeaf(uint256 leaf, Shape memory shape) private pure {
        if (leaf >> shape.depth != 0) revert EvidenceOutOfRange(leaf, 0);
    }

    function _requireLength(bytes calldata evidence, uint256 expected) private pure {
        if (evidence.length != expected) revert EvidenceMalformed(evidence.length);
    }

    function _requireMatch(bytes32 expected, bytes32 actual) private pure {
        if (expected != actual) revert EvidenceMismatch(expected, actual);
    }

    function _require(bool condition, uint256 reason) private pure {
        if (!condition) revert PlanNotJudgeable(reason);
    }
}
