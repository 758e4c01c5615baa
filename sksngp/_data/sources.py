"""Sources of samples, which are read block by block.

A `RowSource` hands out its rows block by block. NumPy arrays, memory-mapped ones too,
need no source as long as they are only read from front to back: `row_blocks` slices
them. Training reads rows in random order, and reads an array by `ArraySource`.
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

#: What classifiers take as `X`. Dataframes and Dask collections count as array-like.
MatrixLike: TypeAlias = "ArrayLike | Dataset"

#: Floats of a chunk that is worked on at once, but for a single row.
CHUNK_FLOATS = 2**22
#: Bytes of rows that are copied, or held projected, at once. Whatever needs fewer is
#: handled as a whole.
IN_MEMORY_BYTES = 2**28
#: Rows of an array that training reads at one place.
ARRAY_BLOCK = 1024


class RowSource(ABC):
    """Rows in blocks of known sizes.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each block.
    columns : sequence
        Names, or numbers, of the columns.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    starts : int64 ndarray of shape (n_blocks + 1,)
        The first row of each block, then the number of rows.
    client : distributed.Client or None
        Whose workers can read blocks; a source that has one implements `delayed`,
        which is `read`, later and on a worker.
    num_workers : int
        How many these were when the source was made: the cut of work into parts must
        not change when one dies.
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
    def read(self, block: int) -> np.ndarray:
        """Rows of a block: float32 or float64 of shape (size, n_features)."""

    def delayed(self, block: int) -> Delayed:
        """Rows of a block, read where the task runs: a dask delayed."""
        import dask

        return dask.delayed(self.read)(block)

    def rows(self, block: int) -> slice:
        """Rows of a block, as places in the whole."""
        return slice(int(self.starts[block]), int(self.starts[block + 1]))

    def template(self) -> pd.DataFrame | np.ndarray:
        """No rows, with the columns' names where they have some."""
        if any(isinstance(name, str) for name in self.columns):
            return pd.DataFrame(np.empty((0, self.shape[1])), columns=self.columns)
        return np.empty((0, self.shape[1]))


class ArraySource(RowSource):
    """An array, read in blocks of `ARRAY_BLOCK` rows.

    Parameters
    ----------
    array : ndarray of shape (n, n_features)
        Of any numeric type.
    """

    def __init__(self, array: np.ndarray) -> None:
        sizes = [part.stop - part.start for part in slices(len(array), ARRAY_BLOCK)]
        super().__init__(sizes, range(array.shape[1]))
        self._array = array

    def read(self, block: int) -> np.ndarray:
        """Rows of a block."""
        return as_float(self._array[self.rows(block)])


class Selection(RowSource):
    """Some rows of a source.

    Parameters
    ----------
    source : RowSource
    mask : bool ndarray of shape (n,)
    """

    def __init__(self, source: RowSource, mask: NDArray[np.bool_]) -> None:
        counts = np.concatenate([[0], np.cumsum(mask)])
        sizes = np.diff(counts[source.starts])
        super().__init__(sizes, source.columns)
        self.source, self.mask = source, mask
        self.client, self.num_workers = source.client, source.num_workers

    def read(self, block: int) -> np.ndarray:
        """Rows of a block."""
        if self.starts[block] == self.starts[block + 1]:
            return np.empty((0, self.shape[1]))
        return self.source.read(block)[self.mask[self.source.rows(block)]]

    def delayed(self, block: int) -> Delayed:
        """Rows of a block, as a dask delayed."""
        import dask

        chosen = self.mask[self.source.rows(block)]
        return dask.delayed(getitem)(self.source.delayed(block), chosen)


class ClippedSource(RowSource):
    """Rows of a source whose values are brought into a range.

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

    def read(self, block: int) -> np.ndarray:
        """Rows of a block."""
        return np.clip(self.source.read(block), self.low, self.high)

    def delayed(self, block: int) -> Delayed:
        """Rows of a block, as a dask delayed."""
        import dask

        return dask.delayed(np.clip)(self.source.delayed(block), self.low, self.high)


def clipped(
    X: np.ndarray | RowSource, low: NDArray[np.float64], high: NDArray[np.float64]
) -> np.ndarray | RowSource:
    """Rows with values that are brought into a range, column by column."""
    if isinstance(X, RowSource):
        return ClippedSource(X, low, high)
    return np.clip(X, low, high)


def slices(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` of n rows, in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def row_blocks(
    X: np.ndarray | RowSource, width: int | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Read rows from front to back.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    width : int, default=n_features
        Floats that a row needs; a chunk's stay within `CHUNK_FLOATS`.

    Yields
    ------
    rows : slice
    chunk : ndarray of shape (rows.stop - rows.start, n_features)
    """
    size = max(1, CHUNK_FLOATS // max(width or X.shape[1], 1))
    if isinstance(X, np.ndarray):
        for part in slices(len(X), size):
            yield part, X[part]
        return
    for block in range(len(X.starts) - 1):
        rows = X.read(block)
        first = int(X.starts[block])
        for part in slices(len(rows), size):
            yield slice(first + part.start, first + part.stop), rows[part]


def select(
    X: np.ndarray | RowSource, mask: NDArray[np.bool_]
) -> np.ndarray | RowSource:
    """Some rows: copied, or where they are too many, read when they are needed.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    mask : bool ndarray of shape (n,)

    Returns
    -------
    ndarray or RowSource
    """
    if isinstance(X, RowSource):
        return Selection(X, mask)
    if np.count_nonzero(mask) * X.shape[1] * X.itemsize > IN_MEMORY_BYTES:
        return Selection(ArraySource(X), mask)
    return X[mask]


def check_kinds(rows: Any) -> None:
    """Refuse types that NumPy would make floats of by leaving something out."""
    check_features(rows)
    if hasattr(rows, "columns"):
        kinds = dict(rows.dtypes)
    else:
        kinds = {"all": rows.dtype}
    others = {name: str(kind) for name, kind in kinds.items() if kind.kind == "c"}
    if others:
        raise ValueError(f"X must hold real numbers; columns of other types: {others}.")


def as_float(rows: Any) -> np.ndarray:
    check_kinds(rows)
    if hasattr(rows, "columns"):
        single = (rows.dtypes == np.float32).all()
        dtype = np.float32 if single else np.float64
        return np.ascontiguousarray(rows.to_numpy(dtype, na_value=np.nan))
    dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(rows, dtype)
