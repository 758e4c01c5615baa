"""Out-of-distribution methods of classifiers inside pipelines and searches.

The pipelines, searches and calibrated classifiers of scikit-learn delegate only methods
that are part of its API. The functions in this module find the classifier inside such
an estimator, transform `X`, and call the method of the classifier. In contrast to a
subclass of Pipeline, functions also support fitted searches, calibrated and frozen
classifiers, and models that have already been saved.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import MetaEstimatorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._uncertainty.entropy import Kind
from ._uncertainty.explanation import OODExplanation, explain

#: Any fitted estimator.
Estimator = TypeVar("Estimator")


class Found(NamedTuple):
    """Classifier that was found inside an estimator.

    Parameters
    ----------
    classifier : estimator
        Fitted classifier.
    transformers : list of Pipeline
        Pipelines that transform the samples before the classifier, in this order.
    """

    classifier: Any
    transformers: list[Pipeline]

    def transform(self, X: Any) -> Any:
        """Transform samples of the estimator into samples of the classifier.

        Several methods of the classifier can then use samples that were transformed
        once.
        """
        for transformer in self.transformers:
            X = transformer.transform(X)
        return X


def find(estimator: Any, method: str) -> list[Found]:
    """Find the classifiers inside an estimator that implement a method.

    Parameters
    ----------
    estimator : object
        Fitted classifier of this package, or a fitted `Pipeline`, search such as
        `GridSearchCV`, `CalibratedClassifierCV`, `FrozenEstimator`,
        `FixedThresholdClassifier` or `TunedThresholdClassifierCV` that contains one.
        These can be nested in any order.
    method : str
        Name of the method.

    Returns
    -------
    list of Found
        Classifiers. There are several if a `CalibratedClassifierCV` has a classifier
        for each fold.

    Raises
    ------
    TypeError
        If the estimator is a class.
    AttributeError
        If there is no classifier with the method.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator must be an instance, got the class {estimator.__name__}."
        )
    if isinstance(estimator, FixedThresholdClassifier):
        # It also predicts without a fit, using a classifier that was fitted before.
        return find(getattr(estimator, "estimator_", estimator.estimator), method)
    if isinstance(estimator, Pipeline | MetaEstimatorMixin):
        check_is_fitted(estimator)
    if isinstance(estimator, Pipeline):
        end = len(estimator) - 1
        # Samplers of imbalanced-learn only change the training set.
        while end and hasattr(estimator[end - 1], "fit_resample"):
            end -= 1
        steps = [estimator[:end]] if end else []
        return [
            Found(classifier, steps + others)
            for classifier, others in find(estimator[-1], method)
        ]
    if isinstance(estimator, FrozenEstimator):
        return find(estimator.estimator, method)
    if isinstance(estimator, CalibratedClassifierCV):
        parts = [part.estimator for part in estimator.calibrated_classifiers_]
        return [found for part in parts for found in find(part, method)]
    if isinstance(estimator, TunedThresholdClassifierCV):
        return find(estimator.estimator_, method)
    if hasattr(estimator, "best_estimator_"):
        return find(estimator.best_estimator_, method)
    if not hasattr(estimator, method):
        raise AttributeError(
            f"{type(estimator).__name__} has no method {method}. It must be a "
            "classifier of this package, a pipeline whose last step is one, a search "
            "over either fitted with refit=True, or a calibrated, frozen or threshold "
            "classifier around one of these."
        )
    return [Found(estimator, [])]


def threshold_of(estimator: Any) -> float | None:
    """Return the threshold of the classifier inside an estimator.

    The result is None if there are several classifiers or if the threshold is infinite.
    """
    found = find(estimator, "score_samples")
    threshold = getattr(found[0].classifier, "ood_threshold_", np.inf)
    return float(threshold) if len(found) == 1 and np.isfinite(threshold) else None


def _results(estimator: Any, X: Any, method: str, **kwargs: Any) -> list[Any]:
    """Return the results of a method of each classifier inside an estimator."""
    return [
        getattr(found.classifier, method)(found.transform(X), **kwargs)
        for found in find(estimator, method)
    ]


def _represent(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Compute hidden representations, concatenated over classifiers."""
    return np.hstack(_results(estimator, X, "_represent"))


def _mean(results: list[Any]) -> Any:
    return results[0] if len(results) == 1 else sum(results) / len(results)


def predict_ood(estimator: Any, X: Any) -> NDArray[np.bool_]:
    """Flag out-of-distribution samples using the classifier inside an estimator.

    Parameters
    ----------
    estimator : object
        Fitted classifier of this package, or a fitted `Pipeline`, search, calibrated or
        frozen classifier that contains one (see Notes).
    X : array-like or dataframe of shape (n_samples, n_features)
        Input samples, as for the method `predict` of `estimator`.

    Returns
    -------
    bool ndarray of shape (n_samples,)
        True for flagged samples. The expected fraction of new in-distribution samples
        that are flagged is at most `ood_alpha`.

    Raises
    ------
    AttributeError
        If `estimator` does not contain a classifier of this package.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    ood_pvalue : Compute conformal p-values.
    explain_ood : Explain out-of-distribution scores.

    Notes
    -----
    ``CalibratedClassifierCV(ensemble=True)`` contains a classifier for each fold. A
    sample is flagged if all classifiers flag it, and its p-value is the largest of
    their p-values, so that the guarantees hold for any number of classifiers. Scores
    are averaged.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import PowerTransformer
    >>> from sksngp import SNGPClassifier, predict_ood
    >>> from sksngp.datasets import two_moons, two_moons_ood
    >>> X, y = two_moons(200, random_state=0)
    >>> sngp = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0)
    >>> pipeline = make_pipeline(PowerTransformer(), sngp).fit(X, y)
    >>> predict_ood(pipeline, two_moons_ood(3, random_state=0))
    array([ True,  True,  True])
    """
    results = _results(estimator, X, "predict_ood")
    return results[0] if len(results) == 1 else np.logical_and.reduce(results)


def ood_pvalue(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Compute conformal p-values using the classifier inside an estimator.

    Parameters
    ----------
    estimator : object
        Fitted estimator, as for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        Input samples, as for the method `predict` of `estimator`.

    Returns
    -------
    float64 ndarray of shape (n_samples,)
        P-values in (0, 1]. Lower values indicate more unusual samples.
        See `SNGPClassifier.ood_pvalue`.

    Raises
    ------
    AttributeError
        If `estimator` does not contain a classifier of this package.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    control_false_discoveries : Flag samples of a batch using their p-values.

    Examples
    --------
    >>> from sksngp import SNGPClassifier, ood_pvalue
    >>> from sksngp.datasets import two_moons, two_moons_ood
    >>> X, y = two_moons(200, random_state=0)
    >>> clf = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0).fit(X, y)
    >>> bool((ood_pvalue(clf, two_moons_ood(3, random_state=0)) < 0.05).all())
    True
    """
    results = _results(estimator, X, "ood_pvalue")
    return results[0] if len(results) == 1 else np.maximum.reduce(results)


def ood_score(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Compute out-of-distribution scores using the classifier inside an estimator.

    Parameters
    ----------
    estimator : object
        Fitted estimator, as for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        Input samples, as for the method `predict` of `estimator`.

    Returns
    -------
    float64 ndarray of shape (n_samples,)
        Out-of-distribution scores, the opposite of `score_samples`. Higher scores are
        more unusual.

    Raises
    ------
    AttributeError
        If `estimator` does not contain a classifier of this package.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from sksngp import SNGPClassifier, ood_score
    >>> from sksngp.datasets import two_moons, two_moons_ood
    >>> X, y = two_moons(200, random_state=0)
    >>> clf = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0).fit(X, y)
    >>> X_ood = two_moons_ood(3, random_state=0)
    >>> bool((ood_score(clf, X_ood) == -clf.score_samples(X_ood)).all())
    True
    """
    return _mean([-scores for scores in _results(estimator, X, "score_samples")])


def predict_uncertainty(
    estimator: Any, X: Any, kind: Kind = "total"
) -> NDArray[np.float64]:
    """Compute the uncertainty of predictions of the classifier inside an estimator.

    Parameters
    ----------
    estimator : object
        Fitted estimator, as for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        Input samples, as for the method `predict` of `estimator`.
    kind : {"total", "aleatoric", "epistemic"}, default="total"
        Kind of uncertainty. See `SNGPClassifier.predict_uncertainty`.

    Returns
    -------
    float64 ndarray of shape (n_samples,)
        Uncertainties in [0, 1]. Higher values indicate less certain
        predictions.

    Raises
    ------
    AttributeError
        If `estimator` does not contain a classifier of this package.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If `kind` is invalid.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sksngp import SNGPClassifier, predict_uncertainty
    >>> from sksngp.datasets import two_moons
    >>> X, y = two_moons(200, random_state=0)
    >>> clf = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0).fit(X, y)
    >>> predict_uncertainty(FrozenEstimator(clf), X, kind="epistemic").shape
    (200,)
    """
    return _mean(_results(estimator, X, "predict_uncertainty", kind=kind))


def calibrate_ood(estimator: Estimator, X: Any) -> Estimator:
    """Recalibrate the threshold of the classifier inside an estimator.

    Parameters
    ----------
    estimator : object
        Fitted estimator, as for `predict_ood`. Its classifier is modified.
    X : array-like or dataframe of shape (n_samples, n_features)
        In-distribution samples that were not used in `fit`, as for the method `predict`
        of `estimator`. See `SNGPClassifier.calibrate_ood`.

    Returns
    -------
    estimator : object
        The same estimator.

    Raises
    ------
    AttributeError
        If `estimator` does not contain a classifier of this package.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import PowerTransformer
    >>> from sksngp import SNGPClassifier, calibrate_ood, predict_ood
    >>> from sksngp.datasets import two_moons
    >>> X, y = two_moons(200, random_state=0)
    >>> sngp = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0)
    >>> pipeline = make_pipeline(PowerTransformer(), sngp).fit(X, y)
    >>> X_there, _ = two_moons(500, noise=0.2, random_state=1)
    >>> bool(predict_ood(calibrate_ood(pipeline, X_there), X_there).mean() <= 0.05)
    True
    """
    _results(estimator, X, "calibrate_ood")
    return estimator


def explain_ood(
    estimator: Any, X: Any, X_reference: Any, *, n_neighbors: int = 5
) -> OODExplanation:
    """Explain out-of-distribution scores in terms of the features of an estimator.

    Contributions refer to the columns of `X` before any transformer in a pipeline. The
    columns may contain text if the pipeline accepts text.
    `SNGPClassifier.explain_ood` describes the computation of contributions.

    Parameters
    ----------
    estimator : object
        Fitted estimator, as for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        Samples to explain, such as flagged samples.
    X_reference : array-like or dataframe of shape (n_reference, n_features)
        In-distribution samples, such as a few hundred samples of the training set.
    n_neighbors : int, default=5
        Number of nearest reference samples to find. Distances are those of the hidden
        representation.

    Returns
    -------
    OODExplanation
        Explanation with the attributes `contributions`, `scores` and `neighbors`, among
        others.

    Raises
    ------
    AttributeError
        If `estimator` does not contain a classifier of this package.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If the columns of `X` and `X_reference` differ, `X_reference` is empty or
        `n_neighbors` is less than 1.

    See Also
    --------
    sksngp.inspection.OODExplanationDisplay : Plot an explanation.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from sksngp import SNGPClassifier, explain_ood
    >>> from sksngp.datasets import two_moons
    >>> X, y = two_moons(200, random_state=0)
    >>> frame = pd.DataFrame(X, columns=["east", "north"]).assign(sensor="a")
    >>> encode = make_column_transformer(
    ...     (OneHotEncoder(handle_unknown="ignore"), ["sensor"]),
    ...     remainder="passthrough",
    ... )
    >>> sngp = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0)
    >>> pipeline = make_pipeline(encode, sngp).fit(frame, y)
    >>> odd = frame.head(1).assign(north=9.0)
    >>> found = explain_ood(pipeline, odd, frame)
    >>> found.feature_names[found.contributions[0].argmax()]
    'north'
    """
    if hasattr(estimator, "explain_ood"):
        found: OODExplanation = estimator.explain_ood(
            X, X_reference, n_neighbors=n_neighbors
        )
        return found
    return explain(
        partial(ood_score, estimator),
        partial(_represent, estimator),
        X,
        X_reference,
        n_neighbors=n_neighbors,
    )
