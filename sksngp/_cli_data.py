"""Tables for the command line: from a user's CSV to a pipeline and back.

Every cell is read as text. What a column holds is decided once, on the training
table; a scored table is written back with the very text it came with.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from . import _files

if TYPE_CHECKING:
    import pandas as pd

#: Cells that count as missing, after blanks around them are stripped.
MISSING = frozenset(
    ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
)

#: The columns that scoring adds.
RESULTS = ("prediction", "probability", "ood_score", "out_of_distribution")

#: Categories of a text column that get an indicator of their own, most frequent
#: first; the others share one. Keeps the width of the encoded table bounded.
MAX_CATEGORIES = 100

#: Fewest rows of a class for it to take part in the cross-check: with a quarter
#: of the rows held out, each class then has some on both sides.
MIN_ROWS = 4

_LARGEST = float(np.finfo(np.float32).max)


class InputError(Exception):
    """What is wrong with a file or an option, in one line for the user."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a training table are used for.

    Parameters
    ----------
    target : str
    numeric, text : tuple of str
        Columns to train on.
    left_out : dict of str to str
        The other columns, with the reason why each is not used.
    """

    target: str
    numeric: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def read_table(path: str) -> pd.DataFrame:
    """Read a comma-separated UTF-8 file with a header, every cell as text.

    Parameters
    ----------
    path : str
        A local file; addresses are not fetched.

    Returns
    -------
    DataFrame of str

    Raises
    ------
    InputError
        If there is no such file, it cannot be read as such a table, has no rows
        or names a column twice.
    """
    import pandas as pd

    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise InputError(f"{path}: no such file")
    try:
        table = pd.read_csv(
            path,
            header=None,  # else pandas renames repeated names
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
            compression=None,
        )
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text ({error.reason} 0x{error.object[error.start]:02x})"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: the file is empty") from error
    except pd.errors.ParserError as error:
        reason = " ".join(str(error).split()).rpartition("error: ")[2]
        raise InputError(f"{path}: not a CSV table ({reason})") from error
    names = table.iloc[0].str.strip()
    repeated = names[names.duplicated()]
    if not repeated.empty:
        raise InputError(f"{path}: two columns are named {repeated.iloc[0]!r}")
    if len(table) < 2:
        raise InputError(f"{path}: no rows below the header")
    return table.iloc[1:].reset_index(drop=True).set_axis(list(names), axis=1)


def read_labels(table: pd.DataFrame, target: str, path: str) -> np.ndarray:
    """Class labels of a training table.

    Parameters
    ----------
    table : DataFrame of str
    target : str
        The column that holds them.
    path : str
        Where the table comes from, for messages.

    Returns
    -------
    ndarray of str, shape (n,)

    Raises
    ------
    InputError
        If the column is absent, lacks a value, or does not hold classes.
    """
    if target not in table.columns:
        raise InputError(f"{path}: no column {target!r}{_suggest(target, table)}")
    missing = _is_missing(table[target])
    if missing.any():
        raise InputError(
            f"{path}: {missing.sum():,} of {len(table):,} rows lack a value in the "
            f"target column {target!r}, first row {missing.argmax() + 1:,}"
        )
    labels = np.asarray(table[target].str.strip(), dtype=str)
    num_classes = len(np.unique(labels))
    if num_classes == 1:
        raise InputError(
            f"{path}: the target column {target!r} holds one class only, '{labels[0]}'"
        )
    if num_classes > len(labels) / 2:
        raise InputError(
            f"{path}: the target column {target!r} holds {num_classes:,} different "
            f"values in {len(labels):,} rows; classes need two rows each or more"
        )
    return labels


def _suggest(name: str, table: pd.DataFrame) -> str:
    """End a message on an absent column: near names, and all names."""
    near = difflib.get_close_matches(name, table.columns)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if table.shape[1] == 1 and any(mark in table.columns[0] for mark in ";\t|"):
        hint += "; its values seem not to be separated by commas"
    return f"{hint}; the columns are {listed(table.columns)}"


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Quoted names, separated by commas; at most `limit` of them."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def _is_missing(column: pd.Series) -> NDArray[np.bool_]:
    return column.str.strip().isin(MISSING).to_numpy()


def _parse(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers of a text column (NaN: no number in it), and where text is not one."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    return numbers, np.isnan(numbers) & ~_is_missing(column)


def choose_columns(table: pd.DataFrame, target: str, path: str) -> Columns:
    """Decide which columns of a training table to use, and as what.

    A column is numeric if every value in it is a number. Other columns are text
    (booleans too), unless most of their values are different ones, as names and
    identifiers are: nothing can be learned from those.

    Parameters
    ----------
    table : DataFrame of str
    target : str
    path : str
        Where the table comes from, for messages.

    Returns
    -------
    Columns

    Raises
    ------
    InputError
        If no column is left to train on.
    """
    numeric, text, left_out = [], [], {}
    for name in table.columns.drop(target):
        present = table[name][~_is_missing(table[name])].str.strip()
        not_number = _parse(table[name])[1]
        if not name:
            left_out[name] = "it has no name"
        elif present.empty:
            left_out[name] = "it has no values"
        elif not not_number.any():
            numeric.append(name)
        elif present.nunique() > len(present) / 2:
            row = not_number.argmax()
            left_out[name] = (
                "most of its values differ and not all are numbers: "
                f"{table[name][row]!r} in row {row + 1:,}"
            )
        else:
            text.append(name)
    if not numeric and not text:
        reasons = [f"{name!r}: {reason}" for name, reason in left_out.items()]
        raise InputError(
            f"{path}: no column to train on besides the target {target!r}"
            + "".join(f"; {reason}" for reason in reasons)
        )
    return Columns(target, tuple(numeric), tuple(text), left_out)


def read_features(table: pd.DataFrame, columns: Columns, path: str) -> pd.DataFrame:
    """Turn the columns that a classifier uses into numbers and text.

    Parameters
    ----------
    table : DataFrame of str
        May hold other columns, and in any order.
    columns : Columns
    path : str
        Where the table comes from, for messages.

    Returns
    -------
    DataFrame
        Numeric columns as float64, text columns as objects; NaN where a value is
        missing.

    Raises
    ------
    InputError
        If columns are absent, or a numeric one holds something else.
    """
    import pandas as pd

    used = columns.numeric + columns.text
    absent = [name for name in used if name not in table.columns]
    if absent:
        plural = "s" if len(absent) > 1 else ""
        raise InputError(
            f"{path}: lacks the column{plural} {listed(absent)} of the training data"
        )
    features = {name: _read_numbers(table[name], path) for name in columns.numeric}
    for name in columns.text:
        stripped = table[name].str.strip().astype(object)
        features[name] = stripped.mask(_is_missing(table[name]), np.nan)
    return pd.DataFrame(features)


def _read_numbers(column: pd.Series, path: str) -> NDArray[np.float64]:
    numbers, not_number = _parse(column)
    too_large = np.abs(numbers) > _LARGEST
    for wrong, complaint in (
        (not_number, "not a number, as all its values in the training data are"),
        (too_large, "not a finite number that 32-bit floats can hold"),
    ):
        if wrong.any():
            row = wrong.argmax()
            raise InputError(
                f"{path}: column {column.name!r}, row {row + 1:,}: "
                f"{column[row]!r} is {complaint}"
            )
    return numbers


def build_pipeline(columns: Columns, classifier: ClassifierMixin) -> Pipeline:
    """Put a classifier behind imputation and one-hot encoding.

    Parameters
    ----------
    columns : Columns
    classifier : classifier

    Returns
    -------
    Pipeline
        Not fitted; takes what `read_features` returns.
    """
    # A part of the rows may lack every value of a column: it is kept all the same.
    impute_number = SimpleImputer(strategy="median", keep_empty_features=True)
    encode_text = make_pipeline(
        SimpleImputer(
            strategy="constant", fill_value="(missing)", keep_empty_features=True
        ),
        OneHotEncoder(
            # As "ignore" is, but an unseen value of a column that has rare values
            # counts as one more of these.
            handle_unknown="infrequent_if_exist",
            max_categories=MAX_CATEGORIES,
            sparse_output=False,
        ),
    )
    encode = ColumnTransformer(
        [
            ("numeric", impute_number, list(columns.numeric)),
            ("text", encode_text, list(columns.text)),
        ]
    )
    return Pipeline([("encode", encode), ("classify", classifier)])


def check_results_free(table: pd.DataFrame, path: str) -> None:
    """Refuse a table to score that already has one of the columns `RESULTS`.

    Parameters
    ----------
    table : DataFrame
    path : str
        Where the table comes from, for messages.

    Raises
    ------
    InputError
    """
    taken = [name for name in RESULTS if name in table.columns]
    if taken:
        raise InputError(
            f"{path}: already has {listed(taken)}, which scoring adds; rename first"
        )


def split_rows(
    labels: np.ndarray, random_state: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Row numbers to train on and row numbers to hold out, stratified.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    random_state : int

    Returns
    -------
    (ndarray, ndarray) or None
        A quarter is held out; classes of fewer than `MIN_ROWS` rows are trained
        on only. None if there are no others.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    common = counts[inverse] >= MIN_ROWS
    if not common.any():
        return None
    train, held_out = train_test_split(
        np.flatnonzero(common),
        test_size=0.25,
        stratify=labels[common],
        random_state=random_state,
    )
    return np.concatenate([train, np.flatnonzero(~common)]), held_out


def check_writable(path: str, inputs: Sequence[str] = ()) -> None:
    """Refuse an output that could not be written, before anything is computed.

    Parameters
    ----------
    path : str
    inputs : sequence of str, default=()
        Files that must not be overwritten.

    Raises
    ------
    InputError
    """
    target = Path(os.path.realpath(path))
    for source in inputs:
        if target == Path(os.path.realpath(source)):
            raise InputError(f"{path}: the output would overwrite an input")
    if not os.path.isdir(target.parent):
        raise InputError(f"{path}: there is no folder '{target.parent}'")
    if os.path.exists(target) and not (
        os.path.isfile(target) and os.access(target, os.W_OK)
    ):
        raise InputError(f"{path}: not a file that can be written")
    _, scratch = _files.scratch_beside(target)
    try:
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def write_atomically(path: str, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file as a whole or not at all, as `_files.write_atomically` does.

    Parameters
    ----------
    path : str
    write : callable
        Called with a binary stream.

    Raises
    ------
    InputError
        If the file cannot be written; what was there before is kept.
    """
    try:
        _files.write_atomically(path, write)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
