"""The largest eigenvalue, compared with that of NumPy."""

import numpy as np
import pytest

from sksngp._tensorflow.lanczos import largest_eigenvalue

SIZE = 60


def operator(eigenvalues, seed=0):
    """Return a symmetric matrix with these eigenvalues, and its eigenvectors."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))
    return (vectors * eigenvalues) @ vectors.T, vectors


SPECTRA = {
    "even": np.linspace(0, 1, SIZE),
    "one large eigenvalue": np.r_[np.ones(SIZE - 1), 100.0],
    "large eigenvalues close together": 1 - np.geomspace(1e-6, 0.9, SIZE),
    "equal": np.full(SIZE, 7.0),
    "rank one": np.r_[np.zeros(SIZE - 1), 3.0],
    "tiny": 1e-30 * np.linspace(0, 1, SIZE),
    "huge": 1e30 * np.linspace(0, 1, SIZE),
}


@pytest.mark.parametrize("eigenvalues", SPECTRA.values(), ids=SPECTRA)
def test_largest_eigenvalue(eigenvalues):
    matrix, _ = operator(eigenvalues)
    for seed in range(3):
        start = np.random.default_rng(seed).normal(size=SIZE)
        found = largest_eigenvalue(lambda x: matrix @ x, start)
        assert found == pytest.approx(eigenvalues.max(), rel=1e-3)


def test_operator_of_zeros():
    assert largest_eigenvalue(np.zeros_like, np.ones(5)) == 0.0


def test_size_one():
    assert largest_eigenvalue(lambda x: 3 * x, np.ones(1)) == pytest.approx(3.0)


def products(matrix, start, **settings):
    """Return the result and the number of products."""
    calls = []

    def multiply(vector):
        calls.append(vector)
        return matrix @ vector

    return largest_eigenvalue(multiply, start, **settings), len(calls)


def test_a_start_close_to_the_eigenvector_needs_few_products():
    matrix, vectors = operator(SPECTRA["even"])
    noise = np.random.default_rng(0).normal(size=SIZE) / np.sqrt(SIZE)
    _, cold = products(matrix, noise)
    _, warm = products(matrix, vectors[:, -1] + 0.01 * noise)
    assert warm < cold / 2


def test_the_number_of_products_is_bounded():
    matrix, _ = operator(SPECTRA["large eigenvalues close together"])
    start = np.random.default_rng(0).normal(size=SIZE)
    found, count = products(matrix, start, tolerance=0.0, max_steps=5)
    assert count == 5
    assert 0.5 < found < 1.5  # a Ritz value and its residual
