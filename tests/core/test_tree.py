"""Chunk trees against recursion, with one thread and with two."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import errors, tree
from collegium.tree import ChunkTree, Opening
from tests.core import reference


def payload_of(leaves: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(256 * leaves)


@pytest.fixture(params=[1, 2])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small batches, so that small trees have several."""
    size: int = 1 << request.param
    monkeypatch.setattr(tree, "_BATCH", size)
    return size


class TestRoot:
    @given(leaves=st.integers(1, 70), seed=st.integers(0, 99))
    def test_root_equals_the_recursive_one(self, leaves: int, seed: int) -> None:
        payload = payload_of(leaves, seed)
        right = reference.root(reference.chunks_of(payload))
        assert tree.root_of(payload) == ChunkTree.build(payload).root == right

    @pytest.mark.parametrize("leaves", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33])
    def test_batches_and_threads_do_not_change_the_root(self, batch: int, leaves: int) -> None:
        payload = payload_of(leaves)
        right = reference.root(reference.chunks_of(payload))
        for threads in (1, 2, 3):
            assert tree.root_of(payload, threads=threads) == right
            built = ChunkTree.build(payload, threads=threads)
            assert (built.root, built.leaves, built.depth) == (right, leaves, (leaves - 1).bit_length())

    @pytest.mark.parametrize("leaves", [4095, 4096, 4097, 8193, 12289])
    def test_large_trees_have_one_root_with_one_and_two_threads(
        self, leaves: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tree, "_WORTH", 1)
        payload = payload_of(leaves)
        assert tree.root_of(payload) == tree.root_of(payload, threads=2)
        assert ChunkTree.build(payload, threads=2).root == reference.root(reference.chunks_of(payload))

    def test_worker_that_cannot_run_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tree, "_WORTH", 1)
        payload = payload_of(8193)
        for executable in ("/nonexistent/python", "/bin/false"):
            monkeypatch.setattr(sys, "executable", executable)
            assert tree.root_of(payload, threads=2) == tree.root_of(payload)

    def test_array_of_elements_hashes_as_little_endian_bytes(self) -> None:
        elements = np.arange(128, dtype=np.int32)
        right = tree.root_of(elements.astype("<i4").tobytes())
        assert tree.root_of(elements) == tree.root_of(elements.astype(">i4")) == right
        assert tree.root_of(np.repeat(elements, 2)[::2]) == right

    @pytest.mark.parametrize("size", [0, 1, 255, 257])
    def test_broken_chunk_is_refused(self, size: int) -> None:
        with pytest.raises(errors.OpeningError):
            tree.root_of(bytes(size))

    def test_zero_subtrees_are_roots_of_zeros(self) -> None:
        assert tree.ZERO[0] == hashlib.sha256(bytes(257)).digest()
        for height in range(8):
            assert tree.ZERO[height] == tree.root_of(bytes(256 << height))


class TestOpening:
    @given(leaves=st.integers(1, 40), data=st.data())
    def test_every_opening_leads_to_the_root(self, leaves: int, data: st.DataObject) -> None:
        built = ChunkTree.build(payload_of(leaves))
        leaf = data.draw(st.integers(0, (1 << built.depth) - 1))
        opening = built.open(leaf)
        assert Opening.unpack(opening.pack()) == opening
        assert tree.root_from_opening(opening, leaf) == built.root
        assert tree.verify_opening(opening, leaf, built.root, leaves)

    @given(leaves=st.integers(1, 20), data=st.data())
    def test_changed_bit_leads_elsewhere(self, leaves: int, data: st.DataObject) -> None:
        built = ChunkTree.build(payload_of(leaves))
        leaf = data.draw(st.integers(0, leaves - 1))
        packed = bytearray(built.open(leaf).pack())
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert not tree.verify_opening(Opening.unpack(bytes(packed)), leaf, built.root, leaves)

    def test_leaf_outside_the_tree_is_refused(self) -> None:
        built = ChunkTree.build(payload_of(3))
        for leaf in (-1, 4):
            with pytest.raises(errors.OpeningError):
                built.open(leaf)
            with pytest.raises(errors.OpeningError):
                tree.root_from_opening(built.open(0), leaf)

    @given(leaves=st.integers(1, 40), data=st.data())
    def test_first_difference_is_the_lowest_changed_leaf(self, leaves: int, data: st.DataObject) -> None:
        payload = bytearray(payload_of(leaves))
        honest = ChunkTree.build(bytes(payload))
        changed = data.draw(st.sets(st.integers(0, leaves - 1), max_size=4))
        for leaf in changed:
            payload[256 * leaf + leaf] ^= 1
        assert honest.first_difference(ChunkTree.build(payload)) == min(changed, default=None)

    def test_tree_of_leaf_hashes_has_the_same_paths(self) -> None:
        payload = payload_of(11)
        built = ChunkTree.build(payload)
        light = tree.build_from_leaves(tree.hash_leaf(chunk) for chunk in reference.chunks_of(payload))
        assert light.root == built.root and light.path(10) == built.path(10)
        with pytest.raises(errors.OpeningError):
            light.open(0)
