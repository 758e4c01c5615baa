"""Ensemble members and the networks that train them.

Matrices of this size are too small to share one operation between cores, which would
wait for each other more than they compute. Members with stacked layers are therefore
divided into groups, one per core, each trained as one batched network. Members whose
layers cannot be stacked are networks of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from .._runtime.threads import num_threads

Key = TypeVar("Key", bound=Hashable)


class MemberGroups(ABC):
    """Groups of members, each trained as one network.

    Parameters
    ----------
    members : int
        Number of ensemble members.

    Attributes
    ----------
    groups : sequence of slice or int
        Members of each network.
    sizes : list of int
        Number of members of each network.
    sample_axes : list of int
        Axes of projected samples before the axis of samples.
    """

    groups: Sequence[slice | int]
    sizes: list[int]
    sample_axes: list[int]

    def __init__(self, members: int) -> None:
        self.members = members

    @abstractmethod
    def split_samples(self, samples: tf.Tensor) -> list[tf.Tensor]:
        """Return the samples that each network receives in predictions."""

    @abstractmethod
    def merge(self, outputs: list[tf.Tensor]) -> tf.Tensor:
        """Join the outputs of the networks along an axis of members."""

    @abstractmethod
    def join(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Join the arrays of the networks along an axis of members."""

    def split_batch(self, values: tf.Tensor | None) -> list[Any]:
        """Return the part of a mini-batch that each network is trained on."""
        if values is None or self.members == 1:
            return [values] * len(self.groups)
        return [values[group] for group in self.groups]

    def split_array(self, array: np.ndarray) -> list[np.ndarray]:
        """Return the array of each network; the inverse of `join`."""
        if len(self.groups) == 1 or not array.ndim:  # such as a number of steps
            return [array] * len(self.groups)
        return [array[group] for group in self.groups]

    def split_weights(
        self, weights: dict[str, np.ndarray]
    ) -> list[dict[str, np.ndarray]]:
        """Return the weights of each network."""
        if len(self.groups) == 1:
            return [weights]
        return [
            {name: array[group] for name, array in weights.items()}
            for group in self.groups
        ]

    def join_all(self, parts: list[dict[Key, np.ndarray]]) -> dict[Key, np.ndarray]:
        """Join dicts of arrays."""
        if len(parts) == 1:
            return parts[0]
        return {key: self.join([part[key] for part in parts]) for key in parts[0]}

    def apply(
        self,
        networks: list[Callable[[tf.Tensor], tf.Tensor]],
        samples: tf.Tensor,
    ) -> tf.Tensor:
        """Return the joined outputs of functions of the networks."""
        if len(networks) == 1:
            return networks[0](samples)
        inputs = self.split_samples(samples)
        pairs = zip(networks, inputs, strict=True)
        return self.merge([network(part) for network, part in pairs])


class StackedMembers(MemberGroups):
    """Groups of at least two members with stacked layers, one group per core."""

    def __init__(self, members: int) -> None:
        super().__init__(members)
        count = max(1, min(num_threads(), members // 2))
        parts = np.array_split(np.arange(members), count)
        self.groups = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
        self.sizes = [len(part) for part in parts]
        self.sample_axes = [] if members == 1 else [members]

    def split_samples(self, samples: tf.Tensor) -> list[tf.Tensor]:
        """Return the samples of each group, which have an axis of members."""
        return [samples[group] for group in self.groups]

    def merge(self, outputs: list[tf.Tensor]) -> tf.Tensor:
        """Concatenate the outputs of the groups."""
        return tf.concat(outputs, axis=0)

    def join(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Concatenate the arrays of the groups; scalars are equal in all groups."""
        return np.concatenate(arrays) if arrays[0].ndim else arrays[0]


class SeparateMembers(MemberGroups):
    """Members that are networks of their own and receive the same samples."""

    def __init__(self, members: int) -> None:
        super().__init__(members)
        self.groups = list(range(members))
        self.sizes = [1] * members
        self.sample_axes = []

    def split_samples(self, samples: tf.Tensor) -> list[tf.Tensor]:
        """Return the same samples for each member."""
        return [samples] * self.members

    def merge(self, outputs: list[tf.Tensor]) -> tf.Tensor:
        """Stack the outputs of the members."""
        return tf.stack(outputs)

    def join(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Stack the arrays of the members."""
        return np.stack(arrays)
