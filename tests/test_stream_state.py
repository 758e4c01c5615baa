"""What is kept between calls of partial_fit."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sksngp._data.sources import ArraySource
from sksngp._data.stream_memory import clipping_bounds
from sksngp._stream_state import Batch, bounds_of_scaler, new_stream


def batch_of(hashes, held_out=False, source=np.asarray):
    size = len(hashes)
    X = np.array(hashes, float)[:, None]
    held_out = np.broadcast_to(held_out, size)
    hashes = np.array(hashes, np.uint64)
    return Batch(source(X), np.zeros(size, np.int32), np.ones(size), hashes, held_out)


def state_after(*batches):
    """State of a stream whose batches were learned."""
    state = new_stream(np.zeros((0, 1)), 2, seed=0)
    for batch in batches:
        memory = state.memory.add(*batch.part(~batch.held_out), limit=2000)
        held_out = state.held_out.add(*batch.part(batch.held_out), limit=2000)
        state = type(state)(memory, held_out, state.bounds, 0)
    return state


@pytest.mark.parametrize(
    ("learned", "waiting", "size", "due"),
    [
        (0, 0, 1, True),  # a stream begins with its first sample
        (15, 0, 1, True),
        (16, 0, 1, False),
        (16, 1, 1, True),
        (1000, 30, 1, False),
        (1000, 31, 1, True),
        (1000, 0, 8, True),
        (1000, 0, 7, False),
    ],
)
def test_when_a_batch_is_learned(learned, waiting, size, due):
    state = state_after(batch_of(range(learned)))
    if waiting:
        state = type(state)(
            state.memory, state.held_out, state.bounds, 0, batch_of(range(waiting))
        )
    assert state.is_due(batch_of(range(size))) == due


def test_samples_that_wait_come_first():
    state = new_stream(np.zeros((0, 1)), 2, seed=0)
    batch = batch_of([3])
    assert state.concatenate(batch) == [batch]
    state = type(state)(state.memory, state.held_out, state.bounds, 0, batch_of([1, 2]))
    (concatenate,) = state.concatenate(batch)
    assert_array_equal(concatenate.hashes, [1, 2, 3])
    source = batch_of([3], source=ArraySource)
    assert state.concatenate(source) == [state.waiting, source]
    assert_array_equal(source.copied().X, [[3.0]])


@pytest.mark.parametrize("repeats", [1, 10])  # of few samples and of many
def test_samples_stay_on_their_side(repeats):
    state = state_after(batch_of([1, 2], held_out=[True, False]))
    waiting = batch_of([3, 4], held_out=[True, False])
    state = type(state)(state.memory, state.held_out, state.bounds, 0, waiting)
    hashes = np.repeat(np.arange(1, 7, dtype=np.uint64), repeats)
    chosen = np.isin(hashes, [2, 4, 5])
    expected = np.isin(hashes, [1, 3, 5])
    assert_array_equal(state.keep_sides(chosen, hashes), expected)


def test_bounds_without_standardization():
    assert_array_equal(bounds_of_scaler(None, 3), [[-np.inf], [np.inf]])


@pytest.mark.parametrize("own_class", [False, True])
def test_occasional_extremes_are_not_remembered(own_class):
    """Unless most samples of their class are extreme."""
    X, labels = np.random.default_rng(0).normal(size=(100, 2)), np.zeros(100, np.int32)
    X[:3] *= 1e6
    labels[:3] = own_class
    state = new_stream(X, 2, seed=0)
    hashes = np.arange(100, dtype=np.uint64)
    memory = state.memory.add(X, labels, np.ones(100), hashes, limit=2000)
    bounds = clipping_bounds(X)
    state = replace(state, memory=memory, bounds=bounds)
    expected = np.clip(X, *bounds)[0 if own_class else 3 :]
    remembered, labels, weights = state.remembered()
    assert_array_equal(remembered, expected)
    totals = np.bincount(labels, weights, minlength=2)
    np.testing.assert_allclose(totals, memory.totals)


def test_samples_of_sparse_features_are_remembered():
    """Most values are 0, so that the others are many central ranges away."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (500, 40)) * (rng.random((500, 40)) < 0.03)
    X[:, 0] = 0.0
    X[400:, 0] = 1.0  # a feature that was constant when the bounds were computed
    state = new_stream(X, 2, seed=0)
    hashes, labels = np.arange(500, dtype=np.uint64), np.zeros(500, np.int32)
    memory = state.memory.add(X, labels, np.ones(500), hashes, limit=2000)
    state = replace(state, memory=memory, bounds=clipping_bounds(X[:400]))
    assert len(state.remembered()[1]) == 500
