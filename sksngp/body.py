"""What lies below the output layer where it is not the dense residual network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .startup import start_tensorflow


class Body:
    """A function that builds a network, and the shape of the rows it is for.

    Two bodies are equal if their functions were when the bodies were made: in their
    code, in what they hold (defaults, closures, parameters), and in the global names
    that they and the functions of their module go by. Equal bodies share compiled
    networks. What lies further off, such as a file's content, must not change.

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
        # Now: a model stays what was fitted, whatever becomes of the global names.
        self._key = _key_of(network, {}), self.input_shape

    @property
    def name(self) -> str:
        """What messages call the function."""
        return getattr(self.network, "__name__", repr(self.network))

    def __eq__(self, other):
        return isinstance(other, Body) and self._key == other._key

    def __hash__(self):
        return hash(self._key)

    def __deepcopy__(self, memo):
        return self  # nothing changes it

    def __getstate__(self):
        return {"network": self.network, "input_shape": self.input_shape}

    def __setstate__(self, state):
        self.__init__(**state)

    def __repr__(self):
        return f"Body({self.network!r}, {self.input_shape})"


def _key_of(value, seen: dict) -> Hashable:
    """What stands for a function, or something in it, when two are compared.

    Functions are equal if their code is and what they go by, so that one that was
    pickled, or cloned, is still itself. `seen` numbers the functions met before.
    """

    def key(part):
        return _key_of(part, seen)

    if isinstance(value, FunctionType):
        if value in seen:  # it calls itself, or two call it
            return seen[value]
        seen[value] = len(seen)
        held = [value.__defaults__, value.__kwdefaults__, *map(_content, _cells(value))]
        name = value.__module__, value.__qualname__
        return *name, value.__code__, key(held), key(_globals_of(value))
    if isinstance(value, partial):
        return key([value.func, value.args, value.keywords])
    if isinstance(value, list | tuple):
        return type(value), *map(key, value)
    if isinstance(value, dict):
        return tuple((name, key(value[name])) for name in sorted(value, key=repr))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.sha256(np.ascontiguousarray(value)).digest()
        return value.dtype.str, value.shape, digest
    if isinstance(value, BaseEstimator):
        methods = [f for f in vars(type(value)).values() if isinstance(f, FunctionType)]
        return type(value), key(value.get_params()), key(methods)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value  # 1 equals True and 1.0


def _cells(function):
    return function.__closure__ or ()


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been assigned yet
        return None


def _globals_of(function: FunctionType) -> dict[str, Any]:
    """What a function's global names stand for.

    Functions of other modules stand for their own code, whatever that goes by.
    """
    known = function.__globals__
    found = {name: known[name] for name in _names(function.__code__) if name in known}
    for name, value in found.items():
        if isinstance(value, FunctionType) and value.__module__ != function.__module__:
            found[name] = value.__module__, value.__qualname__, value.__code__
    return found


def _names(code: CodeType) -> Iterator[str]:
    """Names in a function and in those defined inside it; not all are global."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


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
