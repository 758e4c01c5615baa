import weakref

import numpy as np
import pytest

from sksngp._data import sources, streamed_rows
from sksngp._data.projection import fit_projection
from sksngp._data.rows import Rows
from sksngp._data.streamed_rows import StreamedRows, project


@pytest.fixture
def problem():
    def make(n=3000, members=1):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, 3))
        weights = rng.uniform(0.5, 2, n)
        projection = fit_projection(
            X, weights, num_hidden=8, members=members, standardize=True, rng=rng
        )
        return X, np.arange(n, dtype=np.int32), weights, projection, "float32"

    return make


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", 1500 * 8 * 4)


@pytest.mark.parametrize("members", [1, 3])
def test_small_data_are_in_memory_and_large_data_are_streamed(
    problem, members, monkeypatch
):
    arguments = problem(members=members)
    held = project(*arguments)
    assert isinstance(held, Rows)
    monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", held.projected.nbytes)
    assert isinstance(project(*arguments), Rows)
    monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", held.projected.nbytes - 1)
    assert isinstance(project(*arguments), StreamedRows)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("size", [None, 100])
def test_chunks_are_those_of_rows_in_memory(problem, members, size, little_memory):
    X, labels, weights, projection, dtype = problem(members=members)
    expected = projection(X, dtype)
    position = 0
    streamed = project(X, labels, weights, projection, dtype)
    assert isinstance(streamed, StreamedRows)
    for projected, part in streamed.chunks(8, size):
        assert part.start == position
        assert part.stop - part.start <= (size or len(X))
        np.testing.assert_array_equal(projected, expected[..., part, :])
        position = part.stop
    assert position == len(X)


def test_chunks_of_a_given_size_extend_over_partitions(
    problem, little_memory, monkeypatch
):
    expected = [slice(start, min(start + 70, 3000)) for start in range(0, 3000, 70)]
    for block in (7, 64, 70, 100, 3000):
        monkeypatch.setattr(sources, "ARRAY_PARTITION_SIZE", block)
        streamed = project(*problem())
        assert [part for _, part in streamed.chunks(8, 70)] == expected


def test_shuffle_buffers_contain_each_sample_once(problem, little_memory):
    X, labels, weights, projection, dtype = problem(n=5000)
    expected = projection(X, dtype)
    streamed = project(X, labels, weights, projection, dtype)
    seen = []
    for shard in streamed.shuffle_buffers(np.random.default_rng(0)):
        assert 0 < len(shard.labels) <= 1500  # the labels are positions of samples
        np.testing.assert_array_equal(shard.projected, expected[shard.labels])
        np.testing.assert_array_equal(shard.weights, weights[shard.labels])
        seen.append(shard.labels)
    assert np.sort(np.concatenate(seen)).tolist() == labels.tolist()


def test_shuffle_buffers_differ_between_epochs(problem, monkeypatch):
    monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", 4 * 4096 * 8 * 4)
    streamed = project(*problem(n=20_000))
    rng = np.random.default_rng(0)
    first, second = (next(iter(streamed.shuffle_buffers(rng))).labels for _ in range(2))
    assert len(first) > 3000
    # The partitions are not consecutive, and differ between epochs.
    assert (np.diff(np.unique(first // 1024)) > 1).any()
    assert not np.array_equal(first, second)


def test_sums_need_little_memory(problem, monkeypatch):
    monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(streamed_rows, "GROUP_SIZE", 1024)
    X, labels, weights, projection, dtype = problem(n=10_000)
    parts, alive = [], []

    class Part(np.ndarray):
        """Array that supports weak references."""

    def part(group):
        result = group.projected.sum(axis=0, dtype=np.float64).view(Part)
        parts.append(weakref.ref(result))
        alive.append(sum(ref() is not None for ref in parts))
        return (result,)

    (total,) = project(X, labels, weights, projection, dtype).sum_over_samples(part)
    np.testing.assert_allclose(total, projection(X).sum(axis=0), rtol=1e-5)
    assert len(parts) > 9 and max(alive) <= 3
