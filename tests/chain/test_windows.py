"""Log windows: refusals in the words of many providers are understood, sizes are learned and grow slowly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.chain.windows import FORGET_AFTER, GROW_AFTER, LogWindow, is_range_error

REFUSALS = {
    "eth_getLogs is limited to a 500 block range": 500,
    "block range is too wide": 1000,
    "query returned more than 10000 results": 1000,
    "query returned more than 10000 results. Try with this block range [0x1000, 0x1063].": 100,
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the "
    "response size. Based on your parameters, this block range should work: [0x0, 0x1f3]": 500,
    "You can make eth_getLogs requests with up to a 500 block range.": 500,
    "exceed maximum block range: 1000": 1000,
    "Max range: 800": 800,
    "requested too many blocks from 1 to 2000, maximum is set to 1,024": 1024,
    "range is too large, max is 1k blocks": 1000,
    "query exceeds max results 20000, retry with the range 100-200": 200,
    "query timeout exceeded": 1000,
    "block range limit exceeded": 1000,
    "logs matched by query exceeds limit of 10000": 1000,
    "response size should not greater than 10000000 bytes": 1000,
    "specified block range exceeds the range limit": 1000,
}
THROTTLES = (
    "Too Many Requests", "rate limit exceeded", "daily request count exceeded, request rate limited",
    "Your app has exceeded its compute units per second capacity", "project ID request rate exceeded, try again later",
    "call rate limit exhausted, retry in 10s",
)  # fmt: skip


class TestWords:
    @pytest.mark.parametrize("message", REFUSALS)
    def test_refusal_of_a_range_is_told_from_throttling(self, message: str) -> None:
        assert is_range_error(message)

    @pytest.mark.parametrize("message", THROTTLES)
    def test_throttling_is_no_refusal_of_a_range(self, message: str) -> None:
        assert not is_range_error(message)

    @pytest.mark.parametrize(("message", "size"), REFUSALS.items())
    def test_proposed_size_is_taken_and_else_the_half(self, message: str, size: int) -> None:
        window = LogWindow(2000)
        assert window.shrink(2000, message)
        assert window.size == size


class TestLearning:
    @given(limit=st.integers(1, 3000), largest=st.integers(1, 3000), message=st.text(max_size=40))
    def test_what_is_accepted_is_found_from_any_words(self, limit: int, largest: int, message: str) -> None:
        window = LogWindow(largest)
        refusals = 0
        while window.size > limit:
            assert window.shrink(window.size, message)
            refusals += 1
        assert refusals <= 13
        assert 1 <= window.size <= min(limit, largest)

    def test_single_block_that_is_refused_cannot_be_halved(self) -> None:
        assert not LogWindow(1).shrink(1)

    @given(limit=st.integers(1, 1900))
    def test_size_comes_near_the_limit_and_hardly_asks_too_much(self, limit: int) -> None:
        window, refused = LogWindow(2000), 0
        for _ in range(40 * GROW_AFTER):
            asked = window.size
            if asked > limit:
                refused += 1
                window.shrink(asked)
            else:
                window.accept(asked)
        assert window.size >= limit * 0.6
        assert refused <= 24

    def test_dense_stretch_is_forgotten(self) -> None:
        window = LogWindow(2000)
        window.shrink(2000, "query returned more than 10000 results")
        for _ in range(4 * FORGET_AFTER):
            window.accept(window.size)
        assert window.size == 2000

    def test_partial_windows_teach_nothing(self) -> None:
        window = LogWindow(2000)
        window.shrink(2000)
        for _ in range(4 * GROW_AFTER):
            window.accept(3)
        assert window.size == 1000
