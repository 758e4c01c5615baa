"""Calibration metrics for predicted probabilities."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions

from .._function_parameters import checks_parameters
from ._checks import check_classification_inputs, check_weights

_CONSTRAINTS: dict[str, list[Any]] = {
    "y_true": ["array-like"],
    "proba": ["array-like"],
    "n_bins": [Interval(Integral, 1, None, closed="left")],
    "strategy": [StrOptions({"uniform", "quantile"})],
    "labels": ["array-like", None],
    "sample_weight": ["array-like", None],
}


class ReliabilityCurve(NamedTuple):
    """Result of `reliability_curve`, with one entry for each non-empty bin."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    fraction: NDArray[np.float64]


class BrierDecomposition(NamedTuple):
    """Result of `brier_decomposition`."""

    reliability: float
    resolution: float
    uncertainty: float


@checks_parameters(_CONSTRAINTS)
def reliability_curve(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Literal["uniform", "quantile"] = "uniform",
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> ReliabilityCurve:
    """Compute accuracy as a function of confidence.

    The confidence of a sample is its largest probability. In contrast to
    `sklearn.calibration.calibration_curve`, the number of classes is not restricted to
    two.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True class labels.
    proba : array-like of float, shape (n_samples, n_classes)
        Class probabilities. Each row must sum to 1.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Strategy used to define the widths of the bins. If "uniform", the bins have
        equal widths and cover [0, 1]. If "quantile", the bins have approximately equal
        weights. Samples of equal confidence are always in the same bin.
    labels : array-like of shape (n_classes,), default=None
        Class of each column of `proba`, such as ``classifier.classes_``. If None, the
        classes are the sorted labels in `y_true`, in which each class must occur.
    sample_weight : array-like of float, shape (n_samples,), default=None
        Non-negative sample weights. A sample of weight 2 is equivalent to two equal
        samples. If None, all samples have equal weight.

    Returns
    -------
    ReliabilityCurve
        Named tuple of the arrays `confidence` (mean), `accuracy` and `fraction` (of the
        total weight) of the non-empty bins, in order of increasing confidence.

    Raises
    ------
    ValueError
        If `proba` does not hold probabilities, a label in `y_true` has no column,
        lengths differ, or a value is missing or infinite.

    Examples
    --------
    >>> from sksngp.metrics import reliability_curve
    >>> curve = reliability_curve([0, 0, 0, 1], [[0.9, 0.1]] * 4)
    >>> curve.accuracy.tolist()
    [0.75]
    """
    _, checked, _, correct = check_classification_inputs(y_true, proba, labels)
    weight = check_weights(sample_weight, len(checked))
    check_consistent_length(checked, weight)
    confidence = np.minimum(checked.max(axis=1), 1.0)
    bins = np.searchsorted(_edges(confidence, weight, n_bins, strategy), confidence)
    total = np.bincount(bins, weights=weight)
    held = total > 0
    mean_confidence, accuracy = (
        np.bincount(bins, weights=weight * values)[held] / total[held]
        for values in (confidence, correct)
    )
    return ReliabilityCurve(mean_confidence, accuracy, total[held] / total.sum())


@checks_parameters(_CONSTRAINTS)
def expected_calibration_error(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Literal["uniform", "quantile"] = "uniform",
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compute the expected calibration error of the most probable class.

    The expected calibration error is the mean absolute difference between accuracy and
    confidence.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True class labels.
    proba : array-like of float, shape (n_samples, n_classes)
        Class probabilities. Each row must sum to 1.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Strategy used to define the widths of the bins. If "uniform", the bins have
        equal widths and cover [0, 1]. If "quantile", the bins have approximately equal
        weights, like the adaptive bins of [3]_. Samples of equal confidence are always
        in the same bin.
    labels : array-like of shape (n_classes,), default=None
        Class of each column of `proba`, such as ``classifier.classes_``. If None, the
        classes are the sorted labels in `y_true`, in which each class must occur.
    sample_weight : array-like of float, shape (n_samples,), default=None
        Non-negative sample weights. A sample of weight 2 is equivalent to two equal
        samples. If None, all samples have equal weight.

    Returns
    -------
    float
        Between 0 (perfectly calibrated) and 1 (every prediction wrong with confidence
        1).

    Raises
    ------
    ValueError
        If `proba` does not hold probabilities, a label in `y_true` has no column,
        lengths differ, or a value is missing or infinite.

    Notes
    -----
    Samples are assigned to bins by their confidence, the largest probability. The m-th
    of M uniform bins is ((m - 1) / M, m / M]. If n_m of the n samples are in this bin,
    the expected calibration error is

        ECE = sum_m (n_m / n) abs(accuracy_m - mean confidence_m),

    as proposed in [1]_ and given by equation 3 of [2]_. The value depends on the number
    of bins, and has an upward bias if the bins contain few samples. Only compare values
    for the same `n_bins` and the same number of samples.

    References
    ----------
    .. [1] Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated
       Probabilities Using Bayesian Binning, AAAI.
    .. [2] Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural
       Networks, arXiv 1706.04599.
    .. [3] Nguyen and O'Connor (2015), Posterior Calibration and Exploratory Analysis
       for Natural Language Processing Models, arXiv 1508.05154.

    Examples
    --------
    Three out of four predictions with a confidence of 0.9 are correct:

    >>> from sksngp.metrics import expected_calibration_error
    >>> error = expected_calibration_error([0, 0, 0, 1], [[0.9, 0.1]] * 4)
    >>> round(error, 3)
    0.15
    """
    curve = reliability_curve(
        y_true,
        proba,
        n_bins=n_bins,
        strategy=strategy,
        labels=labels,
        sample_weight=sample_weight,
    )
    return float(curve.fraction @ np.abs(curve.accuracy - curve.confidence))


@checks_parameters(_CONSTRAINTS)
def brier_decomposition(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Literal["uniform", "quantile"] = "uniform",
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> BrierDecomposition:
    """Decompose the Brier score into reliability, resolution and uncertainty.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True class labels.
    proba : array-like of float, shape (n_samples, n_classes)
        Class probabilities. Each row must sum to 1.
    n_bins : int, default=15
        Number of bins. For each class, samples are binned by the probability of the
        class.
    strategy : {"uniform", "quantile"}, default="uniform"
        Strategy used to define the widths of the bins. If "uniform", the bins have
        equal widths and cover [0, 1]. If "quantile", the bins have approximately equal
        weights.
    labels : array-like of shape (n_classes,), default=None
        Class of each column of `proba`, such as ``classifier.classes_``. If None, the
        classes are the sorted labels in `y_true`, in which each class must occur.
    sample_weight : array-like of float, shape (n_samples,), default=None
        Non-negative sample weights. A sample of weight 2 is equivalent to two equal
        samples. If None, all samples have equal weight.

    Returns
    -------
    BrierDecomposition
        Named tuple of three terms. The term `reliability` measures the difference
        between probabilities and frequencies (lower is better). The term `resolution`
        measures how well the probabilities separate samples of different classes
        (higher is better); it can be negative if probabilities and labels are
        negatively correlated within bins. The term `uncertainty` is the score of a
        constant prediction of the class frequencies.

    Raises
    ------
    ValueError
        If `proba` does not hold probabilities, a label in `y_true` has no column,
        lengths differ, or a value is missing or infinite.

    Notes
    -----
    For each class, let p be the predicted probability, and let o be 1 for samples of
    the class and 0 for others. Let p_b and o_b be the means of p and o in bin b of
    weight w_b, and f the mean of o over all samples. The following terms are summed
    over classes [1]_:

        reliability = sum_b w_b (p_b - o_b)^2,    uncertainty = f (1 - f).

    The resolution is that of [2]_: sum_b w_b (o_b - f)^2, minus the variance of p
    within bins, plus twice the covariance of p and o within bins. With this definition,

        Brier score = reliability - resolution + uncertainty

    holds for bins of any width, apart from rounding errors. The Brier score is that of
    ``sklearn.metrics.brier_score_loss(..., scale_by_half=False)``.

    References
    ----------
    .. [1] Murphy (1973), A New Vector Partition of the Probability Score, Journal of
       Applied Meteorology 12.
    .. [2] Stephenson, Coelho and Jolliffe (2008), Two Extra Components in the Brier
       Score Decomposition, Weather and Forecasting 23.

    Examples
    --------
    >>> from sksngp.metrics import brier_decomposition
    >>> parts = brier_decomposition([0, 0, 0, 1], [[0.75, 0.25]] * 4)
    >>> [round(part, 3) for part in parts]
    [0.0, 0.0, 0.375]
    """
    truth, checked, names, _ = check_classification_inputs(y_true, proba, labels)
    weight = check_weights(sample_weight, len(checked))
    check_consistent_length(checked, weight)
    weight = weight / weight.sum()
    reliability = uncertainty = score = 0.0
    for label, p in zip(names, checked.T, strict=True):
        o = (truth == label).astype(np.float64)
        bins = np.searchsorted(_edges(p, weight, n_bins, strategy), p)
        fraction = np.bincount(bins, weights=weight)
        held = fraction > 0
        gap = np.bincount(bins, weights=weight * (p - o))[held]
        reliability += float(np.sum(gap**2 / fraction[held]))
        frequency = float(weight @ o)
        uncertainty += max(frequency * (1.0 - frequency), 0.0)  # rounding errors
        score += float(weight @ (p - o) ** 2)
    return BrierDecomposition(
        reliability, reliability + uncertainty - score, uncertainty
    )


def _edges(
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    n_bins: int,
    strategy: Literal["uniform", "quantile"],
) -> NDArray[np.float64]:
    """Compute the inner edges of the bins. Edges belong to the lower bin."""
    steps = np.arange(1, n_bins) / n_bins
    if strategy == "uniform":
        return steps
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) / weight.sum()
    # The tolerance allows for rounding errors in the sums of weights.
    return values[order][np.searchsorted(reached, steps - 1e-12)]
