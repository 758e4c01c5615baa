"""TensorFlow's operations under the names of NumPy's functions."""

import numpy as np
import pytest
import tensorflow as tf

from sksngp._tensorflow import array_namespace as xp

VALUES = np.array([[0.5, -2.0, 0.5, 3.0], [0.0, 7.0, 7.0, -1.0]])

CALLS = {
    "abs": lambda xp, x: xp.abs(x),
    "arange": lambda xp, x: xp.arange(4),
    "argmax": lambda xp, x: xp.argmax(x, axis=1),
    "asarray": lambda xp, x: xp.asarray(x, np.float32),
    "clip": lambda xp, x: xp.clip(x, 0.0, 1.0),
    "cos": lambda xp, x: xp.cos(x),
    "equal": lambda xp, x: xp.equal(xp.arange(4), xp.argmax(x, axis=1)[:, None]),
    "exp": lambda xp, x: xp.exp(x),
    "log": lambda xp, x: xp.log(xp.abs(x) + 1.0),
    "log1p": lambda xp, x: xp.log1p(xp.abs(x)),
    "max": lambda xp, x: xp.max(x, axis=1, keepdims=True),
    "maximum": lambda xp, x: xp.maximum(x, 1.0),
    "mean": lambda xp, x: xp.mean(x, axis=0),
    "minimum": lambda xp, x: xp.minimum(x, 1.0),
    "searchsorted": lambda xp, x: xp.searchsorted(np.array([-2.0, 0.5, 0.5, 7.0]), x),
    "sign": lambda xp, x: xp.sign(x),
    "sqrt": lambda xp, x: xp.sqrt(xp.abs(x)),
    "square": lambda xp, x: xp.square(x),
    "sum": lambda xp, x: xp.sum(x, axis=-1, keepdims=True),
    "sum_of_dtype": lambda xp, x: xp.sum(
        xp.asarray(x, np.float32), axis=1, dtype=np.float64
    ),
    "where": lambda xp, x: xp.where(x > 0.5, x, 0.0),
    "where_number_first": lambda xp, x: xp.where(x > 0.5, 0.0, x),
}


@pytest.mark.parametrize("name", CALLS)
def test_function_equals_numpy(name):
    call = CALLS[name]
    found = call(xp, tf.constant(VALUES)).numpy()
    expected = call(np, VALUES)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    # Integers may have other sizes.
    if expected.dtype.kind == "f":
        assert found.dtype == expected.dtype


def test_each_function_is_compared():
    names = {name for name in vars(xp) if not name.startswith("_")}
    assert names - {"Any", "annotations", "np", "tf"} <= set(CALLS)


def test_logarithms_are_precise():
    values = np.array([0.0, 1e-300, 1e-20, 1e-9, 9.9e-4, 1e-3, 1.1e-3, 0.5, 9.0])
    found = xp.log1p(tf.constant(values)).numpy()
    np.testing.assert_allclose(found, np.log1p(values), rtol=1e-12)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 1000])
def test_numbers_below_are_counted(size):
    ordered = np.sort(np.random.default_rng(size).integers(0, 50, size)) / 10
    values = np.concatenate([ordered, ordered + 0.05, [-1.0, 99.0, np.inf]])
    found = xp.searchsorted(ordered, tf.constant(values)).numpy()
    np.testing.assert_array_equal(found, np.searchsorted(ordered, values))
