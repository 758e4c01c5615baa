"""The frozen input layer: standardised columns, projected to the network's width.

The tutorial's network opens with a frozen random dense layer. Being frozen and
linear it needs computing once per row, not once per row and epoch, and it can
be chosen to keep distances, which the Gaussian-process output relies on:

- with at most `num_hidden` columns it is a random isometry times a constant:
  ratios of distances between rows are kept exactly;
- with more columns it keeps the `num_hidden` directions of largest variance,
  randomly rotated: no linear map to that width keeps squared distances better.
  A random projection costs 1 to 2 points of accuracy on images
  (``benchmarks/defaults.py``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.special import ndtri
from sklearn.preprocessing import StandardScaler

from .sources import CHUNK_FLOATS, RowSource, row_blocks, select_samples, slices

#: Rounds of subspace iteration for the leading directions of wide inputs.
SUBSPACE_ITERATIONS = 4
#: Standardised values are cut off here, so that no later product overflows.
LARGEST = {"float32": 1e15, "float64": 1e100}
#: Standardised values grow logarithmically from here on.
TAIL = 8.0
#: Values farther from the median than so many robust standard deviations count as if
#: they were there when the mean and the scale of a column are computed.
OUTLYING = 10.0
#: Pairs of quantiles whose distance gives the robust standard deviation: the first that
#: differ, as columns may have one value nearly everywhere.
QUANTILES = (0.25, 0.1, 0.05, 0.02)
#: Samples that the quantiles are computed from.
QUANTILE_SAMPLES = 10_000
#: Numbers of rows that are predicted at once.
BLOCK_SIZES = (64, 256, 1024)


@dataclass(frozen=True)
class InputProjection:
    """Standardisation and frozen projection of rows.

    Parameters
    ----------
    scaler : StandardScaler or None
        Fitted; None leaves columns as they are. One of fewer columns than rows have
        is that of images' channels.
    kernel : float64 ndarray of shape (members, n_features, num_hidden) or None
        None leaves columns in their places, for all members the same.
    tail : float or None, default=None
        Absolute standardised value z from which on it is replaced by
        ``tail + log(1 + z - tail)``: a few extreme cells do not dominate a network's
        input, and stay extreme. None leaves values as they are.
    """

    scaler: StandardScaler | None
    kernel: np.ndarray | None
    tail: float | None = None

    def row_floats(self, num_columns: int) -> int:
        """How many floats a row of so many columns has when it is projected."""
        return num_columns if self.kernel is None else self.kernel[:, 0].size

    def __call__(
        self, X: np.ndarray | RowSource, dtype: DTypeLike = np.float64
    ) -> np.ndarray:
        """Project rows, chunk by chunk.

        Parameters
        ----------
        X : ndarray or RowSource of shape (n, n_features)
        dtype : dtype, default=float64
            Of the result; the arithmetic is float64.

        Returns
        -------
        ndarray of shape (n, num_hidden) or, with several members, (members, n,
        num_hidden)
        """
        if self.kernel is None:
            return self._unprojected(X, dtype)
        members, n_features, width = self.kernel.shape
        projected = np.empty((members, len(X), width), dtype)
        for rows, chunk in row_blocks(X, max(n_features, members * width)):
            np.matmul(
                self._standardise(chunk, dtype),
                self.kernel,
                out=projected[:, rows],
                casting="same_kind",
            )
        return projected[0] if members == 1 else projected

    def _unprojected(self, X: np.ndarray | RowSource, dtype: DTypeLike) -> np.ndarray:
        rows = np.empty(X.shape, dtype)
        for part, chunk in row_blocks(X):
            rows[part] = self._standardise(chunk, dtype)
        return rows

    def _standardise(self, rows: np.ndarray, dtype: DTypeLike) -> NDArray[np.float64]:
        return standardise(self.scaler, rows, LARGEST[np.dtype(dtype).name], self.tail)

    def rescaled(
        self,
        X: np.ndarray | RowSource,
        weights: np.ndarray,
        before: StandardScaler | None = None,
    ) -> InputProjection:
        """Take the column means and variances of other rows; keep the kernel.

        With `before`, the rows that it was fitted on count as well.
        """
        if self.scaler is None:
            return self
        scaler = StandardScaler() if before is None else copy.deepcopy(before)
        channels = len(self.scaler.mean_)
        return replace(self, scaler=_fit_scaler(scaler, X, weights, channels))


def fit_projection(
    X: np.ndarray | RowSource,
    weights: np.ndarray,
    *,
    num_hidden: int | None,
    members: int,
    standardize: bool,
    rng: np.random.Generator,
    channels: int | None = None,
) -> InputProjection:
    """Fit the standardisation and choose the projection.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    weights : ndarray of shape (n,)
        A row of weight 2 counts as two, one of weight 0 as none.
    num_hidden : int or None
        Width of the network; None for one that takes the columns as they are.
    members : int
        Number of networks; each gets a rotation of its own.
    standardize : bool
    rng : numpy.random.Generator
    channels : int, default=None
        Of images, whose pixels have one mean and scale for each channel.

    Returns
    -------
    InputProjection
    """
    scaler = tail = None
    if standardize:
        scaler = _fit_scaler(StandardScaler(), X, weights, channels)
        tail = TAIL
    if num_hidden is None:
        return InputProjection(scaler, None, tail)
    if X.shape[1] <= num_hidden:
        # The gain a Glorot-uniform layer of this shape has on average.
        gain = np.sqrt(2 * num_hidden / (num_hidden + X.shape[1]))
        kernel = [
            gain * _random_orthonormal(rng, num_hidden, X.shape[1]).T
            for _ in range(members)
        ]
    else:
        basis = _principal_subspace(scaler, tail, X, weights, num_hidden, rng)
        kernel = [
            basis @ _random_orthonormal(rng, num_hidden, num_hidden)
            for _ in range(members)
        ]
    return InputProjection(scaler, np.stack(kernel), tail)


def standardise(
    scaler: StandardScaler | None,
    X: np.ndarray,
    largest: float = LARGEST["float64"],
    tail: float | None = None,
) -> NDArray[np.float64]:
    """Standardised float64 copy of X, logarithmic from `tail`, cut off at `largest`."""
    rows = _row_major(X)
    if scaler is not None:
        pixels = rows.reshape(-1, len(scaler.mean_))
        pixels -= scaler.mean_
        with np.errstate(over="ignore"):
            pixels /= scaler.scale_
    np.clip(rows, -largest, largest, out=rows)
    if tail is not None:
        extreme = np.abs(rows) > tail
        values = rows[extreme]
        beyond = np.log1p(np.abs(values) - tail)
        rows[extreme] = np.copysign(tail + beyond, values)
    return rows


def scaler_of_columns(
    scaler: StandardScaler, num_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each column, of those of images' channels."""
    pixels = num_columns // len(scaler.mean_)
    return np.tile(scaler.mean_, pixels), np.tile(scaler.scale_, pixels)


def padded_blocks(
    X: np.ndarray | RowSource, width: int, budget: int = CHUNK_FLOATS
) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of rows to predict, padded with zeros to one of `BLOCK_SIZES`.

    Matrix products of other shapes may add their terms in another order. With
    few shapes, none of them narrow, a row's prediction is the same to the last
    bit whichever rows are predicted beside it.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    width : int
        Floats that one row needs; a block's stay within `budget`, but for the
        smallest of blocks.

    Yields
    ------
    rows : slice
    block : ndarray of shape (size, n_features)
        These rows, then rows of zeros.
    """
    # Below the number of rows, so that few rows, too, make work for two cores.
    sizes = [
        size for size in BLOCK_SIZES if size * width <= budget and size < len(X)
    ] or BLOCK_SIZES[:1]
    for read, chunk in row_blocks(X):
        for part in slices(len(chunk), sizes[-1]):
            block = chunk[part]
            size = next(size for size in sizes if size >= len(block))
            if len(block) < size:
                block = np.concatenate(
                    [block, np.zeros((size - len(block), X.shape[1]), block.dtype)]
                )
            yield slice(read.start + part.start, read.start + part.stop), block


def _fit_scaler(
    scaler: StandardScaler,
    X: np.ndarray | RowSource,
    weights: np.ndarray,
    channels: int | None = None,
) -> StandardScaler:
    channels = channels or X.shape[1]
    low, high = _ordinary_range(X, weights, channels)
    for rows, chunk in row_blocks(X):
        if weights[rows].any():
            pixels = _row_major(chunk).reshape(-1, channels)
            scaler.partial_fit(
                np.clip(pixels, low, high, out=pixels),
                sample_weight=np.repeat(weights[rows], X.shape[1] // channels),
            )
    return scaler


def _ordinary_range(
    X: np.ndarray | RowSource, weights: np.ndarray, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds, column by column, of values that are not outlying."""
    known = np.flatnonzero(weights)
    chosen = np.zeros(len(weights), bool)
    chosen[known[:: -(-len(known) // QUANTILE_SAMPLES)]] = True
    pixels = np.concatenate(
        [_row_major(chunk) for _, chunk in row_blocks(select_samples(X, chosen))]
    ).reshape(-1, channels)
    weights = np.repeat(weights[chosen], X.shape[1] // channels)
    shares = np.array([0.5, *QUANTILES, *(1.0 - np.array(QUANTILES))])
    low, high = np.full(channels, -np.inf), np.full(channels, np.inf)
    for column, values in enumerate(pixels.T):
        median, *quantiles = _quantiles(values, weights, shares)
        for share, first, last in zip(
            QUANTILES, *np.split(np.array(quantiles), 2), strict=True
        ):
            if last > first:
                reach = OUTLYING * (last - first) / (-2.0 * ndtri(share))
                low[column], high[column] = median - reach, median + reach
                break
    return low, high


def _quantiles(
    values: np.ndarray, weights: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Quantiles of values that weigh as much as if they were repeated."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    found = np.searchsorted(total, shares * total[-1] * (1.0 - 1e-9))
    return values[order][found]


def _row_major(X: np.ndarray) -> NDArray[np.float64]:
    """Float64 copy in C order: sums round differently in another order."""
    return X.astype(np.float64, order="C")


def _random_orthonormal(
    rng: np.random.Generator, size: int, columns: int
) -> NDArray[np.float64]:
    """`columns` random orthonormal columns of length `size`."""
    q, r = np.linalg.qr(rng.standard_normal((size, columns)))
    return q * np.sign(np.diag(r))  # the signs make the distribution uniform


def _principal_subspace(
    scaler: StandardScaler | None,
    tail: float | None,
    X: np.ndarray | RowSource,
    weights: np.ndarray,
    width: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Orthonormal basis of (nearly) the directions of largest weighted variance."""
    center = np.zeros(X.shape[1])
    if scaler is None:
        total = sum(weights[rows] @ _row_major(chunk) for rows, chunk in row_blocks(X))
        center = total / weights.sum()
    basis = _random_orthonormal(rng, X.shape[1], width)
    for _ in range(SUBSPACE_ITERATIONS):
        image = np.zeros_like(basis)
        for rows, chunk in row_blocks(X):
            centred = standardise(scaler, chunk, tail=tail) - center
            image += centred.T @ ((centred @ basis) * weights[rows, None])
        basis, _ = np.linalg.qr(image)
    return basis
