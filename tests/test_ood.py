import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import beta

from sksngp import SNGPClassifier
from sksngp.datasets import two_moons
from sksngp.ood import (
    LARGEST_SHARE,
    above_rounding,
    cutoff_of_share,
    cutoffs,
    hold_out,
    hold_out_below,
    pvalues,
    rows_needed,
    threshold,
)

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
def test_among_exchangeable_rows_at_most_a_share_alpha_is_flagged(scores, alpha):
    """What makes the guarantee: any of the n + 1 rows may be the fresh one."""
    scores = np.array(scores, dtype=float)
    flagged = sum(
        score > threshold(np.delete(scores, i), alpha) for i, score in enumerate(scores)
    )
    assert flagged <= alpha * len(scores) + 1e-6


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("n", [20, 39, 100])
def test_realised_rate_of_false_alarms(n, alpha):
    """The rate of a uniform score above t is 1 - t: its mean is 1 - rank/(n + 1)."""
    rng = np.random.default_rng(n)
    rates = np.array([1 - threshold(rng.random(n), alpha) for _ in range(2000)])
    error = rates.std() / np.sqrt(len(rates))
    assert rates.mean() <= alpha + 3 * error
    # No more cautious than the n + 1 steps of the order statistics make it.
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
    assert ties or kept < 0.95  # no more cautious than it must be


@pytest.mark.parametrize("confidence", [1e-9, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5, 0.99])
def test_rows_needed_for_a_confidence_are_the_fewest_with_a_threshold(
    alpha, confidence
):
    needed = rows_needed(alpha, confidence)
    assert np.isfinite(threshold(np.arange(needed), alpha, confidence))
    assert needed == 1 or np.isinf(threshold(np.arange(needed - 1), alpha, confidence))


def test_a_confidence_never_lowers_the_threshold():
    scores = np.random.default_rng(0).random(300)
    found = [threshold(scores, 0.1, c) for c in (None, 1e-9, 0.3, 0.6, 0.9, 0.99)]
    assert found == sorted(found) and found[0] == found[1]


@pytest.mark.parametrize("alpha", [*ALPHAS, 0.03, 1 / 3, 0.999, 1 - 1e-12])
def test_rows_needed_are_the_fewest_with_a_threshold(alpha):
    needed = rows_needed(alpha)
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


def test_rate_of_false_alarms_of_a_fitted_classifier(small):
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
def test_pvalue_counts_the_rows_as_unusual(scores, calibration):
    expected = [
        (1 + sum(c >= s for c in calibration)) / (1 + len(calibration)) for s in scores
    ]
    found = pvalues(np.array(scores), np.array(calibration))
    np.testing.assert_allclose(found, expected)


@given(some_scores, some_scores, st.sampled_from(ALPHAS))
def test_a_small_pvalue_is_a_flag(scores, calibration, alpha):
    scores, calibration = np.array(scores), np.array(calibration)
    flags = scores > above_rounding(threshold(calibration, alpha))
    # In whole percents and counts: p and alpha are rounded.
    counts = np.round(pvalues(scores, calibration) * (1 + len(calibration)))
    small = 100 * counts <= round(100 * alpha) * (1 + len(calibration))
    np.testing.assert_array_equal(flags, small)


@pytest.mark.parametrize("n", [10, 99, 500])
def test_pvalues_of_fresh_rows_are_no_smaller_than_uniform(n):
    rng = np.random.default_rng(n)
    found = np.array([pvalues(rng.random(1), rng.random(n))[0] for _ in range(4000)])
    for alpha in ALPHAS:
        error = np.sqrt(alpha * (1 - alpha) / len(found))
        assert np.mean(found <= alpha) <= alpha + 4 * error


def test_a_pvalue_forgives_rounding():
    scores = np.array([0.3, 0.7])
    np.testing.assert_array_equal(
        pvalues(scores * (1 + 1e-12), scores), pvalues(scores, scores)
    )


# Holding out


@st.composite
def labelled_rows(draw):
    """Few different values, so that rows have twins, within and across classes."""
    shape = draw(st.tuples(st.integers(2, 60), st.integers(1, 2)))
    values = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, 1e300])
    labels = arrays(np.int32, shape[0], elements=st.integers(0, 2))
    return draw(arrays(np.float64, shape, elements=values)), draw(labels)


fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**63 - 1)


@given(labelled_rows(), fractions, st.integers(0, 30), seeds, st.data())
def test_held_out_rows_depend_on_content_alone(problem, fraction, at_least, seed, data):
    X, labels = problem
    held_out = hold_out(X, labels, fraction, at_least=at_least, seed=seed)
    order = np.array(data.draw(st.permutations(range(len(X)))))
    repeated = np.append(order, data.draw(st.lists(st.sampled_from(range(len(X))))))
    repeated = repeated.astype(int)
    again = hold_out(
        X[repeated], labels[repeated], fraction, at_least=at_least, seed=seed
    )
    np.testing.assert_array_equal(again, held_out[repeated])


@given(labelled_rows(), fractions, seeds)
def test_no_held_out_row_has_a_twin_in_training(problem, fraction, seed):
    X, labels = problem
    held_out = hold_out(X, labels, fraction, seed=seed)
    out, kept = (set(map(tuple, X[mask])) for mask in (held_out, ~held_out))
    assert not out & kept


@given(labelled_rows(), fractions, st.integers(0, 30), seeds)
def test_every_class_keeps_a_row(problem, fraction, at_least, seed):
    X, labels = problem
    held_out = hold_out(X, labels, fraction, at_least=at_least, seed=seed)
    assert set(labels[~held_out]) == set(labels)


@pytest.mark.parametrize("fraction", [0.01, 0.07, 0.1, 0.14, 0.29, 0.5, 0.57, 0.99])
def test_the_share_of_each_class_is_rounded_up(fraction):
    rng = np.random.default_rng(0)
    sizes = [100, 30, 3, 1]
    labels = rng.permutation(np.repeat(range(4), sizes))
    X = rng.normal(size=(len(labels), 2))
    held_out = hold_out(X, labels, fraction)
    percent = round(100 * fraction)
    expected = [min(-(-percent * size // 100), size - 1) for size in sizes]
    assert np.bincount(labels[held_out], minlength=4).tolist() == expected


def test_a_row_in_two_classes_is_held_out_of_both_or_of_none():
    X = np.arange(300.0)[:, None]
    X, labels = np.concatenate([X[:200], X[100:]]), np.repeat([0, 1], 200)
    held_out = hold_out(X, labels, 0.1)
    np.testing.assert_array_equal(held_out[100:200], held_out[200:300])
    assert held_out[100:200].any()  # about a tenth, as of the other rows
    assert 10 <= np.bincount(labels[held_out]).min() <= 20


@given(labelled_rows(), fractions, seeds)
def test_a_row_is_held_out_if_any_can_be(problem, fraction, seed):
    X, labels = problem
    X = X + 0.0  # -0.0 equals 0.0
    distinct = [set(map(tuple, X[labels == label])) for label in np.unique(labels)]
    needed = set().union(*(rows for rows in distinct if len(rows) == 1))
    held_out = hold_out(X, labels, fraction, seed=seed)
    assert held_out.any() == bool(set().union(*distinct) - needed)


@given(labelled_rows(), fractions, st.integers(1, 8), seeds)
def test_as_many_rows_as_are_of_use_or_none(problem, fraction, at_least, seed):
    X, labels = problem
    held_out = hold_out(X, labels, fraction, at_least=at_least, seed=seed)
    assert not 0 < len(np.unique(X[held_out] + 0.0, axis=0)) < at_least


def test_equal_values_are_equal_rows_whatever_their_type():
    X = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]] * 3)
    X[4:8, 0] *= -1.0
    X[4] = [-0.0, 1.0]
    labels = np.arange(12) % 2
    expected = hold_out(X, labels, 0.4)
    assert expected.any()
    assert expected[0] == expected[4] == expected[8]
    for dtype in (np.float32, np.int64):
        np.testing.assert_array_equal(hold_out(X.astype(dtype), labels, 0.4), expected)
    np.testing.assert_array_equal(hold_out(np.asfortranarray(X), labels, 0.4), expected)


def test_seed_chooses_other_rows_and_fraction_zero_none():
    X, labels = np.arange(100.0)[:, None], np.zeros(100, int)
    first, second = (hold_out(X, labels, 0.2, seed=seed) for seed in (0, 1))
    assert first.sum() == second.sum() == 20
    assert (first != second).any()
    assert not hold_out(X, labels, 0.0, at_least=10).any()


def test_every_row_is_equally_likely():
    X, labels = np.arange(50.0)[:, None], np.arange(50) % 2
    counts = sum(hold_out(X, labels, 0.2, seed=seed).astype(int) for seed in range(500))
    assert counts.sum() == 500 * 10
    assert np.abs(counts - 100).max() < 5 * np.sqrt(500 * 0.2 * 0.8)


@pytest.mark.parametrize("n", [20, 79, 80, 100, 199, 200, 5000])
def test_at_least_raises_the_share_up_to_a_quarter_or_gives_up(n):
    X, labels = np.arange(float(n))[:, None], np.arange(n) % 2
    count = hold_out(X, labels, 0.1, at_least=20).sum()
    if n < 20 / LARGEST_SHARE:
        assert count == 0
    else:
        per_class = np.array([math.ceil(n / 2), n // 2])
        assert count == np.ceil(np.maximum(0.1, 20 / n) * per_class - 1e-9).sum()
        assert count >= 20


def test_a_larger_fraction_than_a_quarter_is_heeded():
    X, labels = np.arange(30.0)[:, None], np.zeros(30, int)
    assert hold_out(X, labels, 0.6, at_least=5).sum() == 18
    assert hold_out(X, labels, 0.6, at_least=20).sum() == 0


# Sides of rows in further training


@given(
    arrays(float, (12, 1), elements=st.integers(0, 6)),
    arrays(int, 12, elements=st.integers(0, 2)),
    st.floats(0.05, 0.9),
)
def test_cutoffs_hold_out_the_same_rows_again(X, labels, fraction):
    held_out = hold_out(X, labels, fraction, seed=3)
    limits = cutoffs(X, labels, held_out, 3, seed=3)
    np.testing.assert_array_equal(hold_out_below(X, labels, limits, 3), held_out)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_cutoff_of_a_share(fraction):
    X, labels = np.arange(5000.0)[:, None], np.arange(5000) % 2
    limits = np.full(2, cutoff_of_share(fraction), np.uint64)
    share = hold_out_below(X, labels, limits, seed=0).mean()
    assert abs(share - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / 5000) + 1e-9
