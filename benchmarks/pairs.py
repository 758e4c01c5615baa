"""Real data sets as pairs of known and unknown rows.

`report` is what `benchmarks.real_data` reports on, and with `corrupted` and `packaged`
what `benchmarks.quality` does; `tuning` is what `benchmarks.defaults` chooses defaults
by. They hold out different classes or damage rows differently (but for the shuffled
columns of breast cancer, which are in both), and where they share a data set they split
it with different seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from benchmarks.packaged_data import load_news, load_satimage
from sksngp.datasets import (
    InOut,
    hold_out_classes,
    load_fashion_mnist,
    shuffle_columns,
)

#: Added to seeds in tuning.
TUNING_SEEDS = 1000


def wine(unknown: int, seed: int) -> InOut:
    """Wine cultivars, one held out."""
    X, y = load_wine(return_X_y=True)
    return hold_out_classes(X, y, [unknown], random_state=seed)


def digits(unknown: tuple[int, int], seed: int) -> InOut:
    """scikit-learn's digits, two held out."""
    X, y = load_digits(return_X_y=True)
    return hold_out_classes(X, y, list(unknown), random_state=seed)


def damaged(load: Callable, damage: Callable, seed: int) -> InOut:
    """A data set; the unknown rows are its test rows after ``damage(X, seed)``."""
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    return InOut(
        X_train=X_train,
        X_test=X_test,
        y_train=y_train,
        y_test=y_test,
        X_ood=damage(X_test, seed),
    )


def breast_cancer(seed: int) -> InOut:
    """Breast cancer; the unknown rows are test rows with each column shuffled."""
    return damaged(
        load_breast_cancer, lambda X, seed: shuffle_columns(X, random_state=seed), seed
    )


def wrong_unit(X: np.ndarray, seed: int) -> np.ndarray:
    """Rows with one column, the same in all, ten times too large."""
    X = X.copy()
    X[:, np.random.default_rng(seed).integers(X.shape[1])] *= 10
    return X


def dead_sensors(X: np.ndarray, seed: int) -> np.ndarray:
    """Rows with a tenth of the columns, the same in all, filled with zero.

    Of columns that are mostly not zero: the others would not show it.
    """
    X = X.copy()
    alive = np.flatnonzero((X != 0).mean(axis=0) > 0.5)
    dead = np.random.default_rng(seed).permutation(alive)
    X[:, dead[: -(-len(alive) // 10)]] = 0
    return X


def fashion_mnist(unknown: tuple[int, ...], seed: int, n_train: int) -> InOut:
    """Fashion-MNIST with classes held out; `n_train` of all training rows."""
    data = load_fashion_mnist()
    chosen = np.random.default_rng(seed).permutation(len(data.X_train))[:n_train]
    X, y = data.X_train[chosen], data.y_train[chosen]
    train, test = ~np.isin(y, unknown), ~np.isin(data.y_test, unknown)
    return InOut(
        X_train=X[train],
        y_train=y[train],
        X_test=data.X_test[test],
        y_test=data.y_test[test],
        X_ood=data.X_test[~test],
    )


def enlarged_digits() -> np.ndarray:
    """scikit-learn's digits as images of the size and type of Fashion-MNIST's, flat."""
    images = load_digits().images * (255 / 16)
    enlarged = zoom(images, (1, 3.5, 3.5), order=1)
    return enlarged.reshape(len(images), -1).astype(np.uint8)


def fashion_against_digits(seed: int, n_train: int) -> InOut:
    """Fashion-MNIST; the unknown rows are scikit-learn's digits, of the same size."""
    data = load_fashion_mnist()
    chosen = np.random.default_rng(seed).permutation(len(data.X_train))[:n_train]
    return InOut(
        X_train=data.X_train[chosen],
        y_train=data.y_train[chosen],
        X_test=data.X_test,
        y_test=data.y_test,
        X_ood=enlarged_digits(),
    )


def satimage(unknown: tuple[str, ...], seed: int) -> InOut:
    """Land cover from a satellite, some kinds held out."""
    X, y = load_satimage()
    return hold_out_classes(X, y, list(unknown), random_state=seed)


def news(unknown: str, seed: int) -> InOut:
    """BBC news, one topic held out: 100 directions of the words' tf-idf."""
    texts, topics = load_news()
    data = hold_out_classes(texts[:, None], topics, [unknown], random_state=seed)
    vectors = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2, stop_words="english"),
        TruncatedSVD(100, random_state=seed),
    ).fit(data.X_train[:, 0])
    for part in ("X_train", "X_test", "X_ood"):
        data[part] = vectors.transform(data[part][:, 0])
    return data


def report(fashion_rows: int) -> dict[str, Callable[[int], InOut]]:
    """Pairs to report on, by name: functions of the seed."""
    return {
        "wine 2": lambda seed: wine(2, seed),
        "digits 4, 7": lambda seed: digits((4, 7), seed),
        "digits 8, 9": lambda seed: digits((8, 9), seed),
        "digits 0, 1": lambda seed: digits((0, 1), seed),
        "fashion 8, 9": lambda seed: fashion_mnist((8, 9), seed, fashion_rows),
        "breast cancer": breast_cancer,
    }


def corrupted(fashion_rows: int) -> dict[str, Callable[[int], InOut]]:
    """More pairs to report on: other data, and rows that went wrong on their way."""
    return {
        "fashion, digits": lambda seed: fashion_against_digits(seed, fashion_rows),
        "wine, wrong unit": lambda seed: damaged(load_wine, wrong_unit, seed),
        "cancer, dead sensors": lambda seed: damaged(
            load_breast_cancer, dead_sensors, seed
        ),
        "digits, dead sensors": lambda seed: damaged(load_digits, dead_sensors, seed),
    }


def packaged() -> dict[str, Callable[[int], InOut]]:
    """Pairs to report on, of data that `benchmarks.packaged_data` finds."""
    return {
        "satimage 5": lambda seed: satimage(("5",), seed),
        "news, politics": lambda seed: news("politics", seed),
        "news, sports": lambda seed: news("sports", seed),
    }


def tuning(fashion_rows: int) -> dict[str, Callable[[int], InOut]]:
    """Pairs to choose defaults by, by name: functions of the seed."""
    pairs = {
        "wine 0": lambda seed: wine(0, seed),
        "digits 2, 3": lambda seed: digits((2, 3), seed),
        "digits 5, 6": lambda seed: digits((5, 6), seed),
        "fashion 1, 3": lambda seed: fashion_mnist((1, 3), seed, fashion_rows),
        "breast cancer": breast_cancer,
        "cancer, wrong unit": lambda seed: damaged(
            load_breast_cancer, wrong_unit, seed
        ),
        "wine, dead sensors": lambda seed: damaged(load_wine, dead_sensors, seed),
        "digits, wrong unit": lambda seed: damaged(load_digits, wrong_unit, seed),
        "satimage 4": lambda seed: satimage(("4",), seed),
        "satimage 7": lambda seed: satimage(("7",), seed),
        "news, tech": lambda seed: news("tech", seed),
        "news, entertainment": lambda seed: news("entertainment", seed),
    }
    return {
        name: lambda seed, pair=pair: pair(TUNING_SEEDS + seed)
        for name, pair in pairs.items()
    }
