"""Keras layers of the dense network and of the output, and the official layers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

#: Number of random features per partial product. TensorFlow would split longer sums in
#: a way that depends on the number of samples, and the last digits of a prediction
#: would depend on the other samples.
FEATURE_SLICE_SIZE = 256
#: Number of columns from which TensorFlow treats a product as wide.
WIDE_COLUMNS = 128


def feature_slices(size: int) -> list[slice]:
    """Return slices of at most `FEATURE_SLICE_SIZE` random features."""
    step = FEATURE_SLICE_SIZE
    return [slice(start, start + step) for start in range(0, size, step)]


def official_layers(file: str) -> ModuleType:
    """Import a module of tf-models-official's layers without its package.

    The package imports TensorFlow Text and Keras 3, which take longer than all other
    imports together and are required by other layers only.
    """
    package = importlib.util.find_spec("official")
    assert package is not None and package.submodule_search_locations
    root = package.submodule_search_locations[0]
    path = Path(root, "nlp", "modeling", "layers", file)
    spec = importlib.util.spec_from_file_location(f"{__name__}.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:  # type checkers do not follow dynamic imports
    from official.nlp.modeling.layers import (
        RandomFeatureGaussianProcess,
        SpectralNormalization,
        SpectralNormalizationConv2D,
    )
else:
    _spectral_normalization = official_layers("spectral_normalization.py")
    SpectralNormalization = _spectral_normalization.SpectralNormalization
    SpectralNormalizationConv2D = _spectral_normalization.SpectralNormalizationConv2D
    RandomFeatureGaussianProcess = official_layers(
        "gaussian_process.py"
    ).RandomFeatureGaussianProcess


class NormalizedDense(SpectralNormalization):
    """Wrapper of tf-models-official for a dense layer, without random initial values.

    The parent class draws u and v with an initializer of Keras 3, whose import takes as
    long as a small fit, and with the global `random`. Here they are loaded from arrays,
    like all weights.
    """

    def build(self, input_shape: Any) -> None:
        tf_keras.layers.Wrapper.build(self, input_shape)
        self.w = self.layer.kernel
        self.w_shape = self.w.shape.as_list()
        for name, size in (("v", self.w_shape[0]), ("u", self.w_shape[1])):
            vector = self.add_weight(
                name=name, shape=(1, size), initializer="zeros", trainable=False
            )
            setattr(self, name, vector)


class StackedDense(tf_keras.layers.Layer):
    """Dense layers of several members: (members, n, in) -> (members, n, out)."""

    def __init__(
        self, members: int, units: int, activation: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.members = members
        self.units = units
        self.activation = tf_keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        shape = (self.members, input_shape[-1], self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        self.bias = self.add_weight(
            name="bias", shape=(self.members, 1, self.units), initializer="zeros"
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # A single batched product would add the terms of few samples in another order
        # than those of many, and predictions would depend on the other samples.
        products = [
            samples @ kernel
            for samples, kernel in zip(
                tf.unstack(inputs, self.members),
                tf.unstack(self.kernel, self.members),
                strict=True,
            )
        ]
        return self.activation(tf.stack(products) + self.bias)


class FeaturesOfOwnType:
    """Mixin for tf-models-official's layer: random features of the layer's dtype.

    The layer builds its feature layer in the default floating-point type of Keras
    instead of its own `dtype`, and therefore does not support float64. It also rounds
    the factor sqrt(2 / M) to float32, which would leave float64 logits with eight
    digits.
    """

    num_inducing: int
    dtype: str

    def __init__(self, units: int, num_inducing: int, **kwargs: Any) -> None:
        # The next class is the layer.
        super().__init__(units, num_inducing=num_inducing, **kwargs)  # type: ignore[call-arg]
        self.gp_feature_scale = tf.constant(np.sqrt(2.0 / num_inducing), self.dtype)

    def _make_random_feature_layer(self, name: str) -> tf_keras.layers.Layer:
        return tf_keras.layers.Dense(
            self.num_inducing,
            activation=tf.math.cos,
            kernel_initializer="zeros",  # loaded from arrays, like all weights
            trainable=False,
            dtype=self.dtype,
            name=name,
        )


class GaussianProcessOutput(FeaturesOfOwnType, RandomFeatureGaussianProcess):
    """Layer of tf-models-official that returns logits and random features."""

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return logits and random features, summed in a fixed order."""
        logits, slices = self.in_slices(inputs)
        return logits, tf.concat(slices, axis=-1)

    def in_slices(self, inputs: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return logits, and the random features in the parts of `feature_slices`.

        TensorFlow divides a product of few columns between threads in a way that
        depends on the number of samples. Columns of zeros make the product wide.
        """
        parts, layer = feature_slices(self.num_inducing), self._random_feature
        slices = [
            tf.cos(inputs @ layer.kernel[:, part] + layer.bias[part])
            * self.gp_feature_scale
            for part in parts
        ]
        zeros = max(WIDE_COLUMNS - self.units, 0)
        beta = tf.pad(self._gp_output_layer.kernel, [[0, 0], [0, zeros]])
        products = [
            features @ beta[part] for features, part in zip(slices, parts, strict=True)
        ]
        return tf.add_n(products)[:, : self.units] + self._gp_output_bias, slices

    def training_logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return logits without the padding of `call`, which training does not need."""
        beta = self._gp_output_layer.kernel * self.gp_feature_scale
        return self._random_feature(inputs) @ beta + self._gp_output_bias
