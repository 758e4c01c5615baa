"""Out-of-distribution methods of classifiers inside pipelines, searches and the like.

scikit-learn's pipelines, searches and calibrated classifiers forward the methods that
scikit-learn knows. These functions find the classifier inside and transform `X` on the
way. They are functions, not a subclass of Pipeline, so that they also work for fitted
searches, for calibrated and frozen classifiers, and for models that were saved before.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
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
    """A classifier inside an estimator.

    Parameters
    ----------
    classifier : estimator
    transformers : list of Pipeline
        What the samples pass on their way to it.
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
    """Find the classifiers inside an estimator that have a method.

    Parameters
    ----------
    estimator : object
        A classifier of this package, or anything fitted around it: `Pipeline`, a search
        such as `GridSearchCV`, `CalibratedClassifierCV`, `FrozenEstimator`,
        `FixedThresholdClassifier`, `TunedThresholdClassifierCV`, in any order.
    method : str

    Returns
    -------
    list of Found
        More than one for a `CalibratedClassifierCV` that has a classifier for each
        fold.

    Raises
    ------
    AttributeError
        If there is no such classifier.
    """
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        steps = [estimator[:-1]] if len(estimator) > 1 else []
        return [
            Found(classifier, steps + others)
            for classifier, others in find(estimator[-1], method)
        ]
    if isinstance(estimator, FrozenEstimator):
        return find(estimator.estimator, method)
    if isinstance(estimator, CalibratedClassifierCV):
        check_is_fitted(estimator)
        parts = [part.estimator for part in estimator.calibrated_classifiers_]
        return [found for part in parts for found in find(part, method)]
    if isinstance(estimator, FixedThresholdClassifier | TunedThresholdClassifierCV):
        return find(estimator.estimator_, method)
    if hasattr(estimator, "best_estimator_"):
        return find(estimator.best_estimator_, method)
    if not hasattr(estimator, method):
        raise AttributeError(
            f"{type(estimator).__name__} has no method {method}. It must be a "
            "classifier of this package, a pipeline that ends in one, or a search "
            "over either that was fitted with refit=True, or a calibrated or frozen "
            "one of these."
        )
    return [Found(estimator, [])]


def threshold_of(estimator: Any) -> float | None:
    """Score above which samples are flagged; None if none are, or by several rules."""
    found = find(estimator, "score_samples")
    threshold = getattr(found[0].classifier, "ood_threshold_", np.inf)
    return float(threshold) if len(found) == 1 and np.isfinite(threshold) else None


def _results(estimator: Any, X: Any, method: str, **kwargs: Any) -> list[Any]:
    return [
        getattr(found.classifier, method)(found.transform(X), **kwargs)
        for found in find(estimator, method)
    ]


def _represent(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Hidden representations, those of several classifiers side by side."""
    return np.hstack(_results(estimator, X, "_represent"))


def _mean(results: list[Any]) -> Any:
    return results[0] if len(results) == 1 else sum(results) / len(results)


def predict_ood(estimator: Any, X: Any) -> NDArray[np.bool_]:
    """Flag samples unlike those that the classifier in an estimator was fitted on.

    Parameters
    ----------
    estimator : object
        Fitted classifier of this package, or a `Pipeline`, search, calibrated or frozen
        classifier around it (see Notes).
    X : array-like or dataframe of shape (n_samples, n_features)
        As for the `predict` method of `estimator`.

    Returns
    -------
    bool ndarray of shape (n_samples,)
        True for flagged samples. At most a fraction `ood_alpha` of in-distribution
        samples is flagged, in expectation.

    Raises
    ------
    AttributeError
        If no classifier of this package is inside.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    ood_pvalue : How unusual the samples are.
    explain_ood : Why they are unusual.

    Notes
    -----
    ``CalibratedClassifierCV(ensemble=True)`` contains a classifier for each fold. A
    sample is flagged if all of them flag it, and its p-value is the largest of theirs,
    so that the guarantees hold for any number of them; scores are averaged.

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
    """Conformal p-values of samples, by the classifier in an estimator.

    Parameters
    ----------
    estimator : object
        As for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        As for the `predict` method of `estimator`.

    Returns
    -------
    float64 ndarray of shape (n_samples,)
        In (0, 1]; smaller is more unusual. See `SNGPClassifier.ood_pvalue`.

    Raises
    ------
    AttributeError
        If no classifier of this package is inside.

    See Also
    --------
    control_false_discoveries : From p-values of a batch to flags.

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
    """Out-of-distribution scores of samples, by the classifier in an estimator.

    Parameters
    ----------
    estimator : object
        As for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        As for the `predict` method of `estimator`.

    Returns
    -------
    float64 ndarray of shape (n_samples,)
        Minus `score_samples`; higher is more unusual.

    Raises
    ------
    AttributeError
        If no classifier of this package is inside.

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
    """Uncertainties of predictions, by the classifier in an estimator.

    Parameters
    ----------
    estimator : object
        As for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        As for the `predict` method of `estimator`.
    kind : {"total", "aleatoric", "epistemic"}, default="total"
        See `SNGPClassifier.predict_uncertainty`.

    Returns
    -------
    float64 ndarray of shape (n_samples,)
        In [0, 1]; higher is less certain.

    Raises
    ------
    AttributeError
        If no classifier of this package is inside.
    ValueError
        If `kind` is none of the three.

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
    """Set the threshold for flags anew, of the classifier in an estimator.

    Parameters
    ----------
    estimator : object
        As for `predict_ood`. The classifier inside is changed.
    X : array-like or dataframe of shape (n_samples, n_features)
        In-distribution samples that were not used in `fit`, as for the `predict` method
        of `estimator`. See `SNGPClassifier.calibrate_ood`.

    Returns
    -------
    estimator : object
        The same estimator.

    Raises
    ------
    AttributeError
        If no classifier of this package is inside.

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
    """Explain why samples are unusual, by the columns that enter an estimator.

    The columns are those of `X`, before any transformer in a pipeline; they may contain
    text if the pipeline takes it. `SNGPClassifier.explain_ood` says how contributions
    are computed.

    Parameters
    ----------
    estimator : object
        As for `predict_ood`.
    X : array-like or dataframe of shape (n_samples, n_features)
        Samples to explain, such as those flagged.
    X_reference : array-like or dataframe of shape (n_reference, n_features)
        In-distribution samples, such as the training set or a few hundred of it.
    n_neighbors : int, default=5
        Number of reference samples to find that are nearest in the hidden
        representation.

    Returns
    -------
    OODExplanation
        With `contributions`, `scores`, `neighbors` and others.

    Raises
    ------
    AttributeError
        If no classifier of this package is inside.
    ValueError
        If the columns of `X` and `X_reference` differ or `X_reference` is empty.

    See Also
    --------
    sksngp.inspection.OODExplanationDisplay : Bars, or maps of images.

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
