"""Networks that users' functions build below one of the output layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
import tensorflow as tf
import tf_keras

from .._networks.architecture import Architecture
from .._networks.custom_architecture import CustomArchitecture
from .._networks.custom_function import NetworkFunction
from .._networks.dense_architecture import NORM_MARGIN
from .._networks.kinds import architecture_of
from .custom_build import build, built_differently
from .custom_structure import layers_are_known, leaves
from .member_groups import SeparateMembers
from .network import Network
from .normalized_layers import (
    DenseWithoutPowerIteration,
    NormalizedConv2D,
    NormalizedKernel,
    is_wrapped,
    linear_maps,
    wrapped,
)
from .random_layers import Dropout, SeededLayer

#: Differences between the second numbers of seeds: of consecutive steps, and of the two
#: halves of a mini-batch. Smaller differences are those between layers.
SEEDS_OF_STEP, SEEDS_OF_HALF = 1024, 512
#: Mini-batches of fewer samples are normalized as a whole, others in two halves.
MIN_SAMPLES_TO_SPLIT = 16
#: Layers that drop whole channels; the n-th has n spatial axes.
SPATIAL = (
    tf_keras.layers.SpatialDropout1D,
    tf_keras.layers.SpatialDropout2D,
    tf_keras.layers.SpatialDropout3D,
)


NormalizedLayer: TypeAlias = (
    DenseWithoutPowerIteration | NormalizedConv2D | NormalizedKernel
)


class CustomNetwork(Network):
    """Model that a function builds, and an output layer.

    Parameters
    ----------
    architecture : CustomArchitecture
    seed : int, default=0
        Seed of the random initial weights.
    """

    architecture: CustomArchitecture
    member_groups = SeparateMembers
    uses_batch_statistics = True

    def __init__(self, architecture: Architecture, seed: int = 0) -> None:
        self.function = cast(CustomArchitecture, architecture).function
        self._seed = seed
        super().__init__(architecture)

    def make_hidden_layers(self) -> list[tf_keras.layers.Layer]:
        """Build the model and replace layers by seeded and normalized ones."""
        self.seeded: list[SeededLayer] = []
        self.normalized: list[NormalizedLayer] = []
        self.model = build(self.function, self._seed, self.architecture.mixed)
        if layers_are_known(self.model):
            self.model = tf_keras.models.clone_model(
                self.model, clone_function=self._replacement
            )
        self.in_place = self._normalized_kernels()
        self.normalized += self.in_place
        if self.architecture.dropout:
            self._seeded(Dropout(self.dropout_rate))
        return [self.model]

    def _seeded(self, layer: SeededLayer) -> SeededLayer:
        """Register a layer that receives seeds."""
        layer.place = len(self.seeded)
        self.seeded.append(layer)
        return layer

    def _replacement(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        """Return the layer, with its weights, or a layer that replaces it."""
        if isinstance(layer, tf_keras.Model) and layers_are_known(layer):
            return tf_keras.models.clone_model(layer, clone_function=self._replacement)
        if type(layer) in (tf_keras.layers.Dropout, *SPATIAL):
            dropout = Dropout(layer.rate, _noise_shape(layer), dtype=layer.dtype_policy)
            return self._seeded(dropout)
        if isinstance(layer, SeededLayer):
            return self._seeded(layer)
        if not (self._bounds_norms() and is_wrapped(layer)):
            return layer
        wrapper = wrapped(layer, norm_multiplier=self.spec_norm_bound)
        self.normalized.append(wrapper)
        return wrapper

    def _normalized_kernels(self) -> list[NormalizedKernel]:
        """Return the kernels that are normalized without a wrapper of their layer.

        Models that were fitted by versions that normalized Dense and Conv2D layers only
        have none: their arrays lack the singular vectors.
        """
        description = self.function.description
        known = description is None or description.num_kernels_in_place > 0
        if not (known and self._bounds_norms()):
            return []
        return [
            NormalizedKernel(linear_map, self.spec_norm_bound)
            for layer in leaves(self.model)
            for linear_map in linear_maps(layer)
        ]

    def _bounds_norms(self) -> bool:
        """Return whether the network has a bound on spectral norms."""
        architecture = self.architecture
        return architecture.num_inducing is not None and architecture.normalized

    def hidden(self, projected: tf.Tensor, masks: tf.Tensor | None = None) -> tf.Tensor:
        """Return the outputs (n, num_hidden) of the model for flattened samples.

        `masks`, if given, is a seed, an int32 tensor of shape (2,). Dropout layers drop
        the same units of all samples.
        """
        return self._features(projected, masks, for_all_rows=True, training=False)

    def training_hidden(
        self, projected: tf.Tensor, masks: tf.Tensor | None
    ) -> tf.Tensor:
        """Return outputs with different masks for samples and batch normalization."""
        return self._features(projected, masks, for_all_rows=False, training=True)

    def _features(
        self,
        projected: tf.Tensor,
        seed: tf.Tensor | None,
        for_all_rows: bool,
        training: bool,
    ) -> tf.Tensor:
        samples = tf.reshape(projected, (-1, *self.function.input_shape))
        for layer in self.seeded:
            layer.seed, layer.for_all_rows = seed, for_all_rows
        hidden = self.call_hidden_layer(self.model, samples, training=training)
        return self.seeded[-1](hidden) if self.architecture.dropout else hidden

    def sampled_logits(self, projected: tf.Tensor, masks: np.ndarray) -> tf.Tensor:
        """Return the logits with each of the seeds."""
        samples = [self.logits(projected, tf.constant(seed)) for seed in masks]
        return tf.stack(samples)

    def dropout_draws(
        self, shape: tf.Tensor, seed: tf.Tensor, step: tf.Tensor, num_networks: int
    ) -> tuple[tf.Tensor, None]:
        """Return a seed for the dropout layers of each network."""
        seeds = [
            tf.stack([seed + member, step * SEEDS_OF_STEP])
            for member in range(num_networks)
        ]
        return (seeds[0] if len(seeds) == 1 else tf.stack(seeds)), None

    def training_masks(
        self, draws: tf.Tensor, threshold: tf.Tensor | None
    ) -> tf.Tensor:
        """Return the seeds, from which dropout layers draw their masks."""
        return draws

    def halves(
        self, samples: Sequence[tf.Tensor], weights: tf.Tensor, masks: tf.Tensor | None
    ) -> list[tuple[tf.Tensor, ...]]:
        """Divide a mini-batch into two halves with different seeds.

        A small mini-batch has too few samples for batch normalization in two halves.
        Both parts then consist of all samples at half the weight.
        """
        num_samples = tf.shape(weights)[0]
        half = num_samples // 2
        seeds = (
            [None] * 2 if masks is None else [masks, tf.add(masks, [0, SEEDS_OF_HALF])]
        )
        few = num_samples < MIN_SAMPLES_TO_SPLIT
        end, start = tf.where(few, num_samples, half), tf.where(few, 0, half)
        weights *= tf.where(few, 0.5, 1.0)
        parts = [[each[:end], each[start:]] for each in (*samples, weights)]
        return list(zip(*parts, seeds, strict=True))

    def load(self, weights: dict[str, np.ndarray], held: Collection[str] = ()) -> None:
        """Assign arrays, by name, after a check of their shapes."""
        shapes = {
            name: tuple(variable.shape) for name, variable in self.weights.items()
        }
        if shapes != {name: weights[name].shape for name in weights}:
            raise built_differently(self.function)
        super().load(weights, held)

    def penalties(self) -> list[tf.Tensor]:
        """Return losses that the layers add, such as those of regularizers."""
        return self.model.losses

    def errors(self) -> AbstractContextManager[None]:
        """Return a context manager that names the function in errors."""
        return reraise_network_errors(self.function)

    def normalize(self) -> None:
        """Bound the spectral norms with one power iteration each."""
        for layer in self.normalized:
            layer.update_weights()

    def bounded(
        self, weights: dict[str, np.ndarray], bound: float
    ) -> dict[str, np.ndarray]:
        """Return weights whose spectral norms do not exceed the loaded bound.

        Training follows the norms with one power iteration per step, which may lag
        behind.
        """
        bound = float(self.spec_norm_bound)
        for layer in self.normalized:
            norm = layer.spectral_norm()
            if norm > bound:
                kernel = layer.kernel
                # The factor may be too small for float32.
                factor = (1 - NORM_MARGIN) * bound / norm
                kernel.assign(kernel.numpy().astype(np.float64) * factor)
        return self.dump()

    def collect_hidden_weights(self) -> dict[str, tf.Variable]:
        """Return the variables of the model by name."""
        own = [  # the wrappers also hold the bound
            variable
            for variable in self.model.variables
            if variable is not self.spec_norm_bound
        ]
        own += [vector for kernel in self.in_place for vector in (kernel.v, kernel.u)]
        names = [variable.name.rpartition("/")[2].partition(":")[0] for variable in own]
        return {
            f"body/{index:03d}/{name}": variable
            for index, (name, variable) in enumerate(zip(names, own, strict=True))
        }

    def collect_trainable(self) -> list[tf.Variable]:
        """Return the trainable variables of the model and the output weights."""
        return [
            *self.model.trainable_variables,
            self.weights["output/kernel"],
            self.weights["output/bias"],
        ]

    @classmethod
    def keras_hidden(
        cls,
        samples: tf.Tensor,
        classifier: Any,
        weights: dict[str, np.ndarray],
        mask: Any,
    ) -> tf.Tensor:
        """Return the layers of the model."""
        network = cls(architecture_of(classifier.architecture_ | {"members": 1}))
        network.load(weights)
        network.model._name = f"network_{id(network)}"  # functions may repeat names
        bound = classifier._network_variables().get("spec_norm_bound", 1.0)
        network.spec_norm_bound.assign(bound)
        samples = tf_keras.layers.Reshape(
            network.function.input_shape, dtype=network.architecture.dtype
        )(samples)
        return network.model(samples)


def weight_shapes(
    architecture: Architecture,
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shapes and types of the model's arrays; see `backend.weight_shapes`."""
    members = () if architecture.members == 1 else (architecture.members,)
    network = CustomNetwork(replace(architecture, members=1))
    return {
        name: ((*members, *variable.shape), variable.dtype.name)
        for name, variable in network.weights.items()
        if name.startswith("body/")
    }


def _noise_shape(layer: tf_keras.layers.Layer) -> tuple[int | None, ...] | None:
    """Return the shape of a mask, with 1 for axes on which units drop together."""
    for rank, kind in enumerate(SPATIAL, start=1):
        if isinstance(layer, kind):
            ones = [1] * rank
            first = getattr(layer, "data_format", None) == "channels_first"
            return (None, None, *ones) if first else (None, *ones, None)
    return layer.noise_shape


@contextmanager
def reraise_network_errors(function: NetworkFunction) -> Iterator[None]:
    """Convert errors of TensorFlow in a custom network, naming the function."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        lines = [line.strip() for line in error.message.splitlines() if line.strip()]
        # The reason precedes the node in which the error occurred.
        reasons = [a for a, b in pairwise(lines) if b.startswith("[[")]
        reason = reasons[-1] if reasons else error.message.strip()
        message = f"network={function.name} failed on these samples: {reason}."
        if isinstance(error, tf.errors.InvalidArgumentError):
            message += (
                " A network with an embedding requires standardize=False and token ids "
                "that are in its table."
            )
        raise ValueError(message) from error


def member_weights(
    architecture: Architecture, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the arrays of a new model by name, without those of the output layer."""
    seed = int(rng.integers(2**31))
    network = CustomNetwork(replace(architecture, members=1), seed)
    for layer in network.normalized:
        for vector in (layer.u, layer.v):
            vector.assign(rng.standard_normal(vector.shape))
    dumped = network.dump().items()
    return {name: array for name, array in dumped if name.startswith("body/")}
