"""Rows of a stream that are remembered: a bounded sample that no order changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sources import RowSource, iter_chunks, select_samples

#: Rows that are remembered, and fewest where rows are long.
MOST_ROWS = 2000
FEWEST_ROWS = 256
#: Values that are remembered, unless that is fewer than `FEWEST_ROWS` rows.
MOST_VALUES = 2**22
#: Share of a column's values on either side that do not say how far it reaches.
TAIL = 0.025
#: Values beyond this many times the distance between the tails are brought back to it.
REACH = 3.0
#: Values are wild beyond this many times the distance between a column's bounds.
WILD = 4.0
#: Fewer rows have no tails.
FEWEST_WITH_TAILS = 5


@dataclass(frozen=True)
class StreamMemory:
    """Unique rows of a stream, and what all of its rows weigh.

    Each class keeps the rows with the smallest hashes, or the latest rows, and all
    classes that have more rows than fit keep the same number. The hashes are random, so
    that these are a random sample of the unique rows of a class. Which rows are kept
    does not depend on their order nor on the chunks that they came in.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    labels : int32 ndarray of shape (n,)
    weights : float64 ndarray of shape (n,)
        Of a row that came several times, the sum.
    hashes : uint64 ndarray of shape (n,)
        What tells rows apart.
    arrival : int64 ndarray of shape (n,)
        Rows that had come before a row last came.
    totals : float64 ndarray of shape (n_classes,)
        Weight of all rows that came, by class.
    seen : int, default=0
        Number of rows that came.
    most : int, default=2**62
        Number of rows that a class can keep. It only falls: a row that would be kept
        later is never given up before.
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
        """Memory after more rows.

        Parameters
        ----------
        X : ndarray or RowSource of shape (m, n_features)
        labels, weights, hashes : ndarray of shape (m,)
        limit : int
            Rows to keep.
        latest : bool, default=False
            Keep the latest rows, of whatever class, rather than a random sample.

        Returns
        -------
        StreamMemory
        """
        all_labels = np.append(self.labels, labels)
        all_hashes = np.append(self.hashes, hashes)
        arrival = np.append(self.arrival, self.seen + np.arange(len(labels)))
        # A row with two labels is two rows.
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
        kept = kept[np.argsort(first[kept])]  # rows that are known already come first
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

    def sample_weights(self) -> NDArray[np.float64]:
        """Weights with which the kept rows stand for all rows of their classes."""
        kept = np.bincount(self.labels, self.weights, minlength=len(self.totals))
        return self.weights * (self.totals / np.maximum(kept, 1e-300))[self.labels]


def empty_memory(X: np.ndarray | RowSource, num_classes: int) -> StreamMemory:
    """Memory without rows, for rows like those of `X`."""
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
    """Rows of so many features that are remembered."""
    return int(np.clip(MOST_VALUES // num_features, FEWEST_ROWS, MOST_ROWS))


def reach(X: np.ndarray) -> NDArray[np.float64]:
    """Lowest and highest value of each column that a stream is trained on.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)

    Returns
    -------
    float64 ndarray of shape (2, n_features)
        For columns that are constant but for their tails, infinite, or the bounds of
        rows that are not wild in other columns if there are rows that are.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.append(np.arange(100.0), 1e6)[:, None]
    >>> reach(X).ravel()
    array([-279.,  379.])
    """
    bounds = np.full((2, X.shape[1]), np.inf)
    bounds[0] = -np.inf
    if len(X) >= FEWEST_WITH_TAILS:
        tail = int(TAIL * len(X)) + 1
        ordered = np.partition(X, [tail, len(X) - 1 - tail], axis=0)
        low, high = ordered[tail].astype(float), ordered[-1 - tail].astype(float)
        spread = REACH * (high - low)
        bounds = np.where(spread > 0, [low - spread, high + spread], bounds)
        tame = are_tame(X, bounds)
        if tame.any() and not tame.all():
            bounds = np.where(spread > 0, bounds, _reach_of_tame(X[tame]))
    return bounds


def _reach_of_tame(X: np.ndarray) -> NDArray[np.float64]:
    """Bounds of columns without tails by rows that are not wild in other columns."""
    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    spread = REACH * (high - low)
    return np.stack([low - spread, high + spread])


def are_tame(X: np.ndarray, bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows have no value that is wild, far beyond all others.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    bounds : float64 ndarray of shape (2, n_features)
        See `reach`.

    Returns
    -------
    bool ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> are_tame(np.array([[0.5], [-4.0], [5.1]]), np.array([[0.0], [1.0]]))
    array([ True,  True, False])
    """
    low, high = bounds
    margin = WILD * (high - low)
    return ((low - margin <= X) & (high + margin >= X)).all(axis=1)


def _places(
    labels: NDArray[np.int32], ranks: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order by class and rank, and the places of the rows so ordered in their class."""
    order = np.lexsort((ranks, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    return order, np.arange(len(labels)) - starts[labels[order]]


def _most_of_each(place: NDArray[np.intp], limit: int) -> int:
    """Largest number of rows that all classes can keep."""
    if len(place) <= limit:
        return 2**62
    taken = np.cumsum(np.bincount(place))
    return max(1, int(np.searchsorted(taken, limit, side="right")))


def _blocks(X: np.ndarray | RowSource, mask: NDArray[np.bool_]) -> list[np.ndarray]:
    if not mask.any():
        return []
    return [block for _, block in iter_chunks(select_samples(X, mask))]
