import numpy as np
import pytest

from sksngp._uncertainty import predictive


def test_both_forms_of_the_variance_agree():
    """For a precision I + V D V^T, of which V is the low-rank factor's directions."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 8))
    directions = np.linalg.qr(rng.normal(size=(8, 3)))[0]
    eigenvalues = np.array([9.0, 4.0, 0.5])
    precision = np.eye(8) + directions * eigenvalues @ directions.T
    expected = np.einsum("nm,mk,nk->n", features, np.linalg.inv(precision), features)
    whitening = np.linalg.inv(np.linalg.cholesky(precision)).T
    norms = np.square(features @ whitening).sum(1)
    found = predictive.whitened_variance(norms, scale=1.0)
    np.testing.assert_allclose(found, expected)
    factor = directions * np.sqrt(eigenvalues / (1.0 + eigenvalues))
    products = np.square(features @ factor).sum(1)
    squares = np.square(features).sum(1)
    found = predictive.low_rank_variance(products, squares, prior_variance=1.0)
    np.testing.assert_allclose(found, expected)
    assert predictive.low_rank_variance(np.ones(1), np.ones(1), 1.0) > 0


def test_uncertainties_stay_in_the_unit_interval():
    ratio = np.array([0.0, 0.25, 1.0, 3.0])
    bounded = predictive.epistemic_uncertainty(ratio, bounded=True)
    np.testing.assert_array_equal(bounded, [0.0, 0.25, 1.0, 1.0])
    unbounded = predictive.epistemic_uncertainty(ratio, bounded=False)
    np.testing.assert_allclose(unbounded, [0.0, 0.2, 0.5, 0.75])
    score = predictive.variance_score(np.array([0.5]), np.array([0.25]))
    np.testing.assert_allclose(score, [0.25])


@pytest.mark.parametrize("noise", [0.0, 2.0, -1.0])
def test_samples_of_logits(noise):
    logits, variance = np.array([[1.0, -1.0]]), np.array([[4.0]])
    found = predictive.sampled_logits(logits, variance, noise)
    np.testing.assert_allclose(found, logits + 2.0 * noise)
    scaled = predictive.mean_field_logits(logits, variance, 2.0)
    np.testing.assert_allclose(scaled, logits / 3.0)
