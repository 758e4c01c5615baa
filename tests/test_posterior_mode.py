"""The computed output layer is the minimum of the penalized loss."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize._linesearch import LineSearchWarning
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.linear_model import LogisticRegression

from sksngp._uncertainty import posterior_mode as module
from sksngp._uncertainty.posterior_mode import posterior_mode


def data(num_classes, n=60, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 8))
    labels = rng.integers(num_classes, size=n).astype(np.int32)
    weights = rng.uniform(0.5, 2.0, n)
    return features, labels, weights


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("ridge", [0.1, 3.0])
def test_gradient_vanishes(num_classes, ridge):
    features, labels, weights = data(num_classes)
    mode = posterior_mode(
        features, labels, weights, num_classes=num_classes, ridge=ridge
    )
    residual = softmax(mode.logits(features), axis=1) - np.eye(num_classes)[labels]
    residual *= weights[:, None]
    assert_allclose(features.T @ residual + ridge * mode.kernel, 0, atol=1e-6)
    assert_allclose(residual.sum(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_weights_count_samples(num_classes):
    features, labels, _ = data(num_classes)
    counts = np.random.default_rng(1).integers(1, 4, len(labels))
    settings = {"num_classes": num_classes, "ridge": 0.1}
    weighted = posterior_mode(features, labels, counts.astype(float), **settings)
    repeated = posterior_mode(
        np.repeat(features, counts, axis=0),
        np.repeat(labels, counts),
        np.ones(counts.sum()),
        **settings,
    )
    assert_allclose(weighted.kernel, repeated.kernel, atol=1e-8)
    assert_allclose(weighted.bias, repeated.bias, atol=1e-8)


def test_rough_mode_is_nearly_as_likely():
    features, labels, weights = data(3)
    settings = {"num_classes": 3, "ridge": 0.1}
    losses = []
    for rough in (False, True):
        dtype = np.float32 if rough else np.float64
        mode = posterior_mode(
            features.astype(dtype), labels, weights, rough=rough, **settings
        )
        log_proba = log_softmax(mode.logits(features), axis=1)
        losses.append(-weights @ log_proba[np.arange(len(labels)), labels])
    exact, rough = losses
    assert rough == pytest.approx(exact, rel=0.02)


def test_absent_class_has_the_probability_of_a_pseudo_count():
    features, labels, weights = data(2)
    mode = posterior_mode(features, 2 * labels, weights, num_classes=3, ridge=0.1)
    logits = mode.logits(features)
    level = np.average(logsumexp(logits[:, [0, 2]], axis=1), weights=weights)
    assert_allclose(logits[:, 1] - level, -np.log(weights.sum() + 3))


def test_warnings_of_the_line_search_are_ignored(monkeypatch):
    """Close to the mode, rounding errors may prevent the line search of SciPy."""
    message = "The line search algorithm did not converge"

    class WithWarning(LogisticRegression):
        def fit(self, *args, **kwargs):
            warnings.warn(message, LineSearchWarning, stacklevel=2)
            return super().fit(*args, **kwargs)

    monkeypatch.setattr(module, "LogisticRegression", WithWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior_mode(*data(2), num_classes=2, ridge=0.1)


def test_single_class():
    features, labels, weights = data(2)
    mode = posterior_mode(features, 0 * labels, weights, num_classes=2, ridge=0.1)
    proba = softmax(mode.logits(features), axis=1)
    assert (mode.kernel == 0).all()
    assert (proba[:, 0] > 0.9).all()


@pytest.mark.parametrize("ridge", [0.01, 0.03, 0.1, 1.0])
def test_accuracy_does_not_depend_on_the_prior_precision(ridge):
    """The gradient bounds the error of the weights, after division by the ridge."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(150, 64)) / 8, rng.integers(0, 3, 150)
    labels = labels.astype(np.int32)
    weights = rng.integers(1, 4, 150).astype(float)
    mode = posterior_mode(features, labels, weights, num_classes=3, ridge=ridge)
    residual = softmax(mode.logits(features), axis=1) - np.eye(3)[labels]
    gradient = features.T @ (weights[:, None] * residual) + ridge * mode.kernel
    assert abs(gradient).max() / ridge < 1e-10 * weights.sum()
