"""Decoders of foreign bytes: they give a value or one of our errors, whatever comes."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st

from collegium import evidence, messages
from collegium.annex import Terms
from collegium.audit.transactions import read_transaction
from collegium.chain.abi import decode_revert, interface
from collegium.encoding import parse_blob, parse_header
from collegium.errors import CollegiumError
from collegium.records import Proposal
from collegium.retention import read_days
from collegium.storage.archive import CarStore
from collegium.storage.car import CarReader
from collegium.storage.cid import DAG_PB, Cid, cid_of, parse_cid
from collegium.storage.request import read_put_request
from collegium.storage.unixfs import file_size_of, read_blob
from collegium.verification import check_update
from tests.fuzz import samples
from tests.fuzz.mutations import FUZZ, SLOW_FUZZ, mutated, mutated_text, never_crashes
from tests.fuzz.samples import CTX, DOMAIN, FORMAT


class TestBlobs:
    @FUZZ
    @given(mutated(samples.BLOB))
    def test_blob(self, data: bytes) -> None:
        never_crashes(lambda: parse_header(data, len(data)))
        blob = never_crashes(lambda: parse_blob(data, format_id=samples.TABLE.format_id))
        if blob is not None:
            never_crashes(lambda: check_update(blob.payload, FORMAT))

    @FUZZ
    @given(mutated_text(samples.RAW_CID.text, cid_of(samples.LARGE).text))
    def test_cid_text(self, text: str) -> None:
        cid = never_crashes(lambda: parse_cid(text))
        # What is accepted has one form only.
        assert cid is None or cid.text == text

    @FUZZ
    @given(mutated(samples.RAW_CID.to_bytes()))
    def test_cid_bytes(self, data: bytes) -> None:
        cid = never_crashes(lambda: Cid.from_bytes(data))
        assert cid is None or cid.to_bytes() == data

    @FUZZ
    @given(mutated(samples.NODE))
    def test_unixfs_node(self, block: bytes) -> None:
        cid = Cid(hashlib.sha256(block).digest(), DAG_PB)
        blocks = {**samples.LARGE_BLOCKS, cid.digest: block}
        never_crashes(lambda: file_size_of(block, cid))

        def source(asked: Cid, limit: int, /) -> bytes:
            return blocks.get(asked.digest, b"")

        never_crashes(lambda: sum(len(each) for each in read_blob(cid, source, max_bytes=8 << 20)))

    @FUZZ
    @given(mutated(samples.CAR))
    def test_car(self, data: bytes) -> None:
        def read() -> None:
            for block in CarReader(io.BytesIO(data)):
                assert hashlib.sha256(block.data).digest() == block.cid.digest

        never_crashes(read)

    @SLOW_FUZZ
    @given(mutated(samples.CAR))
    def test_car_as_a_store(self, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.car"
            path.write_bytes(data)
            never_crashes(lambda: CarStore(path).check())


class TestMessages:
    @FUZZ
    @given(mutated((samples.COMMITS, samples.REVEALS, samples.ATTESTATIONS, samples.ENDORSEMENTS)))
    def test_packed_items(self, data: bytes) -> None:
        never_crashes(lambda: messages.unpack_commits(data, study_id=1, round=2, ctx=CTX))
        never_crashes(lambda: messages.unpack_reveals(data))
        never_crashes(lambda: messages.unpack_attestations(data, study_id=1, round=2, ctx=CTX, set_hash=CTX))
        never_crashes(lambda: messages.unpack_endorsements(data, study_id=1, round=2, ctx=CTX, proposal=CTX))

    @SLOW_FUZZ
    @given(mutated(samples.SIGNED.signature))
    def test_signature(self, signature: bytes) -> None:
        never_crashes(lambda: messages.recover(CTX, signature))

    @FUZZ
    @given(
        st.dictionaries(
            st.sampled_from(["x-collegium-key", "x-collegium-time", "x-collegium-study", "x-collegium-signature"]),
            st.one_of(
                st.text(max_size=140), st.just("0x" + "11" * 20), st.just("12"), st.just("11" * 64),
                st.sampled_from(["1" * 5000, "-1", "١٢", "1e9", "0x" + "ff" * 64]),
            ),
        )
    )  # fmt: skip
    def test_headers_of_a_write(self, headers: dict[str, str]) -> None:
        never_crashes(lambda: read_put_request(headers, samples.RAW_CID, chain_id=31337, now=12.0))


def proposal() -> Proposal:
    return Proposal(
        CTX, DOMAIN.contract, 1, CTX, 3, 0, 10, samples.TREE.root, samples.TREE.root, bytes(32), CTX, CTX, bytes(32),
        bytes(32),
    )  # fmt: skip


class TestEvidence:
    OPENING = samples.TREE.open(1)
    VALID = (
        evidence.build_step_evidence(1, 3, OPENING, OPENING, OPENING),
        evidence.build_tail_evidence(0, 1, OPENING),
        evidence.build_range_evidence(samples.SIGNED, b"\1" * 32, 1, OPENING),
        evidence.build_equivocation_evidence(samples.SIGNED, samples.SIGNED),
    )

    @SLOW_FUZZ
    @given(mutated(VALID))
    def test_evidence(self, data: bytes) -> None:
        never_crashes(lambda: evidence.judge_mean(FORMAT, proposal(), data))
        never_crashes(lambda: evidence.judge_step(samples.PLAN, FORMAT, samples.TREE.root, proposal(), data))
        never_crashes(lambda: evidence.judge_tail(FORMAT, proposal(), data))
        never_crashes(lambda: evidence.judge_range(1, DOMAIN, FORMAT, data))
        never_crashes(lambda: evidence.judge_equivocation(1, DOMAIN, data))


def calldata() -> tuple[bytes, ...]:
    collegium = interface("Collegium")
    return (
        collegium.function("commitUpdates").encode([1, samples.COMMITS]),
        collegium.function("createStudy").encode([samples.PLAN, FORMAT]),
    )


class TestChain:
    @FUZZ
    @given(mutated(calldata()))
    def test_calldata(self, data: bytes) -> None:
        for function in interface("Collegium").functions.values():
            if function.selector == data[:4]:
                never_crashes(lambda function=function: function.decode_input(data))
                never_crashes(lambda function=function: function.decode_output(data[4:]))
        never_crashes(lambda: decode_revert(data))

    @FUZZ
    @given(st.lists(st.binary(min_size=32, max_size=32), max_size=5), mutated(bytes(320)), st.data())
    def test_logs(self, topics: list[bytes], body: bytes, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(interface("Collegium").by_topic.values(), key=lambda each: each.name)))
        never_crashes(lambda: event.decode([event.topic, *topics], body))

    @FUZZ
    @given(mutated((bytes.fromhex("02c0"), bytes.fromhex("f86480843b9aca0082520894") + b"\x44" * 20 + bytes(70))))
    def test_transaction(self, raw: bytes) -> None:
        found = never_crashes(lambda: read_transaction(raw, 1, 1), (CollegiumError, ValueError))
        if found is not None:
            never_crashes(lambda: found.sender)


class TestPlans:
    @FUZZ
    @given(mutated(json.dumps(samples.PUBLISHED).encode()))
    def test_published_plan(self, data: bytes) -> None:
        from collegium_client.plan import PublishedPlan

        never_crashes(lambda: PublishedPlan.parse(data, plan=samples.PLAN, format=FORMAT))
        never_crashes(lambda: Terms.read(samples.PLAN, data))
        assert read_days(data) is None or read_days(data)

    @FUZZ
    @given(mutated_text("file:///tmp/x", "http://127.0.0.1:8000", "kubo://user:pw@127.0.0.1:5001"))
    def test_store_address(self, text: str) -> None:
        from collegium.storage import open_store

        if text.startswith(("file", "car")):
            # A folder of that name would be made.
            return
        never_crashes(lambda: open_store(text))

    @FUZZ
    @given(mutated_text("12.5", "1_000", "0.000000000000000001", "1e18", "NaN", "Infinity", "1E999999999"))
    def test_amount_of_tokens(self, text: str) -> None:
        from collegium.amounts import format_tokens, parse_tokens

        units = never_crashes(lambda: parse_tokens(text))
        assert units is None or parse_tokens(format_tokens(units)) == units

    @SLOW_FUZZ
    @given(st.data())
    def test_safetensors(self, data: st.DataObject) -> None:
        safetensors = pytest.importorskip("safetensors")
        from safetensors.numpy import load, save

        valid = save({"w": np.zeros((3, 4), dtype=np.float32)})
        changed = data.draw(mutated(valid))
        refused = (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError)
        never_crashes(lambda: load(changed), refused)


def test_eth_abi_errors_are_ours() -> None:
    """The library's own error is no ValueError, so nothing but a wrapper catches it by accident."""
    assert not issubclass(DecodingError, (ValueError, CollegiumError))
    value: Any = never_crashes(lambda: interface("Collegium").function("modelOf").decode_output(b"\xff" * 3))
    assert value is None
