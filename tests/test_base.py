"""What all four classifiers promise: data in, state, repeatability, refusals."""

import random
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array, csr_matrix
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.class_weight import compute_sample_weight

import sksngp
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    _held_out,
    _prediction,
    pool,
    training,
)
from sksngp.compiled import CompiledNetwork
from sksngp.datasets import two_moons
from sksngp.uncertainty import KINDS

#: Settings at which weights and repetitions, or orders, agree to rounding.
EXACT = {"dtype": "float64", "dropout_rate": 0, "batch_size": None}
PREDICTIONS = [
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_uncertainty",
    "predict_ood",
    "score_samples",
]
#: The Gaussian process' other forms, in case they differ in what is shared.
SNGP_FORMS = {
    "sampled": {"inference": "monte_carlo"},
    "per class": {"inference": "monte_carlo", "covariance": "per_class"},
    "moving average": {"cov_momentum": 0.9},
}


@pytest.fixture
def no_training(monkeypatch):
    """Fail if anything is trained."""
    monkeypatch.setattr(pool, "lease", lambda *_, **__: pytest.fail("training began"))


def fitted_attributes(clf):
    return [name for name in vars(clf) if name.endswith("_")]


def assert_sound(clf, X):
    """Finite, normalised and in range, whatever the data were."""
    proba = clf.predict_proba(X)
    assert proba.shape == (len(X), len(clf.classes_))
    assert_allclose(proba.sum(axis=1), 1.0)  # also fails on NaN
    assert (proba >= 0).all()
    for kind in KINDS:
        score = clf.predict_uncertainty(X, kind=kind)
        assert score.shape == (len(X),)
        assert ((score >= 0) & (score <= 1)).all()
    assert np.isin(clf.predict(X), clf.classes_).all()
    assert np.isfinite(clf.loss_curve_).all()
    flags = clf.predict_ood(X)
    assert flags.dtype == bool
    score = -clf.score_samples(X)
    assert ((score >= 0) & (score <= 1)).all()
    assert_array_equal(flags, score > clf.ood_threshold_)
    if not isinstance(clf, SNGPClassifier):
        assert_array_equal(score, clf.predict_uncertainty(X, kind="epistemic"))
    pvalues = clf.ood_pvalue(X)
    assert ((pvalues > 0) & (pvalues <= 1)).all()
    if len(X):
        assert flags[pvalues < clf.ood_alpha].all()
        assert not flags[pvalues > clf.ood_alpha].any()


# Forms of X and y


@pytest.mark.parametrize(
    "frame",
    [
        lambda X, names: pd.DataFrame(X, columns=names),
        lambda X, names: pl.DataFrame(X, schema=names),
    ],
    ids=["pandas", "polars"],
)
def test_frames(make, moons, outputs, frame):
    X, y = moons
    clf = make().fit(frame(X, ["left", "up"]), y)
    assert_array_equal(clf.feature_names_in_, ["left", "up"])
    for names in (["left", "down"], ["up", "left"]):
        for method in PREDICTIONS:
            with pytest.raises(ValueError, match="feature names should"):
                getattr(clf, method)(frame(X, names))
    with pytest.raises(ValueError, match="feature names should"):
        clf.predict(frame(X[:, :1], ["left"]))
    plain = make().fit(X, y)
    assert not hasattr(plain, "feature_names_in_")
    found = outputs(clf, frame(X, ["left", "up"]))
    assert_array_equal(found, outputs(plain, X))
    with pytest.warns(UserWarning, match="valid feature names"):
        assert_array_equal(clf.predict(X), plain.predict(X))
    assert not hasattr(clf.fit(X, y), "feature_names_in_")


@pytest.mark.parametrize("columns", [1, 3])
def test_wrong_number_of_columns(make, moons, columns):
    clf = make(epochs=1).fit(*moons)
    for method in PREDICTIONS:
        with pytest.raises(ValueError, match=f"X has {columns} features.*expecting 2"):
            getattr(clf, method)(np.zeros((4, columns)))


@pytest.mark.parametrize(
    "label",
    [
        lambda y: np.array(["no", "yes"])[y],
        lambda y: np.array(["no", "yes"], dtype=object)[y],
        lambda y: y.astype(bool),
        lambda y: y.astype(np.uint8),
        lambda y: np.array([-7, 10**12])[y],
        lambda y: y.astype(float),
        lambda y: y.tolist(),
        lambda y: pd.Series(np.array(["no", "yes"])[y]),
        lambda y: pd.Series(np.array(["no", "yes"])[y], dtype="category"),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y.astype(bool), dtype="boolean"),
        lambda y: pl.Series(np.array(["no", "yes"])[y].tolist()),
    ],
    ids=[
        "str",
        "object",
        "bool",
        "uint8",
        "large int",
        "float",
        "list",
        "pandas str",
        "pandas category",
        "pandas Int64",
        "pandas boolean",
        "polars str",
    ],
)
def test_labels(make, moons, label):
    X, y = moons
    labels = label(y)
    expected = make().fit(X, y)
    clf = make().fit(X, labels)
    assert_array_equal(clf.classes_, np.unique(np.asarray(labels)))
    assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))
    assert_array_equal(clf.predict(X), clf.classes_[expected.predict(X)])
    assert clf.score(X, labels) == expected.score(X, y)


def test_continuous_labels_are_refused(make, moons, no_training):
    with pytest.raises(ValueError, match="Unknown label type"):
        make().fit(moons[0], moons[0][:, 0])


def _read_only(X, folder):
    X = X.copy()
    X.flags.writeable = False
    return X


def _memory_mapped(dtype):
    def convert(X, folder):
        np.save(folder / "X.npy", X.astype(dtype))
        return np.load(folder / "X.npy", mmap_mode="r")

    return convert


@pytest.mark.parametrize(
    "convert",
    [
        lambda X, _: X.astype(np.float32),
        lambda X, _: np.asfortranarray(X),
        lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X, _: X[::-1].copy()[::-1],
        lambda X, _: X.astype(">f8"),
        lambda X, _: X.tolist(),
        _read_only,
        _memory_mapped(np.float64),
        _memory_mapped(np.float32),
    ],
    ids=[
        "float32",
        "Fortran",
        "strided",
        "reversed",
        "big-endian",
        "list",
        "read-only",
        "memory-mapped",
        "memory-mapped float32",
    ],
)
def test_arrays(make, moons, outputs, tmp_path, convert):
    X, y = moons
    expected = make(random_state=3).fit(X, y)
    converted = convert(X, tmp_path)
    clf = make(random_state=3).fit(converted, y)
    assert_array_equal(outputs(clf, converted), outputs(expected, X))
    assert_array_equal(np.asarray(converted), X)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integer_columns(make, dtype):
    X = np.random.default_rng(0).integers(0, 200, (40, 3)).astype(dtype)
    y = np.arange(40) % 2
    found, expected = (make().fit(Z, y).predict_proba(Z) for Z in (X, X.astype(float)))
    assert_array_equal(found, expected)


@pytest.mark.parametrize("sparse", [csr_matrix, csc_array])
def test_sparse_is_refused(make, moons, sparse):
    X, y = moons
    clf = make(epochs=1).fit(X, y)
    for call in (
        lambda: make().fit(sparse(X), y),
        lambda: make().partial_fit(sparse(X), y, classes=[0, 1]),
        *(lambda m=method: getattr(clf, m)(sparse(X)) for method in PREDICTIONS),
    ):
        with pytest.raises(TypeError, match="TruncatedSVD"):
            call()


# Streams


def test_stream_learns(make, moons):
    X, y = moons
    clf = make(learning_rate=0.03)
    for chunk in range(40):
        part = slice(chunk % 4, None, 4)
        assert clf.partial_fit(X[part], y[part], classes=[1, 0]) is clf
        assert clf.n_iter_ == len(clf.loss_curve_) == chunk + 1
    assert_array_equal(clf.classes_, [0, 1])
    assert clf.score(X, y) > 0.9
    assert clf.loss_curve_[-1] < 0.5 * clf.loss_curve_[0]
    assert_sound(clf, X)


def test_stream_follows_the_columns(make, iris):
    X, y = iris
    X = X * [1, 10, 100, 1000]
    clf = make(validation_fraction=0)
    for part in np.array_split(np.random.default_rng(0).permutation(150), 4):
        clf.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert_allclose(clf.projection_.scaler.mean_, X.mean(axis=0))
    assert_allclose(clf.projection_.scaler.scale_, X.std(axis=0))


def test_stream_is_repeatable(make, moons, outputs):
    X, y = moons
    first, second, other = (make(random_state=seed) for seed in (0, 0, 1))
    for clf in (first, second, other):
        clf.partial_fit(X[:100], y[:100], classes=[0, 1]).partial_fit(X[100:], y[100:])
    assert_array_equal(outputs(first, X), outputs(second, X))
    assert (outputs(first, X) != outputs(other, X)).any()


def test_stream_of_single_rows(make, moons):
    X, y = moons
    clf = make()
    for row in range(30):
        clf.partial_fit(X[[row]], y[[row]], classes=[0, 1])
    assert clf.n_iter_ + len(clf.ood_scores_) == 30
    assert 0 < len(clf.ood_scores_) < 10
    assert_sound(clf, X)


def test_stream_goes_on_after_fit(make, moons):
    X, y = moons
    clf = make().fit(X, y)
    loss = clf.loss_curve_[-1]
    clf.partial_fit(X, y)
    assert clf.n_iter_ == 6
    assert clf.loss_curve_[-1] < loss + 0.1


def test_stream_has_the_posterior_of_the_whole(small, moons):
    """With weights at rest, chunks and the whole give one posterior."""
    X, y = moons
    at_rest = {"learning_rate": 1e-30, "standardize": False, "kernel_scale": 1.0}
    whole, stream = (small(SNGPClassifier, **EXACT, **at_rest) for _ in range(2))
    whole.partial_fit(X, y, classes=[0, 1])
    for part in np.array_split(np.arange(len(X)), 5):
        stream.partial_fit(X[part], y[part], classes=[0, 1])
    found, expected = (c.predict_uncertainty(X, "epistemic") for c in (stream, whole))
    assert_allclose(found, expected, rtol=1e-9)
    stream.partial_fit(X, y)
    assert (stream.predict_uncertainty(X, "epistemic") < expected).all()


@pytest.mark.parametrize(
    ("params", "kwargs", "match"),
    [
        ({}, {}, "classes must be passed in the first"),
        ({}, {"classes": [0]}, "at least two classes|which are not among"),
        ({}, {"classes": [1, 2]}, r"y holds the classes \[0\]"),
        ({}, {"classes": ["a", "b"]}, "classes"),
        ({"early_stopping": True}, {"classes": [0, 1]}, "early_stopping"),
        ({"class_weight": "balanced"}, {"classes": [0, 1]}, "class_weight='balanced'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_first_chunk(make, moons, no_training, params, kwargs, match):
    clf = make(**params)
    with pytest.raises(ValueError, match=match):
        clf.partial_fit(*moons, **kwargs)
    assert not fitted_attributes(clf)


def test_bad_later_chunk(make, moons, outputs):
    X, y = moons
    clf = make().partial_fit(X, y, classes=[0, 1])
    before = outputs(clf, X)
    with pytest.raises(ValueError, match=r"classes=\[0, 2\] differs from"):
        clf.partial_fit(X, y, classes=[0, 2])
    with pytest.raises(ValueError, match=r"y holds the classes \[2, 5\]"):
        clf.partial_fit(X[:3], [5, 0, 2])
    with pytest.raises(ValueError, match=r"X has 3 features.*expecting 2"):
        clf.partial_fit(np.ones((4, 3)), y[:4])
    with pytest.raises(ValueError, match="cannot be trained further"):
        clf.set_params(num_hidden=8).partial_fit(X, y)
    assert_array_equal(outputs(clf.set_params(num_hidden=16), X), before)
    clf.partial_fit(X[:10], y[:10], classes=[1, 0]).partial_fit(X[y == 0], y[y == 0])
    assert clf.n_iter_ == 3


# Learning rates


def halved(done):
    return 0.5 if done >= 0.5 else 1.0


def test_schedules(make, moons, monkeypatch):
    rates = []
    set_rate = CompiledNetwork.set_learning_rate
    monkeypatch.setattr(
        CompiledNetwork,
        "set_learning_rate",
        lambda compiled, rate: (rates.append(rate), set_rate(compiled, rate)),
    )

    def rates_of(schedule):
        rates.clear()
        make(epochs=4, learning_rate=0.1, learning_rate_schedule=schedule).fit(*moons)
        return rates[-4:]

    assert_allclose(rates_of("constant"), [0.1] * 4)
    root = np.sqrt(0.5)
    assert_allclose(rates_of("cosine"), 0.05 * (1 + np.array([1, root, 0, -root])))
    assert_allclose(rates_of(halved), [0.1, 0.1, 0.05, 0.05])


def test_a_rate_of_zero_changes_no_weights(make, moons):
    stops = make(epochs=3, learning_rate_schedule=lambda done: float(done == 0))
    weights = stops.fit(*moons).weights_
    for name, array in make(epochs=1).fit(*moons).weights_.items():
        if name.endswith("bias"):  # kernels are normalised on
            assert_array_equal(weights[name], array)


def test_a_stream_has_no_schedule(make, moons, outputs):
    X, y = moons
    plain, cosine = make(), make(learning_rate_schedule="cosine")
    for clf in (plain, cosine):
        clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert_array_equal(outputs(plain, X), outputs(cosine, X))


@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf, None, np.ones(2)], ids=str)
def test_schedules_that_give_no_rate(make, moons, no_training, factor):
    clf = make(learning_rate_schedule=lambda done: 1.0 if done < 0.5 else factor)
    with pytest.raises(ValueError, match=r"learning_rate_schedule=.* in epoch \d"):
        clf.fit(*moons)


# Warm start


def test_warm_start_goes_on(make, moons):
    X, y = moons
    clf = make(warm_start=True, epochs=15, learning_rate=0.01).fit(X, y)
    first = list(clf.loss_curve_)
    clf.fit(X, y)
    assert clf.n_iter_ == len(clf.loss_curve_) == 30
    assert clf.loss_curve_[:15] == first
    assert clf.loss_curve_[15] < 0.5 * (first[0] + first[-1])
    assert clf.loss_curve_[-1] < first[-1]
    assert clf.set_params(warm_start=False).fit(X, y).loss_curve_ == first


def test_warm_start_goes_on_with_early_stopping(make, moons):
    clf = make(warm_start=True, early_stopping=True).fit(*moons)
    first = list(clf.validation_scores_)
    clf.fit(*moons)
    assert clf.n_iter_ == len(clf.loss_curve_) == len(clf.validation_scores_) == 10
    assert clf.validation_scores_[:5] == first


@pytest.mark.parametrize(
    "changed",
    [{"num_layers": 1}, {"num_hidden": 8}, {"optimizer": "sgd"}, {"dtype": "float64"}],
    ids=str,
)
def test_warm_start_refuses_another_network(make, moons, changed):
    clf = make(warm_start=True).fit(*moons)
    with pytest.raises(ValueError, match=f"warm_start.*|{next(iter(changed))}"):
        clf.set_params(**changed).fit(*moons)


def test_warm_start_refuses_other_data(make, moons):
    X, y = moons
    clf = make(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"y holds the classes \[2\]"):
        clf.fit(X, y + 1)
    with pytest.raises(ValueError, match=r"X has 1 features.*expecting 2"):
        clf.fit(X[:, :1], y)
    clf.fit(X[y == 1], y[y == 1])  # a class may be missing
    assert_array_equal(clf.classes_, [0, 1])


# Weights


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}], ids=str)
def test_weight_is_repetition(make, iris, outputs, settings):
    X, y = iris
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = make(**EXACT, **settings).fit(X, y, sample_weight=weights)
    repeated = make(**EXACT, **settings).fit(
        np.repeat(X, weights, axis=0), np.repeat(y, weights)
    )
    assert_allclose(
        outputs(weighted, X)[:, :-1], outputs(repeated, X)[:, :-1], atol=1e-8
    )
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_)


@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_weight_is_repetition_in_each_posterior(small, moons, outputs, form):
    X, y = moons
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    rows = np.repeat(np.arange(len(y)), weights)
    weighted, repeated = (small(SNGPClassifier, **EXACT, **form) for _ in range(2))
    weighted.fit(X, y, sample_weight=weights)
    repeated.fit(X[rows], y[rows])
    assert_allclose(
        outputs(weighted, X)[:, :-1], outputs(repeated, X)[:, :-1], atol=1e-8
    )


def test_weight_zero_is_removal(make, moons, outputs):
    X, y = moons
    weights = (np.arange(len(y)) % 3 > 0).astype(float)
    kept = weights > 0
    weighted = make().fit(X, y, sample_weight=weights)
    removed = make().fit(X[kept], y[kept])
    assert_array_equal(outputs(weighted, X), outputs(removed, X))
    for clf in (weighted, removed):
        clf.partial_fit(X, y, sample_weight=weights)
    removed = make().fit(X[kept], y[kept]).partial_fit(X[kept], y[kept])
    assert_allclose(outputs(weighted, X), outputs(removed, X), atol=1e-6)


def test_rows_of_weight_zero_may_have_an_unknown_class(make, moons, outputs):
    X, y = moons
    clf, expected = (make().fit(X, y) for _ in range(2))
    clf.partial_fit(X, np.where(X[:, 0] > 1, 7, y), sample_weight=X[:, 0] <= 1)
    expected.partial_fit(X[X[:, 0] <= 1], y[X[:, 0] <= 1])
    assert_array_equal(outputs(clf, X), outputs(expected, X))


def test_unit_of_weights_does_not_change_training(make, moons):
    X, y = moons
    first, second = (
        make().fit(X, y, sample_weight=np.full(len(y), weight))
        for weight in (1.0, 1024.0)
    )
    assert_allclose(first.weights_["output/kernel"], second.weights_["output/kernel"])


@pytest.mark.parametrize(
    ("class_weight", "weigh"),
    [
        ({"no": 1.0, "yes": 5.0}, lambda y: np.where(y == "yes", 5.0, 1.0)),
        ({"yes": 0.5}, lambda y: np.where(y == "yes", 0.5, 1.0)),
        ("balanced", lambda y: compute_sample_weight("balanced", y)),
    ],
    ids=["all classes", "one class", "balanced"],
)
def test_class_weight_is_sample_weight(make, moons, outputs, class_weight, weigh):
    X, y = moons[0][:150], np.where(moons[1][:150] * np.arange(150) % 3, "no", "yes")
    clf = make(class_weight=class_weight).fit(X, y)
    expected = make().fit(X, y, sample_weight=weigh(y))
    assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)
    assert (outputs(clf, X) != outputs(make().fit(X, y), X)).any()
    if class_weight != "balanced":
        clf.partial_fit(X, y)
        expected.partial_fit(X, y, sample_weight=weigh(y))
        assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)


def test_class_weight_multiplies_sample_weight(make, moons, outputs):
    X, y = moons
    weights = 1.0 + (X[:, 0] > 0)
    clf = make(class_weight={0: 2.0, 1: 0.5}).fit(X, y, sample_weight=weights)
    expected = make().fit(X, y, sample_weight=weights * np.where(y, 0.5, 2.0))
    assert_array_equal(outputs(clf, X), outputs(expected, X))


def test_balanced_with_a_missing_class(make, iris):
    X, y = iris
    clf = make(class_weight="balanced", warm_start=True)
    assert_sound(clf.fit(X, y, sample_weight=y > 0), X)
    assert_sound(clf.fit(X[y > 0], y[y > 0]), X)


def test_class_weight_zero_removes_the_class(make, iris):
    X, y = iris
    clf = make(class_weight={0: 0.0, 1: 1.0, 2: 1.0}, epochs=40, learning_rate=0.01)
    assert_sound(clf.fit(X, y), X)
    assert not (clf.predict(X[y > 0]) == 0).any()


# Early stopping


@pytest.fixture
def spied(monkeypatch):
    """Calls of `training.train` with what they returned."""
    calls, train = [], training.train

    def spy(compiled, rows, **kwargs):
        returned = train(compiled, rows, **kwargs)
        calls.append((compiled, kwargs["validation"], *returned))
        return returned

    monkeypatch.setattr(training, "train", spy)
    return calls


def test_early_stopping_keeps_the_best_weights(make, moons, spied):
    X, y = moons
    patience = 4
    clf = make(
        early_stopping=True, n_iter_no_change=patience, epochs=500, learning_rate=0.1
    ).fit(X, y)
    scores = clf.validation_scores_
    assert clf.n_iter_ == len(scores) == len(clf.loss_curve_) < 500
    assert clf.n_iter_ == np.argmax(scores) + 1 + patience
    assert scores[-1] < max(scores)

    [(compiled, validation, weights, _)] = spied
    assert 0.1 * len(y) <= len(validation.labels) <= 0.15 * len(y)
    compiled.load(weights)
    assert training.validation_score(compiled, validation) == max(scores)
    for name, array in clf.weights_.items():
        if not (isinstance(clf, SNGPClassifier) and name.startswith("hidden_")):
            assert_array_equal(array, weights[name])  # the rest is projected
    compiled.load(clf.weights_)
    kept = training.validation_score(compiled, validation)
    assert kept == pytest.approx(max(scores), abs=0.02)


def test_early_stopping_scores_held_out_rows(small, moons):
    """The score is the mean log-likelihood of rows that were not trained on."""
    X, y = moons
    clf = small(ResNetClassifier, early_stopping=True, epochs=50, dtype="float64")
    log_likelihood = clf.fit(X, y).predict_log_proba(X)[np.arange(len(y)), y]
    held_out = np.isin(clf.predict_uncertainty(X).round(9), clf.ood_scores_.round(9))
    assert held_out.sum() == len(clf.ood_scores_)
    found = log_likelihood[held_out].mean()
    assert found == pytest.approx(max(clf.validation_scores_))


def test_without_early_stopping_all_epochs_run(make, moons):
    clf = make(n_iter_no_change=1, epochs=12).fit(*moons)
    assert clf.n_iter_ == len(clf.loss_curve_) == 12
    assert clf.validation_scores_ is None


def test_early_stopping_without_rows_to_validate_on(make, moons, no_training):
    with pytest.raises(ValueError, match=r"early_stopping=True.*validation_fraction=0"):
        make(early_stopping=True, validation_fraction=0).fit(*moons)
    with pytest.raises(ValueError, match=r"early_stopping=True.*single distinct row"):
        make(early_stopping=True).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose(make, moons, capsys, early_stopping):
    clf = make(verbose=1, early_stopping=early_stopping).fit(*moons)
    out, err = capsys.readouterr()
    assert out == ""
    assert "5/5" in err and "epoch" in err
    assert f"loss={clf.loss_curve_[-1]:.4f}" in err
    assert ("validation=" in err) == early_stopping
    clf.set_params(verbose=0).fit(*moons)
    assert capsys.readouterr() == ("", "")


# Bad input


BAD_PARAMETERS = {
    "network": ["cnn", None, 3],
    "image_shape": [[1, 2, 1], 4, "8x8"],
    "num_layers": [-1, 1.5, None],
    "num_hidden": [0, 2.5],
    "dropout_rate": [-0.1, 1.0, np.nan],
    "standardize": ["yes", None],
    "dtype": ["float16", np.float32],
    "mixed_precision": ["float32", True],
    "device": [0, ["cpu"]],
    "optimizer": ["adagrad", None],
    "learning_rate": [0, -1.0, np.nan, np.inf, 1e39, "fast"],
    "learning_rate_schedule": ["linear", None],
    "epochs": [0, 1.5, None],
    "batch_size": [0, 1.5, "auto"],
    "early_stopping": ["yes"],
    "validation_fraction": [-0.1, 1.0],
    "n_iter_no_change": [0],
    "class_weight": ["heavy", 2],
    "warm_start": ["no"],
    "ood_alpha": [0, 1, "auto"],
    "random_state": [-1, "seed"],
    "verbose": [-1, "loud"],
}
BAD_OWN_PARAMETERS = {
    SNGPClassifier: {
        "spec_norm_bound": [0, -1, "auto"],
        "num_inducing": [0, 2.5],
        "kernel_scale": [0, -1.0, "median"],
        "ridge_penalty": [0, -1],
        "cov_momentum": [-2, -0.5, 0, 1, None],
        "covariance": ["diagonal"],
        "temperature": ["warm", 0, -1.0, np.inf, np.nan],
        "mean_field_factor": [-1, None],
        "inference": ["exact"],
        "num_samples": [0],
    },
    MCDropoutClassifier: {"num_samples": [0, 1.5]},
    DeepEnsembleClassifier: {"num_ensemble": [0, None]},
}


def check_refused(clf, data, name):
    for fit in (clf.fit, clf.partial_fit):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter"):
            fit(*data)
    assert not fitted_attributes(clf)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, bad) for name in BAD_PARAMETERS for bad in BAD_PARAMETERS[name]],
)
def test_bad_parameter(make, moons, no_training, name, value):
    check_refused(make(**{name: value}), moons, name)


@pytest.mark.parametrize(
    ("Classifier", "name", "value"),
    [
        (Classifier, name, bad)
        for Classifier, parameters in BAD_OWN_PARAMETERS.items()
        for name in parameters
        for bad in parameters[name]
    ],
)
def test_bad_own_parameter(small, moons, no_training, Classifier, name, value):
    check_refused(small(Classifier, **{name: value}), moons, name)


def test_every_parameter_has_a_bad_value(make):
    clf = make()
    own = BAD_OWN_PARAMETERS.get(type(clf), {})
    assert {*BAD_PARAMETERS, *own} == set(clf.get_params())


def test_numpy_scalars_as_parameters(make, moons, outputs):
    """As a search over `np.arange` or `np.logspace` passes them."""
    params = {
        "num_layers": np.int64(2),
        "num_hidden": np.int32(16),
        "dropout_rate": np.float64(0.1),
        "learning_rate": np.float32(0.5),
        "epochs": np.int64(3),
        "batch_size": np.int64(32),
        "n_iter_no_change": np.int64(2),
        "validation_fraction": np.float64(0.2),
        "early_stopping": np.True_,
        "random_state": np.int64(3),
        "ood_alpha": np.float64(0.1),
    }
    found = outputs(make(**params).fit(*moons), moons[0])
    plain = {name: value.item() for name, value in params.items()}
    assert_array_equal(found, outputs(make(**plain).fit(*moons), moons[0]))


def with_value(value):
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[7, 1] = value
    return X


Y = np.arange(20) % 2
ROWS = with_value(0)


@pytest.mark.parametrize(
    ("X", "y", "kwargs", "match"),
    [
        (with_value(np.nan), Y, {}, "X contains NaN"),
        (with_value(np.inf), Y, {}, "X contains infinity"),
        (with_value(1e39), Y, {}, "Column 1 of X .* 1e[+]39"),
        (with_value(-1e300), Y, {}, "Column 1 of X .* 1e[+]300"),
        (ROWS[:0], Y[:0], {}, "0 sample"),
        (ROWS[:, :0], Y, {}, "0 feature"),
        (ROWS[:, 0], Y, {}, "Expected 2D array"),
        (ROWS[None], Y, {}, "dim 3|Expected"),
        (np.full((20, 3), "a"), Y, {}, "could not convert"),
        (ROWS + 1j, Y, {}, "[Cc]omplex"),
        (ROWS, Y[:-1], {}, "inconsistent numbers of samples"),
        (ROWS, None, {}, "requires y"),
        (ROWS, np.where(Y, np.nan, 1.0), {}, "y contains NaN"),
        (ROWS, np.zeros(20), {}, "two classes; y .*holds 1 class"),
        (ROWS, Y, {"sample_weight": Y}, "two classes; y .*holds 1 class"),
        (ROWS, Y, {"sample_weight": np.zeros(20)}, "Sample weights must"),
        (ROWS, Y, {"sample_weight": np.ones(3)}, "sample_weight"),
        (ROWS, Y, {"sample_weight": -np.ones(20)}, "[Nn]egative.*sample_weight"),
        (ROWS, Y, {"sample_weight": np.full(20, np.nan)}, "sample_weight.*NaN"),
        (ROWS, Y, {"sample_weight": "balanced"}, "balanced"),
        (ROWS, np.eye(2)[Y], {}, "y should be a 1d array|multilabel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_data(make, no_training, X, y, kwargs, match):
    clf = make()
    with pytest.raises(ValueError, match=match):
        clf.fit(X, y, **kwargs)
    assert not fitted_attributes(clf)


@pytest.mark.parametrize(
    "class_weight",
    [
        {0: -1.0},
        {0: np.nan},
        {0: np.inf},
        {0: "heavy"},
        {0: None},
        {0: 0.0},
        {0: 0.0, 1: 0.0},
        {0: 1.0, 2: 1.0},
    ],
    ids=str,
)
def test_bad_class_weight(make, no_training, class_weight):
    clf = make(class_weight=class_weight)
    with pytest.raises(ValueError, match="class_weight"):
        clf.fit(ROWS, Y)
    assert not fitted_attributes(clf)


def test_class_weight_that_leaves_nothing_of_a_chunk(make, moons):
    X, y = moons
    clf = make(class_weight={0: 0.0, 2: 1.0})
    clf.partial_fit(X, y * 2 - (X[:, 0] > 1) * y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"class_weight.* 0 of the classes"):
        clf.partial_fit(X[y == 0], y[y == 0])
    assert clf.partial_fit(X[y == 1], y[y == 1]).n_iter_ == 2


def test_bad_rows_at_prediction(make):
    clf = make(epochs=1).fit(pd.DataFrame(ROWS, columns=["a", "b", "c"]), Y)
    for method in PREDICTIONS:
        predict = getattr(clf, method)
        for value, match in [
            (np.nan, "X contains NaN"),
            (-np.inf, "X contains infinity"),
            (1e39, "Column 'b' of X .* 1e[+]39"),
        ]:
            with pytest.raises(ValueError, match=match):
                predict(pd.DataFrame(with_value(value), columns=["a", "b", "c"]))
        with pytest.raises(ValueError, match="0 sample"):
            predict(pd.DataFrame(ROWS[:0], columns=["a", "b", "c"]))


def test_unknown_kind(make, moons):
    clf = make(epochs=1).fit(*moons)
    for kind in ("variance", None, "Total"):
        with pytest.raises(ValueError, match=f"kind must be one of.*got {kind!r}"):
            clf.predict_uncertainty(moons[0], kind=kind)


def test_predict_before_fit(make, moons):
    for method in PREDICTIONS:
        with pytest.raises(NotFittedError):
            getattr(make(), method)(moons[0])
    with pytest.raises(NotFittedError):
        make().score(*moons)


# Data at the edge, which must work


def edge(n=24, columns=3, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, columns))
    return X, (X[:, 0] > 0).astype(int)


def _set(column, values):
    X, y = edge()
    X[:, column] = values
    return X, y


def _duplicates():
    X, y = edge()
    X[y == 1] = X[y == 1][0]
    return X, y


EDGES = {
    "a constant column": _set(1, 3.0),
    "only constant columns": (np.full((24, 2), 7.0), np.arange(24) % 2),
    "a class of equal rows": _duplicates(),
    "one row a class": (np.eye(3), np.arange(3)),
    "a class of one row": (edge()[0], np.arange(24) == 5),
    "fewer rows than a batch": edge(5),
    "one column": edge(columns=1),
    "more columns than hidden units": edge(columns=40),
    "more columns than rows": edge(n=6, columns=9),
    "many constant columns": (np.ones((24, 40)), np.arange(24) % 2),
    "1e37": (edge()[0] * 1e37, edge()[1]),
    "1e-37": (edge()[0] * 1e-37, edge()[1]),
    "1e-300": (edge()[0] * 1e-300, edge()[1]),
    "1e37 in one column": _set(1, np.linspace(-1e37, 1e37, 24)),
    "a far offset": (edge()[0] + 1e9, edge()[1]),
    "one outlier": _set(1, np.r_[3e38, np.ones(23)]),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("data", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("how", ["fit", "early_stopping", "partial_fit"])
def test_edge_data(make, data, how):
    X, y = data
    clf = make(early_stopping=how == "early_stopping")
    if how == "partial_fit":
        clf.partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    elif how == "fit" or any(len(np.unique(X[y == k], axis=0)) > 1 for k in set(y)):
        clf.fit(X, y)
    else:
        with pytest.raises(ValueError, match="single distinct row"):
            clf.fit(X, y)
        return
    assert_sound(clf, X)
    assert_sound(clf, X[:1] * 0.5)


@pytest.mark.parametrize("far", [1e3, 1e9, 1e37], ids=str)
def test_far_rows_have_finite_predictions(make, moons, far):
    X, y = moons
    for clf in (make().fit(X, y), make(standardize=False).fit(X, y)):
        assert_sound(clf, X * far)


@pytest.mark.parametrize(
    "params",
    [
        {"num_layers": 0},
        {"num_hidden": 1},
        {"batch_size": 1},
        {"batch_size": 10**6},
        {"epochs": 1},
        {"validation_fraction": 0},
        {"validation_fraction": 0.99},
        {"dropout_rate": 0.99},
        {"standardize": False},
        {"ood_alpha": 1e-9},
        {"ood_alpha": 0.999},
        {"optimizer": "sgd"},
        {"optimizer": "rmsprop"},
        {"learning_rate_schedule": "cosine"},
        {"mixed_precision": "bfloat16"},
        {"device": "cpu"},
        {"random_state": None},
    ],
    ids=str,
)
def test_edge_parameters(make, moons, params):
    X, y = moons
    assert_sound(make(**params).fit(X, y), X)
    assert_sound(make(**params).partial_fit(X, y, classes=[0, 1]), X)


@pytest.mark.parametrize(
    ("Classifier", "params"),
    [
        (SNGPClassifier, {"num_inducing": 1}),
        (SNGPClassifier, {"kernel_scale": 1e-6}),
        (SNGPClassifier, {"spec_norm_bound": 1e-3}),
        (SNGPClassifier, {"ridge_penalty": 1e-6}),
        (SNGPClassifier, {"mean_field_factor": 0}),
        (SNGPClassifier, {"inference": "monte_carlo", "num_samples": 1}),
        *((SNGPClassifier, form) for form in SNGP_FORMS.values()),
        (MCDropoutClassifier, {"num_samples": 1}),
        (DeepEnsembleClassifier, {"num_ensemble": 1}),
    ],
    ids=str,
)
def test_edge_own_parameters(small, moons, Classifier, params):
    X, y = moons
    assert_sound(small(Classifier, **params).fit(X, y), X)
    clf = small(Classifier, **params).partial_fit(X, y, classes=[0, 1])
    assert_sound(clf.partial_fit(X, y), X)


LARGEST = float(np.float32(1e37))
FLOATS = st.floats(-LARGEST, LARGEST, width=32) | st.floats(-3, 3, width=16)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(X=arrays(np.float64, st.tuples(st.integers(2, 9), st.just(2)), elements=FLOATS))
def test_any_finite_rows(make, X):
    assert_sound(make(epochs=2).fit(X, np.arange(len(X)) % 2), X)


# A fit that fails changes nothing


def diverging(monkeypatch, clf):
    monkeypatch.setattr(clf, "learning_rate", 1e30)
    return ValueError, "learning_rate"


def interrupted(module, name, error):
    """Let one of the package's functions do its work, then fail."""

    def prepare(monkeypatch, clf):
        real = getattr(module, name)

        def fail(*args, **kwargs):
            real(*args, **kwargs)
            raise error("pulled the plug")

        monkeypatch.setattr(module, name, fail)
        return error, "pulled the plug"

    return prepare


FAILURES = {
    "divergence": diverging,
    "interrupt in training": interrupted(training, "train", KeyboardInterrupt),
    "error in training": interrupted(training, "train", RuntimeError),
    "interrupt at the end": interrupted(sksngp.ood, "threshold", KeyboardInterrupt),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("how", ["fit", "warm_start", "partial_fit"])
@pytest.mark.parametrize("fitted", [False, True], ids=["unfitted", "fitted"])
def test_failed_fit_changes_nothing(
    make, moons, outputs, monkeypatch, failure, how, fitted
):
    X, y = moons

    def fit(clf, X, y):
        if how == "partial_fit":
            return clf.partial_fit(X, y, classes=[0, 1])
        return clf.fit(X, y)

    clf = make(warm_start=how == "warm_start", batch_size=16)
    expected = outputs(fit(make(**clf.get_params()), X, y), X)
    if fitted:
        fit(clf, X, y)
    with monkeypatch.context() as patch:
        error, match = failure(patch, clf)
        state = dict(vars(clf))
        with pytest.raises(error, match=match):
            fit(clf, X[::-1] + 1, y[::-1])
        assert vars(clf).keys() == state.keys()
        assert all(vars(clf)[name] is value for name, value in state.items())
    if not fitted:
        fit(clf, X, y)
    assert_array_equal(outputs(clf, X), expected)
    assert_sound(fit(clf, X, y), X)


@pytest.mark.parametrize("learning_rate", [1e2, 1e5, 1e8, 1e12, 1e20, 1e38, 1e300])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_fit_is_finite_or_names_the_learning_rate(
    make, moons, learning_rate, optimizer
):
    X, y = moons
    for batch_size in (None, 90, 60, 36):  # the last step counts, too
        clf = make(
            learning_rate=learning_rate,
            optimizer=optimizer,
            batch_size=batch_size,
            epochs=1,
        )
        try:
            clf.fit(X, y)
        except ValueError as error:
            assert "learning_rate" in str(error)
            assert not fitted_attributes(clf)
        else:
            assert_sound(clf, X)


def test_predictions_that_overflow_name_the_learning_rate(small, moons):
    """Weights that are finite one by one, but not their product."""
    clf = small(ResNetClassifier, num_layers=20, learning_rate=1e30, epochs=1)
    with pytest.raises(ValueError, match=r"learning_rate.* 1e\+30"):
        clf.set_params(batch_size=None).fit(*moons)
    assert not fitted_attributes(clf)


def test_parameters_set_after_fit_wait_for_the_next(make, moons, outputs):
    X, y = moons
    clf = make().fit(X, y)
    before = outputs(clf, X)
    other = {
        "num_layers": 3,
        "num_hidden": 8,
        "num_ensemble": 1,
        "num_samples": 4,
        "num_inducing": 32,
        "dropout_rate": 0.7,
        "spec_norm_bound": 0.1,
        "kernel_scale": 9.0,
        "ridge_penalty": 9.0,
        "cov_momentum": 0.5,
        "covariance": "per_class",
        "dtype": "float64",
        "standardize": False,
        "ood_alpha": 0.5,
        "class_weight": "balanced",
    }
    for name in other.keys() & clf.get_params().keys():
        old = clf.get_params()[name]
        clf.set_params(**{name: other[name]})
        assert_array_equal(outputs(clf, X), before, err_msg=name)
        clf.set_params(**{name: old})


@pytest.mark.parametrize("moment", [1, 2, "lease"])
@pytest.mark.parametrize("predict", ["predict", "predict_ood"])
def test_prediction_during_a_refit_sees_one_model(
    make, moons, monkeypatch, moment, predict
):
    """As another thread's refit would do it, at each moment it could."""
    X, y = moons
    old, new = np.array(["a", "b"])[y], np.array(["c", "d"])[y]
    clf, refitted = make().fit(X, old), make().fit(X[::-1], new[::-1])
    allowed = [getattr(clf, predict)(X), getattr(refitted, predict)(X)]
    module, name = (
        (pool, "lease") if moment == "lease" else (_prediction, "check_is_fitted")
    )
    real, calls = getattr(module, name), []

    def refit_first(*args, **kwargs):
        calls.append(None)
        if len(calls) == (1 if moment == "lease" else moment):
            clf.fit(X[::-1], new[::-1])
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, refit_first)
    found = getattr(clf, predict)(X)
    assert any(np.array_equal(found, expected) for expected in allowed)


# Repeatable


def test_random_state(make, moons, outputs):
    X, y = moons
    first, second, other, unseeded = (
        make(random_state=seed).fit(X, y) for seed in (7, 7, 8, None)
    )
    assert_array_equal(outputs(first, X), outputs(second, X))
    assert first.weights_.keys() == second.weights_.keys()
    for name, array in first.weights_.items():
        assert_array_equal(array, second.weights_[name])
    for clf in (other, unseeded, make(random_state=None).fit(X, y)):
        assert (outputs(clf, X) != outputs(first, X)).mean() > 0.5
    first.fit(X, y)
    assert_array_equal(outputs(first, X), outputs(second, X))


def test_random_state_instance(make, moons):
    X, y = moons
    state = np.random.RandomState(7)
    first = make(random_state=state).fit(X, y).predict_proba(X)
    second = make(random_state=state).fit(X, y).predict_proba(X)
    again = make(random_state=np.random.RandomState(7)).fit(X, y).predict_proba(X)
    assert_array_equal(first, again)
    assert (first != second).any()


@pytest.mark.parametrize("threads", [2, 4])
def test_fits_in_threads_are_those_in_series(make, moons, outputs, threads):
    def fit(seed):
        clf = make(random_state=seed, early_stopping=seed % 2 == 1).fit(*moons)
        return outputs(clf, moons[0])

    with ThreadPoolExecutor(threads) as executor:
        found = list(executor.map(fit, range(2 * threads)))
    assert_array_equal(found, [fit(seed) for seed in range(2 * threads)])


def test_global_random_states_are_untouched(make, moons):
    import tensorflow as tf

    def draw(between):
        random.seed(5)
        np.random.seed(5)
        tf.random.set_seed(5)
        between()
        return random.random(), np.random.random(), tf.random.normal([]).numpy()

    def fit():
        clf = make(num_hidden=11).fit(*moons)  # a network that is not in the pool
        clf.predict_uncertainty(moons[0])

    pool.clear()
    assert draw(fit) == draw(lambda: None)
    assert draw(fit) == draw(lambda: None)


def check_independence(clf, data, outputs):
    X, y = data
    clf.fit(X[::2], y[::2])
    X = np.vstack([X[:50] * 10, X])
    expected = outputs(clf, X)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(outputs(clf, X[order]), expected[order], atol=1e-9)
    for size in (1, 7, 100):
        rows = min(len(X), 10 * size)
        parts = [outputs(clf, X[i : i + size]) for i in range(0, rows, size)]
        assert_allclose(np.concatenate(parts)[:rows], expected[:rows], atol=1e-9)


def test_predictions_do_not_depend_on_rows_or_order(make, iris, outputs):
    check_independence(make(), iris, outputs)


@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_predictions_of_each_posterior_do_not_either(small, iris, outputs, form):
    check_independence(small(SNGPClassifier, **form), iris, outputs)


# Flags


@pytest.mark.parametrize("alpha", [0.02, 0.2])
def test_share_of_false_alarms(make, alpha):
    X, y = make_blobs(8000, 3, centers=4, cluster_std=2.0, random_state=1)
    clf = make(ood_alpha=alpha, epochs=3).fit(X[:4000], y[:4000])
    n, fresh = len(clf.ood_scores_), 4000
    assert n >= 400
    share = clf.predict_ood(X[4000:]).mean()
    deviation = np.sqrt(alpha * (1 - alpha) * (1 / n + 1 / fresh))
    assert abs(share - alpha) < 4 * deviation


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("validation_fraction", [0, 0.1])
def test_equal_rows_do_not_pass_the_threshold_together(make, seed, validation_fraction):
    """A common row that sets the threshold is not flagged by a rounding error."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(4, 3)) * 7
    X = kinds[rng.integers(0, 4, 400)]
    y = rng.integers(0, 2, 400)
    clf = make(validation_fraction=validation_fraction, random_state=seed).fit(X, y)
    clf.calibrate_ood(X)
    assert np.isfinite(clf.ood_threshold_)
    flags = clf.predict_ood(X)
    assert flags.mean() <= clf.ood_alpha
    for size in range(1, 17):
        assert_array_equal(clf.predict_ood(X[:size]), flags[:size])


def test_threshold_of_a_stream_is_that_of_fresh_rows(make, monkeypatch):
    monkeypatch.setattr(_held_out, "STREAM_SCORES", 200)
    X, y = make_blobs(7000, 3, centers=4, cluster_std=2.0, random_state=1)
    clf = make()
    for part in np.array_split(np.arange(3000), 15):
        clf.partial_fit(X[part], y[part], classes=range(4))
    assert len(clf.ood_scores_) == 200
    assert 0 < clf.predict_ood(X[3000:]).mean() < 0.1


def test_far_rows_are_flagged(small):
    X, y = two_moons(600, random_state=0)
    clf = small(SNGPClassifier, epochs=20).fit(X, y)
    assert clf.predict_ood(X).mean() < 0.1
    angle = np.linspace(0, 2 * np.pi, 100)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    for radius in (8, 30, 1e3):
        assert clf.predict_ood(radius * ring).mean() > 0.9


def test_too_few_rows_for_a_threshold_are_told(make, iris):
    X, y = iris
    for clf in (make(), make(validation_fraction=0)):
        for fit in (clf.fit, clf.partial_fit):
            with pytest.warns(UserWarning, match="no row: 0 rows .*=0.05.* 19") as told:
                fit(
                    X[::10],
                    y[::10],
                    **({} if fit == clf.fit else {"classes": [0, 1, 2]}),
                )
            assert [warning.filename for warning in told] == [__file__]
            assert clf.ood_threshold_ == np.inf
            assert not clf.predict_ood(1e3 * X).any()
            assert_array_equal(clf.ood_pvalue(X), 1.0)
            del clf.weights_
    # Rows to calibrate by are all that is missing.
    clf = make(validation_fraction=0).fit(X[::2], y[::2]).calibrate_ood(X[1::2])
    assert np.isfinite(clf.ood_threshold_)


@pytest.mark.parametrize("stream", [False, True])
def test_no_row_that_was_trained_on_sets_the_threshold(make, moons, stream):
    X, y = moons
    clf = make(epochs=1)
    with patch.object(training, "train", wraps=training.train) as train:
        clf.partial_fit(X, y, classes=[0, 1]) if stream else clf.fit(X, y)
    rows = train.call_args.args[1]
    assert len(clf.ood_scores_) == len(X) - len(rows.labels) >= 19


def test_early_stopping_does_not_take_the_threshold(make, moons):
    X, y = moons
    clf = make(early_stopping=True).fit(X[:150], y[:150])
    assert len(clf.ood_scores_) >= 19
    assert np.isfinite(clf.ood_threshold_)
    # Too few for a threshold, yet enough to stop by.
    with pytest.warns(UserWarning, match="no row"):
        assert make(early_stopping=True).fit(X[:40], y[:40]).n_iter_ > 0


def test_a_first_chunk_keeps_the_rows_that_have_weight(make, moons):
    X, y = moons
    for row in range(20):  # one in ten of them would be held out
        weight = np.zeros(40)
        weight[[row, np.flatnonzero(y[:40] != y[row])[0]]] = 1
        clf = make().partial_fit(X[:40], y[:40], [0, 1], sample_weight=weight)
        assert clf.n_iter_ == 1
        assert_sound(clf, X)


def test_a_row_that_comes_again_counts_once(make, moons):
    X, y = moons
    clf, sizes = make(), []
    for _ in range(3):
        for part in np.arange(200).reshape(4, 50):
            clf.partial_fit(X[part], y[part], classes=[0, 1])
        sizes.append(len(clf.ood_scores_))
    assert sizes[0] == sizes[1] == sizes[2] == len(np.unique(clf._ood_rows))


def test_a_stream_does_not_go_on_with_the_rows_of_a_calibration(make, moons):
    X, y = moons
    clf = make().partial_fit(X, y, classes=[0, 1])
    held_out = len(clf.ood_scores_)
    clf.calibrate_ood(X + 3)
    assert len(clf.ood_scores_) == 200
    assert len(clf.partial_fit(X, y).ood_scores_) == held_out


FURTHER = {
    "the same": lambda clf, X, y: [clf.fit(X, y), clf.fit(X, y)],
    "more rows": lambda clf, X, y: [clf.fit(X[:120], y[:120]), clf.fit(X, y)],
    "fewer rows": lambda clf, X, y: [clf.fit(X, y), clf.fit(X[:120], y[:120])],
    "another share": lambda clf, X, y: [
        clf.fit(X, y),
        clf.set_params(validation_fraction=0.4, ood_alpha=0.01).fit(X, y),
    ],
    "a stream": lambda clf, X, y: [
        clf.fit(X, y),
        *(clf.partial_fit(X[part], y[part]) for part in np.arange(200).reshape(4, 50)),
    ],
    "a fit after a stream": lambda clf, X, y: [
        clf.partial_fit(X[:100], y[:100], classes=[0, 1]),
        clf.fit(X, y),
    ],
    "passes over a stream": lambda clf, X, y: [
        clf.partial_fit(X[part], y[part], classes=[0, 1])
        for seed in range(3)
        for part in np.random.default_rng(seed).permutation(200).reshape(4, 50)
    ],
}


@pytest.mark.parametrize("random_state", [None, 0, "generator"])
@pytest.mark.parametrize("train", FURTHER.values(), ids=FURTHER)
def test_no_row_is_trained_on_in_one_call_and_held_out_in_another(
    small, moons, monkeypatch, train, random_state
):
    if random_state == "generator":
        random_state = np.random.RandomState(0)
    clf = small(ResNetClassifier, epochs=1, warm_start=True, random_state=random_state)
    trained, held = set(), set()
    project = clf._project

    def record(self, X, labels, weights, held_out):
        for row, out in zip(X, held_out, strict=True):
            (held if out else trained).add(row.tobytes())
        return project.__func__(self, X, labels, weights, held_out)

    monkeypatch.setattr(ResNetClassifier, "_project", record)
    train(clf, *moons)
    assert len(held) >= 10
    assert not trained & held


@pytest.mark.parametrize("passes", [0, 1, 5])
def test_pvalues_of_fresh_rows_after_a_wide_chunk(small, passes):
    """More columns than the network is wide, so that the projection is learnt too."""
    means = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(300, 60)), rng.integers(0, 2, 300)
        clf = small(
            SNGPClassifier, epochs=1, random_state=seed, validation_fraction=0.3
        )
        for _ in range(passes):
            clf.partial_fit(X[:150], y[:150], classes=[0, 1])
        if not passes:
            clf.fit(X[:150], y[:150])
        means.append(clf.ood_pvalue(X[150:]).mean())
    # (1 + n / 2) / (1 + n), if not for ties, in expectation.
    assert np.mean(means) > 0.5 - 3 * np.std(means) / np.sqrt(len(means))


# Recalibration


def test_recalibration_keeps_the_promise_where_the_rows_have_moved(small):
    X, y = make_blobs(6000, 3, centers=4, cluster_std=2.0, random_state=1)
    clf = small(SNGPClassifier, ood_alpha=0.1).fit(X[:1000], y[:1000])
    moved = X[1000:] + 6.0
    assert clf.predict_ood(moved).mean() > 0.2
    before = clf.predict_proba(moved)
    assert clf.calibrate_ood(moved[:1000]) is clf
    assert len(clf.ood_scores_) == 1000
    assert 0.06 < clf.predict_ood(moved[1000:]).mean() < 0.14
    assert_array_equal(clf.predict_proba(moved), before)


def test_recalibration_makes_a_new_rate_effective(make, moons):
    X, y = moons
    clf = make().fit(X[::2], y[::2])
    for alpha in (0.05, 0.3):
        clf.set_params(ood_alpha=alpha).calibrate_ood(X[1::2])
        expected = np.sort(-clf.score_samples(X[1::2]))
        rank = round((100 + 1) * (1 - alpha) + 0.499)
        assert clf.ood_threshold_ == pytest.approx(expected[rank - 1])


def test_refused_recalibration_changes_nothing(make, moons):
    X, y = moons
    with pytest.raises(NotFittedError):
        make().calibrate_ood(X)
    clf = make().fit(X, y)
    state = dict(vars(clf))
    for rows, match in [
        (X[:, :1], "features"),
        (X[:0], "0 sample"),
        (X * np.nan, "NaN"),
    ]:
        with pytest.raises(ValueError, match=match):
            clf.calibrate_ood(rows)
        assert vars(clf) == state
    clf.ood_alpha = 1.5
    with pytest.raises(ValueError, match="ood_alpha"):
        clf.calibrate_ood(X)
    with pytest.warns(UserWarning, match="no row: 5 rows"):
        clf.set_params(ood_alpha=0.05).calibrate_ood(X[:5])


# Processes


def test_import_does_not_import_tensorflow(run_python):
    run = run_python(
        """
        import sys
        import sksngp, sksngp.datasets, sksngp.inspection, sksngp.metrics
        print({"tensorflow", "tf_keras", "official", "matplotlib"} & set(sys.modules))
        """
    )
    assert (run.stdout.strip(), run.stderr) == ("set()", "")


def test_fresh_process_prints_nothing(run_python):
    run = run_python(
        """
        import numpy as np
        from sksngp import (
            DeepEnsembleClassifier,
            MCDropoutClassifier,
            ResNetClassifier,
            SNGPClassifier,
        )
        X = np.random.default_rng(0).normal(size=(100, 2))
        for Classifier in (
            SNGPClassifier,
            ResNetClassifier,
            MCDropoutClassifier,
            DeepEnsembleClassifier,
        ):
            clf = Classifier(num_layers=1, num_hidden=8, epochs=2).fit(X, X[:, 0] > 0)
            clf.partial_fit(X, X[:, 0] > 0).predict_ood(X)
            clf.predict_proba(X)
        """
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_fork(run_python):
    """Before its first use TensorFlow survives a fork; after it, ours is refused."""
    run = run_python(
        """
        import os
        import sys
        from sksngp import ResNetClassifier

        clf = ResNetClassifier(num_layers=1, num_hidden=8, epochs=2)
        X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]

        def forked(work):
            child = os.fork()
            if child == 0:
                try:
                    work()
                except RuntimeError as error:
                    os._exit(3 if "forked after TensorFlow" in str(error) else 4)
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        before = forked(lambda: clf.fit(X, y))
        clf.fit(X, y)
        print(before, forked(lambda: clf.fit(X, y)), forked(lambda: clf.predict(X)))
        """
    )
    assert run.stdout.split() == ["0", "3", "3"], run.stderr
