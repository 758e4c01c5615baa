"""The classifiers inside scikit-learn estimators, in copies and in threads."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from common import CLASSIFIERS
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from sklearn.utils import estimator_html_repr

from sksngp import ResNetClassifier, SNGPClassifier

#: Parameters with which predictions are accurate.
LEARNT = {"epochs": 40, "learning_rate": 0.01}


def _joblib_copy(clf, folder):
    joblib.dump(clf, folder / "clf.joblib")
    return joblib.load(folder / "clf.joblib")


COPIES = {
    "pickle": lambda clf, folder: pickle.loads(pickle.dumps(clf)),
    "joblib": _joblib_copy,
    "deepcopy": lambda clf, folder: copy.deepcopy(clf),
}


def assert_forwarded(wrapper, inner, X, transformed):
    """The results of the wrapper are those of its classifier."""
    assert_array_equal(wrapper.predict(X), inner.predict(transformed))
    assert_array_equal(wrapper.predict_proba(X), inner.predict_proba(transformed))
    assert_array_equal(wrapper.score_samples(X), inner.score_samples(transformed))


def test_pipeline(make_two, moons):
    X, y = moons
    pipe = make_pipeline(RobustScaler(), make_two(**LEARNT)).fit(X, y)
    assert pipe.score(X, y) > 0.9
    assert_forwarded(pipe, pipe[-1], X, pipe[:-1].transform(X))
    flags = pipe[-1].predict_ood(pipe[:-1].transform(X))
    assert_array_equal(flags, -pipe.score_samples(X) > pipe[-1].ood_threshold_)
    assert flags.mean() < 0.2


def test_grid_search(small, moons):
    X, y = moons
    clf = small(ResNetClassifier, **LEARNT)
    search = GridSearchCV(clf, {"dropout_rate": [0.0, 0.1]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    assert_forwarded(search, search.best_estimator_, X, X)
    same = clone(search.best_estimator_).fit(X, y)
    assert_array_equal(search.best_estimator_.predict_ood(X), same.predict_ood(X))
    assert_array_equal(search.predict_proba(X), same.predict_proba(X))


@pytest.mark.slow
def test_unpickling_requires_no_tensorflow(fitted_on_moons, run_python, tmp_path):
    fitted = [fitted_on_moons(Classifier) for Classifier in CLASSIFIERS]
    (tmp_path / "fitted").write_bytes(pickle.dumps(fitted))
    run = run_python(
        """
        import pathlib, pickle, sys
        fitted = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
        print(len(fitted), "tensorflow" in sys.modules)
        """,
        tmp_path / "fitted",
    )
    assert run.stdout.split() == ["4", "False"], run.stderr


def load_and_predict(path):
    fitted, X = joblib.load(path)
    return [(clf.predict_proba(X), clf.score_samples(X)) for clf in fitted]


@pytest.mark.slow
def test_predictions_in_another_process_are_equal(fitted_on_moons, moons, tmp_path):
    fitted = [fitted_on_moons(Classifier) for Classifier in CLASSIFIERS]
    joblib.dump((fitted, moons[0]), tmp_path / "fitted.joblib")
    (found,) = joblib.Parallel(n_jobs=2)(
        [joblib.delayed(load_and_predict)(tmp_path / "fitted.joblib")]
    )
    for clf, (proba, scores) in zip(fitted, found, strict=True):
        assert_array_equal(proba, clf.predict_proba(moons[0]))
        assert_array_equal(scores, clf.score_samples(moons[0]))


@pytest.mark.slow
def test_grid_search_in_processes_equals_serial(small, moons):
    grid = {"spec_norm_bound": [0.3, 3.0]}
    serial, parallel = (
        GridSearchCV(
            small(SNGPClassifier, **LEARNT),
            grid,
            cv=2,
            scoring="neg_log_loss",
            n_jobs=n_jobs,
            error_score="raise",
        ).fit(*moons)
        for n_jobs in (1, 2)
    )
    scores = serial.cv_results_["mean_test_score"]
    assert len(set(scores)) == len(scores)  # the bound matters
    assert_allclose(parallel.cv_results_["mean_test_score"], scores, rtol=1e-4)
    assert parallel.best_params_ == serial.best_params_


@pytest.mark.slow
def test_grid_search_in_threads_equals_serial(small, moons):
    clf, grid = small(SNGPClassifier), {"learning_rate": [1e-3, 1e-2]}
    serial, threads = (
        GridSearchCV(clf, grid, cv=2, scoring="neg_log_loss") for _ in range(2)
    )
    serial.fit(*moons)
    with joblib.parallel_config("threading", n_jobs=2):
        threads.fit(*moons)
    scores = "mean_test_score"
    assert_array_equal(serial.cv_results_[scores], threads.cv_results_[scores])


def test_cross_val_predict(make_two, iris):
    X, y = iris
    proba = cross_val_predict(make_two(**LEARNT), X, y, cv=3, method="predict_proba")
    assert_allclose(proba.sum(axis=1), 1.0)
    assert (proba.argmax(axis=1) == y).mean() > 0.85


@pytest.mark.parametrize(
    "wrap",
    [
        lambda clf: CalibratedClassifierCV(clf, cv=2),
        lambda clf: VotingClassifier(
            [("network", clf), ("bayes", GaussianNB())], voting="soft"
        ),
        OneVsRestClassifier,
    ],
    ids=["calibrated", "voting", "one-vs-rest"],
)
def test_meta_estimator(make_two, iris, wrap):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    wrapper = wrap(make_two(**LEARNT)).fit(X, names)
    assert_allclose(wrapper.predict_proba(X).sum(axis=1), 1.0)
    assert wrapper.score(X, names) > 0.85


def test_permutation_importance(make_two):
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = X[:, 1] > 0
    importance = permutation_importance(
        make_two(**LEARNT).fit(X, y), X, y, n_repeats=3, random_state=0
    ).importances_mean
    assert importance[1] > 0.3
    assert np.abs(importance[[0, 2]]).max() < 0.1


def test_clone_is_unfitted_and_learns_the_same(fitted, moons, outputs):
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    assert not [name for name in vars(cloned) if name.endswith("_")]
    cloned.fit(*moons)
    assert_array_equal(outputs(cloned, moons[0]), outputs(fitted, moons[0]))


def test_metadata_routing(make_two, fitted_two, moons):
    X, y = moons
    weights = np.where(X[:, 0] > 0, 3.0, 1.0)
    weighted = make_two().fit(X, y, sample_weight=weights)
    assert (weighted.predict_proba(X) != fitted_two.predict_proba(X)).any()
    with config_context(enable_metadata_routing=True):
        clf = make_two().set_fit_request(sample_weight=True)
        pipe = make_pipeline(clf).fit(X, y, sample_weight=weights)
        scored = clf.set_score_request(sample_weight=True)
        search = GridSearchCV(scored, {"epochs": [5]}, cv=2)
        search.fit(X, y, sample_weight=weights)
    for wrapper in (pipe, search):
        assert_array_equal(wrapper.predict_proba(X), weighted.predict_proba(X))


def test_html_repr(make, fitted):
    name = type(fitted).__name__
    for estimator in (make(), make_pipeline(RobustScaler(), make()), fitted):
        assert name in estimator_html_repr(estimator)
        assert name in estimator._repr_html_()
        assert name in repr(estimator)


@pytest.mark.parametrize(
    ("Classifier", "how"),
    [
        *((Classifier, "pickle") for Classifier in CLASSIFIERS),
        (SNGPClassifier, "joblib"),
        (SNGPClassifier, "deepcopy"),
    ],
)
def test_copy_is_equal_and_independent(
    small, moons, outputs, tmp_path, Classifier, how
):
    X, y = moons
    clf = small(Classifier).partial_fit(X, y, classes=[0, 1])
    before = outputs(clf, X)
    twin = COPIES[how](clf, tmp_path)
    assert_array_equal(outputs(twin, X), before)
    twin.partial_fit(X[:50], y[:50])
    assert_array_equal(outputs(clf, X), before)
    clf.partial_fit(X[:50], y[:50])  # the state of the optimizer is copied as well
    assert_array_equal(outputs(twin, X), outputs(clf, X))


@pytest.mark.parametrize("how", COPIES)
def test_copy_of_pipeline(make_two, moons, tmp_path, how):
    X, y = moons
    pipe = make_pipeline(RobustScaler(), make_two()).fit(X, y)
    twin = COPIES[how](pipe, tmp_path)
    assert_array_equal(twin.score_samples(X), pipe.score_samples(X))


def test_predictions_in_threads(fitted, moons, outputs):
    parts = np.array_split(moons[0], 6)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda part: outputs(fitted, part), parts))
    expected = [outputs(fitted, part) for part in parts]
    assert_array_equal(np.concatenate(found), np.concatenate(expected))
