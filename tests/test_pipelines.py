"""Functions that find the classifier inside other estimators."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    calibrate_ood,
    explain_ood,
    ood_pvalue,
    ood_score,
    predict_ood,
    predict_uncertainty,
)
from sksngp._pipelines import threshold_of

GRID = {"classifier__epochs": [1, 3]}


def pipeline_of(clf):
    return Pipeline([("power", PowerTransformer()), ("classifier", clf)])


AROUND = {
    "classifier": lambda clf: clf,
    "pipeline": pipeline_of,
    "one step": make_pipeline,
    "nested pipelines": lambda clf: make_pipeline(StandardScaler(), pipeline_of(clf)),
    "grid search": lambda clf: GridSearchCV(pipeline_of(clf), GRID, cv=2),
    "random search": lambda clf: RandomizedSearchCV(
        pipeline_of(clf), GRID, n_iter=1, cv=2, random_state=0
    ),
    "search in a pipeline": lambda clf: make_pipeline(
        StandardScaler(), GridSearchCV(clf, {"epochs": [1, 3]}, cv=2)
    ),
    "calibrated once": lambda clf: CalibratedClassifierCV(
        pipeline_of(clf), cv=2, ensemble=False
    ),
    "fixed threshold": lambda clf: FixedThresholdClassifier(pipeline_of(clf)),
    "tuned threshold": lambda clf: TunedThresholdClassifierCV(pipeline_of(clf), cv=2),
}


def inner(estimator, X):
    """Return the classifier inside an estimator and the transformed samples."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            X = step.transform(X)
        return inner(estimator.steps[-1][1], X)
    if isinstance(estimator, CalibratedClassifierCV):
        return inner(estimator.calibrated_classifiers_[0].estimator, X)
    for name in ("best_estimator_", "estimator_"):
        if hasattr(estimator, name):
            return inner(getattr(estimator, name), X)
    return estimator, X


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("Classifier", [SNGPClassifier, ResNetClassifier])
def test_results_are_those_of_the_classifier_inside(small, moons, Classifier, around):
    X = pd.DataFrame(moons[0], columns=["east", "north"])
    estimator = around(small(Classifier, epochs=2)).fit(X, moons[1])
    clf, rows = inner(estimator, X)
    assert type(clf) is Classifier
    assert_array_equal(predict_ood(estimator, X), clf.predict_ood(rows))
    assert_array_equal(ood_pvalue(estimator, X), clf.ood_pvalue(rows))
    assert_array_equal(ood_score(estimator, X), -clf.score_samples(rows))
    for kind in ("total", "epistemic"):
        found = predict_uncertainty(estimator, X, kind=kind)
        assert_array_equal(found, clf.predict_uncertainty(rows, kind=kind))
    assert threshold_of(estimator) == clf.ood_threshold_
    found = explain_ood(estimator, X.head(3), X, n_neighbors=2)
    assert found.feature_names == ["east", "north"]
    assert_array_equal(found.scores, -clf.score_samples(rows[:3]))
    assert_array_equal(found.neighbors[:, 0], [0, 1, 2])
    before = clf.ood_threshold_
    assert calibrate_ood(estimator, X + 4) is estimator
    assert clf.ood_threshold_ != before and len(clf.ood_scores_) == len(X)


@pytest.mark.parametrize("Classifier", [MCDropoutClassifier, DeepEnsembleClassifier])
def test_all_classifiers_in_a_pipeline(small, moons, Classifier):
    X, y = moons
    pipeline = pipeline_of(small(Classifier, epochs=1)).fit(X, y)
    rows = pipeline[:-1].transform(X)
    assert_array_equal(predict_ood(pipeline, X), pipeline[-1].predict_ood(rows))
    found = explain_ood(pipeline, X[:2], X)
    assert found.contributions.shape == (2, 2)


def test_metadata_routing(small, moons):
    """Functions find classifiers that were fitted with routed sample weights."""
    X, y = moons
    weights = np.where(X[:, 0] > 0, 3.0, 1.0)
    weighted = pipeline_of(small(SNGPClassifier)).fit(
        X, y, classifier__sample_weight=weights
    )
    assert (ood_score(weighted, X) != ood_score(clone(weighted).fit(X, y), X)).any()
    with config_context(enable_metadata_routing=True):
        clf = small(SNGPClassifier).set_fit_request(sample_weight=True)
        pipeline = pipeline_of(clf.set_score_request(sample_weight=True))
        search = GridSearchCV(pipeline, {"classifier__epochs": [clf.epochs]}, cv=2)
        search.fit(X, y, sample_weight=weights)
        for function in (ood_score, ood_pvalue, predict_ood, predict_uncertainty):
            assert_array_equal(function(search, X), function(weighted, X))
        found = explain_ood(search, X[:2], X).contributions
        assert_array_equal(found, explain_ood(weighted, X[:2], X).contributions)
        calibrate_ood(search, X[::2])
        assert_array_equal(
            predict_ood(search, X), predict_ood(calibrate_ood(weighted, X[::2]), X)
        )


@pytest.mark.parametrize("wrap", [FrozenEstimator, lambda fitted: fitted])
def test_frozen_and_calibrated_afterwards(small, moons, wrap):
    X, y = moons
    fitted = pipeline_of(small(SNGPClassifier)).fit(X, y)
    expected = predict_ood(fitted, X)
    frozen = wrap(FrozenEstimator(fitted))
    calibrated = CalibratedClassifierCV(frozen).fit(X, y)
    for estimator in (frozen, calibrated):
        assert_array_equal(predict_ood(estimator, X), expected)
        found = explain_ood(estimator, X[:2], X)
        assert_allclose(found.scores, ood_score(fitted, X[:2]))


def test_several_classifiers(small, moons):
    """All must flag a sample, so that the guarantee of each holds for the result."""
    X, y = moons
    far = np.append(X, X * np.geomspace(1, 30, len(X))[:, None], axis=0)
    clf = pipeline_of(small(SNGPClassifier, epochs=20, ood_alpha=0.1))
    calibrated = CalibratedClassifierCV(clf, cv=3, ensemble=True).fit(X, y)
    members = [member.estimator for member in calibrated.calibrated_classifiers_]
    flags = np.array([predict_ood(member, far) for member in members])
    assert 0 < flags.all(axis=0).sum() < flags.any(axis=0).sum()
    assert_array_equal(predict_ood(calibrated, far), flags.all(axis=0))
    pvalues = [ood_pvalue(member, far) for member in members]
    assert_array_equal(ood_pvalue(calibrated, far), np.max(pvalues, axis=0))
    scores = [ood_score(member, far) for member in members]
    assert_allclose(ood_score(calibrated, far), np.mean(scores, axis=0))
    assert threshold_of(calibrated) is None
    found = explain_ood(calibrated, far[-2:], X)
    assert_allclose(found.scores, ood_score(calibrated, far[-2:]))
    assert found.neighbors.shape == (2, 5)
    calibrate_ood(calibrated, X)
    assert all(len(member[-1].ood_scores_) == len(X) for member in members)


def test_columns_of_text(small, moons):
    """Explanations name columns as they enter the pipeline."""
    X = pd.DataFrame(moons[0], columns=["east", "north"])
    X["sensor"] = np.where(np.arange(len(X)) % 2, "a", "b")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["sensor"]), remainder="passthrough"
    )
    sngp = small(SNGPClassifier, epochs=20)
    pipeline = make_pipeline(encode, sngp).fit(X, moons[1])
    odd = pd.concat([X.head(1).assign(north=20.0), X.head(1).assign(sensor="c")])
    found = explain_ood(pipeline, odd, X)
    assert found.feature_names == ["east", "north", "sensor"]
    assert found.contributions.argmax(axis=1).tolist() == [1, 2]


def test_samplers_are_skipped(small, moons):
    """Pipelines of imbalanced-learn have steps that only change the training set."""

    class Sampler(BaseEstimator):
        def fit_resample(self, X, y):
            raise AssertionError

    X, y = moons
    scaler = StandardScaler().fit(X)
    clf = small(SNGPClassifier).fit(scaler.transform(X), y)
    for steps in ([scaler, Sampler(), Sampler(), clf], [Sampler(), clf]):
        pipe = Pipeline([(str(number), step) for number, step in enumerate(steps)])
        expected = clf.predict_ood(scaler.transform(X) if len(steps) == 4 else X)
        assert_array_equal(predict_ood(pipe, X), expected)


@pytest.mark.parametrize(
    "function", [predict_ood, ood_pvalue, ood_score, predict_uncertainty, calibrate_ood]
)
def test_estimators_without_a_classifier_of_this_package(moons, function):
    X, y = moons
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    with pytest.raises(TypeError, match="got the class SNGPClassifier"):
        function(SNGPClassifier, X)
    with pytest.raises(AttributeError, match="LogisticRegression has no method"):
        function(pipeline, X)


def test_unfitted_estimators(small, moons):
    X, y = moons
    clf = small(SNGPClassifier)
    search = GridSearchCV(clf, {"epochs": [1]}, cv=2, refit=False)
    for estimator in (clf, pipeline_of(clf), CalibratedClassifierCV(clf), search):
        with pytest.raises(NotFittedError):
            predict_ood(estimator, X)
    with pytest.raises(AttributeError, match="refit=True"):
        predict_ood(search.fit(X, y), X)
    # This estimator predicts without a fit if its classifier is fitted.
    threshold = FixedThresholdClassifier(clf)
    with pytest.raises(NotFittedError):
        predict_ood(threshold, X)
    clf.fit(X, y)
    np.testing.assert_array_equal(predict_ood(threshold, X), clf.predict_ood(X))
