"""A network that a function builds, below one of our output layers."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src import backend
from tf_keras.src.engine import functional
from tf_keras.src.engine.input_spec import assert_input_compatibility
from tf_keras.src.mixed_precision.policy import policy_scope

from .._networks.architecture import Architecture
from .._networks.custom_function import Body, Description, key_of_layer
from .normalized_layers import (
    NormalisedConv2D,
    NormalisedKernel,
    QuietDense,
    has_other_matrices,
    is_wrapped,
    linear_maps,
    wrapped,
)
from .random_layers import Dropout, SeededLayer
from .residual_network import ResidualNetwork

#: A seed's second number counts steps by so many: for the two halves of a batch, and
#: for the layers in each.
SEEDS_OF_STEP, SEEDS_OF_HALF = 1024, 512
#: Builds wait for each other: in which types new layers compute is one global setting.
_one_build = threading.RLock()
#: Where settings of a model have names of layers.
CONNECTIONS = ("inbound_nodes", "input_layers", "output_layers")
#: Layers that drop channels as a whole; the n-th has n axes of pixels.
SPATIAL = (
    tf_keras.layers.SpatialDropout1D,
    tf_keras.layers.SpatialDropout2D,
    tf_keras.layers.SpatialDropout3D,
)


class BodyNetwork(ResidualNetwork):
    """A built network as features, and an output layer.

    Parameters
    ----------
    architecture : Architecture
        With a `body`.
    seed : int, default=0
        Of the weights that the function leaves to chance.
    """

    def __init__(self, architecture: Architecture, seed: int = 0) -> None:
        assert architecture.body is not None
        self.body, self._seed = architecture.body, seed
        super().__init__(architecture)

    def make_hidden_layers(self) -> list[tf_keras.layers.Layer]:
        """Build the network, with our layers in place of some of Keras'."""
        self.seeded: list[SeededLayer] = []
        self.normalised: list[QuietDense | NormalisedConv2D | NormalisedKernel] = []
        self.model = build(self.body, self._seed, self.architecture.mixed)
        if layers_are_known(self.model):
            self.model = tf_keras.models.clone_model(
                self.model, clone_function=self._replacement
            )
        self.in_place = self._normalised_kernels()
        self.normalised += self.in_place
        if self.architecture.dropout:
            self._seeded(Dropout(self.dropout_rate))
        return [self.model]

    def _seeded(self, layer: SeededLayer) -> SeededLayer:
        """A layer that will have its seeds from here."""
        layer.place = len(self.seeded)
        self.seeded.append(layer)
        return layer

    def _replacement(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        """A layer, with its weights, or what has its place."""
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
        self.normalised.append(wrapper)
        return wrapper

    def _normalised_kernels(self) -> list[NormalisedKernel]:
        """Return the kernels that are normalized without a wrapper of their layer.

        Networks fitted by versions that normalized Dense and Conv2D layers only have
        none: their arrays lack the singular vectors.
        """
        description = self.body.description
        known = description is None or description.num_kernels_in_place > 0
        if not (known and self._bounds_norms()):
            return []
        return [
            NormalisedKernel(linear_map, self.spec_norm_bound)
            for layer in _leaves(self.model)
            for linear_map in linear_maps(layer)
        ]

    def _bounds_norms(self) -> bool:
        """Return whether the network has a bound on spectral norms."""
        architecture = self.architecture
        return architecture.num_inducing is not None and architecture.normalised

    def hidden(self, projected: tf.Tensor, masks: tf.Tensor | None = None) -> tf.Tensor:
        """Features (n, d) of standardised rows, flat.

        `masks`, where given, is a seed, an int32 tensor of shape (2,): dropout layers
        drop the same units of all rows.
        """
        return self._features(projected, masks, for_all_rows=True, training=False)

    def training_hidden(
        self, projected: tf.Tensor, masks: tf.Tensor | None
    ) -> tf.Tensor:
        """As `hidden`; each row has masks of its own, and batches are normalised."""
        return self._features(projected, masks, for_all_rows=False, training=True)

    def _features(
        self,
        projected: tf.Tensor,
        seed: tf.Tensor | None,
        for_all_rows: bool,
        training: bool,
    ) -> tf.Tensor:
        rows = tf.reshape(projected, (-1, *self.body.input_shape))
        for layer in self.seeded:
            layer.seed, layer.for_all_rows = seed, for_all_rows
        features = self.call_hidden_layer(self.model, rows, training=training)
        return self.seeded[-1](features) if self.architecture.dropout else features

    def training_masks(
        self, draws: tf.Tensor, threshold: tf.Tensor | None
    ) -> tf.Tensor:
        """Seeds are all that dropout layers need."""
        return draws

    def halve_masks(
        self, masks: tf.Tensor, sizes: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Seeds for the two halves of a batch."""
        return [masks, tf.add(masks, [0, SEEDS_OF_HALF])]

    def load(self, weights: dict[str, np.ndarray]) -> None:
        """As the parent's, of arrays that fit."""
        shapes = {
            name: tuple(variable.shape) for name, variable in self.weights.items()
        }
        if shapes != {name: weights[name].shape for name in weights}:
            raise _built_otherwise(self.body)
        super().load(weights)

    def penalties(self) -> list[tf.Tensor]:
        """Losses that the built layers add, such as those of regularisers."""
        return self.model.losses

    def normalise(self) -> None:
        """Bound the spectral norms by one power iteration each."""
        for layer in self.normalised:
            layer.update_weights()

    def bound_norms(self) -> None:
        """Scale the kernels whose spectral norm exceeds the bound down to it.

        Training follows the norms with one power iteration per step, which may lag
        behind.
        """
        bound = float(self.spec_norm_bound)
        for layer in self.normalised:
            norm = layer.spectral_norm()
            if norm > bound:
                kernel = layer.kernel
                factor = (1 - 1e-6) * bound / norm  # may be too small for float32
                kernel.assign(kernel.numpy().astype(np.float64) * factor)

    def _collect_hidden_weights(self) -> dict[str, tf.Variable]:
        own = [  # the wrappers hold the bound, too
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

    def _collect_trainable(self) -> list[tf.Variable]:
        return [
            *self.model.trainable_variables,
            self.weights["output/kernel"],
            self.weights["output/bias"],
        ]


def network_of(architecture: Architecture) -> ResidualNetwork:
    """The network that an architecture describes."""
    if architecture.body is None:
        return ResidualNetwork(architecture)
    return BodyNetwork(architecture)


def describe(body: Body, mixed: str | None = None) -> Description:
    """Build a custom network and describe it; see `backend.describe`."""
    model = build(body, mixed=mixed)
    if _has_softmax(model):
        warnings.warn(
            f"network={body.name} ends in a softmax, on which the classifier would put "
            "an output layer of its own: leave out the model's.",
            UserWarning,
            stacklevel=2,
        )
    leaves = list(_leaves(model))
    maps = [linear_maps(layer) for layer in leaves]
    sizes = [prod(layer_shape) for layer_shape in _layer_shapes(model)]
    sizes.append(int(model.output_shape[-1]))  # all that is known of some
    return Description(
        num_features=int(model.output_shape[-1]),
        row_floats=sum(sizes),
        widest_floats=max(sizes),
        num_weights=sum(prod(variable.shape) for variable in model.variables),
        num_normalised=sum(map(is_wrapped, leaves)) + sum(map(bool, maps)),
        structure=_structure(model),
        code=_code(model),
        unnormalised=tuple(
            f"{layer.name} ({type(layer).__name__})"
            for layer in leaves
            if has_other_matrices(layer)
        ),
        num_kernels_in_place=sum(map(len, maps)),
    )


def _structure(model: tf_keras.Model) -> str:
    """Digest of a model's layers, their settings and how they are connected.

    Names that Keras numbers, and seeds, are left out: they differ from call to call.
    So are functions, which `_code` has.
    """
    layers = list(_leaves(model, with_models=True))
    places = {layer.name: f"layer {place}" for place, layer in enumerate(layers)}

    def plain(value: Any, named: bool = False) -> Any:
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if k not in ("name", "seed")}
            if not isinstance(kept.get("function", ""), str):
                del kept["function"]
            return {
                str(name): plain(part, named or name in CONNECTIONS)
                for name, part in kept.items()
            }
        if isinstance(value, list | tuple | tf.TensorShape):
            return [plain(part, named) for part in value]
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        if isinstance(value, str):
            return places.get(value, value) if named else value
        simple = value is None or isinstance(value, bool | int | float)
        return value if simple else type(value).__qualname__

    def settings(layer: tf_keras.layers.Layer) -> tuple[str, Any, bool]:
        try:
            config = layer.get_config()
        except Exception:  # of a class that doesn't say, or can't
            config = {}
        return type(layer).__qualname__, plain(config), layer.trainable

    shapes = [variable.shape.as_list() for variable in model.variables]
    told = [settings(layer) for layer in [model, *layers]], shapes
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return f"{tf_keras.__version__} {digest}"


def _code(model: tf_keras.Model) -> tuple[Hashable, ...]:
    """What stands for code of its own in a model; () where there is none."""
    layers = [model, *_leaves(model, with_models=True)]
    keys = tuple(key_of_layer(layer) for layer in layers)
    return keys if any(key is not None for key in keys) else ()


def _is_as_described(model: tf_keras.Model, description: Description) -> bool:
    version, _, digest = description.structure.partition(" ")
    if version == tf_keras.__version__ and not _structure(model).endswith(digest):
        return False
    return description.code is None or _code(model) == description.code


def _built_otherwise(body: Body) -> ValueError:
    return ValueError(
        f"network={body.name} now builds another network than the one that was fitted. "
        "Fit anew, or undo the change to the function or to what it goes by."
    )


def weight_shapes(
    architecture: Architecture,
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shapes and types of arrays; see `backend.body_weight_shapes`."""
    members = () if architecture.members == 1 else (architecture.members,)
    network = BodyNetwork(replace(architecture, members=1))
    return {
        name: ((*members, *variable.shape), variable.dtype.name)
        for name, variable in network.weights.items()
        if name.startswith("body/")
    }


def _noise_shape(layer: tf_keras.layers.Layer) -> tuple[int | None, ...] | None:
    """Of a dropout layer: 1 along the axes on which it drops units together."""
    for rank, kind in enumerate(SPATIAL, start=1):
        if isinstance(layer, kind):
            ones = [1] * rank
            first = getattr(layer, "data_format", None) == "channels_first"
            return (None, None, *ones) if first else (None, *ones, None)
    return layer.noise_shape


def _leaves(
    model: tf_keras.Model, with_models: bool = False
) -> Iterator[tf_keras.layers.Layer]:
    """Layers of a model and of models in it; where asked, these models too."""
    if not layers_are_known(model):
        return
    for layer in model.layers:
        is_model = isinstance(layer, tf_keras.Model)
        if with_models or not is_model:
            yield layer
        if is_model:
            yield from _leaves(layer, with_models)


def layers_are_known(model: tf_keras.Model) -> bool:
    """Whether a model is made of layers, and is no class with a `call` of its own."""
    return isinstance(model, tf_keras.Sequential) or (
        isinstance(model, functional.Functional)
        and type(model).call is functional.Functional.call
    )


def build(body: Body, seed: int = 0, mixed: str | None = None) -> tf_keras.Model:
    """Call a body's function, and check what it returns."""
    name = body.name
    if isinstance(body.network, tf_keras.Model):
        raise ValueError(
            f"network={name} is a model; pass a function of a row's shape that builds "
            "one, as several are needed."
        )
    with _one_build, _keras_seed(seed), _types(mixed):
        model = body.network(body.input_shape)
        if isinstance(model, tf_keras.Model) and not hasattr(model, "output_shape"):
            model(tf_keras.Input(body.input_shape))  # of a class of its own
    if not isinstance(model, tf_keras.Model):
        kinds = [kind.__module__ for kind in type(model).__mro__]
        foreign = any(kind.startswith("keras.") for kind in kinds)
        raise ValueError(
            f"network={name} must return a tf_keras.Model for rows of shape "
            f"{body.input_shape}, got {type(model).__name__}."
            + " Models of Keras 3 don't go with it: import tf_keras." * foreign
            + f" Pass an instance of the class, such as {name}()."
            * isinstance(body.network, type)
        )
    _check_shapes(body, model)
    if body.description is not None and not _is_as_described(model, body.description):
        raise _built_otherwise(body)
    types = {
        variable.dtype for variable in model.variables if variable.dtype.is_floating
    }
    if layers_are_known(model):
        types.add(tf.as_dtype(model.output.dtype))
    others = types - {tf.float32, mixed and tf.as_dtype(mixed)}
    if others:
        names = ", ".join(sorted(kind.name for kind in others))
        raise ValueError(
            f"network={name} must compute in {mixed or 'float32'}, got {names}."
        )
    for variable in model.variables:
        if getattr(variable, "_is_in_a_network", False):
            raise ValueError(
                f"network={name} must build new layers in each call; {variable.name} "
                "is that of an earlier one. Several networks cannot share weights."
            )
        variable._is_in_a_network = True
    return model


def _check_shapes(body: Body, model: tf_keras.Model) -> None:
    """Refuse a model that isn't one from rows to features."""
    if layers_are_known(model) and model.input_spec is not None:
        rows = tf_keras.Input(body.input_shape)
        try:
            assert_input_compatibility(model.input_spec, rows, model.name)
        except ValueError as error:
            raise ValueError(
                f"network={body.name} is called with the shape of a row, "
                f"{body.input_shape}, and must return a model of such rows; its model "
                f"takes {model.input_shape}."
            ) from error
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(
            f"network={body.name} must give features of shape (n, d), got {shape}. "
            "Flatten or pool them, and leave out the output layer."
        )


def _has_softmax(model: tf_keras.Model) -> bool:
    """Whether a model's last layer is an output layer's."""
    last = model.layers[-1] if layers_are_known(model) and model.layers else None
    return isinstance(last, tf_keras.layers.Softmax) or (
        getattr(last, "activation", None) is tf_keras.activations.softmax
    )


@contextmanager
def errors_named(body: Body | None) -> Iterator[None]:
    """Say of TensorFlow's errors in a built network whose they are."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        if body is None:
            raise
        lines = [line.strip() for line in error.message.splitlines() if line.strip()]
        # What went wrong stands before the node in which it did.
        told = [a for a, b in pairwise(lines) if b.startswith("[[")]
        reason = told[-1] if told else error.message.strip()
        advice = (
            " One that looks up numbers, of words for example, needs "
            "standardize=False, and each number to be in its table."
        )
        raise ValueError(
            f"network={body.name} can't compute with these rows: {reason}."
            + advice * isinstance(error, tf.errors.InvalidArgumentError)
        ) from error


def member_weights(
    architecture: Architecture, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Arrays of one newly built network, by name; those of the output are left out."""
    seed = int(rng.integers(2**31))
    network = BodyNetwork(replace(architecture, members=1), seed)
    for layer in network.normalised:
        for vector in (layer.u, layer.v):
            vector.assign(rng.standard_normal(vector.shape))
    dumped = network.dump().items()
    return {name: array for name, array in dumped if name.startswith("body/")}


@contextmanager
def _keras_seed(seed: int) -> Iterator[None]:
    """Where layers without a seed take it from, in this thread, for a while.

    ``tf_keras.utils.set_random_seed`` would set Python's, NumPy's and TensorFlow's too.
    """
    before = getattr(backend._SEED_GENERATOR, "generator", None)
    backend._SEED_GENERATOR.generator = random.Random(seed)
    try:
        yield
    finally:
        backend._SEED_GENERATOR.generator = before


def _types(mixed: str | None) -> AbstractContextManager[None]:
    """In which types new layers compute, for a while, in all threads."""
    return policy_scope(f"mixed_{mixed}") if mixed else nullcontext()


def _layer_shapes(model: tf_keras.Model) -> Iterator[list[int]]:
    for layer in _leaves(model):
        shape = getattr(layer, "output_shape", None)
        for one in shape if isinstance(shape, list) else [shape]:
            if isinstance(one, tuple):
                yield [length or 1 for length in one[1:]]
