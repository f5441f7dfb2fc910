// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Format, Plan, Proposal, Section} from "../../../contracts/interfaces/Types.sol";

/// @notice The part of Foundry's cheatcodes that the judging tests use.
interface Vm {
    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectEmit() external;
    function expectEmit(address emitter) external;
    function roll(uint256 blockNumber) external;
    function warp(uint256 time) external;
    function readFile(string calldata path) external view returns (string memory);
    function exists(string calldata path) external view returns (bool);
    function lastCallGas() external view returns (Gas memory);
}

Vm constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// @notice Assertions.
abstract contract Checks {
    Vm internal constant vm = VM;

    error CheckFailed(string what, bytes32 actual, bytes32 expected);

    function checkEq(bytes32 actual, bytes32 expected, string memory what) internal pure {
        if (actual != expected) revert CheckFailed(what, actual, expected);
    }

    function checkEq(int256 actual, int256 expected, string memory what) internal pure {
        checkEq(bytes32(uint256(actual)), bytes32(uint256(expected)), what);
    }

    function checkEq(uint256 actual, uint256 expected, string memory what) internal pure {
        checkEq(bytes32(actual), bytes32(expected), what);
    }

    function checkEq(address actual, address expected, string memory what) internal pure {
        checkEq(bytes32(uint256(uint160(actual))), bytes32(uint256(uint160(expected))), what);
    }

    function check(bool condition, string memory what) internal pure {
        if (!condition) revert CheckFailed(what, 0, bytes32(uint256(1)));
    }
}

/// @notice Trees in plain Solidity, as docs/protocol.md words them: what the assembly is compared with.
library TreeReference {
    /// @return bytes of one chunk: little-endian int32, zeros beyond the end
    function chunkOf(int32[] memory elements, uint256 leaf) internal pure returns (bytes memory) {
        bytes memory chunk = new bytes(256);
        for (uint256 k; k < 64 && leaf * 64 + k < elements.length; ++k) {
            uint32 value = uint32(elements[leaf * 64 + k]);
            for (uint256 b; b < 4; ++b) chunk[4 * k + b] = bytes1(uint8(value >> (8 * b)));
        }
        return chunk;
    }

    function chunksOf(int32[] memory elements) internal pure returns (bytes[] memory chunks) {
        chunks = new bytes[]((elements.length + 63) / 64);
        for (uint256 j; j < chunks.length; ++j) chunks[j] = chunkOf(elements, j);
    }

    function depthOf(uint256 leaves) internal pure returns (uint256 depth) {
        while (uint256(1) << depth < leaves) ++depth;
    }

    function hashLeaf(bytes memory chunk) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0), chunk));
    }

    function hashNode(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function zeroSubtree(uint256 level) internal pure returns (bytes32 zero) {
        zero = hashLeaf(new bytes(256));
        for (uint256 i; i < level; ++i) zero = hashNode(zero, zero);
    }

    /// @notice All levels, from the leaves up. Missing leaves are `beyond`, the zero leaf in an honest tree.
    function build(bytes[] memory chunks, bytes32 beyond) internal pure returns (bytes32[][] memory levels) {
        uint256 depth = depthOf(chunks.length);
        levels = new bytes32[][](depth + 1);
        levels[0] = new bytes32[](uint256(1) << depth);
        for (uint256 j; j < levels[0].length; ++j) levels[0][j] = j < chunks.length ? hashLeaf(chunks[j]) : beyond;
        fill(levels);
    }

    function build(int32[] memory elements) internal pure returns (bytes32[][] memory) {
        return build(chunksOf(elements), zeroSubtree(0));
    }

    /// @notice Hashes levels 1 … depth anew from level 0.
    function fill(bytes32[][] memory levels) internal pure {
        for (uint256 i = 1; i < levels.length; ++i) {
            levels[i] = new bytes32[](levels[i - 1].length / 2);
            for (uint256 j; j < levels[i].length; ++j) levels[i][j] = hashNode(levels[i - 1][2 * j], levels[i - 1][2 * j + 1]);
        }
    }

    function rootOf(bytes32[][] memory levels) internal pure returns (bytes32) {
        return levels[levels.length - 1][0];
    }

    function pathOf(bytes32[][] memory levels, uint256 leaf) internal pure returns (bytes memory path) {
        for (uint256 i; i + 1 < levels.length; ++i) path = bytes.concat(path, levels[i][(leaf >> i) ^ 1]);
    }

    function open(int32[] memory elements, uint256 leaf) internal pure returns (bytes memory) {
        return bytes.concat(chunkOf(elements, leaf), pathOf(build(elements), leaf));
    }

    /// @notice Root that an opening leads to.
    function rootFrom(bytes memory chunk, bytes32[] memory path, uint256 leaf) internal pure returns (bytes32 root) {
        root = hashLeaf(chunk);
        for (uint256 i; i < path.length; ++i) {
            root = (leaf >> i) & 1 == 0 ? hashNode(root, path[i]) : hashNode(path[i], root);
        }
    }
}

/// @notice Integers in plain Solidity by another way than FixedPoint goes.
library IntegerReference {
    /// @dev Shifts the numerator above zero, where truncation and floor agree.
    function floorDiv(int256 a, int256 m) internal pure returns (int256) {
        int256 lift = a < 0 ? -a + 1 : int256(0);
        return (a + lift * m) / m - lift;
    }

    function mean(int256[] memory values, uint256[] memory weights) internal pure returns (int256) {
        int256 sum;
        int256 total;
        for (uint256 i; i < values.length; ++i) {
            sum += values[i] * int256(weights[i]);
            total += int256(weights[i]);
        }
        return floorDiv(2 * sum + total, 2 * total);
    }

    function step(int256 model, int256 meanElement, int256 numerator, int256 denominator) internal pure returns (int256 next) {
        next = model + floorDiv(2 * meanElement * numerator + denominator, 2 * denominator);
        if (next > 2 ** 31 - 1) return 2 ** 31 - 1;
        if (next < -(2 ** 31 - 1)) return -(2 ** 31 - 1);
    }
}

/// @notice A round with everything in it, honest unless a test bends it.
struct Round {
    Plan plan;
    Format format;
    Proposal proposal;
    bytes32 modelRoot;
    uint256[] seats;
    uint256[] weights;
    bytes32[] seals;
    bytes32[] exts;
    int32[][] updates;
    int32[] model;
    int32[] mean;
    int32[] next;
}

/// @notice What one client signed, and where its fault lies.
struct Signed {
    uint256 key;
    uint64 studyId;
    bytes32 domain;
    bytes32 ctx;
    uint32 round;
    uint16 index;
    bytes32 seal;
    uint32 weight;
    bytes32 ext;
}

/// @notice Makes rounds, bends nothing by itself, and writes the evidence about them.
library Rounds {
    /// @return drawn in [low, high], by hashing
    function draw(bytes32 seed, int256 low, int256 high) internal pure returns (int256 drawn) {
        return low + int256(uint256(seed) % uint256(high - low + 1));
    }

    function compact(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function makePlan() internal pure returns (Plan memory plan) {
        plan.mode = 1;
        plan.rule = 1;
        plan.optimizer = 1;
        plan.rateNumerator = 3;
        plan.rateDenominator = 2;
        plan.minClients = 2;
        plan.maxMembers = 128;
        plan.quorumMin = 2;
        plan.maxWeight = 1 << 24;
        plan.commitWindow = 60;
        plan.revealWindow = 60;
        plan.certifyWindow = 60;
        plan.proposeWindow = 60;
        plan.challengeWindow = 60;
        plan.evidencePeriod = 1000;
        plan.aggregatorBond = 1000 ether;
        plan.unrevealedFine = 10 ether;
        plan.rangeFine = 20 ether;
        plan.equivocationFine = 30 ether;
        plan.dutyFine = 40 ether;
        plan.contradictionFine = 500 ether;
    }

    function makeFormat(uint256 count, uint32 bound, bool weighted) internal pure returns (Format memory format) {
        format.sections = new Section[](1);
        format.sections[0] = Section(uint64(count), 0, 1, 16, bound, weighted);
        format.tableHash = keccak256("table");
    }

    /// @notice Draws a round of `count` elements; updates reach beyond the bound now and then, as a careless client's would.
    function makeRound(bytes32 seed, uint256 count, uint128 included, bool weighted) internal pure returns (Round memory r) {
        uint32 bound = 1 << 20;
        r.plan = makePlan();
        r.format = makeFormat(count, bound, weighted);
        r.proposal.ctx = keccak256(abi.encode(seed, "ctx"));
        r.proposal.aggregator = address(0xa66);
        r.proposal.included = included;
        uint256 n;
        for (uint256 i; i < 128; ++i) if (included >> i & 1 == 1) ++n;
        r.seats = new uint256[](n);
        r.weights = new uint256[](n);
        r.seals = new bytes32[](n);
        r.exts = new bytes32[](n);
        r.updates = new int32[][](n);
        n = 0;
        for (uint256 i; i < 128; ++i) if (included >> i & 1 == 1) r.seats[n++] = i;
        for (uint256 i; i < n; ++i) {
            bytes32 own = keccak256(abi.encode(seed, i));
            r.weights[i] = uint256(own) % (1 << 24) + 1;
            r.seals[i] = keccak256(abi.encode(own, "seal"));
            r.exts[i] = keccak256(abi.encode(own, "ext"));
            r.updates[i] = drawElements(own, count, int256(uint256(bound)) + 3);
        }
        r.model = drawElements(keccak256(abi.encode(seed, "model")), count, 2 ** 31 - 1);
        aggregate(r);
        bind(r);
    }

    function drawElements(bytes32 seed, uint256 count, int256 reach) internal pure returns (int32[] memory elements) {
        elements = new int32[](count);
        for (uint256 k; k < count; ++k) elements[k] = int32(draw(keccak256(abi.encode(seed, k)), -reach, reach));
    }

    /// @notice Mean and step as the rule gives them.
    function aggregate(Round memory r) internal pure {
        uint256 count = r.format.sections[0].count;
        r.mean = new int32[](count);
        r.next = new int32[](count);
        for (uint256 k; k < count; ++k) {
            r.mean[k] = int32(rightMean(r, k));
            r.next[k] = int32(rightStep(r, k));
        }
    }

    function rightMean(Round memory r, uint256 k) internal pure returns (int256) {
        int256 bound = int256(uint256(r.format.sections[0].bound));
        int256[] memory values = new int256[](r.updates.length);
        uint256[] memory weights = new uint256[](r.updates.length);
        for (uint256 i; i < values.length; ++i) {
            values[i] = r.updates[i][k];
            if (values[i] > bound) values[i] = bound;
            if (values[i] < -bound) values[i] = -bound;
            weights[i] = r.format.sections[0].weighted ? r.weights[i] : 1;
        }
        return IntegerReference.mean(values, weights);
    }

    function rightStep(Round memory r, uint256 k) internal pure returns (int256) {
        return IntegerReference.step(r.model[k], r.mean[k], int256(uint256(r.plan.rateNumerator)), int256(uint256(r.plan.rateDenominator)));
    }

    /// @notice Writes the roots and the set hash of the round's bytes into its proposal.
    function bind(Round memory r) internal pure {
        r.modelRoot = TreeReference.rootOf(TreeReference.build(r.model));
        r.proposal.meanRoot = TreeReference.rootOf(TreeReference.build(r.mean));
        r.proposal.newModelRoot = TreeReference.rootOf(TreeReference.build(r.next));
        bytes memory slots;
        uint64 total;
        for (uint256 i; i < r.seats.length; ++i) {
            slots = bytes.concat(slots, slotOf(r, i));
            total += uint64(r.weights[i]);
        }
        r.proposal.weightSum = total;
        r.proposal.setHash = keccak256(bytes.concat(keccak256("collegium/1/set"), slots));
    }

    function commitmentOf(Round memory r, uint256 i) internal pure returns (bytes32) {
        bytes32 root = TreeReference.rootOf(TreeReference.build(r.updates[i]));
        return keccak256(abi.encode(keccak256("collegium/1/update"), r.proposal.ctx, r.seats[i], root, r.seals[i]));
    }

    function slotOf(Round memory r, uint256 i) internal pure returns (bytes32) {
        bytes32 item = keccak256(abi.encode(keccak256("collegium/1/item"), commitmentOf(r, i), r.weights[i], r.exts[i]));
        return bytes32(abi.encodePacked(bytes28(item), uint32(r.weights[i])));
    }

    function meanEvidence(Round memory r, uint256 coordinate) internal pure returns (bytes memory evidence) {
        uint256 leaf = coordinate / 64;
        evidence = abi.encodePacked(uint32(leaf), uint8(coordinate % 64));
        for (uint256 i; i < r.seats.length; ++i) {
            evidence = bytes.concat(
                evidence, abi.encodePacked(r.seals[i], uint32(r.weights[i]), r.exts[i]), TreeReference.open(r.updates[i], leaf)
            );
        }
        return bytes.concat(evidence, TreeReference.open(r.mean, leaf));
    }

    function stepEvidence(Round memory r, uint256 coordinate) internal pure returns (bytes memory) {
        uint256 leaf = coordinate / 64;
        return bytes.concat(
            abi.encodePacked(uint32(leaf), uint8(coordinate % 64)),
            TreeReference.open(r.mean, leaf),
            TreeReference.open(r.model, leaf),
            TreeReference.open(r.next, leaf)
        );
    }

    function tailEvidence(uint8 tree, uint256 leaf, bytes memory opening) internal pure returns (bytes memory) {
        return abi.encodePacked(tree, uint32(leaf), opening);
    }

    function updateDigest(Signed memory s, bytes32 commitment, uint32 weight) internal pure returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Update(uint64 studyId,uint32 round,bytes32 ctx,uint16 index,bytes32 commitment,uint32 weight,bytes32 ext)"
                ),
                s.studyId,
                s.round,
                s.ctx,
                s.index,
                commitment,
                weight,
                s.ext
            )
        );
        return keccak256(abi.encodePacked(hex"1901", s.domain, structHash));
    }

    function rangeEvidence(Signed memory s, bytes32 root, uint256 leaf, bytes memory opening) internal pure returns (bytes memory) {
        bytes32 commitment = keccak256(abi.encode(keccak256("collegium/1/update"), s.ctx, s.index, root, s.seal));
        bytes memory signature = compact(s.key, updateDigest(s, commitment, s.weight));
        return abi.encodePacked(s.ctx, s.round, s.index, s.seal, s.weight, s.ext, signature, uint32(leaf), opening);
    }

    function equivocationEvidence(Signed memory s, bytes32 one, uint32 weightOne, bytes32 other, uint32 weightOther)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(
            s.ctx,
            s.round,
            s.index,
            abi.encodePacked(one, weightOne, s.ext, compact(s.key, updateDigest(s, one, weightOne))),
            abi.encodePacked(other, weightOther, s.ext, compact(s.key, updateDigest(s, other, weightOther)))
        );
    }
}
