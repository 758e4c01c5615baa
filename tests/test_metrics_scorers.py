"""Scorers."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksngp import SNGPClassifier
from sksngp.metrics import (
    OODScorer,
    area_under_risk_coverage,
    expected_calibration_error,
    fpr_at_tpr,
    neg_area_under_risk_coverage_scorer,
    neg_expected_calibration_error_scorer,
    ood_auroc,
    ood_average_precision,
)


@pytest.fixture(scope="module")
def fitted(small, iris):
    X, y = iris
    y = np.array(["a", "b", "c"])[y]
    clf = small(SNGPClassifier, epochs=20)
    return make_pipeline(StandardScaler(), clf).fit(X[::2], y[::2]), X[1::2], y[1::2]


def test_calibration_and_abstention(fitted):
    pipe, X, y = fitted
    proba = pipe.predict_proba(X)
    error = expected_calibration_error(y, proba, labels=pipe.classes_)
    assert neg_expected_calibration_error_scorer(pipe, X, y) == -error
    area = area_under_risk_coverage(pipe.predict(X) == y, 1 - proba.max(axis=1))
    assert neg_area_under_risk_coverage_scorer(pipe, X, y) == -area
    # A fold may lack a class.
    assert neg_expected_calibration_error_scorer(pipe, X[y != "b"], y[y != "b"]) <= 0


@pytest.mark.parametrize(
    ("metric", "measure", "sign"),
    [
        ("auroc", ood_auroc, 1),
        ("average_precision", ood_average_precision, 1),
        ("fpr_at_95_tpr", fpr_at_tpr, -1),
    ],
)
def test_detection(fitted, metric, measure, sign):
    pipe, X, y = fitted
    unknown = X + np.random.default_rng(0).normal(size=X.shape)
    scores = (-pipe.score_samples(rows) for rows in (X, unknown))
    found = OODScorer(unknown, metric)(pipe, X, y)
    assert found == sign * measure(*scores)


@pytest.mark.parametrize("metric", ["f1", ["auroc"], None])
def test_invalid_metric(metric):
    with pytest.raises(ValueError, match=r"metric must be one of .*'auroc'.* got"):
        OODScorer([[0.0]], metric)


def test_empty_ood_samples_are_rejected():
    with pytest.raises(ValueError, match="at least one sample"):
        OODScorer(np.empty((0, 2)))


def test_ood_scorer_repr_equality_and_pickle():
    scorer = OODScorer(np.zeros((3, 2)), "fpr_at_95_tpr")
    assert repr(scorer) == "OODScorer(X_ood=<3 samples>, metric='fpr_at_95_tpr')"
    assert scorer == scorer
    assert scorer != OODScorer(scorer.X_ood, "fpr_at_95_tpr")
    assert len({scorer, scorer}) == 1
    restored = pickle.loads(pickle.dumps(scorer))
    np.testing.assert_array_equal(restored.X_ood, scorer.X_ood)


@pytest.mark.parametrize(
    "scorer",
    [neg_area_under_risk_coverage_scorer, neg_expected_calibration_error_scorer],
)
def test_inconsistent_classes_are_rejected(fitted, scorer):
    pipe, X, y = fitted
    with pytest.raises(ValueError, match="inconsistent numbers"):
        scorer(pipe, X, y[:1])
    with pytest.raises(ValueError, match="must be in labels"):
        scorer(pipe, X, np.arange(len(y)))
    with pytest.raises(ValueError, match="one dimension"):
        scorer(pipe, X, y[:, None])


def test_in_a_search_over_several_scorers(small, moons):
    X, y = moons
    scoring = {
        "accuracy": "accuracy",
        "calibration": neg_expected_calibration_error_scorer,
        "abstention": neg_area_under_risk_coverage_scorer,
        "detection": OODScorer(X + 5.0),
    }
    search = GridSearchCV(
        small(SNGPClassifier),
        {"spec_norm_bound": [0.5, 0.9]},
        scoring=scoring,
        refit="detection",
        cv=2,
    ).fit(X, y)
    for name in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    assert 0.9 < search.best_score_ <= 1


@pytest.mark.slow
def test_with_an_outlier_detector_in_worker_processes(moons):
    X, _ = moons
    found = cross_validate(
        IsolationForest(n_estimators=20, random_state=0),
        X,
        scoring=OODScorer(X + 9.0),
        cv=2,
        n_jobs=2,
    )
    np.testing.assert_allclose(found["test_score"], 1.0)
