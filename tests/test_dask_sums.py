"""Sums on workers; `tests/test_dask_training.py` computes them on a cluster."""

from types import SimpleNamespace

import dask
import numpy as np
import pytest

from sksngp._data.dask_sums import reader, sum_over_samples


class Client:
    """Client that computes in this process instead of a cluster."""

    def __init__(self):
        self.tasks = []

    def compute(self, task):
        self.tasks.append(task)
        return SimpleNamespace(result=lambda: task.compute(scheduler="synchronous"))


@pytest.fixture(params=[1, 2, 5, 8])
def streamed(request):
    """Return samples in several partitions, some of which are empty."""
    sizes = [size for block in range(request.param) for size in (block + 1, 0)]
    starts = np.append(0, np.cumsum(sizes))
    X = np.random.default_rng(0).normal(size=(starts[-1], 3))
    source = SimpleNamespace(
        starts=starts,
        client=Client(),
        rows=lambda block: slice(starts[block], starts[block + 1]),
        delayed=lambda block: dask.delayed(X[starts[block] : starts[block + 1]]),
    )
    labels, weights = np.arange(len(X)), np.linspace(1.0, 2.0, len(X))
    return SimpleNamespace(
        source=source,
        X=X,
        labels=labels,
        weights=weights,
        projection=lambda X, dtype: (2 * X).astype(dtype),
        dtype="float64",
    )


def test_sum_of_all_partitions(streamed):
    def moments(rows):
        assert len(rows.labels) > 0
        return rows.weights @ rows.projected, rows.labels.sum()

    first, second = sum_over_samples(streamed, moments)
    np.testing.assert_allclose(first, 2 * streamed.weights @ streamed.X, rtol=1e-12)
    assert second == streamed.labels.sum()
    assert len(streamed.source.client.tasks) == 1  # only one sum is transferred


def test_partitions_are_read_with_labels_and_weights(streamed):
    read, part = reader(streamed), streamed.source.rows(0)
    rows = read(0).compute(scheduler="synchronous")
    np.testing.assert_array_equal(rows.projected, 2 * streamed.X[part])
    np.testing.assert_array_equal(rows.labels, streamed.labels[part])
    np.testing.assert_array_equal(rows.weights, streamed.weights[part])
