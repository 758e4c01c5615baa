"""Distance from the training samples in input space, by a second Gaussian process.

Its features phi(x) are random features of the whitened inputs. What is left of its
prior variance after the training samples,

    u(x) = s phi(x)^T P^-1 phi(x) / |phi(x)|^2,   P = s I + sum_i w_i phi_i phi_i^T,

grows from 0 to 1 with the distance from them, and no samples are stored. The inputs are
whitened by their covariance within classes, the metric of linear discriminant analysis:
a deviation counts for more in a direction in which the samples of a class hardly
differ.
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
from .posterior import Posterior, add_rows, factorise, prior_precision

#: Number of random features M, and prior precision s of their weights.
NUM_FEATURES = 512
RIDGE = 0.1
#: Squared length-scale of the kernel over the mean squared distance between samples.
LENGTH_SCALE = 0.5
#: Multiple of the mean variance that is added to all variances within classes.
SHRINKAGE = 0.01

#: Sums over samples: weights (K,), inputs (K, H) and their products (H, H).
Moments: TypeAlias = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]


@dataclass(frozen=True)
class InputDistance:
    """Gaussian process over the features ``sqrt(2 / M) cos(x W + b)``.

    Parameters
    ----------
    kernel : ndarray of shape (num_hidden, M)
        The matrix W, which whitens projected inputs and draws random projections.
    bias : ndarray of shape (M,)
        The phases b.
    posterior : Posterior
    """

    kernel: NDArray[np.floating]
    bias: NDArray[np.floating]
    posterior: Posterior

    def __call__(self, projected: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute what is left of the prior variance at projected inputs.

        Parameters
        ----------
        projected : ndarray of shape (n, num_hidden)

        Returns
        -------
        float64 ndarray of shape (n,)
            In [0, 1].
        """
        features = self.features(projected)
        left = np.square(features @ self.whitening).sum(axis=1, dtype=np.float64)
        prior = np.square(features).sum(axis=1, dtype=np.float64)
        return np.clip(self.posterior.scale * left / prior, 0.0, 1.0)

    @cached_property
    def whitening(self) -> NDArray[np.floating]:
        """That of the posterior, in the type of the kernel; shape (M, M)."""
        return self.posterior.whitening[0].astype(self.kernel.dtype)

    def without(
        self, projected: NDArray[np.floating], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Compute the same at samples that were seen, each as if it had not been.

        Parameters
        ----------
        projected : ndarray of shape (n, num_hidden)
        weights : float64 ndarray of shape (n,)
            Weights with which they were seen.

        Returns
        -------
        float64 ndarray of shape (n,)
            In [0, 1].
        """
        features = self.features(projected).astype(np.float64)
        left = self.posterior.variance_without(features, weights[:, None])[:, 0]
        return np.clip(left / np.square(features).sum(axis=1), 0.0, 1.0)

    def features(self, projected: NDArray[np.floating]) -> NDArray[np.floating]:
        """Compute the random features of projected inputs, of shape (n, M)."""
        phase = projected @ self.kernel + self.bias
        features: NDArray[np.floating] = np.cos(phase, out=phase)
        features *= features.dtype.type(np.sqrt(2.0 / features.shape[1]))
        return features

    def __getstate__(self) -> dict[str, object]:
        # What can be computed again is not worth the bytes of a pickle.
        state = {**vars(self)}
        state.pop("whitening", None)
        return state

    def absorb(self, rows: Rows | StreamedRows) -> InputDistance:
        """Return the same process after further samples.

        Parameters
        ----------
        rows : Rows or StreamedRows

        Returns
        -------
        InputDistance
        """
        precision = (
            self.posterior.precision + rows.total(partial(_information, self))[0]
        )
        return replace(self, posterior=factorise(precision, RIDGE, RIDGE))


def fit_input_distance(
    rows: Rows | StreamedRows, num_classes: int, seed: int
) -> InputDistance:
    """Fit the metric and the posterior to training samples.

    Parameters
    ----------
    rows : Rows or StreamedRows
        Projected for one network.
    num_classes : int
    seed : int
        Seed of the random features.

    Returns
    -------
    InputDistance
    """
    dtype = next(rows.chunks(1, 1))[0].dtype
    # Less than that has no digits left in this type.
    least = float(1e3 * np.finfo(dtype).tiny) ** 2
    moments = rows.total(partial(_moments, num_classes))
    kernel, bias = _random_projections(moments, least, np.random.default_rng(seed))
    prior = factorise(prior_precision(NUM_FEATURES, RIDGE, 1), RIDGE, RIDGE)
    empty = InputDistance(kernel.astype(dtype), bias.astype(dtype), prior)
    return empty.absorb(rows)


@one_thread
def _random_projections(
    moments: Moments, least: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw W and b of a Gaussian kernel between whitened inputs."""
    weights, sums, products = moments
    between = np.divide(sums.T, weights, where=weights > 0, out=0 * sums.T) @ sums
    mean = sums.sum(axis=0) / weights.sum()
    total = products / weights.sum() - np.outer(mean, mean)
    within = (products - between) / weights.sum()
    size = len(mean)
    # Directions that no sample has are left out of the mean.
    rank = max(np.linalg.matrix_rank(total, hermitian=True), 1)
    variance = np.trace(total) / rank
    if variance <= least:  # all samples are equal
        within, total, variance = np.eye(size), np.eye(size), 1.0
    factor = cholesky(within + SHRINKAGE * variance * np.eye(size), lower=True)
    half = solve_triangular(factor, total, lower=True)
    distance = 2.0 * np.trace(solve_triangular(factor, half.T, lower=True)) or 1.0
    frequencies = rng.standard_normal((size, NUM_FEATURES))
    frequencies /= np.sqrt(LENGTH_SCALE * distance)
    bias = rng.uniform(0.0, 2.0 * np.pi, NUM_FEATURES)
    return solve_triangular(factor, frequencies, lower=True, trans="T"), bias


def _moments(num_classes: int, rows: Rows) -> Moments:
    """Sum over samples, class by class."""
    weights = np.bincount(rows.labels, rows.weights, minlength=num_classes)
    width = rows.projected.shape[-1]
    sums, products = np.zeros((num_classes, width)), np.zeros((width, width))
    for block, part in rows.chunks(width + num_classes):
        inputs = block.astype(np.float64)
        weighted = inputs * rows.weights[part, None]
        sums += (rows.labels[part] == np.arange(num_classes)[:, None]) @ weighted
        products += weighted.T @ inputs
    return weights.astype(np.float64), sums, products


def _information(process: InputDistance, rows: Rows) -> tuple[NDArray[np.float64]]:
    """Return what samples add to the precision, of shape (1, M, M)."""
    chunks = (
        (process.features(block).astype(np.float64), rows.weights[part, None])
        for block, part in rows.chunks(NUM_FEATURES)
    )
    return (add_rows(np.zeros((1, NUM_FEATURES, NUM_FEATURES)), chunks),)
