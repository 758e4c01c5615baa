"""Frozen input layer: standardization, and projection to the width of the network.

The first layer of the network in the tutorial is a frozen random dense layer. Since the
layer is frozen and linear, its output is computed once for each sample rather than once
per epoch. The layer can also be chosen to preserve distances, which the Gaussian
process output layer relies on:

- With at most `num_hidden` features, the layer is a random isometry times a constant,
  and ratios of distances between samples are preserved exactly.
- With more features, the layer projects onto the `num_hidden` directions of largest
  variance and applies a random rotation. No other linear map to this width preserves
  squared distances better. A random projection would decrease the accuracy on images
  by 1 to 2 percentage points (``benchmarks/defaults.py``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.special import ndtri
from sklearn.preprocessing import StandardScaler

from .sources import CHUNK_FLOATS, RowSource, iter_chunks, select_samples, slices

#: Number of subspace iterations to find the directions of largest variance.
SUBSPACE_ITERATIONS = 4
#: Bounds to which standardized values are clipped, so that later products do not
#: overflow.
LARGEST = {"float32": 1e15, "float64": 1e100}
#: Absolute standardized value above which values grow logarithmically.
TAIL = 8.0
#: Number of robust standard deviations around the median. Values outside this range are
#: clipped to it when the mean and the scale of a feature are computed.
OUTLYING = 10.0
#: Levels of the lower quantiles. The first pair of lower and upper quantiles that
#: differ determines the robust standard deviation, because nearly all values of a
#: feature may be equal.
QUANTILES = (0.25, 0.1, 0.05, 0.02)
#: Approximate number of samples from which the quantiles are computed.
QUANTILE_SAMPLES = 10_000
#: Sizes of prediction blocks.
BLOCK_SIZES = (64, 256, 1024)


@dataclass(frozen=True)
class InputProjection:
    """Standardization and frozen projection of samples.

    Parameters
    ----------
    scaler : StandardScaler or None
        Fitted scaler. For images, it has one mean and one scale for each channel. If
        None, features are not standardized.
    kernel : float64 ndarray of shape (members, n_features, num_hidden) or None
        Matrix of the projection for each ensemble member. If None, samples are not
        projected, and all ensemble members have the same input.
    tail : float or None, default=None
        Bound on absolute standardized values z. A larger z is replaced by
        ``tail + log(1 + z - tail)``. A few extreme values then do not dominate the
        input of the network, but remain extreme. If None, values are not changed.
    """

    scaler: StandardScaler | None
    kernel: np.ndarray | None
    tail: float | None = None

    def row_floats(self, num_columns: int) -> int:
        """Return the number of floats of a projected sample."""
        return num_columns if self.kernel is None else self.kernel[:, 0].size

    def __call__(
        self, X: np.ndarray | RowSource, dtype: DTypeLike = np.float64
    ) -> np.ndarray:
        """Project samples chunk by chunk.

        Parameters
        ----------
        X : ndarray or RowSource of shape (n, n_features)
            Samples.
        dtype : dtype, default=float64
            Data type of the result. Computations use float64.

        Returns
        -------
        ndarray of shape (n, num_hidden) or (members, n, num_hidden)
            Projected samples. The first dimension is omitted if there is one ensemble
            member.
        """
        if self.kernel is None:
            return self._unprojected(X, dtype)
        members, n_features, width = self.kernel.shape
        projected = np.empty((members, len(X), width), dtype)
        for rows, chunk in iter_chunks(X, max(n_features, members * width)):
            # With an output of another type, matmul would not use BLAS.
            projected[:, rows] = self._standardize(chunk, dtype) @ self.kernel
        return projected[0] if members == 1 else projected

    def _unprojected(self, X: np.ndarray | RowSource, dtype: DTypeLike) -> np.ndarray:
        rows = np.empty(X.shape, dtype)
        for part, chunk in iter_chunks(X):
            rows[part] = self._standardize(chunk, dtype)
        return rows

    def _standardize(self, rows: np.ndarray, dtype: DTypeLike) -> NDArray[np.float64]:
        return standardize_samples(
            self.scaler, rows, LARGEST[np.dtype(dtype).name], self.tail
        )

    def standardized(self, rows: Any, dtype: str, xp: Any) -> Any:
        """Standardize samples in an exported model.

        Parameters
        ----------
        rows : float64 array of shape (n, n_features)
        dtype : str
            Floating-point type of the network.
        xp : namespace
            Namespace of the array.

        Returns
        -------
        float64 array of shape (n, n_features)
            The result of `standardize_samples`, which computes in place.
        """
        if self.scaler is not None:
            mean, scale = scaler_by_column(self.scaler, rows.shape[1])
            rows = (rows - mean) / scale
        rows = xp.clip(rows, -LARGEST[dtype], LARGEST[dtype])
        return rows if self.tail is None else compress_tail(rows, self.tail, xp)

    def rescaled(
        self,
        X: np.ndarray | RowSource,
        weights: np.ndarray,
        before: StandardScaler | None = None,
    ) -> InputProjection:
        """Return a copy whose scaler is fitted to other samples.

        If `before` is given, the samples it was fitted to are included as well. The
        kernel does not change.
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
    """Fit the standardization and the projection.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Training samples.
    weights : ndarray of shape (n,)
        Sample weights. A sample of weight 2 is equivalent to two equal samples, and
        samples of weight 0 are ignored.
    num_hidden : int or None
        Width of the network. If None, samples are not projected.
    members : int
        Number of ensemble members. Each has its own random rotation.
    standardize : bool
        Whether to standardize features.
    rng : numpy.random.Generator
        Generator of the random rotations.
    channels : int, default=None
        Number of channels of images. The pixels of a channel share one mean and one
        scale. If None, each feature has its own.

    Returns
    -------
    InputProjection
        Fitted projection.
    """
    scaler = tail = None
    if standardize:
        scaler = _fit_scaler(StandardScaler(), X, weights, channels)
        tail = TAIL
    if num_hidden is None:
        return InputProjection(scaler, None, tail)
    if X.shape[1] <= num_hidden:
        # This is the average gain of a Glorot-uniform layer of this shape.
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


def standardize_samples(
    scaler: StandardScaler | None,
    X: np.ndarray,
    largest: float = LARGEST["float64"],
    tail: float | None = None,
) -> NDArray[np.float64]:
    """Return a standardized float64 copy of samples.

    Absolute values above `tail` grow logarithmically, and values are clipped to
    +-`largest`.
    """
    rows = _row_major(X)
    if scaler is not None:
        pixels = rows.reshape(-1, len(scaler.mean_))
        pixels -= scaler.mean_
        with np.errstate(over="ignore"):
            pixels /= scaler.scale_
    np.clip(rows, -largest, largest, out=rows)
    if tail is not None:
        extreme = np.abs(rows) > tail
        rows[extreme] = compress_tail(rows[extreme], tail)
    return rows


def compress_tail(values: Any, tail: float, xp: Any = np) -> Any:
    """Let absolute values above `tail` grow logarithmically; leave others unchanged.

    Parameters
    ----------
    values : array
    tail : float
    xp : namespace, default=numpy
        Namespace of the array; see `sksngp._uncertainty.arrays`.
    """
    size = xp.abs(values)
    beyond = xp.log1p(xp.maximum(size - tail, 0.0))
    return xp.sign(values) * (xp.minimum(size, tail) + beyond)


def scaler_by_column(
    scaler: StandardScaler, num_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the scale of each feature.

    For images, those of the channels are repeated for each pixel.
    """
    pixels = num_columns // len(scaler.mean_)
    return np.tile(scaler.mean_, pixels), np.tile(scaler.scale_, pixels)


def padded_blocks(
    X: np.ndarray | RowSource, width: int, budget: int = CHUNK_FLOATS
) -> Iterator[tuple[slice, np.ndarray]]:
    """Divide samples into prediction blocks, padded with zeros to `BLOCK_SIZES`.

    The order in which a matrix product adds its terms may depend on the shapes of the
    matrices. With a few fixed block sizes that are not too small, the prediction for a
    sample is the same bit for bit, whichever samples are predicted at the same time.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
        Samples.
    width : int
        Number of floats needed for each sample.
    budget : int, default=CHUNK_FLOATS
        Maximum number of floats needed for a block. Blocks of the smallest size may
        exceed it.

    Yields
    ------
    rows : slice
        Positions of the samples in the block.
    block : ndarray of shape (size, n_features)
        Samples, followed by rows of zeros.
    """
    # Use block sizes smaller than the number of samples, so that small inputs are also
    # split across cores.
    sizes = [
        size for size in BLOCK_SIZES if size * width <= budget and size < len(X)
    ] or BLOCK_SIZES[:1]
    for read, chunk in iter_chunks(X):
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
    for rows, chunk in iter_chunks(X):
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
    """Compute the range of values that are not outliers for each channel."""
    known = np.flatnonzero(weights)
    chosen = np.zeros(len(weights), bool)
    chosen[known[:: -(-len(known) // QUANTILE_SAMPLES)]] = True
    pixels = np.concatenate(
        [_row_major(chunk) for _, chunk in iter_chunks(select_samples(X, chosen))]
    ).reshape(-1, channels)
    weights = np.repeat(weights[chosen], X.shape[1] // channels)
    fractions = np.array([0.5, *QUANTILES, *(1.0 - np.array(QUANTILES))])
    low, high = np.full(channels, -np.inf), np.full(channels, np.inf)
    for column, values in enumerate(pixels.T):
        median, *quantiles = _quantiles(values, weights, fractions)
        for fraction, first, last in zip(
            QUANTILES, *np.split(np.array(quantiles), 2), strict=True
        ):
            if last > first:
                deviation = OUTLYING * (last - first) / (-2.0 * ndtri(fraction))
                low[column], high[column] = median - deviation, median + deviation
                break
    return low, high


def _quantiles(
    values: np.ndarray, weights: np.ndarray, fractions: np.ndarray
) -> np.ndarray:
    """Compute weighted quantiles. A weight of 2 is equivalent to two equal values."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    indices = np.searchsorted(total, fractions * total[-1] * (1.0 - 1e-9))
    return values[order][indices]


def _row_major(X: np.ndarray) -> NDArray[np.float64]:
    """Return a float64 copy in C order, because rounding depends on the order."""
    return X.astype(np.float64, order="C")


def _random_orthonormal(
    rng: np.random.Generator, size: int, columns: int
) -> NDArray[np.float64]:
    """Return a random matrix with orthonormal columns, of shape (size, columns)."""
    q, r = np.linalg.qr(rng.standard_normal((size, columns)))
    return q * np.sign(np.diag(r))  # uniform distribution of the columns


def _principal_subspace(
    scaler: StandardScaler | None,
    tail: float | None,
    X: np.ndarray | RowSource,
    weights: np.ndarray,
    width: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Approximate an orthonormal basis of the directions of largest variance."""
    center = np.zeros(X.shape[1])
    if scaler is None:
        total = sum(weights[rows] @ _row_major(chunk) for rows, chunk in iter_chunks(X))
        center = total / weights.sum()
    basis = _random_orthonormal(rng, X.shape[1], width)
    for _ in range(SUBSPACE_ITERATIONS):
        image = np.zeros_like(basis)
        for rows, chunk in iter_chunks(X):
            centered = standardize_samples(scaler, chunk, tail=tail) - center
            image += centered.T @ ((centered @ basis) * weights[rows, None])
        basis, _ = np.linalg.qr(image)
    return basis
