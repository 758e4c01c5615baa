"""Networks that a user's callable, or `WideResNet`, builds below the output layer."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from .architecture import Architecture
from .custom_function import Description, NetworkFunction
from .memory_needs import WEIGHT_COPIES, Need


@dataclass(frozen=True, kw_only=True)
class CustomArchitecture(Architecture):
    """Settings of a custom network; see `Architecture` for the others.

    `num_hidden` is the number of outputs of the custom network and `num_layers` is 0.
    `sksngp._tensorflow.custom_network` builds the graph.

    Parameters
    ----------
    function : NetworkFunction
        Function that builds the network, with its description.
    normalized : bool, default=True
        Whether layers below a Gaussian process have spectral normalization.
    """

    function: NetworkFunction
    normalized: bool = True

    stacks_members = False
    has_built_layers = True
    takes_images = True
    has_fixed_block_size = True
    masks_are_arrays = False
    validation_chunk = 256  # layers of images may have large outputs
    # Custom networks hardly learn at a shorter length-scale in few steps
    # (``benchmarks/images.py --kernel-scales``).
    training_kernel_factor = 10 / 16

    @property
    def description(self) -> Description:
        """The description of the network that the function built."""
        assert self.function.description is not None
        return self.function.description

    @property
    def num_columns(self) -> int:
        """The number of values of a sample, in all axes."""
        return prod(self.function.input_shape)

    @property
    def projection_width(self) -> None:
        """None: samples are standardized only."""
        return None

    @property
    def row_floats(self) -> int:
        """The values of the largest layer's inputs and outputs, of all members."""
        widest = 2 * self.description.widest_floats
        return self.members * max(self.num_hidden, self.num_outputs, widest)

    def hidden_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return an empty dict: Keras layers initialize the hidden arrays."""
        return {}

    def draw_hidden(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return an empty dict: Keras layers initialize the hidden arrays."""
        return {}

    def draw_masks(
        self, rng: np.random.Generator, num_samples: int, rate: float
    ) -> np.ndarray:
        """Draw seeds for the dropout layers, which have rates of their own."""
        return rng.integers(2**30, size=(num_samples, 2), dtype=np.int32)

    @property
    def mask_spec(self) -> tuple[tuple[int | None, ...], str]:
        """Shape and type of the seeds."""
        return (None, 2), "int32"

    def memory_needs(
        self, *, num_rows: int, num_columns: int, batch_size: int | None
    ) -> list[Need]:
        """Return the memory requirements of training; see `Architecture`."""
        description = self.description
        batch = int(min(batch_size or num_rows, num_rows))
        networks = "the network" if self.members == 1 else f"{self.members} networks"
        return [
            Need(
                f"{networks} ({description.num_weights} weights)",
                WEIGHT_COPIES * 4 * self.members * description.num_weights,
                "Choose a smaller network or fewer.",
            ),
            Need(
                f"steps of {batch} samples (batch_size={batch_size})",
                4 * batch * description.row_floats,
                "Choose a smaller batch_size or a smaller network.",
            ),
        ]
