"""Export of a fitted classifier as a Keras model of tf-models-official's layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import (
    RandomFeatureGaussianProcess,
    gaussian_process,
)

from .._data.projection import InputProjection
from . import array_namespace as xp
from .keras_layers import dense_layer
from .layers import FeaturesOfOwnType
from .networks import network_type


class PreciseGaussianProcess(FeaturesOfOwnType, RandomFeatureGaussianProcess):
    """Layer for float64, which inverts the precision in each call.

    The covariance is the fitted one, also in training calls. The layer's own update,
    which Keras traces to save a model, supports float32 only.
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
        Maps samples, float64 of shape (n, n_features), or images, to probabilities of
        shape (n, n_classes).
    """
    architecture, weights = classifier._fitted_architecture, classifier.weights_
    columns = (classifier.n_features_in_,)
    shape = getattr(classifier, "image_shape_", None) or columns
    inputs = tf_keras.Input(shape, dtype="float64", name="rows")
    samples = inputs
    if shape != columns:
        samples = tf_keras.layers.Reshape(columns, dtype="float64")(inputs)
    members = [weights]
    if architecture.members > 1:
        members = [
            {name: array[member] for name, array in weights.items()}
            for member in range(architecture.members)
        ]
    network = network_type(architecture)
    probabilities = []
    for index, member in enumerate(members):
        projected = _projected(
            samples, classifier.projection_, index, architecture.dtype
        )
        for mask in getattr(classifier, "masks_", [None]):
            hidden = network.keras_hidden(projected, classifier, member, mask)
            probabilities.append(_probabilities(hidden, classifier, member))
    if len(probabilities) > 1:
        probabilities = [tf_keras.layers.Average(dtype="float64")(probabilities)]
    return tf_keras.Model(inputs, probabilities[0], name=type(classifier).__name__)


def _projected(
    inputs: tf.Tensor, projection: InputProjection, member: int, dtype: str
) -> tf.Tensor:
    """Return standardized, clipped and projected samples in float64."""
    # A normalization layer of Keras would treat a tiny scale as zero.
    columns = tf_keras.layers.Lambda(
        lambda samples: projection.standardized(samples, dtype, xp), dtype="float64"
    )(inputs)
    if projection.kernel is None:
        return columns
    kernel = projection.kernel[member]
    return dense_layer(kernel, None, columns, dtype="float64", trainable=False)


def _probabilities(
    hidden: tf.Tensor, classifier: Any, weights: dict[str, np.ndarray]
) -> tf.Tensor:
    kernel, bias = weights["output/kernel"], weights["output/bias"]
    architecture = classifier._fitted_architecture
    if architecture.num_inducing is None:
        dtype = architecture.dtype
        temperature = classifier.temperature_
        logits = dense_layer(
            kernel / temperature, bias / temperature, hidden, dtype=dtype
        )
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
        num_inducing=classifier._fitted_architecture.num_inducing,
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
    # Dividing the logits by the temperature does not change their variance.
    beta, bias = (
        weights[f"output/{name}"].astype(np.float64) / classifier.temperature_
        for name in ("kernel", "bias")
    )
    layer._gp_output_layer.set_weights([beta])
    layer._gp_output_bias.assign(bias)
    layer._gp_cov_layer.precision_matrix.assign(classifier.posterior_.precision[0])
    return outputs
