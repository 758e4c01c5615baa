"""Reproducibility: seeds, threads and global random states."""

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from common import CLASSIFIERS, CROSS_FITTED
from numpy.testing import assert_array_equal

from sksngp import DeepEnsembleClassifier, MCDropoutClassifier, SNGPClassifier

recipes = pytest.mark.parametrize(
    ("Classifier", "params"),
    [*((Classifier, {}) for Classifier in CLASSIFIERS), (SNGPClassifier, CROSS_FITTED)],
    ids=[*(Classifier.__name__ for Classifier in CLASSIFIERS), "cross-fitted"],
)


@pytest.mark.slow
@recipes
def test_int(small, moons, outputs, Classifier, params):
    X, y = moons
    make = partial(small, Classifier, **params)
    clf = make(random_state=7).fit(X, y)
    weights, expected = clf.weights_, outputs(clf, X)
    clf.fit(X, y)
    assert_array_equal(outputs(clf, X), expected)
    assert clf.weights_.keys() == weights.keys()
    for name, array in clf.weights_.items():
        assert_array_equal(array, weights[name])
    for seed in (8, None):
        other = make(random_state=seed).fit(X, y)
        assert (outputs(other, X) != expected).mean() > 0.5


def test_random_state_instance(make_two, moons):
    X, y = moons
    state = np.random.RandomState(7)
    first = make_two(random_state=state).fit(X, y).predict_proba(X)
    second = make_two(random_state=state).fit(X, y).predict_proba(X)
    again = make_two(random_state=np.random.RandomState(7)).fit(X, y).predict_proba(X)
    assert_array_equal(first, again)
    assert (first != second).any()


@pytest.mark.parametrize("cv", [None, 2])
@pytest.mark.parametrize("Classifier", [MCDropoutClassifier, SNGPClassifier])
def test_num_samples_does_not_change_the_training(small, moons, Classifier, cv):
    first, second = (
        small(Classifier, num_samples=count, cv=cv, epochs=2).fit(*moons)
        for count in (3, 20)
    )
    for name, array in first.weights_.items():
        assert_array_equal(array, second.weights_[name])
    samples = "masks_" if Classifier is MCDropoutClassifier else "noise_"
    assert len(getattr(first, samples)) == 3
    assert len(getattr(second, samples)) == 20


@pytest.mark.slow
@recipes
def test_fits_in_threads_equal_serial_fits(small, moons, outputs, Classifier, params):
    def fit(seed):
        held_out = params or {"early_stopping": seed % 2 == 1}
        clf = small(Classifier, random_state=seed, **held_out).fit(*moons)
        return outputs(clf, moons[0])

    num_fits = 2 if params else 4
    with ThreadPoolExecutor(2) as executor:
        found = list(executor.map(fit, range(num_fits)))
    assert_array_equal(found, [fit(seed) for seed in range(num_fits)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "Classifier", [SNGPClassifier, MCDropoutClassifier, DeepEnsembleClassifier]
)
def test_global_random_states_are_unchanged(small, moons, Classifier):
    import tensorflow as tf

    def draw(between):
        random.seed(5)
        np.random.seed(5)
        tf.random.set_seed(5)
        between()
        return random.random(), np.random.random(), tf.random.normal([]).numpy()

    def fit():
        # No other test uses this width, so that the first fit builds the network.
        clf = small(Classifier, num_layers=1, num_hidden=11).fit(*moons)
        clf.predict_uncertainty(moons[0])

    assert draw(fit) == draw(lambda: None)
    assert draw(fit) == draw(lambda: None)
