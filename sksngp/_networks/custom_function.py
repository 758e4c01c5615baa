"""What lies below the output layer where it is not the dense residual network."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    import tf_keras


class Body:
    """A function that builds a network, and the shape of the rows it is for.

    Equal bodies share compiled networks. They are equal if their functions were when
    the bodies were made, in their code and what they hold (defaults, closures,
    parameters), and if the functions built the same.

    Parameters
    ----------
    network : callable
        From `input_shape` to a ``tf_keras.Model`` of rows of that shape, which gives
        features of shape (n, d).
    input_shape : tuple of int
    description : Description or None, default=None
        Of what the function built; None if it wasn't called yet.
    """

    def __init__(
        self,
        network: Callable[[tuple[int, ...]], Any],
        input_shape: tuple[int, ...],
        description: Description | None = None,
    ) -> None:
        self.network = network
        self.input_shape = tuple(input_shape)
        self.description = description
        self._function = _key_of(network), self.input_shape

    @property
    def name(self) -> str:
        """What messages call the function."""
        return getattr(self.network, "__name__", repr(self.network))

    def has_function_of(self, other: Body) -> bool:
        """Whether two bodies are equal as far as can be told without building."""
        return self._function == other._function

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Body) or not self.has_function_of(other):
            return False
        return self.description == other.description

    def __hash__(self) -> int:
        return hash((self._function, self.description))

    def __repr__(self) -> str:
        return f"Body({self.network!r}, {self.input_shape})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing changes it

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "network": self.network,
            "input_shape": self.input_shape,
        }
        known = self.description
        if known is not None and known.code:  # whose functions no file can hold
            known = replace(known, code=None)
        return {**state, "description": known and vars(known)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["description"] is not None:
            state["description"] = Description(**state["description"])
        Body.__init__(self, **state)


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
    structure : str
        Version of Keras, and digest of layers, their settings and connections.
    code : hashable
        What stands for code of its own among its layers; None where it is unknown, as
        it cannot be pickled.
    unnormalised : tuple of str, default=()
        Names and types of trainable layers that spectral normalisation does not reach.
    num_kernels_in_place : int, default=0
        Number of kernels that are normalized without a wrapper of their layer. Bodies
        fitted by versions that normalized Dense and Conv2D layers only have 0.
    """

    num_features: int
    row_floats: int
    widest_floats: int
    num_weights: int
    num_normalised: int
    structure: str
    code: Hashable
    unnormalised: tuple[str, ...] = field(default=(), compare=False)
    num_kernels_in_place: int = 0


def _identity(value: object) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _kind(value: object) -> Hashable:
    return type(value).__qualname__


def _key_of(
    value: Any,
    of_object: Callable[[object], Hashable] = _identity,
    inside: tuple[FunctionType, ...] = (),
) -> Hashable:
    """What stands for a function, or something in it, when two are compared.

    Functions are equal if their code is and what they hold, so that one that was
    pickled, or cloned, is still itself. `of_object` gives what stands for an object of
    which nothing else is known; `inside` has the functions that hold the value.
    """

    def key(part: object) -> Hashable:
        return _key_of(part, of_object, inside)

    if isinstance(value, FunctionType):
        if value in inside:  # it calls itself
            return value.__qualname__
        inside = (*inside, value)
        cells = [_content(cell) for cell in value.__closure__ or ()]
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
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return value
    return of_object(value)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been assigned yet
        return None


def key_of_layer(layer: tf_keras.layers.Layer) -> Hashable:
    """What stands for a layer's own code, beside its settings.

    That of the function in a Lambda layer; of classes that come from elsewhere than
    Keras, their methods and what simple attributes hold. Other objects that these hold
    are new in each build, and stand for their kind.
    """
    kind = type(layer)
    if kind.__module__.partition(".")[0] in ("tf_keras", "official", "sksngp"):
        return _key_of(layer.function, _kind) if kind.__name__ == "Lambda" else None
    methods = {
        f"{base.__qualname__}.{name}": value
        for base in kind.__mro__
        if base.__module__ == kind.__module__
        for name, value in vars(base).items()
        if isinstance(value, FunctionType)
    }
    attributes = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("_")
    }
    return kind.__module__, kind.__qualname__, _key_of([methods, attributes], _kind)
