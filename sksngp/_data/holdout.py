"""Held-out sets and folds, which are determined by the values of the samples."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .sources import RowSource, iter_chunks

#: Maximum fraction of the samples to hold out in order to reach `at_least`.
MAX_HELD_OUT_FRACTION = 0.25
#: Number of steps in which the fraction of each class may be increased to 1.
STEPS = 2**20
#: Minimum number of unique samples to divide into folds.
MIN_SAMPLES_IN_FOLDS = 20
#: Samples that exceed both of these fractions, of the data and of their class, are not
#: assigned to a fold.
MAX_FRACTION_IN_FOLDS = 0.05
MAX_CLASS_FRACTION_IN_FOLDS = 0.2


def _no_hashes() -> NDArray[np.uint64]:
    return np.empty(0, np.uint64)


@dataclass(frozen=True)
class HoldOut:
    """Rule that holds out samples by their values, in a fit and in later training.

    Whether a sample is held out depends on its values and on the labels of equal
    samples only. If training is continued, on the same samples, on more samples or on
    batches, samples that were used for training are never held out.

    Parameters
    ----------
    key : int
        Key of the hash.
    cutoffs : uint64 ndarray of shape (n_classes,)
        Samples are held out if their hash is at most the cutoff of their class.
    held_out, trained : uint64 ndarray
        Hashes of samples that were held out from earlier training, or used for it,
        regardless of the cutoffs.
    """

    key: int
    cutoffs: NDArray[np.uint64]
    held_out: NDArray[np.uint64] = field(default_factory=_no_hashes)
    trained: NDArray[np.uint64] = field(default_factory=_no_hashes)

    @classmethod
    def of_fraction(cls, fraction: float, num_classes: int, key: int) -> HoldOut:
        """Return the rule that holds out a fraction of new samples."""
        cutoff = cutoff_for_fraction(fraction)
        return cls(key, np.full(num_classes, cutoff, np.uint64))

    @classmethod
    def of_mask(
        cls,
        hashes: NDArray[np.uint64],
        labels: NDArray[np.int32],
        mask: NDArray[np.bool_],
        num_classes: int,
        key: int,
    ) -> HoldOut:
        """Return the rule that holds out the samples selected by `hold_out`."""
        cutoffs = np.zeros(num_classes, np.uint64)
        np.maximum.at(cutoffs, labels[mask], hashes[mask])
        # `hold_out` keeps some samples below the cutoff, such as those of two classes.
        kept = ~mask & (hashes <= cutoffs[labels])
        return cls(key, cutoffs, trained=np.unique(hashes[kept]))

    def digests(self, X: np.ndarray | RowSource) -> NDArray[np.uint64]:
        """Return the hashes of samples."""
        return digests(X, self.key)

    def mask(
        self, hashes: NDArray[np.uint64], labels: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """Return which samples are held out, given their hashes and classes."""
        return self.keep_sides(are_below(hashes, self.cutoffs[labels]), hashes)

    def keep_sides(
        self, mask: NDArray[np.bool_], hashes: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Correct a held-out mask such that samples of earlier training stay there."""
        return (mask | np.isin(hashes, self.held_out)) & ~np.isin(hashes, self.trained)

    def after(
        self, *, held_out: NDArray[np.uint64], trained: NDArray[np.uint64]
    ) -> HoldOut:
        """Return the rule after training that held out or used further samples."""
        return replace(
            self,
            held_out=np.union1d(self.held_out, held_out),
            trained=np.union1d(self.trained, trained),
        )


def hold_out(
    hashes: NDArray[np.uint64],
    labels: NDArray[np.int32],
    fraction: float,
    *,
    at_least: int = 0,
) -> NDArray[np.bool_]:
    """Select held-out samples by the hashes of their values.

    The samples of each class are ranked by a keyed hash of their values, so that equal
    samples are always in the same set. Consequently, repeating a sample has the same
    effect as increasing its weight, and the training set contains no duplicates of
    held-out samples. At least one unique sample of each class remains in the training
    set. At least one sample is held out if a class has two unique samples.

    Parameters
    ----------
    hashes : uint64 ndarray of shape (n,)
        The `digests` of the samples.
    labels : int32 ndarray of shape (n,)
        Indices of classes.
    fraction : float in [0, 1)
        Fraction of the unique samples of each class to hold out, rounded up. A sample
        that occurs in several classes is held out only if it is selected in each of
        them, which can decrease the fraction.
    at_least : int, default=0
        Minimum number of unique samples to hold out. The fraction is increased to reach
        this number, until a quarter of all unique samples would be held out. If this
        is not possible, no sample is held out.

    Returns
    -------
    bool ndarray of shape (n,)
        True for held-out samples.

    Examples
    --------
    >>> import numpy as np
    >>> hashes = digests(np.arange(10.0)[:, None], key=0)
    >>> int(hold_out(hashes, np.zeros(10, np.int32), 0.2).sum())
    2
    """
    none = np.zeros(len(hashes), dtype=bool)
    if not fraction:
        return none
    distinct, index = np.unique(hashes, return_inverse=True)
    increased = max(fraction, at_least / len(distinct))
    largest = max(fraction, MAX_HELD_OUT_FRACTION)
    if increased > largest:
        return none
    rows, sizes = _unique_samples_by_class(labels, index)

    def choose(step: int) -> NDArray[np.bool_]:
        raised = increased + (1 - increased) * step / STEPS
        return _choose(rows, sizes, len(distinct), raised)

    chosen = choose(0)
    if chosen.sum() >= at_least:
        return chosen[index]
    # Some samples are not chosen, such as those of several classes: raise the fraction.
    step = bisect_left(range(STEPS), at_least, key=lambda step: choose(step).sum())
    chosen = choose(step)
    enough = at_least <= chosen.sum() <= largest * len(distinct)
    return chosen[index] if enough else none


def folds(
    hashes: NDArray[np.uint64],
    labels: NDArray[np.int32],
    weights: NDArray[np.float64],
    num_folds: int,
) -> NDArray[np.intp] | None:
    """Assign samples to stratified folds by the hashes of their values.

    Unique samples are sorted by class and, within a class, by a keyed hash of their
    values, and are assigned to the folds in turn. Equal samples are therefore in the
    same fold, and a sample of weight 2 is equivalent to two equal samples. A sample
    that makes up a large fraction of the data is not assigned to a fold, because a
    model fitted without the sample carries little information about a model fitted
    with it.

    Parameters
    ----------
    hashes : uint64 ndarray of shape (n,)
        The `digests` of the samples.
    labels : int32 ndarray of shape (n,)
        Indices of classes.
    weights : float64 ndarray of shape (n,)
        Sample weights.
    num_folds : int
        Number of folds.

    Returns
    -------
    int ndarray of shape (n,) or None
        Fold of each sample, or -1 for samples without a fold. None if fewer than
        `MIN_SAMPLES_IN_FOLDS` unique samples can be assigned to folds.

    Examples
    --------
    >>> import numpy as np
    >>> hashes = digests(np.arange(40.0)[:, None], key=0)
    >>> fold = folds(hashes, np.zeros(40, np.int32), np.ones(40), 5)
    >>> np.bincount(fold)
    array([8, 8, 8, 8, 8])
    """
    distinct, index = np.unique(hashes, return_inverse=True)
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
    _, index = np.unique(digests(X, key=0), return_inverse=True)
    return np.bincount(index, weights)[index].astype(np.float64)


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
    >>> hashes = np.array([1, 2, 2, 3], np.uint64)
    >>> are_below(hashes, np.array([9, 9, 0, 3], np.uint64))
    array([ True, False, False,  True])
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
    rows: np.ndarray, sizes: np.ndarray, size: int, fraction: float
) -> NDArray[np.bool_]:
    """Select the first samples, a given fraction, of the unique samples of each class.

    A sample of several classes must be selected in each of them.
    """
    needed = np.zeros(size, dtype=bool)
    needed[rows[np.repeat(sizes, sizes) == 1]] = True  # the only sample of a class
    chosen = ~needed
    for ranked in np.split(rows, np.cumsum(sizes)[:-1]):
        # The tolerance prevents 100 * 0.07 = 7.000000000000001 from being rounded up
        # to 8.
        count = max(math.ceil(fraction * len(ranked) - 1e-9), 1)
        candidates = ranked[~needed[ranked]]
        chosen[candidates[min(count, len(ranked) - 1) :]] = False
    return chosen


def digests(X: np.ndarray | RowSource, key: int) -> NDArray[np.uint64]:
    """Compute keyed hashes of the values of samples, of shape (n,)."""
    key_bytes = key.to_bytes(8, "little")
    hashes = np.empty(len(X), np.uint64)
    for rows, chunk in iter_chunks(X):
        # Adding zero converts -0.0 to 0.0, because the two are equal.
        values = chunk.astype(np.float64, order="C") + 0.0
        concatenate = b"".join(
            hashlib.blake2b(row, digest_size=8, key=key_bytes).digest()
            for row in values
        )
        hashes[rows] = np.frombuffer(concatenate, np.uint64)
    return hashes
