"""Columns with the largest shift between the training table and a scored table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binom, ks_2samp

from .columns import Column
from .features import Features

#: Maximum number of columns to report.
NUM_NAMED = 3
#: Minimum distance between distributions, in [0, 1], of a column to report.
NOTABLE = 0.1
#: Probability below which a number of flags is too high to occur by chance.
IMPROBABLE = 1e-3


class Move(NamedTuple):
    """Shift of the distribution of a column.

    Parameters
    ----------
    distance : float
        Maximum difference between the distribution functions of numbers, or total
        variation distance of text. If the difference between the fractions of missing
        cells is larger, it is used instead.
    name : str
        Name of the column.
    description : str
        Description of both distributions.
    """

    distance: float
    name: str
    description: str


def too_many_flags(num_flagged: int, num_rows: int, alpha: float) -> bool:
    """Return whether far more rows are flagged than expected in distribution.

    Examples
    --------
    >>> too_many_flags(120, 600, 0.05), too_many_flags(1, 2, 0.05)
    (True, False)
    """
    # The false positive rate of a single fit deviates from `alpha`, which only bounds
    # its expectation. A factor of 2 allows for this.
    return bool(binom.sf(num_flagged - 1, num_rows, min(2 * alpha, 1)) < IMPROBABLE)


def moved_columns(features: Features, columns: Sequence[Column]) -> list[Move]:
    """Return the columns with the largest shifts, in decreasing order."""
    moves = [_move(features.values[column.name], column) for column in columns]
    # The shifts of other columns are due to chance, or much smaller.
    least = max(NOTABLE, max(move.distance for move in moves) / 2)
    notable = [move for move in moves if move.distance >= least]
    return sorted(notable, key=lambda move: -move.distance)[:NUM_NAMED]


def _move(values: pd.Series, column: Column) -> Move:
    present = values.dropna()
    distance, description = 0.0, ""
    if len(present) and column.kind == "text":
        distance, description = _move_of_text(present, column)
    elif len(present) and column.sample:
        numbers = present.to_numpy(np.float64)
        distance = float(ks_2samp(column.sample, numbers).statistic)
        before, after = _span(np.array(column.sample), column), _span(numbers, column)
        description = f"mostly {before} in training, {after} here"
    missing = float(values.isna().mean())
    if abs(missing - column.missing) > distance:
        distance = abs(missing - column.missing)
        description = f"{missing:.0%} missing, {column.missing:.0%} in training"
    return Move(distance, column.name, description)


def _move_of_text(present: pd.Series, column: Column) -> tuple[float, str]:
    before = pd.Series(column.counts, dtype=float) / sum(column.counts.values())
    after = present.value_counts(normalize=True)
    after.index = after.index.astype(object)
    difference = after.sub(before, fill_value=0)
    name = difference.idxmax()
    description = (
        f"{name!r} in {after.get(name, 0):.0%} of the rows, "
        f"{before.get(name, 0):.0%} in training"
    )
    return float(difference.abs().sum() / 2), description


def _span(values: np.ndarray, column: Column) -> str:
    """Describe the middle 90% of numbers or times."""
    low, high = np.quantile(values, [0.05, 0.95], method="nearest")
    if column.kind == "time" and column.style != "clock":
        form = "%Y-%m-%d" if high - low >= 1 else "%Y-%m-%d %H:%M"
        days = pd.to_datetime([low, high], unit="D").strftime(form)
        return f"{days[0]} to {days[1]}"
    return f"{low:.6g} to {high:.6g}"
