"""The ordered trie against an independent implementation."""

from __future__ import annotations

import rlp
from hypothesis import given
from hypothesis import strategies as st
from trie import HexaryTrie

from collegium.chain.trie import EMPTY_ROOT, compute_ordered_root


@given(values=st.lists(st.binary(min_size=1, max_size=80), max_size=300))
def test_root_is_that_of_a_general_trie(values: list[bytes]) -> None:
    general = HexaryTrie(db={})
    for position, value in enumerate(values):
        general[rlp.encode(position)] = value
    assert compute_ordered_root(values) == general.root_hash


def test_root_of_nothing_is_the_empty_root() -> None:
    assert compute_ordered_root([]) == EMPTY_ROOT
