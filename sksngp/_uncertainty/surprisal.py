"""Conversion of scores to surprisals, so that different scores can be combined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Namespace
from .conformal import above_rounding, pvalues

#: Maximum number of reference scores to store.
MAX_SCORES = 1000
#: Fraction and minimum number of the largest scores that determine the decay of the
#: tail.
TAIL_FRACTION = 0.05
MIN_TAIL_SCORES = 10


@dataclass(frozen=True)
class Surprisal:
    """Negative logarithm of the p-value of a score.

    All scores above the largest reference score have the same p-value. There, the tail
    is assumed to decay exponentially, so that the surprisal keeps increasing with the
    distance from the data.

    Parameters
    ----------
    scores : float64 ndarray of shape (n,)
        Unique reference scores in increasing order.
    excess : float
        Mean excess of the scores in the tail over the smallest of them. It is the
        scale of the exponential decay.
    """

    scores: NDArray[np.float64]
    excess: float

    def __call__(self, scores: Array, xp: Namespace = np) -> Array:
        """Compute the surprisal of new scores.

        Parameters
        ----------
        scores : array of shape (m,)
            Scores of samples that are not reference samples.
        xp : Namespace, default=numpy
            Namespace of the arrays.

        Returns
        -------
        float64 array of shape (m,)
            Non-negative surprisals.
        """
        beyond = xp.maximum(scores - above_rounding(self.scores[-1]), 0.0)
        return beyond / self.excess - xp.log(pvalues(scores, self.scores, xp))

    def of_small(self, scores: Array, xp: Namespace = np) -> Array:
        """Compute the surprisal of small instead of large scores.

        It is not extrapolated: the scores are distances, which are bounded below.

        Parameters
        ----------
        scores : array of shape (m,)
            Scores of samples that are not reference samples.
        xp : Namespace, default=numpy
            Namespace of the arrays.

        Returns
        -------
        float64 array of shape (m,)
            Non-negative surprisals.
        """
        return -xp.log(pvalues(-scores, -self.scores, xp))

    def leave_one_out(
        self, scores: NDArray[np.float64], small: bool = False
    ) -> NDArray[np.float64]:
        """Compute the surprisal of each reference score among the others.

        A reference score that is compared with itself can never exceed all reference
        scores, but the score of a new sample can, and its surprisal is extrapolated.
        A threshold that is computed from such comparisons would be too low. The scale
        of the tail is that of all reference scores, including the score itself, so that
        a single unusual sample does not determine the threshold of a small set.

        Parameters
        ----------
        scores : ndarray of shape (m,)
            Scores of reference samples.
        small : bool, default=False
            Whether to compute the surprisal of small instead of large scores.

        Returns
        -------
        float64 ndarray of shape (m,)
            Non-negative surprisals.
        """
        size = len(self.scores)
        references = self.scores
        if small:
            references, scores = -references[::-1], -scores
        at_least = size - np.searchsorted(above_rounding(references), scores)
        surprisals: NDArray[np.float64] = -np.log(np.maximum(at_least, 1) / size)
        if not small and size > 1:  # the largest exceeds the others
            beyond = scores - above_rounding(self.scores[-2])
            surprisals += np.maximum(beyond, 0.0) / self.excess
        return surprisals


def fit_surprisal(scores: NDArray[np.float64]) -> Surprisal:
    """Fit the distribution of reference scores.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores of in-distribution samples, with n >= 1. Equal scores count once, because
        they belong to equal samples: a repeated sample must have the same effect as one
        sample of weight 2.

    Returns
    -------
    Surprisal
        Fitted distribution.

    Examples
    --------
    >>> import numpy as np
    >>> surprisal = fit_surprisal(np.arange(1.0, 100.0))
    >>> np.exp(-surprisal(np.array([1.0, 50.0, 90.5]))).round(3)
    array([1.  , 0.51, 0.1 ])
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    apart = ordered[1:] > above_rounding(ordered[:-1])
    distinct = ordered[np.append(True, apart)]
    tail = _tail(distinct)
    # Nearly equal scores carry no information about the tail. The lower bounds avoid
    # division by zero.
    excess = max(float(np.mean(tail - tail[0])), 1e-3 * abs(distinct[-1]), 1e-12)
    number = min(len(distinct), MAX_SCORES)
    kept = np.linspace(0, len(distinct) - 1, number).astype(int)
    return Surprisal(distinct[kept], excess)


def _tail(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest of the scores in increasing order."""
    return ordered[-max(round(TAIL_FRACTION * len(ordered)), MIN_TAIL_SCORES) :]
