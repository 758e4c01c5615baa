"""Risk by coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sksngp.metrics import (
    area_under_risk_coverage,
    risk_coverage_curve,
)

seeds = st.integers(0, 2**32 - 1)


monotone = st.sampled_from(
    [lambda s: 3 * s - 7, lambda s: s**3, np.exp, np.arctan, lambda s: s * 1e-300]
)


rounding = 1e-12


answers = st.lists(
    st.tuples(st.booleans(), st.integers(-8, 8).map(float)), min_size=1, max_size=30
).map(lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True)))


def test_aurc_by_hand():
    # Most certain first: right, wrong, right, wrong; risks 0, 1/2, 1/3, 2/4.
    correct, uncertainty = [False, True, False, True], [0.9, 0.1, 0.2, 0.5]
    area = area_under_risk_coverage(correct, uncertainty)
    assert area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    # The middle two tie: (0 + 1/4 + 1/3 + 2/4) / 4 with half an error at k = 2.
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
    # No score does better than the errors themselves, none worse than their reverse.
    best = area_under_risk_coverage(correct, ~correct)
    worst = area_under_risk_coverage(correct, correct)
    assert best - rounding <= area <= worst + rounding


@given(arrays(bool, st.integers(1, 30)))
def test_aurc_of_useless_score_is_error_rate(correct):
    area = area_under_risk_coverage(correct, np.zeros(len(correct)))
    assert area == pytest.approx(np.mean(~correct), abs=rounding)


@pytest.mark.parametrize(
    ("correct", "uncertainty", "message"),
    [
        ([], [], "correct must have one dimension and at least one value"),
        ([1, 2], [0.1, 0.2], "correct must consist of booleans, or of 0 and 1"),
        (["a", "b"], [0.1, 0.2], "correct must consist of booleans, or of 0 and 1"),
        ([0.5, 1], [0.1, 0.2], "correct must consist of booleans, or of 0 and 1"),
        ([1, np.nan], [0.1, 0.2], "correct contains NaN"),
        ([1, 0], [0.1], r"inconsistent numbers of samples: \[2, 1\]"),
        ([1, 0], [0.1, np.inf], "uncertainty contains infinity"),
        ([1, 0], [[0.1], [0.2]], "uncertainty must have one dimension"),
    ],
)
def test_aurc_refuses(correct, uncertainty, message):
    with pytest.raises(ValueError, match=message):
        area_under_risk_coverage(correct, uncertainty)


@given(arrays(bool, st.integers(1, 30)), st.data())
def test_the_area_is_the_mean_of_the_curve(correct, data):
    level = st.integers(0, 5).map(float)
    uncertainty = data.draw(arrays(float, len(correct), elements=level))
    coverage, risk = risk_coverage_curve(correct, uncertainty)
    np.testing.assert_allclose(coverage * len(correct), 1 + np.arange(len(correct)))
    assert risk[-1] == pytest.approx(1 - correct.mean())
    assert risk.mean() == pytest.approx(area_under_risk_coverage(correct, uncertainty))
