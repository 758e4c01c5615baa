"""Laplace posterior of the weights of the Gaussian process output layer.

The logits are linear in M random features phi(x): logits = beta^T phi(x). With
prior precision s (the ridge) and sample weights w_i, the precision of beta is

    P = s I + sum_i w_i phi_i phi_i^T,

and the variance of a logit at x is s phi^T P^-1 phi (Liu et al. 2020, arXiv
2006.10108, equations 9 and 10). Their per-class form additionally weights each sample
by p_k (1 - p_k) and omits the leading s. All sums and factors use float64, because the
condition number of P is proportional to the number of samples divided by the ridge.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, lapack, qr, solve_triangular
from scipy.special import softmax

from .._runtime.blas import one_thread
from .predictive import mean_field_logits, sampled_logits

#: Maximum relative error of a variance that is computed using
#: `Posterior.low_rank_factor`, apart from rounding errors.
TRUNCATION = 1e-3
#: Maximum ratio of the largest eigenvalue to the ridge for which the low-rank factor is
#: used. The variance is a difference of two sums, and its relative rounding error in
#: float32 increases as the variance ratio decreases.
MAX_EIGENVALUE_RATIO = 1e3
#: Maximum relative error of a variance due to `Posterior.rounded`.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Posterior:
    """Gaussian posterior of the output weights, stored as Cholesky factors.

    Parameters
    ----------
    triangle : float32 or float64 ndarray of shape (G, M (M + 1) / 2)
        Rows of the lower Cholesky factors of the precision matrices, without the zeros.
        G is 1 if all classes share one matrix, and the number of classes otherwise.
    scale : float
        Factor by which variances are multiplied: the ridge in the shared form, which
        interprets the ridge as noise variance, and 1 in the per-class form.
    ridge : float or None, default=None
        Prior precision s if P is ``s I`` plus a sum over samples. None if P is a
        moving average.
    """

    triangle: np.ndarray
    scale: float
    ridge: float | None = None

    @property
    def num_groups(self) -> int:
        """Number G of matrices."""
        stored = vars(self)
        return len(stored["square" if "square" in stored else "triangle"])

    @cached_property
    def factor(self) -> np.ndarray:
        """Lower Cholesky factors as a float64 ndarray of shape (G, M, M)."""
        size = _matrix_size(self.triangle)
        # Column-major, as expected by LAPACK.
        factor = np.zeros((len(self.triangle), size, size)).transpose(0, 2, 1)
        end = 0
        for row in range(size):
            start, end = end, end + row + 1
            factor[:, row, : row + 1] = self.triangle[:, start:end]
        return factor

    @property
    def diagonal(self) -> np.ndarray:
        """Diagonals of the Cholesky factors, of shape (G, M)."""
        ends = np.cumsum(np.arange(1, _matrix_size(self.triangle) + 1))
        return self.triangle[:, ends - 1]

    @property
    def precision(self) -> np.ndarray:
        """Precision matrices as a float64 ndarray of shape (G, M, M)."""
        return self.factor @ self.factor.transpose(0, 2, 1)

    @cached_property
    @one_thread
    def whitening(self) -> np.ndarray:
        """Upper triangular matrices ``W_g = L_g^-T``, float64 of shape (G, M, M).

        Since ``P_g^-1 = W_g W_g^T``, the variance of a logit is
        ``scale * |W_g^T phi|^2``.
        """
        return np.stack([_inverse_transposed(factor) for factor in self.factor])

    @cached_property
    @one_thread
    def low_rank_factor(self) -> np.ndarray | None:
        """Low-rank factor that replaces the precision in variances, or None.

        The factor is a float64 matrix B of shape (M, r) such that
        ``(|phi|^2 - |B^T phi|^2) / s`` approximates ``phi^T P^-1 phi`` with a relative
        error of at most `TRUNCATION`. A variance then requires M r multiplications
        instead of M^2 / 2. Such a factor exists for data of low dimension; the value
        is None if r would not be small.
        """
        if self.ridge is None or len(self.factor) > 1:
            return None
        return _low_rank_factor(self.precision[0], self.ridge)

    def leave_one_out_variance(
        self, features: np.ndarray, weights: np.ndarray
    ) -> NDArray[np.float64]:
        """Compute the variance at each training sample, given all other samples.

        Let ``q = phi^T P^-1 phi``. If ``w phi phi^T`` is subtracted from the precision,
        q becomes ``q / (1 - w q)`` by the Sherman-Morrison formula.

        Parameters
        ----------
        features : float64 ndarray of shape (n, M)
            Random features of samples that are included in the precision.
        weights : float64 ndarray of shape (n, G)
            Weights of these samples in the precision.

        Returns
        -------
        float64 ndarray of shape (n, G)
            Variances of the logits.
        """
        norms = [
            np.square(solve_triangular(factor, features.T, lower=True)).sum(axis=0)
            for factor in self.factor
        ]
        share = np.stack(norms, axis=1)
        # The product is below 1 apart from rounding errors, because the precision
        # exceeds the term that the sample adds to it.
        kept = np.maximum(1.0 - weights * share, np.finfo(np.float64).eps)
        return self.scale * share / kept

    def rounded(self) -> Posterior:
        """Round the factors to float32 if this has no noticeable effect.

        Let ``L (I + X)`` be the rounded factor of ``P = L L^T >= s I``. With
        ``z = L^-1 phi``, the rounded variance is proportional to ``|(I + X)^-1 z|^2``
        instead of ``|z|^2``. Its relative error is therefore at most
        ``(1 - |X|)^-2 - 1 < 3 |X|``, where the norm of X is at most that of the change
        of L divided by ``sqrt(s)``. The change increases with the number of samples.

        Returns
        -------
        Posterior
            Rounded posterior, or this one if the relative error of a variance could
            exceed `ROUNDING` or if P is a moving average.
        """
        if self.ridge is None:
            return self
        with np.errstate(over="ignore"):
            triangle = self.triangle.astype(np.float32)
        change = np.linalg.norm(triangle - self.triangle, axis=1).max()
        if not 3.0 * change <= ROUNDING * np.sqrt(self.ridge):
            return self
        return replace(self, triangle=triangle)

    def __getstate__(self) -> dict[str, Any]:
        # The cached matrices are derived from the triangle. Omitting them makes pickles
        # smaller.
        return {"triangle": self.triangle, "scale": self.scale, "ridge": self.ridge}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Models of format 1 and 2 store square matrices instead of triangles. They are
        # not converted here: a file could contain one matrix for many posteriors.
        state = {"square" if key == "factor" else key: state[key] for key in state}
        for allowed in ({"triangle", "scale", "ridge"}, {"square", "scale", "ridge"}):
            if state.keys() == allowed:
                vars(self).update(state)
                return
        raise ValueError(f"A posterior has the attributes {sorted(state)}.")

    def __getattr__(self, name: str) -> Any:
        if name == "triangle" and "square" in vars(self):
            return _lower_triangles(vars(self)["square"])
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )


def _matrix_size(triangle: np.ndarray) -> int:
    """Return M for triangles of shape (G, M (M + 1) / 2), which may be from a file."""
    groups, length = triangle.shape
    size = (math.isqrt(8 * length + 1) - 1) // 2
    if not groups or not length or size * (size + 1) // 2 != length:
        raise ValueError(f"An array of shape {triangle.shape} holds no triangles.")
    return size


def _lower_triangles(matrices: np.ndarray) -> np.ndarray:
    """Return the rows of lower triangles, of shape (G, M (M + 1) / 2)."""
    if not matrices.size or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(f"An array of shape {matrices.shape} holds no matrices.")
    return np.hstack([matrices[:, row, : row + 1] for row in range(matrices.shape[2])])


def prior_precision(num_features: int, ridge: float, groups: int) -> np.ndarray:
    """Return the prior precision, ``ridge * I`` for each group: float64 (G, M, M)."""
    return np.tile(ridge * np.eye(num_features), (groups, 1, 1))


def add_rows(
    precision: np.ndarray, chunks: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Add samples to a precision that is an exact sum.

    Parameters
    ----------
    precision : float64 ndarray of shape (G, M, M)
        Precision before the update. It does not change.
    chunks : iterable of (features, weights)
        Random features of shape (n, M) and weights of shape (n, G).

    Returns
    -------
    float64 ndarray of shape (G, M, M)
        Updated precision.
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
    """Update a precision that is a moving average over chunks.

    Each chunk updates ``P <- m P + (1 - m) mean(w phi phi^T)``, as in
    ``LaplaceRandomFeatureCovariance`` of tf-models-official with ``momentum > 0``. This
    form is meant for streams. The ridge decays as well, and the effective number of
    samples tends to one.

    Parameters
    ----------
    precision, chunks
        Same as in `add_rows`.
    momentum : float in (0, 1)
        Momentum m of the moving average.

    Returns
    -------
    float64 ndarray of shape (G, M, M)
        Updated precision.
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


@one_thread
def factorize(
    precision: np.ndarray, scale: float, ridge: float | None = None
) -> Posterior:
    """Compute the Cholesky factors of precision matrices.

    Parameters
    ----------
    precision : float64 ndarray of shape (G, M, M)
        Precision matrices.
    scale, ridge : float
        Parameters of `Posterior`.

    Returns
    -------
    Posterior
        Factorized posterior.

    Warns
    -----
    RuntimeWarning
        If a matrix is not numerically positive definite. A multiple of the identity,
        as small as possible, is then added, and the warning reports the multiple.
    """
    factor = np.stack([_cholesky(matrix) for matrix in precision])
    return Posterior(_lower_triangles(factor), scale, ridge)


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
                f"{jitter * unit:.3g} was added to its diagonal. Increase "
                "ridge_penalty to avoid this warning.",
                RuntimeWarning,
                stacklevel=2,
            )
        return factor
    raise np.linalg.LinAlgError(
        "The posterior precision matrix cannot be factorized. Increase ridge_penalty."
    )


def _inverse_transposed(factor: np.ndarray) -> np.ndarray:
    # LAPACK expects column-major matrices, and a row-major L is a column-major L^T.
    inverse, info = lapack.dtrtri(factor.T)
    if info:
        raise np.linalg.LinAlgError("A Cholesky factor of the posterior is singular.")
    return inverse


def _low_rank_factor(precision: np.ndarray, ridge: float) -> np.ndarray | None:
    """Compute the matrix B of `Posterior.low_rank_factor` by subspace iteration.

    A single iteration is sufficient. Let (l_j, v_j) be Ritz pairs of ``G = P - s I``,
    and let R be the remainder of G after subtracting the first r pairs. Then
    ``-e P <= R <= e P`` for ``e = |R| / s``, and neglecting R changes a variance by a
    relative error of at most e / (1 - e). The norm of R is at most the next Ritz value
    plus the norm of the part of G outside the subspace.
    """
    size = len(precision)
    if size < 64:
        return None
    gram = precision - ridge * np.eye(size)
    draws = np.random.default_rng(0).standard_normal((size, size // 4))
    basis, _ = qr(gram @ draws, mode="economic", check_finite=False)
    values, vectors = eigh(basis.T @ gram @ basis, check_finite=False)
    allowed = TRUNCATION / (1 + TRUNCATION) * ridge
    if values[0] > allowed or values[-1] > MAX_EIGENVALUE_RATIO * ridge:
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
    """Compute the softmax of ``logits / sqrt(1 + factor * variance)``.

    This is the mean-field approximation of the expected softmax of Gaussian logits
    with equal variances (Lu, Ie and Sha 2020, arXiv 2006.07584, equation 12).

    Parameters
    ----------
    logits : ndarray of shape (n, K)
        Mean logits.
    variance : ndarray of shape (n, 1)
        Variance of the logits of each sample.
    factor : float
        Mean-field factor. The value pi / 8 matches the logistic function. If 0, the
        variance has no effect.

    Returns
    -------
    ndarray of shape (n, K)
        Class probabilities.
    """
    return softmax(mean_field_logits(logits, variance, factor), axis=1)


def sampled_probability(
    logits: np.ndarray, variance: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Compute the mean softmax of logits sampled from their Gaussian posterior.

    Parameters
    ----------
    logits : ndarray of shape (n, K)
        Mean logits.
    variance : ndarray of shape (n, 1) or (n, K)
        Variances of the logits.
    noise : ndarray of shape (S, K)
        Standard normal values. All samples use the same values, so that the result
        for a sample does not depend on the other samples.

    Returns
    -------
    ndarray of shape (n, K)
        Class probabilities.
    """
    total = np.zeros_like(logits)
    for draw in noise:
        total += softmax(sampled_logits(logits, variance, draw), axis=1)
    return total / len(noise)
