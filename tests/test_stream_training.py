"""Streams of any order, batches of any size, and wild samples."""

import numpy as np
import pytest
from common import SNGP_FORMS, assert_valid_predictions, stream
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split

from sksngp import ResNetClassifier, SNGPClassifier


@pytest.fixture(scope="module")
def wine():
    """Training samples, test samples and their labels."""
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)


def order_of(name, X, y):
    """Order the samples of a stream, and add wild ones."""
    order = np.random.default_rng(0).permutation(len(y))
    if name == "sorted":
        order = np.argsort(y, kind="stable")
    elif name == "one class first":
        order = np.append(np.flatnonzero(y == 1)[:30], order)
    X, y = X[order], y[order]
    if name == "wild":
        X[40:41] = 1e6
        X[80:81] = -1e9
    return X, y


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 10, 100])
@pytest.mark.parametrize("order", ["sorted", "one class first", "wild"])
def test_order_and_batches_hardly_matter(small, wine, order, size):
    X, X_test, y, y_test = wine
    clf = small(SNGPClassifier, num_inducing=256, learning_rate=3e-3)
    stream(clf, *order_of(order, X, y), size, [0, 1, 2])
    assert clf.score(X_test, y_test) >= 0.9
    assert clf.predict_ood(X.mean(0) + 20 * X.std(0) * np.eye(13)).mean() > 0.9
    assert clf.predict_ood(X_test).mean() < 0.2


@pytest.mark.parametrize("order", ["sorted", "wild"])
def test_each_class_learns_from_any_first_batch(make, wine, order):
    X, X_test, y, y_test = wine
    clf = make(learning_rate=0.01)
    stream(clf, *order_of(order, X, y), 10, [0, 1, 2])
    assert clf.score(X_test, y_test) >= 0.9


def test_classes_absent_from_the_first_batch_are_learned(small):
    X, y = load_digits(return_X_y=True)
    known = np.flatnonzero(y < 9)[:100]
    clf = small(SNGPClassifier, num_inducing=256, num_hidden=64, learning_rate=3e-3)
    clf.partial_fit(X[known], y[known], classes=range(10))
    assert clf.score(X[1300:], y[1300:]) > 0.5
    stream(clf, X[100:1300], y[100:1300], 200, range(10))
    nine = y[1300:] == 9
    assert clf.score(X[1300:][nine], y[1300:][nine]) > 0.85
    assert clf.score(X[1300:], y[1300:]) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_streams_of_each_posterior(small, wine, form):
    X, X_test, y, y_test = wine
    clf = small(SNGPClassifier, num_inducing=128, learning_rate=3e-3, **form)
    stream(clf, *order_of("shuffled", X, y), 20, [0, 1, 2])
    assert clf.score(X_test, y_test) > 0.9
    assert_valid_predictions(clf, X_test)


def test_a_wild_sample_after_a_fit(make_two, moons):
    X, y = moons
    clf = make_two(epochs=30, learning_rate=3e-3).fit(X, y)
    score, scale = clf.score(X, y), clf.projection_.scaler.scale_
    wild = np.array([[1e6, -1e9]])
    stream(clf, np.concatenate([wild, X]), np.append(0, y), 40, [0, 1])
    assert clf.score(X, y) > score - 0.05
    assert_allclose(clf.projection_.scaler.scale_, scale, rtol=0.5)


@pytest.mark.slow
def test_wide_samples_one_at_a_time(small):
    """The directions of largest variance are not those of the first sample."""
    X, y = load_digits(return_X_y=True)
    clf = small(SNGPClassifier, num_inducing=256, num_hidden=64, learning_rate=3e-3)
    stream(clf, X[:250], y[:250], 1, range(10))
    assert clf.score(X[1300:], y[1300:]) > 0.6


def test_standardization_follows_the_batches(small, iris):
    X, y = iris
    X = X * [1, 10, 100, 1000]
    clf = small(ResNetClassifier, validation_fraction=0)
    for batch in np.array_split(np.random.default_rng(0).permutation(150), 4):
        clf.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
    assert_allclose(clf.projection_.scaler.mean_, X.mean(axis=0))
    assert_allclose(clf.projection_.scaler.scale_, X.std(axis=0))


def test_extreme_samples_have_no_effect_on_scales(small):
    """The scale of a nearly constant feature is that of its typical values."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 2)), np.arange(300) % 2
    X[:, 1] = rng.random(300) < 0.02
    wild = X.copy()
    wild[5::100] *= 1e6
    wild[5::100, 1] = 1e6
    scales = []
    for chunk in (X, wild):
        clf = small(ResNetClassifier).partial_fit(chunk, y, classes=[0, 1])
        scales.append(clf.projection_.scaler.scale_)
    np.testing.assert_allclose(scales[1], scales[0], rtol=0.2)
