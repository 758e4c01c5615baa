"""Unusual cells: missing values and text that are rare or absent in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .columns import Column
from .features import Features

#: Fraction of the false positive rate that is used for unusual cells.
BUDGET = 0.5
#: Maximum fraction of missing cells in training for a missing cell to be unusual.
MOSTLY_PRESENT = 0.05


def rare_events(
    columns: Sequence[Column], alpha: float
) -> tuple[set[tuple[str, str]], float]:
    """Select the kinds of unusual cells for which rows are flagged.

    In-distribution rows occasionally have missing cells and unknown text. The rarest of
    these events are selected while their total expected rate is at most half of
    `alpha`. The remaining rate is used for flags by score.

    Parameters
    ----------
    columns : sequence of Column
        Columns of the training table.
    alpha : float
        Maximum expected fraction of in-distribution rows that are flagged.

    Returns
    -------
    events : set of (str, str)
        Names of columns, each with "missing" or "never seen".
    rate : float
        Bound on the expected fraction of in-distribution rows with one of these events.
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

    A missing cell is unusual if at most 5% of the training rows have no value in its
    column.

    Returns
    -------
    ndarray of str, shape (n,)
        Descriptions such as "age is missing; city 'Rome' was never seen".
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
    """Return a mask of the rows in which one of the events occurs."""
    flags = np.zeros(len(features.values), dtype=bool)
    for name, event in events:
        cells = features.missing if event == "missing" else features.unseen
        flags |= cells[name].to_numpy()
    return flags
