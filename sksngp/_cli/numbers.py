"""Parsing of numbers and times in text cells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .tables import MISSING, listed

if TYPE_CHECKING:
    import pandas as pd

#: Maximum fraction of the values of a column that are not numbers or times. A single
#: such value is always allowed.
TOLERANCE = 0.1

#: Notations of numbers with commas.
DECIMAL_COMMAS = "decimal commas"
THOUSANDS = "commas between thousands"
NOTATIONS = ("", DECIMAL_COMMAS, THOUSANDS)
#: Number of values on which formats of times are tried first.
_SAMPLE = 100
_DATES = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
#: Formats of times in order of preference. The format "clock" is a time of day.
FORMATS = ("ISO8601", "clock", *(d + c for d in _DATES for c in _CLOCKS))

_CLOCK = r"\d{1,2}:[0-5]\d(:[0-5]\d(\.\d+)?)?"
_ENGLISH_THOUSANDS = r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"
_DOTTED_THOUSANDS = r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?"
_DECIMAL_COMMA = re.compile(rf"{_DOTTED_THOUSANDS}|[+-]?\d*,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Parsed:
    """Numbers that were parsed from a text column.

    Parameters
    ----------
    values : float64 ndarray of shape (n,)
        Numbers. Cells that are missing or cannot be parsed are NaN.
    wrong : bool ndarray of shape (n,)
        True for cells that cannot be parsed.
    style : str, default=""
        Description of an unusual notation, or the format of times.
    """

    values: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    style: str = ""

    def tolerable(self) -> bool:
        """Return whether the number of cells that cannot be parsed is acceptable."""
        num_wrong, num_right = self.wrong.sum(), (~np.isnan(self.values)).sum()
        return num_right > num_wrong and (
            num_wrong <= max(1, TOLERANCE * (num_wrong + num_right))
        )


def is_missing(cells: pd.Series) -> NDArray[np.bool_]:
    """Return a mask of missing cells."""
    return cells.isin(MISSING).to_numpy()


def missing_words(cells: pd.Series) -> str:
    """Describe the words that count as missing, or return an empty string."""
    words = sorted(set(cells[is_missing(cells)]) - {""})
    if not words:
        return ""
    return f" ({listed(words)} {'counts' if len(words) == 1 else 'count'} as missing)"


def parse_numbers(cells: pd.Series, separator: str = ",", notation: str = "") -> Parsed:
    """Parse a column of numbers.

    Parameters
    ----------
    cells : Series of str
        Cells to parse.
    separator : str, default=","
        Column separator of the file.
    notation : str, default=""
        Notation of numbers with commas in this column of the training table:
        `DECIMAL_COMMAS`, `THOUSANDS`, or "" if it is not known.

    Returns
    -------
    Parsed
        Numbers and a mask of the cells that cannot be parsed.
    """
    parsed = _to_numbers(cells)
    comma = cells.str.fullmatch(_DECIMAL_COMMA)
    english = cells.str.fullmatch(_ENGLISH_THOUSANDS)
    with_comma = cells[parsed.wrong & cells.str.contains(",") & (comma | english)]
    dotted = cells.str.fullmatch(_DOTTED_THOUSANDS)
    if with_comma.empty:
        european = notation == DECIMAL_COMMAS and separator != ","
        with_point = cells.str.contains(".", regex=False)
        if not (european and dotted.any() and (dotted | ~with_point).all()):
            return parsed
    notation = notation or _notation(with_comma, cells[~parsed.wrong], separator)
    if notation == THOUSANDS:
        plain = cells.where(~english, cells.str.replace(",", ""))
        return _to_numbers(plain, THOUSANDS)
    plain = cells.where(~dotted, cells.str.replace(".", "", regex=False))
    plain = plain.where(~comma, plain.str.replace(",", ".", regex=False))
    return _to_numbers(plain, DECIMAL_COMMAS)


def _notation(with_comma: pd.Series, others: pd.Series, separator: str) -> str:
    """Decide between decimal commas and commas between thousands.

    Commas separate thousands only if each is followed by three digits. In files whose
    columns are separated by commas, this is the notation unless too many cells
    contradict it: a decimal comma would be unusual there. In other files, the commas
    are decimal commas unless most cells contradict this, or other numbers do: decimal
    points, or whole numbers together with cells such as "12,500". As a decimal number,
    the latter would be written as "12,5", or the whole numbers with three zeros.
    """
    thousands = with_comma.str.fullmatch(_ENGLISH_THOUSANDS)
    decimals = with_comma.str.fullmatch(_DECIMAL_COMMA)
    only_thousands = int((thousands & ~decimals).sum())
    only_decimals = int((decimals & ~thousands).sum())
    some = TOLERANCE * len(with_comma)
    if separator == ",":
        return DECIMAL_COMMAS if only_decimals > some else THOUSANDS
    if only_thousands or only_decimals:
        return THOUSANDS if only_thousands > only_decimals else DECIMAL_COMMAS
    points = others.str.fullmatch(r"[+-]?\d*\.\d+").sum()
    short = others.str.fullmatch(r"[+-]?\d{1,3}").any()
    long = others.str.fullmatch(r"[+-]?\d{4,}").sum()
    mixed = short and long <= some and with_comma.str.endswith("0").any()
    return THOUSANDS if points > some or mixed else DECIMAL_COMMAS


def _to_numbers(cells: pd.Series, style: str = "") -> Parsed:
    import pandas as pd

    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    return Parsed(values, np.isnan(values) & ~is_missing(cells), style)


def parse_times(cells: pd.Series, preferred: str = "") -> Parsed | None:
    """Parse a column of dates or times.

    Dates are converted to days since 1970, and times of day to hours.

    Parameters
    ----------
    cells : Series of str
        Cells to parse.
    preferred : str, default=""
        Format of the column in the training table, which is tried first. Times of day
        are then not parsed as dates or vice versa, and days and months are not
        exchanged.

    Returns
    -------
    Parsed or None
        Parsed times, or None if no format matches.
    """
    missing = is_missing(cells)
    sample = cells[~missing][:_SAMPLE]
    # Times contain digits. This check avoids trying all formats on most text columns.
    if sample.empty or sample.str.contains(r"\d").mean() <= 0.5:
        return None
    for name in dict.fromkeys((preferred, *FORMATS)):
        if preferred and not _agree(name, preferred):
            continue
        if name and to_times(sample, name).tolerable():
            parsed = to_times(cells, name)
            if parsed.tolerable():
                return parsed
    return None


def _agree(first: str, second: str) -> bool:
    """Return whether two formats do not contradict each other."""
    if (first == "clock") != (second == "clock"):
        return False
    day_first = {
        name.startswith("%d")
        for name in (first, second)
        if "%m" in name and not name.startswith("%Y")
    }
    return len(day_first) < 2


def to_times(cells: pd.Series, name: str) -> Parsed:
    """Parse a column of dates or times of a format; see `FORMATS`."""
    import pandas as pd

    if name == "clock":
        valid = cells.where(cells.str.fullmatch(_CLOCK), "")
        short = valid.str.count(":") == 1
        spans = pd.to_timedelta(valid.where(~short, valid + ":00"), errors="coerce")
        values = (spans / pd.Timedelta(hours=1)).to_numpy(np.float64)
    else:
        # Times without a time zone are interpreted as UTC.
        times = pd.to_datetime(cells, format=name, errors="coerce", utc=True)
        since = times - pd.Timestamp(0, tz="UTC")
        values = (since / pd.Timedelta(days=1)).to_numpy(np.float64)
    return Parsed(values, np.isnan(values) & ~is_missing(cells), name)


def is_ambiguous(cells: pd.Series, name: str) -> bool:
    """Return whether days and months of a format could be exchanged."""
    if not name.startswith(("%d/%m", "%m/%d", "%d-%m", "%m-%d")):
        return False
    other = {"%d": "%m", "%m": "%d"}
    swapped = other[name[:2]] + name[2] + other[name[3:5]] + name[5:]
    return not to_times(cells, swapped).wrong.any()
