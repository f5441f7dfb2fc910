"""CIDs: the published vectors, and a parser that takes only what the profile can produce."""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.errors import CidError, CidUnsupportedError, CollegiumError
from collegium.storage.cid import CHUNK_BYTES, DAG_PB, RAW, Cid, cid_from_digest, cid_of, parse_cid

from .actors import MIB, keystream

HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


def multibase(data: bytes) -> str:
    return "b" + base64.b32encode(data).decode().lower().rstrip("=")


class TestVectors:
    """IPIP-499, profile unixfs-v1-2025."""

    def test_hello_world(self) -> None:
        assert cid_of(b"hello world").text == HELLO

    def test_empty_file(self) -> None:
        assert cid_of(b"").text == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

    @pytest.mark.parametrize(
        ("length", "expected"),
        [
            (MIB, "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
            (MIB + 1, "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
        ],
    )
    def test_one_chunk_and_one_more_byte(self, length: int, expected: str) -> None:
        assert cid_of(keystream("chunk-v1-seed", length)).text == expected

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("length", "expected"),
        [
            (1024 * MIB, "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"),
            (1024 * MIB + 1, "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe"),
        ],
    )
    def test_one_full_node_and_one_more_byte(self, length: int, expected: str) -> None:
        assert cid_of(keystream("v1-2025-seed", length)).text == expected


class TestComputing:
    @given(
        size=st.sampled_from([0, 1, 255, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 7]),
        cuts=st.lists(st.integers(0, 2 * MIB + 7), max_size=6),
    )
    def test_pieces_of_any_size_give_the_same_cid(self, size: int, cuts: list[int]) -> None:
        data = (b"collegium " * (size // 10 + 1))[:size]
        edges = sorted({0, size, *(min(cut, size) for cut in cuts)})
        pieces = [data[start:end] for start, end in pairwise(edges)]
        assert cid_of(pieces) == cid_of(data) == cid_of(memoryview(data))

    def test_file_and_bytes_agree(self, tmp_path: Path) -> None:
        data = b"".join(keystream("file", 3 * MIB + 5))
        path = tmp_path / "blob"
        path.write_bytes(data)
        with path.open("rb") as file:
            assert cid_of(path) == cid_of(data) == cid_of(file)

    def test_array_counts_as_its_bytes(self) -> None:
        import numpy as np

        values = np.arange(1000, dtype="<i4")
        assert cid_of(values.data) == cid_of(values.tobytes())

    @given(size=st.sampled_from([0, 1, MIB, MIB + 1, 3 * MIB]))
    def test_codec_follows_from_the_length(self, size: int) -> None:
        cid = cid_of(bytes(size))
        assert cid_from_digest(cid.digest, size) == cid
        assert cid.codec == (RAW if size <= CHUNK_BYTES else DAG_PB)


class TestParsing:
    @given(digest=st.binary(min_size=32, max_size=32), codec=st.sampled_from([RAW, DAG_PB]))
    def test_text_and_bytes_lead_back(self, digest: bytes, codec: int) -> None:
        cid = Cid(digest, codec)
        assert parse_cid(cid.text) == Cid.from_bytes(cid.to_bytes()) == cid
        assert len(cid.text) == 59

    @given(text=st.one_of(st.text(max_size=80), st.from_regex(r"b[a-z2-7]{0,80}", fullmatch=True)))
    def test_foreign_text_never_crashes(self, text: str) -> None:
        try:
            assert parse_cid(text).text == text
        except CollegiumError as error:
            assert error.hint

    @given(data=st.binary(max_size=60))
    def test_foreign_bytes_never_crash(self, data: bytes) -> None:
        try:
            assert Cid.from_bytes(data).to_bytes() == data
        except CidError as error:
            assert str(error)

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            (multibase(b"\x01\x55\x00\x05hello"), "identity"),
            (multibase(b"\x01\x55\x00\x20" + bytes(32)), "identity"),
            ("QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ", "CIDv0"),
            (multibase(b"\x12\x20" + bytes(32)), "CIDv0"),
            (multibase(b"\x01\x71\x12\x20" + bytes(32)), "dag-cbor"),
            (multibase(b"\x01\x55\x1b\x20" + bytes(32)), "keccak-256"),
            (multibase(b"\x01\x55\x1e\x20" + bytes(32)), "blake3"),
            (multibase(b"\x02\x55\x12\x20" + bytes(32)), "version 2"),
            ("zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7", "base58btc"),
            ("f01551220" + "00" * 32, "base16"),
            (HELLO.upper(), "base32upper"),
        ],
    )
    def test_other_kinds_are_named(self, text: str, word: str) -> None:
        with pytest.raises(CidUnsupportedError, match=word):
            parse_cid(text)

    @pytest.mark.parametrize(
        "text",
        [
            "", "b", HELLO[:-1], HELLO + "a", HELLO + "=", " " + HELLO, HELLO + "\n", HELLO.replace("b", "B"),
            "/ipfs/" + HELLO, "ipfs://" + HELLO, "b" + "1" * 58, HELLO[:-1] + "f", "b" * 10_000, "bé",
            multibase(b"\x01\x55\x12\x14" + bytes(20)), multibase(b"\x01\x55\x12\x21" + bytes(33)),
            multibase(b"\x81\x00\x55\x12\x20" + bytes(32)), multibase(b"\xff" * 36),
        ],
    )  # fmt: skip
    def test_damaged_ones_are_refused(self, text: str) -> None:
        with pytest.raises(CidError):
            parse_cid(text)

    def test_wrong_digest_or_codec_cannot_be_built(self) -> None:
        with pytest.raises(CidError):
            Cid(bytes(31), RAW)
        with pytest.raises(CidError):
            Cid(bytes(32), 0x71)
