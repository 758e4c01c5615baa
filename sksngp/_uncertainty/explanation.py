"""Explanations of out-of-distribution scores: contributions and similar samples."""

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

#: Number of reference samples with which each sample exchanges its features.
NUM_DONORS = 5
#: Maximum number of samples to score at once, and maximum number of their values.
CHUNK_SIZE = 4096
CHUNK_VALUES = 2**24
#: Approximate number of patches along the longer side of an image.
NUM_PATCHES = 8


@dataclass(frozen=True)
class OODExplanation:
    """Explanation of out-of-distribution scores, returned by `explain_ood`.

    Parameters
    ----------
    contributions : float64 ndarray of shape (n_samples, n_features)
        Contribution of each feature to the out-of-distribution score, in units of the
        score. For images, the shape is (n_samples, height, width), and each pixel has
        the contribution of its patch.
    scores : float64 ndarray of shape (n_samples,)
        Out-of-distribution scores.
    typical_scores : float64 ndarray of shape (n_samples,)
        Mean scores of the reference samples with which each sample is compared.
    compared_with : int ndarray of shape (n_samples, min(5, n_reference))
        Positions of these reference samples in `X_reference`. They are the samples that
        agree with the explained sample in most features.
    neighbors : int ndarray of shape (n_samples, min(n_neighbors, n_reference))
        Positions in `X_reference` of the nearest samples in terms of the hidden
        representation, in order of increasing distance.
    distances : float64 ndarray of the shape of `neighbors`
        Euclidean distances between the hidden representations of a sample and its
        neighbors.
    feature_names : list of str
        Column names of a dataframe, or "x0", "x1" and so on.
    X : array or dataframe of shape (n_samples, n_features)
        Samples that are explained.
    """

    contributions: NDArray[np.float64]
    scores: NDArray[np.float64]
    typical_scores: NDArray[np.float64]
    compared_with: NDArray[np.intp]
    neighbors: NDArray[np.intp]
    distances: NDArray[np.float64]
    feature_names: list[str]
    X: Any

    def to_frame(self) -> pd.DataFrame:
        """Return the contributions as a dataframe of shape (n_samples, n_features).

        If `X` is a pandas dataframe, its columns and its index are used. Otherwise, the
        columns are those in `feature_names`.

        Returns
        -------
        DataFrame

        Raises
        ------
        ValueError
            If the samples are images.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sksngp import ResNetClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> clf = ResNetClassifier(num_layers=1, cv=None, epochs=2, random_state=0)
        >>> explanation = clf.fit(X, y).explain_ood(X.tail(2), X)
        >>> explanation.to_frame().shape
        (2, 4)
        """
        if self.contributions.ndim != 2:
            raise ValueError(
                "Only explanations of samples with features can be converted to a "
                f"dataframe, got images of shape {self.contributions.shape[1:]}. Use "
                "the attribute contributions."
            )
        if isinstance(self.X, pd.DataFrame):
            return pd.DataFrame(self.contributions, self.X.index, self.X.columns)
        return pd.DataFrame(self.contributions, columns=self.feature_names)

    def sample_values(self, sample: int) -> np.ndarray:
        """Return the feature values of a sample, as objects if their types differ."""
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
        Function that returns the out-of-distribution scores of a table such as `X`.
    represent : callable
        Function that returns the hidden representations of a table such as `X`.
    X, X_reference : array or dataframe of shape (n_samples, n_features)
        Samples to explain, and reference samples with the same features. Images may
        have the shape (n_samples, height, width, channels).
    n_neighbors : int
        Number of neighbors to find. It is limited to the number of reference samples.
    image_shape : tuple or None, default=None
        Height, width and channels if the samples of a two-dimensional `X` are flattened
        images.

    Returns
    -------
    OODExplanation
        Contributions, scores and similar samples.
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
    values = contributions(score, X, X_reference, groups, donors, scores, donor_scores)
    neighbors, distances = _neighbors(represent, X, X_reference, n_neighbors)
    return OODExplanation(
        contributions=values if shape is None else _maps(values, groups, shape),
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
    """Compute the contribution of each group of features to the score of each sample.

    The contribution is the mean of two differences: the decrease in the score of the
    sample if the features of the group take the values of a donor, and the increase in
    the score of the donor if they take the values of the sample. Donors are reference
    samples, and the mean is also taken over the donors.

    Parameters
    ----------
    score : callable
        Function that returns the out-of-distribution scores of a table such as `X`.
    X, X_reference : array or dataframe
        Tables of n samples and of m reference samples.
    groups : sequence of int ndarray
        Positions of the features that are exchanged together, in flattened samples.
    donors : int ndarray of shape (n, k)
        Positions of the donors in `X_reference`.
    scores : ndarray of shape (n,)
        Scores of the samples.
    donor_scores : ndarray of shape (n, k)
        Scores of the donors.

    Returns
    -------
    float64 ndarray of shape (n, len(groups))
        Contributions in units of the score.
    """
    values = np.empty((len(X), len(groups)))
    k = donors.shape[1]
    width = max(1, int(np.prod(X.shape[1:])))
    chunk_size = max(1, min(CHUNK_SIZE, CHUNK_VALUES // width) // (2 * k))
    for start in range(0, len(X), chunk_size):
        rows = np.arange(start, min(start + chunk_size, len(X)))
        own = _take(X, np.repeat(rows, k))
        others = _take(X_reference, donors[rows].ravel())
        num_groups = max(1, chunk_size // len(rows))
        for first in range(0, len(groups), num_groups):
            chosen = groups[first : first + num_groups]
            pairs = ((own, others), (others, own))
            mixed = [_mixed(*pair, group) for group in chosen for pair in pairs]
            new = np.asarray(score(_stacked(mixed)))
            new = new.reshape(len(chosen), 2, len(rows), k)
            decrease = scores[rows, None] - new[:, 0]
            increase = new[:, 1] - donor_scores[rows]
            mean = (decrease + increase).mean(axis=-1) / 2
            values[rows, first : first + num_groups] = mean.T
    return values


def nearest_by_features(X: Any, X_reference: Any, k: int) -> NDArray[np.intp]:
    """Find the reference samples that agree with each sample in most features.

    The squared difference in each feature is divided by the variance of the feature and
    clipped at 1. If a single feature of a sample is erroneous, its other features
    therefore determine the nearest reference samples.

    Returns
    -------
    int ndarray of shape (n, min(k, m))
        Positions in `X_reference`, in order of increasing distance.
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
    """Compute the scores of the samples at `positions`, in an array of its shape."""
    if not positions.size:
        return np.zeros(positions.shape)
    unique, index = np.unique(positions, return_inverse=True)
    return score(_take(X, unique))[index.reshape(positions.shape)]


def _comparable(
    X: Any, X_reference: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Convert two tables to numbers, and compute the standard deviations of columns.

    Categories are encoded as integers. The standard deviation of categorical and
    constant columns is a tiny number, so that different values have a large distance.
    """
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
    """Return positions and distances of the nearest reference samples."""
    k = min(k, len(X_reference))
    if not len(X):
        return np.zeros((0, k), np.intp), np.zeros((0, k))
    index = NearestNeighbors(n_neighbors=k).fit(represent(X_reference))
    distances, neighbors = index.kneighbors(represent(X))
    return neighbors, distances


# Images


def _patches(shape: tuple[int, ...]) -> Iterator[NDArray[np.intp]]:
    """Yield the positions of the values of each patch in a flattened image."""
    position = np.arange(np.prod(shape)).reshape(shape)
    side = -(-max(shape[:2]) // NUM_PATCHES)
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield position[top : top + side, left : left + side].ravel()


def _maps(
    values: NDArray[np.float64],
    groups: Sequence[NDArray[np.intp]],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Assign the contribution of each patch to its pixels."""
    flat = np.empty((len(values), int(np.prod(shape))))
    for number, group in enumerate(groups):
        flat[:, group] = values[:, number, None]
    return flat.reshape(len(values), *shape)[..., 0]


# Arrays, and dataframes of pandas and polars


def _table(X: Any, name: str) -> Any:
    """Convert input to an array of two or four dimensions, or return a dataframe."""
    if issparse(X):
        raise TypeError(f"Sparse input is not supported: pass {name}.toarray().")
    if hasattr(X, "compute"):  # a lazy dask collection
        X = X.compute()
    X = X if hasattr(X, "columns") else np.asarray(X)
    if isinstance(X, np.ndarray) and X.ndim not in (2, 4):
        hint = " Use reshape(1, -1) for a single sample." if X.ndim == 1 else ""
        raise ValueError(
            f"{name} must be an array or a dataframe of shape (n_samples, n_features), "
            "or images of shape (n_samples, height, width, channels), "
            f"got an array of shape {X.shape}.{hint}"
        )
    return X


def _check_match(X: Any, X_reference: Any) -> None:
    """Check that the samples of two tables can exchange their features."""
    kinds = [type(table).__module__.split(".")[0] for table in (X, X_reference)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "X and X_reference must both be arrays, or dataframes of the same library, "
            f"got a {type(X).__name__} of {kinds[0]} and a "
            f"{type(X_reference).__name__} of {kinds[1]}."
        )
    if X.shape[1:] != X_reference.shape[1:] or len(X_reference) == 0:
        raise ValueError(
            "X_reference must have at least one sample and the same features as X, of "
            f"shape {X.shape[1:]}, got an X_reference of shape {X_reference.shape}."
        )
    if _names(X) != _names(X_reference):
        raise ValueError(
            "X_reference must have the same columns as X in the same order, "
            f"{reprlib.repr(_names(X))}, got {reprlib.repr(_names(X_reference))}."
        )


def _names(X: Any) -> list[str]:
    if hasattr(X, "columns"):
        return [str(name) for name in X.columns]
    return [f"x{number}" for number in range(int(np.prod(X.shape[1:])))]


def _single_columns(X: Any) -> list[NDArray[np.intp]]:
    return [np.array([column]) for column in range(X.shape[1])]


def _columns(X: Any) -> Iterator[np.ndarray]:
    """Yield the columns of a table of flattened samples as arrays."""
    if isinstance(X, np.ndarray):
        yield from X.reshape(len(X), int(np.prod(X.shape[1:]))).T
    elif hasattr(X, "iloc"):
        yield from (X.iloc[:, j].to_numpy() for j in range(X.shape[1]))
    else:
        yield from (X.to_series(j).to_numpy() for j in range(X.shape[1]))


def _take(X: Any, index: NDArray[np.intp]) -> Any:
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


def _mixed(X: Any, donor: Any, group: NDArray[np.intp]) -> Any:
    """Return a copy of `X` with a group of columns replaced by those of `donor`."""
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
