"""Laplace posterior of the Gaussian-process output's weights.

The output is linear in M random features phi(x): logits = beta^T phi(x). With
prior precision s (the ridge) and rows weighted w_i, the precision of beta is

    P = s I + sum_i w_i phi_i phi_i^T,

and the variance of a logit at x is s phi^T P^-1 phi (Liu et al. 2020, arXiv
2006.10108, equations 9 and 10; their per-class form weights each row by
p_k (1 - p_k) as well and drops the leading s). All sums and factors are float64:
P's condition number grows with the number of rows over the ridge.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, lapack, qr, solve_triangular
from scipy.special import softmax

from .._runtime.blas import one_thread
from .predictive import mean_field_logits, sampled_logits

#: Largest relative error of a variance from `Posterior.directions`, but for rounding.
TRUNCATION = 1e-3
#: Largest eigenvalue over ridge at which they are used: the smaller a share of the
#: prior a variance is, the fewer digits float32 leaves the difference of two sums.
LARGEST_RATIO = 1e3


@dataclass(frozen=True)
class Posterior:
    """Gaussian posterior over output weights, in factorised form.

    Parameters
    ----------
    factor : float64 ndarray of shape (G, M, M)
        Lower Cholesky factors of the precision matrices; G is 1 when all
        classes share one, else the number of classes.
    scale : float
        What variances are multiplied by: the ridge for the shared form, which
        treats it as noise variance, and 1 for the per-class form.
    ridge : float or None, default=None
        The s of P where P is ``s I`` plus a sum; None for a moving average.
    """

    factor: np.ndarray
    scale: float
    ridge: float | None = None

    @property
    def precision(self) -> np.ndarray:
        """Precision matrices, float64 of shape (G, M, M)."""
        return self.factor @ self.factor.transpose(0, 2, 1)

    @cached_property
    @one_thread()
    def whitening(self) -> np.ndarray:
        """Upper triangular ``W_g = L_g^-T``, float64 of shape (G, M, M).

        ``P_g^-1 = W_g W_g^T``, so the variance of a logit is
        ``scale * |W_g^T phi|^2``.
        """
        return np.stack([_inverse_transposed(factor) for factor in self.factor])

    @cached_property
    @one_thread()
    def directions(self) -> np.ndarray | None:
        """Few columns that say as much as the whole precision, where there are such.

        float64 B of shape (M, r) with ``phi^T P^-1 phi`` equal to
        ``(|phi|^2 - |B^T phi|^2) / s`` within `TRUNCATION` of itself; None if r
        would not be small. Data of low dimension have such a B, and a variance
        then costs M r instead of M^2 / 2 products.
        """
        if self.ridge is None or len(self.factor) > 1:
            return None
        return _leading_directions(self.precision[0], self.ridge)

    def variance_without(
        self, features: np.ndarray, weights: np.ndarray
    ) -> NDArray[np.float64]:
        """Variances at training rows, each as if the row had not been seen.

        With ``q = phi^T P^-1 phi``, the precision without ``w phi phi^T`` gives
        ``q / (1 - w q)`` (Sherman and Morrison).

        Parameters
        ----------
        features : float64 ndarray of shape (n, M)
            Of rows that are in the precision.
        weights : float64 ndarray of shape (n, G)
            Their weights in it.

        Returns
        -------
        float64 ndarray of shape (n, G)
        """
        norms = [
            np.square(solve_triangular(factor, features.T, lower=True)).sum(axis=0)
            for factor in self.factor
        ]
        share = np.stack(norms, axis=1)
        # Below 1 but for rounding, as the precision is more than the row's part of it.
        kept = np.maximum(1.0 - weights * share, np.finfo(np.float64).eps)
        return self.scale * share / kept

    def __getstate__(self) -> dict[str, Any]:
        # What can be computed again is not worth the bytes of a pickle.
        return {"factor": self.factor, "scale": self.scale, "ridge": self.ridge}


def prior_precision(num_features: int, ridge: float, groups: int) -> np.ndarray:
    """Precision before any row, ``ridge * I`` for each group: float64 (G, M, M)."""
    return np.tile(ridge * np.eye(num_features), (groups, 1, 1))


def add_rows(
    precision: np.ndarray, chunks: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Exact sum: the precision after more rows have been seen.

    Parameters
    ----------
    precision : float64 ndarray of shape (G, M, M)
    chunks : iterable of (features, weights)
        Arrays of shape (n, M) and (n, G).

    Returns
    -------
    float64 ndarray of shape (G, M, M)
    """
    total = precision.copy()
    for features, weights in chunks:
        for group in range(len(total)):
            total[group] += _weighted_gram(features, weights[:, group])
    return total


def average_rows(
    precision: np.ndarray,
    chunks: Iterable[tuple[np.ndarray, np.ndarray]],
    momentum: float,
) -> np.ndarray:
    """Moving average: ``P <- m P + (1 - m) mean(w phi phi^T)`` a chunk.

    The form for streams, and the update of tf-models-official's
    ``LaplaceRandomFeatureCovariance`` with ``momentum > 0``. The ridge decays
    with it, so that the effective number of rows tends to one.

    Parameters
    ----------
    precision, chunks
        As in `add_rows`.
    momentum : float in (0, 1)

    Returns
    -------
    float64 ndarray of shape (G, M, M)
    """
    average = precision.copy()
    for features, weights in chunks:
        for group in range(len(average)):
            gram = _weighted_gram(features, weights[:, group]) / len(features)
            average[group] = momentum * average[group] + (1 - momentum) * gram
    return average


def _weighted_gram(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    scaled = features * np.sqrt(weights)[:, None]
    return scaled.T @ scaled


@one_thread()
def factorise(
    precision: np.ndarray, scale: float, ridge: float | None = None
) -> Posterior:
    """Cholesky-factorise precision matrices.

    Parameters
    ----------
    precision : float64 ndarray of shape (G, M, M)
    scale, ridge : float
        See `Posterior`.

    Returns
    -------
    Posterior

    Warns
    -----
    RuntimeWarning
        If a matrix is not numerically positive definite; the smallest multiple
        of the identity that mends it is added, and named.
    """
    factor = np.stack([_cholesky(matrix) for matrix in precision])
    return Posterior(factor, scale, ridge)


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    unit = np.trace(matrix) / len(matrix)
    for jitter in (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6):
        try:
            raised = matrix + jitter * unit * np.eye(len(matrix)) if jitter else matrix
            factor = cholesky(raised, lower=True)
        except np.linalg.LinAlgError:
            continue
        if jitter:
            warnings.warn(
                "The posterior precision matrix is not positive definite in float64; "
                f"{jitter * unit:.3g} was added to its diagonal. A larger "
                "ridge_penalty avoids this.",
                RuntimeWarning,
                stacklevel=2,
            )
        return factor
    raise np.linalg.LinAlgError(
        "The posterior precision matrix cannot be factorised; use a larger "
        "ridge_penalty."
    )


def _inverse_transposed(factor: np.ndarray) -> np.ndarray:
    # A row-major L is a column-major L^T, the order in which LAPACK works.
    inverse, info = lapack.dtrtri(factor.T)
    if info:
        raise np.linalg.LinAlgError("A Cholesky factor of the posterior is singular.")
    return inverse


def _leading_directions(precision: np.ndarray, ridge: float) -> np.ndarray | None:
    """B of `Posterior.directions`, by one round of subspace iteration.

    With Ritz pairs (l_j, v_j) of ``G = P - s I`` and R the rest of G beside the
    first r of them, ``-e P <= R <= e P`` for ``e = |R| / s``. A variance without R
    is then wrong by at most e / (1 - e) of itself. The norm of R is at most the
    next Ritz value plus what lies outside of the subspace.
    """
    size = len(precision)
    if size < 64:
        return None
    gram = precision - ridge * np.eye(size)
    draws = np.random.default_rng(0).standard_normal((size, size // 4))
    basis, _ = qr(gram @ draws, mode="economic", check_finite=False)
    values, vectors = eigh(basis.T @ gram @ basis, check_finite=False)
    allowed = TRUNCATION / (1 + TRUNCATION) * ridge
    if values[0] > allowed or values[-1] > LARGEST_RATIO * ridge:
        return None
    vectors = basis @ vectors
    outside = np.linalg.norm(gram - (vectors * values) @ vectors.T)
    kept = values + outside > allowed
    if kept.all() or not kept.any():
        return None
    values, vectors = values[kept], vectors[:, kept]
    return vectors * np.sqrt(values / (ridge + values))


def mean_field_probability(
    logits: np.ndarray, variance: np.ndarray, factor: float
) -> np.ndarray:
    """Softmax of ``logits / sqrt(1 + factor * variance)``.

    The mean-field approximation to the expected softmax under Gaussian logits
    of equal variance (Lu, Ie and Sha 2020, arXiv 2006.07584, equation 12).

    Parameters
    ----------
    logits : ndarray of shape (n, K)
    variance : ndarray of shape (n, 1)
    factor : float
        pi / 8 matches the logistic function; 0 switches the correction off.

    Returns
    -------
    ndarray of shape (n, K)
    """
    return softmax(mean_field_logits(logits, variance, factor), axis=1)


def sampled_probability(
    logits: np.ndarray, variance: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Mean softmax of logits sampled from their Gaussian posterior.

    Parameters
    ----------
    logits : ndarray of shape (n, K)
    variance : ndarray of shape (n, 1) or (n, K)
    noise : ndarray of shape (S, K)
        Standard normal draws, shared by all rows, so that a row's result does
        not depend on the rows beside it.

    Returns
    -------
    ndarray of shape (n, K)
    """
    total = np.zeros_like(logits)
    for draw in noise:
        total += softmax(sampled_logits(logits, variance, draw), axis=1)
    return total / len(noise)
