"""The measures as scorers, for `cross_val_score`, `GridSearchCV` and the like.

A scorer is called with a fitted estimator, rows and their classes; higher is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike
from sklearn.utils.validation import _num_samples

from ._calibration import expected_calibration_error
from ._checks import classified
from ._ood import fpr_at_tpr, ood_auroc, ood_average_precision
from ._selective import area_under_risk_coverage

#: Measures of `OODScorer`, and whether higher is better.
_OOD_METRICS = {
    "auroc": (ood_auroc, 1.0),
    "average_precision": (ood_average_precision, 1.0),
    "fpr_at_95_tpr": (fpr_at_tpr, -1.0),
}


def neg_expected_calibration_error_scorer(
    estimator: Any, X: ArrayLike, y: ArrayLike
) -> float:
    """Scorer: minus `expected_calibration_error`.

    Parameters
    ----------
    estimator : estimator
        Fitted, with `predict_proba` and `classes_`; a pipeline or search will do.
    X : array-like or dataframe of shape (n, n_features)
    y : array-like of shape (n,)
        Classes that the estimator knows.

    Returns
    -------
    float
        At most 0; higher is better.

    Notes
    -----
    A classifier that always says the classes' frequencies is calibrated and useless:
    look at this score beside another, or search by "neg_log_loss", which is proper.

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
    """Scorer: minus `area_under_risk_coverage` of confidence.

    Parameters
    ----------
    estimator : estimator
        Fitted, with `predict_proba` and `classes_`; a pipeline or search will do.
    X : array-like or dataframe of shape (n, n_features)
    y : array-like of shape (n,)
        Classes that the estimator knows.

    Returns
    -------
    float
        At most 0; higher is better.

    Notes
    -----
    Rows are kept in the order of their largest probability, as in [1]_, so that
    every probabilistic classifier can be scored.

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
    _, proba, _, correct = classified(y, estimator.predict_proba(X), estimator.classes_)
    return -area_under_risk_coverage(correct, 1.0 - proba.max(axis=1))


@dataclass(frozen=True, eq=False, repr=False)
class OODScorer:
    """Scorer of how well an estimator tells given unknown rows from the others.

    Parameters
    ----------
    X_ood : array-like or dataframe of shape (m, n_features)
        Unknown rows, in the form that the estimator takes.
    metric : {"auroc", "average_precision", "fpr_at_95_tpr"}, default="auroc"
        `ood_auroc`, `ood_average_precision`, or minus `fpr_at_tpr` at 0.95.

    Notes
    -----
    Rows are scored by the estimator's ``score_samples``, which every classifier of
    this package has, scikit-learn's outlier detectors too, and which pipelines and
    searches forward. Hyperparameters that are chosen by unknown rows suit those rows:
    report on others.

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
            raise ValueError("X_ood must hold at least one row.")

    def __repr__(self) -> str:
        rows = _num_samples(self.X_ood)
        return f"OODScorer(X_ood=<{rows} rows>, metric={self.metric!r})"

    def __call__(self, estimator: Any, X: ArrayLike, y: object = None) -> float:
        """Score a fitted estimator on known rows `X`; `y` is not used."""
        measure, sign = _OOD_METRICS[self.metric]
        known, unknown = (-estimator.score_samples(rows) for rows in (X, self.X_ood))
        return sign * measure(known, unknown)
