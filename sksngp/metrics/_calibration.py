"""How far probabilities are from frequencies."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions

from ._checks import checks_parameters, classified, weights

_CONSTRAINTS: dict[str, list[Any]] = {
    "y_true": ["array-like"],
    "proba": ["array-like"],
    "n_bins": [Interval(Integral, 1, None, closed="left")],
    "strategy": [StrOptions({"uniform", "quantile"})],
    "labels": ["array-like", None],
    "sample_weight": ["array-like", None],
}


class ReliabilityCurve(NamedTuple):
    """What `reliability_curve` returns: one entry a bin that holds rows."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    share: NDArray[np.float64]


class BrierDecomposition(NamedTuple):
    """What `brier_decomposition` returns."""

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
    """Accuracy of rows that claim about the same confidence.

    For any number of classes, where `sklearn.calibration.calibration_curve` is for
    two: the confidence of a row is its largest probability.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Classes of the rows.
    proba : array-like of float, shape (n, n_classes)
        Class probabilities; rows sum to 1.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width that part [0, 1], or of about equal weight; rows of equal
        confidence always share a bin.
    labels : array-like of shape (n_classes,), default=None
        The class of each column of `proba`, such as ``classifier.classes_``.
        By default the sorted classes in `y_true`, which then must hold them all.
    sample_weight : array-like of float, shape (n,), default=None
        Weights of the rows, not negative; a row of weight 2 counts as two rows.

    Returns
    -------
    ReliabilityCurve
        Arrays `confidence` (mean), `accuracy` and `share` (of the rows' weight) of
        the bins that hold rows, by rising confidence.

    Raises
    ------
    ValueError
        If `proba` isn't probabilities, `y_true` has a class without a column,
        lengths differ, or a value is missing or infinite.

    Examples
    --------
    >>> from sksngp.metrics import reliability_curve
    >>> curve = reliability_curve([0, 0, 0, 1], [[0.9, 0.1]] * 4)
    >>> curve.accuracy.tolist()
    [0.75]
    """
    _, checked, _, correct = classified(y_true, proba, labels)
    weight = weights(sample_weight, len(checked))
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
    """Measure how far confidence is from accuracy.

    The expected calibration error of the most probable class.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Classes of the rows.
    proba : array-like of float, shape (n, n_classes)
        Class probabilities; rows sum to 1.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width that part [0, 1], or of about equal weight (the adaptive
        bins of [3]_); rows of equal confidence always share a bin.
    labels : array-like of shape (n_classes,), default=None
        The class of each column of `proba`, such as ``classifier.classes_``.
        By default the sorted classes in `y_true`, which then must hold them all.
    sample_weight : array-like of float, shape (n,), default=None
        Weights of the rows, not negative; a row of weight 2 counts as two rows.

    Returns
    -------
    float
        Between 0, calibrated, and 1, sure and wrong.

    Raises
    ------
    ValueError
        If `proba` isn't probabilities, `y_true` has a class without a column,
        lengths differ, or a value is missing or infinite.

    Notes
    -----
    A row belongs to the bin that holds its confidence, which is its largest
    probability; of M uniform bins the m-th is ((m - 1) / M, m / M]. With n_m of the
    n rows in it,

        ECE = sum_m (n_m / n) abs(accuracy_m - mean confidence_m),

    which was proposed in [1]_ and is equation 3 of [2]_. The value depends on the
    number of bins and is biased upwards where they hold few rows: compare at the
    same `n_bins` and n.

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
    Three in four predictions are right where each claims 0.9:

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
    return float(curve.share @ np.abs(curve.accuracy - curve.confidence))


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
    """Part the Brier score into reliability, resolution and uncertainty.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Classes of the rows.
    proba : array-like of float, shape (n, n_classes)
        Class probabilities; rows sum to 1.
    n_bins : int, default=15
        Number of bins, for each class by its own probability.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width that part [0, 1], or of about equal weight.
    labels : array-like of shape (n_classes,), default=None
        The class of each column of `proba`, such as ``classifier.classes_``.
        By default the sorted classes in `y_true`, which then must hold them all.
    sample_weight : array-like of float, shape (n,), default=None
        Weights of the rows, not negative; a row of weight 2 counts as two rows.

    Returns
    -------
    BrierDecomposition
        `reliability`, how far probabilities are from frequencies (lower is better);
        `resolution`, how far they tell rows apart (higher is better; negative where
        they rank rows the wrong way round within bins); and
        `uncertainty`, the score of always saying the classes' frequencies.

    Raises
    ------
    ValueError
        If `proba` isn't probabilities, `y_true` has a class without a column,
        lengths differ, or a value is missing or infinite.

    Notes
    -----
    With p a class's probability, o whether the row is of it, p_b and o_b their means
    within bin b of weight w_b, and f the mean of o over all rows, summed over classes
    [1]_:

        reliability = sum_b w_b (p_b - o_b)^2,    uncertainty = f (1 - f),

    and the resolution is that of [2]_, sum_b w_b (o_b - f)^2 less the variance of p
    within bins plus twice its covariance with o there, so that

        Brier score = reliability - resolution + uncertainty

    holds but for rounding, however wide the bins. The Brier score is
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
    truth, checked, names, _ = classified(y_true, proba, labels)
    weight = weights(sample_weight, len(checked))
    check_consistent_length(checked, weight)
    weight = weight / weight.sum()
    reliability = uncertainty = score = 0.0
    for label, p in zip(names, checked.T, strict=True):
        o = (truth == label).astype(np.float64)
        bins = np.searchsorted(_edges(p, weight, n_bins, strategy), p)
        share = np.bincount(bins, weights=weight)
        held = share > 0
        gap = np.bincount(bins, weights=weight * (p - o))[held]
        reliability += float(np.sum(gap**2 / share[held]))
        frequency = float(weight @ o)
        uncertainty += max(frequency * (1.0 - frequency), 0.0)  # rounding
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
    """Inner edges of the bins; a value on an edge belongs below it."""
    steps = np.arange(1, n_bins) / n_bins
    if strategy == "uniform":
        return steps
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) / weight.sum()
    # The tolerance keeps a sum of 0.30000000000000004 from reaching 0.3 too late.
    return values[order][np.searchsorted(reached, steps - 1e-12)]
