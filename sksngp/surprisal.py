"""Scores of different scales, brought to one: how surprising a score is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ood import above_rounding

#: Most scores that are kept.
MOST_KNOTS = 1000
#: Share of the scores, and least number, that say how fast the tail falls.
TAIL_SHARE = 0.05
TAIL_SCORES = 10


@dataclass(frozen=True)
class Surprisal:
    """Minus the logarithm of the probability of a score at least as high.

    Between reference scores it is interpolated. Above the largest, the tail is assumed
    to fall exponentially, so that samples far from the data do not become equal.

    Parameters
    ----------
    scores : float64 ndarray of shape (n,)
        Some of the reference scores, in increasing order.
    values : float64 ndarray of shape (n,)
        Surprisal of each.
    excess : float
        Mean of what exceeds a high score.
    """

    scores: NDArray[np.float64]
    values: NDArray[np.float64]
    excess: float

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the surprisal of scores.

        Parameters
        ----------
        scores : ndarray

        Returns
        -------
        float64 ndarray of the same shape
            At least 0.
        """
        beyond = np.maximum(scores - self.scores[-1], 0.0) / self.excess
        return np.interp(scores, self.scores, self.values) + beyond


def fit_surprisal(scores: NDArray[np.float64]) -> Surprisal:
    """Fit the distribution of reference scores.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores of samples from the training distribution, at least one.

    Returns
    -------
    Surprisal

    Examples
    --------
    >>> import numpy as np
    >>> surprisal = fit_surprisal(np.arange(1.0, 100.0))
    >>> np.exp(-surprisal(np.array([1.0, 50.0, 90.5]))).round(3)
    array([0.99 , 0.5  , 0.095])
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    # Scores that differ by rounding count as equal.
    apart = ordered[1:] > above_rounding(ordered[:-1])
    first = np.flatnonzero(np.append(True, apart))
    knots = ordered[first]
    values = np.log1p(len(ordered)) - np.log(len(ordered) - first)
    tail = ordered[-max(round(TAIL_SHARE * len(ordered)), TAIL_SCORES) :]
    excess = float(np.mean(tail - tail[0]))
    # Scores that hardly differ say nothing about the tail.
    excess = max(excess, 1e-3 * abs(knots[-1]), 1e-12)
    kept = np.linspace(0, len(knots) - 1, min(len(knots), MOST_KNOTS)).astype(int)
    return Surprisal(knots[kept], values[kept], excess)
