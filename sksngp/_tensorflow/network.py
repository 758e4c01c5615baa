"""The interface of a kind of network, and the output layer that all kinds share.

A network is built once per architecture and loaded with arrays. Quantities over which
users may search (spectral bound, kernel scale, dropout rate) are variables rather than
constants of the graph: a change compiles nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tf_keras

from .._networks.architecture import Architecture
from .layers import GaussianProcessOutput, StackedDense
from .member_groups import MemberGroups

#: Weight decay of the Gaussian-process output, the default of the layer.
GP_WEIGHT_DECAY = 1e-6


class Network(tf.Module):
    """Hidden layers, which a subclass builds, and an output layer.

    Parameters
    ----------
    architecture : Architecture

    Attributes
    ----------
    weights : dict of str to tf.Variable
        All variables of the network's function or its training state, by name.
    trainable : list of tf.Variable
        Variables that gradients update.
    spec_norm_bound, input_scale, dropout_rate : tf.Variable
        Scalars: the bound on hidden spectral norms, 1 / sqrt(kernel scale), and the
        fraction of hidden units that are dropped in training.
    """

    #: How ensemble members are divided into networks.
    member_groups: ClassVar[type[MemberGroups]]
    #: Whether hidden representations of the untrained network require the statistics of
    #: the mini-batch, because batch normalization has no moving averages yet.
    uses_batch_statistics: ClassVar[bool]

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
        self.weights = {
            **self.collect_hidden_weights(),
            **self._collect_output_weights(),
        }
        self.trainable = self.collect_trainable()

    # Interface of the hidden layers

    @abstractmethod
    def make_hidden_layers(self) -> list[tf_keras.layers.Layer]:
        """Build the hidden layers."""

    @abstractmethod
    def hidden(self, projected: tf.Tensor, masks: tf.Tensor | None = None) -> tf.Tensor:
        """Return the hidden representations of samples, (..., n, num_hidden).

        `masks` is None, or a sample of the result of `Architecture.draw_masks`.
        """

    @abstractmethod
    def training_hidden(
        self, projected: tf.Tensor, masks: tf.Tensor | None
    ) -> tf.Tensor:
        """Return the hidden representations in a training step."""

    @abstractmethod
    def sampled_logits(self, projected: tf.Tensor, masks: np.ndarray) -> tf.Tensor:
        """Return the logits with each of the masks, (num_samples, n, num_outputs)."""

    @abstractmethod
    def dropout_draws(
        self, shape: tf.Tensor, seed: tf.Tensor, step: tf.Tensor, num_networks: int
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Draw the arguments of `training_masks` for a step of all networks.

        `shape` is that of the indices of the samples; `step` differs between steps. The
        first result has an axis of members if there are several.
        """

    @abstractmethod
    def training_masks(
        self, draws: tf.Tensor, threshold: tf.Tensor | None
    ) -> tf.Tensor:
        """Return the masks of a training step."""

    @abstractmethod
    def halves(
        self, samples: Sequence[tf.Tensor], weights: tf.Tensor, masks: tf.Tensor | None
    ) -> list[tuple[tf.Tensor, ...]]:
        """Divide a mini-batch into two parts, which are differentiated in parallel.

        `samples` are the projected samples and their labels. Each part consists of
        samples, labels, weights and masks.
        """

    @abstractmethod
    def normalize(self) -> None:
        """Bound the spectral norms with one power iteration each."""

    @abstractmethod
    def bounded(
        self, weights: dict[str, np.ndarray], bound: float
    ) -> dict[str, np.ndarray]:
        """Return loaded weights whose exact spectral norms do not exceed the bound."""

    @abstractmethod
    def collect_hidden_weights(self) -> dict[str, tf.Variable]:
        """Return the variables of the hidden layers by name."""

    @abstractmethod
    def collect_trainable(self) -> list[tf.Variable]:
        """Return the variables that gradients update."""

    @classmethod
    @abstractmethod
    def keras_hidden(
        cls,
        samples: tf.Tensor,
        classifier: Any,
        weights: dict[str, np.ndarray],
        mask: np.ndarray | None,
    ) -> tf.Tensor:
        """Return the hidden layers as layers of an exported Keras model.

        Parameters
        ----------
        samples : Keras tensor
            Projected samples, float64.
        classifier : fitted classifier
        weights : dict of str to ndarray
            Weights of one member.
        mask : ndarray or None
            Dropout mask of Monte Carlo dropout.
        """

    def penalties(self) -> list[tf.Tensor]:
        """Return losses that the hidden layers add in the last call."""
        return []

    def errors(self) -> AbstractContextManager[None]:
        """Return a context manager that converts errors of the hidden layers."""
        return nullcontext()

    # Output layer

    def make_output_layer(self) -> tf_keras.layers.Layer:
        """Build the layer from the hidden representation to logits."""
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

    def training_logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Return the logits (..., n, num_outputs) in a training step."""
        if self.architecture.num_inducing is None:
            return self.output(hidden)[0]
        return self.output_layer.training_logits(hidden * self.input_scale)

    def output(self, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return logits (..., n, num_outputs) and random features, if there are any."""
        if self.architecture.num_inducing is None:
            return self.output_layer(hidden), None
        # The scale of the layer is a constant of the graph; this one is a variable.
        logits, features = self.output_layer(hidden * self.input_scale)
        return logits, features

    def output_in_slices(self, hidden: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return logits and slices of random features (`layers.feature_slices`)."""
        logits, slices = self.output_layer.in_slices(hidden * self.input_scale)
        return logits, slices

    def logits(self, projected: tf.Tensor, masks: tf.Tensor | None = None) -> tf.Tensor:
        """Return the logits of samples."""
        return self.output(self.hidden(projected, masks))[0]

    def _collect_output_weights(self) -> dict[str, tf.Variable]:
        layer = self.output_layer
        if self.architecture.num_inducing is None:
            return {"output/kernel": layer.kernel, "output/bias": layer.bias}
        return {
            "random_features/kernel": layer._random_feature.kernel,
            "random_features/bias": layer._random_feature.bias,
            "output/kernel": layer._gp_output_layer.kernel,
            "output/bias": layer._gp_output_bias,
        }

    # Types and arrays

    def hidden_type(self) -> str | tf_keras.mixed_precision.Policy:
        """Return the floating-point types of the weights and products in layers."""
        if self.architecture.mixed is None:
            return self.architecture.dtype
        return tf_keras.mixed_precision.Policy(f"mixed_{self.architecture.mixed}")

    def call_hidden_layer(
        self, layer: tf_keras.layers.Layer, inputs: tf.Tensor, **settings: Any
    ) -> tf.Tensor:
        """Return the outputs of a layer in the type of the network.

        In float16, inputs and outputs are clipped to +-65,504.
        """
        mixed, dtype = self.architecture.mixed, self.architecture.dtype
        if mixed is None:
            return layer(inputs, **settings)
        if mixed == "bfloat16":  # has as many exponents as float32
            return tf.cast(layer(inputs, **settings), dtype)
        limits = -tf.float16.max, tf.float16.max
        outputs = layer(tf.clip_by_value(inputs, *limits), **settings)
        return tf.clip_by_value(tf.cast(outputs, dtype), *limits)

    def load(self, weights: dict[str, np.ndarray], held: Collection[str] = ()) -> None:
        """Assign arrays, by name, to the variables of the network.

        The variables with the names `held` already have the values of their arrays.
        """
        for name, variable in self.weights.items():
            if name not in held:
                variable.assign(weights[name].astype(variable.dtype.as_numpy_dtype))

    def dump(self) -> dict[str, np.ndarray]:
        """Copy the variables of the network into arrays, by name."""
        return {
            name: np.asarray(variable.numpy())  # a scalar variable gives no array
            for name, variable in self.weights.items()
        }
