"""The tutorial's network of dense residual blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .._runtime.blas import one_thread
from .architecture import Architecture, glorot_uniform
from .memory_needs import KERNEL_COPIES, WEIGHT_COPIES, Need

#: Relative margin below the bound of spectral norms, which rounding could exceed.
NORM_MARGIN = 1e-6


@dataclass(frozen=True)
class DenseArchitecture(Architecture):
    """Settings of a dense residual network; see `Architecture`.

    `sksngp._tensorflow.residual_network` builds the graph.
    """

    stacks_members = True
    has_built_layers = False
    takes_images = False
    has_fixed_block_size = False
    masks_are_arrays = True
    validation_chunk = 8192
    training_kernel_factor = 1 / 16

    @property
    def num_columns(self) -> int:
        """The width of the projected samples."""
        return self.num_hidden

    @property
    def projection_width(self) -> int:
        """The width of the network."""
        return self.num_hidden

    @property
    def row_floats(self) -> int:
        """The values of the widest layer of all members."""
        return self.members * max(self.num_hidden, self.num_outputs)

    def hidden_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a member's residual blocks."""
        hidden = self.num_hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for block in range(self.num_layers):
            shapes[f"hidden_{block}/kernel"] = (hidden, hidden)
            shapes[f"hidden_{block}/bias"] = (hidden,)
            if self.num_inducing is not None:  # vectors of the power iteration
                shapes[f"hidden_{block}/u"] = (1, hidden)
                shapes[f"hidden_{block}/v"] = (1, hidden)
        return shapes

    def draw_hidden(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the residual blocks of a member."""
        hidden = self.num_hidden
        weights: dict[str, np.ndarray] = {}
        for block in range(self.num_layers):
            weights[f"hidden_{block}/kernel"] = glorot_uniform(rng, hidden, hidden)
            weights[f"hidden_{block}/bias"] = np.zeros(hidden)
            if self.num_inducing is not None:
                weights[f"hidden_{block}/u"] = rng.standard_normal((1, hidden))
                weights[f"hidden_{block}/v"] = rng.standard_normal((1, hidden))
        return weights

    def draw_masks(
        self, rng: np.random.Generator, num_samples: int, rate: float
    ) -> np.ndarray:
        """Draw masks of all blocks, with values 0 and 1 / (1 - rate)."""
        shape = (num_samples, self.num_layers, 1, self.num_hidden)
        return (rng.random(shape) >= rate) / (1.0 - rate)

    @property
    def mask_spec(self) -> tuple[tuple[int | None, ...], str]:
        """Shape and type of the masks."""
        return (None, self.num_layers, 1, self.num_hidden), "float64"

    def memory_needs(
        self, *, num_rows: int, num_columns: int, batch_size: int | None
    ) -> list[Need]:
        """Return the memory requirements of training; see `Architecture`."""
        layers, hidden, classes = self.num_layers, self.num_hidden, self.num_outputs
        inducing = self.num_inducing or 0
        size = np.dtype(self.dtype).itemsize
        batch = int(min(batch_size or num_rows, num_rows))
        units = layers * hidden + inducing + classes
        outer = replace(self, num_layers=0)._num_weights()
        block = replace(self, num_layers=1)._num_weights() - outer
        wide = f"num_hidden={hidden}"
        if self.members > 1:
            wide += f", {self.members} networks"
        outputs = f"num_inducing={inducing}" if inducing else wide
        deep = f"num_layers={layers}, {wide}"
        return [
            Need(
                f"the hidden layers ({deep})",
                WEIGHT_COPIES * size * layers * block,
                "Choose fewer or narrower layers or fewer networks.",
            ),
            Need(
                f"the output layer ({classes} classes, {outputs})",
                WEIGHT_COPIES * size * outer,
                "Choose a narrower layer or a target with fewer classes.",
            ),
            Need(
                f"the projection of {num_columns} features ({wide})",
                KERNEL_COPIES * 8 * self.members * num_columns * hidden,
                "Choose a smaller num_hidden or fewer features.",
            ),
            Need(
                f"steps of {batch} samples (batch_size={batch_size}, {deep})",
                size * self.members * batch * units,  # activations, for the gradient
                "Choose a smaller batch_size or a smaller network.",
            ),
        ]

    def _num_weights(self) -> int:
        return sum(prod(shape) for shape in self.weight_shapes().values())


@one_thread
def project_spectral_norm(
    weights: dict[str, np.ndarray], bound: float
) -> dict[str, np.ndarray]:
    """Scale hidden kernels whose spectral norm exceeds `bound` down to it.

    Training follows the norm with one power iteration per step, which may lag behind.
    The singular values computed here are exact. Returns a new dict.
    """
    projected = dict(weights)
    for name, kernel in weights.items():
        if name.startswith("hidden_") and name.endswith("/kernel"):
            gram = kernel.T.astype(np.float64) @ kernel
            norm = np.sqrt(np.linalg.eigvalsh(gram)[-1])
            if norm > bound:
                factor = (1 - NORM_MARGIN) * bound / norm
                projected[name] = kernel * kernel.dtype.type(factor)
    return projected
