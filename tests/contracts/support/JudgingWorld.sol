// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICollegium} from "../../../contracts/interfaces/ICollegium.sol";
import {Format, Outcome, Plan, Proposal, RecordProof} from "../../../contracts/interfaces/Types.sol";
import {Signatures} from "../../../contracts/libraries/Signatures.sol";
import {Cheats, cheats} from "./Cheats.sol";
import {CollegiumWorld} from "./CollegiumWorld.sol";
import {IntegerReference, Rounds, Signed, TreeReference} from "./Judging.sol";

/// @notice The real deployment, with updates, means and models that have bytes behind one chunk of theirs: `LEAF`.
/// @dev Siblings on the path are drawn, so a study of ten million parameters costs a test no more than a small one.
abstract contract JudgingWorld is CollegiumWorld {
    uint32 internal constant BOUND = 1 << 20;

    /// @notice One chunk and what leads from it to a root.
    struct Opened {
        bytes chunk;
        bytes32[] path;
    }

    uint64 internal count;
    uint32 internal leaf;
    uint256 internal depth;
    /// elements of the opened chunk, by client; what each commits to
    int32[64][128] internal updates;
    int32[64] internal model;
    int32[64] internal mean;
    int32[64] internal next;
    /// what Opened paths are drawn from; a liar about the tail sets its own
    bytes32 internal drawn;
    /// path of the base model: that of the genesis, then that of what was proposed
    bytes32 private modelPath;
    /// base model of the running round, and what RoundOpened said
    bytes32 internal parentRecord;
    bytes32 internal baseRoot;
    bytes32 internal cohortHash;

    /// @dev `n` hospitals and two coordinators in a study of `count_` elements, opened at `leaf_`.
    function foundJudged(uint256 n, uint64 count_, uint32 leaf_) internal {
        deploy();
        count = count_;
        leaf = leaf_;
        modelPath = "genesis";
        delete mean;
        delete next;
        depth = TreeReference.depthOf((uint256(count_) + 63) / 64);
        for (uint256 k; k < 64; ++k) model[k] = int32(Rounds.draw(keccak256(abi.encode("genesis", k)), -(1 << 22), 1 << 22));
        Format memory f = format(count_);
        Plan memory p = plan();
        p.formatId = formatId(f);
        p.genesisModelRoot = rootOf(modelOpened());
        p.maxMembers = 128;
        p.maxWeight = 1 << 16;
        study = collegium.createStudy(p, f);
        for (uint256 i; i < n; ++i) {
            admit(HOSPITAL + i);
            setNodeKey(HOSPITAL + i, NODE + i);
            fund(cheats.addr(HOSPITAL + i), 1000 ether);
            joinStudy(i);
        }
        for (uint256 j; j < 2; ++j) {
            admit(COORDINATOR + j);
            setNodeKey(COORDINATOR + j, COORDINATOR_NODE + j);
            fund(cheats.addr(COORDINATOR + j), 1000 ether);
            cheats.prank(cheats.addr(COORDINATOR + j));
            collegium.enlist(study);
        }
        hospitals = n;
    }

    // ---- bytes

    function opened(int32[64] storage elements, bytes32 what) internal view returns (Opened memory o) {
        int32[] memory copy = new int32[](64);
        for (uint256 k; k < 64; ++k) copy[k] = elements[k];
        o.chunk = TreeReference.chunkOf(copy, 0);
        o.path = new bytes32[](depth);
        for (uint256 i; i < depth; ++i) o.path[i] = keccak256(abi.encode(what, drawn, i));
    }

    function modelOpened() internal view returns (Opened memory) {
        return opened(model, modelPath);
    }

    function meanOpened() internal view returns (Opened memory) {
        return opened(mean, "mean");
    }

    function nextOpened() internal view returns (Opened memory) {
        return opened(next, "next");
    }

    function updateOpened(uint256 i) internal view returns (Opened memory) {
        return opened(updates[i], keccak256(abi.encode("update", i)));
    }

    function rootOf(Opened memory o) internal view returns (bytes32) {
        return TreeReference.rootFrom(o.chunk, o.path, leaf);
    }

    function pack(Opened memory o) internal pure returns (bytes memory) {
        return abi.encodePacked(o.chunk, o.path);
    }

    // ---- a round of them

    function seal(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("collegium/1/seal"), saltOf(round, i), digestOf(round, i)));
    }

    function judgedCommitment(uint32 round, bytes32 ctx, uint256 i) internal view returns (bytes32) {
        return keccak256(abi.encode(keccak256("collegium/1/update"), ctx, i, rootOf(updateOpened(i)), seal(round, i)));
    }

    function judgedSetHash(uint32 round, bytes32 ctx, uint256 set) internal view returns (bytes32) {
        bytes memory words = abi.encode(keccak256("collegium/1/set"));
        for (uint256 i; i < 128; ++i) {
            if ((set >> i) & 1 == 0) continue;
            bytes32 item =
                keccak256(abi.encode(keccak256("collegium/1/item"), judgedCommitment(round, ctx, i), weightOf(i), extOf(round)));
            words = abi.encodePacked(words, bytes28(item), weightOf(i));
        }
        return keccak256(words);
    }

    /// @notice Draws updates, then opens, commits, reveals and certifies; the honest mean and step are in `mean` and `next`.
    function trainRound() internal returns (uint32 round) {
        if (next[0] != 0) {
            model = next;
            modelPath = "next";
        }
        openAndNote();
        bytes32 ctx;
        (round, ctx) = live();
        for (uint256 i; i < hospitals; ++i) {
            for (uint256 k; k < 64; ++k) {
                int256 reach = int256(uint256(BOUND)) / 4;
                updates[i][k] = inPayload(k) ? int32(Rounds.draw(keccak256(abi.encode(round, i, k)), -reach, reach)) : int32(0);
            }
        }
        bendUpdates();
        commitAndReveal(round, ctx);
        aggregate();
    }

    /// @dev What the preimage of ctx needs stands in the log of the opening.
    function openAndNote() private {
        cheats.recordLogs();
        open();
        Cheats.Log[] memory logs = cheats.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != ICollegium.RoundOpened.selector) continue;
            (,,, baseRoot,, parentRecord, cohortHash,) =
                abi.decode(logs[i].data, (bytes32, uint128, uint8, bytes32, bytes32, bytes32, bytes32, string));
        }
    }

    /// @dev For a test to make a client out of range.
    function bendUpdates() internal virtual {}

    function inPayload(uint256 k) internal view returns (bool) {
        return uint256(leaf) * 64 + k < count;
    }

    /// @dev Items are made in calls of their own: inlined into one function they exceed the stack.
    function commitAndReveal(uint32 round, bytes32 ctx) private {
        bytes memory items;
        for (uint256 i; i < hospitals; ++i) items = bytes.concat(items, this.judgedCommit(round, ctx, i));
        collegium.commitUpdates(study, items);
        items = "";
        for (uint256 i; i < hospitals; ++i) items = bytes.concat(items, this.judgedReveal(round, i));
        collegium.revealUpdates(study, items);
        bytes32 digest = this.judgedAttestDigest(round, ctx);
        items = "";
        for (uint256 i; i <= hospitals / 2; ++i) {
            items = bytes.concat(items, abi.encodePacked(uint8(i), uint128(all())), compact(NODE + i, digest));
        }
        collegium.certify(study, items);
    }

    function judgedCommit(uint32 round, bytes32 ctx, uint256 i) external view returns (bytes memory) {
        return commitItem(NODE + i, i, weightOf(i), judgedCommitment(round, ctx, i));
    }

    function judgedReveal(uint32 round, uint256 i) external view returns (bytes memory) {
        bytes memory opening = abi.encodePacked(uint16(i), saltOf(round, i), rootOf(updateOpened(i)), digestOf(round, i));
        return bytes.concat(opening, abi.encodePacked(weightOf(i), uint16(3), round, uint32(20), bytes32(0)));
    }

    function judgedAttestDigest(uint32 round, bytes32 ctx) external view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(Signatures.ATTEST, study, round, ctx, all(), judgedSetHash(round, ctx, all())));
        return Signatures.toDigest(collegium.domainSeparator(), structHash);
    }

    function aggregate() internal {
        for (uint256 k; k < 64; ++k) {
            mean[k] = inPayload(k) ? int32(rightMean(k)) : int32(0);
            next[k] = inPayload(k) ? int32(rightStep(k)) : int32(0);
        }
    }

    function rightMean(uint256 k) internal view returns (int256) {
        int256[] memory values = new int256[](hospitals);
        uint256[] memory weights = new uint256[](hospitals);
        for (uint256 i; i < hospitals; ++i) {
            values[i] = updates[i][k];
            if (values[i] > int256(uint256(BOUND))) values[i] = int256(uint256(BOUND));
            if (values[i] < -int256(uint256(BOUND))) values[i] = -int256(uint256(BOUND));
            weights[i] = weightOf(i);
        }
        return IntegerReference.mean(values, weights);
    }

    function rightStep(uint256 k) internal view returns (int256) {
        return IntegerReference.step(model[k], mean[k], 1, 1);
    }

    /// @notice The aggregator on duty proposes what `mean` and `next` hold now.
    function proposeJudged() internal returns (Proposal memory p) {
        address aggregator = collegium.onDuty(study);
        (uint32 round, bytes32 ctx) = live();
        (,, uint8 attempt,,,,,, uint128 certified,,) = collegium.roundOf(study);
        p.ctx = ctx;
        p.aggregator = aggregator;
        p.attempt = attempt;
        p.setHash = judgedSetHash(round, ctx, certified);
        p.included = certified;
        for (uint256 i; i < 128; ++i) if ((certified >> i) & 1 != 0) p.weightSum += weightOf(i);
        p.meanRoot = rootOf(meanOpened());
        p.newModelRoot = rootOf(nextOpened());
        p.modelDigest = keccak256(abi.encode("model blob", round));
        p.meanDigest = keccak256(abi.encode("mean blob", round));
        cheats.prank(aggregator);
        collegium.propose(study, p.meanRoot, p.newModelRoot, p.modelDigest, p.meanDigest);
        (,,,, bytes32 live_,,) = collegium.liveOf(study);
        checkEq(live_, hashProposal(p), "the chain holds another proposal");
    }

    /// @notice Everybody endorses, whatever it is, and the round is recorded.
    function recordRound(Proposal memory p) internal {
        collegium.conclude(study, endorseItems(all()), p, false);
    }

    // ---- evidence

    function coordinateHead(uint256 k) internal view returns (bytes memory) {
        return abi.encodePacked(leaf, uint8(k));
    }

    function meanEvidence(uint256 k) internal view returns (bytes memory evidence) {
        (uint32 round,) = live();
        evidence = coordinateHead(k);
        for (uint256 i; i < hospitals; ++i) {
            evidence = abi.encodePacked(evidence, seal(round, i), weightOf(i), extOf(round), pack(updateOpened(i)));
        }
        return bytes.concat(evidence, pack(meanOpened()));
    }

    function stepEvidence(uint256 k) internal view returns (bytes memory) {
        return bytes.concat(coordinateHead(k), pack(meanOpened()), pack(modelOpened()), pack(nextOpened()));
    }

    function tailEvidence(uint8 tree) internal view returns (bytes memory) {
        return abi.encodePacked(tree, leaf, pack(tree == 0 ? meanOpened() : nextOpened()));
    }

    function signed(uint256 i) internal view returns (Signed memory s) {
        (s.round, s.ctx) = live();
        s.key = NODE + i;
        s.studyId = study;
        s.domain = collegium.domainSeparator();
        s.index = uint16(i);
        s.seal = seal(s.round, i);
        s.weight = weightOf(i);
        s.ext = extOf(s.round);
    }

    function rangeEvidence(uint256 i) internal view returns (bytes memory) {
        return Rounds.rangeEvidence(signed(i), rootOf(updateOpened(i)), leaf, pack(updateOpened(i)));
    }

    /// @notice What ties `p` to the record of the running round.
    function proofOf(Outcome memory outcome) internal view returns (RecordProof memory proof) {
        (proof.round,) = live();
        proof.parentRecord = parentRecord;
        proof.modelRoot = baseRoot;
        proof.cohortHash = cohortHash;
        proof.outcome = outcome;
    }

    function announce(address sender, bytes memory evidence, bytes32 salt) internal {
        cheats.prank(sender);
        refutations.announce(keccak256(abi.encode(sender, keccak256(evidence), salt)));
    }
}
