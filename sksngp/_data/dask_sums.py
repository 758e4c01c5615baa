"""Sums over projected samples on the workers of a Dask cluster.

A task depends on nothing but its arguments. If its worker dies, the task runs again on
another worker, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .rows import Rows, add_sums

if TYPE_CHECKING:
    from dask.delayed import Delayed

    from .projection import InputProjection
    from .streamed_rows import StreamedRows


def sum_over_samples(
    rows: StreamedRows, function: Callable[[Rows], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """Sum of what `function` says of each block, added up in pairs on the workers.

    Parameters
    ----------
    rows : StreamedRows
        With a source that has a client.
    function : callable
        From `Rows` to a tuple of arrays; shipped once to each worker.

    Returns
    -------
    tuple of ndarray
    """
    import dask

    shipped = dask.delayed(function, pure=False)
    read = reader(rows)
    parts = [
        dask.delayed(_apply)(shipped, read(block))
        for block in np.flatnonzero(np.diff(rows.source.starts)).tolist()
    ]
    while len(parts) > 1:
        odd = parts[-1:] if len(parts) % 2 else []
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [dask.delayed(add_sums)(*pair) for pair in pairs] + odd
    return rows.source.client.compute(parts[0]).result()


def reader(rows: StreamedRows) -> Callable[[int], Delayed]:
    """Function that gives a block's `Rows` as a dask delayed."""
    import dask

    projection = dask.delayed(rows.projection, traverse=False)  # one key for all

    def read(block: int) -> Delayed:
        part = rows.source.rows(block)
        return dask.delayed(_project)(
            rows.source.delayed(block),
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
    projection: InputProjection,
    dtype: str,
) -> Rows:
    return Rows(projection(X, dtype), labels, weights)


def _apply(function: Callable[[Rows], tuple[Any, ...]], rows: Rows) -> tuple[Any, ...]:
    return function(rows)
