"""The measures as scorers."""

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
    neg_area_under_risk_coverage,
    neg_expected_calibration_error,
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
    assert neg_expected_calibration_error(pipe, X, y) == -error
    area = area_under_risk_coverage(pipe.predict(X) == y, 1 - proba.max(axis=1))
    assert neg_area_under_risk_coverage(pipe, X, y) == -area
    # A fold may lack a class.
    assert neg_expected_calibration_error(pipe, X[y != "b"], y[y != "b"]) <= 0


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


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match=r"metric must be one of .*'auroc'.*'f1'"):
        OODScorer([[0.0]], "f1")


def test_in_a_search_over_several_scorers(small, moons):
    X, y = moons
    scoring = {
        "accuracy": "accuracy",
        "calibration": neg_expected_calibration_error,
        "abstention": neg_area_under_risk_coverage,
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
