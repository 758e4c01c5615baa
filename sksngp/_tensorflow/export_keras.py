"""A fitted classifier as a tf_keras model of tf-models-official's layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import (
    RandomFeatureGaussianProcess,
    SpectralNormalization,
    gaussian_process,
)

from .._data.projection import InputProjection
from .._networks.architecture import Architecture
from .custom_network import BodyNetwork
from .input_graph import standardised
from .residual_network import FeaturesOfOwnType


class PreciseGaussianProcess(FeaturesOfOwnType, RandomFeatureGaussianProcess):
    """tf-models-official's layer for float64: it inverts the precision in each call.

    The covariance is what was learnt, in training calls too: the layer's own update
    works in float32 alone, and Keras traces it to save a model.
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self._gp_cov_layer._get_training_value = lambda training=None: False


def keras_model(classifier: Any) -> tf_keras.Model:
    """Build the model that `to_keras` returns.

    Parameters
    ----------
    classifier : fitted classifier of this package

    Returns
    -------
    tf_keras.Model
        From raw rows, float64 of shape (n, n_features), or images, to probabilities
        (n, K).
    """
    arch, weights = classifier.architecture_, classifier.weights_
    columns = (classifier.n_features_in_,)
    shape = getattr(classifier, "image_shape_", None) or columns
    inputs = tf_keras.Input(shape, dtype="float64", name="rows")
    rows = inputs
    if shape != columns:
        rows = tf_keras.layers.Reshape(columns, dtype="float64")(inputs)
    masks = getattr(classifier, "masks_", [None])
    members = [
        {name: array[member] for name, array in weights.items()}
        for member in range(arch["members"])
    ]
    if arch["members"] == 1:
        members = [weights]
    probabilities = []
    for index, member in enumerate(members):
        projected = _projected(rows, classifier.projection_, index, arch["dtype"])
        if arch.get("body") is not None:
            features = _features(projected, classifier, member)
            probabilities.append(_probabilities(features, classifier, member))
            continue
        for mask in masks:
            hidden = _hidden(projected, classifier, member, mask)
            probabilities.append(_probabilities(hidden, classifier, member))
    if len(probabilities) > 1:
        probabilities = [tf_keras.layers.Average(dtype="float64")(probabilities)]
    return tf_keras.Model(inputs, probabilities[0], name=type(classifier).__name__)


def _projected(
    inputs: tf.Tensor, projection: InputProjection, member: int, dtype: str
) -> tf.Tensor:
    """Standardised columns, cut off and projected in float64."""
    columns = tf_keras.layers.Lambda(
        lambda rows: standardised(rows, projection, dtype), dtype="float64"
    )(inputs)
    if projection.kernel is None:
        return columns
    kernel = projection.kernel[member]
    return _dense(kernel, None, columns, dtype="float64", trainable=False)


def _hidden(
    projected: tf.Tensor,
    classifier: Any,
    weights: dict[str, np.ndarray],
    mask: np.ndarray | None,
) -> tf.Tensor:
    """The residual blocks; with `mask`, one pass of Monte Carlo dropout."""
    arch = classifier.architecture_
    hidden = projected  # layers take it in their own type
    for block in range(arch["num_layers"]):
        update = _block(hidden, classifier, weights, f"hidden_{block}")
        if mask is not None:
            kept = tf.constant(mask[block], arch["dtype"])
            update = tf_keras.layers.Lambda(
                lambda rows, kept=kept: rows * kept, dtype=arch["dtype"]
            )(update)
        elif classifier.dropout_rate:
            update = tf_keras.layers.Dropout(
                classifier.dropout_rate, dtype=arch["dtype"]
            )(update)
        hidden = tf_keras.layers.Add(dtype=arch["dtype"])([hidden, update])
    return hidden


def _features(
    rows: tf.Tensor, classifier: Any, weights: dict[str, np.ndarray]
) -> tf.Tensor:
    """What a network that a function built says of rows."""
    architecture = Architecture(**classifier.architecture_ | {"members": 1})
    network = BodyNetwork(architecture)
    network.load(weights)
    network.model._name = f"network_{id(network)}"  # functions may give all one name
    network.spec_norm_bound.assign(classifier._scalars().get("spec_norm_bound", 1.0))
    shape = network.body.input_shape
    rows = tf_keras.layers.Reshape(shape, dtype=architecture.dtype)(rows)
    return network.model(rows)


def _block(
    hidden: tf.Tensor, classifier: Any, weights: dict[str, np.ndarray], name: str
) -> tf.Tensor:
    arch = classifier.architecture_
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    if arch.get("num_inducing") is None:
        return _dense(kernel, bias, hidden, activation="relu", dtype=arch["dtype"])
    dense = tf_keras.layers.Dense(len(bias), activation="relu", dtype=arch["dtype"])
    layer = SpectralNormalization(
        dense, norm_multiplier=classifier._bound(), dtype=arch["dtype"]
    )
    update = layer(hidden)
    dense.set_weights([kernel, bias])
    layer.u.assign(weights[f"{name}/u"])
    layer.v.assign(weights[f"{name}/v"])
    return update


def _probabilities(
    hidden: tf.Tensor, classifier: Any, weights: dict[str, np.ndarray]
) -> tf.Tensor:
    kernel, bias = weights["output/kernel"], weights["output/bias"]
    if classifier.architecture_.get("num_inducing") is None:
        dtype = classifier.architecture_["dtype"]
        temperature = classifier.temperature_
        logits = _dense(kernel / temperature, bias / temperature, hidden, dtype=dtype)
        return tf_keras.layers.Softmax(dtype="float64")(logits)
    logits, covariance = _gaussian_process(hidden, classifier, weights)
    factor = classifier.mean_field_factor

    def mean_field(outputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        adjusted = gaussian_process.mean_field_logits(*outputs, factor)
        return tf.nn.softmax(adjusted)

    return tf_keras.layers.Lambda(mean_field, dtype="float64")([logits, covariance])


def _gaussian_process(
    hidden: tf.Tensor, classifier: Any, weights: dict[str, np.ndarray]
) -> tuple[tf.Tensor, tf.Tensor]:
    layer = PreciseGaussianProcess(
        len(classifier.classes_),
        num_inducing=classifier.architecture_["num_inducing"],
        gp_kernel_scale=tf.constant(classifier.kernel_scale_, tf.float64),
        gp_cov_momentum=classifier.cov_momentum,
        gp_cov_ridge_penalty=classifier.posterior_.scale,
        gp_output_bias_trainable=True,
        dtype="float64",
    )
    outputs = layer(hidden)
    layer._random_feature.set_weights(
        [weights["random_features/kernel"], weights["random_features/bias"]]
    )
    # Dividing the logits by the temperature leaves their variance as it is.
    beta, bias = (
        weights[f"output/{name}"].astype(np.float64) / classifier.temperature_
        for name in ("kernel", "bias")
    )
    layer._gp_output_layer.set_weights([beta])
    layer._gp_output_bias.assign(bias)
    layer._gp_cov_layer.precision_matrix.assign(classifier.posterior_.precision[0])
    return outputs


def _dense(
    kernel: np.ndarray, bias: np.ndarray | None, inputs: tf.Tensor, **settings: Any
) -> tf.Tensor:
    layer = tf_keras.layers.Dense(
        kernel.shape[1], use_bias=bias is not None, **settings
    )
    outputs = layer(inputs)
    layer.set_weights([kernel] if bias is None else [kernel, np.ravel(bias)])
    return outputs
