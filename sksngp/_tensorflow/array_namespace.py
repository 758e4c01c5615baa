"""TensorFlow operations with the names and arguments of NumPy's functions.

The formulas of predictions are written once, for a namespace `xp`: NumPy computes
predictions, and this module builds the graphs of exported models. Operations that ONNX
lacks are composed of others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

abs = tf.abs
arange = tf.range
clip = tf.clip_by_value
cos = tf.cos
equal = tf.equal
exp = tf.exp
log = tf.math.log
maximum = tf.maximum
minimum = tf.minimum
sign = tf.sign
sqrt = tf.sqrt
square = tf.square


def argmax(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Return the positions of the maxima along an axis, as int32."""
    return tf.argmax(x, axis, output_type=tf.int32)


def asarray(x: tf.Tensor, dtype: Any) -> tf.Tensor:
    """Convert a tensor to another data type."""
    return tf.cast(x, dtype)


def log1p(x: tf.Tensor) -> tf.Tensor:
    """Compute ``log(1 + x)`` for x >= 0, precisely for small x."""
    small = tf.minimum(x, 1e-3)
    series = small * (
        1 - small * (1 / 2 - small * (1 / 3 - small * (1 / 4 - small / 5)))
    )
    return tf.where(x < 1e-3, series, tf.math.log(1.0 + x))


def max(x: tf.Tensor, axis: int, keepdims: bool = False) -> tf.Tensor:
    """Return the maxima along an axis."""
    return tf.reduce_max(x, axis, keepdims)


def mean(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Return the means along an axis."""
    return tf.reduce_mean(x, axis)


def searchsorted(a: np.ndarray, v: tf.Tensor) -> tf.Tensor:
    """Count the sorted numbers below each value, as float64, by a binary search."""
    bits = len(a).bit_length()
    padded = tf.constant(np.pad(a, (0, 2**bits), constant_values=np.inf))
    count = tf.zeros_like(v, tf.int32)
    for bit in reversed(range(bits)):
        below = tf.gather(padded, count + (2**bit - 1)) < v
        count += tf.where(below, 2**bit, 0)
    return tf.cast(count, tf.float64)


def sum(
    x: tf.Tensor, axis: int, dtype: Any = None, keepdims: bool = False
) -> tf.Tensor:
    """Add the numbers along an axis."""
    return tf.reduce_sum(x if dtype is None else tf.cast(x, dtype), axis, keepdims)


def where(condition: tf.Tensor, x: Any, y: Any) -> tf.Tensor:
    """Choose from two tensors of one data type, or from a tensor and a number."""
    dtype = x.dtype if tf.is_tensor(x) else y.dtype
    return tf.where(condition, tf.cast(x, dtype), tf.cast(y, dtype))
