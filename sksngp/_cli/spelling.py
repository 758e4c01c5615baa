"""Different spellings of the same value, such as "Yes" and "yes"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Maximum relative frequency of a spelling that is replaced by another spelling of the
#: same word. More frequent spellings are considered different values.
RARE = 0.1
#: Truth values as returned by `meaning`.
TRUTH = frozenset(("true", "false"))

#: Pattern of numbers without leading zeros, which occur in codes.
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


def meaning(text: str) -> Decimal | str:
    """Return the number in a cell, or its text in a case-insensitive form.

    Examples
    --------
    >>> meaning("1.0") == meaning("1"), meaning("TRUE") == meaning("True")
    (True, True)
    >>> meaning("007") == meaning("7")
    False
    """
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class Spellings:
    """Spellings of the values of a training column.

    Parameters
    ----------
    values : dict of str to str
        Value of each spelling, in order of decreasing frequency of the spellings.
    """

    values: dict[str, str]

    @classmethod
    def learn(cls, cells: pd.Series) -> Spellings:
        """Determine the value of each spelling.

        The value is the most frequent spelling with the same meaning. For words other
        than truth values, only rare spellings are replaced.
        """
        counts = cells.value_counts()
        first: dict[Decimal | str, str] = {}
        values = {}
        for text, count in counts.items():
            same = first.setdefault(meaning(text), text)
            exact = isinstance(meaning(text), Decimal) or meaning(text) in TRUTH
            merged = exact or count <= RARE * counts[same]
            values[text] = same if merged else text
        return cls(values)

    def read(self, cells: Iterable[str]) -> np.ndarray:
        """Return the values of cells as objects. Unknown text is not changed."""
        known = dict(self.values)
        by_meaning: dict[Decimal | str, str] = {}
        for text, value in self.values.items():
            by_meaning.setdefault(meaning(text), value)
        for text in set(cells) - set(known):
            known[text] = by_meaning.get(meaning(text), text)
        return np.array([known[text] for text in cells], dtype=object)

    @property
    def distinct(self) -> list[str]:
        """Unique values in order of decreasing frequency."""
        return list(dict.fromkeys(self.values.values()))

    def merged(self) -> list[str]:
        """Describe spellings that are replaced by others, except for numbers."""
        return [
            f"{text!r} is read as {value!r}"
            for text, value in self.values.items()
            if text != value and not isinstance(meaning(text), Decimal)
        ]

    def apart(self) -> list[str]:
        """Describe frequent values that differ only in case or whitespace."""
        groups: dict[Decimal | str, list[str]] = {}
        for value in self.distinct:
            groups.setdefault(meaning(value), []).append(value)
        return [
            " and ".join(map(repr, group)) + " are kept apart"
            for group in groups.values()
            if len(group) > 1
        ]
