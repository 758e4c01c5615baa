"""Pairs of in-distribution and OOD data, made from real datasets.

`benchmarks.accuracy` reports results on the pairs of `report`, and `benchmarks.quality`
on these and on the pairs of `corrupted` and `packaged`. `benchmarks.defaults` chooses
the default parameters on the pairs of `tuning`. These hold out other classes or corrupt
samples in another way, except for breast cancer with shuffled columns, which is in both
groups. If two pairs use the same dataset, they split it with different seeds.
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

from benchmarks._tools.packaged_datasets import load_news, load_satimage
from sksngp.datasets import (
    InOut,
    hold_out_classes,
    load_fashion_mnist,
    shuffle_columns,
)

#: Offset of the seeds of the tuning pairs.
TUNING_SEEDS = 1000


def wine(unknown: int, seed: int) -> InOut:
    """Hold out one of the wine cultivars."""
    X, y = load_wine(return_X_y=True)
    return hold_out_classes(X, y, [unknown], random_state=seed)


def digits(unknown: tuple[int, int], seed: int) -> InOut:
    """Hold out two classes of scikit-learn's digits."""
    X, y = load_digits(return_X_y=True)
    return hold_out_classes(X, y, list(unknown), random_state=seed)


def damaged(load: Callable, damage: Callable, seed: int) -> InOut:
    """Split a dataset; ``damage(X_test, seed)`` returns the OOD samples."""
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
    """Split breast cancer; the OOD samples are test samples with shuffled columns."""
    return damaged(
        load_breast_cancer, lambda X, seed: shuffle_columns(X, random_state=seed), seed
    )


def wrong_unit(X: np.ndarray, seed: int) -> np.ndarray:
    """Multiply one feature of all samples by ten."""
    X = X.copy()
    X[:, np.random.default_rng(seed).integers(X.shape[1])] *= 10
    return X


def dead_sensors(X: np.ndarray, seed: int) -> np.ndarray:
    """Set a tenth of the features to zero in all samples.

    Only features that are mostly nonzero are used: others would hardly change.
    """
    X = X.copy()
    alive = np.flatnonzero((X != 0).mean(axis=0) > 0.5)
    dead = np.random.default_rng(seed).permutation(alive)
    X[:, dead[: -(-len(alive) // 10)]] = 0
    return X


def fashion_mnist(unknown: tuple[int, ...], seed: int, n_train: int) -> InOut:
    """Hold out classes of Fashion-MNIST, with at most `n_train` training images."""
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
    """Return scikit-learn's digits, enlarged to the format of Fashion-MNIST."""
    images = load_digits().images * (255 / 16)
    enlarged = zoom(images, (1, 3.5, 3.5), order=1)
    return enlarged.reshape(len(images), -1).astype(np.uint8)


def fashion_against_digits(seed: int, n_train: int) -> InOut:
    """Return Fashion-MNIST; the OOD samples are enlarged digits of scikit-learn."""
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
    """Hold out some kinds of land cover."""
    X, y = load_satimage()
    return hold_out_classes(X, y, list(unknown), random_state=seed)


def news(unknown: str, seed: int) -> InOut:
    """Hold out a topic of BBC news; features are 100 components of the tf-idf."""
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
    """Return functions from a seed to a pair, for reported results."""
    return {
        "wine 2": lambda seed: wine(2, seed),
        "digits 4, 7": lambda seed: digits((4, 7), seed),
        "digits 8, 9": lambda seed: digits((8, 9), seed),
        "digits 0, 1": lambda seed: digits((0, 1), seed),
        "fashion 8, 9": lambda seed: fashion_mnist((8, 9), seed, fashion_rows),
        "breast cancer": breast_cancer,
    }


def corrupted(fashion_rows: int) -> dict[str, Callable[[int], InOut]]:
    """Return further pairs for reported results: other data and corrupted samples."""
    return {
        "fashion, digits": lambda seed: fashion_against_digits(seed, fashion_rows),
        "wine, wrong unit": lambda seed: damaged(load_wine, wrong_unit, seed),
        "cancer, dead sensors": lambda seed: damaged(
            load_breast_cancer, dead_sensors, seed
        ),
        "digits, dead sensors": lambda seed: damaged(load_digits, dead_sensors, seed),
    }


def packaged() -> dict[str, Callable[[int], InOut]]:
    """Return further pairs for reported results, from `packaged_datasets`."""
    return {
        "satimage 5": lambda seed: satimage(("5",), seed),
        "news, politics": lambda seed: news("politics", seed),
        "news, sports": lambda seed: news("sports", seed),
    }


def tuning(fashion_rows: int) -> dict[str, Callable[[int], InOut]]:
    """Return functions from a seed to a pair, for the choice of the defaults."""
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
