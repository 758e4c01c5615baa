"""Projected samples with their labels: what networks and posteriors are fitted on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .sources import CHUNK_FLOATS, slices


@dataclass(frozen=True)
class Rows:
    """Rows that are held in memory.

    Parameters
    ----------
    projected : ndarray of shape (n, num_hidden) or (members, n, num_hidden)
    labels : int32 ndarray of shape (n,)
    weights : float64 ndarray of shape (n,)
    """

    projected: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def chunks(
        self, width: int, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, slice]]:
        """Read the rows from front to back.

        Parameters
        ----------
        width : int
            Floats that a row needs; a chunk's stay within a budget.
        size : int, default=None
            Rows of a chunk instead.

        Yields
        ------
        projected : ndarray of shape (..., size, num_hidden)
        part : slice
            Which rows they are.
        """
        for part in slices(
            len(self.labels), size or max(1, CHUNK_FLOATS // max(width, 1))
        ):
            yield self.projected[..., part, :], part

    def shards(self, rng: np.random.Generator) -> Iterator[Rows]:
        """Read the rows for an epoch of training: all at once."""
        yield self

    def total(self, function: Callable[[Rows], tuple[Any, ...]]) -> tuple[Any, ...]:
        """What `function`, which sums over rows, says of these."""
        return function(self)


def add(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sums of the arrays of two tuples."""
    return tuple(map(operator.add, left, right))


def joined(parts: list[Rows]) -> Rows:
    """Rows of several parts."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.projected for part in parts], axis=-2),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )
