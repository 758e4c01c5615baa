"""Building and describing the models of users' functions."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod

import tensorflow as tf
import tf_keras
from tf_keras.src import backend
from tf_keras.src.engine.input_spec import assert_input_compatibility
from tf_keras.src.mixed_precision.policy import policy_scope

from .._networks.custom_function import Description, NetworkFunction
from .custom_structure import (
    code_of,
    has_softmax,
    is_as_described,
    layer_shapes,
    layers_are_known,
    leaves,
    structure_of,
)
from .normalized_layers import has_other_matrices, is_wrapped, linear_maps

#: Builds are serialized, because the types of new layers are a global setting.
_build_lock = threading.RLock()


def describe(function: NetworkFunction, mixed: str | None = None) -> Description:
    """Build a custom network and describe it; see `backend.describe`."""
    model = build(function, mixed=mixed)
    if has_softmax(model):
        warnings.warn(
            f"network={function.name} ends in a softmax. The classifier adds its own "
            "output layer: omit that of the model.",
            UserWarning,
            stacklevel=2,
        )
    layers = list(leaves(model))
    maps = [linear_maps(layer) for layer in layers]
    sizes = [prod(layer_shape) for layer_shape in layer_shapes(model)]
    sizes.append(int(model.output_shape[-1]))  # the only known shape of some models
    return Description(
        num_features=int(model.output_shape[-1]),
        row_floats=sum(sizes),
        widest_floats=max(sizes),
        num_weights=sum(prod(variable.shape) for variable in model.variables),
        num_normalized=sum(map(is_wrapped, layers)) + sum(map(bool, maps)),
        structure=structure_of(model),
        code=code_of(model),
        unnormalized=tuple(
            f"{layer.name} ({type(layer).__name__})"
            for layer in layers
            if has_other_matrices(layer)
        ),
        num_kernels_in_place=sum(map(len, maps)),
    )


def build(
    function: NetworkFunction, seed: int = 0, mixed: str | None = None
) -> tf_keras.Model:
    """Call the function of a custom network and check the model that it returns."""
    name = function.name
    if isinstance(function.network, tf_keras.Model):
        raise ValueError(
            f"network={name} must be a function that builds a model for the shape of a "
            "sample, got a model: several models are built."
        )
    with _build_lock, _keras_seed(seed), _mixed_precision_scope(mixed):
        model = function.network(function.input_shape)
        if isinstance(model, tf_keras.Model) and not hasattr(model, "output_shape"):
            model(tf_keras.Input(function.input_shape))  # builds a subclassed model
    if not isinstance(model, tf_keras.Model):
        raise _not_a_model(function, model)
    _check_shapes(function, model)
    known = function.description
    if known is not None and not is_as_described(model, known):
        raise built_differently(function)
    _check_types(function, model, mixed)
    for variable in model.variables:
        if getattr(variable, "_is_in_a_network", False):
            raise ValueError(
                f"network={name} must build new layers in each call, got "
                f"{variable.name} of an earlier call: networks cannot share weights."
            )
        variable._is_in_a_network = True
    return model


def _check_shapes(function: NetworkFunction, model: tf_keras.Model) -> None:
    """Raise an error unless a model maps samples to hidden representations."""
    if layers_are_known(model) and model.input_spec is not None:
        samples = tf_keras.Input(function.input_shape)
        try:
            assert_input_compatibility(model.input_spec, samples, model.name)
        except ValueError as error:
            raise ValueError(
                f"network={function.name} must return a model for samples of shape "
                f"{function.input_shape}, with which it is called, got a model for "
                f"{model.input_shape}."
            ) from error
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(
            f"network={function.name} must return hidden representations of shape "
            f"(n_samples, n_outputs), got {shape}. Flatten or pool them, and omit the "
            "output layer."
        )


@contextmanager
def _keras_seed(seed: int) -> Iterator[None]:
    """Seed the layers without a seed of their own, in this thread.

    ``tf_keras.utils.set_random_seed`` would also set the global random states of
    Python, NumPy and TensorFlow.
    """
    before = getattr(backend._SEED_GENERATOR, "generator", None)
    backend._SEED_GENERATOR.generator = random.Random(seed)
    try:
        yield
    finally:
        backend._SEED_GENERATOR.generator = before


def _mixed_precision_scope(mixed: str | None) -> AbstractContextManager[None]:
    """Return a scope for the floating-point type of new layers, in all threads."""
    return policy_scope(f"mixed_{mixed}") if mixed else nullcontext()


def built_differently(function: NetworkFunction) -> ValueError:
    """Return an error about a model that differs from the fitted one."""
    return ValueError(
        f"network={function.name} must build the model that was fitted, got another. "
        "Refit the classifier, or restore the function and the objects it depends on."
    )


def _not_a_model(function: NetworkFunction, model: object) -> ValueError:
    name = function.name
    message = (
        f"network={name} must return a tf_keras.Model for samples of shape "
        f"{function.input_shape}, got {type(model).__name__}."
    )
    if any(kind.__module__.startswith("keras.") for kind in type(model).__mro__):
        message += " Models of Keras 3 are not supported: import tf_keras."
    if isinstance(function.network, type):
        message += f" Pass an instance of the class, such as {name}()."
    return ValueError(message)


def _check_types(
    function: NetworkFunction, model: tf_keras.Model, mixed: str | None
) -> None:
    """Raise an error if layers use other floating-point types."""
    types = {
        variable.dtype for variable in model.variables if variable.dtype.is_floating
    }
    if layers_are_known(model):
        types.add(tf.as_dtype(model.output.dtype))
    others = types - {tf.float32, mixed and tf.as_dtype(mixed)}
    if others:
        names = ", ".join(sorted(kind.name for kind in others))
        raise ValueError(
            f"network={function.name} must compute in {mixed or 'float32'}, got "
            f"{names}."
        )
