"""Metrics for out-of-distribution detection."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.utils._param_validation import Interval

from .._function_parameters import checks_parameters
from ._checks import column


@checks_parameters({"scores_in": ["array-like"], "scores_out": ["array-like"]})
def ood_auroc(scores_in: ArrayLike, scores_out: ArrayLike) -> float:
    """Compute the area under the ROC curve of out-of-distribution detection.

    Parameters
    ----------
    scores_in : array-like of float, shape (n_in,)
        Scores of in-distribution samples. Higher scores indicate more unusual samples.
    scores_out : array-like of float, shape (n_out,)
        Scores of out-of-distribution samples.

    Returns
    -------
    float
        Probability that an out-of-distribution sample has a higher score than an
        in-distribution sample, where a tie counts as one half. The value is 1 for
        perfect detection and 0.5 for a random score.

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
    Five of the six pairs are in the correct order:

    >>> from sksngp.metrics import ood_auroc
    >>> round(ood_auroc([0.1, 0.2, 0.5], [0.4, 0.9]), 3)
    0.833
    """
    return float(roc_auc_score(*_in_or_out(scores_in, scores_out)))


@checks_parameters(
    {
        "scores_in": ["array-like"],
        "scores_out": ["array-like"],
        "tpr": [Interval(Real, 0, 1, closed="right")],
    }
)
def fpr_at_tpr(
    scores_in: ArrayLike, scores_out: ArrayLike, *, tpr: float = 0.95
) -> float:
    """Compute the false positive rate at a given true positive rate.

    Parameters
    ----------
    scores_in : array-like of float, shape (n_in,)
        Scores of in-distribution samples. Higher scores indicate more unusual samples.
    scores_out : array-like of float, shape (n_out,)
        Scores of out-of-distribution samples.
    tpr : float in (0, 1], default=0.95
        True positive rate, the fraction of out-of-distribution samples to flag.

    Returns
    -------
    float
        False positive rate, the fraction of in-distribution samples that are flagged.
        It is between 0 (best) and 1.

    Raises
    ------
    ValueError
        If an array is empty, not one-dimensional, or has a value that is missing
        or infinite.

    Notes
    -----
    A sample is flagged if its score is at least the threshold. The threshold is the
    highest for which the true positive rate is at least `tpr`. Out-of-distribution
    samples are the positive class, as in [1]_. Some papers [2]_ use in-distribution
    samples as the positive class and therefore report different values.

    References
    ----------
    .. [1] Hendrycks, Mazeika and Dietterich (2019), Deep Anomaly Detection with
       Outlier Exposure, arXiv 1812.04606.
    .. [2] Liang, Li and Srikant (2018), Enhancing the Reliability of
       Out-of-Distribution Image Detection in Neural Networks, arXiv 1706.02690.

    Examples
    --------
    A threshold of 0.4 is required to flag both out-of-distribution samples. It also
    flags one of four in-distribution samples:

    >>> from sksngp.metrics import fpr_at_tpr
    >>> fpr_at_tpr([0.1, 0.2, 0.3, 0.5], [0.4, 0.9])
    0.25
    """
    false_positive_rate, true_positive_rate, _ = roc_curve(
        *_in_or_out(scores_in, scores_out),
        # Otherwise, the required point could be dropped as a collinear one.
        drop_intermediate=False,
    )
    return float(false_positive_rate[np.argmax(true_positive_rate >= tpr)])


@checks_parameters({"scores_in": ["array-like"], "scores_out": ["array-like"]})
def ood_average_precision(scores_in: ArrayLike, scores_out: ArrayLike) -> float:
    """Compute the average precision of out-of-distribution detection.

    Average precision summarizes the precision-recall curve. Out-of-distribution samples
    are the positive class: the precision is the fraction of out-of-distribution samples
    among the flagged samples, and the recall is the fraction of out-of-distribution
    samples that are flagged.

    Parameters
    ----------
    scores_in : array-like of float, shape (n_in,)
        Scores of in-distribution samples. Higher scores indicate more unusual samples.
    scores_out : array-like of float, shape (n_out,)
        Scores of out-of-distribution samples.

    Returns
    -------
    float
        Average precision, which is 1 for perfect detection and about
        ``n_out / (n_in + n_out)`` for a random score. Values are therefore comparable
        only for the same fraction of out-of-distribution samples.

    Raises
    ------
    ValueError
        If an array is empty, not one-dimensional, or has a value that is missing
        or infinite.

    Notes
    -----
    The value is that of `sklearn.metrics.average_precision_score`. Points of the curve
    are not interpolated linearly, because this would be too optimistic [1]_.

    References
    ----------
    .. [1] Davis and Goadrich (2006), The Relationship Between Precision-Recall and
       ROC Curves, ICML.

    Examples
    --------
    In order of decreasing scores, the out-of-distribution samples are the first and the
    third of five:

    >>> from sksngp.metrics import ood_average_precision
    >>> round(ood_average_precision([0.1, 0.2, 0.5], [0.4, 0.9]), 3)
    0.833
    """
    return float(average_precision_score(*_in_or_out(scores_in, scores_out)))


def _in_or_out(
    scores_in: ArrayLike, scores_out: ArrayLike
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return the positive class, 1 for out-of-distribution samples, and the scores."""
    known = column(scores_in, "scores_in")
    unknown = column(scores_out, "scores_out")
    return np.repeat([0, 1], [len(known), len(unknown)]), np.append(known, unknown)
