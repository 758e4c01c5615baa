"""Standardization in exported graphs."""

import numpy as np
import pytest
import tensorflow as tf

from sksngp._data.projection import LARGEST, fit_projection, standardize_samples
from sksngp._tensorflow.input_graph import log1p, standardised


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_graph_equals_numpy(standardize, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) * [1.0, 1e-3, 1e3]
    projection = fit_projection(
        X, np.ones(50), num_hidden=4, members=1, standardize=standardize, rng=rng
    )
    rows = np.concatenate([X, 1e3 * X, [[0.0, -1e300, 1e300]]])
    expected = standardize_samples(
        projection.scaler, rows, LARGEST[dtype], projection.tail
    )
    found = standardised(tf.constant(rows), projection, dtype).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_logarithms_are_precise():
    values = np.array([0.0, 1e-300, 1e-20, 1e-9, 9.9e-4, 1e-3, 1.1e-3, 0.5, 9.0])
    found = log1p(tf.constant(values)).numpy()
    np.testing.assert_allclose(found, np.log1p(values), rtol=1e-12)
