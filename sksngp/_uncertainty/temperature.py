"""Temperature scaling of class probabilities on held-out samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

#: Bound on the absolute logarithm of the temperature in the grid search. The subsequent
#: refinement may exceed the bound by half a unit.
MAX_LOG_TEMPERATURE = 4.0


def fit_temperature(
    proba: Callable[[float], np.ndarray], labels: np.ndarray, weights: np.ndarray
) -> float:
    """Fit the temperature of class probabilities.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599) is combined with a prior:
    the temperature T minimizes

        sum_i w_i (-log p_T(y_i)) + (log T)^2 / 2.

    This is the posterior mode under a standard normal prior of log T. Without the
    prior, a few samples that are all classified correctly would result in T = 0 and in
    probabilities of 0 and 1.

    Parameters
    ----------
    proba : callable
        Function ``proba(T)`` that returns the class probabilities at temperature T, of
        shape (n, K).
    labels : int ndarray of shape (n,)
        Indices of classes.
    weights : ndarray of shape (n,)
        Sample weights. A sample of weight 2 is equivalent to two equal samples, also
        relative to the prior.

    Returns
    -------
    float
        Temperature. It is above 1 if the probabilities at T = 1 are overconfident.

    Examples
    --------
    The logits in this example are ten times too large:

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

    def penalized_loss(log_temperature: float) -> float:
        likelihood = proba(np.exp(log_temperature))[rows, labels]
        loss = -weights @ np.log(np.maximum(likelihood, tiny))
        return loss + 0.5 * log_temperature**2

    # The loss may have two minima, one of them at a bound. A grid search finds the
    # interval of the global minimum.
    grid = np.linspace(-MAX_LOG_TEMPERATURE, MAX_LOG_TEMPERATURE, 17)
    best = grid[np.argmin([penalized_loss(point) for point in grid])]
    bounds = (best - grid[1] + grid[0], best + grid[1] - grid[0])
    return float(np.exp(minimize_scalar(penalized_loss, bounds=bounds).x))


def probability_at(logits: np.ndarray, temperature: float) -> NDArray[np.float64]:
    """Return the softmax at a temperature, averaged over samples of the network.

    Parameters
    ----------
    logits : ndarray of shape (n, K) or (S, n, K)
        Logits, of one network or of S samples of it.
    temperature : float

    Returns
    -------
    float64 ndarray of shape (n, K)
        Class probabilities.
    """
    proba: NDArray[np.float64] = softmax(logits / temperature, axis=-1)
    return proba if proba.ndim == 2 else proba.mean(axis=0)


def log_loss_at(proba: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Compute the weighted log loss.

    Parameters
    ----------
    proba : ndarray of shape (n, K)
        Class probabilities.
    labels : int ndarray of shape (n,)
        Indices of classes.
    weights : ndarray of shape (n,)
        Sample weights.

    Returns
    -------
    float
        Weighted mean of the negative log probabilities of the labels.

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
