"""Start TensorFlow, and answer what only a built network tells.

Together with `pool`, this module is the door from the rest of the package to the
modules that import TensorFlow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .._networks.architecture import Architecture
from .._networks.custom_function import Body
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
    from . import compiled  # noqa: F401  (imports the others)


def describe(body: Body, mixed: str | None = None) -> Body:
    """Build a custom network once and return a copy that includes its description.

    Parameters
    ----------
    body : Body
    mixed : str or None, default=None
        Floating type in which the layers compute.

    Returns
    -------
    Body

    Raises
    ------
    ValueError
        If the function does not build a model from rows of its shape to features.
    """
    start()
    from . import custom_network

    return Body(body.network, body.input_shape, custom_network.describe(body, mixed))


def initial_body_weights(
    architecture: Architecture, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the arrays of newly built custom networks, stacked if there are several.

    The layers of Keras draw from generators of their own. Layers without a seed receive
    one from `rng`, and no global state changes. Weights that the function loads stay.
    """
    start()
    from .custom_network import member_weights

    members = [member_weights(architecture, rng) for _ in range(architecture.members)]
    if architecture.members == 1:
        return members[0]
    return {name: np.stack([w[name] for w in members]) for name in members[0]}


@lru_cache(maxsize=64)
def body_weight_shapes(
    architecture: Architecture,
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of each array of a custom network, by name."""
    start()
    from .custom_network import weight_shapes

    return weight_shapes(architecture)
