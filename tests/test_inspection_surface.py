"""Grids of two features, and quantities on them."""

import numpy as np
import pandas as pd
import pytest
from displays import Distance
from displays import surface as expected_surface

from sksngp.inspection._surface import (
    SURFACES,
    check_kind,
    compute_surface,
    in_container_of,
    make_grid,
    two_features,
)


def test_grid_covers_the_samples_and_the_margin():
    X, X_ood = np.array([[0.0, 1.0], [2.0, np.nan]]), np.array([[5.0, -1.0]])
    xx0, xx1 = make_grid(X, X_ood, 7, (0.5, 0.0))
    assert xx0.shape == xx1.shape == (7, 7)
    assert (xx0.min(), xx0.max()) == (-0.5, 5.5)
    assert (xx1.min(), xx1.max()) == (-1.0, 1.0)


def test_samples_have_the_type_that_the_estimator_expects():
    samples = np.arange(6.0).reshape(3, 2)
    frame = pd.DataFrame(samples, columns=["a", "b"])
    fitted = Distance().fit(frame, [0, 1, 1])
    for X, estimator in ((frame, Distance()), (samples, fitted)):
        pd.testing.assert_frame_equal(in_container_of(X, samples, estimator), frame)
    assert in_container_of(samples, samples, Distance()) is samples


@pytest.mark.parametrize("kind", SURFACES)
def test_surfaces_are_predictions(kind):
    X = np.random.default_rng(0).normal(size=(20, 2))
    clf = Distance().fit(X, np.arange(20) % 2)
    response, label, threshold = compute_surface(clf, X, kind, None)
    np.testing.assert_array_equal(response, expected_surface(clf, X, kind))
    assert threshold == (clf.ood_threshold_ if kind == "ood" else None)
    assert ("probability" in label) == (kind == "probability")


def test_invalid_arguments():
    with pytest.raises(ValueError, match="kind must be one of"):
        check_kind("variance")
    with pytest.raises(ValueError, match="X must have 2 features, got 3"):
        two_features(np.zeros((4, 3)), "X")
    with pytest.raises(ValueError, match="eps must be a non-negative number"):
        make_grid(np.zeros((4, 2)), None, 5, -1.0)
