"""Bounded random sample of a stream, which does not depend on the order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .sources import RowSource, iter_chunks, select_samples

#: Maximum number of stored samples, and minimum number if there are many features.
MAX_SAMPLES = 2000
MIN_SAMPLES = 256
#: Maximum number of stored values, unless this is less than `MIN_SAMPLES` samples.
MAX_VALUES = 2**22
#: Fraction of the values of a feature on either side that do not affect its bounds.
TAIL = 0.025
#: Distance of the bounds from the central values, in multiples of the central range.
BOUND_DISTANCE = 3.0
#: A value is extreme if its distance from the bounds exceeds this multiple of their
#: distance from each other: about 10,000 central ranges. Values of a feature that is
#: mostly 0, such as a pixel, are often hundreds of central ranges from the others.
EXTREME = 1500.0
#: Minimum number of samples with tails.
MIN_SAMPLES_WITH_TAILS = 5


@dataclass(frozen=True)
class StreamMemory:
    """Unique samples of a stream, and the total weights of its classes.

    The samples with the smallest hashes of each class are stored, or the latest
    samples. If there is not enough space, classes with many samples store the same
    number of them. Because the hashes are random, the stored samples are a random
    sample of the unique samples of a class. It does not depend on the order of the
    stream or on its batches.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    labels : int32 ndarray of shape (n,)
    weights : float64 ndarray of shape (n,)
        Weight of each sample, summed over its repetitions.
    hashes : uint64 ndarray of shape (n,)
        Hashes that identify the samples.
    arrival : int64 ndarray of shape (n,)
        Position in the stream of the last repetition of each sample.
    totals : float64 ndarray of shape (n_classes,)
        Total weight of the samples of the stream for each class.
    seen : int, default=0
        Number of samples of the stream.
    most : int, default=2**62
        Maximum number of stored samples per class. It never increases, so that no
        sample is discarded that would be stored later.
    """

    X: np.ndarray
    labels: NDArray[np.int32]
    weights: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    arrival: NDArray[np.int64]
    totals: NDArray[np.float64]
    seen: int = 0
    most: int = 2**62

    def __len__(self) -> int:
        return len(self.labels)

    def add(
        self,
        X: np.ndarray | RowSource,
        labels: NDArray[np.int32],
        weights: NDArray[np.float64],
        hashes: NDArray[np.uint64],
        *,
        limit: int,
        latest: bool = False,
    ) -> StreamMemory:
        """Return the memory after further samples.

        Parameters
        ----------
        X : ndarray or RowSource of shape (m, n_features)
        labels, weights, hashes : ndarray of shape (m,)
        limit : int
            Maximum number of stored samples.
        latest : bool, default=False
            If True, store the latest samples of any class instead of a random sample.

        Returns
        -------
        StreamMemory
        """
        all_labels = np.append(self.labels, labels)
        all_hashes = np.append(self.hashes, hashes)
        arrival = np.append(self.arrival, self.seen + np.arange(len(labels)))
        # Equal samples with different labels are different samples.
        mixed = all_hashes ^ (
            all_labels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        )
        _, first, index = np.unique(mixed, return_index=True, return_inverse=True)
        weight = np.bincount(index, np.append(self.weights, weights)).astype(float)
        last = np.zeros(len(first), np.int64)
        np.maximum.at(last, index, arrival)
        most = self.most
        if latest:
            kept = np.argsort(last)[-limit:]
        else:
            order, place = _places(all_labels[first], all_hashes[first])
            most = min(most, _most_of_each(place, limit))
            kept = order[place < most]
        kept = kept[np.argsort(first[kept])]  # stored samples come first
        rows = first[kept]
        known = rows[rows < len(self)]
        new = np.zeros(len(labels), bool)
        new[rows[len(known) :] - len(self)] = True
        return StreamMemory(
            np.concatenate([self.X[known], *_blocks(X, new)]),
            all_labels[rows],
            weight[kept],
            all_hashes[rows],
            last[kept],
            self.totals + np.bincount(labels, weights, minlength=len(self.totals)),
            self.seen + len(labels),
            most,
        )

    def part(self, index: NDArray[np.intp]) -> StreamMemory:
        """Return a memory of some samples, which represent the weights of all."""
        names = "X", "labels", "weights", "hashes", "arrival"
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def sample_weights(self) -> NDArray[np.float64]:
        """Return weights of stored samples whose sums are those of all samples."""
        kept = np.bincount(self.labels, self.weights, minlength=len(self.totals))
        return self.weights * (self.totals / np.maximum(kept, 1e-300))[self.labels]


def empty_memory(X: np.ndarray | RowSource, num_classes: int) -> StreamMemory:
    """Return a memory without samples, for samples of the type of `X`."""
    dtype = X.dtype if isinstance(X, np.ndarray) else np.dtype(np.float64)
    return StreamMemory(
        np.empty((0, X.shape[1]), dtype),
        np.empty(0, np.int32),
        np.empty(0),
        np.empty(0, np.uint64),
        np.empty(0, np.int64),
        np.zeros(num_classes),
    )


def capacity(num_features: int) -> int:
    """Return the maximum number of stored samples."""
    return int(np.clip(MAX_VALUES // num_features, MIN_SAMPLES, MAX_SAMPLES))


def clipping_bounds(X: np.ndarray) -> NDArray[np.float64]:
    """Compute the bounds to which training samples of a stream are clipped.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)

    Returns
    -------
    float64 ndarray of shape (2, n_features)
        Lower and upper bounds. The bounds of a feature that is constant except for its
        tails are infinite, unless some samples are extreme in other features: then,
        they are the bounds of the samples that are not.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.append(np.arange(100.0), 1e6)[:, None]
    >>> clipping_bounds(X).ravel()
    array([-279.,  379.])
    """
    bounds = np.full((2, X.shape[1]), np.inf)
    bounds[0] = -np.inf
    if len(X) >= MIN_SAMPLES_WITH_TAILS:
        tail = int(TAIL * len(X)) + 1
        ordered = np.partition(X, [tail, len(X) - 1 - tail], axis=0)
        low, high = ordered[tail].astype(float), ordered[-1 - tail].astype(float)
        spread = BOUND_DISTANCE * (high - low)
        bounds = np.where(spread > 0, [low - spread, high + spread], bounds)
        moderate = without_extremes(X, bounds)
        if moderate.any() and not moderate.all():
            bounds = np.where(spread > 0, bounds, _bounds_of_range(X[moderate]))
    return bounds


def _bounds_of_range(X: np.ndarray) -> NDArray[np.float64]:
    """Return the bounds of samples that are not extreme in other features."""
    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    spread = BOUND_DISTANCE * (high - low)
    return np.stack([low - spread, high + spread])


def without_extremes(X: np.ndarray, bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which samples have no extreme values, far beyond all others.

    No value is extreme in a feature whose bounds are equal.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    bounds : float64 ndarray of shape (2, n_features)
        See `clipping_bounds`.

    Returns
    -------
    bool ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> without_extremes(np.array([[0.5], [-900.0], [2e3]]), np.array([[0.0], [1.0]]))
    array([ True,  True, False])
    """
    low, high = bounds
    margin = np.where(low < high, EXTREME * (high - low), np.inf)
    return ((low - margin <= X) & (high + margin >= X)).all(axis=1)


def _places(
    labels: NDArray[np.int32], ranks: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the order by class and rank, and the rank of each sample in its class."""
    order = np.lexsort((ranks, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    return order, np.arange(len(labels)) - starts[labels[order]]


def _most_of_each(place: NDArray[np.intp], limit: int) -> int:
    """Return the maximum number of samples that each class can store."""
    if len(place) <= limit:
        return 2**62
    taken = np.cumsum(np.bincount(place))
    return max(1, int(np.searchsorted(taken, limit, side="right")))


def _blocks(X: np.ndarray | RowSource, mask: NDArray[np.bool_]) -> list[np.ndarray]:
    if not mask.any():
        return []
    return [block for _, block in iter_chunks(select_samples(X, mask))]
