"""Projected samples with labels and weights, on which networks are trained."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .sources import CHUNK_FLOATS, slices


@dataclass(frozen=True)
class Rows:
    """Projected samples in memory.

    Parameters
    ----------
    projected : ndarray of shape (n, num_hidden) or (members, n, num_hidden)
        Projected samples, one projection for each ensemble member.
    labels : int32 ndarray of shape (n,)
        Indices of classes.
    weights : float64 ndarray of shape (n,)
        Sample weights.
    """

    projected: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def chunks(
        self, width: int, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, slice]]:
        """Iterate over the samples in order, in chunks.

        Parameters
        ----------
        width : int
            Number of floats that the caller needs for each sample. A chunk has as many
            samples as need at most `CHUNK_FLOATS` floats.
        size : int, default=None
            Number of samples of a chunk. If given, `width` is ignored.

        Yields
        ------
        projected : ndarray of shape (..., size, num_hidden)
            Projected samples of the chunk.
        part : slice
            Positions of these samples.
        """
        for part in slices(
            len(self.labels), size or max(1, CHUNK_FLOATS // max(width, 1))
        ):
            yield self.projected[..., part, :], part

    def shuffle_buffers(self, rng: np.random.Generator) -> Iterator[Rows]:
        """Yield the only shuffle buffer of an epoch, which holds all samples."""
        yield self

    def sum_over_samples(
        self, function: Callable[[Rows], tuple[Any, ...]]
    ) -> tuple[Any, ...]:
        """Return the sums over all samples that `function` computes."""
        return function(self)


def add_sums(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    """Add two tuples of arrays element by element."""
    return tuple(map(operator.add, left, right))


def concatenate(parts: list[Rows]) -> Rows:
    """Concatenate the samples of several `Rows`."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.projected for part in parts], axis=-2),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )
