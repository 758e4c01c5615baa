"""The orders and the far samples of the benchmark of streams."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks.streams import FAR, ORDERS, far_samples, ordered


@pytest.mark.parametrize("order", ORDERS)
def test_orders_contain_each_sample_once(order):
    X, y = np.arange(300.0)[:, None], np.arange(300) % 3
    X_new, y_new = ordered(X, y, order, np.random.default_rng(0))
    assert_array_equal(np.sort(y_new), np.sort(y))
    wild = np.abs(X_new).max(axis=1) > 1e4
    assert wild.sum() == (3 if order == "wild" else 0)
    assert_array_equal(y_new[~wild], X_new[~wild, 0] % 3)
    if order == "sorted":
        assert (np.diff(y_new) >= 0).all()
    if order == "one class first":
        assert len(np.unique(y_new[:30])) == 1 < len(np.unique(y_new[:40]))


def test_far_samples():
    X, scale = np.zeros((100, 4)), np.array([1.0, 2.0, 0.0, 4.0])
    far = far_samples(X, scale, np.random.default_rng(0))
    single, others = far[::2], far[1::2]
    assert ((single != 0).sum(axis=1) == 1).all()
    assert_allclose((np.abs(single) / np.where(scale, scale, 1)).max(axis=1), FAR)
    assert (others[:, [0, 1, 3]] != 0).all() and (far[:, 2] == 0).all()
