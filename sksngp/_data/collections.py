"""Sources for large data: pyarrow datasets, dask collections and memory maps."""

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
    """Source for a `pyarrow.dataset.Dataset`.

    A partition is a row group of a Parquet file, or a whole file of another format.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
        Dataset to read.
    columns : sequence of str
        Columns to read, in this order.
    """

    def __init__(self, dataset: Dataset, columns: Sequence[str]) -> None:
        names = dataset.schema.names
        missing = [name for name in columns if name not in names]
        if missing:
            raise ValueError(f"X must have the columns {missing}, got columns {names}.")
        repeated = sorted({name for name in columns if names.count(name) > 1})
        if repeated:
            raise ValueError(
                "X must have unique column names, got several columns for each of "
                f"{repeated}."
            )
        types = {name: dataset.schema.field(name).type for name in columns}
        others = {name: str(kind) for name, kind in types.items() if not _numeric(kind)}
        if others:
            raise ValueError(
                f"X must have numeric columns, got columns of types {others}. Encode "
                "or drop these columns. If one of them holds the labels, pass its name "
                "as y."
            )
        self._groups: list[Any] = []
        sizes: list[int] = []
        self._schema = dataset.schema
        for fragment in dataset.get_fragments():
            if hasattr(fragment, "split_by_row_group"):
                groups = fragment.split_by_row_group()
                # The method `count_rows` of a row group returns the number of rows of
                # its file.
                sizes += [group.row_groups[0].num_rows for group in groups]
            else:
                groups = [fragment]
                sizes.append(fragment.count_rows())
            self._groups += groups
        super().__init__(sizes, columns)

    def read(self, partition: int) -> np.ndarray:
        """Read a partition. Missing values become NaN."""
        # A file may lack columns that other files have. The schema of the dataset
        # includes all columns.
        table = self._groups[partition].to_table(
            columns=self.columns, schema=self._schema
        )
        result = np.empty((len(table), len(self.columns)))
        for index, column in enumerate(table.columns):
            result[:, index] = column.to_numpy()
        return result


class DaskSource(RowSource):
    """Source for a `dask.array.Array` or a `dask.dataframe.DataFrame`.

    Parameters
    ----------
    collection : dask collection of shape (n, n_features)
        Collection to read. If the sizes of its partitions are unknown, the partitions
        are computed once to determine them.

    Raises
    ------
    ValueError
        If the collection is not two-dimensional or not numeric.
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

    def read(self, partition: int) -> np.ndarray:
        """Read a partition."""
        return as_float(self.collection.partitions[int(partition)].compute())

    def delayed(self, partition: int) -> Delayed:
        """Return a dask delayed object that reads a partition."""
        import dask

        selected = self.collection.partitions[int(partition)].to_delayed()
        return dask.delayed(as_float)(np.ravel(selected)[0])


def is_collection(X: object) -> bool:
    """Return whether `open_source` reads this kind of input in partitions."""
    return is_dask(X) or _is_dataset(X) or _is_mapped_as_other_type(X)


def open_source(X: Any, columns: Sequence[str] | None = None) -> RowSource:
    """Create a source for a collection.

    Parameters
    ----------
    X : dask collection, pyarrow dataset, or memory-mapped array of any numeric type
        Collection to read.
    columns : sequence of str, default=None
        Names of the features of a pyarrow dataset. If None, all columns are features.

    Returns
    -------
    RowSource
        Source of the samples.
    """
    if is_dask(X):
        return DaskSource(X)
    if _is_dataset(X):
        return ParquetSource(X, X.schema.names if columns is None else columns)
    return ArraySource(X)


def split_label(dataset: Any, label: str) -> tuple[list[str], np.ndarray]:
    """Split the columns of a pyarrow dataset into features and labels.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
        Dataset with a column of labels.
    label : str
        Name of this column.

    Returns
    -------
    features : list of str
        Names of all other columns.
    labels : ndarray of shape (n,)
        Class labels.
    """
    if not _is_dataset(dataset):
        raise ValueError(
            f"y must be an array of labels, got {label!r}. The name of a column is "
            "accepted only if X is a pyarrow.dataset.Dataset."
        )
    names = dataset.schema.names
    if label not in names:
        raise ValueError(f"y must be a column of X, one of {names}, got {label!r}.")
    labels = dataset.to_table(columns=[label]).column(0).to_pandas().to_numpy()
    return [name for name in names if name != label], labels


def compute_if_lazy(values: Any) -> Any:
    """Compute the values of a lazy collection, and return other values unchanged."""
    return values.compute() if is_dask(values) else values


def check_order(X: Any, values: Any, name: str) -> None:
    """Check that a dask dataframe and its labels or weights have the same order.

    pandas aligns rows by their index, whereas this library pairs them by position.

    Parameters
    ----------
    X : object
        Samples.
    values : object
        Labels or weights. They are checked if they have an index and `X` is a dask
        dataframe.
    name : str
        Name of the parameter `values`.

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
            f"X and {name} must be in the same order, because their rows are paired by "
            "position, but their indices are permutations of each other. Reorder "
            f"{name}, for example with {name}.loc[X.index.compute()], or pass it as an "
            "array."
        )


def check_table(collection: object) -> None:
    """Check that a dask collection is two-dimensional and numeric.

    Raises
    ------
    ValueError
        If this is not the case.
    """
    dimensions = getattr(collection, "ndim", None)
    if not isinstance(dimensions, int) or dimensions != 2:
        has = f"{dimensions} dimensions" if isinstance(dimensions, int) else "none"
        raise ValueError(
            "X must be a dask array or dataframe with 2 dimensions, got a "
            f"{type(collection).__name__} with {has}."
        )
    check_kinds(collection)


def _default_client() -> Any:
    """Return the default Dask client, or None if there is none.

    Within a task, the result is None. A task must not wait for other tasks, because
    it may occupy the last free thread of its worker.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        distributed.get_worker()
    except ValueError:  # this code does not run within a task
        pass
    else:
        return None
    try:
        return distributed.default_client()
    except ValueError:  # there is no client
        return None


def is_dask(X: object) -> bool:
    """Return whether `X` is a lazy dask collection."""
    # If dask has not been imported, X cannot be a dask collection.
    dask = sys.modules.get("dask.base")
    return dask is not None and dask.is_dask_collection(X)


def _is_dataset(X: object) -> bool:
    dataset = sys.modules.get("pyarrow.dataset")
    return dataset is not None and isinstance(X, dataset.Dataset)


def _is_mapped_as_other_type(X: object) -> bool:
    """Return whether scikit-learn would copy a memory map to convert it to floats."""
    return (
        isinstance(X, np.memmap)
        and X.ndim == 2
        and X.dtype.kind in "biuf"
        and X.dtype not in (np.float32, np.float64)
    )


def _numeric(kind: DataType) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
