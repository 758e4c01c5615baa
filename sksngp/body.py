"""What lies below the output layer where it is not the dense residual network."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .startup import start_tensorflow


class Body:
    """A function that builds a network, and the shape of the rows it is for.

    Two bodies are equal if their functions are, or, for those with parameters as
    scikit-learn's estimators and `functools.partial` have them, if these are. Equal
    bodies share compiled networks.

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


def _key_of(network):
    if isinstance(network, partial):
        keywords = tuple(sorted(network.keywords.items()))
        return _key_of(network.func), network.args, keywords
    if hasattr(network, "get_params"):
        return type(network), tuple(sorted(network.get_params().items()))
    return network


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
    layers_are_known : bool
        Whether its layers can be wrapped.
    """

    num_features: int
    row_floats: int
    widest_floats: int
    num_weights: int
    layers_are_known: bool


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
