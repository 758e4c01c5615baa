"""The fitting workflow: learning rates, unusual data and failed fits."""

import copy
from functools import cache
from itertools import product

import numpy as np
import pytest
from common import CROSS_FITTED, assert_valid_predictions, fitted_attributes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import sksngp
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._tensorflow import training
from sksngp._tensorflow.compiled_network import CompiledNetwork

# Learning rates


def halved(done):
    return 0.5 if done >= 0.5 else 1.0


@pytest.mark.slow
def test_learning_rate_schedules(make_two, moons, monkeypatch):
    rates = []
    set_rate = CompiledNetwork.set_learning_rate
    monkeypatch.setattr(
        CompiledNetwork,
        "set_learning_rate",
        lambda compiled, rate: (rates.append(rate), set_rate(compiled, rate)),
    )

    def rates_of(schedule):
        rates.clear()
        clf = make_two(epochs=4, learning_rate=0.1, learning_rate_schedule=schedule)
        clf.fit(*moons)
        return rates[-4:]

    assert_allclose(rates_of("constant"), [0.1] * 4)
    root = np.sqrt(0.5)
    assert_allclose(rates_of("cosine"), 0.05 * (1 + np.array([1, root, 0, -root])))
    assert_allclose(rates_of(halved), [0.1, 0.1, 0.05, 0.05])


def test_a_learning_rate_of_zero_keeps_the_weights(make_two, moons):
    clf = make_two(epochs=3, learning_rate_schedule=lambda done: float(done == 0))
    weights = clf.fit(*moons).weights_
    for name, array in make_two(epochs=1).fit(*moons).weights_.items():
        # SNGP normalizes kernels in each step, and computes the output.
        is_bias = name.startswith("hidden") and name.endswith("bias")
        if is_bias or isinstance(clf, ResNetClassifier):
            assert_array_equal(weights[name], array)


@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf, None, np.ones(2)], ids=str)
def test_invalid_learning_rate_schedule(make_two, moons, no_training, factor):
    clf = make_two(learning_rate_schedule=lambda done: 1.0 if done < 0.5 else factor)
    with pytest.raises(ValueError, match=r"learning_rate_schedule=.* in epoch \d"):
        clf.fit(*moons)


@pytest.mark.parametrize("learning_rate", [1e2, 1e5, 1e12, 1e38, 1e300])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_error_of_divergence_names_the_learning_rate(
    make_two, moons, learning_rate, optimizer
):
    X, y = moons
    for batch_size in (None, 60):  # divergence in the last step is also an error
        clf = make_two(
            learning_rate=learning_rate,
            optimizer=optimizer,
            batch_size=batch_size,
            epochs=1,
        )
        try:
            clf.fit(X, y)
        except ValueError as error:
            assert "learning_rate" in str(error)
            assert not fitted_attributes(clf)
        else:
            assert_valid_predictions(clf, X)


def test_error_of_overflow_names_the_learning_rate(small, moons):
    """All weights are finite, but their product overflows."""
    clf = small(ResNetClassifier, learning_rate=1e30, epochs=1)
    with pytest.raises(ValueError, match=r"learning_rate.* 1e\+30"):
        clf.set_params(batch_size=None).fit(*moons)
    assert not fitted_attributes(clf)


# Unusual data


def random_data(n=24, n_features=3, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, n_features))
    return X, (X[:, 0] > 0).astype(int)


def with_feature(feature, values):
    X, y = random_data()
    X[:, feature] = values
    return X, y


def with_duplicates():
    X, y = random_data()
    X[y == 1] = X[y == 1][0]
    return X, y


UNUSUAL_DATA = {
    "a constant feature": with_feature(1, 3.0),
    "only constant features": (np.full((24, 2), 7.0), np.arange(24) % 2),
    "a class of equal samples": with_duplicates(),
    "one sample per class": (np.eye(3), np.arange(3)),
    "a class of one sample": (random_data()[0], np.arange(24) == 5),
    "fewer samples than a mini-batch": random_data(5),
    "one feature": random_data(n_features=1),
    "more features than hidden units": random_data(n_features=40),
    "more features than samples": random_data(n=6, n_features=9),
    "many constant features": (np.ones((24, 40)), np.arange(24) % 2),
    "1e37": (random_data()[0] * 1e37, random_data()[1]),
    "1e-37": (random_data()[0] * 1e-37, random_data()[1]),
    "1e-300": (random_data()[0] * 1e-300, random_data()[1]),
    "1e37 in one feature": with_feature(1, np.linspace(-1e37, 1e37, 24)),
    "a large offset": (random_data()[0] + 1e9, random_data()[1]),
    "one outlier": with_feature(1, np.r_[3e38, np.ones(23)]),
}
each_unusual_data = pytest.mark.parametrize(
    "data", UNUSUAL_DATA.values(), ids=UNUSUAL_DATA
)


def assert_valid(clf, X):
    assert_valid_predictions(clf, X)
    assert_valid_predictions(clf, X[:1] * 0.5)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@each_unusual_data
def test_fit_on_unusual_data(make_two, data):
    assert_valid(make_two().fit(*data), data[0])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    [
        "only constant features",
        "one sample per class",
        "more features than hidden units",
        "1e-300",
        "one outlier",
    ],
)
@pytest.mark.parametrize("Classifier", [MCDropoutClassifier, DeepEnsembleClassifier])
def test_other_classifiers_on_unusual_data(small, Classifier, name):
    X, y = UNUSUAL_DATA[name]
    assert_valid(small(Classifier).fit(X, y), X)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@each_unusual_data
def test_partial_fit_on_unusual_data(small, data):
    X, y = data
    clf = small(SNGPClassifier)
    clf.partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    assert_valid(clf, X)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@each_unusual_data
def test_early_stopping_on_unusual_data(small, data):
    X, y = data
    clf = small(SNGPClassifier, early_stopping=True)
    if any(len(np.unique(X[y == k], axis=0)) > 1 for k in set(y)):
        assert_valid(clf.fit(X, y), X)
    else:
        with pytest.raises(ValueError, match="only unique sample"):
            clf.fit(X, y)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [5e-324, 1e-310, 1e-40, -1e30])
def test_values_at_the_limits_of_the_range(make_two, moons, value):
    X, y = (part[:100] for part in moons)
    one_column = np.column_stack([X, np.where(y, value, 0.0)])
    for rows, standardize in [
        (X * value, True),
        (X * value, False),
        (one_column, True),
    ]:
        clf = make_two(standardize=standardize).fit(rows, y)
        assert_valid_predictions(clf, rows)


@pytest.mark.parametrize("far", [1e3, 1e9, 1e37], ids=str)
def test_predictions_for_distant_samples_are_finite(make, fitted, moons, far):
    X, y = moons
    for clf in (fitted, make(standardize=False, epochs=1).fit(X, y)):
        assert_valid_predictions(clf, X * far)


def test_negative_zero_equals_zero(make_two, moons, outputs):
    X = np.where(np.abs(moons[0]) < 0.5, 0.0, moons[0])
    y = moons[1].astype(float)
    assert (X == 0).any(axis=0).all()
    clf = make_two().fit(X, y)
    signed = make_two().fit(np.where(X == 0, -0.0, X), np.where(y == 0, -0.0, y))
    assert_array_equal(outputs(signed, X), outputs(clf, X))
    assert_array_equal(outputs(clf, np.where(X == 0, -0.0, X)), outputs(clf, X))


LARGEST = float(np.float32(1e37))
FLOATS = st.floats(-LARGEST, LARGEST, width=32) | st.floats(-3, 3, width=16)


@settings(max_examples=24, derandomize=True)
@given(
    X=arrays(np.float64, st.tuples(st.integers(2, 9), st.just(2)), elements=FLOATS),
    Classifier=st.sampled_from([ResNetClassifier, SNGPClassifier]),
)
def test_any_finite_samples(small, X, Classifier):
    clf = small(Classifier, epochs=2).fit(X, np.arange(len(X)) % 2)
    assert_valid_predictions(clf, X)


# A failed fit changes nothing


def diverge(monkeypatch, clf):
    monkeypatch.setattr(clf, "learning_rate", 1e30)
    return ValueError, "learning_rate"


def fail_after(module, name, error=KeyboardInterrupt):
    """Let a function of the library return, then raise an error."""

    def prepare(monkeypatch, clf):
        function = getattr(module, name)

        def fail(*args, **kwargs):
            function(*args, **kwargs)
            raise error("failed here")

        monkeypatch.setattr(module, name, fail)
        return error, "failed here"

    return prepare


def interrupt_at_the_end(monkeypatch, clf):
    """Interrupt a fit at the threshold, which `partial_fit` does not compute."""
    fail_after(type(clf), "_learn")(monkeypatch, clf)
    return fail_after(sksngp._uncertainty.conformal, "threshold")(monkeypatch, clf)


FAILURES = {
    "divergence": diverge,
    "interrupt in training": fail_after(training, "train"),
    "interrupt at the end": interrupt_at_the_end,
    "error in training": fail_after(CompiledNetwork, "epoch", RuntimeError),
}
INTERRUPTED = list(FAILURES)[:3]
#: Classifier, parameters, method, whether it was fitted before, and failure.
FAILING_FITS = [
    *product([ResNetClassifier], [{}], ["fit"], [False, True], FAILURES),
    *product([ResNetClassifier], [{}], ["partial_fit"], [False, True], INTERRUPTED),
    *product([ResNetClassifier], [{}], ["warm_start"], [True], INTERRUPTED),
    *product([SNGPClassifier], [{}], ["fit", "partial_fit"], [True], INTERRUPTED),
    (SNGPClassifier, {}, "partial_fit", False, "interrupt at the end"),
    (SNGPClassifier, {}, "warm_start", True, "interrupt at the end"),
    (MCDropoutClassifier, {}, "fit", True, "divergence"),
    (DeepEnsembleClassifier, {}, "partial_fit", True, "error in training"),
    (SNGPClassifier, CROSS_FITTED, "fit", True, "interrupt at the end"),
]


def name_of(value):
    if isinstance(value, bool):
        return "fitted" if value else "unfitted"
    if isinstance(value, dict):
        return "cross-fitted" if value else "one network"
    return getattr(value, "__name__", None)


def fit_as(how, clf, X, y):
    if how == "partial_fit":
        return clf.partial_fit(X, y, classes=[0, 1])
    return clf.fit(X, y)


@pytest.fixture(scope="module")
def fitted_as(small, moons, outputs):
    """``fitted_as(Classifier, cross_fitted, how)``: a classifier and its outputs."""

    @cache
    def fit(Classifier, cross_fitted, how):
        params = CROSS_FITTED if cross_fitted else {}
        clf = small(Classifier, warm_start=how == "warm_start", **params)
        fit_as(how, clf, *(part[:100] for part in moons))
        return clf, outputs(clf, moons[0])

    return fit


@pytest.mark.parametrize(
    ("Classifier", "params", "how", "fitted_before", "failure"),
    FAILING_FITS,
    ids=name_of,
)
def test_failed_fit_changes_nothing(
    fitted_as,
    moons,
    outputs,
    monkeypatch,
    Classifier,
    params,
    how,
    fitted_before,
    failure,
):
    X, y = (part[:100] for part in moons)
    fitted, expected = fitted_as(Classifier, bool(params), how)
    clf = copy.deepcopy(fitted) if fitted_before else clone(fitted)
    with monkeypatch.context() as patch:
        error, match = FAILURES[failure](patch, clf)
        state = dict(vars(clf))
        with pytest.raises(error, match=match):
            fit_as(how, clf, X[::-1] + 1, y[::-1])
        assert vars(clf).keys() == state.keys()
        assert all(vars(clf)[name] is value for name, value in state.items())
    if not fitted_before:
        fit_as(how, clf, X, y)
    assert_array_equal(outputs(clf, moons[0]), expected)
    if fitted_before and not params:
        assert_valid_predictions(fit_as(how, clf, X, y), X)


# Width


@pytest.mark.parametrize(
    ("columns", "width"), [(2, 128), (128, 128), (129, 192), (200, 256), (600, 512)]
)
def test_network_width_equals_the_number_of_features(small, columns, width):
    X = np.random.default_rng(0).normal(size=(40, columns))
    clf = small(ResNetClassifier, num_layers=0, num_hidden="auto", epochs=1)
    clf.fit(X, X[:, 0] > 0)
    assert clf.architecture_["num_hidden"] == width
    moved = X.copy()
    moved[:, -1] += 1e6
    if columns <= width:  # no direction is lost
        shift = clf.projection_(moved) - clf.projection_(X)
        assert (np.abs(shift).max(axis=1) > 0.1).all()
