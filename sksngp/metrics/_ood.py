"""How well scores tell unknown rows from known ones."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.utils._param_validation import Interval

from ._checks import checks_parameters, column


@checks_parameters({"scores_in": ["array-like"], "scores_out": ["array-like"]})
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


@checks_parameters({"scores_in": ["array-like"], "scores_out": ["array-like"]})
def ood_average_precision(scores_in: ArrayLike, scores_out: ArrayLike) -> float:
    """Area under the precision-recall curve of telling unknown rows from known ones.

    Unknown rows are the positives: what share of the rows flagged is unknown,
    averaged over how many of the unknown ones are found.

    Parameters
    ----------
    scores_in : array-like of float, shape (n,)
        Scores of in-distribution (known) rows; higher is more unusual.
    scores_out : array-like of float, shape (m,)
        Scores of out-of-distribution (unknown) rows.

    Returns
    -------
    float
        1 for perfect detection; about ``m / (n + m)`` for a useless score, so that
        values compare at the same share of unknown rows only.

    Raises
    ------
    ValueError
        If an array is empty, not one-dimensional, or has a value that is missing
        or infinite.

    Notes
    -----
    AUPR by the step rule of `sklearn.metrics.average_precision_score`, without
    interpolation, which would be too good [1]_.

    References
    ----------
    .. [1] Davis and Goadrich (2006), The Relationship Between Precision-Recall and
       ROC Curves, ICML.

    Examples
    --------
    The unknown rows are the first and the third of five:

    >>> from sksngp.metrics import ood_average_precision
    >>> round(ood_average_precision([0.1, 0.2, 0.5], [0.4, 0.9]), 3)
    0.833
    """
    return float(average_precision_score(*_in_or_out(scores_in, scores_out)))


def _in_or_out(
    scores_in: ArrayLike, scores_out: ArrayLike
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Whether each row is out of distribution, and its score."""
    known = column(scores_in, "scores_in")
    unknown = column(scores_out, "scores_out")
    return np.repeat([0, 1], [len(known), len(unknown)]), np.append(known, unknown)
