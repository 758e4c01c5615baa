"""The drift monitor: uniform p-values, false alarms, and alarms."""

import copy
import pickle

import numpy as np
import pytest
from scipy.stats import kstest

from sksngp import DriftMonitor, SNGPClassifier, ood_score
from sksngp.datasets import two_moons


def uniform_pvalues(calibration, stream, seed=0):
    monitor = DriftMonitor(calibration, random_state=seed)
    return monitor._pvalues(np.asarray(stream, float))


@pytest.mark.parametrize("levels", [None, 3, 20], ids=["no ties", "3 levels", "20"])
def test_pvalues_are_independent_and_uniform(levels):
    """P-values are uniform for equal scores and for any calibration scores."""
    rng, found = np.random.default_rng(0), []
    for seed in range(300):
        scores = rng.normal(size=80)
        if levels is not None:
            scores = np.floor(levels * scores) / levels
        found.append(uniform_pvalues(scores[:20], scores[20:], seed))
    found = np.array(found)
    for column in (0, 1, 30, 59):
        assert kstest(found[:, column], "uniform").pvalue > 1e-3
    assert kstest(found.ravel(), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(found, rowvar=False)
    assert np.abs(correlations[~np.eye(60, dtype=bool)]).max() < 0.3


def test_pvalues_rank_among_all_earlier_scores():
    found = uniform_pvalues([1.0, 2.0, 3.0], [2.5, 2.6, 0.0, 9.0, 2.6])
    bounds = [(1 / 4, 2 / 4), (1 / 5, 3 / 5), (5 / 6, 1), (0, 1 / 7), (2 / 8, 5 / 8)]
    for pvalue, (low, high) in zip(found, bounds, strict=True):
        assert low <= pvalue <= high


def test_equal_scores_are_ordered_at_random():
    """Scores that differ by rounding errors are treated as equal."""
    calibration = np.full(50, 0.3)
    found = uniform_pvalues(calibration, 0.3 * (1 + 1e-12 * np.arange(-200, 200)))
    assert kstest(found, "uniform").pvalue > 1e-3


def test_values_are_a_martingale():
    """The expectation of the next value, given the current one, is the current one."""
    rng = np.random.default_rng(0)
    monitor = DriftMonitor(rng.normal(size=50), random_state=0)
    monitor.update(rng.normal(size=20) + 1)
    after = []
    # The bets are unbounded at 0: p = u^20 makes the integrand a polynomial of u.
    nodes, weights = np.polynomial.legendre.leggauss(20)
    nodes, weights = (nodes + 1) / 2, weights / 2
    for pvalue in nodes**20:
        branch = copy.deepcopy(monitor)
        branch._bet(np.array([pvalue]))
        after.append(branch.value_)
    mean = weights @ (20 * nodes**19 * after)
    assert mean == pytest.approx(monitor.value_, rel=1e-6)
    assert (np.diff(after) < 0).all()  # smaller p-values are worth more


def test_few_false_alarms():
    """At most one in ten streams without a change ever reaches a value of 10."""
    rng, alarms = np.random.default_rng(0), 0
    for seed in range(200):
        scores = rng.normal(size=500)
        monitor = DriftMonitor(scores[:100], alarm_level=10, random_state=seed)
        alarms += monitor.update(scores[100:]).alarm_
    assert alarms <= 200 * 0.1


@pytest.mark.slow
def test_few_false_alarms_in_long_streams():
    rng, alarms = np.random.default_rng(1), 0
    for seed in range(100):
        scores = rng.normal(size=10_400)
        monitor = DriftMonitor(scores[:400], random_state=seed)
        alarms += monitor.update(scores[400:]).alarm_
    assert alarms <= 3  # at most 1 is expected; 4 or more have a probability of 2%


@pytest.mark.parametrize(("shift", "delay"), [(0.5, 600), (1.0, 120), (3.0, 20)])
def test_changes_are_detected_quickly(shift, delay):
    delays = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        monitor = DriftMonitor(rng.normal(size=1000), random_state=seed)
        monitor.update(rng.normal(size=2000))
        assert not monitor.alarm_
        monitor.update(rng.normal(size=1000) + shift)
        delays.append((monitor.alarm_at_ or np.inf) - 2000)
    assert np.median(delays) < delay


def test_more_usual_scores_raise_no_alarm():
    rng = np.random.default_rng(0)
    monitor = DriftMonitor(rng.normal(size=400), random_state=0)
    assert monitor.update(rng.normal(size=1000) - 2).values_.max() < 2


def test_one_by_one_or_together():
    rng = np.random.default_rng(0)
    calibration, stream = rng.normal(size=50), rng.normal(size=40) + 1
    together = DriftMonitor(calibration, random_state=0).update(stream)
    single = DriftMonitor(calibration, random_state=0)
    for score in stream:
        assert single.update(score) is single
    single.update([])
    np.testing.assert_allclose(single.values_, together.values_)
    assert single.alarm_at_ == together.alarm_at_
    assert single.n_seen_ == together.n_seen_ == 40


def test_state_before_and_after_an_alarm():
    monitor = DriftMonitor(np.arange(100.0), alarm_level=20, random_state=0)
    assert (monitor.value_, monitor.n_seen_, monitor.alarm_) == (1.0, 0, False)
    assert monitor.values_.shape == (0,)
    monitor.update(np.full(60, 200.0))
    first = np.flatnonzero(monitor.values_ >= 20)[0] + 1
    assert monitor.alarm_ and monitor.alarm_at_ == first
    copied = pickle.loads(pickle.dumps(monitor))
    assert copied.update(0.0).alarm_at_ == first
    assert copied.n_seen_ == 61


def test_long_drifts_do_not_overflow(recwarn):
    monitor = DriftMonitor(np.arange(100_000.0), random_state=0)
    monitor.update(np.full(2000, 1e6))
    assert monitor.alarm_ and (monitor.values_ >= 0).all()
    assert not recwarn.list


def test_history_is_bounded():
    monitor = DriftMonitor(np.arange(9.0), max_history=5, random_state=0)
    monitor.update(np.arange(12.0))
    assert len(monitor.values_) == 5 and monitor.n_seen_ == 12
    assert monitor.values_[-1] == monitor.value_


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"calibration_scores": []}, "0 sample"),
        ({"calibration_scores": [np.nan]}, "NaN"),
        ({"calibration_scores": np.ones((5, 2))}, "calibration_scores must have one"),
        ({"alarm_level": 1}, "'alarm_level' parameter"),
        ({"max_history": 0}, "'max_history' parameter"),
        ({"random_state": "seed"}, "'random_state' parameter"),
    ],
)
def test_invalid_parameters(options, match):
    with pytest.raises(ValueError, match=match):
        DriftMonitor(**{"calibration_scores": [1.0, 2.0], **options})


@pytest.mark.parametrize("scores", [[0.1, np.nan], [[0.1, 0.2], [0.3, 0.4]], "high"])
def test_invalid_scores_change_nothing(scores):
    monitor = DriftMonitor(np.arange(20.0), random_state=0).update([3.0, 4.0])
    before = pickle.dumps(monitor)
    with pytest.raises(ValueError):
        monitor.update(scores)
    assert pickle.dumps(monitor) == before


def test_with_a_classifier(small):
    X, y = two_moons(3000, random_state=0)
    clf = small(SNGPClassifier).fit(X[:500], y[:500]).calibrate_ood(X[500:1500])
    monitor = DriftMonitor(clf.ood_scores_, random_state=0)
    assert not monitor.update(ood_score(clf, X[1500:2500])).alarm_
    assert monitor.update(ood_score(clf, X[2500:] + 1.5)).alarm_


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e-7, 0.0])
def test_dense_scores_raise_no_alarm(unit):
    """Scores that differ by less than rounding errors, and chains of such scores."""
    rng = np.random.default_rng(0)
    monitor = DriftMonitor(unit * rng.uniform(size=1000), random_state=0)
    assert not monitor.update(unit * rng.uniform(size=2000)).alarm_
