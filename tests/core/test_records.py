"""Records hold only what a contract can hold, hashes depend on every field, and errors tell what to do."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from collegium import commitment, errors
from collegium.fields import camel_case
from collegium.records import (
    ZERO32,
    Format,
    Outcome,
    Plan,
    Proposal,
    RecordProof,
    Section,
    bitmap_of,
    bits,
    checksum_address,
)
from tests.core.test_messages import digests, records_of

outcomes = st.builds(
    Outcome,
    *[st.integers(0, 2**128 - 1)] * 3,
    st.lists(digests, max_size=3).map(tuple),
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**40 - 1),
)
formats = st.builds(Format, st.lists(records_of(Section), max_size=3).map(tuple), digests)


class TestRecords:
    @pytest.mark.parametrize("kind", [Plan, Proposal, Section])
    @given(data=st.data())
    def test_words_are_abi_encode(self, kind: Any, data: st.DataObject) -> None:
        record = data.draw(records_of(kind))
        assert record.words() == encode([kind.abi_type()], [record.to_abi()])
        assert kind.from_abi(record.to_abi()) == record

    @given(fmt=formats, outcome=outcomes)
    def test_nested_records_come_back_from_tuples_and_mappings(self, fmt: Format, outcome: Outcome) -> None:
        assert Format.from_abi(fmt.to_abi()) == fmt
        proof = RecordProof(1, ZERO32, ZERO32, ZERO32, ZERO32, ZERO32, outcome)
        assert RecordProof.from_abi(proof.to_abi()) == proof
        named = {camel_case(f.name): getattr(proof, f.name) for f in fields(proof)}
        assert RecordProof.from_abi({**named, "outcome": outcome.to_abi()}) == proof

    @pytest.mark.parametrize(
        ("field", "value"),
        [("count", -1), ("count", 2**64), ("exponent", 256), ("weighted", 2), ("count", "1"), ("bound", True)],
    )
    def test_value_that_does_not_fit_is_refused(self, field: str, value: Any) -> None:
        with pytest.raises(errors.RecordError):
            Section(**{**dict(zip(Section.field_types(), (1, 0, 1, 16, 1, True), strict=True)), field: value})

    @pytest.mark.parametrize("bad", ["0x12", "", "hello", b"1" * 19, "0x" + "zz" * 20])
    def test_broken_address_is_refused(self, bad: Any) -> None:
        with pytest.raises(errors.RecordError):
            checksum_address(bad)

    def test_checksum_is_eip_55(self) -> None:
        for address in ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb"):
            assert checksum_address(address.lower()) == checksum_address(bytes.fromhex(address[2:])) == address

    @given(indices=st.sets(st.integers(0, 127)))
    def test_bitmap_lists_its_seats(self, indices: set[int]) -> None:
        assert bits(bitmap_of(sorted(indices))) == sorted(indices)


class TestHashes:
    @pytest.mark.parametrize(
        ("kind", "compute"),
        [(Plan, commitment.compute_plan_hash), (Proposal, commitment.compute_proposal_hash)],
    )
    @given(data=st.data())
    def test_every_field_changes_the_hash(self, kind: Any, compute: Any, data: st.DataObject) -> None:
        record, other = data.draw(records_of(kind)), data.draw(records_of(kind))
        for name in kind.field_types():
            changed = replace(record, **{name: getattr(other, name)})
            assert (compute(changed) == compute(record)) == (changed == record)

    @given(item=digests, weight=st.integers(0, 2**32 - 1))
    def test_slot_ends_in_the_weight(self, item: bytes, weight: int) -> None:
        slot = commitment.compute_slot(item, weight)
        assert slot[:28] == item[:28] and int.from_bytes(slot[28:], "big") == weight

    def test_seat_beyond_the_bitmap_has_no_commitment(self) -> None:
        with pytest.raises(errors.RecordError):
            commitment.compute_commitment(bytes(32), 128, bytes(32), bytes(32))

    @given(secret=st.binary(min_size=16), ctx=digests, other=digests)
    def test_salt_depends_on_secret_and_ctx_alone(self, secret: bytes, ctx: bytes, other: bytes) -> None:
        salt = commitment.derive_salt(secret, ctx)
        assert salt == commitment.derive_salt(secret, ctx) != commitment.derive_salt(secret + b"\1", ctx)
        assert (salt == commitment.derive_salt(secret, other)) == (ctx == other)


def all_errors(kind: type[errors.CollegiumError] = errors.CollegiumError) -> list[type[errors.CollegiumError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_errors(child))]


class TestErrors:
    def test_codes_are_unique_and_exit_codes_known(self) -> None:
        kinds = [kind for kind in all_errors() if kind.__module__ == "collegium.errors"]
        assert len({kind.code for kind in kinds}) == len(kinds)
        assert {kind.exit_code for kind in kinds} <= {1, 2, 3, 4, 5, 6, 7, 8, 130}

    def test_evidence_is_kept_and_survives_pickling(self) -> None:
        error = errors.RootMismatchError("The roots differ.", hint="Fetch again.", expected=b"\1", actual=2)
        for one in (error, pickle.loads(pickle.dumps(error))):
            assert (one.expected, one.actual, str(one)) == (b"\1", 2, "The roots differ. Fetch again.")
            assert one.to_json()["evidence"] == {"expected": "0x01", "actual": 2}
        with pytest.raises(AttributeError):
            _ = error.missing

    def test_core_imports_neither_torch_nor_web3(self) -> None:
        code = (
            "import sys, collegium.verification, collegium.messages, collegium.phases, collegium.encoding;"
            "sys.exit(any(n in sys.modules for n in ('torch', 'web3', 'eth_account', 'requests')))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
