"""Distances from the training data in input and hidden space."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sksngp import SNGPClassifier
from sksngp._data import streamed_rows
from sksngp._data.rows import Rows
from sksngp._data.sources import ArraySource
from sksngp._data.streamed_rows import StreamedRows
from sksngp._uncertainty.input_distance import unit_length
from sksngp._uncertainty.ood_score import combine, surprisals_of_parts


@pytest.fixture(scope="module")
def fitted(small, iris):
    return small(SNGPClassifier, dtype="float64", cv="auto").fit(*iris)


def rows_in_memory(clf, X, y):
    projected = clf.projection_(X, "float64")
    return Rows(projected, y.astype(np.int32), np.ones(len(X)))


def test_processes_measure_inputs_and_directions_of_hidden_vectors(fitted, iris):
    rows = rows_in_memory(fitted, *iris)
    hidden = fitted._hidden(rows)
    found = fitted._distances(rows.projected, hidden)
    assert_allclose(found[0], fitted.input_distance_(rows.projected))
    assert_allclose(found[1], fitted.hidden_distance_(unit_length(hidden)))
    longer = fitted._distances(rows.projected, 3 * hidden)
    assert_allclose(longer[1], found[1])


def test_distance_grows_away_from_the_hidden_vectors(fitted, iris):
    hidden = unit_length(fitted._hidden(rows_in_memory(fitted, *iris)))
    near = fitted.hidden_distance_(hidden)
    assert (fitted.hidden_distance_(-hidden) > near).all()


def test_samples_that_are_streamed_give_the_same_hidden_vectors(fitted, iris):
    X, y = iris
    expected = fitted._hidden_rows(rows_in_memory(fitted, X, y))
    streamed = StreamedRows(
        ArraySource(X), fitted.projection_, "float64", y, np.ones(len(X))
    )
    found = fitted._hidden_rows(streamed)
    parts = [block for block, _ in found.chunks(1)]
    assert_allclose(np.concatenate(parts), expected.projected)
    (count,) = found.sum_over_samples(lambda rows: (rows.projected.sum(axis=0),))
    assert_allclose(count, expected.projected.sum(axis=0))


def test_an_update_adds_samples_to_both_processes(fitted, iris):
    X, y = iris
    clf = copy.copy(fitted)
    new = rows_in_memory(clf, X[:5] + 10.0, y[:5])
    before = clf._distances(new.projected, clf._hidden(new))
    clf._update_distances(new)
    after = clf._distances(new.projected, clf._hidden(new))
    assert (np.array(after) < np.array(before)).all()


def test_partitions_without_samples_are_skipped(small, monkeypatch):
    """Samples of weight 0 are omitted, here those of the whole first partition."""
    monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", 0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 2))
    weights = (np.arange(1500) >= 1024).astype(float)
    clf = small(SNGPClassifier, dtype="float64", epochs=1)
    clf.fit(X, (X[:, 0] > 0).astype(int), sample_weight=weights)
    assert clf.hidden_distance_ is not None
    assert np.isfinite(clf.score_samples(X)).all()


@pytest.fixture
def older(fitted):
    """Return a model whose score has three parts, which were stored without names."""
    state = dict(fitted.__getstate__())
    names = "variance", "input distance", "entropy"
    state["_surprisals"] = tuple(fitted._surprisals[name] for name in names)
    del state["hidden_distance_"]
    model = SNGPClassifier.__new__(SNGPClassifier)
    model.__setstate__(state)
    return model


def test_models_of_earlier_versions_have_no_hidden_distance(older, fitted, iris):
    X, _ = iris
    parts = fitted._predict_valid(X, "ood parts")
    by_name = dict(zip(fitted._part_names, parts.T, strict=True))
    expected = surprisals_of_parts(older._surprisals, by_name)
    assert_allclose(-older.score_samples(X), combine(expected))


def test_models_of_earlier_versions_can_be_trained_further(older, iris):
    """The calibration of the first fit remains, with the parts that it has."""
    before = older._surprisals
    older.set_params(warm_start=True).fit(*iris)
    assert older._surprisals is before
    assert older.predict_ood(iris[0]).shape == (150,)
