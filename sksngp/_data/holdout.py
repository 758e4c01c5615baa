"""Held-out sets and folds, which depend on the values of samples alone."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from .sources import RowSource, row_blocks, select

#: Largest share of the rows that is held out to reach `at_least`.
LARGEST_SHARE = 0.25
#: Fewest unique samples that are divided into folds.
FEWEST_IN_FOLDS = 20
#: Samples that make up larger fractions of the data and of their class are in no fold.
LARGEST_IN_FOLDS = 0.05
LARGEST_IN_FOLDS_OF_CLASS = 0.2


def hold_out(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    fraction: float,
    *,
    at_least: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """Choose rows to hold out of training, by their content.

    Rows are ranked within their class by a keyed hash of their values, so equal
    rows always fall on the same side: repeating a row or giving it a weight
    leads to the same split, and no held-out row has a twin in training. Every
    class keeps at least one distinct row for training; while some class has
    another, at least one row is held out.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    labels : int ndarray of shape (n,)
    fraction : float in [0, 1)
        Share of each class's distinct rows, rounded up. A row that several
        classes have in common is held out if each of them would do so, which
        can make the share smaller.
    at_least : int, default=0
        Number of distinct rows below which holding out is of no use. The share
        is raised to reach it, up to a quarter of the rows; where that is too
        few, no row is held out.
    seed : int, default=0
        Key of the hash.

    Returns
    -------
    bool ndarray of shape (n,)
        True for held-out rows.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(10.0)[:, None]
    >>> int(hold_out(X, np.zeros(10, int), 0.2).sum())
    2
    """
    none = np.zeros(len(X), dtype=bool)
    if not fraction:
        return none
    distinct, index = np.unique(digests(X, seed), return_inverse=True)
    share = max(fraction, at_least / len(distinct))
    if share > max(fraction, LARGEST_SHARE):
        return none
    rows, sizes = _distinct_rows_by_class(labels, index)
    chosen = _choose(rows, sizes, len(distinct), share)
    return chosen[index] if chosen.sum() >= at_least else none


def folds(
    X: np.ndarray | RowSource,
    labels: NDArray[np.int32],
    weights: NDArray[np.float64],
    num_folds: int,
    *,
    seed: int = 0,
) -> NDArray[np.intp] | None:
    """Assign samples to stratified folds by their content.

    Unique samples are sorted by class and, within a class, by a keyed hash of their
    values, and take turns. Equal samples therefore share a fold, and a sample of
    weight 2 is assigned like a sample that is given twice. A sample that makes up a
    large part of the data belongs to no fold, since a model that is fitted without it
    says little about a model that is fitted with it.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    labels : int ndarray of shape (n,)
    weights : float64 ndarray of shape (n,)
    num_folds : int
    seed : int, default=0
        Key of the hash.

    Returns
    -------
    int ndarray of shape (n,) or None
        Fold of each sample; -1 for samples in no fold. None if fewer than
        `FEWEST_IN_FOLDS` unique samples belong to folds.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(40.0)[:, None]
    >>> fold = folds(X, np.zeros(40, int), np.ones(40), 5)
    >>> np.bincount(fold)
    array([8, 8, 8, 8, 8])
    """
    distinct, index = np.unique(digests(X, seed), return_inverse=True)
    total = np.bincount(index, weights)
    label = np.full(len(distinct), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(label, index, labels)
    # Class weights may make a few samples heavy, but not in their class.
    of_class = np.bincount(label, total)[label]
    common = (total > (LARGEST_IN_FOLDS + 1e-9) * total.sum()) & (
        total > (LARGEST_IN_FOLDS_OF_CLASS + 1e-9) * of_class
    )
    rare = np.flatnonzero(~common)
    if len(rare) < max(FEWEST_IN_FOLDS, num_folds):
        return None
    fold = np.full(len(distinct), -1)
    fold[rare[np.argsort(label[rare], kind="stable")]] = (
        np.arange(len(rare)) % num_folds
    )
    return fold[index]


def weights_of_equals(
    X: np.ndarray | RowSource, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum the weights of equal samples.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    weights : float64 ndarray of shape (n,)

    Returns
    -------
    float64 ndarray of shape (n,)
        For each sample the weight of all samples that are equal to it.

    Examples
    --------
    >>> import numpy as np
    >>> weights_of_equals(np.array([[1.0], [2.0], [1.0]]), np.ones(3))
    array([2., 1., 2.])
    """
    _, index = np.unique(digests(X, seed=0), return_inverse=True)
    return np.bincount(index, weights)[index].astype(np.float64)


def cutoffs(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    held_out: np.ndarray,
    num_classes: int,
    seed: int,
) -> np.ndarray:
    """Largest hash of each class's held-out rows, for `are_below`.

    Parameters
    ----------
    X, labels, seed
        As passed to `hold_out`.
    held_out : bool ndarray of shape (n,)
        What it returned.
    num_classes : int

    Returns
    -------
    uint64 ndarray of shape (num_classes,)
        0 for a class without held-out rows.
    """
    largest = np.zeros(num_classes, np.uint64)
    np.maximum.at(largest, labels[held_out], digests(select(X, held_out), seed))
    return largest


def cutoff_of_share(fraction: float) -> int:
    """Cutoff below which a share `fraction` of all hashes lies.

    Examples
    --------
    >>> cutoff_of_share(0.5) == 2**63
    True
    """
    return min(int(fraction * 2.0**64), 2**64 - 1)


def are_below(
    hashes: NDArray[np.uint64], cutoffs: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Hold out the rows whose hash is at most their class's cutoff.

    A row's side does not depend on the rows beside it: further training, whether on
    the same rows, on more or on batches, holds out none that was trained on.

    Parameters
    ----------
    hashes : uint64 ndarray of shape (n,)
        The `digests` of rows.
    cutoffs : uint64 ndarray of shape (n,)
        Of each row's class.

    Returns
    -------
    bool ndarray of shape (n,)
        Equal rows are on one side: held out if each of their classes would do so.

    Examples
    --------
    >>> import numpy as np
    >>> X, labels = np.arange(10.0)[:, None], np.zeros(10, int)
    >>> first = hold_out(X, labels, 0.2)
    >>> limits = cutoffs(X, labels, first, 1, seed=0)
    >>> more = np.arange(99.0)[:, None]
    >>> again = are_below(digests(more, seed=0), limits[np.zeros(99, int)])
    >>> bool((again[:10] == first).all())
    True
    """
    _, index = np.unique(hashes, return_inverse=True)
    return (np.bincount(index, hashes > cutoffs) == 0)[index]


def _distinct_rows_by_class(
    labels: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of each class's distinct rows, end to end, and their numbers."""
    size = int(index.max()) + 1
    label, rows = np.divmod(np.unique(labels.astype(np.int64) * size + index), size)
    return rows, np.bincount(label)


def _choose(
    rows: np.ndarray, sizes: np.ndarray, size: int, share: float
) -> NDArray[np.bool_]:
    """Of `size` distinct rows the first `share` of each class that they occur in."""
    needed = np.zeros(size, dtype=bool)
    needed[rows[np.repeat(sizes, sizes) == 1]] = True  # a class's only row
    chosen = ~needed
    for own in np.split(rows, np.cumsum(sizes)[:-1]):
        # The tolerance keeps 100 * 0.07 = 7.000000000000001 from becoming 8.
        count = max(math.ceil(share * len(own) - 1e-9), 1)
        candidates = own[~needed[own]]
        chosen[candidates[min(count, len(own) - 1) :]] = False
    return chosen


def digests(X: np.ndarray | RowSource, seed: int) -> np.ndarray:
    """Keyed hashes of rows' values, uint64 of shape (n,)."""
    key = seed.to_bytes(8, "little")
    hashes = np.empty(len(X), np.uint64)
    for rows, chunk in row_blocks(X):
        # Adding zero turns -0.0, an equal value, into 0.0.
        values = chunk.astype(np.float64, order="C") + 0.0
        joined = b"".join(
            hashlib.blake2b(row, digest_size=8, key=key).digest() for row in values
        )
        hashes[rows] = np.frombuffer(joined, np.uint64)
    return hashes
