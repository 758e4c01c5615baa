"""The samples of a stream that are stored."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sksngp._data.holdout import digests
from sksngp._data.sources import ArraySource
from sksngp._data.stream_memory import (
    capacity,
    clipping_bounds,
    empty_memory,
    without_extremes,
)


@pytest.fixture(scope="module")
def rows():
    """Return samples of three classes, one of them rare, with duplicates."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    X[250:] = X[:50]
    labels = (rng.random(300) < 0.3).astype(np.int32)
    labels[7] = labels[257] = 2
    labels[250:] = labels[:50]
    return X, labels, rng.uniform(0.5, 2, 300)


def remember(X, labels, weights, size, *, limit=40, latest=False, source=np.asarray):
    memory = empty_memory(X, 3)
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        chunk = X[part], labels[part], weights[part], digests(X[part], 0)
        memory = memory.add(source(chunk[0]), *chunk[1:], limit=limit, latest=latest)
    return memory


def as_dict(memory):
    weights = memory.sample_weights()
    return {
        (row.tobytes(), int(label)): weight
        for row, label, weight in zip(memory.X, memory.labels, weights, strict=True)
    }


@pytest.mark.parametrize("order", ["reversed", "sorted", "shuffled"])
@pytest.mark.parametrize("size", [1, 17, 300])
def test_order_and_batches_do_not_matter(rows, order, size):
    X, labels, weights = rows
    expected = as_dict(remember(*rows, 300))
    order = {
        "reversed": np.arange(300)[::-1],
        "sorted": np.argsort(labels, kind="stable"),
        "shuffled": np.random.default_rng(1).permutation(300),
    }[order]
    found = as_dict(remember(X[order], labels[order], weights[order], size))
    assert found.keys() == expected.keys()
    assert_allclose([found[row] for row in expected], list(expected.values()))


def test_classes_share_the_memory(rows):
    _, labels, weights = rows
    memory = remember(*rows, 50)
    counts = np.bincount(memory.labels)
    assert counts[2] == 1
    assert counts[0] == counts[1] == 19
    assert memory.seen == 300
    totals = np.bincount(labels, weights)
    assert_allclose(memory.totals, totals)
    assert_allclose(np.bincount(memory.labels, memory.sample_weights()), totals)


def test_repeated_samples_are_kept_once(rows):
    X, _, weights = rows
    memory = remember(*rows, 50, limit=1000)
    assert len(memory) == 250
    expected = weights[:250].copy()
    expected[:50] += weights[250:]
    order = np.argsort(memory.arrival)
    assert_array_equal(memory.arrival[order], np.arange(50, 300))
    assert_array_equal(memory.X[order], np.concatenate([X[50:250], X[:50]]))
    assert_allclose(memory.weights[order], np.append(expected[50:], expected[:50]))
    assert_allclose(memory.sample_weights(), memory.weights)


def test_sample_with_two_labels_is_kept_twice():
    X = np.ones((4, 2))
    memory = remember(X, np.array([0, 1, 0, 1], np.int32), np.ones(4), 2)
    assert len(memory) == 2
    assert_array_equal(np.sort(memory.labels), [0, 1])


def test_latest_samples(rows):
    X, _, _ = rows
    memory = remember(*rows, 30, limit=60, latest=True)
    order = np.argsort(memory.arrival)
    assert_array_equal(memory.X[order], np.concatenate([X[240:250], X[:50]]))


def test_samples_of_a_source(rows):
    expected = remember(*rows, 100)
    found = remember(*rows, 100, source=ArraySource)
    assert as_dict(found) == as_dict(expected)


def test_capacity():
    assert capacity(2) == 2000
    assert capacity(10**4) == 419
    assert capacity(10**7) == 256


def test_extreme_values_are_clipped():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    X[::100] = 1e6
    low, high = clipping_bounds(X)
    assert ((-20 < low) & (low < -8) & (8 < high) & (high < 20)).all()
    # Values are not clipped if there are too few samples.
    rare = np.zeros((1000, 1))
    rare[:5] = 1.0
    for few in (rare, X[:4], X[:0]):
        assert np.isinf(clipping_bounds(few)).all()


def test_wild_rows_do_not_extend_columns_that_are_nearly_constant():
    X = np.random.default_rng(0).normal(size=(200, 3))
    X[:, 1:] = 0.0
    X[7, 1] = 1.0  # rare, but not wild
    assert np.isinf(clipping_bounds(X)[:, 1:]).all()
    wild = np.concatenate([X, [[1e6, -1e6, 1e6]]])
    bounds = clipping_bounds(wild)
    assert_array_equal(bounds[:, 1:], [[-3.0, 0.0], [4.0, 0.0]])
    assert_array_equal(without_extremes(wild, bounds), np.arange(201) < 200)
