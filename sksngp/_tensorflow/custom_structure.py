"""The layers of models that users' functions build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.engine import functional

from .._networks.custom_function import Description, key_of_layer

#: Settings of a model that contain names of layers.
CONNECTIONS = ("inbound_nodes", "input_layers", "output_layers")


def leaves(
    model: tf_keras.Model, with_models: bool = False
) -> Iterator[tf_keras.layers.Layer]:
    """Yield the layers of a model and its nested models, optionally with the latter."""
    if not layers_are_known(model):
        return
    for layer in model.layers:
        is_model = isinstance(layer, tf_keras.Model)
        if with_models or not is_model:
            yield layer
        if is_model:
            yield from leaves(layer, with_models)


def layers_are_known(model: tf_keras.Model) -> bool:
    """Return whether a model consists of layers, without a custom `call` method."""
    return isinstance(model, tf_keras.Sequential) or (
        isinstance(model, functional.Functional)
        and type(model).call is functional.Functional.call
    )


def structure_of(model: tf_keras.Model) -> str:
    """Return a digest of the layers of a model, their settings and connections.

    It excludes names that Keras numbers and seeds, which differ between calls, and
    functions, which are part of `code_of`.
    """
    layers = list(leaves(model, with_models=True))
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
        except Exception:  # the class does not implement it
            config = {}
        return type(layer).__qualname__, plain(config), layer.trainable

    shapes = [variable.shape.as_list() for variable in model.variables]
    content = [settings(layer) for layer in [model, *layers]], shapes
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{tf_keras.__version__} {digest}"


def code_of(model: tf_keras.Model) -> tuple[Hashable, ...]:
    """Return a key of the custom code in a model; () if there is none."""
    layers = [model, *leaves(model, with_models=True)]
    keys = tuple(key_of_layer(layer) for layer in layers)
    return keys if any(key is not None for key in keys) else ()


def layer_shapes(model: tf_keras.Model) -> Iterator[list[int]]:
    """Yield the shapes of the outputs of layers for one sample."""
    for layer in leaves(model):
        shape = getattr(layer, "output_shape", None)
        for output in shape if isinstance(shape, list) else [shape]:
            if isinstance(output, tuple):
                yield [length or 1 for length in output[1:]]


def has_softmax(model: tf_keras.Model) -> bool:
    """Return whether the last layer of a model applies a softmax."""
    last = model.layers[-1] if layers_are_known(model) and model.layers else None
    return isinstance(last, tf_keras.layers.Softmax) or (
        getattr(last, "activation", None) is tf_keras.activations.softmax
    )


def is_as_described(model: tf_keras.Model, description: Description) -> bool:
    """Return whether a model agrees with the description of an earlier one."""
    version, _, digest = description.structure.partition(" ")
    if version == tf_keras.__version__ and not structure_of(model).endswith(digest):
        return False
    return description.code is None or code_of(model) == description.code
