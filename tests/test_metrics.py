"""Metrics of calibration, OOD detection and selective classification."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mapie.metrics.calibration import expected_calibration_error as mapie_error
from scipy.stats import norm
from sklearn.metrics import average_precision_score, brier_score_loss

from sksngp.metrics import (
    area_under_risk_coverage,
    brier_decomposition,
    expected_calibration_error,
    fpr_at_tpr,
    ood_auroc,
    ood_average_precision,
    reliability_curve,
    risk_coverage_curve,
)

# Few values, so that ties are common. The transforms below are exact for them.
scores = st.lists(st.integers(-8, 8).map(float), min_size=1, max_size=30)
seeds = st.integers(0, 2**32 - 1)
monotone = st.sampled_from(
    [lambda s: 3 * s - 7, lambda s: s**3, np.exp, np.arctan, lambda s: s * 1e-300]
)
rounding = 1e-12


@st.composite
def predictions(draw):
    """Strategy for probabilities, labels and weights of samples."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(seeds))
    proba = rng.dirichlet(np.full(n_classes, draw(st.sampled_from([0.1, 1, 10]))), n)
    return rng.integers(n_classes, size=n), proba, rng.integers(1, 4, size=n)


# Expected calibration error


def test_ece_of_a_small_example():
    # Two bins. Upper: confidences .9, .8, .6, right 1, 0, 1; lower: .5, right.
    proba = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]]
    upper = abs((0.9 + 0.8 + 0.6) / 3 - 2 / 3)
    error = expected_calibration_error([0, 0, 1, 0], proba, n_bins=2)
    assert error == pytest.approx(3 / 4 * upper + 1 / 4 * 0.5)


@pytest.mark.parametrize(
    ("y_true", "error"), [([0, 1, 2], 0.0), ([1, 2, 0], 1.0), ([0, 1, 0], 1 / 3)]
)
def test_ece_of_certain_predictions_is_error_rate(y_true, error):
    found = expected_calibration_error(y_true, np.eye(3), labels=[0, 1, 2])
    assert found == pytest.approx(error)


def test_ece_bins_hold_their_upper_edge():
    # 0.6 ends bin 3 of 5: alone there and right. (0.6, 0.8] holds 0.7, wrong.
    proba = [[0.6, 0.4], [0.7, 0.3]]
    error = expected_calibration_error([0, 1], proba, n_bins=5)
    assert error == pytest.approx((0.4 + 0.7) / 2)
    together = expected_calibration_error([0, 1], proba, n_bins=1)
    assert together == pytest.approx(0.15)


def test_ece_is_zero_only_for_calibrated_predictions():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=100_000)
    y_true = (rng.uniform(size=p.size) < p).astype(int)
    calibrated = np.column_stack([1 - p, p])
    assert expected_calibration_error(y_true, calibrated) < 0.01
    # Confidence c = max(p, 1 - p) is uniform on (1/2, 1). Claiming c + c (1 - c)
    # instead makes the error E[c (1 - c)] = 3/4 - 7/12 = 1/6.
    confidence = np.maximum(p, 1 - p)
    claimed = confidence + confidence * (1 - confidence)
    sharp = np.where(p > 0.5, claimed, 1 - claimed)
    error = expected_calibration_error(y_true, np.column_stack([1 - sharp, sharp]))
    assert error == pytest.approx(1 / 6, abs=0.01)


@given(predictions(), st.integers(1, 20), seeds)
def test_ece_bounds_and_invariance(prediction, n_bins, seed):
    y_true, proba, _ = prediction
    columns = np.arange(proba.shape[1])
    error = expected_calibration_error(y_true, proba, n_bins=n_bins, labels=columns)
    assert 0 <= error <= 1
    # One bin gives the least error that any partition can: the triangle inequality.
    accuracy = np.mean(proba.argmax(axis=1) == y_true)
    assert error >= abs(accuracy - proba.max(axis=1).mean()) - rounding

    rng = np.random.default_rng(seed)
    rows, order = rng.permutation(len(proba)), rng.permutation(columns)
    shuffled = expected_calibration_error(
        y_true[rows], proba[rows][:, order], n_bins=n_bins, labels=order
    )
    assert shuffled == pytest.approx(error, abs=rounding)


@given(predictions())
def test_ece_weight_is_repetition(prediction):
    y_true, proba, weight = prediction
    columns = np.arange(proba.shape[1])
    weighted = expected_calibration_error(
        y_true, proba, labels=columns, sample_weight=weight
    )
    rows = np.repeat(np.arange(len(proba)), weight)
    repeated = expected_calibration_error(y_true[rows], proba[rows], labels=columns)
    assert weighted == pytest.approx(repeated, abs=rounding)


@pytest.mark.parametrize(
    "y_true",
    [
        ["a", "b", "b"],
        np.array(["a", "b", "b"], dtype=object),
        pd.Series(["a", "b", "b"], dtype="category"),
        pl.Series(["a", "b", "b"]),
        [False, True, True],
        [-1.0, 1.0, 1.0],
    ],
)
@pytest.mark.parametrize("container", [np.float32, pd.DataFrame, pl.DataFrame])
def test_ece_supports_various_labels_and_containers(y_true, container):
    proba = container(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    error = expected_calibration_error(y_true, proba)
    assert error == pytest.approx((0.1 + 0.2 + 0.6) / 3)


def test_ece_of_many_classes_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert expected_calibration_error(np.arange(200), np.eye(200)) == 0


def test_ece_allows_rounded_probabilities():
    proba = np.array([[0.333, 0.333, 0.333], [1.0005, 0, 0]])
    error = expected_calibration_error([0, 0], proba, labels=[0, 1, 2])
    assert error == pytest.approx(0.667 / 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_true": []}, "y_true must have one dimension and at least one value"),
        ({"y_true": [[0], [1]]}, r"y_true .* got an array of shape \(2, 1\)"),
        ({"y_true": [0, np.nan]}, "y_true contains NaN"),
        ({"y_true": [0, 1, 1]}, r"inconsistent numbers of samples: \[3, 2"),
        ({"y_true": [0, 7]}, r"y_true must be in labels, got \[7\]"),
        ({"y_true": ["0", "1"]}, r"y_true must be in labels, got \['0', '1'\]"),
        ({"y_true": [0, 0], "labels": None}, "2 columns for 1 classes in y_true"),
        ({"labels": [0, 1, 2]}, "2 columns for 3 classes in labels"),
        ({"labels": [0, 0]}, r"labels must be unique, got \[0, 0\]"),
        ({"proba": [0.5, 0.5]}, "Expected 2D array"),
        ({"proba": [[0.5, 0.5], [0.5, 0.6]]}, "sum to 1, got a sum of 1.1 in row 1"),
        (
            {"proba": [[0.5, 0.5], [-0.1, 1.1]]},
            "proba must be non-negative, got a value of -0.1",
        ),
        ({"proba": [[0.5, 0.5], [np.nan, 1]]}, "proba contains NaN"),
        ({"proba": [[0.5, 0.5], [np.inf, 1]]}, "proba contains infinity"),
        ({"n_bins": 0}, "'n_bins' parameter of expected_calibration_error"),
        ({"n_bins": 2.5}, "'n_bins' parameter of expected_calibration_error"),
        ({"sample_weight": [1, -1]}, "sample_weight must be non-negative"),
        ({"sample_weight": [0, 0]}, "at least one positive value"),
        ({"sample_weight": [1]}, "inconsistent numbers of samples"),
        ({"sample_weight": [1, np.inf]}, "sample_weight contains infinity"),
    ],
)
def test_ece_invalid_input(changed, message):
    good = {"y_true": [0, 1], "proba": [[0.9, 0.1], [0.2, 0.8]], "labels": [0, 1]}
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(**good | changed)


# OOD detection


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_detection_of_shifted_gaussian(shift):
    """Closed forms: Phi(d / sqrt 2), and Phi(z_0.95 - d) from the threshold."""
    quantiles = norm.ppf((np.arange(5000) + 0.5) / 5000)
    auroc = ood_auroc(quantiles, quantiles + shift)
    assert auroc == pytest.approx(norm.cdf(shift / np.sqrt(2)), abs=1e-3)
    false_alarms = fpr_at_tpr(quantiles, quantiles + shift)
    assert false_alarms == pytest.approx(norm.cdf(norm.ppf(0.95) - shift), abs=1e-3)


@given(scores, scores)
def test_ood_auroc_is_fraction_of_ordered_pairs(known, unknown):
    pairs = np.subtract.outer(unknown, known)
    expected = np.mean((pairs > 0) + (pairs == 0) / 2)
    assert ood_auroc(known, unknown) == pytest.approx(expected, abs=rounding)


@given(scores, scores, st.integers(1, 20))
def test_fpr_at_tpr_equals_brute_force(known, unknown, twentieths):
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
    # A rate of exactly 19 of 20 is sufficient, whatever the 20th score is.
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
        ([], [1.0], r"scores_in .* got an array of shape \(0,\)"),
        ([1.0], [], r"scores_out .* got an array of shape \(0,\)"),
        ([[1.0]], [1.0], r"scores_in must have one dimension"),
        ([1.0], [np.nan], "scores_out contains NaN"),
        ([np.inf], [1.0], "scores_in contains infinity"),
        (0.5, [1.0], "'scores_in' parameter of .* must be an array-like"),
    ],
)
def test_ood_metrics_invalid_input(measure, known, unknown, message):
    with pytest.raises(ValueError, match=message):
        measure(known, unknown)


@pytest.mark.parametrize("tpr", [0, -0.5, 1.5, "0.95"])
def test_fpr_at_tpr_invalid_tpr(tpr):
    with pytest.raises(ValueError, match="'tpr' parameter of fpr_at_tpr"):
        fpr_at_tpr([0], [1], tpr=tpr)


# Selective classification

answers = st.lists(
    st.tuples(st.booleans(), st.integers(-8, 8).map(float)), min_size=1, max_size=30
).map(lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True)))


def test_aurc_of_a_small_example():
    # Most certain first: right, wrong, right, wrong; risks 0, 1/2, 1/3, 2/4.
    correct, uncertainty = [False, True, False, True], [0.9, 0.1, 0.2, 0.5]
    area = area_under_risk_coverage(correct, uncertainty)
    assert area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    # The middle two are tied: (0 + 1/4 + 1/3 + 2/4) / 4, half an error at k = 2.
    tied = area_under_risk_coverage(correct, [0.9, 0.1, 0.2, 0.2])
    assert tied == pytest.approx((0 + 1 / 4 + 1 / 3 + 2 / 4) / 4)


def test_aurc_is_mean_over_orders_of_ties():
    rng = np.random.default_rng(0)
    correct, uncertainty = rng.uniform(size=40) < 0.6, rng.integers(5, size=40)
    jittered = [
        area_under_risk_coverage(correct, uncertainty + rng.uniform(0, 0.5, size=40))
        for _ in range(2000)
    ]
    area = area_under_risk_coverage(correct, uncertainty)
    error = np.std(jittered) / np.sqrt(len(jittered))
    assert area == pytest.approx(np.mean(jittered), abs=4 * error)


@pytest.mark.parametrize("error_rate", [0.1, 0.5])
def test_aurc_of_best_order(error_rate):
    ranks = np.arange(20_000)
    correct = ranks < (1 - error_rate) * len(ranks)
    best = error_rate + (1 - error_rate) * np.log(1 - error_rate)
    assert area_under_risk_coverage(correct, ranks) == pytest.approx(best, abs=1e-4)


@given(answers, monotone, seeds)
def test_aurc_bounds_and_invariance(rows, transform, seed):
    correct, uncertainty = rows
    area = area_under_risk_coverage(correct, uncertainty)
    assert -rounding <= area <= 1 + rounding
    order = np.random.default_rng(seed).permutation(len(correct))
    other = area_under_risk_coverage(correct[order], transform(uncertainty)[order])
    assert other == pytest.approx(area, abs=rounding)
    # The best score is the errors themselves, and the worst is their opposite.
    best = area_under_risk_coverage(correct, ~correct)
    worst = area_under_risk_coverage(correct, correct)
    assert best - rounding <= area <= worst + rounding


@given(arrays(bool, st.integers(1, 30)))
def test_aurc_of_constant_score_is_error_rate(correct):
    area = area_under_risk_coverage(correct, np.zeros(len(correct)))
    assert area == pytest.approx(np.mean(~correct), abs=rounding)


@pytest.mark.parametrize(
    ("correct", "uncertainty", "message"),
    [
        ([], [], "correct must have one dimension and at least one value"),
        ([1, 2], [0.1, 0.2], "correct must consist of booleans"),
        ([0.5, 1], [0.1, 0.2], "correct must consist of booleans"),
        ([1, np.nan], [0.1, 0.2], "correct contains NaN"),
        ([1, 0], [0.1], r"inconsistent numbers of samples: \[2, 1\]"),
        ([1, 0], [0.1, np.inf], "uncertainty contains infinity"),
        ([1, 0], [[0.1], [0.2]], "uncertainty must have one dimension"),
    ],
)
def test_aurc_invalid_input(correct, uncertainty, message):
    with pytest.raises(ValueError, match=message):
        area_under_risk_coverage(correct, uncertainty)


# Quantile bins, curves, and the Brier decomposition


def test_quantile_bins_of_a_small_example():
    confidence = np.array([0.5, 0.6, 0.7, 0.9])
    proba = np.column_stack([confidence, 1 - confidence])
    curve = reliability_curve([0, 1, 0, 0], proba, n_bins=2, strategy="quantile")
    np.testing.assert_allclose(curve.confidence, [0.55, 0.8])
    np.testing.assert_allclose(curve.accuracy, [0.5, 1.0])
    np.testing.assert_allclose(curve.share, [0.5, 0.5])


@given(predictions(), st.integers(1, 20), st.sampled_from(["uniform", "quantile"]))
def test_curves_include_all_samples_and_determine_the_error(problem, n_bins, strategy):
    y_true, proba, weight = problem
    given_ = {"labels": range(proba.shape[1]), "sample_weight": weight}
    given_ |= {"n_bins": n_bins, "strategy": strategy}
    curve = reliability_curve(y_true, proba, **given_)
    assert len(curve.share) <= n_bins
    assert curve.share.sum() == pytest.approx(1)
    assert (np.diff(curve.confidence) > 0).all()
    right = proba.argmax(axis=1) == y_true
    assert curve.share @ curve.accuracy == pytest.approx(weight @ right / weight.sum())
    error = expected_calibration_error(y_true, proba, **given_)
    assert error == pytest.approx(curve.share @ abs(curve.accuracy - curve.confidence))
    repeated = np.repeat(np.arange(len(y_true)), weight)
    given_["sample_weight"] = None
    for ours, theirs in zip(
        curve,
        reliability_curve(y_true[repeated], proba[repeated], **given_),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs)


@given(predictions(), st.integers(1, 20), st.sampled_from(["uniform", "quantile"]))
def test_terms_sum_to_the_brier_score(problem, n_bins, strategy):
    y_true, proba, weight = problem
    parts = brier_decomposition(
        y_true,
        proba,
        labels=range(proba.shape[1]),
        sample_weight=weight,
        n_bins=n_bins,
        strategy=strategy,
    )
    labels = list(range(proba.shape[1]))
    score = brier_score_loss(
        y_true, proba, labels=labels, sample_weight=weight, scale_by_half=False
    )
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(
        score, abs=1e-9
    )
    assert parts.reliability >= 0
    assert 0 <= parts.uncertainty <= 1 - 1 / len(labels) + rounding


def test_resolution_of_few_distinct_forecasts_is_murphys():
    rng = np.random.default_rng(0)
    forecast = rng.choice([0.1, 0.4, 0.8], 500)
    y_true = (rng.random(500) < forecast**2).astype(int)
    parts = brier_decomposition(y_true, np.column_stack([1 - forecast, forecast]))
    base = y_true.mean()
    reliability = resolution = 0.0
    for value in np.unique(forecast):
        rows = forecast == value
        reliability += 2 * rows.mean() * (value - y_true[rows].mean()) ** 2
        resolution += 2 * rows.mean() * (y_true[rows].mean() - base) ** 2
    assert parts.reliability == pytest.approx(reliability)
    assert parts.resolution == pytest.approx(resolution)
    assert parts.uncertainty == pytest.approx(2 * base * (1 - base))


@given(scores, scores)
def test_average_precision_equals_scikit_learn(known, unknown):
    y_true = [0] * len(known) + [1] * len(unknown)
    expected = average_precision_score(y_true, known + unknown)
    assert ood_average_precision(known, unknown) == pytest.approx(expected)


@given(arrays(bool, st.integers(1, 30)), st.data())
def test_the_area_is_the_mean_of_the_curve(correct, data):
    level = st.integers(0, 5).map(float)
    uncertainty = data.draw(arrays(float, len(correct), elements=level))
    coverage, risk = risk_coverage_curve(correct, uncertainty)
    np.testing.assert_allclose(coverage * len(correct), 1 + np.arange(len(correct)))
    assert risk[-1] == pytest.approx(1 - correct.mean())
    assert risk.mean() == pytest.approx(area_under_risk_coverage(correct, uncertainty))


# Comparison with another package


@pytest.mark.parametrize("n_bins", [1, 2, 7, 15])
@pytest.mark.parametrize("concentration", [0.1, 1.0, 10.0])
def test_ece_equals_mapie(n_bins, concentration):
    rng = np.random.default_rng(n_bins)
    proba = rng.dirichlet(np.full(4, concentration), 500)
    y_true = rng.integers(4, size=500)
    correct = (proba.argmax(axis=1) == y_true).astype(int)
    # In MAPIE, the number includes the outer edges.
    theirs = mapie_error(correct, proba, num_bins=n_bins + 1, split_strategy="uniform")
    assert expected_calibration_error(y_true, proba, n_bins=n_bins) == pytest.approx(
        theirs
    )
