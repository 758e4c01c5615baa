import numpy as np
import pytest
from reference import forward
from scipy.special import softmax

from sksngp import MCDropoutClassifier
from sksngp._uncertainty.entropy import KINDS, decompose


@pytest.fixture
def make(small):
    return lambda **params: small(MCDropoutClassifier, **{"dtype": "float64", **params})


def thinned_probabilities(clf, X):
    """Compute the softmax (S, n, K) for each dropout mask in NumPy."""
    weights = {name: w.astype(np.float64) for name, w in clf.weights_.items()}
    return softmax(
        forward(weights, clf.projection_(X), masks=clf.masks_.swapaxes(0, 1))[1]
        / clf.temperature_,
        axis=-1,
    )


@pytest.mark.parametrize("params", [{}, {"num_samples": 1}, {"dropout_rate": 0.7}])
def test_prediction_is_the_average_of_thinned_networks(make, iris, params):
    X, y = iris
    clf = make(**params).fit(X, y)
    samples = thinned_probabilities(clf, X)
    assert samples.shape == (clf.num_samples, 150, 3)
    np.testing.assert_allclose(clf.predict_proba(X), samples.mean(axis=0), rtol=1e-10)
    for kind in KINDS:
        score = clf.predict_uncertainty(X, kind=kind)
        np.testing.assert_allclose(score, decompose(samples)[kind], atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_keep_the_mean_and_drop_the_rate(make, iris, rate):
    clf = make(dropout_rate=rate, num_samples=400, epochs=1).fit(*iris)
    masks = clf.masks_
    assert masks.shape == (400, 2, 1, 16)
    np.testing.assert_allclose(masks[masks > 0], 1 / (1 - rate))
    deviation = np.sqrt(rate * (1 - rate) / masks.size)
    assert (masks == 0).mean() == pytest.approx(rate, abs=5 * deviation)
    assert masks.mean() == pytest.approx(1, abs=5 * deviation / (1 - rate))


def test_masks_of_samples_and_blocks_differ(make, iris):
    masks = make(dropout_rate=0.5, num_samples=10).fit(*iris).masks_
    assert len(np.unique(masks.reshape(20, 16), axis=0)) == 20


def test_without_dropout_it_is_the_single_network(make, iris):
    X, y = iris
    clf = make(dropout_rate=0.0, validation_fraction=0.0).fit(X, y)
    np.testing.assert_array_equal(clf.masks_, 1.0)
    np.testing.assert_allclose(
        clf.predict_uncertainty(X, kind="epistemic"), 0, atol=1e-12
    )
    weights = {name: w.astype(np.float64) for name, w in clf.weights_.items()}
    logits = forward(weights, clf.projection_(X))[1]
    np.testing.assert_allclose(
        clf.predict_proba(X), softmax(logits, axis=1), rtol=1e-10
    )


def test_same_masks_are_applied_to_all_samples(make, iris):
    X, y = iris
    clf = make(dropout_rate=0.5).fit(X, y)
    order = np.random.default_rng(0).permutation(150)
    expected = clf.predict_proba(X)
    np.testing.assert_allclose(clf.predict_proba(X[order]), expected[order], rtol=1e-12)
    np.testing.assert_allclose(clf.predict_proba(X[:1]), expected[:1], rtol=1e-12)
    np.testing.assert_array_equal(clf.predict_proba(X), expected)


@pytest.mark.slow
def test_more_masks_approximate_the_expectation_better(make, iris):
    X, y = iris
    clf = make(dropout_rate=0.5, num_samples=6000, epochs=20).fit(X, y)
    samples = thinned_probabilities(clf, X[::10])
    big = samples[3000:].mean(axis=0)
    errors = {
        size: np.abs(samples[:3000].reshape(-1, size, 15, 3).mean(axis=1) - big).mean()
        for size in (10, 1000)
    }
    assert errors[1000] < errors[10] / 5


def test_without_hidden_layers_dropout_has_no_effect(make, iris):
    X, y = iris
    clf = make(num_layers=0).fit(X, y)
    assert clf.predict_proba(X).shape == (150, 3)
    np.testing.assert_allclose(
        clf.predict_uncertainty(X, kind="epistemic"), 0, atol=1e-12
    )
