"""The residual network, built once per architecture and loaded with arrays.

One definition serves every classifier. Two hooks decide what it is made of:

- ``make_hidden_layer``: ``Dense`` (deterministic network, Monte Carlo
  dropout), ``SpectralNormalization(Dense)`` (SNGP) or ``StackedDense`` (a deep
  ensemble, whose members then train as one graph);
- ``make_output_layer``: dense logits, or ``RandomFeatureGaussianProcess``.

A network starts behind the frozen input projection (see `projection`), so its
architecture does not depend on the number of columns. Quantities that a user
may search over (spectral bound, kernel scale, dropout rate) are variables
rather than constants of the graph: changing them compiles nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from .._networks.architecture import Architecture

#: Weight decay of the Gaussian-process output, the default of the layer.
GP_WEIGHT_DECAY = 1e-6


#: Random features are summed in pieces of so many. Longer sums would be split in
#: another way for few rows than for many, and a row's last digits would depend on the
#: rows beside it.
PIECE = 256


#: Columns of a product that TensorFlow takes for a wide one.
WIDE = 128


def pieces(size: int) -> list[slice]:
    """Slices of at most `PIECE` features."""
    return [slice(start, start + PIECE) for start in range(0, size, PIECE)]


def _official_layers(file: str) -> ModuleType:
    """A module of tf-models-official's layers, without the package around it.

    That package imports TensorFlow Text and Keras 3, which take longer than all
    the rest of ours and serve layers that nothing here uses.
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


if TYPE_CHECKING:  # which follows imports only
    from official.nlp.modeling.layers import (
        RandomFeatureGaussianProcess,
        SpectralNormalization,
        SpectralNormalizationConv2D,
    )
else:
    _spectral_normalization = _official_layers("spectral_normalization.py")
    SpectralNormalization = _spectral_normalization.SpectralNormalization
    SpectralNormalizationConv2D = _spectral_normalization.SpectralNormalizationConv2D
    RandomFeatureGaussianProcess = _official_layers(
        "gaussian_process.py"
    ).RandomFeatureGaussianProcess


class NormalisedDense(SpectralNormalization):
    """tf-models-official's wrapper of a dense layer, built without random values.

    The parent draws u and v by an initialiser of Keras 3, which takes as long to
    import as a small fit, and by the global `random`. Here they are loaded from
    arrays, as all weights are.
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
    """`members` dense layers side by side: (members, n, in) -> (members, n, out)."""

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
        # Not one batched product: that adds the terms of few rows in another order than
        # those of many, and a row's last digits would depend on the rows beside it.
        products = [
            rows @ kernel
            for rows, kernel in zip(
                tf.unstack(inputs, self.members),
                tf.unstack(self.kernel, self.members),
                strict=True,
            )
        ]
        return self.activation(tf.stack(products) + self.bias)


class FeaturesOfOwnType:
    """Mixin of tf-models-official's layer: random features of its own dtype.

    That builds its feature layer in Keras' default float type whatever its own `dtype`
    is, and so cannot run in float64. It also rounds the factor sqrt(2 / M) to float32,
    which would leave float64 logits with eight digits.
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
            kernel_initializer="zeros",  # loaded from arrays, as all weights are
            trainable=False,
            dtype=self.dtype,
            name=name,
        )


class GaussianProcessOutput(FeaturesOfOwnType, RandomFeatureGaussianProcess):
    """tf-models-official's layer, which returns logits and random features."""

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits and random features, as the parent's, summed in one order.

        A product of few columns is divided between threads in a way that depends on
        the number of rows; columns of zeros make it a wide one.
        """
        features = self._random_feature(inputs) * self.gp_feature_scale
        zeros = max(WIDE - self.units, 0)
        beta = tf.pad(self._gp_output_layer.kernel, [[0, 0], [0, zeros]])
        products = [
            features[:, piece] @ beta[piece] for piece in pieces(self.num_inducing)
        ]
        return tf.add_n(products)[:, : self.units] + self._gp_output_bias, features

    def training_logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the logits of a call without its padding, which training can spare."""
        beta = self._gp_output_layer.kernel * self.gp_feature_scale
        return self._random_feature(inputs) @ beta + self._gp_output_bias


@tf.custom_gradient
def _add_masked(
    hidden: tf.Tensor, update: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, Any]:
    """``hidden + update * mask``.

    TensorFlow's own gradient would find out anew in every step that nothing was
    broadcast: a fifth of the graph's operations.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
        return upstream, upstream * mask, None

    return hidden + update * mask, gradient


def _kept(draws: tf.Tensor, threshold: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """1 for a unit whose byte is at least the threshold, in 0 to 256; else 0."""
    at_least = tf.cast(tf.minimum(threshold, 255.0), tf.uint8)
    return tf.cast(draws >= at_least, dtype) * tf.cast(threshold < 256.0, dtype)


class ResidualNetwork(tf.Module):
    """Residual blocks ``h + dropout(relu(dense(h)))`` and an output layer.

    Parameters
    ----------
    architecture : Architecture

    Attributes
    ----------
    weights : dict of str to tf.Variable
        Every variable that makes up the network's function or its training
        state, by name.
    trainable : list of tf.Variable
        Those that gradients update.
    spec_norm_bound, input_scale, dropout_rate : tf.Variable
        Scalars: the bound on hidden spectral norms, 1 / sqrt(kernel scale),
        and the share of hidden units dropped in training.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture

        def scalar(value: float) -> tf.Variable:
            return tf.Variable(value, trainable=False, dtype=architecture.dtype)

        self.spec_norm_bound = scalar(1.0)
        self.input_scale = scalar(1.0)
        self.dropout_rate = scalar(0.0)
        self.hidden_layers = self.make_hidden_layers()
        self.output_layer = self.make_output_layer()
        stack = () if architecture.members == 1 else (architecture.members,)
        dummy = tf.zeros((*stack, 1, architecture.num_columns), architecture.dtype)
        self.output(self.hidden(dummy))  # creates the variables
        self.weights = self._collect_weights()
        self.trainable = self._collect_trainable()

    def make_hidden_layers(self) -> list[tf_keras.layers.Layer]:
        """The residual blocks' layers."""
        return [self.make_hidden_layer() for _ in range(self.architecture.num_layers)]

    def make_hidden_layer(self) -> tf_keras.layers.Layer:
        """One hidden layer, width to width, with a ReLU."""
        units, dtype = self.architecture.num_hidden, self.hidden_type()
        if self.architecture.members > 1:
            return StackedDense(
                self.architecture.members, units, activation="relu", dtype=dtype
            )
        dense = tf_keras.layers.Dense(
            units, activation="relu", kernel_initializer="zeros", dtype=dtype
        )
        if self.architecture.num_inducing is None:
            return dense
        return NormalisedDense(dense, norm_multiplier=self.spec_norm_bound, dtype=dtype)

    def hidden_type(self) -> str | tf_keras.mixed_precision.Policy:
        """The float type of hidden layers: of their weights, and of their products."""
        if self.architecture.mixed is None:
            return self.architecture.dtype
        return tf_keras.mixed_precision.Policy(f"mixed_{self.architecture.mixed}")

    def call_hidden_layer(
        self, layer: tf_keras.layers.Layer, rows: tf.Tensor, **settings: Any
    ) -> tf.Tensor:
        """What a layer gives for rows, in the network's type.

        float16 ends at 65,504: what lies beyond it stays there.
        """
        mixed, dtype = self.architecture.mixed, self.architecture.dtype
        if mixed is None:
            return layer(rows, **settings)
        if mixed == "bfloat16":  # as many exponents as float32
            return tf.cast(layer(rows, **settings), dtype)
        limits = -tf.float16.max, tf.float16.max
        outputs = layer(tf.clip_by_value(rows, *limits), **settings)
        return tf.clip_by_value(tf.cast(outputs, dtype), *limits)

    def make_output_layer(self) -> tf_keras.layers.Layer:
        """The layer from the last hidden representation to logits."""
        arch = self.architecture
        if arch.num_inducing is not None:
            return GaussianProcessOutput(
                arch.num_outputs,
                num_inducing=arch.num_inducing,
                gp_output_bias_trainable=True,
                l2_regularization=GP_WEIGHT_DECAY,
                return_gp_cov=False,
                kernel_initializer="zeros",
                dtype=arch.dtype,
            )
        if arch.members > 1:
            return StackedDense(arch.members, arch.num_outputs, dtype=arch.dtype)
        return tf_keras.layers.Dense(
            arch.num_outputs, kernel_initializer="zeros", dtype=arch.dtype
        )

    def hidden(self, projected: tf.Tensor, masks: tf.Tensor | None = None) -> tf.Tensor:
        """Hidden representation (..., n, num_hidden) of projected rows.

        `masks`, where given, multiply the output of each block and have an axis
        of blocks before that of rows: (..., num_layers, n or 1, num_hidden).
        """
        hidden = projected
        if masks is not None:
            masks = tf.unstack(masks, self.architecture.num_layers, axis=-3)
        normalised = self.architecture.num_inducing is not None
        for block, layer in enumerate(self.hidden_layers):
            # In training, `normalise` has done what a training call would do.
            settings = {"training": False} if normalised else {}
            update = self.call_hidden_layer(layer, hidden, **settings)
            if masks is None:
                hidden += update
            else:
                hidden = _add_masked(hidden, update, masks[block])
        return hidden

    def training_hidden(
        self, projected: tf.Tensor, masks: tf.Tensor | None
    ) -> tf.Tensor:
        """Hidden representation in a training step."""
        return self.hidden(projected, masks)

    def training_masks(
        self, draws: tf.Tensor, threshold: tf.Tensor | None
    ) -> tf.Tensor:
        """Masks of random bytes: 1 / (1 - rate) for a unit that is kept, else 0."""
        kept = _kept(draws, threshold, self.dropout_rate.dtype)
        return kept * (1.0 / (1.0 - self.dropout_rate))

    def halve_masks(
        self, masks: tf.Tensor, sizes: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Masks of the first and the second half of a batch's rows."""
        return tf.split(masks, sizes, 1, num=2)  # blocks come before rows

    def penalties(self) -> list[tf.Tensor]:
        """Losses of the last call besides that of the labels: here there are none."""
        return []

    def normalise(self) -> None:
        """Bound the hidden kernels' spectral norms by one power iteration each.

        What `SpectralNormalization` does in a training call, for all layers in
        one batched product.
        """
        layers = self.hidden_layers
        if self.architecture.num_inducing is None or not layers:
            return
        kernels = tf.stack([layer.layer.kernel for layer in layers])
        u = tf.stack([layer.u for layer in layers])
        v = tf.nn.l2_normalize(tf.matmul(u, kernels, transpose_b=True), axis=-1)
        image = tf.matmul(v, kernels)
        u = tf.nn.l2_normalize(image, axis=-1)
        sigma = tf.reduce_sum(image * u, axis=-1, keepdims=True)
        kernels *= tf.minimum(self.spec_norm_bound / sigma, 1.0)
        parts = (tf.unstack(stacked, len(layers)) for stacked in (kernels, u, v))
        for layer, kernel, left, right in zip(layers, *parts, strict=True):
            layer.layer.kernel.assign(kernel)
            layer.u.assign(left)
            layer.v.assign(right)

    def training_logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Return the logits (..., n, K) in a training step."""
        if self.architecture.num_inducing is None:
            return self.output(hidden)[0]
        return self.output_layer.training_logits(hidden * self.input_scale)

    def output(self, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Logits (..., n, K), and random features (n, num_inducing) or None."""
        if self.architecture.num_inducing is None:
            return self.output_layer(hidden), None
        # The layer's own scale is a constant of the graph; ours is a variable.
        logits, features = self.output_layer(hidden * self.input_scale)
        return logits, features

    def _collect_trainable(self) -> list[tf.Variable]:
        return [
            variable
            for name, variable in self.weights.items()
            if name.rpartition("/")[2] in ("kernel", "bias")
            and not name.startswith("random_features")
        ]

    def _collect_weights(self) -> dict[str, tf.Variable]:
        return {**self._collect_hidden_weights(), **self._collect_output_weights()}

    def _collect_hidden_weights(self) -> dict[str, tf.Variable]:
        weights: dict[str, tf.Variable] = {}
        for block, layer in enumerate(self.hidden_layers):
            dense = getattr(layer, "layer", layer)
            weights[f"hidden_{block}/kernel"] = dense.kernel
            weights[f"hidden_{block}/bias"] = dense.bias
            if dense is not layer:  # the vectors of the power iteration
                weights[f"hidden_{block}/u"] = layer.u
                weights[f"hidden_{block}/v"] = layer.v
        return weights

    def _collect_output_weights(self) -> dict[str, tf.Variable]:
        weights: dict[str, tf.Variable] = {}
        if self.architecture.num_inducing is None:
            weights["output/kernel"] = self.output_layer.kernel
            weights["output/bias"] = self.output_layer.bias
        else:
            gp = self.output_layer
            weights["random_features/kernel"] = gp._random_feature.kernel
            weights["random_features/bias"] = gp._random_feature.bias
            weights["output/kernel"] = gp._gp_output_layer.kernel
            weights["output/bias"] = gp._gp_output_bias
        return weights

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """Assign arrays, by name, to the network's variables."""
        for name, variable in self.weights.items():
            variable.assign(weights[name].astype(variable.dtype.as_numpy_dtype))

    def dump(self) -> dict[str, np.ndarray]:
        """Copy the network's variables into arrays, by name."""
        return {
            name: np.asarray(variable.numpy())  # a scalar variable gives no array
            for name, variable in self.weights.items()
        }
