"""What sites publish and what is pooled from it: no small cell, no lie about the precision."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from collegium.metrics import Disclosed, disclose, heterogeneity, pool
from collegium.metrics.binary import delong_variance
from collegium.metrics.disclosure import Cells, cut
from collegium.metrics.pooling import area_bounds, hanley_mcneil_variance

from .test_binary import draw


class TestDisclose:
    @given(
        seed=st.integers(0, 10_000), size=st.integers(0, 200), cell=st.integers(1, 30), threshold=st.floats(0.05, 0.95)
    )
    def test_no_sum_or_difference_of_cells_is_small(self, seed: int, size: int, cell: int, threshold: float) -> None:
        scores, labels = draw(seed, size)
        found = disclose(scores, labels, threshold=threshold, min_cell=cell)
        for cells, chosen in ((found.positive, labels == 1), (found.negative, labels == 0)):
            if cells is None:
                continue
            assert min(cells.counts) >= cell and cells.total == chosen.sum()
            edges = np.array(cells.edges[1:-1])
            counted = np.bincount(np.searchsorted(edges, scores[chosen], side="right"), minlength=len(edges) + 1)
            assert counted.tolist() == list(cells.counts)
            # The cells partition the class: any union of them, and what is left of it, is 0 or at least a cell.
            for at in range(len(cells.counts)):
                assert cells.total - cells.counts[at] == 0 or cells.total - cells.counts[at] >= cell
        if found.cases is not None and found.positive is None:
            assert found.auroc is None and found.negative is None
        assert Disclosed.from_json(json.loads(json.dumps(found.to_json()))) == found

    def test_a_rare_error_hides_sensitivity_and_no_subtraction_finds_it(self) -> None:
        scores = np.r_[np.full(97, 0.9), np.full(3, 0.1), np.linspace(0.0, 0.6, 100)]
        labels = np.r_[np.ones(100), np.zeros(100)]
        found = disclose(scores, labels)
        assert found.positive is not None and found.positive.split(0.5) is None
        assert found.positive.counts == (100,)
        assert found.negative is not None and found.negative.split(0.5) is not None
        assert any(line.startswith("sensitivity") for line in found.withheld)

    def test_a_small_class_hides_both(self) -> None:
        found = disclose(np.linspace(0, 1, 60), [1] * 9 + [0] * 51)
        assert (found.cases, found.positive, found.negative, found.auroc) == (60, None, None, None)

    def test_few_cases_hide_everything(self) -> None:
        assert disclose([0.1, 0.9], [0, 1]).cases is None

    @pytest.mark.parametrize(
        "change",
        [{"cases": 7}, {"negative": None}, {"min_cell": 0}, {"threshold": 1.0}, {"brier": 2}, {"min_cell": 100},
         {"positive": {"edges": [0, 0.5, 0.5, 1], "counts": [50, 50, 50]}}, {"auroc": {"value": -1}},
         {"positive": {"edges": [0, 1], "counts": [1e9]}}, {"positive": {"edges": [0, 1], "counts": [True]}}],
    )  # fmt: skip
    def test_what_would_never_be_written_is_refused(self, change: dict[str, object]) -> None:
        content = disclose(*draw(5)).to_json()
        with pytest.raises((ValueError, KeyError, TypeError)):
            Disclosed.from_json({**content, **change})


def place(cells: Cells, end: int) -> np.ndarray:
    """Every score at the lower (0) or just below the upper (1) end of its cell."""
    inside = 1e-9 if end == 0 else -1e-9
    return np.repeat(np.array(cells.edges[end : len(cells.counts) + end]) + inside, cells.counts)


class TestPool:
    @given(seeds=st.lists(st.integers(0, 1000), min_size=3, max_size=5, unique=True), cell=st.sampled_from([5, 10, 20]))
    def test_bounds_hold_the_true_area(self, seeds: list[int], cell: int) -> None:
        sites = [draw(seed, 150, shift=1 + at / 2) for at, seed in enumerate(seeds)]
        found = pool([disclose(*site, min_cell=cell) for site in sites])
        truth = roc_auc_score(np.concatenate([s[1] for s in sites]), np.concatenate([s[0] for s in sites]))
        assert found.area_low is not None and found.area_high is not None
        assert found.area_low <= truth <= found.area_high
        measure = found.measures["auroc"]
        assert measure.low is not None and measure.high is not None
        assert measure.low <= found.area_low and found.area_high <= measure.high

    def test_counts_add_up(self) -> None:
        sites = [draw(seed, 400) for seed in range(3)]
        found = pool([disclose(*site) for site in sites])
        scores, labels = (np.concatenate([site[at] for site in sites]) for at in (0, 1))
        assert found.measures["sensitivity"].value == pytest.approx((scores[labels == 1] >= 0.5).mean())
        assert found.measures["specificity"].value == pytest.approx((scores[labels == 0] < 0.5).mean())
        assert found.measures["accuracy"].value == pytest.approx(((scores >= 0.5) == labels).mean())
        assert found.measures["brier"].value == pytest.approx(((scores - labels) ** 2).mean(), abs=1e-3)
        assert found.cases == 1200

    def test_two_sites_are_not_pooled(self) -> None:
        found = pool([disclose(*draw(seed)) for seed in range(2)])
        assert all(not each.is_defined for each in found.measures.values()) and found.area_low is None
        assert "of at least 3 sites" in found.measures["auroc"].reason

    def test_sites_that_hide_a_measure_do_not_count_for_it(self) -> None:
        sure = disclose(np.r_[np.full(50, 0.9), np.full(50, 0.1)], np.r_[np.ones(50), np.zeros(50)])
        found = pool([disclose(*draw(1)), disclose(*draw(2)), sure])
        assert found.sites == {"auroc": 3, "sensitivity": 2, "specificity": 2, "accuracy": 2, "brier": 3}
        assert not found.measures["sensitivity"].is_defined and found.measures["auroc"].is_defined

    def test_other_thresholds_are_refused(self) -> None:
        with pytest.raises(ValueError, match="thresholds"):
            pool([disclose(*draw(1)), disclose(*draw(2), threshold=0.4)])

    def test_bounds_are_tight_for_cells(self) -> None:
        """Every assignment of scores inside the cells, by brute force on the ends."""
        positive = cut(np.array([0.1, 0.4, 0.6, 0.9]), threshold=0.5, min_cell=1)
        negative = cut(np.array([0.1, 0.2, 0.55]), threshold=0.5, min_cell=1)
        low, high = area_bounds([positive], [negative])
        areas = []
        for ends in itertools.product((0, 1), repeat=2):
            p, n = place(positive, ends[0]), place(negative, ends[1])
            areas.append(roc_auc_score([1] * len(p) + [0] * len(n), np.r_[p, n]))
        assert (low, high) == (pytest.approx(min(areas)), pytest.approx(max(areas)))


class TestHeterogeneity:
    def test_hanley_mcneil_holds_for_exponential_scores(self) -> None:
        """Their formula is exact for negative-exponential scores; area 3/4 when one mean is three times the other."""
        random = np.random.default_rng(5)
        areas = [delong_variance(random.exponential(3, 51), random.exponential(1, 58))[0] for _ in range(4000)]
        assert np.mean(areas) == pytest.approx(0.75, abs=0.003)
        assert np.var(areas) == pytest.approx(hanley_mcneil_variance(0.75, 51, 58), rel=0.07)

    def test_against_scipy(self) -> None:
        from scipy.stats import chi2

        for sites in ([(0.8, 0.05), (0.7, 0.04)], [(0.8, 0.05), (0.7, 0.04), (0.95, 0.02), (0.6, 0.1), (0.9, 0.03)]):
            found = heterogeneity(sites)
            assert found is not None and found.p == pytest.approx(chi2.sf(found.q, found.freedom), rel=1e-9)
        three = heterogeneity([(0.8, 0.05), (0.7, 0.04), (0.9, 0.03)])
        assert three is not None and three.p == pytest.approx(chi2.sf(three.q, 2), rel=1e-9)

    def test_equal_sites_do_not_differ(self) -> None:
        found = heterogeneity([(0.8, 0.05)] * 4)
        assert found is not None and (found.q, found.i2, found.tau2) == (pytest.approx(0), 0, 0)
        assert found.summary.value == pytest.approx(0.8)

    def test_one_site_has_none(self) -> None:
        assert heterogeneity([(0.8, 0.05)]) is None
