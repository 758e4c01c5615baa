"""What a network is made of, and the arrays it starts from.

Everything here is NumPy; `sksngp._tensorflow.residual_network` builds the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from .._runtime.blas import one_thread
from .custom_function import Body


@dataclass(frozen=True)
class Architecture:
    """What a compiled network depends on; the key of the network pool.

    Parameters
    ----------
    num_outputs : int
        Number of logits K.
    num_layers, num_hidden : int
        Number and width of the residual blocks.
    num_inducing : int or None, default=None
        Number of random features of the Gaussian-process output; None gives
        dense logits and hidden layers without spectral normalisation.
    members : int, default=1
        Number of networks stacked into one graph.
    dropout : bool, default=True
        Whether training draws dropout masks at all.
    optimizer : str, default="adam"
        Name of the optimiser.
    dtype : str, default="float32"
        Floating type of weights and activations.
    mixed : {"bfloat16", "float16"} or None, default=None
        Floating type in which hidden layers compute instead.
    body : Body or None, default=None
        What takes the place of the residual blocks; `num_hidden` is then the number of
        its features, and `num_layers` 0.
    normalised : bool, default=True
        Whether layers of a body below a Gaussian process are wrapped in spectral
        normalisation.
    """

    num_outputs: int
    num_layers: int
    num_hidden: int
    num_inducing: int | None = None
    members: int = 1
    dropout: bool = True
    optimizer: str = "adam"
    dtype: str = "float32"
    mixed: str | None = None
    body: Body | None = None
    normalised: bool = True

    @property
    def num_columns(self) -> int:
        """Length of the rows that the network takes."""
        return self.num_hidden if self.body is None else prod(self.body.input_shape)


def glorot_uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int
) -> NDArray[np.float64]:
    """Uniform on +-sqrt(6 / (fan_in + fan_out)), float64 (fan_in, fan_out)."""
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, size=(fan_in, fan_out))


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's arrays, by name, as `initial_weights` draws them.

    Parameters
    ----------
    architecture : Architecture

    Returns
    -------
    dict of str to tuple of int
    """
    hidden, inducing = architecture.num_hidden, architecture.num_inducing
    outputs = architecture.num_outputs
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(architecture.num_layers):
        shapes[f"hidden_{block}/kernel"] = (hidden, hidden)
        shapes[f"hidden_{block}/bias"] = (hidden,)
        if inducing is not None:
            shapes[f"hidden_{block}/u"] = shapes[f"hidden_{block}/v"] = (1, hidden)
    if inducing is not None:
        shapes["random_features/kernel"] = (hidden, inducing)
        shapes["random_features/bias"] = (inducing,)
    shapes["output/kernel"] = (hidden if inducing is None else inducing, outputs)
    shapes["output/bias"] = (outputs,)
    members = architecture.members
    if members == 1:
        return shapes
    stacked = architecture.body is None  # then layers take rows of all members at once
    return {
        name: (members, *((1, *shape) if name.endswith("bias") and stacked else shape))
        for name, shape in shapes.items()
    }


def initial_weights(
    architecture: Architecture, rng: np.random.Generator, output_bias: np.ndarray
) -> dict[str, np.ndarray]:
    """Draw the arrays of a new network.

    Parameters
    ----------
    architecture : Architecture
    rng : numpy.random.Generator
        The only source of randomness.
    output_bias : ndarray of shape (K,)
        Where the output bias starts: the log prior of the classes.

    Returns
    -------
    dict of str to ndarray
        Names and shapes as in `ResidualNetwork.weights`.
    """
    members = [
        _member_weights(architecture, rng, output_bias)
        for _ in range(architecture.members)
    ]
    if architecture.members == 1:
        return {name: w.astype(architecture.dtype) for name, w in members[0].items()}
    shapes = weight_shapes(architecture)
    stacked = {name: np.stack([w[name] for w in members]) for name in members[0]}
    return {
        name: w.reshape(shapes[name]).astype(architecture.dtype)
        for name, w in stacked.items()
    }


def _member_weights(
    architecture: Architecture, rng: np.random.Generator, output_bias: np.ndarray
) -> dict[str, np.ndarray]:
    hidden, inducing = architecture.num_hidden, architecture.num_inducing
    weights: dict[str, np.ndarray] = {}
    for block in range(architecture.num_layers):
        weights[f"hidden_{block}/kernel"] = glorot_uniform(rng, hidden, hidden)
        weights[f"hidden_{block}/bias"] = np.zeros(hidden)
        if inducing is not None:
            weights[f"hidden_{block}/u"] = rng.standard_normal((1, hidden))
            weights[f"hidden_{block}/v"] = rng.standard_normal((1, hidden))
    if inducing is not None:
        weights["random_features/kernel"] = rng.standard_normal((hidden, inducing))
        weights["random_features/bias"] = rng.uniform(0, 2 * np.pi, inducing)
    fan_in = hidden if inducing is None else inducing
    weights["output/kernel"] = glorot_uniform(rng, fan_in, len(output_bias))
    weights["output/bias"] = np.asarray(output_bias)
    return weights


@one_thread
def project_spectral_norm(
    weights: dict[str, np.ndarray], bound: float
) -> dict[str, np.ndarray]:
    """Scale hidden kernels whose spectral norm exceeds `bound` down to it.

    Training follows the norm with one power iteration a step, which may lag
    behind; the singular values computed here are exact. Returns a new dict.
    """
    projected = dict(weights)
    for name, kernel in weights.items():
        if name.startswith("hidden_") and name.endswith("/kernel"):
            gram = kernel.T.astype(np.float64) @ kernel
            norm = np.sqrt(np.linalg.eigvalsh(gram)[-1])
            if norm > bound:
                # The margin keeps rounding from lifting the norm above the bound.
                projected[name] = kernel * kernel.dtype.type((1 - 1e-6) * bound / norm)
    return projected
