"""Reading and writing of CSV files.

All cells are read as text, so that scored tables are written with unchanged text.
"""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .._runtime import files

if TYPE_CHECKING:
    import pandas as pd

#: Text of missing cells after stripping whitespace.
MISSING = frozenset(
    ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
)

#: Supported column separators in order of preference.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

#: First bytes of gzip files.
GZIP = b"\x1f\x8b"


class InputError(Exception):
    """Raised if a file or an option is invalid. The message has one line."""


@dataclass(frozen=True)
class Table:
    """Content of a CSV file.

    Parameters
    ----------
    path : str
        Path of the file, for messages.
    cells : DataFrame of str
        Cells without blanks around them.
    separator : str
        One of `SEPARATORS`.
    """

    path: str
    cells: pd.DataFrame
    separator: str = ","

    def __len__(self) -> int:
        return len(self.cells)


def read_table(path: str) -> Table:
    """Read the cells of a UTF-8 file with a header as text.

    The separator is the one that splits the header into the largest number of columns.
    Blank lines are skipped, except in a table of one column, where they are missing
    cells.

    Parameters
    ----------
    path : str
        Local file. URLs are not supported.

    Returns
    -------
    Table
        Content of the file.

    Raises
    ------
    InputError
        If the file does not exist, cannot be read as a table, has no rows below the
        header or has two columns of the same name.
    """
    import pandas as pd

    text = _read_text(path)
    separator, num_columns = _find_separator(text)
    try:
        cells = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,  # otherwise pandas renames repeated names
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=num_columns > 1,
        )
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: the file is empty") from error
    except pd.errors.ParserError as error:
        reason = " ".join(str(error).split()).rpartition("error: ")[2]
        raise InputError(
            f"{path}: not a CSV table separated by {SEPARATORS[separator]} ({reason})"
        ) from error
    return Table(path, _with_header(cells, path), separator)


def _read_text(path: str) -> str:
    """Read a file at once, because a pipe can be read only once."""
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise InputError(f"{path}: no such file")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if content.startswith(GZIP):
        raise InputError(f"{path}: the file is compressed; decompress it first")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text ({error.reason} "
            f"0x{error.object[error.start]:02x}). Save the file with the encoding "
            'UTF-8, which spreadsheet programs call "CSV UTF-8".'
        ) from error
    return text.strip("\r\n")


def _find_separator(text: str) -> tuple[str, int]:
    """Return the separator that splits the first line into most fields, and these."""

    def num_fields(separator: str) -> int:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            return len(next(lines, []))
        except csv.Error:
            return 0

    best = max(SEPARATORS, key=num_fields)
    return best, num_fields(best)


def _with_header(cells: pd.DataFrame, path: str) -> pd.DataFrame:
    """Convert the first row to column names."""
    # The last columns of short lines are missing.
    cells = cells.fillna("").apply(lambda column: column.str.strip())
    names = cells.iloc[0]
    repeated = names[names.duplicated()]
    if not repeated.empty:
        raise InputError(f"{path}: two columns are named {repeated.iloc[0]!r}")
    if len(cells) < 2:
        raise InputError(f"{path}: no rows below the header")
    return cells.iloc[1:].reset_index(drop=True).set_axis(list(names), axis=1)


def check_names(table: Table, names: Sequence[str]) -> None:
    """Raise an InputError if a table lacks one of the columns named by an option."""
    for name in names:
        if name not in table.cells.columns:
            raise InputError(f"{table.path}: no column {name!r}{_suggest(name, table)}")


def _suggest(name: str, table: Table) -> str:
    """Return the end of a message on an absent column: a suggestion and all names."""
    near = difflib.get_close_matches(name, table.cells.columns)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if table.cells.shape[1] == 1:
        hint += "; the file seems to have a single column"
    return f"{hint}; the columns are {listed(table.cells.columns)}"


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Return at most `limit` quoted names, separated by commas."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def check_writable(path: str, inputs: Sequence[str | None] = ()) -> None:
    """Check that an output file can be written before any computation.

    Parameters
    ----------
    path : str
        File to write.
    inputs : sequence of str or None, default=()
        Files that must not be overwritten. Entries that are None are ignored.

    Raises
    ------
    InputError
        If the file cannot be written, or is one of `inputs`.
    """
    target = Path(os.path.realpath(path))
    for source in inputs:
        if source is not None and target == Path(os.path.realpath(source)):
            raise InputError(f"{path}: the output would overwrite an input")
    if not os.path.isdir(target.parent):
        raise InputError(f"{path}: there is no folder '{target.parent}'")
    if os.path.exists(target) and not (
        os.path.isfile(target) and os.access(target, os.W_OK)
    ):
        raise InputError(f"{path}: not a file that can be written")
    _, scratch = files.scratch_beside(target)
    try:
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def write_atomically(path: str, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file atomically, and convert errors to InputError.

    Parameters
    ----------
    path : str
        File to write.
    write : callable
        Function that is called with a binary stream and writes the content.

    Raises
    ------
    InputError
        If the file cannot be written. An existing file remains unchanged.
    """
    try:
        files.write_atomically(path, write)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
