"""Why samples are unusual: contributions of their features, and similar samples."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.neighbors import NearestNeighbors

#: Reference samples that each sample exchanges its features with.
NUM_DONORS = 5
#: Samples scored at once, and the most values of these.
BATCH_SIZE = 4096
BATCH_VALUES = 2**24
#: Images are divided into about so many patches along their longer side.
NUM_PATCHES = 8


@dataclass(frozen=True)
class OODExplanation:
    """What `explain_ood` finds.

    Parameters
    ----------
    contributions : float64 ndarray of shape (n_samples, n_features)
        How much each feature contributes to the out-of-distribution score, in units of
        the score. Of images, of shape (n_samples, height, width): the contribution of
        the patch that a pixel belongs to.
    scores : float64 ndarray of shape (n_samples,)
        Out-of-distribution scores.
    typical_scores : float64 ndarray of shape (n_samples,)
        Mean scores of the reference samples that a sample is compared with.
    compared_with : int ndarray of shape (n_samples, 5)
        Positions of these in `X_reference`: the samples that most features agree with.
    neighbors : int ndarray of shape (n_samples, n_neighbors)
        Positions in `X_reference` of the samples that are nearest in the hidden
        representation of the network, the nearest first.
    distances : float64 ndarray of shape (n_samples, n_neighbors)
        Their Euclidean distances there.
    feature_names : list of str
        Names of the columns of a frame, or else "x0", "x1" and so on.
    X : array or dataframe of shape (n_samples, n_features)
        The samples.
    """

    contributions: NDArray[np.float64]
    scores: NDArray[np.float64]
    typical_scores: NDArray[np.float64]
    compared_with: NDArray[np.intp]
    neighbors: NDArray[np.intp]
    distances: NDArray[np.float64]
    feature_names: list[str]
    X: Any

    def sample_values(self, sample: int) -> np.ndarray:
        """Values of the features of a sample, an object ndarray for mixed types."""
        values = [column[sample] for column in _columns(self.X)]
        kinds = {type(value) for value in values}
        return np.array(values, dtype=None if len(kinds) == 1 else object)


def explain(
    score: Callable[[Any], np.ndarray],
    represent: Callable[[Any], np.ndarray],
    X: Any,
    X_reference: Any,
    *,
    n_neighbors: int,
    image_shape: tuple[int, ...] | None = None,
) -> OODExplanation:
    """Explain out-of-distribution scores.

    Parameters
    ----------
    score : callable
        Out-of-distribution scores of a table like `X`.
    represent : callable
        Hidden representations of such a table.
    X, X_reference
        Arrays or dataframes with the same columns; images of four dimensions.
    n_neighbors : int
        Number of neighbors to find, at most the number of reference samples.
    image_shape : tuple or None, default=None
        Height, width and channels, if rows of two dimensions are images.

    Returns
    -------
    OODExplanation
    """
    if not isinstance(n_neighbors, Integral) or n_neighbors < 1:
        raise ValueError(
            f"n_neighbors must be an int of at least 1, got {n_neighbors!r}."
        )
    X, X_reference = _table(X, "X"), _table(X_reference, "X_reference")
    _check_match(X, X_reference)
    shape = X.shape[1:] if len(X.shape) == 4 else image_shape
    groups = _single_columns(X) if shape is None else list(_patches(shape))
    scores = score(X) if len(X) else np.zeros(0)
    donors = nearest_by_features(X, X_reference, NUM_DONORS)
    donor_scores = _scores_of(score, X_reference, donors)
    found = contributions(score, X, X_reference, groups, donors, scores, donor_scores)
    neighbors, distances = _neighbors(represent, X, X_reference, n_neighbors)
    return OODExplanation(
        contributions=found if shape is None else _maps(found, groups, shape),
        scores=scores,
        typical_scores=donor_scores.mean(axis=1),
        compared_with=donors,
        neighbors=neighbors,
        distances=distances,
        feature_names=_names(X),
        X=X,
    )


def contributions(
    score: Callable[[Any], np.ndarray],
    X: Any,
    X_reference: Any,
    groups: Sequence[NDArray[np.intp]],
    donors: NDArray[np.intp],
    scores: NDArray[np.float64],
    donor_scores: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Contribution of each group of columns to the score of each sample.

    It is the mean of two differences: by how much the score of a sample decreases if
    the columns take the values of a donor, and by how much the score of the donor
    increases if they take the values of the sample.

    Parameters
    ----------
    score : callable
    X, X_reference
        Tables with n and m rows.
    groups : sequence of int ndarray
        Columns that are exchanged together, of flat rows.
    donors : int ndarray of shape (n, k)
        Positions in `X_reference`.
    scores : ndarray of shape (n,)
    donor_scores : ndarray of shape (n, k)

    Returns
    -------
    float64 ndarray of shape (n, len(groups))
    """
    found = np.empty((len(X), len(groups)))
    k = donors.shape[1]
    width = max(1, int(np.prod(X.shape[1:])))
    per_batch = max(1, min(BATCH_SIZE, BATCH_VALUES // width) // (2 * k))
    for start in range(0, len(X), per_batch):
        rows = np.arange(start, min(start + per_batch, len(X)))
        own = _take(X, np.repeat(rows, k))
        others = _take(X_reference, donors[rows].ravel())
        at_once = max(1, per_batch // len(rows))
        for first in range(0, len(groups), at_once):
            chosen = groups[first : first + at_once]
            pairs = ((own, others), (others, own))
            mixed = [_mixed(*pair, group) for group in chosen for pair in pairs]
            new = np.asarray(score(_stacked(mixed)))
            new = new.reshape(len(chosen), 2, len(rows), k)
            decrease = scores[rows, None] - new[:, 0]
            increase = new[:, 1] - donor_scores[rows]
            mean = (decrease + increase).mean(axis=-1) / 2
            found[rows, first : first + at_once] = mean.T
    return found


def nearest_by_features(X: Any, X_reference: Any, k: int) -> NDArray[np.intp]:
    """Reference samples that agree with each sample in most of its features.

    Squared differences count in units of a feature's variance, and at most as 1: the
    distance of a sample with one wrong feature is decided by its other features.

    Returns
    -------
    int ndarray of shape (n, min(k, m))
    """
    numbers, others, scale = _comparable(X, X_reference)
    k = min(k, len(others))
    nearest = np.empty((len(numbers), k), np.intp)
    for row, own in enumerate(numbers):
        with np.errstate(over="ignore", invalid="ignore"):
            difference = np.minimum(((others - own) / scale) ** 2, 1.0)
        one_is_missing = np.isnan(others) != np.isnan(own)
        difference = np.where(one_is_missing, 1.0, np.nan_to_num(difference))
        distance = difference.sum(axis=1)
        nearest[row] = np.argsort(distance, kind="stable")[:k]
    return nearest


def _scores_of(
    score: Callable[[Any], np.ndarray], X: Any, positions: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Scores of the samples at some positions, of the same shape as these."""
    if not positions.size:
        return np.zeros(positions.shape)
    unique, index = np.unique(positions, return_inverse=True)
    return score(_take(X, unique))[index.reshape(positions.shape)]


def _comparable(
    X: Any, X_reference: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Tables as numbers, and standard deviations; tiny ones for categories."""
    columns = []
    for own, other in zip(_columns(X), _columns(X_reference), strict=True):
        joined = np.concatenate([own, other])
        try:
            values, numeric = joined.astype(float), True
        except (TypeError, ValueError):
            codes, _ = pd.factorize(joined.astype(object))
            values, numeric = np.where(codes < 0, np.nan, codes), False
        known = values[len(own) :][~np.isnan(values[len(own) :])]
        columns.append((values, known.std() if numeric and len(known) else 0.0))
    numbers = np.column_stack([values for values, _ in columns])
    scale = np.array([spread for _, spread in columns])
    numbers, others = np.split(numbers, [len(X)])
    return numbers, others, np.maximum(scale, np.finfo(float).tiny)


def _neighbors(
    represent: Callable[[Any], np.ndarray], X: Any, X_reference: Any, k: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Positions and distances of the nearest reference samples."""
    k = min(k, len(X_reference))
    if not len(X):
        return np.zeros((0, k), np.intp), np.zeros((0, k))
    index = NearestNeighbors(n_neighbors=k).fit(represent(X_reference))
    distances, neighbors = index.kneighbors(represent(X))
    return neighbors, distances


# Images


def _patches(shape: tuple[int, ...]) -> Iterator[NDArray[np.intp]]:
    """Positions in a flat image of the values of each patch."""
    position = np.arange(np.prod(shape)).reshape(shape)
    side = -(-max(shape[:2]) // NUM_PATCHES)
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield position[top : top + side, left : left + side].ravel()


def _maps(
    found: NDArray[np.float64],
    groups: Sequence[NDArray[np.intp]],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Contributions of patches as one of each pixel."""
    flat = np.empty((len(found), int(np.prod(shape))))
    for number, group in enumerate(groups):
        flat[:, group] = found[:, number, None]
    return flat.reshape(len(found), *shape)[..., 0]


# Arrays, and frames of pandas and polars


def _table(X: Any, name: str) -> Any:
    """An array of two or four dimensions, or a frame."""
    if issparse(X):
        raise TypeError(f"Sparse input is not supported: pass {name}.toarray().")
    if hasattr(X, "compute"):  # a lazy collection of dask
        X = X.compute()
    X = X if hasattr(X, "columns") else np.asarray(X)
    if isinstance(X, np.ndarray) and X.ndim not in (2, 4):
        raise ValueError(
            f"{name} must be an array or a dataframe of shape (n_samples, n_features), "
            "or images of shape (n_samples, height, width, channels); "
            f"got an array of shape {X.shape}."
        )
    return X


def _check_match(X: Any, X_reference: Any) -> None:
    """Check that columns can be exchanged."""
    kinds = [type(table).__module__.split(".")[0] for table in (X, X_reference)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "X and X_reference must both be arrays, or frames of the same library, got "
            f"a {type(X).__name__} of {kinds[0]} and a {type(X_reference).__name__} of "
            f"{kinds[1]}."
        )
    if X.shape[1:] != X_reference.shape[1:] or len(X_reference) == 0:
        raise ValueError(
            "X_reference must have at least one sample, and the features of X, of "
            f"shape {X.shape[1:]}; got an X_reference of shape {X_reference.shape}."
        )
    if _names(X) != _names(X_reference):
        raise ValueError(
            "X_reference must have the columns of X in the same order, "
            f"{reprlib.repr(_names(X))}, got {reprlib.repr(_names(X_reference))}."
        )


def _names(X: Any) -> list[str]:
    if hasattr(X, "columns"):
        return [str(name) for name in X.columns]
    return [f"x{number}" for number in range(int(np.prod(X.shape[1:])))]


def _single_columns(X: Any) -> list[NDArray[np.intp]]:
    return [np.array([column]) for column in range(X.shape[1])]


def _columns(X: Any) -> Iterator[np.ndarray]:
    """Columns of flat rows, as arrays."""
    if isinstance(X, np.ndarray):
        yield from X.reshape(len(X), int(np.prod(X.shape[1:]))).T
    elif hasattr(X, "iloc"):
        yield from (X.iloc[:, j].to_numpy() for j in range(X.shape[1]))
    else:
        yield from (X.to_series(j).to_numpy() for j in range(X.shape[1]))


def _take(X: Any, index: NDArray[np.intp]) -> Any:
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


def _mixed(X: Any, donor: Any, group: NDArray[np.intp]) -> Any:
    """`X` with a group of columns of another table."""
    if isinstance(X, np.ndarray):
        mixed = X.reshape(len(X), -1).astype(np.result_type(X, donor))
        mixed[:, group] = donor.reshape(len(X), -1)[:, group]
        return mixed.reshape(X.shape)
    if hasattr(X, "iloc"):
        mixed = X.copy()
        for column in group:
            mixed.isetitem(column, donor.iloc[:, column].array)
        return mixed
    return X.with_columns(*(donor.to_series(int(column)) for column in group))


def _stacked(tables: list[Any]) -> Any:
    if isinstance(tables[0], np.ndarray):
        return np.concatenate(tables)
    if hasattr(tables[0], "iloc"):
        return pd.concat(tables, ignore_index=True)
    import polars as pl

    return pl.concat(tables, how="vertical_relaxed")
