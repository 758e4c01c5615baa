"""Calibration: the expected error, curves, and the parts of the Brier score."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.metrics.calibration import expected_calibration_error as mapie_error
from sklearn.metrics import brier_score_loss

from sksngp.metrics import (
    brier_decomposition,
    expected_calibration_error,
    reliability_curve,
)

seeds = st.integers(0, 2**32 - 1)


rounding = 1e-12


@st.composite
def predictions(draw):
    """Probabilities, classes and weights of some rows."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(seeds))
    proba = rng.dirichlet(np.full(n_classes, draw(st.sampled_from([0.1, 1, 10]))), n)
    return rng.integers(n_classes, size=n), proba, rng.integers(1, 4, size=n)


def test_ece_by_hand():
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


def test_ece_vanishes_for_calibrated_predictions_only():
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
def test_ece_takes_any_labels_and_containers(y_true, container):
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
        ({"y_true": [[0], [1]]}, r"y_true must have one dimension .* shape \(2, 1\)"),
        ({"y_true": [0, np.nan]}, "y_true contains NaN"),
        ({"y_true": [0, 1, 1]}, r"inconsistent numbers of samples: \[3, 2"),
        ({"y_true": [0, 7]}, r"classes in y_true must be in labels, got \[7\]"),
        ({"y_true": ["0", "1"]}, r"y_true must be in labels, got \['0', '1'\]"),
        (
            {"y_true": [0, 0], "labels": None},
            r"proba must have .* 2 columns for 1 classes in y_true \(labels is None\)",
        ),
        (
            {"labels": [0, 1, 2]},
            "proba must have .* 2 columns for 3 classes in labels",
        ),
        ({"labels": [0, 0]}, r"labels must be unique, got \[0, 0\]"),
        ({"proba": [0.5, 0.5]}, "Expected 2D array"),
        (
            {"proba": [[0.5, 0.5], [0.5, 0.6]]},
            r"rows of proba must sum to 1, got a sum of 1\.1 in row 1",
        ),
        (
            {"proba": [[0.5, 0.5], [-0.1, 1.1]]},
            r"proba must be non-negative, got .* -0\.1",
        ),
        ({"proba": [[0.5, 0.5], [np.nan, 1]]}, "proba contains NaN"),
        ({"proba": [[0.5, 0.5], [np.inf, 1]]}, "proba contains infinity"),
        ({"n_bins": 0}, "'n_bins' parameter of expected_calibration_error"),
        ({"n_bins": 2.5}, "'n_bins' parameter of expected_calibration_error"),
        ({"sample_weight": [1, -1]}, "sample_weight must be non-negative"),
        ({"sample_weight": [0, 0]}, "sample_weight must .* one positive value"),
        ({"sample_weight": [1]}, "inconsistent numbers of samples"),
        ({"sample_weight": [1, np.inf]}, "sample_weight contains infinity"),
    ],
)
def test_ece_refuses(changed, message):
    good = {"y_true": [0, 1], "proba": [[0.9, 0.1], [0.2, 0.8]], "labels": [0, 1]}
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(**good | changed)


def test_bins_of_equal_weight_by_hand():
    confidence = np.array([0.5, 0.6, 0.7, 0.9])
    proba = np.column_stack([confidence, 1 - confidence])
    curve = reliability_curve([0, 1, 0, 0], proba, n_bins=2, strategy="quantile")
    np.testing.assert_allclose(curve.confidence, [0.55, 0.8])
    np.testing.assert_allclose(curve.accuracy, [0.5, 1.0])
    np.testing.assert_allclose(curve.fraction, [0.5, 0.5])


@given(predictions(), st.integers(1, 20), st.sampled_from(["uniform", "quantile"]))
def test_curves_hold_all_rows_and_make_the_error(problem, n_bins, strategy):
    y_true, proba, weight = problem
    given_ = {"labels": range(proba.shape[1]), "sample_weight": weight}
    given_ |= {"n_bins": n_bins, "strategy": strategy}
    curve = reliability_curve(y_true, proba, **given_)
    assert len(curve.fraction) <= n_bins
    assert curve.fraction.sum() == pytest.approx(1)
    assert (np.diff(curve.confidence) > 0).all()
    right = proba.argmax(axis=1) == y_true
    assert curve.fraction @ curve.accuracy == pytest.approx(
        weight @ right / weight.sum()
    )
    error = expected_calibration_error(y_true, proba, **given_)
    assert error == pytest.approx(
        curve.fraction @ abs(curve.accuracy - curve.confidence)
    )
    repeated = np.repeat(np.arange(len(y_true)), weight)
    given_["sample_weight"] = None
    for ours, theirs in zip(
        curve,
        reliability_curve(y_true[repeated], proba[repeated], **given_),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs)


@given(predictions(), st.integers(1, 20), st.sampled_from(["uniform", "quantile"]))
def test_parts_make_up_the_brier_score(problem, n_bins, strategy):
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


@pytest.mark.parametrize("n_bins", [1, 2, 7, 15])
@pytest.mark.parametrize("concentration", [0.1, 1.0, 10.0])
def test_ece_is_mapies(n_bins, concentration):
    rng = np.random.default_rng(n_bins)
    proba = rng.dirichlet(np.full(4, concentration), 500)
    y_true = rng.integers(4, size=500)
    correct = (proba.argmax(axis=1) == y_true).astype(int)
    # MAPIE counts the edges, ends included.
    theirs = mapie_error(correct, proba, num_bins=n_bins + 1, split_strategy="uniform")
    assert expected_calibration_error(y_true, proba, n_bins=n_bins) == pytest.approx(
        theirs
    )
