"""Largest eigenvalue of a symmetric operator, by the Lanczos iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._runtime.blas import one_thread

Vector: TypeAlias = NDArray[np.floating]


@one_thread
def largest_eigenvalue(
    multiply: Callable[[Vector], Vector],
    start: Vector,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 64,
) -> float:
    """Compute the largest eigenvalue of a positive semi-definite operator.

    `scipy.sparse.linalg.eigsh` raises an error for the operator 0 and if it does not
    converge. This function returns an estimate after at most `max_steps` products.

    Parameters
    ----------
    multiply : callable
        Function that returns the product of the operator and a vector.
    start : ndarray of shape (n,)
        First vector, not zero. Computations have its floating type. The closer it is to
        the eigenvector, the fewer steps are needed. It must not be orthogonal to it.
    tolerance : float, default=1e-3
        Relative accuracy of the eigenvalue.
    max_steps : int, default=64
        Maximum number of products. The vectors are kept in memory.

    Returns
    -------
    float
        The largest Ritz value plus the norm of its residual. An eigenvalue lies within
        twice this norm below the result. The norm is at most `tolerance` times the
        Ritz value if the iteration converged.

    References
    ----------
    .. [1] G. H. Golub and C. F. Van Loan. Matrix Computations, 4th edition, 2013,
       sections 10.1 and 10.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sksngp._tensorflow.lanczos import largest_eigenvalue
    >>> diagonal = np.arange(100.0)
    >>> found = largest_eigenvalue(lambda x: diagonal * x, np.ones(100))
    >>> bool(99 <= found < 99.1)
    True
    """
    basis = [start / np.linalg.norm(start)]
    tridiagonal = np.zeros((max_steps, max_steps))
    for step in range(max_steps):
        vector = multiply(basis[-1])
        tridiagonal[step, step] = vector @ basis[-1]
        for _ in range(2):  # once is not enough: rounding errors grow
            for other in basis:
                vector = vector - (vector @ other) * other
        beyond = np.linalg.norm(vector)
        known = slice(step + 1)
        values, vectors = np.linalg.eigh(tridiagonal[known, known])
        residual = beyond * abs(vectors[-1, -1])
        if residual <= tolerance * values[-1] or step + 1 == max_steps:
            break
        tridiagonal[step, step + 1] = tridiagonal[step + 1, step] = beyond
        basis.append(vector / beyond)
    return float(max(values[-1], 0.0) + residual)
