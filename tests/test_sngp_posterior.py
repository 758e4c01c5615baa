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
        _, variance, prior = clf._posterior_at(compiled, projected)
        _, features = compiled.forward(projected)
    phi = features.numpy().astype(float)
    covariance = clf.posterior_.scale * np.linalg.inv(clf.posterior_.precision[0])
    expected = np.einsum("nm,mk,nk->n", phi, covariance, phi)
    np.testing.assert_allclose(variance[:, 0], expected, rtol=2e-3)
    assert (variance < prior).all()
