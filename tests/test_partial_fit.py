"""Incremental training with partial_fit."""

import numpy as np
import pytest
from common import EXACT, assert_valid_predictions, fitted_attributes
from numpy.testing import assert_allclose, assert_array_equal

from sksngp import SNGPClassifier


def test_batches_are_learned(make, moons):
    X, y = moons
    clf = make(learning_rate=0.03)
    for number in range(40):
        batch = slice(number % 4, None, 4)
        assert clf.partial_fit(X[batch], y[batch], classes=[1, 0]) is clf
        assert clf.n_iter_ == len(clf.loss_curve_) == number + 1
    assert_array_equal(clf.classes_, [0, 1])
    assert clf.score(X, y) > 0.9
    assert clf.loss_curve_[-1] < 0.5 * clf.loss_curve_[0]
    assert_valid_predictions(clf, X)


def test_standardization_follows_the_batches(make_two, iris):
    X, y = iris
    X = X * [1, 10, 100, 1000]
    clf = make_two(validation_fraction=0)
    for batch in np.array_split(np.random.default_rng(0).permutation(150), 4):
        clf.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
    assert_allclose(clf.projection_.scaler.mean_, X.mean(axis=0))
    assert_allclose(clf.projection_.scaler.scale_, X.std(axis=0))


def test_results_are_reproducible(make, moons, outputs):
    X, y = moons
    first, second, other = (make(random_state=seed) for seed in (0, 0, 1))
    for clf in (first, second, other):
        clf.partial_fit(X[:100], y[:100], classes=[0, 1]).partial_fit(X[100:], y[100:])
    assert_array_equal(outputs(first, X), outputs(second, X))
    assert (outputs(first, X) != outputs(other, X)).any()


def test_batches_of_a_single_sample(make_two, moons):
    X, y = moons
    clf = make_two()
    for row in range(30):
        clf.partial_fit(X[[row]], y[[row]], classes=[0, 1])
    assert clf.n_iter_ + len(clf.ood_scores_) == 30
    assert 0 < len(clf.ood_scores_) < 10
    assert_valid_predictions(clf, X)


def test_partial_fit_after_fit(make, moons):
    X, y = moons
    clf = make().fit(X, y)
    loss = clf.loss_curve_[-1]
    clf.partial_fit(X, y)
    assert clf.n_iter_ == 6
    assert clf.loss_curve_[-1] < loss + 0.1


def test_posterior_of_batches_equals_that_of_all_samples(small, moons):
    """With constant weights, the posterior does not depend on the batches."""
    X, y = moons
    constant = {"learning_rate": 1e-30, "standardize": False, "kernel_scale": 1.0}
    whole, batches = (small(SNGPClassifier, **EXACT, **constant) for _ in range(2))
    whole.partial_fit(X, y, classes=[0, 1])
    for batch in np.array_split(np.arange(len(X)), 5):
        batches.partial_fit(X[batch], y[batch], classes=[0, 1])
    found, expected = (c.predict_uncertainty(X, "epistemic") for c in (batches, whole))
    assert_allclose(found, expected, rtol=1e-9)
    batches.partial_fit(X, y)
    assert (batches.predict_uncertainty(X, "epistemic") < expected).all()


def test_learning_rate_schedule_is_ignored(make_two, moons, outputs):
    X, y = moons
    constant, cosine = make_two(), make_two(learning_rate_schedule="cosine")
    for clf in (constant, cosine):
        clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert_array_equal(outputs(constant, X), outputs(cosine, X))


@pytest.mark.parametrize(
    ("params", "kwargs", "match"),
    [
        ({}, {}, "classes must be passed in the first"),
        ({}, {"classes": [0]}, "at least two classes|which are not among"),
        ({}, {"classes": [1, 2]}, r"y holds the classes \[0\]"),
        ({}, {"classes": ["a", "b"]}, "classes"),
        ({"early_stopping": True}, {"classes": [0, 1]}, "early_stopping"),
        ({"class_weight": "balanced"}, {"classes": [0, 1]}, "class_weight='balanced'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_invalid_first_batch(make_two, moons, no_training, params, kwargs, match):
    clf = make_two(**params)
    with pytest.raises(ValueError, match=match):
        clf.partial_fit(*moons, **kwargs)
    assert not fitted_attributes(clf)


def test_invalid_later_batch(make_two, moons, outputs):
    X, y = moons
    clf = make_two().partial_fit(X, y, classes=[0, 1])
    before = outputs(clf, X)
    with pytest.raises(ValueError, match=r"classes=\[0, 2\] differs from"):
        clf.partial_fit(X, y, classes=[0, 2])
    with pytest.raises(ValueError, match=r"y holds the classes \[2, 5\]"):
        clf.partial_fit(X[:3], [5, 0, 2])
    with pytest.raises(ValueError, match=r"X has 3 features.*expecting 2"):
        clf.partial_fit(np.ones((4, 3)), y[:4])
    with pytest.raises(ValueError, match="cannot be trained further"):
        clf.set_params(num_hidden=8).partial_fit(X, y)
    assert_array_equal(outputs(clf.set_params(num_hidden=16), X), before)
    clf.partial_fit(X[:10], y[:10], classes=[1, 0]).partial_fit(X[y == 0], y[y == 0])
    assert clf.n_iter_ == 3
