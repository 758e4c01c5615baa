"""Projected samples that are read from their source when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from . import dask_sums
from .projection import InputProjection
from .rows import Rows, add_sums, concatenate
from .sources import IN_MEMORY_BYTES, ArraySource, RowSource

#: Maximum size of a shuffle buffer as a fraction of `IN_MEMORY_BYTES`. Its partitions,
#: the concatenated samples, their tensors and the previous buffer are in memory at the
#: same time.
BUFFER_FRACTION = 1 / 4
#: Maximum number of samples to sum over at once, unless a partition is larger.
GROUP_SIZE = 2**16


class Projection(Protocol):
    """Function that projects samples, such as `InputProjection`."""

    def row_floats(self, num_columns: int) -> int:
        """Return the number of floats of a projected sample."""

    def __call__(self, X: np.ndarray | RowSource, dtype: DTypeLike) -> np.ndarray:
        """Return projected samples, (..., n, row_floats)."""


@dataclass(frozen=True)
class StreamedRows:
    """Samples that are read and projected again in each pass over the data.

    Parameters
    ----------
    source : RowSource of shape (n, n_features)
        Source of the samples.
    projection : Projection
        Projection to apply to the samples.
    dtype : str
        Data type of the projected samples.
    labels, weights : ndarray of shape (n,)
        Labels and weights as in `Rows`.
    """

    source: RowSource
    projection: Projection
    dtype: str
    labels: np.ndarray
    weights: np.ndarray

    def chunks(
        self, width: int, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, slice]]:
        """Iterate over the samples in order, in chunks, as `Rows.chunks` does.

        Chunks of a given size may extend over several partitions. All other chunks
        lie within one partition.
        """
        first = 0
        rest: list[Rows] = []  # start of a chunk that extends into the next partition
        for partition in range(len(self.source.starts) - 1):
            rows = concatenate([*rest, self._read_partition(partition)])
            rest, last = [], first + len(rows.labels) == len(self.labels)
            for projected, part in rows.chunks(width, size):
                if size and part.stop - part.start < size and not last:
                    rest = [Rows(projected, rows.labels[part], rows.weights[part])]
                    first += part.start
                    break
                yield projected, slice(first + part.start, first + part.stop)
            else:
                first += len(rows.labels)

    def shuffle_buffers(self, rng: np.random.Generator) -> Iterator[Rows]:
        """Iterate over the shuffle buffers of an epoch.

        Partitions are read in random order, and a buffer holds as many of them as
        memory allows. Data that are sorted by class or time are thus mixed. Training
        shuffles the samples within a buffer.
        """
        row_bytes = _row_bytes(self.source, self.projection, self.dtype)
        sizes = np.diff(self.source.starts)
        allowed = BUFFER_FRACTION * IN_MEMORY_BYTES
        buffer: list[int] = []
        buffer_size = 0
        for partition in rng.permutation(len(sizes)):
            if buffer and (buffer_size + sizes[partition]) * row_bytes > allowed:
                yield self._read(buffer)
                buffer, buffer_size = [], 0
            if sizes[partition]:
                buffer.append(partition)
                buffer_size += sizes[partition]
        if buffer:
            yield self._read(buffer)

    def sum_over_samples(
        self, function: Callable[[Rows], tuple[Any, ...]]
    ) -> tuple[Any, ...]:
        """Return the sums over all samples that `function` computes.

        Parameters
        ----------
        function : callable
            Function that takes `Rows` and returns a tuple of arrays, which are sums
            over these samples. If the source has a Dask client, the function must be
            picklable and runs on the workers.

        Returns
        -------
        tuple of ndarray
            Sums over all samples.
        """
        if self.source.client is not None:
            return dask_sums.sum_over_samples(self, function)
        parts = (function(self._read(group)) for group in self._groups())
        # One sum is computed at a time, because each may be as large as a model.
        return reduce(add_sums, parts)

    def _groups(self) -> Iterator[list[int]]:
        """Group consecutive small partitions."""
        group: list[int] = []
        for partition in np.flatnonzero(np.diff(self.source.starts)).tolist():
            if (
                group
                and self.source.starts[partition + 1] - self.source.starts[group[0]]
                > GROUP_SIZE
            ):
                yield group
                group = []
            group.append(partition)
        yield group

    def _read(self, partitions: list[int]) -> Rows:
        return concatenate(
            [self._read_partition(partition) for partition in partitions]
        )

    def _read_partition(self, partition: int) -> Rows:
        part = self.source.rows(partition)
        projected = self.projection(self.source.read(partition), self.dtype)
        return Rows(projected, self.labels[part], self.weights[part])


def project(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    weights: np.ndarray,
    projection: InputProjection,
    dtype: str,
) -> Rows | StreamedRows:
    """Project samples immediately if they fit in memory, or else when they are read.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Samples.
    labels : int32 ndarray of shape (n,)
        Indices of classes.
    weights : float64 ndarray of shape (n,)
        Sample weights.
    projection : Projection
        Projection to apply to the samples.
    dtype : str
        Data type of the projected samples.

    Returns
    -------
    Rows or StreamedRows
        `Rows` if the projected samples need at most `IN_MEMORY_BYTES`.
    """
    if len(X) * _row_bytes(X, projection, dtype) <= IN_MEMORY_BYTES:
        return Rows(projection(X, dtype), labels, weights)
    source = X if isinstance(X, RowSource) else ArraySource(X)
    return StreamedRows(source, projection, dtype, labels, weights)


def _row_bytes(X: np.ndarray | RowSource, projection: Projection, dtype: str) -> int:
    return projection.row_floats(X.shape[1]) * np.dtype(dtype).itemsize
