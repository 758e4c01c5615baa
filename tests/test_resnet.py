"""The deterministic residual network."""

import numpy as np
import pytest
from reference import forward
from scipy.special import softmax

from sksngp import ResNetClassifier
from sksngp._uncertainty.entropy import KINDS, normalized_entropy


@pytest.mark.parametrize("num_layers", [0, 2])
def test_prediction_is_the_softmax_of_the_network(small, iris, num_layers):
    """All kinds of uncertainty are the entropy of the prediction."""
    X, y = iris
    clf = small(ResNetClassifier, num_layers=num_layers, dtype="float64").fit(X, y)
    logits = forward(clf.weights_, clf.projection_(X))[1]
    expected = softmax(logits / clf.temperature_, axis=1)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-10)
    entropy = normalized_entropy(expected)
    for kind in KINDS:
        found = clf.predict_uncertainty(X, kind=kind)
        np.testing.assert_allclose(found, entropy, rtol=1e-10)
    np.testing.assert_allclose(-clf.score_samples(X), entropy, rtol=1e-10)
