"""Conformal thresholds and p-values of out-of-distribution scores."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from scipy.stats import binom

#: Scores that agree to this, relative to the larger of one and the score, are tied.
#: The scores of equal samples differ by rounding, up to 2e-7 between predictions and
#: exported models.
TIED = 1e-6

#: A number, or an array of them.
FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)


def threshold(
    scores: np.ndarray, alpha: float, confidence: float | None = None
) -> float:
    """Split-conformal threshold on out-of-distribution scores.

    Of fresh rows from the distribution that gave `scores`, an expected share of
    at most `alpha` exceeds the ``ceil((n + 1) (1 - alpha))``-th smallest score
    (Vovk, Gammerman and Shafer 2005; Bates et al. 2023, arXiv 2104.08279,
    equation 2). With fewer than 1 / alpha - 1 rows only infinity promises that.

    The share above the k-th smallest score is itself random, as the scores are: it
    follows the distribution Beta(n + 1 - k, k) if ties have probability 0, and is
    smaller otherwise (Vovk 2012, arXiv 1209.2673, proposition 2a). With `confidence`,
    k is also large enough for that share to be at most `alpha` with this probability.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Higher is more unusual; rows that the scoring model was not trained on.
    alpha : float in (0, 1)
        Rate of false alarms.
    confidence : float in (0, 1), default=None
        Probability that the scores lead to a rate of at most `alpha`. None bounds the
        expected rate only.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> threshold(np.arange(1.0, 100.0), alpha=0.05)
    95.0
    >>> threshold(np.arange(1.0, 100.0), alpha=0.05, confidence=0.95)
    98.0
    """
    n = len(scores)
    # The tolerance keeps (n + 1) (1 - alpha) = 95.00000000000001 from becoming 96.
    rank = max(math.ceil((n + 1) * (1 - alpha) - 1e-9), 1)
    if confidence is not None:
        # The rate is at most alpha if fewer than k of the n scores lie among the share
        # 1 - alpha of the smallest, and their number is binomial.
        rank = max(rank, int(binom.ppf(confidence, n, 1 - alpha)) + 1)
    return float(np.sort(scores)[rank - 1]) if rank <= n else math.inf


def min_calibration_size(alpha: float, confidence: float | None = None) -> int:
    """Smallest number of scores for which `threshold` is finite.

    Examples
    --------
    >>> min_calibration_size(0.05), min_calibration_size(0.01)
    (19, 99)
    >>> min_calibration_size(0.05, confidence=0.95)
    59
    """
    needed = max(math.ceil(1 / alpha - 1 - 1e-9), 1)
    if confidence is None:
        return needed
    # The largest of n scores suffices if (1 - alpha)^n is at most 1 - confidence.
    sure = math.log1p(-confidence) / math.log1p(-alpha)
    return max(needed, math.ceil(sure - 1e-9))


def pvalues(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Conformal p-values of out-of-distribution scores.

    ``p = (1 + #{i: c_i >= s}) / (n + 1)``: the chance of a score as high as s for a
    fresh row from the distribution that gave the n scores c_i, in the sense that
    P(p <= alpha) <= alpha for every alpha (Bates et al. 2023, arXiv 2104.08279,
    equation 2). But for rounding of alpha, ``p <= alpha`` where the score is above
    `threshold` without a `confidence`. The chance is over rows and calibration rows:
    p-values that share their calibration rows are dependent.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        Of the rows in question; higher is more unusual.
    calibration : ndarray of shape (n,)
        Of rows from the distribution that the scoring model was not trained on.

    Returns
    -------
    float64 ndarray of shape (m,)
        Multiples of 1 / (n + 1), the smallest p-value that n rows can give.

    Examples
    --------
    >>> import numpy as np
    >>> pvalues(np.array([0.0, 98.5, 200.0]), np.arange(1.0, 100.0))
    array([1.  , 0.02, 0.01])
    """
    # As the threshold: a calibration row and its twin must count as equal.
    ordered = np.sort(above_rounding(calibration))
    at_least = len(ordered) - np.searchsorted(ordered, scores)
    return (1 + at_least) / (1 + len(ordered))


def above_rounding(threshold: FloatOrArray) -> FloatOrArray:
    """Raise thresholds by more than the scores of equal samples differ.

    The last digits of a score depend on the samples that are predicted with it, and on
    the program that computes it. If the sample that sets the threshold is a common one,
    those digits would decide whether a large part of the data is flagged. Predictions,
    p-values and exports all compare scores with thresholds that were raised here.

    Parameters
    ----------
    threshold : float or ndarray

    Returns
    -------
    float or ndarray

    Examples
    --------
    >>> bool(0.3 < above_rounding(0.3) < 0.3 + 2e-6)
    True
    """
    return threshold + TIED * np.maximum(1.0, np.abs(threshold))
