"""Scorers for `cross_val_score`, `GridSearchCV` and similar functions.

A scorer is called with a fitted estimator, samples and class labels. Higher return
values are better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike
from sklearn.utils.validation import _num_samples

from ._calibration import expected_calibration_error
from ._checks import check_classification_inputs
from ._ood import fpr_at_tpr, ood_auroc, ood_average_precision
from ._selective import area_under_risk_coverage

#: Metrics of `OODScorer`, with sign -1 for metrics for which lower is better.
_OOD_METRICS = {
    "auroc": (ood_auroc, 1.0),
    "average_precision": (ood_average_precision, 1.0),
    "fpr_at_95_tpr": (fpr_at_tpr, -1.0),
}


def neg_expected_calibration_error_scorer(
    estimator: Any, X: ArrayLike, y: ArrayLike
) -> float:
    """Compute the negative expected calibration error of an estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier with `predict_proba` and `classes_`, or a pipeline or search
        with such a classifier.
    X : array-like or dataframe of shape (n_samples, n_features)
        Input samples.
    y : array-like of shape (n_samples,)
        True class labels, which must be in ``estimator.classes_``.

    Returns
    -------
    float
        Negative value of `expected_calibration_error`. Higher is better.

    Notes
    -----
    A classifier that always predicts the class frequencies is perfectly calibrated but
    useless. Use this score in combination with another score. For a hyperparameter
    search, use "neg_log_loss", which is a proper scoring rule.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from sksngp.metrics import neg_expected_calibration_error_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> found = cross_validate(
    ...     LogisticRegression(max_iter=1000), X, y,
    ...     scoring={
    ...         "log loss": "neg_log_loss",
    ...         "calibration": neg_expected_calibration_error_scorer,
    ...     },
    ... )
    >>> bool(found["test_calibration"].min() > -0.2)
    True
    """
    return -expected_calibration_error(
        y, estimator.predict_proba(X), labels=estimator.classes_
    )


def neg_area_under_risk_coverage_scorer(
    estimator: Any, X: ArrayLike, y: ArrayLike
) -> float:
    """Compute the negative area under the risk-coverage curve of an estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier with `predict_proba` and `classes_`, or a pipeline or search
        with such a classifier.
    X : array-like or dataframe of shape (n_samples, n_features)
        Input samples.
    y : array-like of shape (n_samples,)
        True class labels, which must be in ``estimator.classes_``.

    Returns
    -------
    float
        Negative value of `area_under_risk_coverage`. Higher is better.

    Notes
    -----
    Samples are ranked by their largest probability, as in [1]_, so that the scorer
    supports all probabilistic classifiers.

    References
    ----------
    .. [1] Geifman and El-Yaniv (2017), Selective Classification for Deep Neural
       Networks, arXiv 1705.08500.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sksngp.metrics import neg_area_under_risk_coverage_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = LogisticRegression(max_iter=1000).fit(X, y)
    >>> -0.01 < neg_area_under_risk_coverage_scorer(clf, X, y) <= 0
    True
    """
    _, proba, _, correct = check_classification_inputs(
        y, estimator.predict_proba(X), estimator.classes_
    )
    return -area_under_risk_coverage(correct, 1.0 - proba.max(axis=1))


@dataclass(frozen=True, eq=False, repr=False)
class OODScorer:
    """Scorer of out-of-distribution detection on given samples.

    Parameters
    ----------
    X_ood : array-like or dataframe of shape (n_ood, n_features)
        Out-of-distribution samples, in the format that the estimator expects.
    metric : {"auroc", "average_precision", "fpr_at_95_tpr"}, default="auroc"
        Metric to compute: `ood_auroc`, `ood_average_precision`, or the negative value
        of `fpr_at_tpr` for a true positive rate of 0.95.

    Notes
    -----
    The scorer uses the method ``score_samples`` of the estimator. The classifiers of
    this package and the outlier detectors of scikit-learn implement the method, and
    pipelines and searches delegate it. If hyperparameters are chosen with this scorer,
    evaluate the final model on other out-of-distribution samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from sksngp.metrics import OODScorer
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> scorer = OODScorer(X_ood=[[9.0, 9.0], [-9.0, 9.0]])
    >>> scorer(IsolationForest(random_state=0).fit(X), X)
    1.0
    """

    X_ood: ArrayLike
    metric: Literal["auroc", "average_precision", "fpr_at_95_tpr"] = "auroc"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or self.metric not in _OOD_METRICS:
            raise ValueError(
                f"metric must be one of {sorted(_OOD_METRICS)}, got {self.metric!r}."
            )
        if not _num_samples(self.X_ood):
            raise ValueError("X_ood must have at least one sample.")

    def __repr__(self) -> str:
        n_samples = _num_samples(self.X_ood)
        return f"OODScorer(X_ood=<{n_samples} samples>, metric={self.metric!r})"

    def __call__(self, estimator: Any, X: ArrayLike, y: object = None) -> float:
        """Score a fitted estimator on in-distribution samples `X`; `y` is ignored."""
        measure, sign = _OOD_METRICS[self.metric]
        known, unknown = (-estimator.score_samples(rows) for rows in (X, self.X_ood))
        return sign * measure(known, unknown)
