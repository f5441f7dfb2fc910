"""Mean and step against exact fractions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import aggregation, errors, optimizer
from collegium.records import Format, Section
from tests.core import reference

int32s = st.integers(-(2**31), 2**31 - 1)
bounds = st.one_of(st.sampled_from([1, 2, 127, 2**23, 2**31 - 1]), st.integers(1, 2**31 - 1))


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[list[int]], list[int], int]:
    clients, size, bound = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(bounds)
    most = min(2**32 - 1, (2**63 - 1) // (clients * (2 * bound + 1)))
    weights = draw(st.lists(st.integers(1, most), min_size=clients, max_size=clients))
    edges = st.one_of(int32s, st.sampled_from([-(2**31), -bound, bound, 2**31 - 1]))
    row = st.lists(edges, min_size=size, max_size=size)
    return draw(st.lists(row, min_size=clients, max_size=clients)), weights, bound


def arrays(rows: list[list[int]]) -> list[Any]:
    return [np.array(row, dtype="<i4") for row in rows]


class TestMean:
    @given(given_round=rounds(), weighted=st.booleans())
    def test_mean_equals_exact_fractions(
        self, given_round: tuple[list[list[int]], list[int], int], weighted: bool
    ) -> None:
        rows, weights, bound = given_round
        mean = aggregation.weighted_mean(arrays(rows), weights, bound=bound, weighted=weighted)
        for column, element in zip(zip(*rows, strict=True), mean, strict=True):
            right = reference.mean(list(column), weights, bound, weighted=weighted)
            assert element == right and abs(right) <= bound
            assert aggregation.compute_mean(column, weights, bound=bound, weighted=weighted) == right

    @given(given_round=rounds())
    def test_order_of_clients_does_not_matter(self, given_round: tuple[list[list[int]], list[int], int]) -> None:
        rows, weights, bound = given_round
        forward = aggregation.weighted_mean(arrays(rows), weights, bound=bound)
        backward = aggregation.weighted_mean(arrays(rows[::-1]), weights[::-1], bound=bound)
        assert (forward == backward).all()

    def test_128_clients_at_every_bound_stay_exact(self) -> None:
        for bound in (1, 2**23, 2**31 - 1):
            weight = min(2**32 - 1, (2**63 - 1) // (128 * (2 * bound + 1)))
            for value in (-(2**31), -bound, bound, 2**31 - 1):
                updates = arrays([[value]] * 128)
                mean = aggregation.weighted_mean(updates, [weight] * 128, bound=bound)
                assert mean[0] == max(-bound, min(bound, value))

    def test_blocks_and_threads_do_not_change_the_mean(self) -> None:
        size = 2 * aggregation.BLOCK + 77
        rng = np.random.default_rng(1)
        updates = [rng.integers(-(2**31), 2**31, size).astype("<i4") for _ in range(3)]
        one = aggregation.weighted_mean(updates, [1, 5, 9], bound=2**23)
        for threads in (2, 5):
            two = aggregation.weighted_mean(updates, [1, 5, 9], bound=2**23, threads=threads)
            assert (one == two).all()
        for at in (0, aggregation.BLOCK - 1, aggregation.BLOCK, size - 1):
            assert one[at] == reference.mean([int(u[at]) for u in updates], [1, 5, 9], 2**23)

    def test_mapped_files_give_the_same_mean(self, tmp_path: Path) -> None:
        rows = np.random.default_rng(2).integers(-999, 999, (3, 640)).astype("<i4")
        mapped = []
        for number, row in enumerate(rows):
            row.tofile(tmp_path / str(number))
            mapped.append(np.memmap(tmp_path / str(number), dtype="<i4", mode="r"))
        right = aggregation.weighted_mean(list(rows), [1, 2, 3], bound=500)
        assert (aggregation.weighted_mean(mapped, [1, 2, 3], bound=500) == right).all()

    def test_padding_reads_as_zero_in_every_section(self) -> None:
        fmt = Format((Section(1, 0, 1, 0, 5, True), Section(65, 1, 1, 0, 9, False)), bytes(32))
        updates = [np.full(fmt.elements, value, dtype="<i4") for value in (4, 100)]
        mean = aggregation.aggregate(updates, [3, 1], fmt)
        assert mean[0] == 4 and not mean[1:64].any()
        assert (mean[64:129] == 7).all() and not mean[129:].any()

    @pytest.mark.parametrize(
        ("weights", "bound"), [([0, 1], 1), ([1, 2**32], 1), ([2**32 - 1] * 2, 2**31 - 1), ([1, 1], 0), ([1, 1], 2**31)]
    )
    def test_numbers_beyond_64_bits_are_refused(self, weights: list[int], bound: int) -> None:
        with pytest.raises(errors.ArithmeticBoundError):
            aggregation.weighted_mean(arrays([[1], [2]]), weights, bound=bound)

    def test_wrong_shapes_are_refused(self) -> None:
        for updates, weights in (([[1], [2, 3]], [1, 1]), ([[1]], [1, 1]), ([], [])):
            with pytest.raises(errors.ShapeError):
                aggregation.weighted_mean(arrays(updates), weights, bound=1)
        with pytest.raises(errors.ShapeError):
            aggregation.weighted_mean([np.zeros(4, dtype=np.int64)], [1], bound=1)


class TestStep:
    @given(
        models=st.lists(int32s, min_size=1, max_size=9),
        bound=bounds,
        denominator=st.integers(1, 2**62 - 1),
        data=st.data(),
    )
    def test_step_equals_exact_fractions(
        self, models: list[int], bound: int, denominator: int, data: st.DataObject
    ) -> None:
        numerator = data.draw(st.integers(0, (2**63 - 1 - denominator) // (2 * bound)))
        size = len(models)
        means = data.draw(st.lists(st.integers(-bound, bound), min_size=size, max_size=size))
        moved = optimizer.fedavg_step(*arrays([models, means]), numerator=numerator, denominator=denominator)
        for model, mean, element in zip(models, means, moved, strict=True):
            assert element == reference.step(model, mean, numerator, denominator)
            assert element == optimizer.compute_step(model, mean, numerator=numerator, denominator=denominator)

    @given(models=st.lists(int32s, min_size=1, max_size=9), rate=st.integers(1, 2**61))
    def test_rate_of_one_adds_the_mean(self, models: list[int], rate: int) -> None:
        means = [-m // 3 for m in models]
        moved = optimizer.fedavg_step(*arrays([models, means]), numerator=rate, denominator=rate)
        top = 2**31 - 1
        right = [max(-top, min(top, a + b)) for a, b in zip(models, means, strict=True)]
        assert moved.tolist() == right

    def test_padding_of_model_and_mean_becomes_zero(self) -> None:
        moved = optimizer.fedavg_step(*arrays([[5, 5], [7, 7]]), numerator=1, denominator=2, count=1)
        assert moved.tolist() == [9, 0]

    def test_mean_beyond_its_bound_is_refused_and_not_wrapped(self) -> None:
        with pytest.raises(errors.ArithmeticBoundError):
            optimizer.fedavg_step(*arrays([[0], [2**31 - 1]]), numerator=2**32, denominator=1)
        for numerator, denominator in ((1, 0), (-1, 1), (1, 2**62)):
            with pytest.raises(errors.ArithmeticBoundError):
                optimizer.fedavg_step(*arrays([[0], [0]]), numerator=numerator, denominator=denominator)

    def test_threads_do_not_change_the_step(self) -> None:
        size = 3 * aggregation.BLOCK + 1
        model, mean = np.random.default_rng(3).integers(-(2**31), 2**31, (2, size)).astype("<i4")
        one = optimizer.fedavg_step(model, mean, numerator=3, denominator=7)
        two = optimizer.fedavg_step(model, mean, numerator=3, denominator=7, threads=2)
        assert (one == two).all()
