"""Conversion of the cells of a table to features, with a record of unusual cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .columns import Column, check_size, wrong_words
from .numbers import (
    Parsed,
    is_ambiguous,
    is_missing,
    parse_numbers,
    parse_times,
    to_times,
)
from .spelling import Spellings
from .tables import InputError, Table, listed

if TYPE_CHECKING:
    import pandas as pd

#: Maximum probability that a column is empty by chance for this to be an error.
IMPROBABLE = 1e-3


@dataclass
class Features:
    """Columns of a table that a classifier uses.

    Parameters
    ----------
    values : DataFrame
        Numbers and times as float64, and text as objects. Missing values are NaN.
    unseen : DataFrame of bool
        True for text that does not occur in the training table.
    remarks : list of str
        Notes on cells that were parsed in an unexpected way.
    styles : dict of str to list of str
        Columns with each unusual notation of numbers.
    """

    values: pd.DataFrame
    unseen: pd.DataFrame
    remarks: list[str] = field(default_factory=list)
    styles: dict[str, list[str]] = field(default_factory=dict)

    @property
    def missing(self) -> pd.DataFrame:
        """Mask of missing cells."""
        return self.values.isna()

    def num_distinct(self) -> int:
        """Return the number of unique samples."""
        return len(self.values.drop_duplicates())


def read_features(table: Table, columns: Sequence[Column]) -> Features:
    """Convert the columns that a classifier uses to numbers and text.

    Parameters
    ----------
    table : Table
        Table to convert. It may have additional columns, in any order.
    columns : sequence of Column
        Columns that the classifier uses.

    Returns
    -------
    Features
        Values of these columns.

    Raises
    ------
    InputError
        If columns are absent or empty, or have another kind of values than in training.
    """
    import pandas as pd

    names = [column.name for column in columns]
    absent = [name for name in names if name not in table.cells.columns]
    if absent:
        plural = "s" if len(absent) > 1 else ""
        raise InputError(
            f"{table.path}: lacks the column{plural} {listed(absent)} of the training "
            "data"
        )
    features = Features(pd.DataFrame(), pd.DataFrame())
    values, unseen = {}, {}
    _check_not_empty(table, columns)
    for column in columns:
        if column.kind == "text":
            values[column.name] = _read_text(table, column)
            known = np.isin(values[column.name].astype(str), list(column.counts))
            unseen[column.name] = ~known & ~pd.isna(values[column.name])
        else:
            values[column.name] = _read_numbers(table, column, features)
            unseen[column.name] = np.zeros(len(table), dtype=bool)
    features.values, features.unseen = pd.DataFrame(values), pd.DataFrame(unseen)
    return features


def _check_not_empty(table: Table, columns: Sequence[Column]) -> None:
    """Raise an InputError if columns are empty that have values in training."""
    empty = [
        column.name
        for column in columns
        if is_missing(table.cells[column.name]).all()
        and column.missing ** len(table) < IMPROBABLE
    ]
    if empty:
        plural = len(empty) > 1
        raise InputError(
            f"{table.path}: column{'s' if plural else ''} {listed(empty)} "
            f"{'have' if plural else 'has'} no values, unlike in the training data; to "
            "train without, use "
            f"{' '.join(f'--drop {name}' for name in empty)}"
        )


def _read_text(table: Table, column: Column) -> np.ndarray:
    cells = table.cells[column.name]
    values = Spellings(column.spellings).read(cells)
    values[is_missing(cells)] = np.nan
    return values


def _read_numbers(
    table: Table, column: Column, features: Features
) -> NDArray[np.float64]:
    """Parse a column of numbers or times, and add notes to `features`."""
    # Words that were treated as missing in training are missing here as well.
    cells = table.cells[column.name]
    cells = cells.where(~cells.isin(column.words), "")
    if column.kind == "number":
        notation = column.style
        parsed: Parsed | None = parse_numbers(cells, table.separator, notation)
        assert parsed is not None
        if parsed.style:
            features.styles.setdefault(parsed.style, []).append(column.name)
    else:
        parsed = parse_times(cells, column.style)
        if parsed is None:
            parsed = to_times(cells, column.style)
        elif parsed.style != column.style:
            exchanged = ""
            if is_ambiguous(cells, parsed.style):
                exchanged = "; days and months could be exchanged"
            features.remarks.append(
                f"{column.name!r}: times are read as {parsed.style}, those of the "
                f"training data as {column.style}{exchanged}"
            )
    if parsed.wrong.any():
        if not parsed.tolerable():
            row = parsed.wrong.argmax()
            raise InputError(
                f"{table.path}: column {column.name!r}, row {row + 1:,}: "
                f"{cells[row]!r} is not a {column.kind}{_format_of(column)}, as the "
                f"values in the training data are ({parsed.wrong.sum():,} of "
                f"{len(cells):,} cells are not)"
                + ("" if column.kind == "number" else _other_format(cells))
            )
        features.remarks.append(wrong_words(parsed, cells, column.kind))
    check_size(parsed.values, cells, table.path)
    return parsed.values


def _format_of(column: Column) -> str:
    """Describe the notation of a column in the training table for an error."""
    if not column.style:
        return ""
    return f" {'with' if column.kind == 'number' else 'of the format'} {column.style}"


def _other_format(cells: pd.Series) -> str:
    """Describe the format of times that do not agree with the training table."""
    other = parse_times(cells)
    if other is None:
        return ""
    return (
        f". They could have the format {other.style}; if days and months are exchanged "
        "in one of the tables, write dates as in 2024-01-31"
    )
