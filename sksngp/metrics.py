"""Measures of calibration and uncertainty that scikit-learn lacks.

Scores follow one convention: higher is more unusual or less certain, as in
``predict_uncertainty``. The negative log-likelihood is `sklearn.metrics.log_loss`
and the Brier score `sklearn.metrics.brier_score_loss`.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

#: How far a row of probabilities may be from 1: what half precision rounds away.
SUM_TOLERANCE = 1e-3


@validate_params(
    {
        "y_true": ["array-like"],
        "proba": ["array-like"],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "labels": ["array-like", None],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def expected_calibration_error(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 15,
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
        Number of bins of equal width that part [0, 1].
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
    probability; bin m of M is ((m - 1) / M, m / M]. With n_m of the n rows in it,

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

    Examples
    --------
    Three in four predictions are right where each claims 0.9:

    >>> from sksngp.metrics import expected_calibration_error
    >>> error = expected_calibration_error([0, 0, 0, 1], [[0.9, 0.1]] * 4)
    >>> round(error, 3)
    0.15
    """
    y_true = _column(y_true, "y_true", dtype=None)
    proba = _probabilities(proba)
    weight = _weights(sample_weight, len(proba))
    check_consistent_length(y_true, proba, weight)
    labels = _column_labels(labels, y_true, proba.shape[1])

    confidence = np.minimum(proba.max(axis=1), 1.0)
    correct = labels[proba.argmax(axis=1)] == y_true
    bins = np.searchsorted(np.arange(1, n_bins) / n_bins, confidence)
    gaps = np.bincount(bins, weights=weight * (correct - confidence))
    return float(np.abs(gaps).sum() / weight.sum())


@validate_params(
    {"scores_in": ["array-like"], "scores_out": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def ood_auroc(scores_in: ArrayLike, scores_out: ArrayLike) -> float:
    """Area under the ROC curve of telling unknown rows from known ones.

    Parameters
    ----------
    scores_in : array-like of float, shape (n,)
        Scores of in-distribution (known) rows; higher is more unusual.
    scores_out : array-like of float, shape (m,)
        Scores of out-of-distribution (unknown) rows.

    Returns
    -------
    float
        The probability that an unknown row scores above a known one, where a tie
        counts one half: 1 for perfect detection, 0.5 for a useless score.

    Raises
    ------
    ValueError
        If an array is empty, not one-dimensional, or has a value that is missing
        or infinite.

    References
    ----------
    .. [1] Hendrycks and Gimpel (2017), A Baseline for Detecting Misclassified and
       Out-of-Distribution Examples in Neural Networks, arXiv 1610.02136.

    Examples
    --------
    Five of the six pairs are in the right order:

    >>> from sksngp.metrics import ood_auroc
    >>> round(ood_auroc([0.1, 0.2, 0.5], [0.4, 0.9]), 3)
    0.833
    """
    return float(roc_auc_score(*_in_or_out(scores_in, scores_out)))


@validate_params(
    {
        "scores_in": ["array-like"],
        "scores_out": ["array-like"],
        "tpr": [Interval(Real, 0, 1, closed="right")],
    },
    prefer_skip_nested_validation=True,
)
def fpr_at_tpr(
    scores_in: ArrayLike, scores_out: ArrayLike, *, tpr: float = 0.95
) -> float:
    """Share of known rows flagged when a share `tpr` of unknown ones is.

    Parameters
    ----------
    scores_in : array-like of float, shape (n,)
        Scores of in-distribution (known) rows; higher is more unusual.
    scores_out : array-like of float, shape (m,)
        Scores of out-of-distribution (unknown) rows.
    tpr : float in (0, 1], default=0.95
        Share of unknown rows to flag.

    Returns
    -------
    float
        Between 0, no false alarm, and 1.

    Raises
    ------
    ValueError
        If an array is empty, not one-dimensional, or has a value that is missing
        or infinite.

    Notes
    -----
    A row is flagged when its score is at least the threshold, the largest that
    flags no less than `tpr` of the unknown rows. Unknown rows are the positives,
    as in [1]_; some papers [2]_ take the known ones and get another number.

    References
    ----------
    .. [1] Hendrycks, Mazeika and Dietterich (2019), Deep Anomaly Detection with
       Outlier Exposure, arXiv 1812.04606.
    .. [2] Liang, Li and Srikant (2018), Enhancing the Reliability of
       Out-of-Distribution Image Detection in Neural Networks, arXiv 1706.02690.

    Examples
    --------
    To flag both unknown rows takes a threshold of 0.4, and one of four known rows
    with them:

    >>> from sksngp.metrics import fpr_at_tpr
    >>> fpr_at_tpr([0.1, 0.2, 0.3, 0.5], [0.4, 0.9])
    0.25
    """
    false_alarms, found, _ = roc_curve(
        *_in_or_out(scores_in, scores_out),
        # Dropping collinear points could drop the one that is looked for.
        drop_intermediate=False,
    )
    return float(false_alarms[np.argmax(found >= tpr)])


@validate_params(
    {"correct": ["array-like"], "uncertainty": ["array-like"]},
    prefer_skip_nested_validation=True,
)
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
    correct = _column(correct, "correct")
    if not np.isin(correct, [0, 1]).all():
        raise ValueError("correct must hold booleans (or 0 and 1) only.")
    uncertainty = _column(uncertainty, "uncertainty")
    check_consistent_length(correct, uncertainty)

    _, level = np.unique(uncertainty, return_inverse=True)
    rows = np.cumsum(np.bincount(level))
    errors = np.cumsum(np.bincount(level, weights=1 - correct))
    kept = np.arange(1, len(correct) + 1)
    # Within a tie the expected number of errors grows linearly.
    expected = np.interp(kept, np.append(0, rows), np.append(0, errors))
    return float(np.mean(expected / kept))


def _column(values, name, dtype=np.float64):
    """Non-empty one-dimensional array of finite values."""
    values = check_array(
        values,
        dtype=dtype,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name=name,
    )
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"{name} must have one dimension and at least one value; "
            f"its shape is {values.shape}."
        )
    return values


def _in_or_out(scores_in, scores_out):
    """Whether each row is out of distribution, and its score."""
    known = _column(scores_in, "scores_in")
    unknown = _column(scores_out, "scores_out")
    return np.repeat([0, 1], [len(known), len(unknown)]), np.append(known, unknown)


def _weights(sample_weight, n_rows):
    if sample_weight is None:
        return np.ones(n_rows)
    weight = _column(sample_weight, "sample_weight")
    if weight.min() < 0 or not weight.any():
        raise ValueError("sample_weight must not be negative, nor 0 in every row.")
    return weight


def _probabilities(proba):
    proba = check_array(proba, dtype=np.float64, input_name="proba")
    if proba.min() < 0:
        raise ValueError(
            f"proba must hold probabilities, but has a value of {proba.min():.6g}."
        )
    sums = proba.sum(axis=1)
    row = np.argmax(np.abs(sums - 1))
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"Rows of proba must sum to 1; row {row} sums to {sums[row]:.6g}."
        )
    return proba


def _column_labels(labels, y_true, n_columns):
    """Name the class of each column; all classes in `y_true` are among them."""
    given = labels is not None
    labels = _column(labels, "labels", dtype=None) if given else np.unique(y_true)
    # Sets, as NumPy would take the string "1" for the number 1.
    known = set(labels.tolist())
    if len(known) != len(labels):
        raise ValueError(f"labels must differ from each other; got {labels.tolist()}.")
    if len(labels) != n_columns:
        source = "labels has" if given else "labels is not given and y_true has"
        raise ValueError(
            f"proba has {n_columns} columns, but {source} {len(labels)} classes; "
            "labels must name the class of each column."
        )
    unknown = set(y_true.tolist()) - known
    if unknown:
        raise ValueError(
            f"y_true has classes that are not in labels: {sorted(unknown, key=str)}."
        )
    return labels
