"""Content and use of the columns of a training table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .numbers import (
    Parsed,
    is_ambiguous,
    is_missing,
    missing_words,
    parse_numbers,
    parse_times,
)
from .spelling import Spellings
from .tables import InputError, Table, listed

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["number", "time", "text"]

#: Minimum number of values for a column to be recognized as a counter or identifiers.
MIN_IDENTIFIERS = 10
#: Number of quantiles that represent the distribution of a column.
SAMPLE_SIZE = 200
#: Minimum number of quantiles of a column in wide tables.
MIN_SAMPLE_SIZE = 50
#: Approximate maximum number of quantiles of all columns, so that model files remain
#: small.
MAX_POSITIONS = 20_000
_LARGEST = float(np.finfo(np.float32).max)
#: A number with a sign, a currency or a unit, such as "$1,200.50", "60 %" or "(12)".
_WITH_UNIT = r"[^\w\s]{0,3}\s?\d[\d.,]*\s?[^\d\s]{0,3}"


@dataclass
class Column:
    """Content of a column in the training table.

    Parameters
    ----------
    name : str
        Name of the column.
    kind : {"number", "time", "text"}
        Kind of values.
    missing : float
        Fraction of the cells that are missing or cannot be parsed.
    words : list of str
        Words in a column of numbers or times, which are treated as missing.
    style : str
        Format of times, or notation of numbers with commas.
    sample : list of float
        Quantiles of numbers or times in increasing order.
    counts : dict of str to int
        Number of rows with each value of a text column.
    spellings : dict of str to str
        Value of each spelling in a text column.
    """

    name: str
    kind: Kind
    missing: float = 0.0
    words: list[str] = field(default_factory=list)
    style: str = ""
    sample: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    spellings: dict[str, str] = field(default_factory=dict)

    @property
    def unseen(self) -> float:
        """Estimated probability that a new row has a value that is not in training.

        This is the fraction of rows whose value occurs once (Good and Turing).
        """
        total = sum(self.counts.values())
        return list(self.counts.values()).count(1) / total if total else 0.0


@dataclass
class Choice:
    """Use of the columns of a training table.

    Parameters
    ----------
    columns : list of Column
        Columns to train on.
    left_out : dict of str to str
        Reason for each column that is not used.
    remarks : list of str
        Notes on cells that were parsed in an unexpected way.
    styles : dict of str to list of str
        Columns with each unusual notation of numbers.
    """

    columns: list[Column] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    styles: dict[str, list[str]] = field(default_factory=dict)


def choose_columns(
    table: Table, target: str, drop: Sequence[str] = (), keep: Sequence[str] = ()
) -> Choice:
    """Select the columns of a training table to use, and determine their kinds.

    A column contains numbers or times if at most a tenth of its values are other words,
    and text otherwise. Columns that appear to be identifiers are not used. These are
    counters, unique whole numbers, and text of which most values are unique.

    Parameters
    ----------
    table : Table
        Training table.
    target : str
        Column of the class.
    drop : sequence of str, default=()
        Columns that are not used.
    keep : sequence of str, default=()
        Columns that are used even if they appear to be identifiers.

    Returns
    -------
    Choice
        Selected columns, and notes for the report.

    Raises
    ------
    InputError
        If no column remains to train on, or a number is too large.
    """
    choice = Choice()
    for name in table.cells.columns.drop(target):
        cells = table.cells[name]
        if name in drop:
            choice.left_out[name] = "because of --drop"
        elif not name:
            choice.left_out[name] = "it has no name"
        elif is_missing(cells).all():
            choice.left_out[name] = "it has no values"
        else:
            _add(choice, table, name, keep=name in keep)
    if not choice.columns:
        reasons = [f"{name!r}: {reason}" for name, reason in choice.left_out.items()]
        hint = "; use --keep COLUMN to train on a column" if reasons else ""
        raise InputError(
            f"{table.path}: no column to train on besides the target {target!r}"
            + "".join(f"; {reason}" for reason in reasons)
            + hint
        )
    return choice


def _add(choice: Choice, table: Table, name: str, keep: bool) -> None:
    """Add a column to the columns that are used, or to those that are not."""
    cells, size = table.cells[name], _sample_size(table.cells.shape[1])
    numbers = parse_numbers(cells, table.separator)
    if numbers.tolerable():
        reason = "" if keep else _why_identifiers(numbers.values, cells, table)
        if reason:
            choice.left_out[name] = reason
            return
        check_size(numbers.values, cells, table.path)
        if numbers.style:
            choice.styles.setdefault(numbers.style, []).append(name)
        choice.columns.append(_numeric("number", numbers, cells, choice, size))
        return
    times = parse_times(cells)
    if times is not None:
        if is_ambiguous(cells, times.style):
            choice.remarks.append(
                f"{name!r}: days and months could be exchanged; read as {times.style}"
            )
        choice.columns.append(_numeric("time", times, cells, choice, size))
        return
    present = cells[~is_missing(cells)]
    if present.nunique() > len(present) / 2 and not keep:
        row = numbers.wrong.argmax()
        choice.left_out[name] = (
            "most of its values differ and not all are numbers: "
            f"{cells[row]!r} in row {row + 1:,}"
        )
        if present.str.fullmatch(_WITH_UNIT).mean() > 0.5:
            choice.left_out[name] += " (remove signs and units to train on it)"
        return
    choice.columns.append(_text(cells, choice, numbers))


def _why_identifiers(
    values: NDArray[np.float64], cells: pd.Series, table: Table
) -> str:
    """Return a reason why numbers appear to be identifiers, or "" if there is none."""
    is_number = ~np.isnan(values)
    present = values[is_number]
    if len(present) < MIN_IDENTIFIERS or np.isinf(present).any():
        return ""
    steps = np.diff(present)
    if steps[0] and np.allclose(steps, steps[0], rtol=1e-6, atol=0):
        return "it counts the rows (use --keep to train on it)"
    # Cells are compared as text because long identifiers may be equal as floats.
    num_unique = cells[is_number].nunique()
    if (present % 1 == 0).all() and num_unique >= len(present) / 2:
        # Repeated rows have equal identifiers.
        if num_unique == len(table.cells[is_number].drop_duplicates()):
            return (
                "its values are unique whole numbers, like identifiers (use --keep to "
                "train on it)"
            )
    return ""


def describe_styles(styles: dict[str, list[str]]) -> list[str]:
    """Describe unusual notations of numbers and their columns."""
    return [f"read with {style}: {listed(names)}" for style, names in styles.items()]


def check_size(values: NDArray[np.float64], cells: pd.Series, path: str) -> None:
    """Raise an InputError if a number is too large for the network."""
    too_large = np.abs(values) > _LARGEST
    if too_large.any():
        row = too_large.argmax()
        raise InputError(
            f"{path}: column {cells.name!r}, row {row + 1:,}: {cells[row]!r} is not a "
            "finite number that 32-bit floats can hold"
        )


def wrong_words(parsed: Parsed, cells: pd.Series, kind: Kind) -> str:
    """Describe the cells that cannot be parsed as numbers or times."""
    words = cells[parsed.wrong]
    row = parsed.wrong.argmax()
    one = len(words) == 1
    return (
        f"{cells.name!r}: {len(words):,} cell{'' if one else 's'} "
        f"{'is' if one else 'are'} not a {kind} and "
        f"{'counts' if one else 'count'} as missing: {listed(words.unique(), 3)} "
        f"(first in row {row + 1:,})"
    )


def _sample_size(num_columns: int) -> int:
    """Return the number of quantiles of each column in a table."""
    size = MAX_POSITIONS // num_columns
    return min(max(size, MIN_SAMPLE_SIZE), SAMPLE_SIZE)


def _numeric(
    kind: Kind, parsed: Parsed, cells: pd.Series, choice: Choice, sample_size: int
) -> Column:
    if parsed.wrong.any():
        choice.remarks.append(wrong_words(parsed, cells, kind))
    present = np.sort(parsed.values[~np.isnan(parsed.values)])
    places = np.linspace(0, len(present) - 1, min(sample_size, len(present)))
    return Column(
        name=str(cells.name),
        kind=kind,
        missing=float(np.isnan(parsed.values).mean()),
        words=sorted(cells[parsed.wrong].unique()),
        style=parsed.style,
        sample=present[places.round().astype(int)].tolist(),
    )


def _text(cells: pd.Series, choice: Choice, numbers: Parsed) -> Column:
    name, missing = str(cells.name), is_missing(cells)
    right = ~np.isnan(numbers.values)
    if right.sum() > numbers.wrong.sum():
        choice.remarks.append(
            f"{name!r}: used as text, because {numbers.wrong.sum():,} of its values "
            f"are not numbers, such as {cells[numbers.wrong].iloc[0]!r}"
        )
    if words := missing_words(cells):
        number = int(missing.sum())
        plural = "" if number == 1 else "s"
        choice.remarks.append(f"{name!r}: {number:,} missing cell{plural}{words}")
    spellings = Spellings.learn(cells[~missing])
    choice.remarks += [
        f"{name!r}: {remark}" for remark in spellings.merged() + spellings.apart()
    ]
    values, counts = np.unique(spellings.read(cells[~missing]), return_counts=True)
    return Column(
        name=name,
        kind="text",
        missing=float(missing.mean()),
        counts=dict(zip(values.tolist(), counts.tolist(), strict=True)),
        spellings=spellings.values,
    )
