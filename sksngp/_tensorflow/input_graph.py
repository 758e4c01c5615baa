"""Standardization of inputs as TensorFlow operations, for exported models."""

from __future__ import annotations

import tensorflow as tf

from .._data.projection import LARGEST, InputProjection, scaler_by_column


def standardised(rows: tf.Tensor, projection: InputProjection, dtype: str) -> tf.Tensor:
    """Standardize samples as `sksngp._data.projection.standardize_samples` does.

    Parameters
    ----------
    rows : tf.Tensor, float64 of shape (n, n_features)
    projection : InputProjection
    dtype : str
        Floating-point type of the network.

    Returns
    -------
    tf.Tensor, float64 of shape (n, n_features)
    """
    if projection.scaler is not None:  # the Keras layer treats a tiny scale as zero
        mean, scale = scaler_by_column(projection.scaler, rows.shape[1])
        rows = (rows - mean) / scale
    rows = tf.clip_by_value(rows, -LARGEST[dtype], LARGEST[dtype])
    if projection.tail is None:
        return rows
    beyond = tf.maximum(tf.abs(rows) - projection.tail, 0.0)
    return tf.where(
        beyond > 0.0, tf.sign(rows) * (projection.tail + log1p(beyond)), rows
    )


def log1p(value: tf.Tensor) -> tf.Tensor:
    """As `numpy.log1p` of numbers of at least 0, which ONNX lacks."""
    small = tf.minimum(value, 1e-3)
    series = small * (
        1 - small * (1 / 2 - small * (1 / 3 - small * (1 / 4 - small / 5)))
    )
    return tf.where(value < 1e-3, series, tf.math.log(1.0 + value))
