"""Sample weights and class weights."""

import copy

import numpy as np
import pytest
from common import EXACT, SNGP_FORMS, assert_valid_predictions, fitted_attributes
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.class_weight import compute_sample_weight

from sksngp import SNGPClassifier


def assert_weight_is_repetition(make, data, outputs):
    X, y = data
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = make().fit(X, y, sample_weight=weights)
    repeated = make().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    # The flags, in the last column, may differ where a score is at the threshold.
    assert_allclose(
        outputs(weighted, X)[:, :-1], outputs(repeated, X)[:, :-1], atol=1e-8
    )
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_)


def test_weight_is_repetition(make, iris, outputs):
    assert_weight_is_repetition(lambda: make(**EXACT), iris, outputs)


def test_weight_is_repetition_with_early_stopping(make_two, iris, outputs):
    assert_weight_is_repetition(
        lambda: make_two(**EXACT, early_stopping=True), iris, outputs
    )


@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_weight_is_repetition_in_each_posterior(small, moons, outputs, form):
    assert_weight_is_repetition(
        lambda: small(SNGPClassifier, **EXACT, **form), moons, outputs
    )


def test_weight_zero_is_removal(make, moons, outputs):
    X, y = moons
    weights = (np.arange(len(y)) % 3 > 0).astype(float)
    kept = weights > 0
    weighted = make().fit(X, y, sample_weight=weights)
    removed = make().fit(X[kept], y[kept])
    assert_array_equal(outputs(weighted, X), outputs(removed, X))
    weighted.partial_fit(X, y, sample_weight=weights)
    removed.partial_fit(X[kept], y[kept])
    assert_allclose(outputs(weighted, X), outputs(removed, X), atol=1e-6)


def test_samples_of_weight_zero_may_have_an_unknown_class(fitted_two, moons, outputs):
    X, y = moons
    clf, expected = (copy.deepcopy(fitted_two) for _ in range(2))
    clf.partial_fit(X, np.where(X[:, 0] > 1, 7, y), sample_weight=X[:, 0] <= 1)
    expected.partial_fit(X[X[:, 0] <= 1], y[X[:, 0] <= 1])
    assert_array_equal(outputs(clf, X), outputs(expected, X))


def test_training_does_not_depend_on_the_scale_of_weights(make_two, moons):
    """The output layer of SNGP does, as a posterior mode: weights are counts to it."""
    X, y = moons
    first, second = (
        make_two().fit(X, y, sample_weight=np.full(len(y), weight))
        for weight in (1.0, 1024.0)
    )
    assert_allclose(
        first.weights_["hidden_1/kernel"], second.weights_["hidden_1/kernel"]
    )


@pytest.mark.parametrize(
    ("class_weight", "weigh"),
    [
        ({"no": 1.0, "yes": 5.0}, lambda y: np.where(y == "yes", 5.0, 1.0)),
        ({"yes": 0.5}, lambda y: np.where(y == "yes", 0.5, 1.0)),
        ("balanced", lambda y: compute_sample_weight("balanced", y)),
    ],
    ids=["all classes", "one class", "balanced"],
)
def test_class_weight_is_sample_weight(make_two, moons, outputs, class_weight, weigh):
    X, y = moons[0][:150], np.where(moons[1][:150] * np.arange(150) % 3, "no", "yes")
    clf = make_two(class_weight=class_weight).fit(X, y)
    expected = make_two().fit(X, y, sample_weight=weigh(y))
    assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)
    assert (outputs(clf, X) != outputs(make_two().fit(X, y), X)).any()
    if class_weight != "balanced":
        clf.partial_fit(X, y)
        expected.partial_fit(X, y, sample_weight=weigh(y))
        assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)


def test_class_weight_multiplies_sample_weight(make_two, moons, outputs):
    X, y = moons
    weights = 1.0 + (X[:, 0] > 0)
    clf = make_two(class_weight={0: 2.0, 1: 0.5}).fit(X, y, sample_weight=weights)
    expected = make_two().fit(X, y, sample_weight=weights * np.where(y, 0.5, 2.0))
    assert_array_equal(outputs(clf, X), outputs(expected, X))


def test_balanced_with_a_missing_class(make_two, iris):
    X, y = iris
    clf = make_two(class_weight="balanced", warm_start=True)
    assert_valid_predictions(clf.fit(X, y, sample_weight=y > 0), X)
    assert_valid_predictions(clf.fit(X[y > 0], y[y > 0]), X)


def test_class_weight_zero_removes_the_class(make, iris):
    X, y = iris
    clf = make(class_weight={0: 0.0, 1: 1.0, 2: 1.0}, epochs=40, learning_rate=0.01)
    assert_valid_predictions(clf.fit(X, y), X)
    assert not (clf.predict(X[y > 0]) == 0).any()


@pytest.mark.parametrize(
    "class_weight",
    [
        {0: -1.0},
        {0: np.nan},
        {0: np.inf},
        {0: "heavy"},
        {0: None},
        {0: 0.0},
        {0: 0.0, 1: 0.0},
        {0: 1.0, 2: 1.0},
    ],
    ids=str,
)
def test_invalid_class_weight(make_two, moons, no_training, class_weight):
    clf = make_two(class_weight=class_weight)
    with pytest.raises(ValueError, match="class_weight"):
        clf.fit(*moons)
    assert not fitted_attributes(clf)


def test_class_weight_that_removes_a_whole_batch(make_two, moons):
    X, y = moons
    clf = make_two(class_weight={0: 0.0, 2: 1.0})
    clf.partial_fit(X, y * 2 - (X[:, 0] > 1) * y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"class_weight.* 0 of the classes"):
        clf.partial_fit(X[y == 0], y[y == 0])
    assert clf.partial_fit(X[y == 1], y[y == 1]).n_iter_ == 2
