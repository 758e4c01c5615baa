import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sksngp._data import projection, sources
from sksngp._data.projection import LARGEST, fit_projection, standardize_samples
from sksngp._tensorflow import array_namespace


def fit(X, weights=None, *, num_hidden=16, members=1, standardize=True, seed=0):
    weights = np.ones(len(X)) if weights is None else weights
    return fit_projection(
        X,
        weights,
        num_hidden=num_hidden,
        members=members,
        standardize=standardize,
        rng=np.random.default_rng(seed),
    )


def table(n=200, columns=5, seed=0):
    """Return correlated features with different means and scales."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns)) @ rng.normal(size=(columns, columns))
    return X * rng.uniform(0.1, 50, columns) + rng.normal(0, 100, columns)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_FLOATS", 100)


# At most as many features as hidden units


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("columns", [1, 5, 15, 16])
def test_few_features_preserve_distances(columns, standardize):
    X = table(60, columns)
    fitted = fit(X, standardize=standardize)
    inputs = StandardScaler().fit_transform(X) if standardize else X
    gain = np.sqrt(2 * 16 / (16 + columns))
    np.testing.assert_allclose(pdist(fitted(X)), gain * pdist(inputs), rtol=1e-9)


def test_gain_is_that_of_a_glorot_layer_on_average():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5))
    limit = np.sqrt(6 / (5 + 16))
    glorot = rng.uniform(-limit, limit, size=(2000, 5, 16))
    expected = np.mean(np.square(X @ glorot))
    fitted = fit(X, standardize=False)
    assert np.mean(np.square(fitted(X))) == pytest.approx(expected, rel=0.02)


# More features than hidden units


def decaying(n=400, columns=80):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    return rng.normal(size=(n, columns)) * 0.9 ** np.arange(columns) @ rotation


WIDE = {
    "digits": (load_digits().data[:500], 0.97),
    "decaying spectrum": (decaying(), 0.99),
    "no structure": (np.random.default_rng(1).normal(size=(400, 80)), 0.93),
    "fewer rows than hidden units": (decaying(n=10), 1 - 1e-9),
}


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("X", "share"), WIDE.values(), ids=WIDE)
def test_many_features_preserve_nearly_the_variance_of_pca(X, share, standardize):
    fitted = fit(X, standardize=standardize)
    inputs = standardize_samples(fitted.scaler, X, tail=fitted.tail)
    largest = min(16, len(X) - 1)
    best = PCA(largest, svd_solver="full").fit(inputs).explained_variance_.sum()
    kept = fitted(X).var(axis=0, ddof=1).sum()
    assert share * best <= kept <= best * (1 + 1e-9)
    kernel = fitted.kernel[0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(16), atol=1e-12)


def test_many_features_never_increase_distances():
    X = decaying(60)
    ratios = pdist(fit(X, standardize=False)(X)) / pdist(X)
    assert ratios.max() <= 1 + 1e-12
    assert ratios.min() > 0.5


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("columns", [5, 40])
def test_memory_layout_does_not_change_the_result(columns, standardize):
    X = table(200, columns)
    expected = fit(X, standardize=standardize)
    for layout in (np.asfortranarray(X), X[::-1].copy()[::-1]):
        fitted = fit(layout, standardize=standardize)
        np.testing.assert_array_equal(fitted.kernel, expected.kernel)
        np.testing.assert_array_equal(fitted(layout), expected(X))


# Ensemble members


@pytest.mark.parametrize("columns", [5, 40])
def test_members_are_rotations_of_each_other(columns):
    X = table(60, columns)
    fitted = fit(X, members=3)
    projected = fitted(X)
    assert projected.shape == (3, 60, 16)
    first, *others = fitted.kernel
    for kernel, rows in zip(others, projected[1:], strict=True):
        np.testing.assert_allclose(kernel @ kernel.T, first @ first.T, atol=1e-10)
        np.testing.assert_allclose(pdist(rows), pdist(projected[0]), rtol=1e-9)
        assert not np.allclose(kernel, first, atol=0.1)


def test_rotations_are_uniform():
    """Mean 0 and variance 1 / size of each entry; QR alone is biased."""
    rng = np.random.default_rng(0)
    drawn = np.stack([projection._random_orthonormal(rng, 4, 2) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=5 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(np.square(drawn).mean(axis=0), 1 / 4, atol=0.02)


def test_the_generator_is_the_only_source_of_randomness():
    X = decaying(60)
    first, second, other = (fit(X, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.kernel, second.kernel)
    assert not np.allclose(first.kernel, other.kernel)


# Sample weights


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("columns", [5, 40])
def test_weight_is_repetition(columns, standardize):
    X = table(150, columns)
    counts = np.random.default_rng(1).integers(0, 4, size=len(X))
    weighted = fit(X, counts.astype(float), standardize=standardize)
    repeated = fit(np.repeat(X, counts, axis=0), standardize=standardize)
    np.testing.assert_allclose(weighted(X), repeated(X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("columns", [5, 40])
def test_unit_of_the_weights_does_not_matter(columns):
    X = table(150, columns)
    weights = np.random.default_rng(1).uniform(0.1, 2, size=len(X))
    np.testing.assert_allclose(
        fit(X, weights)(X), fit(X, 1024 * weights)(X), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("columns", [5, 40])
def test_samples_of_weight_zero_are_ignored(columns, small_chunks):
    X = table(150, columns)
    weights = np.ones(150)
    weights[20:90] = 0.0  # whole chunks, and parts of some
    spoilt = X.copy()
    spoilt[20:90] *= 1e6
    expected = fit(X[weights > 0])
    np.testing.assert_allclose(
        fit(spoilt, weights)(X), expected(X), rtol=1e-6, atol=1e-8
    )


# Chunks


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("columns", [5, 40])
@pytest.mark.parametrize("members", [1, 2])
def test_chunks_do_not_change_the_result(
    columns, standardize, members, monkeypatch, request
):
    X = table(150, columns)
    weights = np.random.default_rng(1).uniform(0.1, 2, size=len(X))
    whole = fit(X, weights, standardize=standardize, members=members)
    expected = whole(X)
    request.getfixturevalue("small_chunks")
    chunked = fit(X, weights, standardize=standardize, members=members)
    np.testing.assert_allclose(whole(X), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(chunked(X), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [5, 40])
def test_memory_map_is_read_and_not_written(columns, dtype, tmp_path):
    X = table(150, columns).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = fit(X)(X)
    np.testing.assert_array_equal(fit(mapped)(mapped), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)


def test_computations_use_float64_for_all_types():
    X = table().astype(np.float32)
    fitted = fit(X)
    expected = fitted(X.astype(np.float64))
    np.testing.assert_array_equal(fitted(X), expected)
    single = fitted(X, "float32")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, expected.astype(np.float32))


# Standardization


@pytest.mark.parametrize("columns", [5, 40])
def test_rescaling_fits_the_scaler_to_all_samples(columns):
    parts = [table(70, columns, seed) for seed in range(3)]
    weights = [np.random.default_rng(9 + i).uniform(0.1, 2, 70) for i in range(3)]
    first = fitted = fit(parts[0], weights[0])
    before = first.scaler.mean_.copy(), first.scaler.scale_.copy()
    for X, w in zip(parts[1:], weights[1:], strict=True):
        fitted = fitted.rescaled(X, w, before=fitted.scaler)
    expected = StandardScaler().fit(
        np.concatenate(parts), sample_weight=np.concatenate(weights)
    )
    np.testing.assert_allclose(fitted.scaler.mean_, expected.mean_, rtol=1e-10)
    np.testing.assert_allclose(fitted.scaler.scale_, expected.scale_, rtol=1e-10)
    np.testing.assert_array_equal(fitted.kernel, first.kernel)
    np.testing.assert_array_equal(first.scaler.mean_, before[0])
    np.testing.assert_array_equal(first.scaler.scale_, before[1])


def test_rescaling_without_scaler_changes_nothing():
    fitted = fit(table(), standardize=False)
    assert fitted.scaler is None
    assert fitted.rescaled(table(seed=1), np.ones(200)) is fitted


def test_standardize_samples_equals_the_scaler_without_side_effects():
    X = table()
    before = X.copy()
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(
        standardize_samples(scaler, X), scaler.transform(X), rtol=1e-12
    )
    assert standardize_samples(None, X) is not X
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("columns", [3, 40])
def test_constant_columns_and_huge_values_stay_finite(columns):
    X = table(50, columns)
    X[:, 0] = 7.0
    X[:, 1] = np.arange(50) * 1e-200
    fitted = fit(X)
    far = np.full((2, columns), 1e150) * [[1.0], [-1.0]]
    assert np.isfinite(fitted(X)).all()
    for dtype, largest in LARGEST.items():
        assert np.isfinite(fitted(far, dtype)).all()
        assert np.abs(standardize_samples(fitted.scaler, far, largest)).max() <= largest


# Extreme values


def with_extreme_cells(X, share, value, seed=0):
    rows = np.random.default_rng(seed).random(len(X)) < share
    X = X.copy()
    X[rows, 0] = value
    return X


@pytest.mark.parametrize(
    ("share", "value"), [(0.01, 1e4), (0.01, 1e12), (0.05, -999.0), (0.1, 1e6)]
)
def test_few_extreme_values_do_not_determine_the_scale(share, value):
    X = np.random.default_rng(0).normal(size=(1000, 2))
    scaler = fit(with_extreme_cells(X, share, value)).scaler
    # The effect is at most that of values at ten standard deviations.
    assert scaler.scale_[0] < 1.2 * np.sqrt(1 + 110 * share)
    assert abs(scaler.mean_[0]) < 12 * share + 0.1


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(np.arange(500.0) % 2, id="binary"),
        pytest.param((np.arange(500) < 5).astype(float), id="one in a hundred"),
        pytest.param(np.zeros(500), id="constant"),
        pytest.param(np.random.default_rng(0).normal(size=500), id="normal"),
        pytest.param(np.random.default_rng(0).exponential(size=500), id="exponential"),
    ],
)
def test_ordinary_columns_are_standardized(column):
    expected = StandardScaler().fit(column[:, None])
    scaler = fit(column[:, None]).scaler
    np.testing.assert_allclose(scaler.mean_, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale_, expected.scale_, rtol=1e-12)


def test_weights_are_repetitions_for_the_scale():
    X = with_extreme_cells(table(60, 3), 0.1, 1e9)
    repeats = 1 + np.arange(60) % 3
    weighted, repeated = fit(X, repeats.astype(float)), fit(X.repeat(repeats, axis=0))
    np.testing.assert_allclose(weighted.scaler.mean_, repeated.scaler.mean_, rtol=1e-10)
    np.testing.assert_allclose(
        weighted.scaler.scale_, repeated.scaler.scale_, rtol=1e-10
    )


def test_samples_without_weight_do_not_affect_the_scale():
    X = table(100, 3)
    weights = np.ones(100)
    weights[60:] = 0
    X[60:] *= 1e6
    some, all_ = fit(X, weights), fit(X[:60])
    np.testing.assert_allclose(some.scaler.scale_, all_.scaler.scale_, rtol=1e-12)


def test_tails_are_compressed_and_keep_their_order():
    scaler = StandardScaler().fit([[-1.0], [1.0]])
    values = np.array([[-1e300], [-9.0], [-8.0], [0.0], [8.0], [9.0], [1e3], [1e6]])
    found = standardize_samples(scaler, values, tail=8.0)[:, 0]
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found[2:6], [-8, 0, 8, 8 + np.log(2)], rtol=1e-12)
    np.testing.assert_array_equal(
        standardize_samples(scaler, values[1:])[:, 0], values[1:, 0]
    )


def test_quantiles_of_many_samples_are_those_of_a_part(monkeypatch):
    X = with_extreme_cells(table(5000, 3), 0.01, 1e9)
    whole = fit(X).scaler.scale_
    monkeypatch.setattr(projection, "QUANTILE_SAMPLES", 500)
    np.testing.assert_allclose(fit(X).scaler.scale_, whole, rtol=0.1)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardized_arrays_and_tensors_are_equal(standardize, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) * [1.0, 1e-3, 1e3]
    fitted = fit_projection(
        X, np.ones(50), num_hidden=4, members=1, standardize=standardize, rng=rng
    )
    rows = np.concatenate([X, 1e3 * X, [[0.0, -1e300, 1e300]]])
    expected = standardize_samples(fitted.scaler, rows, LARGEST[dtype], fitted.tail)
    for namespace, array in ((np, rows), (array_namespace, tf.constant(rows))):
        found = fitted.standardized(array, dtype, namespace)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
