"""Sources of samples that are read in partitions.

A `RowSource` reads its samples one partition at a time. NumPy arrays, including
memory-mapped arrays, need no source if they are read in order only, because
`iter_chunks` can slice them. Training reads samples in random order, and uses an
`ArraySource` for an array that is too large for memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from operator import getitem
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .input_types import check_features

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from pyarrow.dataset import Dataset

#: Types that classifiers accept as `X`. Dataframes and dask collections are array-like.
MatrixLike: TypeAlias = "ArrayLike | Dataset"

#: Maximum number of floats of a chunk, unless a single sample has more.
CHUNK_FLOATS = 2**22
#: Maximum size in bytes of samples that are copied, or projected and kept in memory.
#: Larger data are processed in parts.
IN_MEMORY_BYTES = 2**28
#: Number of samples in a partition of an array.
ARRAY_PARTITION_SIZE = 1024


class RowSource(ABC):
    """Base class of sources, whose samples are read in partitions of known sizes.

    Parameters
    ----------
    sizes : sequence of int
        Number of samples in each partition.
    columns : sequence
        Names or positions of the features.

    Attributes
    ----------
    shape : tuple of int
        Number of samples and number of features.
    starts : int64 ndarray of shape (n_partitions + 1,)
        Position of the first sample of each partition, followed by the number of
        samples.
    client : distributed.Client or None
        Dask client whose workers can read partitions. A source with a client
        implements `delayed`, which reads a partition on a worker.
    num_workers : int
        Number of workers when the source was created. The division of work into parts
        depends on it and must not change if a worker dies.
    """

    client: Any
    num_workers: int

    def __init__(
        self, sizes: Sequence[int] | NDArray[np.integer], columns: Sequence[Any]
    ) -> None:
        self.starts: NDArray[np.int64] = np.concatenate(
            [[0], np.cumsum(sizes, dtype=np.int64)]
        )
        self.client, self.num_workers = None, 0
        self.columns = list(columns)
        self.shape = int(self.starts[-1]), len(self.columns)

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def read(self, partition: int) -> np.ndarray:
        """Read a partition as a floating-point array of shape (size, n_features)."""

    def delayed(self, partition: int) -> Delayed:
        """Return a dask delayed object that reads a partition on a worker."""
        import dask

        return dask.delayed(self.read)(partition)

    def rows(self, partition: int) -> slice:
        """Return the positions of the samples of a partition."""
        return slice(int(self.starts[partition]), int(self.starts[partition + 1]))

    def template(self) -> pd.DataFrame | np.ndarray:
        """Return an empty table with the names of the features, if they have names."""
        if any(isinstance(name, str) for name in self.columns):
            return pd.DataFrame(np.empty((0, self.shape[1])), columns=self.columns)
        return np.empty((0, self.shape[1]))


class ArraySource(RowSource):
    """Source that reads an array in partitions of `ARRAY_PARTITION_SIZE` samples.

    Parameters
    ----------
    array : ndarray of shape (n, n_features)
        Array of any numeric type.
    """

    def __init__(self, array: np.ndarray) -> None:
        parts = slices(len(array), ARRAY_PARTITION_SIZE)
        super().__init__(
            [part.stop - part.start for part in parts], range(array.shape[1])
        )
        self._array = array

    def read(self, partition: int) -> np.ndarray:
        """Read a partition."""
        return as_float(self._array[self.rows(partition)])


class Selection(RowSource):
    """Selection of samples from a source.

    Parameters
    ----------
    source : RowSource
        Source of n samples.
    mask : bool ndarray of shape (n,)
        True for the samples to select.
    """

    def __init__(self, source: RowSource, mask: NDArray[np.bool_]) -> None:
        counts = np.concatenate([[0], np.cumsum(mask)])
        sizes = np.diff(counts[source.starts])
        super().__init__(sizes, source.columns)
        self.source, self.mask = source, mask
        self.client, self.num_workers = source.client, source.num_workers

    def read(self, partition: int) -> np.ndarray:
        """Read the selected samples of a partition."""
        if self.starts[partition] == self.starts[partition + 1]:
            return np.empty((0, self.shape[1]))
        return self.source.read(partition)[self.mask[self.source.rows(partition)]]

    def delayed(self, partition: int) -> Delayed:
        """Return a dask delayed object that reads the selected samples."""
        import dask

        chosen = self.mask[self.source.rows(partition)]
        return dask.delayed(getitem)(self.source.delayed(partition), chosen)


class ClippedSource(RowSource):
    """Source whose values are clipped to a range.

    Parameters
    ----------
    source : RowSource
    low, high : float64 ndarray of shape (n_features,)
    """

    def __init__(
        self, source: RowSource, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> None:
        super().__init__(np.diff(source.starts), source.columns)
        self.source, self.low, self.high = source, low, high
        self.client, self.num_workers = source.client, source.num_workers

    def read(self, partition: int) -> np.ndarray:
        """Read a partition and clip its values."""
        return np.clip(self.source.read(partition), self.low, self.high)

    def delayed(self, partition: int) -> Delayed:
        """Return a partition, with clipped values, as a dask delayed object."""
        import dask

        rows = self.source.delayed(partition)
        return dask.delayed(np.clip)(rows, self.low, self.high)


def clipped(
    X: np.ndarray | RowSource, low: NDArray[np.float64], high: NDArray[np.float64]
) -> np.ndarray | RowSource:
    """Clip samples to a range, feature by feature."""
    if isinstance(X, RowSource):
        return ClippedSource(X, low, high)
    return np.clip(X, low, high)


def slices(n: int, size: int) -> Iterator[slice]:
    """Divide n positions into consecutive slices of at most `size`."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def iter_chunks(
    X: np.ndarray | RowSource, width: int | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Iterate over samples in order, in chunks.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Samples.
    width : int, default=n_features
        Number of floats that the caller needs for each sample. A chunk has as many
        samples as need at most `CHUNK_FLOATS` floats.

    Yields
    ------
    rows : slice
        Positions of the samples in the chunk.
    chunk : ndarray of shape (rows.stop - rows.start, n_features)
        Samples.
    """
    size = max(1, CHUNK_FLOATS // max(width or X.shape[1], 1))
    if isinstance(X, np.ndarray):
        for part in slices(len(X), size):
            yield part, X[part]
        return
    for partition in range(len(X.starts) - 1):
        rows = X.read(partition)
        first = int(X.starts[partition])
        for part in slices(len(rows), size):
            yield slice(first + part.start, first + part.stop), rows[part]


def select_samples(
    X: np.ndarray | RowSource, mask: NDArray[np.bool_]
) -> np.ndarray | RowSource:
    """Select samples by a mask.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Samples.
    mask : bool ndarray of shape (n,)
        True for the samples to select.

    Returns
    -------
    ndarray or RowSource
        Selected samples: a copy, or a source that reads them when needed if they
        exceed `IN_MEMORY_BYTES`.
    """
    if isinstance(X, RowSource):
        return Selection(X, mask)
    if np.count_nonzero(mask) * X.shape[1] * X.itemsize > IN_MEMORY_BYTES:
        return Selection(ArraySource(X), mask)
    return X[mask]


def check_kinds(rows: Any) -> None:
    """Reject data types whose conversion to floats would lose information."""
    check_features(rows)
    if hasattr(rows, "columns"):
        kinds = dict(rows.dtypes)
    else:
        kinds = {"all": rows.dtype}
    others = {name: str(kind) for name, kind in kinds.items() if kind.kind == "c"}
    if others:
        raise ValueError(f"X must hold real numbers, got columns of types {others}.")


def as_float(rows: Any) -> np.ndarray:
    """Convert a table to a C-contiguous array of float32 or float64."""
    check_kinds(rows)
    if hasattr(rows, "columns"):
        single = (rows.dtypes == np.float32).all()
        dtype = np.float32 if single else np.float64
        return np.ascontiguousarray(rows.to_numpy(dtype, na_value=np.nan))
    dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(rows, dtype)
