"""Scores of different scales, brought to one: how surprising a score is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .conformal import above_rounding, pvalues

#: Weights of the parts of SNGP's out-of-distribution score: variance and entropy,
#: distance in the inputs, entropy. On the tables for tuning of `benchmarks.tables`, the
#: entropy changes little; where the inputs say little, as on images of digits, half of
#: its surprisal detects more unknown classes.
PART_WEIGHTS = (1.0, 1.0, 0.5)
#: Most reference scores that are kept.
MOST_SCORES = 1000
#: Share of the scores, and least number, that say how fast the tail falls.
TAIL_SHARE = 0.05
TAIL_SCORES = 10


@dataclass(frozen=True)
class Surprisal:
    """Minus the logarithm of the p-value of a score.

    Above the largest reference score, where p-values are equal, the tail is assumed to
    fall exponentially, so that samples far from the data do not become equal.

    Parameters
    ----------
    scores : float64 ndarray of shape (n,)
        Reference scores that differ, in increasing order.
    excess : float
        Mean of what exceeds a high score.
    """

    scores: NDArray[np.float64]
    excess: float

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the surprisal of scores.

        Parameters
        ----------
        scores : ndarray of shape (m,)

        Returns
        -------
        float64 ndarray of shape (m,)
            At least 0.
        """
        beyond = np.maximum(scores - above_rounding(self.scores[-1]), 0.0)
        return beyond / self.excess - np.log(pvalues(scores, self.scores))

    def of_references(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the surprisal of reference scores, each among the others.

        Compared with itself, no reference score would be the highest, as that of a new
        sample can be, and a threshold set by the references would be too low.

        Parameters
        ----------
        scores : ndarray of shape (m,)

        Returns
        -------
        float64 ndarray of shape (m,)
            At least 0.
        """
        size = len(self.scores)
        at_least = size - np.searchsorted(above_rounding(self.scores), scores)
        return -np.log(np.maximum(at_least, 1) / size)


def fit_surprisal(scores: NDArray[np.float64]) -> Surprisal:
    """Fit the distribution of reference scores.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores of samples from the training distribution, at least one. Equal scores
        count once: they belong to equal samples, which must not count for more than
        one sample of weight 2.

    Returns
    -------
    Surprisal

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
    tail = distinct[-max(round(TAIL_SHARE * len(distinct)), TAIL_SCORES) :]
    # Scores that hardly differ say nothing about the tail.
    excess = max(float(np.mean(tail - tail[0])), 1e-3 * abs(distinct[-1]), 1e-12)
    number = min(len(distinct), MOST_SCORES)
    kept = np.linspace(0, len(distinct) - 1, number).astype(int)
    return Surprisal(distinct[kept], excess)


def combine(surprisals: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Combine the parts of a score by Fisher's rule, with weights.

    Parameters
    ----------
    surprisals : sequence of float64 ndarray of shape (n,)
        One for each part.

    Returns
    -------
    float64 ndarray of shape (n,)
    """
    weighted = zip(PART_WEIGHTS, surprisals, strict=True)
    return np.sum([weight * part for weight, part in weighted], axis=0)
