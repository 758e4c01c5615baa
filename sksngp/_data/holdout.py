"""Held-out sets and folds, which are determined by the values of the samples."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from .sources import RowSource, iter_chunks, select_samples

#: Maximum fraction of the samples to hold out in order to reach `at_least`.
MAX_HELD_OUT_FRACTION = 0.25
#: Minimum number of unique samples to divide into folds.
MIN_SAMPLES_IN_FOLDS = 20
#: Samples that exceed both of these fractions, of the data and of their class, are not
#: assigned to a fold.
MAX_FRACTION_IN_FOLDS = 0.05
MAX_CLASS_FRACTION_IN_FOLDS = 0.2


def hold_out(
    X: np.ndarray | RowSource,
    labels: np.ndarray,
    fraction: float,
    *,
    at_least: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """Select held-out samples by their values.

    The samples of each class are ranked by a keyed hash of their values, so that equal
    samples are always in the same set. Consequently, repeating a sample has the same
    effect as increasing its weight, and the training set contains no duplicates of
    held-out samples. At least one unique sample of each class remains in the training
    set. At least one sample is held out if a class has two unique samples.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Samples.
    labels : int ndarray of shape (n,)
        Indices of classes.
    fraction : float in [0, 1)
        Fraction of the unique samples of each class to hold out, rounded up. A sample
        that occurs in several classes is held out only if it is selected in each of
        them, which can decrease the fraction.
    at_least : int, default=0
        Minimum number of unique samples to hold out. The fraction is increased, up to
        a quarter of the samples, to reach this number. If this is not possible, no
        sample is held out.
    seed : int, default=0
        Key of the hash.

    Returns
    -------
    bool ndarray of shape (n,)
        True for held-out samples.

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
    if share > max(fraction, MAX_HELD_OUT_FRACTION):
        return none
    rows, sizes = _unique_samples_by_class(labels, index)
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
    """Assign samples to stratified folds by their values.

    Unique samples are sorted by class and, within a class, by a keyed hash of their
    values, and are assigned to the folds in turn. Equal samples are therefore in the
    same fold, and a sample of weight 2 is equivalent to two equal samples. A sample
    that makes up a large fraction of the data is not assigned to a fold, because a
    model fitted without the sample carries little information about a model fitted
    with it.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Samples.
    labels : int ndarray of shape (n,)
        Indices of classes.
    weights : float64 ndarray of shape (n,)
        Sample weights.
    num_folds : int
        Number of folds.
    seed : int, default=0
        Key of the hash.

    Returns
    -------
    int ndarray of shape (n,) or None
        Fold of each sample, or -1 for samples without a fold. None if fewer than
        `MIN_SAMPLES_IN_FOLDS` unique samples can be assigned to folds.

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
    # With class weights, a few samples of a small class may have a large fraction of
    # the total weight, but not of the weight of their class.
    of_class = np.bincount(label, total)[label]
    common = (total > (MAX_FRACTION_IN_FOLDS + 1e-9) * total.sum()) & (
        total > (MAX_CLASS_FRACTION_IN_FOLDS + 1e-9) * of_class
    )
    rare = np.flatnonzero(~common)
    if len(rare) < max(MIN_SAMPLES_IN_FOLDS, num_folds):
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
        Samples.
    weights : float64 ndarray of shape (n,)
        Sample weights.

    Returns
    -------
    float64 ndarray of shape (n,)
        Sum of the weights of all samples that are equal to each sample.

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
    """Return the largest hash of the held-out samples of each class, for `are_below`.

    Parameters
    ----------
    X, labels, seed
        Arguments that were passed to `hold_out`.
    held_out : bool ndarray of shape (n,)
        Result of `hold_out`.
    num_classes : int
        Number of classes.

    Returns
    -------
    uint64 ndarray of shape (num_classes,)
        Cutoffs for `hold_out_below`, 0 for a class without held-out samples.
    """
    largest = np.zeros(num_classes, np.uint64)
    np.maximum.at(largest, labels[held_out], digests(select_samples(X, held_out), seed))
    return largest


def cutoff_for_fraction(fraction: float) -> int:
    """Return the cutoff that is larger than a fraction `fraction` of all hashes.

    Examples
    --------
    >>> cutoff_for_fraction(0.5) == 2**63
    True
    """
    return min(int(fraction * 2.0**64), 2**64 - 1)


def are_below(
    hashes: NDArray[np.uint64], cutoffs: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Hold out the samples whose hash is at most the cutoff of their class.

    Whether a sample is held out does not depend on the other samples. If training is
    continued, on the same samples, on more samples or on batches, samples that were
    used for training are never held out.

    Parameters
    ----------
    hashes : uint64 ndarray of shape (n,)
        The `digests` of samples.
    cutoffs : uint64 ndarray of shape (n,)
        Cutoff of the class of each sample.

    Returns
    -------
    bool ndarray of shape (n,)
        True for held-out samples. Equal samples of several classes are held out only
        if their hash is at most the cutoff of each of these classes.

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


def _unique_samples_by_class(
    labels: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated indices of the unique samples of each class.

    Also returns the number of unique samples of each class.
    """
    size = int(index.max()) + 1
    label, rows = np.divmod(np.unique(labels.astype(np.int64) * size + index), size)
    return rows, np.bincount(label)


def _choose(
    rows: np.ndarray, sizes: np.ndarray, size: int, share: float
) -> NDArray[np.bool_]:
    """Select the first fraction `share` of the unique samples of each class.

    A sample of several classes must be selected in each of them.
    """
    needed = np.zeros(size, dtype=bool)
    needed[rows[np.repeat(sizes, sizes) == 1]] = True  # the only sample of a class
    chosen = ~needed
    for own in np.split(rows, np.cumsum(sizes)[:-1]):
        # The tolerance prevents 100 * 0.07 = 7.000000000000001 from being rounded up
        # to 8.
        count = max(math.ceil(share * len(own) - 1e-9), 1)
        candidates = own[~needed[own]]
        chosen[candidates[min(count, len(own) - 1) :]] = False
    return chosen


def digests(X: np.ndarray | RowSource, seed: int) -> np.ndarray:
    """Compute keyed hashes of the values of samples, uint64 of shape (n,)."""
    key = seed.to_bytes(8, "little")
    hashes = np.empty(len(X), np.uint64)
    for rows, chunk in iter_chunks(X):
        # Adding zero converts -0.0 to 0.0, because the two are equal.
        values = chunk.astype(np.float64, order="C") + 0.0
        concatenate = b"".join(
            hashlib.blake2b(row, digest_size=8, key=key).digest() for row in values
        )
        hashes[rows] = np.frombuffer(concatenate, np.uint64)
    return hashes
