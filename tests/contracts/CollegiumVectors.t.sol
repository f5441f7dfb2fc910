// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase} from "../../contracts/interfaces/Types.sol";
import {Clock, RoundClock, Rules, Tally} from "../../contracts/libraries/RoundClock.sol";
import {Cid} from "../../contracts/libraries/Cid.sol";
import {UpdateSet} from "../../contracts/libraries/UpdateSet.sol";
import {Code} from "../../contracts/libraries/Code.sol";
import {Signatures} from "../../contracts/libraries/Signatures.sol";
import {cheats} from "./support/Cheats.sol";

interface JsonCheats {
    function parseJsonBytesArray(string calldata json, string calldata key) external pure returns (bytes[] memory);
}

/// @notice Hands the libraries what they take from calldata, or little gas.
contract LibraryCaller {
    function write(bytes calldata data) external returns (address) {
        return Code.write(data);
    }

    function recover(bytes32 ctx, bytes calldata signature) external view returns (address) {
        uint256 at;
        assembly ("memory-safe") {
            at := signature.offset
        }
        return Signatures.recover(Signatures.prepare(0, Signatures.ENDORSE, 1, 2, ctx), 4, at);
    }
}

/// @notice The pure parts of Collegium against the vectors that Python runs too, and against plain Solidity.
contract CollegiumVectorsTest {
    error VectorDiffers(uint256 number, bytes actual, bytes expected);
    error CheckFailed(string what, uint256 actual, uint256 expected);

    function test_catch_up_gives_what_the_vectors_say() public view {
        string memory json = cheats.readFile("tests/vectors/catch_up.json");
        JsonCheats parser = JsonCheats(address(cheats));
        bytes[] memory inputs = parser.parseJsonBytesArray(json, ".catchUp.in");
        bytes[] memory outputs = parser.parseJsonBytesArray(json, ".catchUp.out");
        if (inputs.length == 0 || inputs.length != outputs.length) revert CheckFailed("vectors", inputs.length, outputs.length);
        for (uint256 i; i < inputs.length; ++i) {
            (Clock memory clock, Rules memory rules, Tally memory tally, uint256 time) = abi.decode(inputs[i], (Clock, Rules, Tally, uint256));
            clock = RoundClock.catchUp(clock, rules, tally, time);
            bytes memory actual = abi.encode(clock, uint40(RoundClock.deadlineOf(clock, rules)));
            if (keccak256(actual) != keccak256(outputs[i])) revert VectorDiffers(i, actual, outputs[i]);
        }
    }

    /// @dev Time in two steps is time in one.
    function testFuzz_catching_up_twice_is_catching_up_once(
        uint256 seed,
        Rules memory rules,
        Tally memory tally,
        uint32 first,
        uint32 second
    ) public pure {
        rules.orderSize = rules.orderSize % 16 + 1;
        Clock memory clock = Clock(
            Phase(seed % 8), uint32(seed >> 8), uint8(seed >> 40) % 3, uint8(seed >> 48) % rules.orderSize, uint16(seed >> 56), uint16(seed >> 72)
        );
        uint256 middle = uint256(clock.mark) + first;
        bytes memory once = abi.encode(RoundClock.catchUp(copy(clock), rules, tally, middle + second));
        bytes memory twice = abi.encode(RoundClock.catchUp(RoundClock.catchUp(copy(clock), rules, tally, middle), rules, tally, middle + second));
        if (keccak256(once) != keccak256(twice)) revert VectorDiffers(0, once, twice);
    }

    function copy(Clock memory c) private pure returns (Clock memory) {
        return Clock(c.phase, c.mark, c.attempt, c.position, c.excluded, c.failedDuties);
    }

    function testFuzz_cid_text_is_base32_of_version_codec_and_digest(bytes32 digest, bool dag) public pure {
        bytes memory data = abi.encodePacked(hex"01", dag ? bytes1(0x70) : bytes1(0x55), hex"1220", digest);
        bytes memory alphabet = "abcdefghijklmnopqrstuvwxyz234567";
        bytes memory expected = new bytes(59);
        expected[0] = "b";
        for (uint256 i; i < 58; ++i) {
            uint256 group;
            for (uint256 b = 5 * i; b < 5 * i + 5; ++b) group = group * 2 + (b < 288 ? (uint8(data[b / 8]) >> (7 - b % 8)) & 1 : 0);
            expected[i + 1] = alphabet[group];
        }
        bytes memory actual = bytes(Cid.toText(digest, dag));
        if (keccak256(actual) != keccak256(expected)) revert VectorDiffers(0, actual, expected);
    }

    function testFuzz_size_counts_bits(uint128 set) public pure {
        uint256 expected;
        for (uint256 i; i < 128; ++i) expected += (set >> i) & 1;
        if (UpdateSet.size(set) != expected) revert CheckFailed("size", UpdateSet.size(set), expected);
    }

    function testFuzz_counters_reach_exactly_the_quorum(uint128[] memory sets, uint256 quorum) public pure {
        quorum = quorum % 128 + 1;
        uint256 length = sets.length < 128 ? sets.length : 128;
        uint256 counters = UpdateSet.newCounters(quorum);
        uint256 reached;
        uint256[128] memory counts;
        for (uint256 i; i < length; ++i) {
            reached |= UpdateSet.addTo(counters, sets[i]);
            for (uint256 b; b < 128; ++b) counts[b] += (sets[i] >> b) & 1;
        }
        for (uint256 b; b < 128; ++b) {
            if ((reached >> b) & 1 != (counts[b] >= quorum ? 1 : 0)) revert CheckFailed("counter", counts[b], quorum);
        }
    }

    function test_counters_of_a_full_house() public pure {
        for (uint256 quorum = 1; quorum <= 128; ++quorum) {
            uint256 counters = UpdateSet.newCounters(quorum);
            uint256 reached;
            for (uint256 i = 1; i <= 128; ++i) {
                reached |= UpdateSet.addTo(counters, 1 << 127 | 1);
                if (reached != (i >= quorum ? 1 << 127 | 1 : 0)) revert CheckFailed("full house", i, quorum);
            }
        }
    }

    function testFuzz_code_keeps_bytes(bytes memory data) public {
        address account = Code.write(data);
        if (keccak256(Code.read(account)) != keccak256(data)) revert VectorDiffers(0, Code.read(account), data);
        if (account.code.length != data.length + 1 || account.code[0] != 0) revert CheckFailed("code", account.code.length, data.length + 1);
        if (data.length >= 64) {
            uint256 second;
            assembly ("memory-safe") {
                second := mload(add(data, 64))
            }
            if (Code.word(account, 1) != second) revert CheckFailed("word", Code.word(account, 1), second);
        }
    }

    /// @dev The account's code costs more gas than there is: said so, rather than an address without code.
    function test_code_that_cannot_be_paid_for_is_told() public {
        LibraryCaller caller = new LibraryCaller();
        bytes memory data = new bytes(20_000);
        cheats.expectRevert(Code.CodeWriteFailed.selector);
        caller.write{gas: 3_000_000}(data);
    }

    /// @dev Every s from half the order on is one that some other signature of the same message has; whoever it names.
    function testFuzz_a_high_s_recovers_nobody(uint256 key, bytes32 ctx, uint256 above) public {
        uint256 half = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
        key = key % (half - 1) + 1;
        LibraryCaller caller = new LibraryCaller();
        bytes32 digest = Signatures.toDigest(0, keccak256(abi.encode(Signatures.ENDORSE, uint256(1), uint256(2), ctx)));
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(key, digest);
        uint256 parity = uint256(v - 27) << 255;
        address signer = caller.recover(ctx, abi.encodePacked(r, uint256(s) | parity));
        if (signer != cheats.addr(key)) revert CheckFailed("signer", uint160(signer), uint160(cheats.addr(key)));
        // As high as the 255 bits of a compact signature go.
        above = half + 1 + above % ((1 << 255) - 1 - half);
        signer = caller.recover(ctx, abi.encodePacked(r, above | parity));
        if (signer != address(0)) revert CheckFailed("a high s", uint160(signer), 0);
        signer = caller.recover(ctx, abi.encodePacked(r, half | parity));
        if (signer == address(0)) revert CheckFailed("the highest low s", 0, 1);
    }
}
