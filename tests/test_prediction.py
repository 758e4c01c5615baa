import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sksngp import pool, projection


@pytest.fixture(params=[16, 128], ids="width {}".format)
def fitted(request, make, iris):
    """A float32 classifier, and rows enough for blocks of every size."""
    X, y = iris
    clf = make(num_hidden=request.param).fit(X, y)
    rows = np.random.default_rng(0).normal(size=(2500, 4)) * X.std(axis=0)
    return clf, X.mean(axis=0) + 2 * rows


def test_a_row_does_not_feel_the_rows_beside_it(fitted, outputs):
    clf, rows = fitted
    together = outputs(clf, rows)
    order = np.random.default_rng(1).permutation(len(rows))
    assert_array_equal(outputs(clf, rows[order]), together[order])
    for size in (1, 7, 64, 65, 300, 1024, 1025):
        assert_array_equal(outputs(clf, rows[-size:]), together[-size:])


def test_threads_do_not_change_the_result(fitted, outputs, monkeypatch):
    clf, rows = fitted
    results = []
    for threads in (1, 4):
        monkeypatch.setattr(pool, "num_threads", lambda n=threads: n)
        results.append(outputs(clf, rows))
    assert_array_equal(*results)


def test_float32_predicts_what_float64_does(fitted):
    clf, rows = fitted
    exact = copy.copy(clf)
    exact.architecture_ = {**clf.architecture_, "dtype": "float64"}
    assert_allclose(clf.predict_proba(rows), exact.predict_proba(rows), atol=1e-4)
    for kind in ("total", "aleatoric", "epistemic"):
        assert_allclose(
            clf.predict_uncertainty(rows, kind=kind),
            exact.predict_uncertainty(rows, kind=kind),
            rtol=1e-3,
            atol=1e-5,
        )


@pytest.mark.parametrize("n", [1, 63, 64, 65, 256, 257, 1024, 1025, 3000])
@pytest.mark.parametrize("width", [1, 5000, 10**6])
def test_blocks_cover_the_rows_in_few_sizes(n, width):
    X = np.arange(1.0, n + 1)[:, None]
    seen = []
    for rows, block in projection.padded_blocks(X, width):
        assert len(block) in projection.BLOCK_SIZES
        assert len(block) == 64 or len(block) * width <= 2**22
        assert_array_equal(block[: rows.stop - rows.start], X[rows])
        assert not block[rows.stop - rows.start :].any()
        seen.append(X[rows])
    assert_array_equal(np.concatenate(seen), X)
