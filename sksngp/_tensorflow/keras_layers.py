"""Layers of exported Keras models."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import SpectralNormalization


def dense_layer(
    kernel: np.ndarray, bias: np.ndarray | None, inputs: tf.Tensor, **settings: Any
) -> tf.Tensor:
    """Return the outputs of a dense layer with the given weights."""
    layer = tf_keras.layers.Dense(
        kernel.shape[1], use_bias=bias is not None, **settings
    )
    outputs = layer(inputs)
    layer.set_weights([kernel] if bias is None else [kernel, np.ravel(bias)])
    return outputs


def residual_blocks(
    samples: tf.Tensor,
    classifier: Any,
    weights: dict[str, np.ndarray],
    mask: np.ndarray | None,
) -> tf.Tensor:
    """Return the outputs of the residual blocks of a member.

    Parameters
    ----------
    samples : Keras tensor
        Projected samples.
    classifier : fitted classifier
    weights : dict of str to ndarray
    mask : ndarray of shape (num_layers, 1, num_hidden) or None
        Dropout mask, which defines a thinned network.
    """
    architecture = classifier._fitted_architecture
    hidden, dtype = samples, architecture.dtype  # layers convert to their own type
    for block in range(architecture.num_layers):
        update = _block(hidden, classifier, weights, f"hidden_{block}")
        if mask is not None:
            kept = tf.constant(mask[block], dtype)
            update = tf_keras.layers.Lambda(
                lambda outputs, kept=kept: outputs * kept, dtype=dtype
            )(update)
        elif classifier.dropout_rate:
            update = tf_keras.layers.Dropout(classifier.dropout_rate, dtype=dtype)(
                update
            )
        hidden = tf_keras.layers.Add(dtype=dtype)([hidden, update])
    return hidden


def _block(
    hidden: tf.Tensor, classifier: Any, weights: dict[str, np.ndarray], name: str
) -> tf.Tensor:
    architecture = classifier._fitted_architecture
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    settings = {"activation": "relu", "dtype": architecture.dtype}
    if architecture.num_inducing is None:
        return dense_layer(kernel, bias, hidden, **settings)
    dense = tf_keras.layers.Dense(len(bias), **settings)
    layer = SpectralNormalization(
        dense, norm_multiplier=classifier._bound(), dtype=architecture.dtype
    )
    update = layer(hidden)
    dense.set_weights([kernel, bias])
    layer.u.assign(weights[f"{name}/u"])
    layer.v.assign(weights[f"{name}/v"])
    return update
