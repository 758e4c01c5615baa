"""Start TensorFlow, and describe networks that must be built for it.

Together with `network_pool`, this module is the interface between the rest of the
package and the modules that import TensorFlow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .._networks.architecture import Architecture
from .._networks.custom_function import NetworkFunction
from .startup import start_tensorflow


def start() -> None:
    """Start TensorFlow and import the modules of this package that use it.

    Raises
    ------
    RuntimeError
        In a process that was forked after TensorFlow had been used.
    """
    start_tensorflow(_import_rest)


def _import_rest() -> None:
    from . import compiled_network  # noqa: F401  (imports the others)


def describe(function: NetworkFunction, mixed: str | None = None) -> NetworkFunction:
    """Build a custom network once and return a copy that includes its description.

    Parameters
    ----------
    function : NetworkFunction
    mixed : str or None, default=None
        Floating type in which the layers compute.

    Returns
    -------
    NetworkFunction

    Raises
    ------
    ValueError
        If the function does not build a model that maps samples of the given shape to
        hidden representations.
    """
    start()
    from . import custom_build

    return NetworkFunction(
        function.network, function.input_shape, custom_build.describe(function, mixed)
    )


def built_weights(
    architecture: Architecture, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the initial arrays that only Keras layers know.

    Layers without a seed receive one from `rng`, and no global state changes. Weights
    that a user's function loads are kept.

    Parameters
    ----------
    architecture : Architecture
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to ndarray
        Arrays by name, with an axis of members if there are several. Empty if the
        architecture draws all of its arrays.
    """
    if not architecture.has_built_layers:
        return {}
    start()
    from .custom_network import member_weights

    members = [member_weights(architecture, rng) for _ in range(architecture.members)]
    if architecture.members == 1:
        return members[0]
    return {name: np.stack([w[name] for w in members]) for name in members[0]}


def weight_shapes(
    architecture: Architecture,
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of each array of a network, by name."""
    drawn = architecture.weight_shapes().items()
    shapes = {name: (shape, architecture.dtype) for name, shape in drawn}
    if architecture.has_built_layers:
        shapes.update(_built_shapes(architecture))
    return shapes


@lru_cache(maxsize=64)
def _built_shapes(
    architecture: Architecture,
) -> dict[str, tuple[tuple[int, ...], str]]:
    start()
    from .custom_network import weight_shapes

    return weight_shapes(architecture)
