// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

// Domain tags of every hash of the protocol (docs/protocol.md, "Hashes"). A tag is the first word of what is hashed.

bytes32 constant TAG_PLAN = keccak256("collegium/1/plan");
bytes32 constant TAG_FORMAT = keccak256("collegium/1/format");
bytes32 constant TAG_ROSTER = keccak256("collegium/1/roster");
bytes32 constant TAG_COHORT = keccak256("collegium/1/cohort");
bytes32 constant TAG_CTX = keccak256("collegium/1/ctx");
bytes32 constant TAG_SEAL = keccak256("collegium/1/seal");
bytes32 constant TAG_UPDATE = keccak256("collegium/1/update");
bytes32 constant TAG_EXT = keccak256("collegium/1/ext");
bytes32 constant TAG_ITEM = keccak256("collegium/1/item");
bytes32 constant TAG_SET = keccak256("collegium/1/set");
bytes32 constant TAG_PROPOSAL = keccak256("collegium/1/proposal");
bytes32 constant TAG_OUTCOME = keccak256("collegium/1/outcome");
bytes32 constant TAG_RECORD = keccak256("collegium/1/record");
bytes32 constant TAG_STATE = keccak256("collegium/1/state");
bytes32 constant TAG_VOTE = keccak256("collegium/1/vote");
