"""Users' functions that build networks, as values that can be compared."""

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


class NetworkFunction:
    """Function that builds a custom network, and the shape of its samples.

    Equal objects share compiled networks. Two objects are equal if their functions had
    equal code, defaults, closures and parameters when the objects were created, and if
    the functions built the same model.

    Parameters
    ----------
    network : callable
        Maps `input_shape` to a ``tf_keras.Model``, which maps samples of this shape to
        hidden representations of shape (n_samples, n_outputs).
    input_shape : tuple of int
    description : Description or None, default=None
        Description of the model; None if the function was not called yet.
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
        """Name of the function in messages."""
        return getattr(self.network, "__name__", repr(self.network))

    def has_function_of(self, other: NetworkFunction) -> bool:
        """Return whether the functions are equal; the models may differ."""
        return self._function == other._function

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetworkFunction) or not self.has_function_of(other):
            return False
        return self.description == other.description

    def __hash__(self) -> int:
        return hash((self._function, self.description))

    def __repr__(self) -> str:
        return f"NetworkFunction({self.network!r}, {self.input_shape})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # immutable

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "network": self.network,
            "input_shape": self.input_shape,
        }
        known = self.description
        if known is not None and known.code:  # functions cannot be pickled
            known = replace(known, code=None)
        return {**state, "description": known and vars(known)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["description"] is not None:
            state["description"] = Description(
                **{  # earlier versions used British spelling
                    name.replace("normalised", "normalized"): value
                    for name, value in state["description"].items()
                }
            )
        NetworkFunction.__init__(self, **state)


Body = NetworkFunction  # its name in objects that were saved by earlier versions


@dataclass(frozen=True)
class Description:
    """Properties of the model that a function built.

    Parameters
    ----------
    num_features : int
        Number of outputs.
    row_floats, widest_floats : int
        Number of outputs of all layers for a sample, and of the largest layer.
    num_weights : int
    num_normalized : int
        Number of layers with spectral normalization; 0 for models with a custom
        `call` method.
    structure : str
        Version of Keras, and digest of the layers, their settings and connections.
    code : hashable
        Key of the custom code in layers; None if it is unknown, because it cannot be
        pickled.
    unnormalized : tuple of str, default=()
        Names and types of trainable layers without spectral normalization.
    num_kernels_in_place : int, default=0
        Number of kernels that are normalized without a wrapper of their layer. It is 0
        for models of versions that normalized Dense and Conv2D layers only.
    """

    num_features: int
    row_floats: int
    widest_floats: int
    num_weights: int
    num_normalized: int
    structure: str
    code: Hashable
    unnormalized: tuple[str, ...] = field(default=(), compare=False)
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
    """Return a key with which functions and their contents are compared.

    Functions with equal code and contents have equal keys, so that pickled and cloned
    functions are equal to the original. `of_object` returns the key of other objects;
    `inside` contains the functions that refer to the value.
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
    """Return a key of the custom code of a layer; None if it has none.

    The key covers the function of a Lambda layer, and the methods and simple attributes
    of classes that are not part of Keras. Other objects to which these refer are new in
    each build, and are represented by their type.
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
