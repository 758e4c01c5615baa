"""Datasets of in-distribution and out-of-distribution samples.

The two moons and their out-of-distribution samples are those of the TensorFlow tutorial
*Uncertainty-aware Deep Learning with SNGP*. Out-of-distribution samples can be created
from other data by holding out classes or by shuffling columns.
"""

from __future__ import annotations

import math
import os
from http.client import HTTPException
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.datasets import fetch_openml, make_moons
from sklearn.model_selection import train_test_split
from sklearn.utils import (
    Bunch,
    _safe_indexing,
    check_array,
    check_random_state,
    indexable,
)
from sklearn.utils._param_validation import Interval

from ._data.idx_files import read_idx
from ._function_parameters import checks_parameters

__all__ = [
    "InOut",
    "hold_out_classes",
    "load_fashion_mnist",
    "shuffle_columns",
    "two_moons",
    "two_moons_grid",
    "two_moons_ood",
]

#: Folder in which Debian's package dataset-fashion-mnist installs its files.
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")

#: Standard names of the files of images and labels of Fashion-MNIST.
FASHION_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


class InOut(Bunch):
    """Container of training, test and out-of-distribution samples.

    Attributes
    ----------
    X_train, X_test : array-like of shape (n_train, n_features), (n_test, n_features)
        In-distribution samples.
    y_train, y_test : array-like of shape (n_train,), (n_test,)
        Class labels.
    X_ood : array-like of shape (n_ood, n_features)
        Out-of-distribution samples.

    Examples
    --------
    >>> from sksngp.datasets import InOut, two_moons, two_moons_ood
    >>> X_train, y_train = two_moons(random_state=0)
    >>> X_test, y_test = two_moons(random_state=1)
    >>> data = InOut(
    ...     X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test,
    ...     X_ood=two_moons_ood(random_state=0),
    ... )
    >>> data.X_ood.shape
    (500, 2)
    """

    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any
    X_ood: Any


@checks_parameters(
    {
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }
)
def two_moons(
    n_samples: int = 1000,
    *,
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Make two interleaving half circles with a gap between them.

    The samples are those of :func:`sklearn.datasets.make_moons` with class 0 shifted by
    (-0.1, 0.2) and class 1 shifted by (0.1, -0.2), as in the tutorial.

    Parameters
    ----------
    n_samples : int, default=1000
        Total number of samples. Half of them belong to each class.
    noise : float, default=0.1
        Standard deviation of the Gaussian noise.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the order of the samples and of the noise. Pass an
        int for reproducible results across multiple calls.

    Returns
    -------
    X : float ndarray of shape (n_samples, 2)
        Generated samples.
    y : int ndarray of shape (n_samples,)
        Class labels, 0 or 1.

    Examples
    --------
    >>> from sksngp.datasets import two_moons
    >>> X, y = two_moons(random_state=0)
    >>> X.shape, int(y.sum())
    ((1000, 2), 500)
    """
    X, y = make_moons(n_samples, noise=noise, random_state=random_state)
    shifts = np.array([[-0.1, 0.2], [0.1, -0.2]])
    return X + shifts[y], y


@checks_parameters(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }
)
def two_moons_ood(
    n_samples: int = 500,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.float64]:
    """Make out-of-distribution samples for the two moons.

    The samples follow a Gaussian distribution with mean (2.5, -1.75) and variance 0.01
    in each direction, as in the tutorial. They are not intended for training.

    Parameters
    ----------
    n_samples : int, default=500
        Number of samples.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the samples. Pass an int for reproducible results
        across multiple calls.

    Returns
    -------
    X : float ndarray of shape (n_samples, 2)
        Generated samples.

    Examples
    --------
    >>> from sksngp.datasets import two_moons_ood
    >>> two_moons_ood(random_state=0).mean(axis=0).round(1)
    array([ 2.5, -1.8])
    """
    rng = check_random_state(random_state)
    return rng.normal((2.5, -1.75), 0.1, size=(n_samples, 2))


@checks_parameters({"n": [Interval(Integral, 1, None, closed="left")]})
def two_moons_grid(n: int = 100) -> NDArray[np.float64]:
    """Make a regular grid of points around the two moons.

    Parameters
    ----------
    n : int, default=100
        Number of points along each axis.

    Returns
    -------
    X : float ndarray of shape (n * n, 2)
        Points with x between -3.5 and 3.5 and y between -2.5 and 2.5. The coordinate x
        varies fastest. Values at the points can be reshaped to an image of shape
        (n, n), whose first row has the lowest y.

    Examples
    --------
    >>> from sksngp.datasets import two_moons_grid
    >>> two_moons_grid(3)[:4]
    array([[-3.5, -2.5],
           [ 0. , -2.5],
           [ 3.5, -2.5],
           [-3.5,  0. ]])
    """
    x, y = np.meshgrid(np.linspace(-3.5, 3.5, n), np.linspace(-2.5, 2.5, n))
    return np.column_stack([x.ravel(), y.ravel()])


@checks_parameters(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "held_out": ["array-like"],
        "test_size": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }
)
def hold_out_classes(
    X: Any,
    y: ArrayLike,
    held_out: ArrayLike,
    *,
    test_size: float = 0.3,
    random_state: int | np.random.RandomState | None = None,
) -> InOut:
    """Hold out classes as out-of-distribution samples, and split the other classes.

    Parameters
    ----------
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Samples of all classes.
    y : array-like of shape (n_samples,)
        Class labels.
    held_out : array-like of shape (n_held_out,)
        Classes to hold out. At least two other classes must remain.
    test_size : float in (0, 1), default=0.3
        Fraction of the samples of the remaining classes to include in the test set. The
        split is stratified.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the split. Pass an int for reproducible results
        across multiple calls.

    Returns
    -------
    InOut
        Container with X_train, y_train, X_test and y_test of the remaining classes,
        whose labels are unchanged, and X_ood, all samples of the held-out classes in
        their original order.

    Raises
    ------
    ValueError
        If a class in `held_out` does not occur in `y`, `held_out` is empty, fewer than
        two classes remain, or a class has too few samples to split.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sksngp.datasets import hold_out_classes
    >>> X, y = load_wine(return_X_y=True)
    >>> data = hold_out_classes(X, y, [2], random_state=0)
    >>> len(data.X_train), len(data.X_test), len(data.X_ood)
    (91, 39, 48)
    """
    X, y = indexable(X, y)
    classes = _classes(y, "y")
    # Sets are used because NumPy would treat the string "1" and the number 1 as equal.
    present = set(classes.tolist())
    unknown = set(_classes(held_out, "held_out").tolist())
    missing = unknown - present
    if missing:
        raise ValueError(
            f"held_out must be classes in y, got {sorted(missing, key=str)}, which do "
            "not occur in y."
        )
    if not unknown or len(present - unknown) < 2:
        raise ValueError(
            "held_out must have at least one class and leave at least two others, got "
            f"{len(unknown)} of the {len(present)} classes in y."
        )
    is_known = np.array([label not in unknown for label in classes.tolist()])
    known = np.flatnonzero(is_known)
    train, test = train_test_split(
        known, test_size=test_size, random_state=random_state, stratify=classes[known]
    )
    return InOut(
        X_train=_safe_indexing(X, train),
        y_train=_safe_indexing(y, train),
        X_test=_safe_indexing(X, test),
        y_test=_safe_indexing(y, test),
        X_ood=_safe_indexing(X, np.flatnonzero(~is_known)),
    )


@checks_parameters({"X": ["array-like"], "random_state": ["random_state"]})
def shuffle_columns(
    X: Any, *, random_state: int | np.random.RandomState | None = None
) -> Any:
    """Permute each column independently.

    The marginal distribution of each column is preserved, but the dependence between
    columns is removed. The resulting samples are out of distribution, although each of
    their values is typical.

    Parameters
    ----------
    X : {array-like, pandas dataframe} of shape (n_samples, n_features)
        In-distribution samples, preferably samples that are not used for training.
    random_state : int, RandomState instance or None, default=None
        Controls the randomness of the permutations. Pass an int for reproducible
        results across multiple calls.

    Returns
    -------
    X_shuffled : ndarray or pandas dataframe of shape (n_samples, n_features)
        Copy with permuted columns. The index and the dtypes of a pandas dataframe are
        preserved.

    Examples
    --------
    >>> import numpy as np
    >>> from sksngp.datasets import shuffle_columns
    >>> X = np.column_stack([np.arange(100), np.arange(100)])
    >>> shuffled = shuffle_columns(X, random_state=0)
    >>> bool((np.sort(shuffled, axis=0) == X).all())
    True
    >>> bool(abs(np.corrcoef(shuffled.T)[0, 1]) < 0.2)
    True
    """
    rng = check_random_state(random_state)
    if hasattr(X, "isetitem"):
        shuffled = X.copy()
        for column in range(X.shape[1]):
            values = X.iloc[rng.permutation(len(X)), column]
            shuffled.isetitem(column, values.array)
        return shuffled
    # Missing values are permuted like other values.
    X = check_array(X, dtype=None, ensure_all_finite=False)
    shuffled = np.empty_like(X)
    for column in range(X.shape[1]):
        shuffled[:, column] = X[rng.permutation(len(X)), column]
    return shuffled


@checks_parameters({"data_home": [str, os.PathLike, None]})
def load_fashion_mnist(*, data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """Load Fashion-MNIST, 70,000 grayscale images of clothes in ten classes.

    The files of Debian's package dataset-fashion-mnist are used if the package is
    installed. Otherwise, the data are downloaded from OpenML (about 30 MB) and cached
    in `data_home`.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Folder in which the download is cached. If None, the folder of scikit-learn,
        ``~/scikit_learn_data``, is used.

    Returns
    -------
    Bunch
        Container with X_train, a uint8 ndarray of shape (60000, 784), X_test, a uint8
        ndarray of shape (10000, 784), and y_train and y_test, int64 ndarrays of classes
        0 to 9.

    Raises
    ------
    OSError
        If the data are not installed and cannot be downloaded from OpenML.
    ValueError
        If a file or the download is invalid.

    References
    ----------
    .. [1] Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for
       Benchmarking Machine Learning Algorithms, arXiv 1708.07747.

    Examples
    --------
    >>> from sksngp.datasets import hold_out_classes, load_fashion_mnist
    >>> data = load_fashion_mnist()                                # doctest: +SKIP
    >>> pair = hold_out_classes(data.X_test, data.y_test, [8, 9])  # doctest: +SKIP
    """
    names = [name for pair in FASHION_MNIST_FILES.values() for name in pair]
    if all((FASHION_MNIST_FOLDER / name).is_file() for name in names):
        X_train, y_train = _read_images(*FASHION_MNIST_FILES["train"])
        X_test, y_test = _read_images(*FASHION_MNIST_FILES["test"])
    else:
        X_train, y_train, X_test, y_test = _download_fashion_mnist(data_home)
    return Bunch(X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test)


def _classes(values: ArrayLike, name: str) -> np.ndarray:
    checked: np.ndarray = check_array(
        values, dtype=None, ensure_2d=False, ensure_min_samples=0, input_name=name
    )
    if checked.ndim != 1:
        raise ValueError(
            f"{name} must have one dimension, got an array of shape {checked.shape}."
        )
    return checked


def _read_images(
    images: str, labels: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    X = read_idx(FASHION_MNIST_FOLDER / images, n_dimensions=3)
    y = read_idx(FASHION_MNIST_FOLDER / labels, n_dimensions=1)
    if len(X) != len(y):
        raise ValueError(
            f"{FASHION_MNIST_FOLDER / images} holds {len(X)} images, but {labels} in "
            f"the same folder holds {len(y)} labels."
        )
    return X.reshape(len(X), math.prod(X.shape[1:])), y.astype(np.int64)


def _download_fashion_mnist(
    data_home: str | os.PathLike[str] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    try:
        data = fetch_openml(
            "Fashion-MNIST", version=1, as_frame=False, data_home=data_home
        )
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(
            f"Fashion-MNIST is not installed in {FASHION_MNIST_FOLDER} and cannot be "
            f"downloaded from OpenML ({type(error).__name__}: {error}). Install "
            "Debian's package dataset-fashion-mnist, or connect to www.openml.org once "
            "to cache the download in data_home."
        ) from error
    X, y = data.data.astype(np.uint8), data.target.astype(np.int64)
    # The dataset on OpenML is not divided into training and test set. The training set
    # consists of the first 60,000 rows.
    in_order = X.shape == (70_000, 784) and y.shape == (70_000,)
    if not in_order or not np.array_equal(np.bincount(y[:60_000]), [6_000] * 10):
        raise ValueError(
            "Fashion-MNIST from OpenML must have 60,000 training samples, 6,000 of "
            "each class, followed by 10,000 test samples, got an array of shape "
            f"{X.shape}."
        )
    return X[:60_000], y[:60_000], X[60_000:], y[60_000:]
