"""Distance from the training set, measured by a Gaussian process.

Inputs of the process are projected samples or hidden representations of a network. The
vectors phi(x) are random features of the whitened inputs. The variance ratio

    u(x) = s phi(x)^T P^-1 phi(x) / |phi(x)|^2,   P = s I + sum_i w_i phi_i phi_i^T,

increases from 0 to 1 with the distance from the training samples, and no samples need
to be stored. The inputs are whitened using their covariance within classes, which is
the metric of linear discriminant analysis: a deviation has a larger weight in a
direction in which the samples of a class have a small variance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from .._data.rows import Rows
from .._data.streamed_rows import StreamedRows
from .._runtime.blas import one_thread
from .arrays import Array, Namespace
from .posterior import Posterior, add_rows, factorize, prior_precision

#: Prior precision s of the weights of the random features.
RIDGE = 0.1
#: Squared length-scale of the kernel, divided by the mean squared distance between
#: samples.
LENGTH_SCALE = 0.5
#: Fraction of the mean variance that is added to the diagonal of the covariance within
#: classes.
SHRINKAGE = 0.01
#: Variance below which inputs count as equal, relative to their mean square.
ROUNDING = 1e-13

#: Sums over samples: weights (K,), weighted inputs (K, H) and weighted outer products
#: (H, H).
Moments: TypeAlias = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]


@dataclass(frozen=True)
class InputDistance:
    """Gaussian process with the random features ``sqrt(2 / M) cos(x W + b)``.

    Parameters
    ----------
    kernel : ndarray of shape (num_hidden, M)
        The matrix W, the product of the whitening matrix and random frequencies.
    bias : ndarray of shape (M,)
        The phases b.
    posterior : Posterior
        Posterior of the weights of the random features.
    """

    kernel: NDArray[np.floating]
    bias: NDArray[np.floating]
    posterior: Posterior

    @one_thread
    def __call__(self, projected: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the variance ratio of samples.

        Parameters
        ----------
        projected : ndarray of shape (n, num_hidden)
            Projected samples.

        Returns
        -------
        float64 ndarray of shape (n,)
            Variance ratios in [0, 1].
        """
        features = self.features(projected)
        return variance_ratio(features, self.whitening, self.posterior.scale)

    @cached_property
    def whitening(self) -> NDArray[np.floating]:
        """Whitening matrix of the posterior, of shape (M, M) and the kernel's dtype."""
        return self.posterior.whitening[0].astype(self.kernel.dtype)

    def leave_one_out(
        self, projected: NDArray[np.floating], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Compute the variance ratio of each training sample, given all others.

        Parameters
        ----------
        projected : ndarray of shape (n, num_hidden)
            Projected training samples.
        weights : float64 ndarray of shape (n,)
            Weights of these samples in the posterior.

        Returns
        -------
        float64 ndarray of shape (n,)
            Variance ratios in [0, 1].
        """
        features = self.features(projected).astype(np.float64)
        left = self.posterior.leave_one_out_variance(features, weights[:, None])[:, 0]
        return np.clip(left / np.square(features).sum(axis=1), 0.0, 1.0)

    def features(self, projected: NDArray[np.floating]) -> NDArray[np.floating]:
        """Compute the random features of projected inputs, of shape (n, M)."""
        phase = projected @ self.kernel + self.bias
        features: NDArray[np.floating] = np.cos(phase, out=phase)
        features *= features.dtype.type(np.sqrt(2.0 / features.shape[1]))
        return features

    def __getstate__(self) -> dict[str, object]:
        # The cached whitening matrix is derived from other attributes. Omitting it
        # makes pickles smaller.
        state = {**vars(self)}
        state.pop("whitening", None)
        return state

    def update(self, rows: Rows | StreamedRows) -> InputDistance:
        """Return a copy whose posterior is updated with further samples.

        Parameters
        ----------
        rows : Rows or StreamedRows
            Projected samples to add to the posterior.

        Returns
        -------
        InputDistance
            Updated process. This one does not change.
        """
        (increment,) = rows.sum_over_samples(partial(_precision_increment, self))
        precision = self.posterior.precision + increment
        return replace(self, posterior=factorize(precision, RIDGE, RIDGE))


def variance_ratio(
    features: Array, whitening: Array, scale: float, xp: Namespace = np
) -> Array:
    """Compute the posterior variance of samples, divided by their prior variance.

    Parameters
    ----------
    features : array of shape (n, M)
        Random features.
    whitening : array of shape (M, M)
        Whitening matrix of the posterior.
    scale : float
        Prior precision s.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    float64 array of shape (n,)
        Variance ratios in [0, 1].
    """
    left, prior = (
        xp.sum(xp.square(array), axis=1, dtype=np.float64)
        for array in (features @ whitening, features)
    )
    return xp.clip(scale * left / prior, 0.0, 1.0)


def unit_length(vectors: Array, xp: Namespace = np) -> Array:
    """Scale the rows of a matrix to length one, except for zeros."""
    precise = xp.asarray(vectors, np.float64)
    norms = xp.sqrt(xp.sum(xp.square(precise), axis=-1, keepdims=True))
    scaled = precise / xp.maximum(norms, np.finfo(np.float64).tiny)
    return xp.asarray(scaled, vectors.dtype)


def fit_input_distance(
    rows: Rows | StreamedRows,
    num_classes: int,
    seed: int,
    num_features: int,
) -> InputDistance:
    """Fit the metric and the posterior to the training set.

    Parameters
    ----------
    rows : Rows or StreamedRows
        Training samples, projected for a single network.
    num_classes : int
        Number of classes.
    seed : int
        Seed of the random features.
    num_features : int
        Number of random features M.

    Returns
    -------
    InputDistance
        Fitted process.
    """
    dtype = next(rows.chunks(1, 1))[0].dtype
    # Smaller variances cannot be represented with sufficient precision in this dtype.
    least = float(1e3 * np.finfo(dtype).tiny) ** 2
    moments = rows.sum_over_samples(partial(_moments, num_classes))
    rng = np.random.default_rng(seed)
    kernel, bias = _random_projections(moments, least, num_features, rng)
    prior = factorize(prior_precision(num_features, RIDGE, 1), RIDGE, RIDGE)
    empty = InputDistance(kernel.astype(dtype), bias.astype(dtype), prior)
    process = empty.update(rows)
    if dtype == np.float32:
        process = replace(process, posterior=process.posterior.rounded())
    return process


@one_thread
def _random_projections(
    moments: Moments, least: float, num_features: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw W and b for random features of a Gaussian kernel of whitened inputs."""
    weights, sums, products = moments
    between = np.divide(sums.T, weights, where=weights > 0, out=0 * sums.T) @ sums
    mean = sums.sum(axis=0) / weights.sum()
    total = products / weights.sum() - np.outer(mean, mean)
    within = (products - between) / weights.sum()
    size = len(mean)
    # The mean variance is taken over the directions in which the samples vary.
    rank = max(np.linalg.matrix_rank(total, hermitian=True), 1)
    variance = np.trace(total) / rank
    # The difference of the moments has rounding errors of this size.
    least = max(least, ROUNDING * np.trace(products) / weights.sum())
    if variance <= least:  # all samples are equal
        within, total, variance = np.eye(size), np.eye(size), 1.0
    factor = cholesky(within + SHRINKAGE * variance * np.eye(size), lower=True)
    half = solve_triangular(factor, total, lower=True)
    distance = 2.0 * np.trace(solve_triangular(factor, half.T, lower=True)) or 1.0
    frequencies = rng.standard_normal((size, num_features))
    frequencies /= np.sqrt(LENGTH_SCALE * distance)
    bias = rng.uniform(0.0, 2.0 * np.pi, num_features)
    return solve_triangular(factor, frequencies, lower=True, trans="T"), bias


def _moments(num_classes: int, rows: Rows) -> Moments:
    """Compute the moments of samples for each class."""
    weights = np.bincount(rows.labels, rows.weights, minlength=num_classes)
    width = rows.projected.shape[-1]
    sums, products = np.zeros((num_classes, width)), np.zeros((width, width))
    for block, part in rows.chunks(width + num_classes):
        inputs = block.astype(np.float64)
        weighted = inputs * rows.weights[part, None]
        sums += (rows.labels[part] == np.arange(num_classes)[:, None]) @ weighted
        products += weighted.T @ inputs
    return weights.astype(np.float64), sums, products


def _precision_increment(
    process: InputDistance, rows: Rows
) -> tuple[NDArray[np.float64]]:
    """Return the sum of ``w_i phi_i phi_i^T`` over samples, of shape (1, M, M)."""
    num_features = len(process.bias)
    chunks = (
        (process.features(block).astype(np.float64), rows.weights[part, None])
        for block, part in rows.chunks(num_features)
    )
    return (add_rows(np.zeros((1, num_features, num_features)), chunks),)
