"""Conversion of scores to surprisals."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from sksngp._uncertainty.conformal import above_rounding, pvalues
from sksngp._uncertainty.surprisal import MAX_SCORES, fit_surprisal

SCORES = arrays(float, st.integers(1, 50), elements=st.floats(0, 1, width=32))


@given(SCORES, st.floats(0, 2), st.floats(0, 2))
def test_monotone_and_finite(scores, first, second):
    low, high = sorted([first, second])
    low, high = fit_surprisal(scores)(np.array([low, high]))
    assert 0 <= low <= high < np.inf


@given(SCORES)
def test_minus_the_log_of_p_values(scores):
    distinct = np.unique(scores)
    if (np.diff(distinct) > 1e-5).all():  # otherwise, some count as equal
        expected = -np.log(pvalues(distinct, distinct))
        assert_allclose(fit_surprisal(scores)(distinct), expected, rtol=1e-9)


@given(SCORES)
def test_references_are_compared_with_the_other_references(scores):
    distinct = np.unique(scores)
    if (np.diff(distinct) > 1e-5).all() and len(distinct) > 1:
        found = fit_surprisal(scores).leave_one_out(distinct)
        others = [np.delete(distinct, index) for index in range(len(distinct))]
        expected = [
            -np.log(pvalues(distinct[index : index + 1], other))[0]
            for index, other in enumerate(others)
        ]
        beyond = distinct[-1] - above_rounding(distinct[-2])
        expected[-1] += beyond / fit_surprisal(scores).excess
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_exponential_tail_is_extrapolated():
    scores = np.random.default_rng(0).exponential(size=1000)
    far = np.array([15.0, 30.0])  # the largest of the scores is about 7
    assert_allclose(fit_surprisal(scores)(far), far, rtol=0.25)


def test_stored_scores_represent_the_distribution():
    scores = np.random.default_rng(0).normal(size=20 * MAX_SCORES)
    surprisal = fit_surprisal(scores)
    assert len(surprisal.scores) == MAX_SCORES
    shares = np.exp(-surprisal(np.quantile(scores, [0.1, 0.5, 0.95])))
    assert_allclose(shares, [0.9, 0.5, 0.05], atol=5e-3)


def test_rounding_errors_have_no_effect():
    surprisal = fit_surprisal(np.array([0.5, 0.5 + 1e-15, 0.5 - 1e-15, 0.7]))
    assert len(surprisal.scores) == 2
    low, equal, high = surprisal(np.array([0.5, 0.5 + 1e-9, 0.5 + 1e-5]))
    assert low == equal < high


@given(SCORES)
def test_small_scores_mirror_large_ones(scores):
    if (np.diff(np.unique(scores)) > 1e-5).all():
        mirrored, surprisal = fit_surprisal(-scores), fit_surprisal(scores)
        assert_allclose(surprisal.of_small(scores), mirrored(-scores), atol=1e-12)
        inner = scores[scores > scores.min()]  # the smallest is not extrapolated
        found = surprisal.leave_one_out(inner, small=True)
        assert_allclose(found, mirrored.leave_one_out(-inner), atol=1e-12)


def test_small_scores_are_not_extrapolated():
    surprisal = fit_surprisal(np.arange(1.0, 100.0))
    found = np.exp(-surprisal.of_small(np.array([-1e9, 0.5, 1.0, 99.0, 500.0])))
    assert_allclose(found, [0.01, 0.01, 0.02, 1.0, 1.0])
