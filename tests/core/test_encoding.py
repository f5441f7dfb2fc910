"""Floats to fixed point and back, and blobs that survive nothing but their own bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import encoding, errors
from collegium.encoding import BlobKind, FormatTable

finite = st.floats(allow_nan=False, allow_infinity=False)
exponents = st.integers(0, 30)
bounds = st.integers(1, 2**31 - 1)
digests = st.binary(min_size=32, max_size=32)


def table_of(count: int, exponent: int = 16, bound: int = 2**23) -> FormatTable:
    return FormatTable([("x", (count,))], exponent, bound)


class TestEncode:
    @given(values=st.lists(finite, min_size=1, max_size=70), exponent=exponents, bound=bounds)
    def test_element_is_rounded_half_even_and_clamped(self, values: list[float], exponent: int, bound: int) -> None:
        table = table_of(len(values), exponent, bound)
        elements = encoding.encode_update({"x": np.array(values)}, table)
        assert elements.dtype == np.dtype("<i4") and elements.size == table.elements
        for value, element in zip(values, elements, strict=False):
            exact = value * 2.0**exponent
            right = round(exact) if math.isfinite(exact) else (bound if exact > 0 else -bound)
            assert element == max(-bound, min(bound, right))
        assert not elements[len(values) :].any()

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_nan_and_infinity_are_refused(self, bad: float) -> None:
        with pytest.raises(errors.NonFiniteError) as caught:
            encoding.encode_update({"x": [1.0, bad]}, table_of(2))
        assert caught.value.tensor == "x" and caught.value.exit_code == 3

    def test_wrong_shape_is_refused(self) -> None:
        with pytest.raises(errors.ShapeError):
            encoding.encode_update({"x": np.zeros((2, 1))}, table_of(2))

    def test_other_tensors_are_refused(self) -> None:
        with pytest.raises(errors.TensorNamesError) as caught:
            encoding.encode_update({"y": np.zeros(2)}, table_of(2))
        assert caught.value.missing == ["x"] and caught.value.extra == ["y"]

    @given(values=st.lists(finite, min_size=1, max_size=300), limit=st.floats(1e-3, 1e3))
    def test_clipped_delta_has_at_most_the_clip_norm(self, values: list[float], limit: float) -> None:
        table = table_of(len(values), 16, 2**31 - 1)
        elements = encoding.encode_update({"x": values}, table, clip_norm=limit)
        norm = math.hypot(*(elements * 2.0**-16))
        assert norm <= limit + math.sqrt(len(values)) * 2.0**-16

    @given(values=st.lists(finite, min_size=1, max_size=300))
    def test_norm_is_the_euclidean_norm(self, values: list[float]) -> None:
        right = math.hypot(*values)
        if math.isfinite(right):
            assert encoding.compute_norm(np.array(values)) == pytest.approx(right, rel=1e-12, abs=1e-250)

    @given(elements=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=70), exponent=exponents)
    def test_export_is_the_nearest_float32(self, elements: list[int], exponent: int) -> None:
        table = table_of(len(elements), exponent)
        padded = np.zeros(table.elements, dtype="<i4")
        padded[: len(elements)] = elements
        for element, shown in zip(elements, encoding.export_model(padded, table)["x"], strict=True):
            assert shown == np.float32(element * 2.0**-exponent)

    @given(elements=st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=70))
    def test_exported_model_encodes_to_itself(self, elements: list[int]) -> None:
        table = table_of(len(elements))
        padded = np.zeros(table.elements, dtype="<i4")
        padded[: len(elements)] = elements
        assert (encoding.encode_model(encoding.export_model(padded, table), table) == padded).all()

    def test_delta_is_taken_in_float64(self) -> None:
        base = {"x": np.array([1.0], dtype=np.float32)}
        delta = encoding.compute_delta({"x": np.array([1.0 + 2**-23], dtype=np.float32)}, base)
        assert delta["x"].dtype == np.float64 and delta["x"][0] == 2.0**-23


class TestFormatTable:
    def test_json_is_canonical_and_comes_back(self) -> None:
        table = FormatTable([("b", (2, 3)), ("a\n", ())], 16, 9)
        text = table.canonical_json()
        assert text == b'[{"name":"b","section":0,"shape":[2,3]},{"name":"a\\n","section":0,"shape":[]}]'
        assert FormatTable.from_json(text, exponent=16, bound=9) == table
        with pytest.raises(errors.TableError):
            FormatTable.from_json(json.dumps(json.loads(text)), exponent=16, bound=9)

    @pytest.mark.parametrize(
        ("tensors", "exponent", "bound"),
        [
            ([], 1, 1),
            ([("a", (1,)), ("a", (1,))], 1, 1),
            ([("a", (0,))], 1, 1),
            ([("a", (1,))], 63, 1),
            ([("a", (1,))], 1, 0),
            ([("a", (1,))], 1, 2**31),
        ],
    )
    def test_impossible_table_is_refused(self, tensors: Any, exponent: int, bound: int) -> None:
        with pytest.raises(errors.TableError):
            FormatTable(tensors, exponent, bound)

    @given(count=st.integers(1, 1000))
    def test_section_is_padded_to_whole_chunks(self, count: int) -> None:
        fmt = table_of(count).format
        assert fmt.elements % 64 == 0 and 0 <= fmt.elements - count < 64
        assert fmt.payload_bytes == 4 * fmt.elements


CTX, FORMAT, SALT = b"c" * 32, b"f" * 32, b"s" * 32
EXPECTED = {"kind": BlobKind.UPDATE, "format_id": FORMAT, "ctx": CTX, "index": 5, "salt": SALT, "payload_bytes": 512}


def update_blob() -> bytes:
    return encoding.pack_blob(BlobKind.UPDATE, bytes(range(256)) * 2, format_id=FORMAT, ctx=CTX, index=5, salt=SALT)


class TestBlob:
    @given(elements=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=64, max_size=64), ctx=digests)
    def test_payload_comes_back(self, elements: list[int], ctx: bytes) -> None:
        payload = np.array(elements, dtype="<i4")
        blob = encoding.pack_blob(BlobKind.MEAN, payload, format_id=FORMAT, ctx=ctx)
        parsed = encoding.parse_blob(blob, kind=BlobKind.MEAN, format_id=FORMAT, ctx=ctx)
        assert (parsed.elements == payload).all() and len(blob) == 512

    @pytest.mark.parametrize(
        ("offset", "value", "error"),
        [
            (0, b"X", errors.BlobMagicError),
            (8, b"\2", errors.BlobVersionError),
            (10, b"\0", errors.BlobKindError),
            (10, b"\5", errors.BlobKindError),
            (10, b"\3", errors.BlobIndexError),
            (12, b"X", errors.BlobFormatError),
            (44, b"X", errors.BlobContextError),
            (76, b"\6", errors.BlobIndexError),
            (76, b"\x80", errors.BlobIndexError),
            (78, b"X", errors.BlobSaltError),
            (110, b"\1", errors.BlobTruncatedError),
            (111, b"\1", errors.BlobOversizedError),
            (118, b"\1", errors.BlobReservedError),
            (255, b"\1", errors.BlobReservedError),
        ],
    )
    def test_changed_header_byte_has_its_own_error(
        self, offset: int, value: bytes, error: type[errors.BlobError]
    ) -> None:
        blob = bytearray(update_blob())
        blob[offset : offset + 1] = value
        with pytest.raises(error) as caught:
            encoding.parse_blob(blob, **EXPECTED)  # type: ignore[arg-type]
        assert type(caught.value) is error and caught.value.exit_code == 4

    @given(cut=st.integers(0, 767))
    def test_truncated_blob_is_refused(self, cut: int) -> None:
        with pytest.raises(errors.BlobTruncatedError):
            encoding.parse_blob(update_blob()[:cut], **EXPECTED)  # type: ignore[arg-type]

    @given(more=st.binary(min_size=1, max_size=600))
    def test_oversized_blob_is_refused(self, more: bytes) -> None:
        with pytest.raises(errors.BlobOversizedError):
            encoding.parse_blob(update_blob() + more, **EXPECTED)  # type: ignore[arg-type]

    def test_other_payload_length_is_refused(self) -> None:
        with pytest.raises(errors.BlobPayloadError):
            encoding.parse_blob(update_blob(), payload_bytes=256)
        with pytest.raises(errors.BlobPayloadError):
            encoding.pack_blob(BlobKind.MODEL, b"x" * 255, format_id=FORMAT)

    @given(garbage=st.binary(max_size=600))
    def test_garbage_is_refused_and_never_crashes(self, garbage: bytes) -> None:
        with pytest.raises(errors.BlobError):
            encoding.parse_blob(garbage)

    def test_mapped_file_has_the_same_elements(self, tmp_path: Path) -> None:
        path = tmp_path / "blob"
        path.write_bytes(update_blob())
        mapped = encoding.map_elements(path, **EXPECTED)
        assert (mapped == encoding.parse_blob(update_blob()).elements).all()
        path.write_bytes(update_blob()[:-1])
        with pytest.raises(errors.BlobTruncatedError):
            encoding.map_elements(path, **EXPECTED)
