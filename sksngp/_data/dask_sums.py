"""Sums over projected samples on the workers of a Dask cluster.

A task depends only on its arguments. If a worker dies, its tasks run again on another
worker and return the same results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .rows import Rows, add_sums

if TYPE_CHECKING:
    from dask.delayed import Delayed

    from .streamed_rows import Projection, StreamedRows


def sum_over_samples(
    rows: StreamedRows, function: Callable[[Rows], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """Return the sums over all samples that `function` computes.

    The sums of the partitions are added in pairs on the workers.

    Parameters
    ----------
    rows : StreamedRows
        Samples whose source has a Dask client.
    function : callable
        Function that takes `Rows` and returns a tuple of arrays, which are sums over
        these samples. It is sent once to each worker.

    Returns
    -------
    tuple of ndarray
        Sums over all samples.
    """
    import dask

    shipped = dask.delayed(function, pure=False)
    read = reader(rows)
    parts = [
        dask.delayed(_apply)(shipped, read(partition))
        for partition in np.flatnonzero(np.diff(rows.source.starts)).tolist()
    ]
    while len(parts) > 1:
        odd = parts[-1:] if len(parts) % 2 else []
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [dask.delayed(add_sums)(*pair) for pair in pairs] + odd
    return rows.source.client.compute(parts[0]).result()


def reader(rows: StreamedRows) -> Callable[[int], Delayed]:
    """Return a function that reads a partition as `Rows`, as a dask delayed object."""
    import dask

    # All tasks share one key, so that each worker receives the projection once.
    projection = dask.delayed(rows.projection, traverse=False)

    def read(partition: int) -> Delayed:
        part = rows.source.rows(partition)
        return dask.delayed(_project)(
            rows.source.delayed(partition),
            rows.labels[part],
            rows.weights[part],
            projection,
            rows.dtype,
        )

    return read


def _project(
    X: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    projection: Projection,
    dtype: str,
) -> Rows:
    return Rows(projection(X, dtype), labels, weights)


def _apply(function: Callable[[Rows], tuple[Any, ...]], rows: Rows) -> tuple[Any, ...]:
    return function(rows)
