"""What lies below the output layer where it is not the dense residual network."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .startup import start_tensorflow


class Body:
    """A function that builds a network, and the shape of the rows it is for.

    Two bodies are equal if their functions are, in their code and what they hold:
    defaults, closures, parameters. Equal bodies share compiled networks, so that a
    function must not go by anything else, such as global variables that change.

    Parameters
    ----------
    network : callable
        From `input_shape` to a ``tf_keras.Model`` of rows of that shape, which gives
        features of shape (n, d).
    input_shape : tuple of int
    """

    def __init__(self, network: Callable[[tuple[int, ...]], Any], input_shape):
        self.network = network
        self.input_shape = tuple(input_shape)

    def _key(self) -> Hashable:
        return _key_of(self.network), self.input_shape

    def __eq__(self, other):
        return isinstance(other, Body) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __repr__(self):
        return f"Body({self.network!r}, {self.input_shape})"


def _key_of(value, inside=()):
    """What stands for a function, or something in it, when two are compared.

    Functions are equal if their code is and what they hold, so that one that was
    pickled, or cloned, is still itself. `inside` has those that hold the value.
    """

    def key(part):
        return _key_of(part, inside)

    if isinstance(value, FunctionType):
        if value in inside:  # it calls itself
            return value.__qualname__
        inside = (*inside, value)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        held = [value.__defaults__, value.__kwdefaults__, cells]
        return value.__module__, value.__qualname__, value.__code__, key(held)
    if isinstance(value, partial):
        return key([value.func, value.args, value.keywords])
    if isinstance(value, list | tuple):
        return type(value), *map(key, value)
    if isinstance(value, dict):
        return tuple((name, key(value[name])) for name in sorted(value, key=repr))
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, BaseEstimator):
        return type(value), key(value.get_params())
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


@dataclass(frozen=True)
class Description:
    """What is known of a body once it is built.

    Parameters
    ----------
    num_features : int
        Length of what it gives for a row.
    row_floats, widest_floats : int
        Floats that its layers give for a row, together and the most of one.
    num_weights : int
    num_normalised : int
        How many of its layers spectral normalisation finds; 0 where a model has a
        `call` of its own.
    """

    num_features: int
    row_floats: int
    widest_floats: int
    num_weights: int
    num_normalised: int


@lru_cache(maxsize=64)
def described(body: Body) -> Description:
    """Build a body to learn its sizes.

    Raises
    ------
    ValueError
        If it is no model from rows of its shape to features.
    """
    start_tensorflow()
    from .body_network import describe

    return describe(body)


def initial_body_weights(
    architecture, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Arrays of newly built networks, stacked where there are several members.

    Keras' layers draw from generators of their own; those that have no seed take it
    from `rng`, and no global state is touched. Weights that the function loads stay.
    """
    start_tensorflow()
    from .body_network import member_weights

    members = [member_weights(architecture, rng) for _ in range(architecture.members)]
    if architecture.members == 1:
        return members[0]
    return {name: np.stack([w[name] for w in members]) for name in members[0]}


@lru_cache(maxsize=64)
def body_weight_shapes(architecture) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each array that a body has, by name."""
    start_tensorflow()
    from .body_network import weight_shapes

    return weight_shapes(architecture)
