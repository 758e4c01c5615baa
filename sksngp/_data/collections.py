"""Collections that may be too large for memory: Parquet datasets, dask, memory maps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .sources import ArraySource, RowSource, as_float, check_kinds

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from pyarrow import DataType
    from pyarrow.dataset import Dataset


class ParquetSource(RowSource):
    """A `pyarrow.dataset.Dataset`: a row group of Parquet, or a file, at a time.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    columns : sequence of str
        Columns to read, in this order.
    """

    def __init__(self, dataset: Dataset, columns: Sequence[str]) -> None:
        names = dataset.schema.names
        missing = [name for name in columns if name not in names]
        if missing:
            raise ValueError(f"The data set lacks the columns {missing}.")
        repeated = sorted({name for name in columns if names.count(name) > 1})
        if repeated:
            raise ValueError(f"The data set has several columns named {repeated}.")
        types = {name: dataset.schema.field(name).type for name in columns}
        others = {name: str(kind) for name, kind in types.items() if not _numeric(kind)}
        if others:
            raise ValueError(
                f"X must have numeric columns; those of other types are {others}. "
                "Encode them, or leave them out; pass the label's name as y."
            )
        self._groups: list[Any] = []
        sizes: list[int] = []
        self._schema = dataset.schema
        for fragment in dataset.get_fragments():
            if hasattr(fragment, "split_by_row_group"):
                groups = fragment.split_by_row_group()
                # A part's `count_rows` counts the rows of its file.
                sizes += [group.row_groups[0].num_rows for group in groups]
            else:
                groups = [fragment]
                sizes.append(fragment.count_rows())
            self._groups += groups
        super().__init__(sizes, columns)

    def read(self, block: int) -> np.ndarray:
        """Rows of a block; a missing value becomes NaN."""
        # By the schema of all: a file may lack columns that others have.
        table = self._groups[block].to_table(columns=self.columns, schema=self._schema)
        result = np.empty((len(table), len(self.columns)))
        for index, column in enumerate(table.columns):
            result[:, index] = column.to_numpy()
        return result


class DaskSource(RowSource):
    """A `dask.array.Array` or `dask.dataframe.DataFrame`, a partition at a time.

    Parameters
    ----------
    collection : dask collection of shape (n, n_features)
        Partitions of unknown sizes are computed once to learn these.

    Raises
    ------
    ValueError
        If it has no rows and columns, or their type is no number.
    """

    def __init__(self, collection: Any) -> None:
        check_table(collection)
        columns = getattr(collection, "columns", None)
        if columns is None:
            if np.isnan(collection.shape).any():
                collection = collection.copy().compute_chunk_sizes()
            collection = collection.rechunk({1: -1})
            sizes, columns = collection.chunks[0], range(collection.shape[1])
        else:
            sizes = np.asarray(collection.map_partitions(len).compute())
        super().__init__(sizes, columns)
        self.collection = collection
        self.client = _default_client()
        if self.client is not None:
            self.num_workers = len(self.client.nthreads())

    def read(self, block: int) -> np.ndarray:
        """Rows of a block."""
        return as_float(self.collection.partitions[int(block)].compute())

    def delayed(self, block: int) -> Delayed:
        """Rows of a block, as a dask delayed."""
        import dask

        partition = self.collection.partitions[int(block)].to_delayed()
        return dask.delayed(as_float)(np.ravel(partition)[0])


def is_collection(X: object) -> bool:
    """Whether rows are of a kind that `open_source` reads block by block."""
    return is_dask(X) or _is_dataset(X) or _is_mapped_as_other_type(X)


def open_source(X: Any, columns: Sequence[str] | None = None) -> RowSource:
    """Make a source of a collection.

    Parameters
    ----------
    X : dask collection, pyarrow dataset, or memory-mapped array of any numeric type
    columns : sequence of str, default=None
        Those of a pyarrow dataset that hold features.

    Returns
    -------
    RowSource
    """
    if is_dask(X):
        return DaskSource(X)
    if _is_dataset(X):
        return ParquetSource(X, X.schema.names if columns is None else columns)
    return ArraySource(X)


def split_label(dataset: Any, label: str) -> tuple[list[str], np.ndarray]:
    """Split a pyarrow dataset's columns into features and the label.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    label : str
        Name of a column.

    Returns
    -------
    features : list of str
        Names of all other columns.
    labels : ndarray of shape (n,)
    """
    if not _is_dataset(dataset):
        raise ValueError(
            f"y={label!r} names a column, which only a pyarrow.dataset.Dataset has; "
            "pass the labels themselves."
        )
    names = dataset.schema.names
    if label not in names:
        raise ValueError(f"y={label!r} is no column of the data set; it has {names}.")
    labels = dataset.to_table(columns=[label]).column(0).to_pandas().to_numpy()
    return [name for name in names if name != label], labels


def compute_if_lazy(values: Any) -> Any:
    """Values of a lazy collection, such as labels; others as they are."""
    return values.compute() if is_dask(values) else values


def check_order(X: Any, values: Any, name: str) -> None:
    """Check that a dask dataframe and what belongs to its rows have one order.

    pandas pairs rows by their index, this library by their position.

    Parameters
    ----------
    X : object
    values : object
        Labels or weights. Checked if it has an index, and if X is a dask dataframe.
    name : str
        Name of the parameter.

    Raises
    ------
    ValueError
        If one index is a permutation of the other.
    """
    index = getattr(values, "index", None)
    if not isinstance(index, pd.Index) or not is_dask(X) or not hasattr(X, "columns"):
        return
    own = X.index.compute()
    if len(own) != len(index) or own.equals(index):
        return
    if own.value_counts().sort_index().equals(index.value_counts().sort_index()):
        raise ValueError(
            f"X and {name} have the same index in different orders, but their rows are "
            f"paired by position. Bring {name} into the order of X, for example with "
            f"{name}.loc[X.index.compute()], or pass {name} as an array."
        )


def check_table(collection: object) -> None:
    """Check that a dask collection has rows and columns, of numbers.

    Raises
    ------
    ValueError
    """
    dimensions = getattr(collection, "ndim", None)
    if not isinstance(dimensions, int) or dimensions != 2:
        has = f"{dimensions} dimensions" if isinstance(dimensions, int) else "neither"
        raise ValueError(
            "X must be a dask array or dataframe with rows and columns, got a "
            f"{type(collection).__name__} with {has}."
        )
    check_kinds(collection)


def _default_client() -> Any:
    """Client whose workers can help, if there is one.

    A task on a worker has its worker's, but must not wait for other tasks: it may hold
    the last free thread.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        distributed.get_worker()
    except ValueError:  # this is no task
        pass
    else:
        return None
    try:
        return distributed.default_client()
    except ValueError:  # there is none
        return None


def is_dask(X: object) -> bool:
    """Whether X is a lazy dask collection."""
    # Nobody has a collection of a package that was never imported.
    dask = sys.modules.get("dask.base")
    return dask is not None and dask.is_dask_collection(X)


def _is_dataset(X: object) -> bool:
    dataset = sys.modules.get("pyarrow.dataset")
    return dataset is not None and isinstance(X, dataset.Dataset)


def _is_mapped_as_other_type(X: object) -> bool:
    """Whether scikit-learn would copy a memory-mapped array to make it floats."""
    return (
        isinstance(X, np.memmap)
        and X.ndim == 2
        and X.dtype.kind in "biuf"
        and X.dtype not in (np.float32, np.float64)
    )


def _numeric(kind: DataType) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
