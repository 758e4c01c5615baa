import pickle

import numpy as np
import pytest

from sksngp import SNGPClassifier


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variance_is_that_of_the_precision(small, moons, dtype):
    X, y = moons
    clf = small(SNGPClassifier, dtype=dtype, random_state=0).fit(X, y)
    clf._prepare()
    projected = clf.projection_(X[:9], dtype)
    with clf._inference() as compiled:
        _, variance, prior, _ = clf._posterior_at(compiled, projected)
        _, features = compiled.forward(projected)
    phi = features.numpy().astype(float)
    covariance = clf.posterior_.scale * np.linalg.inv(clf.posterior_.precision[0])
    expected = np.einsum("nm,mk,nk->n", phi, covariance, phi)
    np.testing.assert_allclose(variance[:, 0], expected, rtol=2e-3)
    assert (variance < prior).all()


def test_factors_of_a_float32_model_are_stored_in_float32(small, moons):
    X, y = moons
    clf = small(SNGPClassifier, num_inducing=64, random_state=0).fit(X, y)
    assert clf.posterior_.triangle.dtype == np.float32
    assert clf.input_distance_.posterior.triangle.dtype == np.float32
    assert len(pickle.dumps(clf.posterior_)) < 4 * 64 * 65 / 2 + 500
    clf.partial_fit(X, y)  # rounding errors of many updates would accumulate
    assert clf.posterior_.triangle.dtype == np.float64
    precise = small(SNGPClassifier, dtype="float64", random_state=0).fit(X, y)
    assert precise.posterior_.triangle.dtype == np.float64
    assert precise.input_distance_.posterior.triangle.dtype == np.float64
