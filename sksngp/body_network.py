"""A network that a function builds, below one of our output layers."""

from __future__ import annotations

import random
import threading
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src import backend
from tf_keras.src.engine import functional
from tf_keras.src.mixed_precision.policy import policy_scope

from .architecture import Architecture
from .body import Body, Description
from .networks import NormalisedDense, ResidualNetwork, SpectralNormalizationConv2D
from .seeded_layers import Dropout, SeededLayer

#: A seed's second number counts steps by so many: for the two halves of a batch, and
#: for the layers in each.
SEEDS_OF_STEP, SEEDS_OF_HALF = 1024, 512
#: Builds wait for each other: in which types new layers compute is one global setting.
_one_build = threading.RLock()
#: Layers that drop channels as a whole; the n-th has n axes of pixels.
SPATIAL = (
    tf_keras.layers.SpatialDropout1D,
    tf_keras.layers.SpatialDropout2D,
    tf_keras.layers.SpatialDropout3D,
)


class NormalisedConv2D(SpectralNormalizationConv2D):
    """tf-models-official's wrapper of a convolution, built without random values.

    The parent divides sizes by strides without rounding up, and knows padding "same"
    only.
    """

    def build(self, input_shape):
        groups, dilation = self.layer.groups, self.layer.dilation_rate
        if groups > 1 or max(dilation) > 1:
            raise ValueError(
                "Spectral normalisation knows no groups or dilation; "
                f"{self.layer.name} has groups={groups} and dilation_rate={dilation}. "
                "Pass spec_norm_bound=None to leave the norms as they are."
            )
        if None in input_shape[1:]:
            raise ValueError(
                "Spectral normalisation must know the size of images; "
                f"{self.layer.name} takes {tuple(input_shape)}. Build the model for "
                "the shape that network is called with, or pass spec_norm_bound=None."
            )
        if not self.layer.built:
            self.layer.build(input_shape)
        self.w = self.layer.kernel
        self.in_shape = (1, *map(int, input_shape[1:]))
        output_shape = self.layer.compute_output_shape(input_shape)
        self.out_shape = (1, *map(int, output_shape[1:]))
        for name, shape in (("v", self.in_shape), ("u", self.out_shape)):
            vector = self.add_weight(
                name=name, shape=shape, initializer="zeros", trainable=False
            )
            setattr(self, name, vector)
        self.built = True

    def call(self, inputs):
        # In training, `normalise` has done what the parent's call would do.
        return self.layer(inputs)

    def update_weights(self):
        """One power iteration (Gouk et al. 2021, arXiv 1804.04368), and the bound."""
        how = {"strides": self.layer.strides, "padding": self.layer.padding.upper()}
        image = tf.nn.conv2d_transpose(self.u, self.w, self.in_shape, **how)
        v = image / (tf.norm(image) + 1e-12)
        image = tf.nn.conv2d(v, self.w, **how)
        sigma = tf.norm(image)
        self.v.assign(v)
        self.u.assign(image / (sigma + 1e-12))
        bounded = tf.minimum(self.norm_multiplier / (sigma + 1e-12), 1.0)
        self.layer.kernel.assign(bounded * self.w)


class QuietDense(NormalisedDense):
    """Without a power iteration in each training call: `normalise` makes it."""

    def call(self, inputs):
        return self.layer(inputs)


class BodyNetwork(ResidualNetwork):
    """A built network as features, and an output layer.

    Parameters
    ----------
    architecture : Architecture
        With a `body`.
    seed : int, default=0
        Of the weights that the function leaves to chance.
    """

    def __init__(self, architecture: Architecture, seed: int = 0):
        self._seed = seed
        super().__init__(architecture)

    def make_hidden_layers(self):
        """Build the network, with our layers in place of some of Keras'."""
        self.seeded: list = []
        self.normalised: list = []
        self.model = build(self.architecture.body, self._seed, self.architecture.mixed)
        if layers_are_known(self.model):
            self.model = tf_keras.models.clone_model(
                self.model, clone_function=self._replacement
            )
        if self.architecture.dropout:
            self._seeded(Dropout(self.dropout_rate))
        return [self.model]

    def _seeded(self, layer):
        """A layer that will have its seeds from here."""
        layer.place = len(self.seeded)
        self.seeded.append(layer)
        return layer

    def _replacement(self, layer):
        """A layer, with its weights, or what has its place."""
        if isinstance(layer, tf_keras.Model) and layers_are_known(layer):
            return tf_keras.models.clone_model(layer, clone_function=self._replacement)
        if type(layer) in (tf_keras.layers.Dropout, *SPATIAL):
            dropout = Dropout(layer.rate, _noise_shape(layer), dtype=layer.dtype_policy)
            return self._seeded(dropout)
        if isinstance(layer, SeededLayer):
            return self._seeded(layer)
        wanted = self.architecture.num_inducing is not None
        if not (wanted and self.architecture.normalised and _can_be_normalised(layer)):
            return layer
        wrappers = {
            tf_keras.layers.Dense: QuietDense,
            tf_keras.layers.Conv2D: NormalisedConv2D,
        }
        wrapped = wrappers[type(layer)](
            layer, norm_multiplier=self.spec_norm_bound, dtype=layer.dtype_policy
        )
        self.normalised.append(wrapped)
        return wrapped

    def hidden(self, projected, masks=None):
        """Features (n, d) of standardised rows, flat.

        `masks`, where given, is a seed, an int32 tensor of shape (2,): dropout layers
        drop the same units of all rows.
        """
        return self._features(projected, masks, for_all_rows=True, training=False)

    def training_hidden(self, projected, masks):
        """As `hidden`; each row has masks of its own, and batches are normalised."""
        return self._features(projected, masks, for_all_rows=False, training=True)

    def _features(self, projected, seed, for_all_rows, training):
        rows = tf.reshape(projected, (-1, *self.architecture.body.input_shape))
        for layer in self.seeded:
            layer.seed, layer.for_all_rows = seed, for_all_rows
        features = self.call_hidden_layer(self.model, rows, training=training)
        return self.seeded[-1](features) if self.architecture.dropout else features

    def training_masks(self, draws, threshold):
        """Seeds are all that dropout layers need."""
        return draws

    def halve_masks(self, masks, sizes):
        """Seeds for the two halves of a batch."""
        return [masks, tf.add(masks, [0, SEEDS_OF_HALF])]

    def load(self, weights):
        """As the parent's, of arrays that fit."""
        for name, variable in self.weights.items():
            found = weights[name].shape if name in weights else None
            if found != tuple(variable.shape):
                raise ValueError(
                    f"network={self.architecture.body.name} now builds another network "
                    f"than the one that was fitted: {name} has shape {variable.shape}, "
                    f"what was fitted {found}. Fit anew, or undo the change to the "
                    "function or to what it goes by."
                )
        super().load(weights)

    def penalties(self):
        """Losses that the built layers add, such as those of regularisers."""
        return self.model.losses

    def normalise(self):
        """Bound the spectral norms by one power iteration each."""
        for layer in self.normalised:
            layer.update_weights()

    def _collect_hidden_weights(self):
        own = [  # the wrappers hold the bound, too
            variable
            for variable in self.model.variables
            if variable is not self.spec_norm_bound
        ]
        names = [variable.name.rpartition("/")[2].partition(":")[0] for variable in own]
        return {
            f"body/{index:03d}/{name}": variable
            for index, (name, variable) in enumerate(zip(names, own, strict=True))
        }

    def _collect_trainable(self):
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


def describe(body: Body) -> Description:
    """As `sksngp.body.described`."""
    model = build(body)
    if _has_softmax(model):
        warnings.warn(
            f"network={body.name} ends in a softmax, on which the classifier would put "
            "an output layer of its own: leave out the model's.",
            UserWarning,
            stacklevel=2,
        )
    sizes = [prod(layer_shape) for layer_shape in _layer_shapes(model)]
    sizes.append(int(model.output_shape[-1]))  # all that is known of some
    return Description(
        num_features=int(model.output_shape[-1]),
        row_floats=sum(sizes),
        widest_floats=max(sizes),
        num_weights=sum(prod(variable.shape) for variable in model.variables),
        num_normalised=sum(map(_can_be_normalised, _leaves(model))),
    )


def weight_shapes(architecture: Architecture) -> dict:
    """As `sksngp.body.body_weight_shapes`."""
    members = () if architecture.members == 1 else (architecture.members,)
    network = BodyNetwork(replace(architecture, members=1))
    return {
        name: ((*members, *variable.shape), variable.dtype.name)
        for name, variable in network.weights.items()
        if name.startswith("body/")
    }


def _noise_shape(layer):
    """Of a dropout layer: 1 along the axes on which it drops units together."""
    for rank, kind in enumerate(SPATIAL, start=1):
        if isinstance(layer, kind):
            ones = [1] * rank
            first = getattr(layer, "data_format", None) == "channels_first"
            return (None, None, *ones) if first else (None, *ones, None)
    return layer.noise_shape


def _can_be_normalised(layer):
    """Whether a layer has a kernel that training changes, of a kind that we wrap."""
    if not layer.trainable:
        return False
    return type(layer) in (tf_keras.layers.Dense, tf_keras.layers.Conv2D)


def _leaves(model):
    """Layers of a model and of models in it."""
    if not layers_are_known(model):
        return
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


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
    if isinstance(body.network, type):
        raise ValueError(
            f"network={name} is a class; pass an instance of it, such as {name}()."
        )
    with _one_build, _keras_seed(seed), _types(mixed):
        model = body.network(body.input_shape)
        if isinstance(model, tf_keras.Model) and not hasattr(model, "output_shape"):
            model(tf_keras.Input(body.input_shape))  # of a class of its own
    if not isinstance(model, tf_keras.Model):
        foreign = type(model).__module__.startswith("keras.")
        raise ValueError(
            f"network={name} must return a tf_keras.Model for rows of shape "
            f"{body.input_shape}, got {type(model).__name__}."
            + " Models of Keras 3 don't go with it: import tf_keras."
            * foreign
        )
    _check_shapes(body, model)
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


def _check_shapes(body, model):
    """Refuse a model that isn't one from rows to features."""
    taken = getattr(model, "input_shape", None) if layers_are_known(model) else None
    if taken is not None and not (
        isinstance(taken, tuple)
        and len(taken) == 1 + len(body.input_shape)
        and all(
            a in (b, None) for a, b in zip(taken[1:], body.input_shape, strict=True)
        )
    ):
        raise ValueError(
            f"network={body.name} is called with the shape of a row, "
            f"{body.input_shape}, and must return a model of such rows; its model "
            f"takes {taken}."
        )
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(
            f"network={body.name} must give features of shape (n, d), got {shape}. "
            "Flatten or pool them, and leave out the output layer."
        )


def _has_softmax(model):
    """Whether a model's last layer is an output layer's."""
    if not layers_are_known(model):
        return False
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, tf_keras.layers.Softmax) or (
        activation is tf_keras.activations.softmax
    )


@contextmanager
def errors_named(body: Body | None):
    """Say of TensorFlow's errors in a built network whose they are."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        if body is None:
            raise
        lines = [line.strip() for line in error.message.splitlines() if line.strip()]
        # What went wrong stands before the node in which it did.
        told = [a for a, b in pairwise(lines) if b.startswith("[[")]
        reason = told[-1] if told else lines[0]
        raise ValueError(
            f"network={body.name} can't compute with these rows: {reason}. One that "
            "looks up numbers, of words for example, needs standardize=False, and each "
            "number to be in its table."
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
def _keras_seed(seed):
    """Where layers without a seed take it from, in this thread, for a while.

    ``tf_keras.utils.set_random_seed`` would set Python's, NumPy's and TensorFlow's too.
    """
    before = getattr(backend._SEED_GENERATOR, "generator", None)
    backend._SEED_GENERATOR.generator = random.Random(seed)
    try:
        yield
    finally:
        backend._SEED_GENERATOR.generator = before


def _types(mixed):
    """In which types new layers compute, for a while, in all threads."""
    return policy_scope(f"mixed_{mixed}") if mixed else nullcontext()


def _layer_shapes(model):
    for layer in _leaves(model):
        shape = getattr(layer, "output_shape", None)
        for one in shape if isinstance(shape, list) else [shape]:
            if isinstance(one, tuple):
                yield [length or 1 for length in one[1:]]
