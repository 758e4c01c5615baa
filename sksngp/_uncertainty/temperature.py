"""The temperature that class probabilities are divided by, from held-out rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

#: Range of the temperature's logarithm, but for half a unit.
LARGEST_LOG_TEMPERATURE = 4.0


def fit_temperature(
    proba: Callable[[float], np.ndarray], labels: np.ndarray, weights: np.ndarray
) -> float:
    """Temperature at which probabilities are most likely.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599) with a prior: the log T
    that minimises

        sum_i w_i (-log p_T(y_i)) + (log T)^2 / 2,

    the posterior mode under a standard normal prior. Without it, a few rows that are
    all classified correctly would call for T = 0 and for certainty.

    Parameters
    ----------
    proba : callable
        ``proba(T)`` gives the class probabilities, of shape (n, K), at temperature T.
    labels : int ndarray of shape (n,)
    weights : ndarray of shape (n,)
        A row of weight 2 counts as two, also against the prior.

    Returns
    -------
    float
        Above 1 where the untempered probabilities are overconfident.

    Examples
    --------
    Logits that are ten times too large:

    >>> import numpy as np
    >>> from scipy.special import softmax
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(5000, 3))
    >>> labels = (logits + rng.gumbel(size=(5000, 3))).argmax(axis=1)
    >>> T = fit_temperature(
    ...     lambda T: softmax(10 * logits / T, axis=1), labels, np.ones(5000)
    ... )
    >>> round(T)
    10
    """
    rows = np.arange(len(labels))
    tiny = np.finfo(np.float64).tiny

    def penalised_loss(log_temperature: float) -> float:
        likelihood = proba(np.exp(log_temperature))[rows, labels]
        loss = -weights @ np.log(np.maximum(likelihood, tiny))
        return loss + 0.5 * log_temperature**2

    # There may be two minima, one of them at a bound: of a grid, the best cell.
    grid = np.linspace(-LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE, 17)
    best = grid[np.argmin([penalised_loss(point) for point in grid])]
    bounds = (best - grid[1] + grid[0], best + grid[1] - grid[0])
    return float(np.exp(minimize_scalar(penalised_loss, bounds=bounds).x))


def log_loss_at(proba: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Compute the weighted mean of minus the log probability of the labels.

    Parameters
    ----------
    proba : ndarray of shape (n, K)
    labels : int ndarray of shape (n,)
    weights : ndarray of shape (n,)

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> proba = np.array([[0.5, 0.5], [0.0, 1.0]])
    >>> round(log_loss_at(proba, np.array([0, 1]), np.ones(2)), 4)
    0.3466
    """
    likelihood = proba[np.arange(len(labels)), labels]
    log = np.log(np.maximum(likelihood, np.finfo(np.float64).tiny))
    return float(-weights @ log / weights.sum())
