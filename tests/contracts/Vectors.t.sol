// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Referee} from "../../contracts/Referee.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {Format, Outcome, Phase, Plan, Proposal, RecordProof, Section} from "../../contracts/interfaces/Types.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {CompactSignature} from "../../contracts/libraries/CompactSignature.sol";
import {Evidence} from "../../contracts/libraries/Evidence.sol";
import {FixedPoint} from "../../contracts/libraries/FixedPoint.sol";
import {Clock, RoundClock, Rules, Tally} from "../../contracts/libraries/RoundClock.sol";
import "../../contracts/libraries/Tags.sol" as Tags;
import {UpdateSet} from "../../contracts/libraries/UpdateSet.sol";

/// @notice The cheatcodes that read vectors.
interface Reader {
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonBytesArray(string calldata json, string calldata key) external pure returns (bytes[] memory);
    function addr(uint256 key) external pure returns (address);
    function signCompact(uint256 key, bytes32 digest) external pure returns (bytes32 r, bytes32 vs);
    function chainId(uint256 id) external;
}

/// @notice The same vectors as `tests/core/test_vectors.py`: what Python wrote down is what the contracts compute.
contract VectorsTest {
    Reader private constant vm = Reader(address(uint160(uint256(keccak256("hevm cheat code")))));
    Referee private immutable REFEREE = new Referee();

    error VectorDiffers(string family, uint256 row, bytes32 expected, bytes32 actual);
    error VectorsMissing(string family);

    function _rows(string memory file, string memory family) private view returns (bytes[] memory inputs, bytes[] memory outputs) {
        string memory json = vm.readFile(string.concat("tests/vectors/", file, ".json"));
        inputs = vm.parseJsonBytesArray(json, string.concat(".", family, ".in"));
        outputs = vm.parseJsonBytesArray(json, string.concat(".", family, ".out"));
        if (inputs.length == 0 || inputs.length != outputs.length) revert VectorsMissing(family);
    }

    function _eq(string memory family, uint256 row, bytes32 expected, bytes32 actual) private pure {
        if (expected != actual) revert VectorDiffers(family, row, expected, actual);
    }

    function _eq(string memory family, uint256 row, bytes memory expected, bytes memory actual) private pure {
        _eq(family, row, keccak256(expected), keccak256(actual));
    }

    // Numbers

    function test_mean() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("mean", "mean");
        for (uint256 i; i < inputs.length; ++i) {
            (int32[] memory elements, uint32[] memory weights, uint32 bound, bool weighted) =
                abi.decode(inputs[i], (int32[], uint32[], uint32, bool));
            int256 sum;
            int256 total;
            for (uint256 j; j < elements.length; ++j) {
                int256 weight = weighted ? int256(uint256(weights[j])) : int256(1);
                sum += weight * FixedPoint.clamp(elements[j], int256(uint256(bound)));
                total += weight;
            }
            _eq("mean", i, outputs[i], abi.encode(FixedPoint.mean(sum, total)));
        }
    }

    function test_step() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("step", "step");
        for (uint256 i; i < inputs.length; ++i) {
            (int32 model, int32 mean, uint64 numerator, uint64 denominator) = abi.decode(inputs[i], (int32, int32, uint64, uint64));
            _eq("step", i, outputs[i], abi.encode(FixedPoint.step(model, mean, int256(uint256(numerator)), int256(uint256(denominator)))));
        }
    }

    function test_catch_up() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("catch_up", "catchUp");
        for (uint256 i; i < inputs.length; ++i) {
            (Clock memory clock, Rules memory rules, Tally memory tally, uint256 time) = abi.decode(inputs[i], (Clock, Rules, Tally, uint256));
            clock = RoundClock.catchUp(clock, rules, tally, time);
            _eq("catchUp", i, outputs[i], abi.encode(clock, RoundClock.deadlineOf(clock, rules)));
        }
    }

    // Trees

    function test_tree_roots() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("tree", "root");
        for (uint256 i; i < inputs.length; ++i) {
            (bytes32 seed, uint32 leaves) = abi.decode(inputs[i], (bytes32, uint32));
            uint256 depth = ChunkTree.computeDepth(leaves);
            bytes32[] memory level = new bytes32[](1 << depth);
            for (uint256 j; j < level.length; ++j) level[j] = j < leaves ? _leaf(seed, j) : ChunkTree.ZERO_LEAF;
            for (uint256 size = level.length; size > 1; size /= 2) {
                for (uint256 j; j < size / 2; ++j) level[j] = ChunkTree.hashNode(level[2 * j], level[2 * j + 1]);
            }
            _eq("root", i, outputs[i], abi.encode(level[0], depth));
        }
    }

    function _leaf(bytes32 seed, uint256 j) private pure returns (bytes32) {
        bytes32 word = sha256(abi.encodePacked(seed, uint32(j)));
        return sha256(abi.encodePacked(bytes1(0), word, word, word, word, word, word, word, word));
    }

    function test_openings_lead_to_their_roots() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("tree", "opening");
        for (uint256 i; i < inputs.length; ++i) {
            (, uint32 leaf, uint8 depth, bytes memory opening) = abi.decode(inputs[i], (bytes32, uint32, uint8, bytes));
            _eq("opening", i, outputs[i], abi.encode(this.rootOf(opening, leaf, depth)));
        }
    }

    function rootOf(bytes calldata opening, uint256 leaf, uint256 depth) external pure returns (bytes32) {
        require(opening.length == ChunkTree.openingLength(depth));
        return ChunkTree.computeRoot(Evidence.start(opening), leaf, depth);
    }

    function test_zero_subtrees() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("tree", "zero");
        bytes32 zero = ChunkTree.ZERO_LEAF;
        for (uint256 i; i < inputs.length; ++i) {
            _eq("zero", i, outputs[i], abi.encode(zero));
            zero = ChunkTree.hashNode(zero, zero);
        }
    }

    // Hashes

    function test_tags() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", "tag");
        bytes32[15] memory tags = [
            Tags.TAG_PLAN, Tags.TAG_FORMAT, Tags.TAG_ROSTER, Tags.TAG_COHORT, Tags.TAG_CTX, Tags.TAG_SEAL, Tags.TAG_UPDATE, Tags.TAG_EXT,
            Tags.TAG_ITEM, Tags.TAG_SET, Tags.TAG_PROPOSAL, Tags.TAG_OUTCOME, Tags.TAG_RECORD, Tags.TAG_STATE, Tags.TAG_VOTE
        ];
        for (uint256 i; i < inputs.length; ++i) _eq("tag", i, outputs[i], abi.encode(tags[i]));
    }

    function test_plan_and_format() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", "plan");
        for (uint256 i; i < inputs.length; ++i) {
            Plan memory plan = abi.decode(inputs[i], (Plan));
            _eq("plan", i, outputs[i], abi.encode(keccak256(abi.encode(Tags.TAG_PLAN, plan))));
        }
        (inputs, outputs) = _rows("hashes", "format");
        for (uint256 i; i < inputs.length; ++i) {
            _eq("format", i, outputs[i], abi.encode(_formatId(abi.decode(inputs[i], (Format)))));
        }
        (inputs, outputs) = _rows("encoding", "table");
        for (uint256 i; i < inputs.length; ++i) {
            (string memory table,,,) = abi.decode(inputs[i], (string, uint8, uint32, bool));
            (Format memory format, bytes32 formatId) = abi.decode(outputs[i], (Format, bytes32));
            _eq("table", i, format.tableHash, sha256(bytes(table)));
            _eq("table", i, formatId, _formatId(format));
        }
    }

    function _formatId(Format memory format) private pure returns (bytes32) {
        bytes memory words;
        for (uint256 j; j < format.sections.length; ++j) words = bytes.concat(words, abi.encode(format.sections[j]));
        return keccak256(abi.encode(Tags.TAG_FORMAT, keccak256(words), format.tableHash));
    }

    function test_snapshot_and_cohort() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", "snapshot");
        for (uint256 i; i < inputs.length; ++i) {
            (address[] memory institutions, address[] memory keys) = abi.decode(inputs[i], (address[], address[]));
            bytes memory words = abi.encode(Tags.TAG_ROSTER);
            for (uint256 j; j < keys.length; ++j) words = bytes.concat(words, abi.encode(uint256(1), institutions[j], keys[j]));
            _eq("snapshot", i, outputs[i], abi.encode(keccak256(words)));
        }
        _prefixed("cohort", Tags.TAG_COHORT);
    }

    /// @dev Families whose input words, after the tag, are what is hashed.
    function _prefixed(string memory family, bytes32 tag) private view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", family);
        for (uint256 i; i < inputs.length; ++i) {
            _eq(family, i, outputs[i], abi.encode(keccak256(bytes.concat(tag, inputs[i]))));
        }
    }

    function test_hashes_over_their_words() external view {
        _prefixed("ctx", Tags.TAG_CTX);
        _prefixed("seal", Tags.TAG_SEAL);
        _prefixed("commitment", Tags.TAG_UPDATE);
        _prefixed("ext", Tags.TAG_EXT);
        _prefixed("item", Tags.TAG_ITEM);
        _prefixed("proposal", Tags.TAG_PROPOSAL);
        _prefixed("record", Tags.TAG_RECORD);
    }

    function test_commitment_and_slot_as_contracts_compute_them() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", "commitment");
        for (uint256 i; i < inputs.length; ++i) {
            (bytes32 ctx, uint16 index, bytes32 root, bytes32 seal) = abi.decode(inputs[i], (bytes32, uint16, bytes32, bytes32));
            _eq("commitment", i, outputs[i], abi.encode(Evidence.hashCommitment(ctx, index, root, seal)));
        }
        (inputs, outputs) = _rows("hashes", "item");
        for (uint256 i; i < inputs.length; ++i) {
            (bytes32 commitment, uint32 weight, bytes32 ext) = abi.decode(inputs[i], (bytes32, uint32, bytes32));
            bytes32 item = abi.decode(outputs[i], (bytes32));
            _eq("item", i, bytes32(bytes28(item)) | bytes32(uint256(weight)), UpdateSet.toSlot(commitment, weight, ext));
        }
        (inputs, outputs) = _rows("hashes", "slot");
        for (uint256 i; i < inputs.length; ++i) {
            (bytes32 item, uint32 weight) = abi.decode(inputs[i], (bytes32, uint32));
            _eq("slot", i, outputs[i], abi.encode(bytes32(bytes28(item)) | bytes32(uint256(weight))));
        }
        (inputs, outputs) = _rows("hashes", "set");
        for (uint256 i; i < inputs.length; ++i) {
            _eq("set", i, outputs[i], abi.encode(keccak256(abi.encodePacked(Tags.TAG_SET, abi.decode(inputs[i], (bytes32[]))))));
        }
    }

    function test_proposal_outcome_and_record_as_contracts_compute_them() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", "proposal");
        for (uint256 i; i < inputs.length; ++i) {
            _eq("proposal", i, outputs[i], abi.encode(this.hashProposal(abi.decode(inputs[i], (Proposal)))));
        }
        (inputs, outputs) = _rows("hashes", "outcome");
        for (uint256 i; i < inputs.length; ++i) {
            _eq("outcome", i, outputs[i], abi.encode(this.hashOutcome(abi.decode(inputs[i], (Outcome)))));
        }
        (inputs, outputs) = _rows("hashes", "recordOf");
        for (uint256 i; i < inputs.length; ++i) {
            (RecordProof memory proof, Proposal memory proposal) = abi.decode(inputs[i], (RecordProof, Proposal));
            _eq("recordOf", i, outputs[i], abi.encode(this.hashRecord(proof, proposal)));
        }
    }

    function hashProposal(Proposal calldata proposal) external pure returns (bytes32) {
        return Evidence.hashProposal(proposal);
    }

    function hashOutcome(Outcome calldata outcome) external pure returns (bytes32) {
        return Evidence.hashOutcome(outcome);
    }

    function hashRecord(RecordProof calldata proof, Proposal calldata proposal) external pure returns (bytes32) {
        return Evidence.hashRecord(proof, Evidence.hashProposal(proposal));
    }

    function test_ctx_as_contracts_compute_it() external {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("hashes", "ctx");
        for (uint256 i; i < inputs.length; ++i) {
            (uint256 chain, address collegium, uint64 studyId, bytes32 planHash, RecordProof memory proof) = _context(inputs[i]);
            if (chain > type(uint64).max) continue;
            vm.chainId(chain);
            _eq("ctx", i, outputs[i], abi.encode(this.hashContext(collegium, studyId, planHash, proof)));
        }
    }

    function _context(bytes memory row)
        private
        pure
        returns (uint256 chain, address collegium, uint64 studyId, bytes32 planHash, RecordProof memory proof)
    {
        (chain, collegium, studyId, planHash, proof.round, proof.parentRecord, proof.modelRoot, proof.stateRoot, proof.cohortHash, proof.keysAcc)
        = abi.decode(row, (uint256, address, uint64, bytes32, uint32, bytes32, bytes32, bytes32, bytes32, bytes32));
    }

    function hashContext(address collegium, uint64 studyId, bytes32 planHash, RecordProof calldata proof) external view returns (bytes32) {
        return Evidence.hashContext(collegium, studyId, planHash, proof);
    }

    // Messages

    /// @dev Struct hash of a message whose signed fields are the leading `words` words of the row.
    function _message(string memory family, string memory typeString, uint256 words) private view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("messages", family);
        for (uint256 i; i < inputs.length; ++i) {
            bytes memory fields = new bytes(32 * words);
            for (uint256 j; j < fields.length; ++j) fields[j] = inputs[i][j];
            _signed(family, i, keccak256(bytes.concat(keccak256(bytes(typeString)), fields)), inputs[i], 32 * words, outputs[i]);
        }
    }

    /// @param offset where chain id, contract and private key begin in `row`
    function _signed(string memory family, uint256 i, bytes32 structHash, bytes memory row, uint256 offset, bytes memory output) private pure {
        uint256 chain;
        address verifier;
        uint256 key;
        assembly ("memory-safe") {
            let at := add(add(row, 32), offset)
            chain := mload(at)
            verifier := mload(add(at, 32))
            key := mload(add(at, 64))
        }
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", _separator(chain, verifier), structHash));
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        _eq(family, i, output, abi.encode(structHash, digest, bytes.concat(r, vs), vm.addr(key)));
        _eq(family, i, bytes32(uint256(uint160(vm.addr(key)))), bytes32(uint256(uint160(CompactSignature.recover(digest, r, vs)))));
    }

    function _separator(uint256 chain, address verifier) private pure returns (bytes32) {
        bytes32 domainType = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        return keccak256(abi.encode(domainType, keccak256("Collegium"), keccak256("1"), chain, verifier));
    }

    function test_messages() external view {
        _message(
            "Join",
            "Join(uint64 studyId,bytes32 planHash,address institution,address nodeKey,uint128 maxFine,bytes32 agreement,bool openUpdates,uint64 nonce,uint40 deadline)",
            9
        );
        _message("Update", "Update(uint64 studyId,uint32 round,bytes32 ctx,uint16 index,bytes32 commitment,uint32 weight,bytes32 ext)", 7);
        _message("Attest", "Attest(uint64 studyId,uint32 round,bytes32 ctx,uint128 bitmap,bytes32 setHash)", 5);
        _message("Endorse", "Endorse(uint64 studyId,uint32 round,bytes32 ctx,bytes32 proposal)", 4);
        _message("Suspend", "Suspend(address institution,bool suspended,uint64 nonce,uint40 deadline)", 4);
        _message("NodeKey", "NodeKey(address institution,address nodeKey,uint64 nonce,uint40 deadline)", 4);
        _message("AllowReferee", "AllowReferee(address referee,bool allowed,uint64 nonce,uint40 deadline)", 4);
        _message("RemoveMember", "RemoveMember(uint64 studyId,address institution,uint40 deadline)", 3);

        bytes32 admitType = keccak256("Admit(address institution,bytes32 profile,string name,uint64 nonce,uint40 deadline)");
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("messages", "Admit");
        for (uint256 i; i < inputs.length; ++i) {
            (address institution, bytes32 profile, string memory name, uint64 nonce, uint40 deadline,,,) =
                abi.decode(inputs[i], (address, bytes32, string, uint64, uint40, uint256, address, uint256));
            bytes32 structHash = keccak256(abi.encode(admitType, institution, profile, keccak256(bytes(name)), nonce, deadline));
            _signed("Admit", i, structHash, inputs[i], 160, outputs[i]);
        }

        (inputs, outputs) = _rows("messages", "domain");
        (uint256 chain, address verifier) = abi.decode(inputs[0], (uint256, address));
        _eq("domain", 0, outputs[0], abi.encode(_separator(chain, verifier)));
    }

    function test_refused_signatures_recover_nobody() external view {
        (bytes[] memory inputs,) = _rows("messages", "refused");
        for (uint256 i; i < inputs.length; ++i) {
            (bytes32 digest, bytes memory signature) = abi.decode(inputs[i], (bytes32, bytes));
            _eq("refused", i, bytes32(0), bytes32(uint256(uint160(this.recover(digest, signature)))));
        }
    }

    function recover(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return CompactSignature.recover(digest, signature);
    }

    // Batches

    function test_batches() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("batch", "commit");
        for (uint256 i; i < inputs.length; ++i) {
            (,,, uint16[] memory index, bytes32[] memory commitment, uint32[] memory weight, bytes32[] memory ext, bytes[] memory signature) =
                abi.decode(inputs[i], (uint64, uint32, bytes32, uint16[], bytes32[], uint32[], bytes32[], bytes[]));
            bytes memory packed;
            for (uint256 j; j < index.length; ++j) {
                packed = abi.encodePacked(packed, index[j], commitment[j], weight[j], ext[j], signature[j]);
            }
            _eq("commit", i, outputs[i], abi.encode(packed));
        }
        _revealBatches();
        (inputs, outputs) = _rows("batch", "attest");
        for (uint256 i; i < inputs.length; ++i) {
            (,,,, uint8[] memory index, uint128[] memory bitmap, bytes[] memory signature) =
                abi.decode(inputs[i], (uint64, uint32, bytes32, bytes32, uint8[], uint128[], bytes[]));
            bytes memory packed;
            for (uint256 j; j < index.length; ++j) packed = abi.encodePacked(packed, index[j], bitmap[j], signature[j]);
            _eq("attest", i, outputs[i], abi.encode(packed));
        }
        (inputs, outputs) = _rows("batch", "endorse");
        for (uint256 i; i < inputs.length; ++i) {
            (,,,, uint8[] memory index, bytes[] memory signature) =
                abi.decode(inputs[i], (uint64, uint32, bytes32, bytes32, uint8[], bytes[]));
            bytes memory packed;
            for (uint256 j; j < index.length; ++j) packed = abi.encodePacked(packed, index[j], signature[j]);
            _eq("endorse", i, outputs[i], abi.encode(packed));
        }
    }

    struct Reveals {
        uint16[] index;
        bytes32[] salt;
        bytes32[] root;
        bytes32[] contentDigest;
        uint32[] weight;
        uint16[] dpProfile;
        uint32[] baseRound;
        uint32[] localSteps;
        bytes32[] extras;
    }

    function _revealBatches() private view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("batch", "reveal");
        for (uint256 i; i < inputs.length; ++i) {
            // A tuple alone is the same bytes behind one offset.
            Reveals memory r = abi.decode(bytes.concat(bytes32(uint256(32)), inputs[i]), (Reveals));
            bytes memory packed;
            for (uint256 j; j < r.index.length; ++j) {
                packed = abi.encodePacked(packed, r.index[j], r.salt[j], r.root[j], r.contentDigest[j], r.weight[j]);
                packed = abi.encodePacked(packed, r.dpProfile[j], r.baseRound[j], r.localSteps[j], r.extras[j]);
            }
            _eq("reveal", i, outputs[i], abi.encode(packed));
        }
    }

    // Refutations

    /// @dev What a call to the referee reverted with, as the name of its error; empty when it did not.
    function _errorOf(bool ok, bytes memory result) private pure returns (string memory) {
        if (ok) return "";
        bytes4 selector = bytes4(result);
        if (selector == IReferee.EvidenceMalformed.selector) return "EvidenceMalformed";
        if (selector == IReferee.EvidenceOutOfRange.selector) return "EvidenceOutOfRange";
        if (selector == IReferee.EvidenceMismatch.selector) return "EvidenceMismatch";
        if (selector == IReferee.EvidenceShowsNoFault.selector) return "EvidenceShowsNoFault";
        return "unknown";
    }

    function test_mean_evidence() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "mean");
        for (uint256 i; i < inputs.length; ++i) {
            (, Format memory format, Proposal memory proposal, bytes memory evidence) = abi.decode(inputs[i], (Plan, Format, Proposal, bytes));
            (bool ok, bytes memory result) = address(REFEREE).staticcall(abi.encodeCall(IReferee.judgeMean, (format, proposal, evidence)));
            _verdict("mean", i, outputs[i], ok, result);
        }
    }

    function test_step_evidence() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "step");
        for (uint256 i; i < inputs.length; ++i) {
            (Plan memory plan, Format memory format, bytes32 modelRoot, Proposal memory proposal, bytes memory evidence) =
                abi.decode(inputs[i], (Plan, Format, bytes32, Proposal, bytes));
            (bool ok, bytes memory result) =
                address(REFEREE).staticcall(abi.encodeCall(IReferee.judgeStep, (plan, format, modelRoot, proposal, evidence)));
            _verdict("step", i, outputs[i], ok, result);
        }
    }

    function _verdict(string memory family, uint256 i, bytes memory output, bool ok, bytes memory result) private pure {
        uint256 coordinate;
        int256 claimed;
        int256 right;
        if (ok) (coordinate, claimed, right) = abi.decode(result, (uint256, int256, int256));
        _eq(family, i, output, abi.encode(_errorOf(ok, result), coordinate, claimed, right));
    }

    function test_tail_evidence() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "tail");
        for (uint256 i; i < inputs.length; ++i) {
            (Format memory format, Proposal memory proposal, bytes memory evidence) = abi.decode(inputs[i], (Format, Proposal, bytes));
            (bool ok, bytes memory result) = address(REFEREE).staticcall(abi.encodeCall(IReferee.judgeTail, (format, proposal, evidence)));
            _eq("tail", i, outputs[i], abi.encode(_errorOf(ok, result), ok ? abi.decode(result, (uint256)) : 0));
        }
    }

    function test_range_evidence() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "range");
        for (uint256 i; i < inputs.length; ++i) {
            (uint64 studyId, uint256 chain, address verifier, Format memory format, bytes memory evidence) =
                abi.decode(inputs[i], (uint64, uint256, address, Format, bytes));
            (bool ok, bytes memory result) = address(REFEREE).staticcall(
                abi.encodeCall(IReferee.judgeRange, (studyId, _separator(chain, verifier), format, evidence))
            );
            address signer;
            bytes32 ctx;
            uint16 index;
            uint256 coordinate;
            int256 claimed;
            if (ok) (signer, ctx, index, coordinate, claimed) = abi.decode(result, (address, bytes32, uint16, uint256, int256));
            _eq("range", i, outputs[i], abi.encode(_errorOf(ok, result), signer, ctx, index, coordinate, claimed));
        }
    }

    function test_equivocation_evidence() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "equivocation");
        for (uint256 i; i < inputs.length; ++i) {
            (uint64 studyId, uint256 chain, address verifier, bytes memory evidence) = abi.decode(inputs[i], (uint64, uint256, address, bytes));
            (bool ok, bytes memory result) =
                address(REFEREE).staticcall(abi.encodeCall(IReferee.judgeEquivocation, (studyId, _separator(chain, verifier), evidence)));
            address signer;
            bytes32 ctx;
            uint16 index;
            if (ok) (signer, ctx, index) = abi.decode(result, (address, bytes32, uint16));
            _eq("equivocation", i, outputs[i], abi.encode(_errorOf(ok, result), signer, ctx, index));
        }
    }

    function test_announcements() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "announcement");
        for (uint256 i; i < inputs.length; ++i) {
            (address sender, bytes memory evidence, bytes32 salt) = abi.decode(inputs[i], (address, bytes, bytes32));
            _eq("announcement", i, outputs[i], abi.encode(keccak256(abi.encode(sender, keccak256(evidence), salt))));
        }
    }

    function test_plans() external view {
        (bytes[] memory inputs, bytes[] memory outputs) = _rows("refutations", "plan");
        for (uint256 i; i < inputs.length; ++i) {
            (Plan memory plan, Format memory format) = abi.decode(inputs[i], (Plan, Format));
            uint256 reason;
            try REFEREE.checkPlan(plan, format) {}
            catch (bytes memory result) {
                if (bytes4(result) != IReferee.PlanNotJudgeable.selector) reason = type(uint256).max;
                else reason = uint256(bytes32(_tail(result)));
            }
            _eq("plan", i, outputs[i], abi.encode(reason));
        }
    }

    function _tail(bytes memory result) private pure returns (bytes memory tail) {
        tail = new bytes(result.length - 4);
        for (uint256 j; j < tail.length; ++j) tail[j] = result[j + 4];
    }
}
