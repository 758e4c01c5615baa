"""Projected samples that are read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from . import dask_sums
from .projection import InputProjection
from .rows import Rows, add, joined
from .sources import IN_MEMORY_BYTES, ArraySource, RowSource

#: Share of `IN_MEMORY_BYTES` that a shard may take: its blocks, these joined, tensors
#: of them, and the shard before are in memory at once.
SHARD_SHARE = 1 / 4
#: Rows that are summed over at once.
GROUP_ROWS = 2**16


@dataclass(frozen=True)
class StreamedRows:
    """Rows that are read and projected anew whenever they are needed.

    Parameters
    ----------
    source : RowSource of shape (n, n_features)
    projection : InputProjection
    dtype : str
        Of the projected rows.
    labels, weights
        As for `Rows`.
    """

    source: RowSource
    projection: InputProjection
    dtype: str
    labels: np.ndarray
    weights: np.ndarray

    def chunks(
        self, width: int, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, slice]]:
        """Read the rows from front to back; as `Rows.chunks`.

        Chunks of a given size go across blocks; others stay within one.
        """
        first = 0
        rest: list[Rows] = []  # of a chunk that goes on in the next block
        for block in range(len(self.source.starts) - 1):
            rows = joined([*rest, self._block(block)])
            rest, last = [], first + len(rows.labels) == len(self.labels)
            for projected, part in rows.chunks(width, size):
                if size and part.stop - part.start < size and not last:
                    rest = [Rows(projected, rows.labels[part], rows.weights[part])]
                    first += part.start
                    break
                yield projected, slice(first + part.start, first + part.stop)
            else:
                first += len(rows.labels)

    def shards(self, rng: np.random.Generator) -> Iterator[Rows]:
        """Read the rows for an epoch of training, some blocks at a time.

        Blocks come in random order, and a shard joins as many as memory allows, so
        that data sorted by class or time are mixed; training shuffles within a shard.
        """
        row_bytes = _row_bytes(self.source, self.projection, self.dtype)
        sizes = np.diff(self.source.starts)
        allowed = SHARD_SHARE * IN_MEMORY_BYTES
        shard: list[int] = []
        held = 0
        for block in rng.permutation(len(sizes)):
            if shard and (held + sizes[block]) * row_bytes > allowed:
                yield self._read(shard)
                shard, held = [], 0
            if sizes[block]:
                shard.append(block)
                held += sizes[block]
        if shard:
            yield self._read(shard)

    def total(self, function: Callable[[Rows], tuple[Any, ...]]) -> tuple[Any, ...]:
        """Sum of what `function` says of parts of the rows.

        Parameters
        ----------
        function : callable
            From `Rows` to a tuple of arrays that are sums over these; to be pickled,
            where workers compute it.

        Returns
        -------
        tuple of ndarray
        """
        if self.source.client is not None:
            return dask_sums.total(self, function)
        parts = (function(self._read(group)) for group in self._neighbours())
        return reduce(add, parts)  # one by one: a part may be as large as a model

    def _neighbours(self) -> Iterator[list[int]]:
        """Blocks in order, joined where they are small."""
        group: list[int] = []
        for block in np.flatnonzero(np.diff(self.source.starts)).tolist():
            if (
                group
                and self.source.starts[block + 1] - self.source.starts[group[0]]
                > GROUP_ROWS
            ):
                yield group
                group = []
            group.append(block)
        yield group

    def _read(self, blocks: list[int]) -> Rows:
        return joined([self._block(block) for block in blocks])

    def _block(self, block: int) -> Rows:
        part = self.source.rows(block)
        projected = self.projection(self.source.read(block), self.dtype)
        return Rows(projected, self.labels[part], self.weights[part])


def project(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    weights: np.ndarray,
    projection: InputProjection,
    dtype: str,
) -> Rows | StreamedRows:
    """Project rows, now or, where they would not fit in memory, when they are read.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    labels : int32 ndarray of shape (n,)
    weights : float64 ndarray of shape (n,)
    projection : InputProjection
    dtype : str

    Returns
    -------
    Rows or StreamedRows
    """
    if len(X) * _row_bytes(X, projection, dtype) <= IN_MEMORY_BYTES:
        return Rows(projection(X, dtype), labels, weights)
    source = X if isinstance(X, RowSource) else ArraySource(X)
    return StreamedRows(source, projection, dtype, labels, weights)


def _row_bytes(
    X: np.ndarray | RowSource, projection: InputProjection, dtype: str
) -> int:
    return projection.row_floats(X.shape[1]) * np.dtype(dtype).itemsize
