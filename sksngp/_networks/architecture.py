"""Settings that determine a compiled network, and the arrays it starts from.

An `Architecture` is the interface of a kind of network outside of TensorFlow. The kinds
are listed in `sksngp._networks.kinds`; `sksngp._tensorflow.network` has the counterpart
of this interface, which builds the graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .memory_needs import Need


@dataclass(frozen=True)
class Architecture(ABC):
    """Settings of a compiled network; the key of the network pool.

    Parameters
    ----------
    num_outputs : int
        Number of logits, one per class.
    num_layers, num_hidden : int
        Number of residual blocks, and width of the hidden representation.
    num_inducing : int or None, default=None
        Number of random features of the Gaussian-process output layer. If None, the
        output layer is dense, and hidden layers have no spectral normalization.
    members : int, default=1
        Number of ensemble members.
    dropout : bool, default=True
        Whether dropout masks are drawn in training.
    optimizer : str, default="adam"
        Name of the optimizer.
    dtype : str, default="float32"
        Floating-point type of weights and activations.
    mixed : {"bfloat16", "float16"} or None, default=None
        Floating-point type of the computations in hidden layers, if it differs.
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

    #: Whether the layers of ensemble members are stacked. If True, samples have an axis
    #: of members; otherwise all members receive the same samples.
    stacks_members: ClassVar[bool]
    #: Whether some arrays are known to Keras layers only; see
    #: `sksngp._tensorflow.backend.built_weights`.
    has_built_layers: ClassVar[bool]
    #: Whether the network processes images, which are scaled by channel.
    takes_images: ClassVar[bool]
    #: Whether all prediction blocks have one size. Sums in convolutions depend on the
    #: size of a block.
    has_fixed_block_size: ClassVar[bool]
    #: Whether `draw_masks` returns masks, which exported Keras models can hold.
    masks_are_arrays: ClassVar[bool]
    #: Number of samples that are validated at once.
    validation_chunk: ClassVar[int]
    #: Factor of the mean squared distance at which SNGP trains the network.
    training_kernel_factor: ClassVar[float]

    @property
    @abstractmethod
    def num_columns(self) -> int:
        """Number of values of a sample that the network receives."""

    @property
    @abstractmethod
    def projection_width(self) -> int | None:
        """Width of the input projection; None if inputs are not projected."""

    @property
    @abstractmethod
    def row_floats(self) -> int:
        """Number of floats that one sample requires in a prediction."""

    @abstractmethod
    def hidden_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a member's hidden arrays that `draw_hidden` returns."""

    @abstractmethod
    def draw_hidden(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the hidden arrays of a member that Keras layers do not initialize."""

    @abstractmethod
    def draw_masks(
        self, rng: np.random.Generator, num_samples: int, rate: float
    ) -> np.ndarray:
        """Draw the dropout masks, or seeds of masks, of Monte Carlo dropout."""

    @property
    @abstractmethod
    def mask_spec(self) -> tuple[tuple[int | None, ...], str]:
        """Shape and type of the result of `draw_masks`; None is any number."""

    @abstractmethod
    def memory_needs(
        self, *, num_rows: int, num_columns: int, batch_size: int | None
    ) -> list[Need]:
        """Return the memory requirements of training, without the samples.

        Parameters
        ----------
        num_rows : int
            Number of training samples, which bounds the size of mini-batches.
        num_columns : int
            Number of features.
        batch_size : int or None

        Returns
        -------
        list of Need
        """

    def channels(self, image_shape: tuple[int, ...] | None) -> int | None:
        """Return the number of channels that are scaled; None to scale features."""
        if not self.takes_images or image_shape is None:
            return None
        return image_shape[-1]

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that `initial_weights` draws, by name."""
        hidden, inducing = self.num_hidden, self.num_inducing
        shapes = self.hidden_shapes()
        if inducing is not None:
            shapes["random_features/kernel"] = (hidden, inducing)
            shapes["random_features/bias"] = (inducing,)
        fan_in = hidden if inducing is None else inducing
        shapes["output/kernel"] = (fan_in, self.num_outputs)
        shapes["output/bias"] = (self.num_outputs,)
        if self.members == 1:
            return shapes

        def of_members(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
            if self.stacks_members and name.endswith("bias"):
                shape = (1, *shape)  # broadcasts over samples
            return (self.members, *shape)

        return {name: of_members(name, shape) for name, shape in shapes.items()}

    def initial_weights(
        self, rng: np.random.Generator, output_bias: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Draw the arrays of a new network.

        Parameters
        ----------
        rng : numpy.random.Generator
            The only source of randomness.
        output_bias : ndarray of shape (num_outputs,)
            Initial output bias: the log prior of the classes.

        Returns
        -------
        dict of str to ndarray
            Arrays with the names and shapes of `weight_shapes`.
        """
        drawn = [self._draw_member(rng, output_bias) for _ in range(self.members)]
        return {
            name: np.stack([arrays[name] for arrays in drawn])
            .reshape(shape)
            .astype(self.dtype)
            for name, shape in self.weight_shapes().items()
        }

    def _draw_member(
        self, rng: np.random.Generator, output_bias: np.ndarray
    ) -> dict[str, np.ndarray]:
        hidden, inducing = self.num_hidden, self.num_inducing
        weights = self.draw_hidden(rng)
        if inducing is not None:
            weights["random_features/kernel"] = rng.standard_normal((hidden, inducing))
            weights["random_features/bias"] = rng.uniform(0, 2 * np.pi, inducing)
        fan_in = hidden if inducing is None else inducing
        weights["output/kernel"] = glorot_uniform(rng, fan_in, len(output_bias))
        weights["output/bias"] = np.asarray(output_bias)
        return weights


def glorot_uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int
) -> NDArray[np.float64]:
    """Draw a float64 array of shape (fan_in, fan_out).

    Values are uniform on +-sqrt(6 / (fan_in + fan_out)).
    """
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, size=(fan_in, fan_out))
