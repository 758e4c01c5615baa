"""Unusual cells: missing where training has hardly any missing, or never seen there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .columns import Column
from .features import Features

#: Fraction of the false positive rate that may be spent on unusual cells.
BUDGET = 0.5
#: Largest fraction of missing cells in training at which one is unusual.
MOSTLY_PRESENT = 0.05


def rare_events(
    columns: Sequence[Column], alpha: float
) -> tuple[set[tuple[str, str]], float]:
    """Choose the unusual cells that flag a row.

    Rows like those of training have missing cells and unknown texts now and then. The
    rarest of these events are chosen as long as all of them together concern at most
    half of the promised fraction of rows. The scores of the classifier then flag the
    rest of it.

    Parameters
    ----------
    columns : sequence of Column
    alpha : float
        Fraction of rows like those of training that may be flagged.

    Returns
    -------
    events : set of (str, str)
        Name of the column, and "missing" or "never seen".
    rate : float
        Expected fraction of rows like those of training with one of them.
    """
    rates = [(column.missing, column.name, "missing") for column in columns]
    rates += [
        (column.unseen, column.name, "never seen")
        for column in columns
        if column.kind == "text"
    ]
    chosen, total = set(), 0.0
    for rate, name, event in sorted(rates):
        if total + rate > BUDGET * alpha:
            break
        chosen.add((name, event))
        total += rate
    return chosen, total


def describe_cells(features: Features, columns: Sequence[Column]) -> np.ndarray:
    """Describe the unusual cells of each row.

    Missing cells count where at most a twentieth of the training rows lack a value.

    Returns
    -------
    ndarray of str, shape (n,)
        Such as "age is missing; city 'Rome' was never seen".
    """
    parts: list[list[str]] = [[] for _ in range(len(features.values))]
    for column in columns:
        if column.missing <= MOSTLY_PRESENT:
            for row in np.flatnonzero(features.missing[column.name]):
                parts[row].append(f"{column.name} is missing")
        for row in np.flatnonzero(features.unseen[column.name]):
            text = features.values[column.name].iloc[row]
            parts[row].append(f"{column.name} {text!r} was never seen")
    return np.array(["; ".join(part) for part in parts], dtype=object)


def flag_cells(features: Features, events: set[tuple[str, str]]) -> NDArray[np.bool_]:
    """Return True for rows with one of the chosen unusual cells."""
    flags = np.zeros(len(features.values), dtype=bool)
    for name, event in events:
        cells = features.missing if event == "missing" else features.unseen
        flags |= cells[name].to_numpy()
    return flags
