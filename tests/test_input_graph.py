"""Standardization in exported graphs."""

import numpy as np
import pytest
import tensorflow as tf

from sksngp._data.projection import LARGEST, fit_projection, standardize_samples
from sksngp._tensorflow.input_graph import standardised


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
