"""How well uncertainty orders predictions, for a classifier that may abstain."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length

from ._checks import checks_parameters, column


@checks_parameters({"correct": ["array-like"], "uncertainty": ["array-like"]})
def area_under_risk_coverage(correct: ArrayLike, uncertainty: ArrayLike) -> float:
    """Error rate among the rows kept, averaged over how many are kept.

    A classifier that may abstain keeps its most certain rows. This is its risk
    averaged over all coverages: low when errors are rare and come last.

    Parameters
    ----------
    correct : array-like of bool, shape (n,)
        Whether the prediction is right.
    uncertainty : array-like of float, shape (n,)
        Uncertainty of the prediction; the row with the lowest is kept longest.

    Returns
    -------
    float
        Between 0, no error, and 1, nothing but errors.

    Raises
    ------
    ValueError
        If `correct` is not boolean (0 and 1 serve too), lengths differ, or an
        array is empty, not one-dimensional or not finite.

    Notes
    -----
    With e_k errors among the k most certain of n rows [1]_,

        AURC = (1 / n) sum_k e_k / k.

    Rows that tie enter in random order and e_k is its expectation, so that the
    value doesn't depend on the order of rows; if all tie, it is the error rate r.
    The best order gives about r + (1 - r) log(1 - r).

    References
    ----------
    .. [1] Geifman, Uziel and El-Yaniv (2019), Bias-Reduced Uncertainty Estimation
       for Deep Neural Classifiers, arXiv 1805.08206.

    Examples
    --------
    The one error comes last: risks 0, 0, 0 and 1/4.

    >>> from sksngp.metrics import area_under_risk_coverage
    >>> correct = [True, True, True, False]
    >>> area_under_risk_coverage(correct, [0.1, 0.2, 0.3, 0.9])
    0.0625
    >>> area_under_risk_coverage(correct, [0.5, 0.5, 0.5, 0.5])
    0.25
    """
    _, risk = _risk_coverage(correct, uncertainty)
    return float(risk.mean())


@checks_parameters({"correct": ["array-like"], "uncertainty": ["array-like"]})
def risk_coverage_curve(
    correct: ArrayLike, uncertainty: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Error rate among the rows kept, by the share of rows kept.

    Parameters
    ----------
    correct : array-like of bool, shape (n,)
        Whether the prediction is right.
    uncertainty : array-like of float, shape (n,)
        Uncertainty of the prediction; the row with the lowest is kept longest.

    Returns
    -------
    coverage : ndarray of shape (n,)
        1/n, 2/n, ..., 1: shares of rows that are kept, the others being referred.
    risk : ndarray of shape (n,)
        Expected share of errors among those kept; rows that tie enter in random
        order. Its mean is `area_under_risk_coverage`.

    Raises
    ------
    ValueError
        As for `area_under_risk_coverage`.

    References
    ----------
    .. [1] El-Yaniv and Wiener (2010), On the Foundations of Noise-free Selective
       Classification, JMLR 11.

    Examples
    --------
    Referring the least certain quarter leaves no error:

    >>> from sksngp.metrics import risk_coverage_curve
    >>> correct = [True, True, True, False]
    >>> coverage, risk = risk_coverage_curve(correct, [0.1, 0.2, 0.3, 0.9])
    >>> risk.tolist()
    [0.0, 0.0, 0.0, 0.25]
    """
    return _risk_coverage(correct, uncertainty)


def _risk_coverage(
    correct: ArrayLike, uncertainty: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    right = column(correct, "correct")
    if not np.isin(right, [0, 1]).all():
        raise ValueError("correct must hold booleans (or 0 and 1) only.")
    order = column(uncertainty, "uncertainty")
    check_consistent_length(right, order)

    _, level = np.unique(order, return_inverse=True)
    rows = np.cumsum(np.bincount(level))
    errors = np.cumsum(np.bincount(level, weights=1 - right))
    kept = np.arange(1, len(right) + 1)
    # Within a tie the expected number of errors grows linearly.
    expected = np.interp(kept, np.append(0, rows), np.append(0, errors))
    return kept / len(right), expected / kept
