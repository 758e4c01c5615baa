import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import softmax

from sksngp._uncertainty.temperature import fit_temperature, probability_at


def draw(n, num_classes=4, seed=0):
    """Return logits, and labels sampled from their softmax."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, num_classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


def fitted(logits, labels, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    return fit_temperature(lambda t: softmax(logits / t, axis=1), labels, weights)


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_temperature_undoes_a_factor(factor):
    logits, labels = draw(20_000)
    assert fitted(factor * logits, labels) == pytest.approx(factor, rel=0.03)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.05, 20), st.integers(1, 60), st.integers(0, 100))
def test_temperature_is_where_the_gradient_vanishes(factor, n, seed):
    logits, labels = draw(n, seed=seed)
    logits *= factor
    found = np.log(fitted(logits, labels))
    scaled = logits / np.exp(found)
    mean = (softmax(scaled, axis=1) * scaled).sum(axis=1)
    gradient = (scaled[np.arange(n), labels] - mean).sum() + found
    curvature = 1 + n * np.square(scaled).mean()
    assert abs(gradient) < 1e-3 * curvature


def test_few_correct_samples_do_not_give_a_temperature_of_zero():
    logits = 3 * np.eye(3)
    labels = np.arange(3)
    few, many = (fitted(np.tile(logits, (n, 1)), np.tile(labels, n)) for n in (1, 1000))
    assert 0.4 < few < 1
    assert many < few
    assert np.isfinite(fitted(1e6 * logits, labels[::-1]))


def test_a_weight_is_a_repetition():
    logits, labels = draw(50)
    weights = np.random.default_rng(1).integers(0, 4, 50)
    repeated = fitted(np.repeat(logits, weights, axis=0), np.repeat(labels, weights))
    assert fitted(logits, labels, weights.astype(float)) == pytest.approx(repeated)


def test_without_weight_it_is_one():
    assert fitted(*draw(9), np.zeros(9)) == pytest.approx(1.0, abs=1e-4)


def test_probability_is_the_mean_over_samples_of_the_network():
    logits = np.random.default_rng(0).normal(size=(3, 5, 4))
    each = [probability_at(sample, 2.0) for sample in logits]
    for proba, sample in zip(each, logits, strict=True):
        assert_allclose(proba, softmax(sample / 2, axis=1))
    assert_allclose(probability_at(logits, 2.0), np.mean(each, axis=0))
