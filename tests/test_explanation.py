"""Explanations of out-of-distribution scores."""

import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

from sksngp import DeepEnsembleClassifier, ResNetClassifier, SNGPClassifier
from sksngp._uncertainty import explanation
from sksngp._uncertainty.explanation import explain, nearest_by_features


def plain(X, reference, score, **options):
    return explain(score, lambda rows: rows, X, reference, n_neighbors=1, **options)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)), rng.normal(size=(300, 4))


# Contributions


def test_contributions_to_an_additive_score_are_exact(table):
    """Contributions to a sum are the differences of its terms."""
    X, reference = table
    terms = lambda rows: np.abs(rows) ** 3 * [1.0, 2.0, 0.0, 5.0]  # noqa: E731
    found = plain(X, reference, lambda rows: terms(rows).sum(axis=1))
    typical = terms(reference)[found.compared_with].mean(axis=1)
    assert_allclose(found.contributions, terms(X) - typical, atol=1e-9)
    assert_allclose(
        found.contributions.sum(axis=1), found.scores - found.typical_scores
    )


def test_contributions_by_hand(table):
    X, reference = table
    score = lambda rows: np.max(np.abs(rows), axis=1)  # noqa: E731
    found = plain(X[:3], reference, score)
    for row, donors in enumerate(found.compared_with):
        for column in range(4):
            differences = []
            for donor in reference[donors]:
                first, second = X[row].copy(), donor.copy()
                first[column], second[column] = donor[column], X[row, column]
                differences += [
                    score(X[row][None]) - score(first[None]),
                    score(second[None]) - score(donor[None]),
                ]
            expected = np.mean(differences)
            assert found.contributions[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_contributions_do_not_depend_on_batches(table, monkeypatch, size):
    X, reference = table
    score = lambda rows: np.exp(-np.square(rows).sum(axis=1))  # noqa: E731
    expected = plain(X, reference, score)
    for name, limit in {"CHUNK_SIZE": 10 * size, "CHUNK_VALUES": 40 * size}.items():
        with monkeypatch.context() as limited:
            limited.setattr(explanation, name, limit)
            found = plain(X, reference, score)
        assert_allclose(found.contributions, expected.contributions)


@pytest.mark.parametrize("factor", [5, 1e3, 1e30])
def test_the_changed_feature_is_named(small, iris, factor):
    X, y = iris
    clf = small(SNGPClassifier, epochs=30, num_inducing=256).fit(X, y)
    changed = np.arange(40) % 4
    odd = X[:120:3].copy()
    odd[np.arange(40), changed] += factor * X.std(axis=0)[changed]
    flagged = clf.predict_ood(odd)
    found = clf.explain_ood(odd[flagged], X).contributions.argmax(axis=1)
    assert flagged.sum() >= 10
    assert np.mean(found == changed[flagged]) >= 0.9


# Samples to compare with


def test_nearest_by_features_ignores_one_wrong_feature(table):
    _, reference = table
    X = reference[:40].copy()
    X[np.arange(40), np.arange(40) % 4] = 1e6
    own = nearest_by_features(X, reference, 5)
    assert np.mean([row in near for row, near in enumerate(own)]) > 0.9


def test_nearest_by_features_of_other_types():
    reference = pd.DataFrame(
        {
            "size": [1.0, 2.0, 3.0, np.nan],
            "color": ["red", "red", "blue", "blue"],
            "constant": [7, 7, 7, 7],
            "day": pd.to_datetime(["2020-01-01"] * 2 + ["2021-01-01"] * 2),
            "flag": [True, False, True, False],
        }
    )
    for row in range(4):
        for frame in (reference, pl.from_pandas(reference)):
            nearest = nearest_by_features(frame[row : row + 1], frame, 1)
            assert nearest.tolist() == [[row]]


# Neighbors


def test_neighbors_are_nearest_in_the_hidden_representation(fitted, moons):
    X, _ = moons
    found = fitted.explain_ood(X[:30] + 0.01, X, n_neighbors=4)
    index = NearestNeighbors(n_neighbors=4).fit(fitted._represent(X))
    distances, neighbors = index.kneighbors(fitted._represent(X[:30] + 0.01))
    assert_array_equal(found.neighbors, neighbors)
    assert_allclose(found.distances, distances)
    assert found.neighbors.shape == (30, 4)
    assert fitted.explain_ood(X[:2], X[:3], n_neighbors=9).neighbors.shape == (2, 3)


def test_representation_is_the_input_of_the_output_layer(fitted, moons):
    X, _ = moons
    hidden = fitted._represent(X)
    members = 3 if isinstance(fitted, DeepEnsembleClassifier) else 1
    assert hidden.shape == (len(X), 16 * members)
    assert_allclose(fitted._represent(X[:7]), hidden[:7], rtol=1e-6)
    if type(fitted) is ResNetClassifier:
        weights = fitted.weights_
        logits = hidden @ weights["output/kernel"] + weights["output/bias"]
        logits /= fitted.temperature_
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert_allclose(fitted.predict_proba(X), expected, rtol=1e-4, atol=1e-6)


# All classifiers


def test_explanation_of_each_classifier(fitted, moons):
    X, _ = moons
    state = dict(vars(fitted))
    found = fitted.explain_ood(X[:5], X)
    assert found.contributions.shape == (5, 2)
    assert_array_equal(found.scores, -fitted.score_samples(X[:5]))
    typical = -fitted.score_samples(X)[found.compared_with].mean(axis=1)
    assert_allclose(found.typical_scores, typical, rtol=1e-5, atol=1e-9)
    assert found.feature_names == ["x0", "x1"]
    assert vars(fitted) == state


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames(small, frame):
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = small(SNGPClassifier).fit(X, y)
    expected = clf.explain_ood(X.iloc[:6], X)
    X = frame(X.to_dict("list"))
    found = clf.explain_ood(X[:6], X)
    assert found.feature_names == expected.feature_names == list(X.columns)
    assert_allclose(found.contributions, expected.contributions)
    assert_array_equal(found.compared_with, expected.compared_with)


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_contributions_as_a_dataframe(kind):
    values = np.arange(12.0).reshape(6, 2)
    names = ["x0", "x1"] if kind == "array" else ["length", "width"]
    frame = pd.DataFrame(values, columns=names, index=list("abcdef"))
    X = {"array": values, "pandas": frame, "polars": pl.DataFrame(frame)}[kind]
    found = plain(X[:2], X, lambda rows: np.asarray(rows)[:, 1])
    expected = pd.DataFrame(
        found.contributions,
        index=["a", "b"] if kind == "pandas" else [0, 1],
        columns=names,
    )
    pd.testing.assert_frame_equal(found.to_frame(), expected)


def test_columns_of_the_dataframe_are_kept():
    X = pd.DataFrame(np.arange(12.0).reshape(6, 2), columns=[10, 11])
    found = plain(X[:2], X, lambda rows: rows[11].to_numpy())
    assert found.to_frame().columns.equals(X.columns)
    X.columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])
    found = plain(X[:2], X, lambda rows: rows["a", "y"].to_numpy())
    assert found.to_frame().columns.equals(X.columns)


@pytest.mark.parametrize("flat", [False, True])
def test_images_have_maps(small, flat):
    rng = np.random.default_rng(0)
    images = rng.random((60, 10, 12, 1))
    y = np.arange(60) % 2
    images[y == 1, :5] += 1
    X = images.reshape(60, -1) if flat else images
    clf = small(
        SNGPClassifier, image_shape=(10, 12, 1) if flat else None, epochs=10
    ).fit(X, y)
    odd = images[:4].copy()
    odd[:, 4:6, 8:10] = 30.0  # a patch
    found = clf.explain_ood(odd.reshape(4, -1) if flat else odd, X)
    assert found.contributions.shape == (4, 10, 12)
    assert_array_equal(
        found.contributions[:, ::2, ::2], found.contributions[:, 1::2, 1::2]
    )
    patches = found.contributions[:, ::2, ::2].reshape(4, -1)
    assert (patches.argmax(axis=1) == 2 * 6 + 4).all()
    with pytest.raises(ValueError, match=r"images of shape \(10, 12\)"):
        found.to_frame()


def test_no_samples(fitted_two, moons):
    found = fitted_two.explain_ood(np.zeros((0, 2)), moons[0])
    assert found.contributions.shape == (0, 2)
    assert found.neighbors.shape == found.distances.shape == (0, 5)


# Invalid input


@pytest.mark.parametrize(
    ("rows", "reference", "options", "match"),
    [
        (np.zeros((2, 3)), np.zeros((5, 2)), {}, r"X_reference .* shape \(3,\), got"),
        (np.zeros((2, 2)), np.zeros((0, 2)), {}, "X_reference must have at least one"),
        (
            np.zeros(2),
            np.zeros((5, 2)),
            {},
            r"X must be .* shape \(2,\)\. Use reshape\(1, -1\)",
        ),
        (
            np.zeros((2, 2)),
            np.zeros((5, 2)),
            {"n_neighbors": 0},
            "n_neighbors .* got 0",
        ),
        (np.zeros((2, 2)), np.zeros((5, 2)), {"n_neighbors": "all"}, "n_neighbors"),
        (np.full((2, 2), np.nan), np.zeros((5, 2)), {}, "NaN"),
        (np.zeros((2, 3)), np.zeros((5, 3)), {}, "3 features"),
    ],
)
def test_invalid_input(fitted_two, rows, reference, options, match):
    with pytest.raises(ValueError, match=match):
        fitted_two.explain_ood(rows, reference, **options)


def test_columns_in_another_order(fitted_two, moons):
    X = pd.DataFrame(moons[0], columns=["a", "b"])
    with pytest.raises(ValueError, match=r"same order, .*'a', 'b'.* got .*'b', 'a'"):
        fitted_two.explain_ood(X, X[["b", "a"]])
    with pytest.raises(ValueError, match="a DataFrame of pandas and a ndarray of nump"):
        fitted_two.explain_ood(X, moons[0])
    with pytest.raises(TypeError, match=r"pass X_reference.toarray\(\)"):
        fitted_two.explain_ood(moons[0], csr_array(moons[0]))


def test_unfitted(make_two, moons):
    with pytest.raises(NotFittedError):
        make_two().explain_ood(moons[0], moons[0])


def test_explanations_of_copies_are_equal(fitted_two, moons):
    X, _ = moons
    found = copy.deepcopy(fitted_two).explain_ood(X[:3], X)
    expected = fitted_two.explain_ood(X[:3], X)
    assert_array_equal(found.contributions, expected.contributions)
