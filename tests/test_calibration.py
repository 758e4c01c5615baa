"""The out-of-distribution threshold, and its recalibration."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import binom
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError

from sksngp import SNGPClassifier, _stream_derived
from sksngp.datasets import two_moons
from sksngp.exceptions import FewSamplesWarning


@pytest.fixture(scope="module")
def blobs():
    """Overlapping classes, in which many scores lie close to the threshold."""
    return make_blobs(8000, 3, centers=4, cluster_std=2.0, random_state=1)


# The threshold


def test_false_positive_rate(make, blobs):
    """P-values, and thus flags, keep the false positive rate at every alpha."""
    X, y = blobs
    clf = make(epochs=3).fit(X[:4000], y[:4000])
    n, new = len(clf.ood_scores_), 4000
    assert n >= 400
    pvalues = clf.ood_pvalue(X[4000:])
    for alpha in (0.02, 0.05, 0.2):
        deviation = np.sqrt(alpha * (1 - alpha) * (1 / n + 1 / new))
        assert abs((pvalues <= alpha).mean() - alpha) < 4 * deviation
    assert_array_equal(clf.predict_ood(X[4000:]), pvalues <= clf.ood_alpha)


@pytest.mark.parametrize(("seed", "validation_fraction"), [(0, 0), (1, 0.1)])
def test_repeated_samples_at_the_threshold(make, seed, validation_fraction):
    """A frequent sample that sets the threshold is not flagged by rounding errors."""
    rng = np.random.default_rng(seed)
    unique = rng.normal(size=(4, 3)) * 7
    X = unique[rng.integers(0, 4, 400)]
    y = rng.integers(0, 2, 400)
    clf = make(validation_fraction=validation_fraction, random_state=seed).fit(X, y)
    clf.calibrate_ood(X)
    assert np.isfinite(clf.ood_threshold_)
    flags = clf.predict_ood(X)
    assert flags.mean() <= clf.ood_alpha
    for size in range(1, 17):
        assert_array_equal(clf.predict_ood(X[:size]), flags[:size])


def test_a_confidence_raises_the_threshold(make, blobs):
    """The rate is kept in this calibration with a probability of 95%."""
    X, y = blobs
    clf = make(epochs=3).fit(X[:1000], y[:1000])
    clf.calibrate_ood(X[1000:4000])
    expected = clf.ood_threshold_
    scores = np.sort(-clf.score_samples(X[1000:4000]))
    clf.set_params(ood_confidence=0.95)
    assert_array_equal(clf.predict_ood(X), -clf.score_samples(X) > expected)
    clf.calibrate_ood(X[1000:4000])
    rank = int(binom.ppf(0.95, 3000, 0.95)) + 1
    assert clf.ood_threshold_ == pytest.approx(scores[rank - 1], rel=1e-5, abs=2e-6)
    assert clf.ood_threshold_ >= expected
    assert clf.predict_ood(X[4000:]).mean() < 0.06


def test_a_confidence_holds_out_more_samples_or_warns(make_resnet, moons):
    X, y = moons
    clf = make_resnet(ood_confidence=0.9).fit(X, y)  # log(0.1) / log(0.95) = 44.9
    assert len(clf.ood_scores_) >= 45
    assert np.isfinite(clf.ood_threshold_)
    with pytest.warns(UserWarning, match="ood_confidence=0.99 requires .* 90 unique"):
        clf.set_params(ood_confidence=0.99).fit(X, y)
    assert not clf.predict_ood(1e3 * X).any()


def test_distant_samples_are_flagged(small):
    X, y = two_moons(600, random_state=0)
    clf = small(SNGPClassifier, epochs=20).fit(X, y)
    assert clf.predict_ood(X).mean() < 0.1
    angle = np.linspace(0, 2 * np.pi, 100)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    for radius in (8, 30, 1e3):
        assert clf.predict_ood(radius * ring).mean() > 0.9


def test_warning_for_too_few_samples(make_resnet, iris):
    X, y = iris
    for params in ({}, {"validation_fraction": 0}):
        for how in ("fit", "partial_fit"):
            clf = make_resnet(**params)
            kwargs = {} if how == "fit" else {"classes": [0, 1, 2]}
            with pytest.warns(
                FewSamplesWarning, match=r"=0.05 .* 19 unique .* got \d\."
            ) as record:
                getattr(clf, how)(X[::10], y[::10], **kwargs)
            assert [warning.filename for warning in record] == [__file__]
            message = str(record[0].message)
            grows = how == "partial_fit" and not params
            assert ("until more samples" in message) == grows
            assert ("=0 holds out no samples" in message) == bool(params)
            assert clf.ood_threshold_ == np.inf
            assert not clf.predict_ood(1e3 * X).any()
            assert (clf.ood_pvalue(1e3 * X) > clf.ood_alpha).all()
    # Only a calibration set is missing.
    clf = make_resnet(validation_fraction=0).fit(X[::2], y[::2]).calibrate_ood(X[1::2])
    assert np.isfinite(clf.ood_threshold_)


# The threshold of partial_fit


@pytest.mark.slow
def test_threshold_of_partial_fit_follows_the_latest_samples(small, blobs, monkeypatch):
    monkeypatch.setattr(_stream_derived, "STREAM_SCORES", 200)
    X, y = blobs
    clf = small(SNGPClassifier)
    for batch in np.array_split(np.arange(2000), 10):
        clf.partial_fit(X[batch], y[batch], classes=range(4))
    assert len(clf.ood_scores_) == 200
    assert 0 < clf.predict_ood(X[3000:]).mean() < 0.1


def test_repeated_samples_count_once(make_resnet, moons):
    X, y = moons
    clf, sizes = make_resnet(), []
    for _ in range(3):
        for part in np.arange(200).reshape(4, 50):
            clf.partial_fit(X[part], y[part], classes=[0, 1])
        sizes.append(len(clf.ood_scores_))
    assert (
        sizes[0] == sizes[1] == sizes[2] == len(np.unique(clf._stream.held_out.hashes))
    )


def test_partial_fit_replaces_the_calibration_set(make_two, moons):
    X, y = moons
    clf = make_two().partial_fit(X, y, classes=[0, 1])
    held_out = len(clf.ood_scores_)
    clf.calibrate_ood(X + 3)
    assert len(clf.ood_scores_) == 200
    assert len(clf.partial_fit(X, y).ood_scores_) == held_out


@pytest.mark.slow
@pytest.mark.parametrize("passes", [0, 3])
def test_pvalues_of_new_samples_after_a_wide_first_batch(small, passes):
    """With more features than hidden units, the projection is fitted as well."""
    means = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(300, 60)), rng.integers(0, 2, 300)
        clf = small(
            SNGPClassifier, epochs=1, random_state=seed, validation_fraction=0.3
        )
        for _ in range(passes):
            clf.partial_fit(X[:150], y[:150], classes=[0, 1])
        if not passes:
            clf.fit(X[:150], y[:150])
        means.append(clf.ood_pvalue(X[150:]).mean())
    # Without ties, the expectation is (1 + n / 2) / (1 + n).
    assert np.mean(means) > 0.5 - 3 * np.std(means) / np.sqrt(len(means))


# Recalibration


def test_recalibration_after_a_shift(small, blobs):
    X, y = blobs
    clf = small(SNGPClassifier, ood_alpha=0.1).fit(X[:1000], y[:1000])
    moved = X[1000:6000] + 6.0
    assert clf.predict_ood(moved).mean() > 0.2
    before = clf.predict_proba(moved)
    assert clf.calibrate_ood(moved[:1000]) is clf
    assert len(clf.ood_scores_) == 1000
    assert 0.06 < clf.predict_ood(moved[1000:]).mean() < 0.14
    assert_array_equal(clf.predict_proba(moved), before)


def test_recalibration_applies_a_new_ood_alpha(make_two, moons):
    X, y = moons
    clf = make_two().fit(X[::2], y[::2])
    for alpha in (0.05, 0.3):
        clf.set_params(ood_alpha=alpha).calibrate_ood(X[1::2])
        expected = np.sort(-clf.score_samples(X[1::2]))
        rank = round((100 + 1) * (1 - alpha) + 0.499)
        # Scores that differ by less count as equal.
        assert clf.ood_threshold_ == pytest.approx(
            expected[rank - 1], rel=1e-5, abs=2e-6
        )


def test_failed_recalibration_changes_nothing(make_two, fitted_two, moons):
    X, _ = moons
    with pytest.raises(NotFittedError):
        make_two().calibrate_ood(X)
    clf = copy.deepcopy(fitted_two)
    state = dict(vars(clf))
    for rows, match in [
        (X[:, :1], "features"),
        (X[:0], "0 sample"),
        (X * np.nan, "NaN"),
    ]:
        with pytest.raises(ValueError, match=match):
            clf.calibrate_ood(rows)
        assert vars(clf) == state
    clf.ood_alpha = 1.5
    with pytest.raises(ValueError, match="ood_alpha"):
        clf.calibrate_ood(X)
    clf.set_params(ood_alpha=0.05)
    with pytest.raises(ValueError, match=r"18 samples, .*ood_alpha=0.05 .* least 19"):
        clf.calibrate_ood(X[:18])
    assert vars(clf) == state
    assert np.isfinite(clf.calibrate_ood(X[:19]).ood_threshold_)
