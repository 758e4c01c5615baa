"""Checks for data types of features and labels that NumPy cannot convert correctly."""

from __future__ import annotations

import datetime
import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

#: Pattern for the names of date and time types in NumPy, pandas, polars and Arrow.
TEMPORAL = re.compile(r"(dictionary<values=)?(date|time|duration|period|month)", re.I)
#: Types of date and time values. The types of pandas, except for periods, are
#: subclasses of them.
TEMPORAL_CELLS = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    np.datetime64,
    np.timedelta64,
)


def check_features(X: Any) -> None:
    """Reject dates, times and masked values.

    Conversion to floats would replace a date by a number of days, seconds or
    nanoseconds, depending on its type, and a missing date or a masked value by an
    arbitrary number.

    Parameters
    ----------
    X : array-like or dataframe
        Samples.

    Raises
    ------
    ValueError
        If `X` contains dates, times or masked values.
    TypeError
        If `X` is a lazy frame of polars.
    """
    check_not_masked(X, "X")
    if hasattr(X, "collect_schema") and not hasattr(X, "shape"):
        raise TypeError("X must not be a LazyFrame: pass X.collect().")
    temporal = dict(_temporal_columns(X))
    if temporal:
        raise ValueError(
            "X must hold real numbers; the following columns hold dates or times: "
            f"{reprlib.repr(temporal)}. Encode them as numbers first, for example as "
            "days since a fixed date, (column - start) / numpy.timedelta64(1, 'D'), or "
            "as the month, the day of the week and the hour."
        )


@contextmanager
def text_columns_named(X: Any) -> Iterator[None]:
    """Name the columns of text if samples cannot be converted to numbers.

    The error of NumPy contains only the first of these cells.

    Parameters
    ----------
    X : array-like or dataframe
        Samples that are validated in this context.

    Raises
    ------
    ValueError
        If the validation raises this error because `X` contains text.
    """
    try:
        yield
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        names = list(_text_columns(X))
        if not names:
            raise
        raise ValueError(
            "X must hold real numbers; the following columns hold text: "
            f"{reprlib.repr(names)}. Encode them as numbers first, for example with "
            "OneHotEncoder in a ColumnTransformer."
        ) from error


def check_not_masked(values: Any, name: str) -> None:
    """Reject masked values, because scikit-learn would ignore their masks.

    Parameters
    ----------
    values : array-like
        Values to check.
    name : str
        Name of the parameter, for the error message.

    Raises
    ------
    ValueError
        If a value is masked.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise ValueError(
            f"{name} must not have masked values. Drop these samples, or replace the "
            "masked values with filled()."
        )


def _temporal_columns(X: Any) -> Iterator[tuple[Any, str]]:
    """Yield the names or positions, and the types, of columns of dates and times."""
    if hasattr(X, "schema") and hasattr(X, "column_names"):  # a pyarrow Table
        columns = [(field.name, field.type) for field in X.schema]
    elif hasattr(X, "columns") and hasattr(X, "dtypes"):
        columns = list(zip(X.columns, X.dtypes, strict=True))
    else:
        yield from _temporal_columns_of_array(X)
        return
    for position, (name, kind) in enumerate(columns):
        categories = getattr(kind, "categories", None)
        kind = getattr(categories, "dtype", kind)
        if TEMPORAL.match(str(kind)):
            yield name, str(kind)
        elif str(kind) == "object" and isinstance(X, pd.DataFrame):
            yield from _temporal_cells(X.iloc[:, position].to_numpy(), name)


def _temporal_columns_of_array(X: Any) -> Iterator[tuple[Any, str]]:
    if isinstance(X, list | tuple):
        try:
            X = np.asarray(X)
        except ValueError:  # scikit-learn raises an informative error later
            return
    kind = getattr(X, "dtype", None)
    if kind is not None and TEMPORAL.match(str(kind)):
        yield "all", str(kind)
    elif isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        for position, column in enumerate(X.T):
            yield from _temporal_cells(column, position)


def _temporal_cells(column: np.ndarray, name: Any) -> Iterator[tuple[Any, str]]:
    """Yield the name of an object column and the type of its first date or time."""
    for cell in column:
        if isinstance(cell, TEMPORAL_CELLS) or type(cell).__name__ == "Period":
            yield name, type(cell).__name__
            return


def _text_columns(X: Any) -> Iterator[Any]:
    """Yield the names or positions of columns with text other than numbers."""
    if isinstance(X, pd.DataFrame):  # column names may be repeated
        pairs = [(name, X.iloc[:, place]) for place, name in enumerate(X.columns)]
    elif hasattr(X, "column_names"):  # a pyarrow Table
        pairs = list(zip(X.column_names, X.columns, strict=True))
    elif hasattr(X, "columns"):
        pairs = [(name, X[name]) for name in X.columns]
    else:
        table = np.asarray(X, dtype=object)
        pairs = list(enumerate(table.T)) if table.ndim == 2 else []
    for name, column in pairs:
        cells = np.asarray(column)
        if cells.dtype.kind not in "biufc" and any(map(_is_text, cells)):
            yield name


def _is_text(cell: Any) -> bool:
    """Return whether a cell is text that cannot be converted to a float."""
    if not isinstance(cell, str | bytes):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def plain_labels(y: Any, name: str = "y") -> Any:
    """Convert labels of nullable, Arrow and object types to NumPy types.

    scikit-learn converts nullable integers and booleans to float64, which cannot
    represent all integers above 2**53, and rejects objects.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class labels without missing values.
    name : str, default="y"
        Name of the parameter, for errors.

    Returns
    -------
    array-like of shape (n,)
        Array of integers, booleans or floats. Labels of other types are returned
        unchanged.

    Raises
    ------
    ValueError
        If values are masked, or integers exceed 64 bits.

    Examples
    --------
    >>> import numpy as np
    >>> plain_labels(np.array([True, False], dtype=object))
    array([ True, False])
    """
    check_not_masked(y, name)
    if isinstance(y, list | tuple | str) or y is None:
        return y
    values = np.asarray(y)
    if values.dtype.kind in "biuf":
        return values
    if values.dtype != object or not values.size:
        return y
    kinds = set(map(type, values.ravel()))
    if kinds <= {bool, np.bool_}:
        return values.astype(bool)
    if all(issubclass(kind, float | np.floating) for kind in kinds):
        return values.astype(np.float64)
    if not all(issubclass(kind, Integral) and kind is not bool for kind in kinds):
        return y
    for integer in (np.int64, np.uint64):
        limits = np.iinfo(integer)
        if limits.min <= values.min() and values.max() <= limits.max:
            return values.astype(integer)
    raise ValueError(
        f"{name} must hold integers of at most 64 bits, got "
        f"{max(values.ravel(), key=abs)}. Convert the labels to strings."
    )
