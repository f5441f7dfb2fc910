"""Every refusal of the contracts has plain words."""

from __future__ import annotations

import string

import pytest
from eth_abi.abi import encode

from collegium.chain.abi import interface
from collegium.chain.deployment import CONTRACTS
from collegium.chain.errors import PLAIN_WORDS, explain, reverted
from collegium.chain.rpc import RpcError
from collegium.errors import InsufficientGasError, RevertedError, StudyUnknownError

ERRORS = {error.name: error for name in CONTRACTS for error in interface(name).errors.values()}
SAMPLES = {"address": "0x" + "11" * 20, "bytes32": b"\x22" * 32, "string": "text"}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_custom_error_is_put_in_plain_words(name: str) -> None:
    error = ERRORS[name]
    types = [each.type for each in error.inputs]
    values = [SAMPLES.get(kind, 1) for kind in types]
    explained = reverted(error.selector + encode(types, values))
    assert explained.error == name
    assert list(explained.fields) == [each.name for each in error.inputs]
    assert explained.exit_code == 7
    message, hint = PLAIN_WORDS[name]
    used = {field for _, field, _, _ in string.Formatter().parse(message + hint) if field}
    assert used <= set(explained.fields)
    assert "{" not in str(explained)


def test_no_words_are_kept_for_errors_that_are_gone() -> None:
    assert set(PLAIN_WORDS) - {"Error", "Panic"} == set(ERRORS)


def test_phase_and_time_are_readable() -> None:
    error = ERRORS["RoundWrongPhase"]
    explained = reverted(error.selector + encode(["uint64", "uint8", "uint8"], [1, 2, 3]))
    assert "phase reveal, and this needs certify" in str(explained)
    error = ERRORS["BondsStillUnbonding"]
    explained = reverted(error.selector + encode(["address", "uint40"], ["0x" + "11" * 20, 1_700_000_000]))
    assert "2023-11-14 22:13:20 UTC" in str(explained)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes.fromhex("08c379a0") + encode(["string"], ["too bad"]), "too bad"),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [0x11]), "arithmetic overflowed"),
        (b"", "without a reason"),
        (None, "without a reason"),
        (bytes.fromhex("deadbeef"), "without a reason"),
        (ERRORS["StudyUnknown"].selector + b"\x01", "without a reason"),
    ],
)
def test_other_reverts_are_told(data: bytes | None, words: str) -> None:
    assert words in str(reverted(data))


def test_node_errors_are_explained() -> None:
    lacking = RpcError("", reason="insufficient funds for gas * price + value", data=None, rpc_code=-32000)
    assert isinstance(explain(lacking), InsufficientGasError)
    refused = RpcError("", reason="execution reverted", data=ERRORS["StudyUnknown"].selector + bytes(32), rpc_code=3)
    explained = explain(refused)
    assert isinstance(explained, RevertedError)
    assert explained.error == "StudyUnknown"
    ours = StudyUnknownError("gone")
    assert explain(ours) is ours
