"""Description of the training table in a model file, validated when it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import numpy as np

from .columns import SAMPLE_SIZE, Column, Kind
from .numbers import FORMATS, NOTATIONS
from .spelling import Spellings

#: Version of the format. It increases with each incompatible change of `Description`.
FORMAT = 1
#: Maximum number of rows, or of cells with a value, in a description.
_MOST_ROWS = 2**53
_LARGEST = float(np.finfo(np.float32).max)


class DescriptionError(ValueError):
    """Raised if a text is not a valid description of a table."""


@dataclass
class Description:
    """Properties of a training table that are required to score other tables.

    Parameters
    ----------
    columns : list of Column
        Columns that the model uses.
    target : str
        Column of the class.
    labels : Spellings
        Spellings of the classes.
    source : str
        Name of the training table.
    num_rows, num_distinct : int
        Number of rows and number of unique rows of the training table.
    """

    columns: list[Column]
    target: str
    labels: Spellings
    source: str
    num_rows: int
    num_distinct: int


def to_text(description: Description) -> str:
    """Convert a description to JSON.

    Numbers take only a few bytes as text, and do not count towards the maximum number
    of objects in a model file.
    """
    source = os.path.basename(description.source)
    source = "".join(c if c.isprintable() else "?" for c in source)
    names = [field.name for field in fields(Description)]
    entries = {name: getattr(description, name) for name in names} | {
        "columns": [asdict(column) for column in description.columns],
        "labels": description.labels.values,
        "source": source,
    }
    return json.dumps({"format": FORMAT} | entries)


def from_text(text: str) -> Description:
    """Parse and validate a description.

    Parameters
    ----------
    text : str

    Returns
    -------
    Description

    Raises
    ------
    DescriptionError
        If the text is not a description that `to_text` may have returned. The message
        is a clause of one line.
    """
    try:
        entries = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        raise DescriptionError("it is not JSON") from None
    if not isinstance(entries, dict) or "format" not in entries:
        raise DescriptionError("it has no format")
    if entries.pop("format") != FORMAT:
        raise DescriptionError("it was written by another version of sksngp")
    if entries.keys() != {field.name for field in fields(Description)}:
        raise DescriptionError("it lacks entries or has others")
    wrong = [name for name, is_right in _checks(entries) if not is_right]
    if wrong:
        raise DescriptionError(f"its {wrong[0]} is wrong")
    return Description(
        **entries
        | {
            "columns": _read_columns(entries["columns"]),
            "labels": Spellings(entries["labels"]),
        }
    )


def _checks(entries: dict[str, Any]) -> Sequence[tuple[str, bool]]:
    """Return the names of the entries of a description, and whether each is valid."""
    labels, source = entries["labels"], entries["source"]
    return (
        ("columns", isinstance(entries["columns"], list) and bool(entries["columns"])),
        ("target", isinstance(entries["target"], str)),
        ("labels", _is_dict_of(labels, str) and bool(labels)),
        ("source", isinstance(source, str) and source.isprintable()),
        ("num_rows", _is_count(entries["num_rows"])),
        ("num_distinct", _is_count(entries["num_distinct"])),
    )


def _read_columns(entries: list[Any]) -> list[Column]:
    try:
        columns = [Column(**entry) for entry in entries]
    except TypeError:
        raise DescriptionError("a column lacks entries or has others") from None
    for number, column in enumerate(columns):
        wrong = [name for name, is_right in _checks_of_column(column) if not is_right]
        if wrong:
            raise DescriptionError(f"the {wrong[0]} of column {number + 1} is wrong")
    if len({column.name for column in columns}) < len(columns):
        raise DescriptionError("two columns have the same name")
    return columns


def _checks_of_column(column: Column) -> Sequence[tuple[str, bool]]:
    """Return the names of the entries of a column, and whether each is valid."""
    is_time, is_text = column.kind == "time", column.kind == "text"
    sample, counts = column.sample, column.counts
    are_counts = isinstance(counts, dict) and all(map(_is_count, counts.values()))
    are_numbers = isinstance(sample, list) and all(map(_is_number, sample))
    return (
        ("name", isinstance(column.name, str) and bool(column.name)),
        ("kind", column.kind in get_args(Kind)),
        ("missing", _is_number(column.missing) and 0 <= column.missing <= 1),
        ("words", isinstance(column.words, list) and _are_all(column.words, str)),
        ("style", column.style in (FORMATS if is_time else NOTATIONS)),
        ("sample", are_numbers and len(sample) <= (0 if is_text else SAMPLE_SIZE)),
        ("sample", are_numbers and sample == sorted(sample)),
        ("counts", are_counts and (sum(counts.values()) > 0) == is_text),
        ("spellings", _is_dict_of(column.spellings, str)),
    )


def _is_dict_of(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and _are_all(value.values(), kind)


def _are_all(values: Any, kind: type) -> bool:
    return all(type(value) is kind for value in values)


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number that 32-bit floats can hold."""
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_ROWS


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
