"""The hardened reader: blocks are hashed before they are read, and only the profile's shape is read."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.errors import BlobOversizedError, CidMismatchError, CollegiumError
from collegium.storage import unixfs
from collegium.storage.cid import CHUNK_BYTES, DAG_PB, RAW, Cid, cid_of
from collegium.storage.errors import UnixFsError
from collegium.storage.unixfs import file_size_of, read_blob

from .actors import MIB, Blocks, keystream


def field(number: int, payload: bytes) -> bytes:
    return unixfs._field(number, payload)


def number(field_number: int, value: int) -> bytes:
    return unixfs._number(field_number, value)


def link(cid: Cid, size: int, name: bytes = b"") -> bytes:
    return field(2, field(1, cid.to_bytes()) + field(2, name) + number(3, size))


def file_data(size: int, sizes: list[int], kind: int = 2) -> bytes:
    return field(1, number(1, kind) + number(3, size) + b"".join(number(4, part) for part in sizes))


LEAF = bytes(CHUNK_BYTES)
FULL = cid_of(LEAF)
ONE = cid_of(b"x")
FILE_FIELDS = number(1, 2) + number(3, MIB + 1) + number(4, MIB) + number(4, 1)
GOOD = link(FULL, MIB) + link(ONE, 1) + file_data(MIB + 1, [MIB, 1])


def read_root(block: bytes, max_bytes: int = 1 << 40) -> bytes:
    """Read a file whose root is this hand-made block."""
    blocks = Blocks({FULL.digest: LEAF, ONE.digest: b"x"})
    root = Cid(hashlib.sha256(block).digest(), DAG_PB)
    blocks.by_digest[root.digest] = block
    return b"".join(read_blob(root, blocks, max_bytes=max_bytes))


class TestReading:
    @given(size=st.sampled_from([0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 3]))
    def test_what_was_imported_is_read(self, size: int) -> None:
        blocks = Blocks()
        data = b"".join(keystream("read", size))
        cid = blocks.add(data)
        assert b"".join(read_blob(cid, blocks, max_bytes=size)) == data
        assert file_size_of(blocks.by_digest[cid.digest], cid) == size

    def test_hand_made_node_is_the_importers(self) -> None:
        assert read_root(GOOD) == LEAF + b"x"
        assert cid_of(LEAF + b"x").digest == hashlib.sha256(GOOD).digest()

    def test_two_levels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Small parameters give the shape of files above 1 GiB.
        monkeypatch.setattr(unixfs, "CHUNK_BYTES", 4)
        monkeypatch.setattr(unixfs, "MAX_LINKS", 3)
        unixfs._tree_bytes.cache_clear()
        for size in range(1, 4 * 3 * 3 * 3 + 9):
            blocks = Blocks()
            data = bytes(value % 251 for value in range(size))
            cid = blocks.add(data)
            assert b"".join(read_blob(cid, blocks, max_bytes=size)) == data
        unixfs._tree_bytes.cache_clear()


class TestLies:
    @given(position=st.integers(0, 3), bit=st.integers(0, 7), where=st.integers(0, 1 << 20))
    def test_any_altered_block_is_found(self, position: int, bit: int, where: int) -> None:
        blocks = Blocks()
        cid = blocks.add(b"".join(keystream("lie", 2 * MIB + 9)))
        digest = list(blocks.by_digest)[position]
        block = bytearray(blocks.by_digest[digest])
        block[where % len(block)] ^= 1 << bit
        blocks.altered[digest] = bytes(block)
        with pytest.raises(CidMismatchError):
            b"".join(read_blob(cid, blocks, max_bytes=1 << 30))

    def test_altered_root_is_not_even_parsed(self) -> None:
        blocks = Blocks()
        cid = blocks.add(bytes(2 * MIB))
        blocks.altered[cid.digest] = b"\xff" * 100
        with pytest.raises(CidMismatchError):
            list(read_blob(cid, blocks, max_bytes=1 << 30))
        assert blocks.asked == [cid]

    def test_too_long_a_file_is_refused_before_its_leaves(self) -> None:
        blocks = Blocks()
        cid = blocks.add(bytes(2 * MIB))
        with pytest.raises(BlobOversizedError):
            list(read_blob(cid, blocks, max_bytes=2 * MIB - 1))
        assert blocks.asked == [cid]

    def test_too_long_a_raw_block_is_refused(self) -> None:
        data = bytes(MIB + 1)
        with pytest.raises(BlobOversizedError):
            list(read_blob(Cid(hashlib.sha256(data).digest(), RAW), lambda cid, limit: data, max_bytes=1 << 30))


class TestShape:
    @pytest.mark.parametrize(
        ("block", "why"),
        [
            (link(FULL, MIB) + link(ONE, 1) + file_data(MIB + 1, [MIB]), "1 block sizes for 2 links"),
            (link(FULL, MIB) + link(ONE, 1) + file_data(MIB + 2, [MIB, 1]), "add up"),
            (link(ONE, 1) + link(FULL, MIB) + file_data(MIB + 1, [1, MIB]), "parts"),
            (link(FULL, MIB) + link(ONE, 2) + file_data(MIB + 1, [MIB, 1]), "total size"),
            (link(FULL, MIB, b"a") + link(ONE, 1) + file_data(MIB + 1, [MIB, 1]), "directory"),
            (link(FULL, MIB) + link(ONE, 1) + file_data(MIB + 1, [MIB, 1], kind=1), "type is 1"),
            (link(FULL, MIB) + link(ONE, 1) + file_data(MIB + 1, [MIB, 1], kind=5), "type is 5"),
            (file_data(0, []), "no links"),
            (field(1, number(1, 1)), "type is 1"),
            (link(ONE, 1) * 1025 + file_data(1025, [1] * 1025), "more than 1024"),
            (link(ONE, 1) + file_data(1, [1]), "cannot have a root"),
            (link(Cid(FULL.digest, DAG_PB), MIB) + link(ONE, 1) + file_data(MIB + 1, [MIB, 1]), "codec"),
            (GOOD + b"\x00", "unexpected"),
            (GOOD + GOOD, "unexpected"),
            (GOOD[:-1], "cut short"),
            (file_data(MIB + 1, [MIB, 1]) + link(FULL, MIB) + link(ONE, 1), "unexpected field 2"),
            (field(2, field(1, b"\x01\x55\x00\x01x") + field(2, b"") + number(3, 1)) + file_data(1, [1]), "sha2-256"),
            (link(FULL, MIB) + link(ONE, 1) + field(1, b"\x08\x82\x00" + number(3, MIB + 1)), "minimal"),
            (link(FULL, MIB) + link(ONE, 1) + field(1, b"\x08\x02\x18" + b"\xff" * 10), "too large"),
            (link(FULL, MIB) + link(ONE, 1) + field(1, FILE_FIELDS + b"\x38\x01"), "unexpected field 7"),
            (b"", "field 1 is missing"),
        ],
    )  # fmt: skip
    def test_other_nodes_are_refused(self, block: bytes, why: str) -> None:
        with pytest.raises(UnixFsError, match=why):
            read_root(block)

    def test_deep_trees_end(self) -> None:
        # A node that announces an absurd size must not be followed.
        child = Cid(bytes(32), DAG_PB)
        size = CHUNK_BYTES * 1024**4 * 2
        with pytest.raises(UnixFsError):
            read_root(link(child, size) + file_data(size, [size]), max_bytes=1 << 62)

    @given(block=st.binary(max_size=200))
    def test_foreign_bytes_never_crash(self, block: bytes) -> None:
        with pytest.raises(CollegiumError):
            read_root(block)

    @given(where=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
    def test_one_other_byte_never_reads_as_another_file(self, where: int, byte: int) -> None:
        block = bytearray(GOOD)
        if block[where] == byte:
            return
        block[where] = byte
        with pytest.raises((CollegiumError, KeyError)):
            read_root(bytes(block))
