"""Conformal thresholds and p-values of out-of-distribution scores."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from scipy.stats import binom

from .arrays import Array, Namespace

#: Tolerance within which scores count as equal, relative to the maximum of 1 and the
#: score. The scores of equal samples differ by rounding errors between predictions and
#: exported models (`benchmarks.exports`).
TIE_TOLERANCE = 1e-6

#: A number, or an array of them.
FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)


def threshold(
    scores: np.ndarray, alpha: float, confidence: float | None = None
) -> float:
    """Compute the split-conformal threshold of out-of-distribution scores.

    The threshold is the ``ceil((n + 1) (1 - alpha))``-th smallest score. The expected
    fraction of new samples whose scores exceed it is at most `alpha` (Vovk, Gammerman
    and Shafer 2005; Bates et al. 2023, arXiv 2104.08279, equation 2). With fewer than
    1 / alpha - 1 scores, only an infinite threshold has this guarantee.

    The fraction of new samples above the k-th smallest score is random, because the
    scores are. It follows the distribution Beta(n + 1 - k, k) if ties have probability
    0, and is smaller otherwise (Vovk 2012, arXiv 1209.2673, proposition 2a). If
    `confidence` is given, k is also large enough for this fraction to be at most
    `alpha` with probability `confidence`.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores of the calibration set. Higher scores indicate more unusual samples.
    alpha : float in (0, 1)
        Maximum false positive rate.
    confidence : float in (0, 1), default=None
        Probability over calibration sets that the false positive rate is at most
        `alpha`. If None, only the expected rate is bounded.

    Returns
    -------
    float
        Threshold, which is infinite if there are too few scores.

    Examples
    --------
    >>> import numpy as np
    >>> threshold(np.arange(1.0, 100.0), alpha=0.05)
    95.0
    >>> threshold(np.arange(1.0, 100.0), alpha=0.05, confidence=0.95)
    98.0
    """
    n = len(scores)
    # The tolerance prevents (n + 1) (1 - alpha) = 95.00000000000001 from being rounded
    # up to 96.
    rank = max(math.ceil((n + 1) * (1 - alpha) - 1e-9), 1)
    if confidence is not None:
        # The rate is at most alpha if fewer than k of the n scores are below the
        # quantile 1 - alpha of their distribution. Their number is binomial.
        rank = max(rank, int(binom.ppf(confidence, n, 1 - alpha)) + 1)
    return float(np.sort(scores)[rank - 1]) if rank <= n else math.inf


def min_calibration_size(alpha: float, confidence: float | None = None) -> int:
    """Return the minimum number of scores for which `threshold` is finite.

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
    # The largest of n scores is high enough if (1 - alpha)^n <= 1 - confidence.
    sure = math.log1p(-confidence) / math.log1p(-alpha)
    return max(needed, math.ceil(sure - 1e-9))


def pvalues(scores: Array, calibration: np.ndarray, xp: Namespace = np) -> Array:
    """Compute conformal p-values of out-of-distribution scores.

    The p-value of a score s is ``p = (1 + #{i: c_i >= s}) / (n + 1)``, where c_i are
    the scores of the calibration set. For a new sample, P(p <= alpha) <= alpha for
    every alpha (Bates et al. 2023, arXiv 2104.08279, equation 2). The probability is
    taken over new samples and calibration sets, and p-values that share their
    calibration set are dependent. Apart from the rounding of alpha, ``p <= alpha`` is
    equivalent to a score above `threshold` without `confidence`.

    Parameters
    ----------
    scores : array of shape (m,)
        Scores of the samples to test. Higher scores indicate more unusual samples.
    calibration : ndarray of shape (n,)
        Scores of the calibration set.
    xp : Namespace, default=numpy
        Namespace of the arrays.

    Returns
    -------
    float64 array of shape (m,)
        P-values. They are multiples of 1 / (n + 1), which is also the smallest
        possible p-value.

    Examples
    --------
    >>> import numpy as np
    >>> pvalues(np.array([0.0, 98.5, 200.0]), np.arange(1.0, 100.0))
    array([1.  , 0.02, 0.01])
    """
    # As in the comparison with a threshold, a calibration sample and its duplicate must
    # count as equal.
    ordered = np.sort(above_rounding(calibration))
    at_least = len(ordered) - xp.searchsorted(ordered, scores)
    return (1 + at_least) / (1 + len(ordered))


def above_rounding(threshold: FloatOrArray) -> FloatOrArray:
    """Raise thresholds by the tolerance within which scores count as equal.

    The last digits of a score depend on the samples that are predicted at the same
    time, and on the program that computes the score. If the threshold equals the score
    of a sample that occurs often, these digits would decide whether a large fraction of
    the data is flagged. Predictions, p-values and exported models therefore compare
    scores with thresholds that this function has raised.

    Parameters
    ----------
    threshold : float or ndarray
        Thresholds to raise.

    Returns
    -------
    float or ndarray
        Raised thresholds.

    Examples
    --------
    >>> bool(0.3 < above_rounding(0.3) < 0.3 + 2e-6)
    True
    """
    return threshold + TIE_TOLERANCE * np.maximum(1.0, np.abs(threshold))
