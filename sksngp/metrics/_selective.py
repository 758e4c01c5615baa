"""Metrics for selective classification, in which a classifier may abstain."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length

from .._function_parameters import checks_parameters
from ._checks import column


@checks_parameters({"correct": ["array-like"], "uncertainty": ["array-like"]})
def area_under_risk_coverage(correct: ArrayLike, uncertainty: ArrayLike) -> float:
    """Compute the area under the risk-coverage curve.

    A classifier that may abstain makes predictions only for the samples with the lowest
    uncertainty. The coverage is the fraction of these samples, and the risk is their
    error rate. The area is the risk averaged over all coverages. It is low if errors
    are rare and have a high uncertainty.

    Parameters
    ----------
    correct : array-like of bool, shape (n_samples,)
        Whether each prediction is correct.
    uncertainty : array-like of float, shape (n_samples,)
        Uncertainty of each prediction.

    Returns
    -------
    float
        Area between 0 (no errors) and 1 (only errors).

    Raises
    ------
    ValueError
        If `correct` is not boolean (0 and 1 are accepted), lengths differ, or an array
        is empty, not one-dimensional or not finite.

    Notes
    -----
    If e_k of the k predictions with the lowest uncertainty are wrong [1]_, the area is

        AURC = (1 / n_samples) sum_k e_k / k.

    If uncertainties are equal, e_k is the expectation over random orders of these
    samples, so that the value does not depend on the order of the samples. If all
    uncertainties are equal, the value is the error rate r. The minimum over all orders
    is approximately r + (1 - r) log(1 - r).

    References
    ----------
    .. [1] Geifman, Uziel and El-Yaniv (2019), Bias-Reduced Uncertainty Estimation
       for Deep Neural Classifiers, arXiv 1805.08206.

    Examples
    --------
    The only error has the highest uncertainty. The risks are 0, 0, 0 and 1/4.

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
    """Compute the error rate as a function of the fraction of samples kept.

    Samples are kept in order of increasing uncertainty. The classifier abstains from a
    prediction for all other samples.

    Parameters
    ----------
    correct : array-like of bool, shape (n_samples,)
        Whether each prediction is correct.
    uncertainty : array-like of float, shape (n_samples,)
        Uncertainty of each prediction.

    Returns
    -------
    coverage : ndarray of shape (n_samples,)
        Fractions of samples that are kept, ``1 / n_samples, 2 / n_samples, ..., 1``.
    risk : ndarray of shape (n_samples,)
        Expected error rate of the kept samples, for a random order of samples with
        equal uncertainty. The mean risk is `area_under_risk_coverage`.

    Raises
    ------
    ValueError
        If `correct` is not boolean (0 and 1 are accepted), lengths differ, or an array
        is empty, not one-dimensional or not finite.

    References
    ----------
    .. [1] El-Yaniv and Wiener (2010), On the Foundations of Noise-free Selective
       Classification, JMLR 11.

    Examples
    --------
    Without the quarter of the samples with the highest uncertainty, there is no error:

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
    values = column(correct, "correct", dtype=None)
    if not np.isin(values, [0, 1]).all():
        raise ValueError("correct must consist of booleans, or of 0 and 1.")
    checked = values.astype(np.float64)
    order = column(uncertainty, "uncertainty")
    check_consistent_length(checked, order)

    _, level = np.unique(order, return_inverse=True)
    totals = np.cumsum(np.bincount(level))
    errors = np.cumsum(np.bincount(level, weights=1 - checked))
    kept = np.arange(1, len(checked) + 1)
    # Among equal uncertainties, the expected number of errors grows linearly.
    expected = np.interp(kept, np.append(0, totals), np.append(0, errors))
    return kept / len(checked), expected / kept
