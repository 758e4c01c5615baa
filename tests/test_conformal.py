import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from sksngp import SNGPClassifier
from sksngp._uncertainty.conformal import (
    above_rounding,
    min_calibration_size,
    pvalues,
    threshold,
)
from sksngp.datasets import two_moons

ALPHAS = [0.01, 0.05, 0.1, 0.3, 0.5, 0.9]


# Threshold


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1, 2, 9, 10, 19, 20, 99, 100, 999, 1000])
def test_threshold_is_the_conformal_order_statistic(n, alpha):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    # The smallest rank r with r / (n + 1) >= 1 - alpha, in whole percents.
    rank = next(
        r for r in range(n + 2) if 100 * r >= (n + 1) * round(100 - 100 * alpha)
    )
    assert threshold(scores, alpha) == (rank if rank <= n else np.inf)


@given(
    st.lists(st.one_of(st.integers(0, 3), st.floats(-1e9, 1e9)), min_size=2),
    st.floats(0.02, 0.98),
)
def test_at_most_alpha_of_exchangeable_samples_are_flagged(scores, alpha):
    """The guarantee holds because each of the n + 1 samples may be the new one."""
    scores = np.array(scores, dtype=float)
    flagged = sum(
        score > threshold(np.delete(scores, i), alpha) for i, score in enumerate(scores)
    )
    assert flagged <= alpha * len(scores) + 1e-6


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("n", [20, 39, 100])
def test_realized_false_positive_rate(n, alpha):
    """The rate of a uniform score above t is 1 - t: its mean is 1 - rank/(n + 1)."""
    rng = np.random.default_rng(n)
    rates = np.array([1 - threshold(rng.random(n), alpha) for _ in range(2000)])
    error = rates.std() / np.sqrt(len(rates))
    assert rates.mean() <= alpha + 3 * error
    # The discrete order statistics limit how close the rate is to alpha.
    assert rates.mean() >= alpha - 1 / (n + 1) - 3 * error


# Threshold with a confidence


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("n", [20, 60, 500])
def test_threshold_with_a_confidence_is_the_smallest_that_keeps_it(
    n, confidence, alpha
):
    """The rate above the k-th smallest of n uniform scores is Beta(n + 1 - k, k)."""
    found = threshold(np.arange(1.0, n + 1), alpha, confidence)
    ranks = np.arange(1, n + 1)
    keeps = beta.cdf(alpha, n + 1 - ranks, ranks) >= confidence
    expected = max(threshold(np.arange(1.0, n + 1), alpha), [*ranks[keeps], np.inf][0])
    assert found == expected


@pytest.mark.parametrize("ties", [False, True])
def test_rate_is_kept_with_the_confidence(ties):
    rng = np.random.default_rng(0)
    levels = np.arange(1, 31) / 30

    def rate():
        scores = rng.random(200)
        if not ties:
            return 1 - threshold(scores, 0.1, confidence=0.9)
        scores = levels[np.searchsorted(levels, scores)]
        return np.mean(levels > threshold(scores, 0.1, confidence=0.9))

    kept = np.mean([rate() <= 0.1 for _ in range(2000)])
    error = np.sqrt(0.9 * 0.1 / 2000)
    assert kept > 0.9 - 3 * error
    assert ties or kept < 0.95  # not more conservative than necessary


@pytest.mark.parametrize("confidence", [1e-9, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5, 0.99])
def test_min_calibration_size_with_confidence_is_minimal(alpha, confidence):
    needed = min_calibration_size(alpha, confidence)
    assert np.isfinite(threshold(np.arange(needed), alpha, confidence))
    assert needed == 1 or np.isinf(threshold(np.arange(needed - 1), alpha, confidence))


def test_a_confidence_never_lowers_the_threshold():
    scores = np.random.default_rng(0).random(300)
    found = [threshold(scores, 0.1, c) for c in (None, 1e-9, 0.3, 0.6, 0.9, 0.99)]
    assert found == sorted(found) and found[0] == found[1]


@pytest.mark.parametrize("alpha", [*ALPHAS, 0.03, 1 / 3, 0.999, 1 - 1e-12])
def test_min_calibration_size_is_minimal(alpha):
    needed = min_calibration_size(alpha)
    assert np.isfinite(threshold(np.arange(needed), alpha))
    assert needed == 1 or threshold(np.arange(needed - 1), alpha) == np.inf


def test_a_rate_of_nearly_one_flags_nearly_all():
    assert threshold(np.arange(1.0, 20.0), 1 - 1e-12) == 1.0


def test_too_few_scores_flag_nothing():
    assert threshold(np.arange(18.0), 0.05) == np.inf
    assert threshold(np.arange(19.0), 0.05) == 18.0


def test_threshold_is_one_of_the_scores_and_falls_with_alpha():
    scores = np.random.default_rng(0).normal(size=50)
    thresholds = [threshold(scores, alpha) for alpha in ALPHAS]
    assert set(thresholds[1:]) <= set(scores)
    assert thresholds == sorted(thresholds, reverse=True)


@pytest.mark.slow
def test_false_positive_rate_of_a_fitted_classifier(small):
    rates = []
    for seed in range(30):
        X, y = two_moons(400, random_state=seed)
        clf = small(SNGPClassifier, random_state=seed, ood_alpha=0.1).fit(X, y)
        fresh, _ = two_moons(1000, random_state=seed + 100)
        rates.append(clf.predict_ood(fresh).mean())
    error = np.sqrt(0.1 * 0.9 / len(clf.ood_scores_) / len(rates))
    assert 0.1 - 1 / 40 - 3 * error < np.mean(rates) <= 0.1 + 3 * error


@pytest.mark.parametrize("score", [0.0, 1e-12, 1e-6, 0.3, 1.0, 50.0])
def test_scores_that_agree_to_a_millionth_are_tied(score):
    tolerance = 1e-6 * max(score, 1.0)
    assert score + 0.99 * tolerance < above_rounding(score) < score + 1.01 * tolerance
    near, higher = score + 0.9 * tolerance, score + 1.1 * tolerance
    np.testing.assert_array_equal(
        pvalues(np.array([near, higher]), np.array([score])), [1.0, 0.5]
    )


# P-values

some_scores = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=1)


@given(some_scores, some_scores)
def test_pvalue_counts_the_samples_at_least_as_unusual(scores, calibration):
    expected = [
        (1 + sum(c >= s for c in calibration)) / (1 + len(calibration)) for s in scores
    ]
    found = pvalues(np.array(scores), np.array(calibration))
    np.testing.assert_allclose(found, expected)


@given(some_scores, some_scores, st.sampled_from(ALPHAS))
def test_a_small_pvalue_is_a_flag(scores, calibration, alpha):
    scores, calibration = np.array(scores), np.array(calibration)
    flags = scores > above_rounding(threshold(calibration, alpha))
    # Whole percents and counts avoid rounding errors of p and alpha.
    counts = np.round(pvalues(scores, calibration) * (1 + len(calibration)))
    small = 100 * counts <= round(100 * alpha) * (1 + len(calibration))
    np.testing.assert_array_equal(flags, small)


@pytest.mark.parametrize("n", [10, 99, 500])
def test_pvalues_of_new_samples_are_not_smaller_than_uniform(n):
    rng = np.random.default_rng(n)
    found = np.array([pvalues(rng.random(1), rng.random(n))[0] for _ in range(4000)])
    for alpha in ALPHAS:
        error = np.sqrt(alpha * (1 - alpha) / len(found))
        assert np.mean(found <= alpha) <= alpha + 4 * error


def test_pvalue_tolerates_rounding_errors():
    scores = np.array([0.3, 0.7])
    np.testing.assert_array_equal(
        pvalues(scores * (1 + 1e-12), scores), pvalues(scores, scores)
    )
