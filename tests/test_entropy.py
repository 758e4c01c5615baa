import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from sklearn.utils._testing import assert_allclose

from sksngp._uncertainty.entropy import (
    KINDS,
    decompose,
    entropy_of_logits,
    normalized_entropy,
    quantity_of_samples,
)


@st.composite
def samples(draw):
    """Strategy for probabilities (S, n, K), with corners and edges of the simplex."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(2, 7)))
    element = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
    mass = draw(arrays(np.float64, shape, elements=element))
    mass[mass.sum(axis=-1) < 1e-100] = 1.0
    return mass / mass.sum(axis=-1, keepdims=True)


@given(samples())
def test_scores_lie_in_the_unit_interval_and_add_up(proba):
    scores = decompose(proba)
    assert tuple(scores) == KINDS
    for score in scores.values():
        assert score.shape == proba.shape[1:2]
        assert (score >= 0).all() and (score <= 1).all()
    assert_allclose(
        scores["total"], scores["aleatoric"] + scores["epistemic"], atol=1e-15
    )


@given(samples(), st.randoms(use_true_random=False))
def test_order_of_classes_and_of_samples_does_not_matter(proba, random):
    draws, _, classes = (list(range(size)) for size in proba.shape)
    random.shuffle(draws)
    random.shuffle(classes)
    expected = decompose(proba)
    for kind, score in decompose(proba[draws][..., classes]).items():
        assert_allclose(score, expected[kind], atol=1e-12)


@given(samples())
def test_samples_that_agree_leave_no_epistemic_uncertainty(proba):
    agreed = np.repeat(proba[:1], 5, axis=0)
    scores = decompose(agreed)
    assert_allclose(scores["epistemic"], 0, atol=1e-12)
    assert_allclose(scores["total"], normalized_entropy(proba[0]), atol=1e-12)


@given(samples())
def test_entropy_equals_scipy_divided_by_log_k(proba):
    expected = scipy.stats.entropy(proba, axis=-1) / np.log(proba.shape[-1])
    assert_allclose(normalized_entropy(proba), expected, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 1000])
def test_limits(n_classes):
    certain, guess = np.eye(n_classes), np.full((1, n_classes), 1 / n_classes)
    np.testing.assert_array_equal(normalized_entropy(certain), 0)
    assert_allclose(normalized_entropy(guess), 1, rtol=1e-12)
    disagreement = decompose(
        certain[:, None, :]
    )  # samples predict different classes with certainty
    assert_allclose(disagreement["total"], 1, rtol=1e-12)
    np.testing.assert_array_equal(disagreement["aleatoric"], 0)
    overlap = decompose(np.stack([guess, guess]))
    assert_allclose(overlap["aleatoric"], 1, rtol=1e-12)
    np.testing.assert_array_equal(overlap["epistemic"], 0)


def test_half_certain_samples_by_hand():
    proba = np.array([[[1.0, 0.0]], [[0.5, 0.5]]])
    mean_entropy = 0.5 * (0 + 1)
    entropy_of_mean = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    scores = decompose(proba)
    assert_allclose(scores["total"], entropy_of_mean)
    assert_allclose(scores["aleatoric"], mean_entropy)
    assert_allclose(scores["epistemic"], entropy_of_mean - mean_entropy)


# Logits

some_logits = arrays(
    float, st.tuples(st.integers(1, 4), st.integers(2, 5)), elements=st.floats(-50, 50)
)


@given(some_logits)
def test_entropy_of_logits_is_that_of_their_softmax(logits):
    found = entropy_of_logits(logits)
    assert_allclose(found, normalized_entropy(softmax(logits, axis=1)), atol=1e-14)
    assert ((found >= 0) & (found <= 1)).all()


@given(some_logits, st.permutations(range(5)))
def test_entropy_of_logits_is_independent_of_class_order(logits, order):
    order = [k for k in order if k < logits.shape[1]]
    assert_allclose(entropy_of_logits(logits[:, order]), entropy_of_logits(logits))


@pytest.mark.parametrize("gap", [30.0, 100.0, 700.0])
def test_entropy_of_certain_predictions_is_precise(gap):
    """p log p of the others, and p of the first: (gap + 1) exp(-gap)."""
    expected = (gap + 1) * np.exp(-gap) / np.log(2)
    assert_allclose(entropy_of_logits(np.array([[gap, 0.0]])), expected, rtol=1e-12)


def test_entropies_of_nearly_certain_predictions_differ():
    others = np.array([0.0, 1e-300, 1e-200, 1e-50, 1e-30])
    found = normalized_entropy(np.column_stack([np.ones(5), others]))
    assert found[0] == 0
    assert (np.diff(found) > 0).all()


def test_quantities_of_samples():
    samples = softmax(np.random.default_rng(0).normal(size=(3, 5, 4)), axis=-1)
    assert_allclose(quantity_of_samples(samples, "proba"), samples.mean(axis=0))
    for kind, expected in decompose(samples).items():
        assert_allclose(quantity_of_samples(samples, kind), expected)
    assert_allclose(quantity_of_samples(samples[0], "proba"), samples[0])
    assert_allclose(quantity_of_samples(samples[0], "epistemic"), 0, atol=1e-12)
