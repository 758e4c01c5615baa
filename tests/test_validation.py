"""Validation of samples and labels: supported types, and errors for invalid values."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from common import PREDICTION_METHODS, fitted_attributes
from numpy.testing import assert_array_equal
from scipy.sparse import csc_array, csr_matrix
from sklearn.exceptions import NotFittedError

from sksngp import ResNetClassifier, SNGPClassifier


@pytest.fixture(scope="module")
def fitted_resnet(fitted_on_moons):
    return fitted_on_moons(ResNetClassifier)


# Supported types of X


@pytest.mark.parametrize(
    "frame",
    [
        lambda X, names: pd.DataFrame(X, columns=names),
        lambda X, names: pl.DataFrame(X, schema=names),
    ],
    ids=["pandas", "polars"],
)
def test_dataframes(make_resnet, fitted_resnet, moons, outputs, frame):
    X, y = moons
    clf = make_resnet().fit(frame(X, ["left", "up"]), y)
    assert_array_equal(clf.feature_names_in_, ["left", "up"])
    for names in (["left", "down"], ["up", "left"]):
        for method in PREDICTION_METHODS:
            with pytest.raises(ValueError, match="feature names should"):
                getattr(clf, method)(frame(X, names))
    with pytest.raises(ValueError, match="feature names should"):
        clf.predict(frame(X[:, :1], ["left"]))
    assert not hasattr(fitted_resnet, "feature_names_in_")
    found = outputs(clf, frame(X, ["left", "up"]))
    assert_array_equal(found, outputs(fitted_resnet, X))
    with pytest.warns(UserWarning, match="valid feature names"):
        assert_array_equal(clf.predict(X), fitted_resnet.predict(X))
    assert not hasattr(clf.fit(X, y), "feature_names_in_")


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
        lambda X, _: X.astype(object),
        lambda X, _: X.astype(str).astype(object),
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
        "objects",
        "objects of text",
        "read-only",
        "memory-mapped",
        "memory-mapped float32",
    ],
)
def test_arrays(make_resnet, fitted_resnet, moons, outputs, tmp_path, convert):
    X, y = moons
    converted = convert(X, tmp_path)
    clf = make_resnet().fit(converted, y)
    assert_array_equal(outputs(clf, converted), outputs(fitted_resnet, X))
    assert_array_equal(np.asarray(converted, float), X)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integer_features(make_resnet, dtype):
    X = np.random.default_rng(0).integers(0, 200, (40, 3)).astype(dtype)
    y = np.arange(40) % 2
    found, expected = (
        make_resnet().fit(Z, y).predict_proba(Z) for Z in (X, X.astype(float))
    )
    assert_array_equal(found, expected)


@pytest.mark.parametrize("sparse", [csr_matrix, csc_array])
def test_sparse_input_is_rejected(make_resnet, fitted_resnet, moons, sparse):
    X, y = moons
    for call in (
        lambda: make_resnet().fit(sparse(X), y),
        lambda: make_resnet().partial_fit(sparse(X), y, classes=[0, 1]),
        *(lambda m=m: getattr(fitted_resnet, m)(sparse(X)) for m in PREDICTION_METHODS),
    ):
        with pytest.raises(TypeError, match="TruncatedSVD"):
            call()


# Invalid values of X


def with_value(value):
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[7, 1] = value
    return X


X = with_value(0)
Y = np.arange(20) % 2


@pytest.mark.parametrize(
    ("X", "y", "kwargs", "match"),
    [
        (with_value(np.nan), Y, {}, "X contains NaN"),
        (with_value(np.inf), Y, {}, "X contains infinity"),
        (with_value(1e39), Y, {}, "values of X .* 1e[+]39 in feature 1"),
        (with_value(-1e300), Y, {}, "values of X .* 1e[+]300 in feature 1"),
        (X[:0], Y[:0], {}, "0 sample"),
        (X[:, :0], Y, {}, "0 feature"),
        (pd.DataFrame(index=range(20)), Y, {}, "0 feature"),
        (X[:, 0], Y, {}, "Expected 2D array"),
        (X[None], Y, {}, "dim 3|Expected"),
        (np.full((20, 3), "a"), Y, {}, r"hold text: \[0, 1, 2\]. Encode"),
        (X + 1j, Y, {}, "[Cc]omplex"),
        (X, Y[:-1], {}, "inconsistent numbers of samples"),
        (X, None, {}, "requires y"),
        (X, X[:, 0], {}, "Unknown label type"),
        (X, np.where(Y, np.nan, 1.0), {}, "y contains NaN"),
        (X, np.zeros(20), {}, "at least two classes .* got 1 class"),
        (X, Y, {"sample_weight": Y}, "at least two classes .* got 1 class"),
        (X, Y, {"sample_weight": np.zeros(20)}, "Sample weights must"),
        (X, Y, {"sample_weight": np.ones(3)}, "sample_weight"),
        (X, Y, {"sample_weight": -np.ones(20)}, "[Nn]egative.*sample_weight"),
        (X, Y, {"sample_weight": np.full(20, np.nan)}, "sample_weight.*NaN"),
        (X, Y, {"sample_weight": "balanced"}, "balanced"),
        (X, np.eye(2)[Y], {}, "y should be a 1d array|multilabel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_training_data(make_resnet, no_training, X, y, kwargs, match):
    clf = make_resnet()
    with pytest.raises(ValueError, match=match):
        clf.fit(X, y, **kwargs)
    if y is Y and "two classes" not in match:  # a batch may hold a single class
        with pytest.raises(ValueError, match=match):
            clf.partial_fit(X, y, **kwargs, classes=[0, 1])
    assert not fitted_attributes(clf)


@pytest.mark.parametrize("cell", ["word", None, {}, [1.0]], ids=repr)
def test_object_features_that_are_not_numeric(make_resnet, no_training, cell):
    X = np.zeros((20, 2), object)
    X[3, 1] = cell
    with pytest.raises(
        (ValueError, TypeError), match=r"float|NaN|sequence|text: \[1\]"
    ):
        make_resnet().fit(X, Y)


@pytest.mark.parametrize("features", [1, 3])
def test_wrong_number_of_features(fitted_resnet, features):
    for method in PREDICTION_METHODS:
        with pytest.raises(ValueError, match=f"X has {features} features.*expecting 2"):
            getattr(fitted_resnet, method)(np.zeros((4, features)))


def test_invalid_samples_in_predictions(make_resnet):
    clf = make_resnet(epochs=1).fit(pd.DataFrame(X, columns=["a", "b", "c"]), Y)
    for method in PREDICTION_METHODS:
        predict = getattr(clf, method)
        for value, match in [
            (np.nan, "X contains NaN"),
            (-np.inf, "X contains infinity"),
            (1e39, "values of X .* 1e[+]39 in feature 'b'"),
        ]:
            with pytest.raises(ValueError, match=match):
                predict(pd.DataFrame(with_value(value), columns=["a", "b", "c"]))
        with pytest.raises(ValueError, match="0 sample"):
            predict(pd.DataFrame(X[:0], columns=["a", "b", "c"]))


def test_predictions_require_fit(make, moons):
    for method in PREDICTION_METHODS:
        with pytest.raises(NotFittedError):
            getattr(make(), method)(moons[0])
    with pytest.raises(NotFittedError):
        make().score(*moons)


# Labels


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
def test_label_types(make_resnet, fitted_resnet, moons, label):
    X, y = moons
    labels = label(y)
    clf = make_resnet().fit(X, labels)
    assert_array_equal(clf.classes_, np.unique(np.asarray(labels)))
    assert_array_equal(clf.predict_proba(X), fitted_resnet.predict_proba(X))
    assert_array_equal(clf.predict(X), clf.classes_[fitted_resnet.predict(X)])
    assert clf.score(X, labels) == fitted_resnet.score(X, y)


@pytest.mark.parametrize(
    "labels",
    [
        [1.0, np.nan],
        ["a", np.nan],
        np.array(["a", np.nan], object),
        np.array(["a", None], object),
        pd.Series(["a", None], dtype="string"),
        pd.Series(["a", None], dtype="category"),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([pd.Timestamp(0), pd.NaT]),
    ],
    ids=repr,
)
def test_missing_labels(make_resnet, no_training, labels):
    many = labels * 10 if isinstance(labels, list) else labels.repeat(10)
    with pytest.raises(ValueError, match="y contains NaN or None"):
        make_resnet().fit(np.zeros((20, 1)), many)
    with pytest.raises(ValueError, match="classes contains NaN or None"):
        make_resnet().partial_fit(np.zeros((20, 1)), [1] * 20, classes=labels)


@pytest.mark.parametrize("container", [list, lambda y: np.array(y, object), pd.Series])
def test_labels_of_mixed_types(make_resnet, no_training, container):
    y = container(["a", 1] * 10)
    with pytest.raises(ValueError, match="y must hold labels of one type, got int"):
        make_resnet().fit(np.zeros((20, 1)), y)
    with pytest.raises(
        ValueError, match="classes must hold labels of one type, got int"
    ):
        make_resnet().partial_fit(np.zeros((20, 1)), y, classes=container(["a", 1]))


def test_long_labels(make_resnet, fitted_resnet, moons, outputs):
    """Labels that differ only in the last letter; error messages abbreviate them."""
    X, y = moons
    names = np.array(["x" * 20_000 + end for end in "ab"], object)
    clf = make_resnet().fit(X, names[y])
    assert_array_equal(outputs(clf, X), outputs(fitted_resnet, X))
    assert_array_equal(clf.predict(X), names[fitted_resnet.predict(X)])
    with pytest.raises(ValueError, match="must be among the classes") as error:
        clf.partial_fit(X, names[y] + "c")
    assert len(str(error.value)) < 500


@pytest.mark.slow
def test_a_thousand_classes(small):
    X = np.random.default_rng(0).normal(size=(2000, 3))
    clf = small(SNGPClassifier, epochs=1, num_layers=0).fit(X, np.arange(2000) % 1000)
    assert clf.predict_proba(X[:5]).shape == (5, 1000)


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
def test_too_many_classes(small, no_training):
    X, y = np.zeros((100_001, 1), np.float32), np.arange(100_001)
    match = "must have at most 100000 classes, got 100001. Use a regressor"
    with pytest.raises(ValueError, match=f"y {match}") as error:
        small(ResNetClassifier).fit(X, y)
    assert len(str(error.value)) < 500
    with pytest.raises(ValueError, match=f"classes {match}"):
        small(ResNetClassifier).partial_fit(X[:9], y[:9], classes=y)
