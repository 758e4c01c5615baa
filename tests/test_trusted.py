"""All kinds of models that can be saved are restored unchanged."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn import model_selection as selection
from sklearn import preprocessing
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import (
    PCA,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    KernelPCA,
    TruncatedSVD,
)
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import (
    RFE,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
    f_classif,
    mutual_info_classif,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem, PolynomialCountSketch, RBFSampler
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import fbeta_score, log_loss, make_scorer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.random_projection import GaussianRandomProjection
from sklearn.svm import LinearSVC

from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.metrics import OODScorer, neg_expected_calibration_error_scorer
from sksngp.persistence import load, save

TRANSFORMERS = [
    preprocessing.Binarizer(),
    preprocessing.FunctionTransformer(),
    preprocessing.FunctionTransformer(np.log1p, inverse_func=np.expm1),
    preprocessing.KBinsDiscretizer(
        encode="onehot-dense", quantile_method="averaged_inverted_cdf"
    ),
    preprocessing.MaxAbsScaler(),
    preprocessing.MinMaxScaler(),
    preprocessing.Normalizer(),
    preprocessing.PolynomialFeatures(),
    preprocessing.PowerTransformer(),
    preprocessing.QuantileTransformer(n_quantiles=20),
    preprocessing.RobustScaler(),
    preprocessing.SplineTransformer(),
    preprocessing.SplineTransformer(extrapolation="periodic"),
    preprocessing.StandardScaler(),
    preprocessing.StandardScaler().set_output(transform="pandas"),
    preprocessing.TargetEncoder(random_state=0),
    FactorAnalysis(2),
    FastICA(2, random_state=0),
    IncrementalPCA(2),
    KernelPCA(2),
    PCA(2, random_state=np.random.RandomState(0)),
    TruncatedSVD(2),
    GaussianRandomProjection(2, random_state=0),
    Nystroem(n_components=5, random_state=0),
    PolynomialCountSketch(n_components=5, random_state=0),
    RBFSampler(n_components=5, random_state=0),
    KNNImputer(),
    SimpleImputer(add_indicator=True),
    FeatureUnion([("a", PCA(2)), ("b", "passthrough")]),
    GenericUnivariateSelect(),
    RFE(LogisticRegression(), n_features_to_select=2),
    SelectFdr(),
    SelectFpr(),
    SelectFromModel(LinearSVC(C=0.1)),
    SelectFwe(),
    SelectKBest(f_classif, k=2),
    SelectKBest(mutual_info_classif, k=2),
    SelectPercentile(percentile=50),
    SequentialFeatureSelector(GaussianNB(), n_features_to_select=1, cv=2),
    VarianceThreshold(),
]
SPLITTERS = [
    selection.KFold(2, shuffle=True, random_state=0),
    selection.LeaveOneOut(),
    selection.PredefinedSplit(np.arange(150) % 2),
    selection.RepeatedKFold(n_splits=2, n_repeats=1),
    selection.RepeatedStratifiedKFold(n_splits=2, n_repeats=1, random_state=0),
    selection.ShuffleSplit(2),
    selection.StratifiedKFold(2),
    selection.StratifiedShuffleSplit(2),
    selection.TimeSeriesSplit(2),
    list(selection.KFold(2).split(np.zeros(150))),
]
SCORERS = [
    "neg_log_loss",
    ["accuracy", "roc_auc_ovr"],
    make_scorer(log_loss, greater_is_better=False, response_method="predict_proba"),
    make_scorer(fbeta_score, beta=2, average="macro"),
    neg_expected_calibration_error_scorer,
    OODScorer(np.full((5, 4), 50.0)),
]
DISTRIBUTIONS = [
    stats.loguniform(1e-4, 1e-2),
    stats.uniform(loc=0.1, scale=0.5),
    stats.randint(1, 3),
    stats.norm(),
    stats.truncnorm(-1.0, 1.0),
]


def name_of(value):
    return repr(value)[:40]


def description_of(model):
    """Return the parameters of an estimator without addresses of objects."""
    return re.sub("0x[0-9A-Fa-f]+", "", repr(model))


@pytest.fixture(scope="module")
def clf(small):
    """Return a classifier that is fitted quickly."""
    return small(ResNetClassifier, num_layers=1, num_hidden=8, epochs=1)


def assert_loaded_as_saved(model, X, path):
    save(model, path)
    same = load(path)
    assert description_of(same) == description_of(model)
    assert_array_equal(same.predict(X), model.predict(X))
    if hasattr(model, "predict_proba"):
        assert_array_equal(same.predict_proba(X), model.predict_proba(X))
    return same


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=name_of)
def test_transformers_and_selectors(clf, iris, tmp_path, transformer):
    X, y = iris
    model = make_pipeline(clone(transformer), clf).fit(X, y)
    same = assert_loaded_as_saved(model, X, tmp_path / "model")
    assert_allclose(same[:-1].transform(X), model[:-1].transform(X))


@pytest.mark.filterwarnings("ignore")
def test_columns_of_several_types(clf, iris, tmp_path):
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    frame["kind"] = np.where(frame["a"] > 6, "large", "small")
    frame["rare"] = np.where(
        np.arange(150) < 3, "x", np.where(frame["b"] > 3, "y", "z")
    )
    frame["size"] = pd.Categorical(np.where(frame["c"] > 3, "L", "S"))
    frame["text"] = np.where(frame["d"] > 1, "a wide leaf", "one narrow leaf")
    columns = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(), preprocessing.StandardScaler()),
                make_column_selector(dtype_include=np.number),
            ),
            ("kind", preprocessing.OneHotEncoder(drop="first"), ["kind"]),
            ("rare", preprocessing.OneHotEncoder(min_frequency=5), ["rare"]),
            ("size", preprocessing.OrdinalEncoder(), ["size"]),
            ("text", make_pipeline(TfidfVectorizer(), TruncatedSVD(2)), "text"),
            ("slice", "passthrough", slice(0, 2)),
        ],
        sparse_threshold=0,
    )
    model = make_pipeline(columns, clf).fit(frame, iris[1])
    same = assert_loaded_as_saved(model, frame, tmp_path / "model")
    assert_array_equal(same[:-1].transform(frame), model[:-1].transform(frame))


@pytest.mark.parametrize("cv", SPLITTERS, ids=name_of)
def test_splitters(clf, iris, tmp_path, cv):
    if isinstance(cv, selection.LeaveOneOut):
        model = clone(clf).set_params(cv=cv).fit(*[a[::10] for a in iris])
    else:
        model = selection.GridSearchCV(clf, {"epochs": [1]}, cv=cv).fit(*iris)
    save(model, tmp_path / "model")
    same = load(tmp_path / "model")
    assert type(same.cv) is type(cv)
    assert_array_equal(same.predict_proba(iris[0]), model.predict_proba(iris[0]))


@pytest.mark.parametrize("scoring", SCORERS, ids=name_of)
def test_scorers(clf, iris, tmp_path, scoring):
    refit = scoring[0] if isinstance(scoring, list) else True
    model = selection.GridSearchCV(
        clf, {"epochs": [1, 2]}, cv=2, scoring=scoring, refit=refit
    )
    save(model.fit(*iris), tmp_path / "model")
    same = load(tmp_path / "model")
    assert same.score(*iris) == model.score(*iris)
    for name, scores in model.cv_results_.items():
        assert_array_equal(same.cv_results_[name], scores)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda d: d.dist.name)
def test_distributions(clf, iris, tmp_path, distribution):
    model = selection.RandomizedSearchCV(
        clf, {"epochs": [1], "verbose": [0]}, n_iter=1, cv=2, random_state=0
    ).fit(*iris)
    model.set_params(param_distributions=[{"epochs": distribution}])
    save(model, tmp_path / "model")
    assert model.param_distributions[0]["epochs"] is distribution  # it is unchanged
    same = load(tmp_path / "model").param_distributions[0]["epochs"]
    assert_array_equal(same.rvs(9, random_state=0), distribution.rvs(9, random_state=0))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda clf: BaggingClassifier(clf, n_estimators=2, random_state=0),
        lambda clf: CalibratedClassifierCV(clf, cv=2),
        lambda clf: CalibratedClassifierCV(clf, cv=2, method="isotonic"),
        lambda clf: OneVsRestClassifier(clf),
        lambda clf: StackingClassifier([("a", clf), ("b", GaussianNB())], cv=2),
        lambda clf: VotingClassifier(
            [("a", clf), ("b", MLPClassifier(max_iter=5, random_state=0))],
            voting="soft",
        ),
        lambda clf: VotingClassifier(
            [("a", clf), ("b", RidgeClassifier()), ("c", LinearDiscriminantAnalysis())]
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_combinations(clf, iris, tmp_path, wrap):
    assert_loaded_as_saved(wrap(clf).fit(*iris), iris[0], tmp_path / "model")


def test_thresholds(clf, moons, tmp_path):
    tuned = selection.TunedThresholdClassifierCV(clf, cv=2).fit(*moons)
    fitted = FrozenEstimator(clone(clf).fit(*moons))
    fixed = selection.FixedThresholdClassifier(fitted, threshold=0.3).fit(*moons)
    for model in (tuned, fixed):
        assert_loaded_as_saved(model, moons[0], tmp_path / "model")


def test_functions_in_parameters(small, iris, tmp_path):
    clf = small(SNGPClassifier, learning_rate_schedule=np.cos, epochs=1).fit(*iris)
    assert assert_loaded_as_saved(
        clf, iris[0], tmp_path / "model"
    ).learning_rate_schedule is (np.cos)
