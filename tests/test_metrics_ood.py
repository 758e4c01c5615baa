"""Detection of out-of-distribution samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from sksngp.metrics import (
    fpr_at_tpr,
    ood_auroc,
    ood_average_precision,
)

# Few values, so that ties are common; exact under the transforms below.
scores = st.lists(st.integers(-8, 8).map(float), min_size=1, max_size=30)


seeds = st.integers(0, 2**32 - 1)


monotone = st.sampled_from(
    [lambda s: 3 * s - 7, lambda s: s**3, np.exp, np.arctan, lambda s: s * 1e-300]
)


rounding = 1e-12


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_detection_of_shifted_gaussian(shift):
    """Closed forms: Phi(d / sqrt 2), and Phi(z_0.95 - d) from the threshold."""
    quantiles = norm.ppf((np.arange(5000) + 0.5) / 5000)
    auroc = ood_auroc(quantiles, quantiles + shift)
    assert auroc == pytest.approx(norm.cdf(shift / np.sqrt(2)), abs=1e-3)
    false_alarms = fpr_at_tpr(quantiles, quantiles + shift)
    assert false_alarms == pytest.approx(norm.cdf(norm.ppf(0.95) - shift), abs=1e-3)


@given(scores, scores)
def test_ood_auroc_is_share_of_ordered_pairs(known, unknown):
    pairs = np.subtract.outer(unknown, known)
    expected = np.mean((pairs > 0) + (pairs == 0) / 2)
    assert ood_auroc(known, unknown) == pytest.approx(expected, abs=rounding)


@given(scores, scores, st.integers(1, 20))
def test_fpr_at_tpr_by_trying_all_thresholds(known, unknown, twentieths):
    tpr = twentieths / 20
    known, unknown = np.array(known), np.array(unknown)
    expected = min(
        np.mean(known >= threshold)
        for threshold in unknown
        if np.mean(unknown >= threshold) >= tpr
    )
    assert fpr_at_tpr(known, unknown, tpr=tpr) == pytest.approx(expected)


@given(scores, scores, monotone, seeds)
def test_detection_depends_on_order_of_scores_only(known, unknown, transform, seed):
    rng = np.random.default_rng(seed)
    other_known = transform(rng.permutation(known))
    other_unknown = transform(rng.permutation(unknown))
    for measure in (ood_auroc, fpr_at_tpr):
        expected = measure(known, unknown)
        assert 0 <= expected <= 1
        assert measure(other_known, other_unknown) == pytest.approx(expected)


@given(scores, scores)
def test_ood_auroc_is_antisymmetric(known, unknown):
    both = ood_auroc(known, unknown) + ood_auroc(unknown, known)
    assert both == pytest.approx(1)


@given(scores, scores, st.integers(1, 19))
def test_fpr_at_tpr_grows_with_tpr(known, unknown, twentieths):
    lower = fpr_at_tpr(known, unknown, tpr=twentieths / 20)
    assert lower <= fpr_at_tpr(known, unknown, tpr=(twentieths + 1) / 20)


def test_detection_extremes():
    assert ood_auroc([0, 1], [2, 3]) == 1
    assert fpr_at_tpr([0, 1], [2, 3], tpr=1) == 0
    assert ood_auroc([2, 3], [0, 1]) == 0
    assert fpr_at_tpr([2, 3], [0, 1], tpr=0.01) == 1
    # A share just met is met: 19 of 20, whatever the 20th scores.
    assert fpr_at_tpr(np.zeros(5), np.append(np.ones(19), -1), tpr=0.95) == 0
    assert fpr_at_tpr(np.zeros(5), np.append(np.ones(19), -1), tpr=0.96) == 1


def test_detection_from_flags():
    known, unknown = [False, False, False, True], [True, True, False, True]
    assert ood_auroc(known, unknown) == pytest.approx(0.75)
    assert fpr_at_tpr(known, unknown, tpr=0.5) == pytest.approx(0.25)


@pytest.mark.parametrize("measure", [ood_auroc, fpr_at_tpr])
@pytest.mark.parametrize(
    ("known", "unknown", "message"),
    [
        ([], [1.0], r"scores_in must have .* one value, got .* shape \(0,\)"),
        ([1.0], [], r"scores_out must have .* one value, got .* shape \(0,\)"),
        ([[1.0]], [1.0], r"scores_in must have one dimension"),
        ([1.0], [np.nan], "scores_out contains NaN"),
        ([np.inf], [1.0], "scores_in contains infinity"),
        (0.5, [1.0], "'scores_in' parameter of .* must be an array-like"),
    ],
)
def test_detection_refuses(measure, known, unknown, message):
    with pytest.raises(ValueError, match=message):
        measure(known, unknown)


@pytest.mark.parametrize("tpr", [0, -0.5, 1.5, "0.95"])
def test_fpr_at_tpr_refuses_tpr(tpr):
    with pytest.raises(ValueError, match="'tpr' parameter of fpr_at_tpr"):
        fpr_at_tpr([0], [1], tpr=tpr)


@given(scores, scores)
def test_average_precision_is_scikit_learns(known, unknown):
    y_true = [0] * len(known) + [1] * len(unknown)
    expected = average_precision_score(y_true, known + unknown)
    assert ood_average_precision(known, unknown) == pytest.approx(expected)
