import numpy as np
import pytest

from sksngp import SNGPClassifier
from sksngp._sngp_output import MAX_FEATURES, MAX_PRODUCTS


@pytest.mark.parametrize("num_classes", [2, 1000])
def test_output_is_computed_for_few_samples(num_classes):
    clf = SNGPClassifier(num_inducing=1024)
    clf.classes_ = np.arange(num_classes)
    largest = min(MAX_FEATURES // 1024, MAX_PRODUCTS // (1024 * num_classes))
    assert clf._output_is_small(largest)
    assert not clf._output_is_small(largest + 1)


def test_mean_squared_distance_is_that_of_all_pairs(small, moons):
    clf = small(SNGPClassifier, random_state=0).fit(*moons)
    X = moons[0][:50]
    rows = clf._project(X, np.zeros(50, np.int32), np.ones(50))
    hidden = clf._hidden(rows).astype(float)
    pairs = np.square(hidden[:, None] - hidden[None]).sum(-1)
    found = clf._mean_squared_distance(rows)
    np.testing.assert_allclose(found, pairs.mean(), rtol=1e-4)
