"""Class labels in tables, which are compared by value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .numbers import is_missing, missing_words
from .spelling import Spellings
from .tables import InputError, Table, check_names

if TYPE_CHECKING:
    import pandas as pd


def read_labels(table: Table, target: str) -> tuple[np.ndarray, Spellings]:
    """Read the class of each row of a training table.

    Parameters
    ----------
    table : Table
        Training table.
    target : str
        Column of the class.

    Returns
    -------
    labels : ndarray of str, shape (n,)
        Class labels.
    spellings : Spellings
        Spellings of the labels.

    Raises
    ------
    InputError
        If the column is absent, has missing values, or does not hold classes.
    """
    check_names(table, [target])
    cells = table.cells[target]
    missing = is_missing(cells)
    if missing.any():
        raise InputError(
            f"{table.path}: {missing.sum():,} of {len(table):,} rows lack a value in "
            f"the target column {target!r}, first row {missing.argmax() + 1:,}"
            + missing_words(cells)
        )
    spellings = Spellings.learn(cells)
    labels = spellings.read(cells).astype(str)
    num_classes = len(np.unique(labels))
    if num_classes == 1:
        raise InputError(
            f"{table.path}: the target column {target!r} holds one class only, "
            f"'{labels[0]}'"
        )
    if num_classes > len(labels) / 2:
        raise InputError(
            f"{table.path}: the target column {target!r} holds {num_classes:,} "
            f"different values in {len(labels):,} rows; classes need two rows each or "
            "more"
        )
    return labels, spellings


def known_labels(cells: pd.Series, spellings: Spellings) -> np.ndarray:
    """Return the labels of a scored table as objects. Missing labels are None."""
    labels = spellings.read(cells)
    labels[is_missing(cells)] = None
    return labels


def commonest(labels: np.ndarray) -> tuple[str, float]:
    """Return the most frequent label and its frequency."""
    names, counts = np.unique(labels, return_counts=True)
    return str(names[counts.argmax()]), float(counts.max() / counts.sum())
