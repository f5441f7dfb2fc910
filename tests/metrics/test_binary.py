"""Measures of one site: against scikit-learn, scipy and published values, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from collegium.metrics import auroc, measure_binary, wilson
from collegium.metrics.binary import bootstrap, delong_variance, midranks


def draw(seed: int, cases: int = 300, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.random(cases) < 0.4
    logits = random.normal(size=cases) + shift * labels
    # Rounded, so that there are ties.
    return np.round(1 / (1 + np.exp(-logits)), 2), labels.astype(int)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    labels = draw(st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda v: 0 < sum(v) < len(v)))
    scores = draw(st.lists(st.integers(0, 8), min_size=len(labels), max_size=len(labels)))
    return [score / 8 for score in scores], labels


class TestAgainstOthers:
    @given(drawn=cases())
    def test_auroc_is_that_of_scikit_learn(self, drawn: tuple[list[float], list[int]]) -> None:
        scores, labels = drawn
        assert auroc(scores, labels).value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)

    @given(drawn=cases())
    def test_delong_variance_is_that_of_its_definition(self, drawn: tuple[list[float], list[int]]) -> None:
        scores, labels = np.array(drawn[0]), np.array(drawn[1], dtype=bool)
        positive, negative = scores[labels], scores[~labels]
        psi = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
        area, variance = delong_variance(positive, negative)
        assert area == pytest.approx(psi.mean())
        if min(len(positive), len(negative)) < 2:
            assert math.isnan(variance)
            return
        by_definition = psi.mean(1).var(ddof=1) / len(positive) + psi.mean(0).var(ddof=1) / len(negative)
        assert variance == pytest.approx(by_definition, abs=1e-12)

    def test_brier_is_that_of_scikit_learn(self) -> None:
        scores, labels = draw(3)
        assert measure_binary(scores, labels).brier.value == pytest.approx(brier_score_loss(labels, scores))

    def test_midranks_are_those_of_scipy(self) -> None:
        from scipy.stats import rankdata

        values = np.array([3.0, 1, 3, 2, 2, 2, 9])
        assert midranks(values).tolist() == rankdata(values).tolist()

    @pytest.mark.parametrize(
        ("successes", "trials", "low", "high"),
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    )
    def test_wilson_gives_the_published_values(self, successes: int, trials: int, low: float, high: float) -> None:
        found = wilson(successes, trials)
        assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (low, high)

    def test_the_interval_covers_as_promised(self) -> None:
        """AUROC of two normals a distance d apart is Phi(d / sqrt 2)."""
        truth = 0.5 * (1 + math.erf(1.0 / 2))
        hits = 0
        for seed in range(400):
            random = np.random.default_rng(seed)
            scores = np.concatenate([random.normal(1, size=40), random.normal(0, size=60)])
            found = auroc(scores, [1] * 40 + [0] * 60)
            hits += (found.low or 0) <= truth <= (found.high or 0)
        assert 0.92 <= hits / 400 <= 0.98

    def test_bootstrap_agrees_and_repeats(self) -> None:
        scores, labels = draw(7, 200)
        first, again = bootstrap(scores, labels, seed=1), bootstrap(scores, labels, seed=1)
        assert first == again != bootstrap(scores, labels, seed=2)
        analytic = auroc(scores, labels)
        assert first.low == pytest.approx(analytic.low, abs=0.02)
        assert first.high == pytest.approx(analytic.high, abs=0.02)


class TestUndefined:
    def test_one_class_says_which_is_missing(self) -> None:
        found = measure_binary([0.2, 0.7], [1, 1])
        assert found.auroc.reason == "no negative cases" and not found.auroc.is_defined
        assert found.specificity.reason == "no negative cases" and found.sensitivity.value == 0.5
        assert auroc([0.2, 0.7], [0, 0]).reason == "no positive cases"

    def test_no_cases(self) -> None:
        found = measure_binary([], [])
        assert {measure.reason for measure in found.measures().values()} <= {
            "no cases", "no positive cases", "no negative cases"
        }  # fmt: skip

    def test_few_cases_have_no_interval(self) -> None:
        found = auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        assert (found.value, found.low) == (0.75, None) and "fewer than 10" in found.reason

    def test_complete_separation_has_no_interval(self) -> None:
        found = auroc(np.linspace(0, 1, 40), [0] * 20 + [1] * 20)
        assert (found.value, found.high) == (1.0, None) and "separate" in found.reason

    def test_all_tied_is_a_coin(self) -> None:
        found = auroc([0.5] * 30, [0, 1] * 15)
        assert found.value == 0.5 and found.low is None

    @pytest.mark.parametrize(
        ("scores", "labels"),
        [([0.1], [0, 1]), ([math.nan, 0.2], [0, 1]), ([0.1, 0.2], [0, 2]), ([[0.1]], [[1]]), ([0.1, 1.2], [0, 1])],
    )
    def test_bad_cases_are_refused(self, scores: list[float], labels: list[int]) -> None:
        with pytest.raises(ValueError):
            measure_binary(scores, labels)


class TestThreshold:
    def test_a_score_at_the_threshold_is_positive(self) -> None:
        found = measure_binary([0.3, 0.3, 0.29, 0.9], [1, 0, 1, 0], threshold=0.3)
        assert found.confusion == (1, 1, 2, 0) and found.threshold == 0.3
