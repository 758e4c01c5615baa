"""Cells that are spelled differently and mean the same, such as "Yes" and "yes"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: A spelling that is at most this often as frequent as another one of the same word is
#: taken for a slip; two frequent ones are kept apart.
RARE = 0.1
#: Truth values, as `meaning` returns them.
TRUTH = frozenset(("true", "false"))

#: Without leading zeros, which codes have.
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


def meaning(text: str) -> Decimal | str:
    """Return the number that a cell holds, or its text regardless of case.

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
        The value that each spelling stands for. The most frequent spellings come
        first.
    """

    values: dict[str, str]

    @classmethod
    def learn(cls, cells: pd.Series) -> Spellings:
        """Find the value of each spelling: the most frequent one of its meaning.

        Numbers and truth values of one meaning are always the same value. Other words
        are if all but one spelling is rare.
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
        """Return the values of cells as objects; unknown texts stay as they are."""
        known = dict(self.values)
        by_meaning: dict[Decimal | str, str] = {}
        for text, value in self.values.items():
            by_meaning.setdefault(meaning(text), value)
        for text in set(cells) - set(known):
            known[text] = by_meaning.get(meaning(text), text)
        return np.array([known[text] for text in cells], dtype=object)

    @property
    def distinct(self) -> list[str]:
        """The values, the most frequent first."""
        return list(dict.fromkeys(self.values.values()))

    def merged(self) -> list[str]:
        """Describe spellings that are read as another one; numbers are obvious."""
        return [
            f"{text!r} is read as {value!r}"
            for text, value in self.values.items()
            if text != value and not isinstance(meaning(text), Decimal)
        ]

    def apart(self) -> list[str]:
        """Describe frequent values that differ in case or blanks only."""
        groups: dict[Decimal | str, list[str]] = {}
        for value in self.distinct:
            groups.setdefault(meaning(value), []).append(value)
        return [
            " and ".join(map(repr, group)) + " are kept apart"
            for group in groups.values()
            if len(group) > 1
        ]
