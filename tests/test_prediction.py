"""Predictions: independence of samples, threads and concurrent fits."""

import copy

import numpy as np
import pytest
from common import SNGP_FORMS
from numpy.testing import assert_allclose, assert_array_equal

from sksngp import SNGPClassifier, _prediction
from sksngp._data import projection
from sksngp._runtime import threads
from sksngp._tensorflow import network_pool
from sksngp._uncertainty.entropy import KINDS


@pytest.fixture(scope="module")
def many_samples(iris):
    """Enough samples for prediction blocks of every size."""
    X, _ = iris
    samples = np.random.default_rng(0).normal(size=(2500, 4)) * X.std(axis=0)
    return X.mean(axis=0) + 2 * samples


@pytest.fixture(scope="module")
def fitted_on_iris(make, iris):
    return make().fit(*iris)


@pytest.fixture(scope="module")
def wide_on_iris(make, iris):
    return make(num_hidden=128, num_layers=1, epochs=1).fit(*iris)


def check_independence(clf, X, outputs):
    together = outputs(clf, X)
    order = np.random.default_rng(1).permutation(len(X))
    assert_array_equal(outputs(clf, X[order]), together[order])
    for size in (1, 7, 64, 65, 300, 1024, 1025):
        assert_array_equal(outputs(clf, X[-size:]), together[-size:])


def test_predictions_are_independent_of_other_samples(
    fitted_on_iris, wide_on_iris, many_samples, outputs
):
    far = np.vstack([many_samples[:100] * 10, many_samples])
    for clf in (fitted_on_iris, wide_on_iris):
        check_independence(clf, far, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_predictions_of_each_posterior_are_independent_of_other_samples(
    small, iris, many_samples, outputs, form
):
    check_independence(small(SNGPClassifier, **form).fit(*iris), many_samples, outputs)


def test_number_of_threads_does_not_change_predictions(
    wide_on_iris, many_samples, outputs, monkeypatch
):
    results = []
    for number in (1, 4):
        monkeypatch.setattr(threads, "num_threads", lambda n=number: n)
        results.append(outputs(wide_on_iris, many_samples))
    assert_array_equal(*results)


def test_predictions_in_float32_and_float64_agree(fitted_on_iris, many_samples):
    exact = copy.copy(fitted_on_iris)
    exact.architecture_ = {**exact.architecture_, "dtype": "float64"}
    assert_allclose(
        fitted_on_iris.predict_proba(many_samples),
        exact.predict_proba(many_samples),
        atol=1e-4,
    )
    for kind in KINDS:
        assert_allclose(
            fitted_on_iris.predict_uncertainty(many_samples, kind=kind),
            exact.predict_uncertainty(many_samples, kind=kind),
            rtol=1e-3,
            atol=1e-5,
        )


@pytest.fixture(scope="module")
def fitted_in_two_ways(make_two, moons):
    """Return a classifier, a function that refits it, and the refitted classifier."""
    X, y = moons
    old, new = np.array(["a", "b"])[y], np.array(["c", "d"])[y]

    def refit(clf):
        return clf.fit(X[::-1], new[::-1])

    return make_two(epochs=1).fit(X, old), refit, refit(make_two(epochs=1))


@pytest.mark.parametrize("moment", [1, 2, "lease"])
@pytest.mark.parametrize("method", ["predict", "predict_ood"])
def test_prediction_during_a_fit_uses_one_model(
    fitted_in_two_ways, moons, monkeypatch, moment, method
):
    """Another thread's fit may end at any moment of a prediction."""
    X = moons[0]
    fitted, refit, refitted = fitted_in_two_ways
    clf = copy.deepcopy(fitted)
    allowed = [getattr(clf, method)(X), getattr(refitted, method)(X)]
    module, name = (
        (network_pool, "lease")
        if moment == "lease"
        else (_prediction, "check_is_fitted")
    )
    function, calls = getattr(module, name), []

    def refit_first(*args, **kwargs):
        calls.append(None)
        if len(calls) == (1 if moment == "lease" else moment):
            refit(clf)
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, refit_first)
    found = getattr(clf, method)(X)
    assert any(np.array_equal(found, expected) for expected in allowed)


def test_unknown_kind(fitted_two, moons):
    for kind in ("variance", None, "Total"):
        with pytest.raises(ValueError, match=f"kind must be one of.*got {kind!r}"):
            fitted_two.predict_uncertainty(moons[0], kind=kind)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 256, 257, 1024, 1025, 3000])
@pytest.mark.parametrize("width", [1, 5000, 10**6])
def test_prediction_blocks_cover_the_samples_in_few_sizes(n, width):
    X = np.arange(1.0, n + 1)[:, None]
    seen = []
    for rows, block in projection.padded_blocks(X, width):
        assert len(block) in projection.BLOCK_SIZES
        assert len(block) == 64 or len(block) * width <= 2**22
        assert_array_equal(block[: rows.stop - rows.start], X[rows])
        assert not block[rows.stop - rows.start :].any()
        seen.append(X[rows])
    assert_array_equal(np.concatenate(seen), X)
