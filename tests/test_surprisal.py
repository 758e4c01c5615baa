"""Scores brought to one scale."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from sksngp.surprisal import MOST_KNOTS, fit_surprisal

SCORES = arrays(float, st.integers(1, 50), elements=st.floats(0, 1, width=32))


@given(SCORES, st.floats(0, 2), st.floats(0, 2))
def test_monotone_and_finite(scores, first, second):
    low, high = sorted([first, second])
    low, high = fit_surprisal(scores)(np.array([low, high]))
    assert 0 <= low <= high < np.inf


@given(SCORES)
def test_reference_scores_have_their_ranks(scores):
    shares = np.exp(-fit_surprisal(scores)(scores))
    at_least = (scores >= scores[:, None]).sum(axis=1)
    # Scores that differ by rounding count as equal.
    assert (shares >= at_least / (len(scores) + 1) - 1e-12).all()
    distinct = np.diff(np.unique(scores)) > 1e-6
    if distinct.all():
        assert_allclose(shares, at_least / (len(scores) + 1), rtol=1e-9)


def test_an_exponential_tail_goes_on():
    scores = np.random.default_rng(0).exponential(size=100_000)
    far = np.array([15.0, 30.0])  # the largest of the scores is about 12
    assert_allclose(fit_surprisal(scores)(far), far, rtol=0.15)


def test_few_knots_say_the_same():
    scores = np.random.default_rng(0).normal(size=20 * MOST_KNOTS)
    surprisal = fit_surprisal(scores)
    assert len(surprisal.scores) == MOST_KNOTS
    shares = np.exp(-surprisal(np.quantile(scores, [0.1, 0.5, 0.95])))
    assert_allclose(shares, [0.9, 0.5, 0.05], atol=1e-3)


def test_rounding_makes_no_difference():
    surprisal = fit_surprisal(np.array([0.5, 0.5 + 1e-15, 0.5 - 1e-15, 0.7]))
    assert len(surprisal.scores) == 2
    assert surprisal(np.array([0.5 + 1e-13])) - surprisal(np.array([0.5])) < 1e-9
