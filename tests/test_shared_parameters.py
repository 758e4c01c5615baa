"""Estimator parameters: constructors, constraints and extreme values."""

import copy
import re
from inspect import Parameter, signature

import numpy as np
import pytest
from common import SNGP_FORMS, assert_valid_predictions, fitted_attributes
from dask.base import tokenize
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._shared_parameters import SharedParameters

#: Names of the parameters that all classifiers share, in order.
SHARED = list(SharedParameters._parameters)


# Constructors


def test_constructors_agree_with_the_declarations(one_of_four):
    """Scikit-learn reads signatures and constraints; own parameters come first."""
    declared, parameters = one_of_four._parameters, signature(one_of_four).parameters
    assert (
        list(declared) == list(parameters) == list(one_of_four._parameter_constraints)
    )
    assert list(declared)[-len(SHARED) :] == SHARED
    shared = {name: declared[name] for name in SHARED}
    assert shared == SharedParameters._parameters
    for name, parameter in parameters.items():
        assert parameter.kind is Parameter.KEYWORD_ONLY
        assert parameter.default is declared[name].default
        allowed = one_of_four._parameter_constraints[name]
        assert allowed is declared[name].constraints
        assert not hasattr(one_of_four, name)
    assert sorted(parameters) == one_of_four._get_param_names()


def test_classifiers_that_differ_in_attributes_have_different_tokens(one_of_four):
    """Dask names a task by its arguments, and compares fields only of dataclasses."""
    first, second = one_of_four(), one_of_four()
    first.weights_, second.weights_ = {"bias": np.zeros(2)}, {"bias": np.ones(2)}
    assert tokenize(first) != tokenize(second)


def test_errors_of_the_constructor_name_the_class(one_of_four):
    expected = rf"^{one_of_four.__name__}\.__init__\(\) got"
    with pytest.raises(TypeError, match=expected):
        one_of_four(num_epochs=1)


def test_own_constructors_are_kept(one_of_four):
    class Own(one_of_four):
        def __init__(self, num_hidden=8):
            super().__init__(num_hidden=num_hidden)

    class Plain(one_of_four):
        pass

    class Both(Plain, Own):
        pass

    assert clone(Both(num_hidden=4)).get_params() == {"num_hidden": 4}


def test_constructor_stores_its_parameters(one_of_four):
    """Each parameter is stored under its name, not under that of another."""
    given = {name: object() for name in signature(one_of_four).parameters}
    assert vars(one_of_four(**given)) == given


def test_parameters_are_documented_in_order(one_of_four):
    section = one_of_four.__doc__.split("Parameters\n")[1].split("Attributes\n")[0]
    documented = re.findall(r"^(\w+) : ", section, flags=re.MULTILINE)
    assert documented == list(signature(one_of_four).parameters)


# Invalid values

#: All classes have the same constraints, so that one class is tested with these.
INVALID_SHARED = {
    "network": ["cnn", None, 3],
    "image_shape": [[1, 2, 1], 4, "8x8"],
    "num_layers": [-1, 1.5, None],
    "num_hidden": [0, 2.5],
    "dropout_rate": [-0.1, 1.0, np.nan],
    "standardize": ["yes", None],
    "dtype": ["float16", np.float32],
    "mixed_precision": ["float32", True],
    "device": [0, ["cpu"]],
    "optimizer": ["adagrad", None],
    "learning_rate": [0, -1.0, np.nan, np.inf, 1e39, "fast"],
    "learning_rate_schedule": ["linear", None],
    "epochs": [0, 1.5, None],
    "batch_size": [0, 1.5, "auto"],
    "early_stopping": ["yes"],
    "validation_fraction": [-0.1, 1.0],
    "n_iter_no_change": [0],
    "class_weight": ["heavy", 2],
    "warm_start": ["no"],
    "cv": [1, 2.5, "prefit"],
    "temperature": ["warm", 0, -1.0, np.inf, np.nan],
    "ood_alpha": [0, 1, "auto"],
    "ood_confidence": [0, 1.0, 95, "high"],
    "random_state": [-1, "seed"],
    "verbose": [-1, "loud"],
}
INVALID_OWN = {
    SNGPClassifier: {
        "spec_norm_bound": [0, -1, "auto"],
        "num_inducing": [0, 2.5],
        "kernel_scale": [0, -1.0, "median"],
        "ridge_penalty": [0, -1],
        "cov_momentum": [-2, -0.5, 0, 1, None],
        "covariance": ["diagonal"],
        "mean_field_factor": [-1, None],
        "inference": ["exact"],
        "num_samples": [0],
    },
    ResNetClassifier: INVALID_SHARED,
    MCDropoutClassifier: {"num_samples": [0, 1.5]},
    DeepEnsembleClassifier: {"num_ensemble": [0, None]},
}


@pytest.mark.parametrize(
    ("Classifier", "name", "value"),
    [
        (Classifier, name, value)
        for Classifier, parameters in INVALID_OWN.items()
        for name, values in parameters.items()
        for value in values
    ],
)
def test_invalid_value(small, moons, no_training, Classifier, name, value):
    clf = small(Classifier, **{name: value})
    for fit in (clf.fit, clf.partial_fit):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter"):
            fit(*moons)
    assert not fitted_attributes(clf)


def test_every_parameter_has_an_invalid_value(one_of_four):
    assert {*INVALID_SHARED, *INVALID_OWN[one_of_four]} == set(
        one_of_four().get_params()
    )


# Extreme values


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {"num_layers": 0},
        {"num_layers": 1, "num_hidden": 1, "mixed_precision": "bfloat16"},
        {"dropout_rate": 0.99},
    ],
    ids=str,
)
def test_extreme_networks(make, moons, params):
    X, y = (part[:80] for part in moons)
    assert_valid_predictions(make(**params).fit(X, y), X)
    assert_valid_predictions(make(**params).partial_fit(X, y, classes=[0, 1]), X)


#: Parameters that also affect the posterior and the score of `SNGPClassifier`.
EXTREME_SETS = [
    {"batch_size": 1},
    {"batch_size": 10**6},
    {"validation_fraction": 0},
    {"validation_fraction": 0.99},
    {"standardize": False},
    {"ood_alpha": 0.999},
]
EXTREME_TRAINING = [
    {"epochs": 1},
    {"ood_alpha": 1e-9},
    {"ood_confidence": 1e-9},
    {"optimizer": "sgd"},
    {"optimizer": "rmsprop"},
    {"learning_rate_schedule": "cosine"},
    {"device": "cpu"},
    {"random_state": None},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("Classifier", "params"),
    [
        *((SNGPClassifier, params) for params in EXTREME_SETS),
        *((ResNetClassifier, params) for params in EXTREME_SETS + EXTREME_TRAINING),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_extreme_training_parameters(small, moons, Classifier, params):
    X, y = (part[:80] for part in moons)
    clf = small(Classifier, **params)
    assert_valid_predictions(clone(clf).fit(X, y), X)
    assert_valid_predictions(clf.partial_fit(X, y, classes=[0, 1]), X)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("Classifier", "params"),
    [
        (SNGPClassifier, {"num_inducing": 1}),
        (SNGPClassifier, {"kernel_scale": 1e-6}),
        (SNGPClassifier, {"spec_norm_bound": 1e-3}),
        (SNGPClassifier, {"ridge_penalty": 1e-6}),
        (SNGPClassifier, {"mean_field_factor": 0}),
        (SNGPClassifier, {"inference": "monte_carlo", "num_samples": 1}),
        *((SNGPClassifier, form) for form in SNGP_FORMS.values()),
        (MCDropoutClassifier, {"num_samples": 1}),
        (DeepEnsembleClassifier, {"num_ensemble": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_extreme_own_parameters(small, moons, Classifier, params):
    X, y = (part[:80] for part in moons)
    assert_valid_predictions(small(Classifier, **params).fit(X, y), X)
    clf = small(Classifier, **params).partial_fit(X, y, classes=[0, 1])
    assert_valid_predictions(clf.partial_fit(X, y), X)


def test_numpy_scalars(make_two, moons, outputs):
    """Searches over `np.arange` or `np.logspace` pass such values."""
    params = {
        "num_layers": np.int64(2),
        "num_hidden": np.int32(16),
        "dropout_rate": np.float64(0.1),
        "learning_rate": np.float32(0.5),
        "epochs": np.int64(3),
        "batch_size": np.int64(32),
        "n_iter_no_change": np.int64(2),
        "validation_fraction": np.float64(0.2),
        "early_stopping": np.True_,
        "random_state": np.int64(3),
        "ood_alpha": np.float64(0.1),
        "ood_confidence": np.float32(0.5),
    }
    found = outputs(make_two(**params).fit(*moons), moons[0])
    plain = {name: value.item() for name, value in params.items()}
    assert_array_equal(found, outputs(make_two(**plain).fit(*moons), moons[0]))


# Changes after a fit


def test_changed_parameters_take_effect_in_the_next_fit(fitted, moons, outputs):
    X, _ = moons
    clf = copy.deepcopy(fitted)
    before = outputs(clf, X)
    other = {
        "num_layers": 3,
        "num_hidden": 8,
        "num_ensemble": 1,
        "num_samples": 4,
        "num_inducing": 32,
        "dropout_rate": 0.7,
        "spec_norm_bound": 0.1,
        "kernel_scale": 9.0,
        "ridge_penalty": 9.0,
        "cov_momentum": 0.5,
        "covariance": "per_class",
        "dtype": "float64",
        "standardize": False,
        "ood_alpha": 0.5,
        "ood_confidence": 0.9,
        "class_weight": "balanced",
    }
    for name in other.keys() & clf.get_params().keys():
        old = clf.get_params()[name]
        clf.set_params(**{name: other[name]})
        assert_array_equal(outputs(clf, X), before, err_msg=name)
        clf.set_params(**{name: old})
