import pickle
import warnings

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from reference import variance_of
from scipy.special import expit, softmax

from sksngp._tensorflow.layers import official_layers
from sksngp._uncertainty.posterior import (
    ROUNDING,
    TRUNCATION,
    Posterior,
    add_rows,
    average_rows,
    factorize,
    mean_field_probability,
    prior_precision,
    sampled_probability,
)

gaussian_process = official_layers("gaussian_process.py")

SHAPES = [(5, 12), (40, 12), (500, 30)]  # fewer and more samples than features


def draw(n, m, seed=0):
    """Return features of approximately unit length, like random features."""
    return np.random.default_rng(seed).normal(size=(n, m)) / np.sqrt(m)


def proba(n, k, seed=1):
    return softmax(3 * np.random.default_rng(seed).normal(size=(n, k)), axis=1)


def learn(features, weights, ridge, scale=None):
    """Return the posterior of all samples, with one group per column of weights."""
    weights = weights if weights.ndim == 2 else weights[:, None]
    scale = ridge if scale is None else scale
    start = prior_precision(features.shape[1], ridge, weights.shape[1])
    return factorize(add_rows(start, [(features, weights)]), scale)


def closed_form(features, weights, rows, ridge, scale=None):
    """Compute the variance from its definition with a general solver."""
    precision = ridge * np.eye(features.shape[1])
    precision += (features * weights[:, None]).T @ features
    scale = ridge if scale is None else scale
    return scale * np.sum(rows.T * np.linalg.solve(precision, rows.T), axis=0)


# Variance


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ridge", [1e-3, 0.1, 1.0, 50.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_shared_variance_is_the_closed_form(shape, ridge, weighted):
    features, rows = draw(*shape), draw(60, shape[1], seed=1)
    weights = np.ones(shape[0])
    if weighted:
        weights = np.random.default_rng(2).uniform(0, 3, shape[0])
    variance = variance_of(learn(features, weights, ridge), rows)
    expected = closed_form(features, weights, rows, ridge)
    assert variance.shape == (60, 1)
    np.testing.assert_allclose(variance[:, 0], expected, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 4])
def test_per_class_variance_is_the_closed_form(shape, classes):
    features, rows = draw(*shape), draw(60, shape[1], seed=1)
    p = proba(shape[0], classes)
    weights = np.random.default_rng(2).uniform(0.5, 3, shape[0])[:, None]
    variance = variance_of(learn(features, weights * p * (1 - p), 0.1, scale=1.0), rows)
    assert variance.shape == (60, classes)
    for k in range(classes):
        expected = closed_form(
            features, weights[:, 0] * p[:, k] * (1 - p[:, k]), rows, 0.1, scale=1.0
        )
        np.testing.assert_allclose(variance[:, k], expected, rtol=1e-9)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.integers(1, 20),
    st.floats(1e-6, 1e3),
    st.sampled_from([1e-6, 1.0, 1e3]),
)
def test_variance_is_positive_falls_with_rows_and_stays_below_the_prior(
    seed, n, m, ridge, size
):
    features, rows = draw(n, m, seed), draw(8, m, seed + 1)
    none, some, all_ = (
        variance_of(learn(features[:k], np.full(k, size), ridge), rows)
        for k in (0, n // 2, n)
    )
    np.testing.assert_allclose(none[:, 0], np.square(rows).sum(axis=1), rtol=1e-12)
    assert (all_ > 0).all()
    assert (all_ <= some * (1 + 1e-9)).all() and (some <= none * (1 + 1e-9)).all()


@pytest.mark.parametrize("scale", ["ridge", 1.0])
def test_prior(scale):
    scale = 0.3 if scale == "ridge" else scale
    before = factorize(prior_precision(7, 0.3, 2), scale)
    np.testing.assert_allclose(before.precision, [0.3 * np.eye(7)] * 2, rtol=1e-14)
    rows = draw(9, 7)
    expected = scale / 0.3 * np.square(rows).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        variance_of(before, rows), expected.repeat(2, 1), rtol=1e-12
    )


def test_float32_features_are_summed_and_solved_in_float64():
    features, rows = draw(400, 20).astype(np.float32), draw(5, 20, 1).astype(np.float32)
    variance = variance_of(learn(features, np.ones(400), 1e-4), rows)
    expected = closed_form(
        features.astype(np.float64), np.ones(400), rows.astype(np.float64), 1e-4
    )
    assert variance.dtype == np.float64
    np.testing.assert_allclose(variance[:, 0], expected, rtol=1e-6)


# Updates


@pytest.mark.parametrize("groups", [1, 3])
def test_chunks_give_the_same_posterior_as_all_samples(groups):
    features = draw(100, 12)
    weights = np.random.default_rng(3).uniform(0, 2, size=(100, groups))
    start = prior_precision(12, 0.5, groups)
    kept = start.copy()
    whole = add_rows(start, [(features, weights)])
    parts = [(features[i : i + 7], weights[i : i + 7]) for i in range(0, 100, 7)]
    np.testing.assert_allclose(add_rows(start, parts), whole, rtol=1e-12, atol=1e-14)
    two_calls = add_rows(add_rows(start, parts[:4]), iter(parts[4:]))
    np.testing.assert_allclose(two_calls, whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(start, kept)


@pytest.mark.parametrize("update", [add_rows, average_rows])
def test_weight_is_repetition(update):
    features = draw(30, 12)
    counts = np.random.default_rng(3).integers(0, 4, size=30)
    start = prior_precision(12, 0.5, 1)
    repeated = np.repeat(features, counts, axis=0)
    if update is average_rows:  # count the samples of the mean
        counts, momentum = counts * (30 / counts.sum()), (0.9,)
    else:
        momentum = ()
    ours = update(start, [(features, counts[:, None])], *momentum)
    expected = update(start, [(repeated, np.ones((len(repeated), 1)))], *momentum)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.1, 0.9, 0.999])
def test_moving_average_equals_the_reference(momentum):
    features = draw(90, 12)
    weights = np.random.default_rng(3).uniform(0, 2, size=(90, 2))
    parts = [(features[i : i + 20], weights[i : i + 20]) for i in range(0, 90, 20)]
    start = prior_precision(12, 0.5, 2)
    ours = average_rows(start, parts, momentum)
    for group in range(2):
        expected = momentum ** len(parts) * 0.5 * np.eye(12)
        for age, (phi, w) in enumerate(reversed(parts)):
            outer = sum(
                wi * np.outer(row, row)
                for wi, row in zip(w[:, group], phi, strict=True)
            )
            expected += (1 - momentum) * momentum**age * outer / len(phi)
        np.testing.assert_allclose(ours[group], expected, rtol=1e-12, atol=1e-14)


# Comparison with tf-models-official


def official_variance(layer, parts, rows):
    layer.build(parts[0].shape)
    layer.reset_precision_matrix()
    for part in parts:
        layer(tf.constant(part), training=True)
    return np.diag(layer(tf.constant(rows), training=False))


@pytest.mark.parametrize("momentum", [-1, 0.5, 0.999])
@pytest.mark.parametrize("ridge", [0.1, 1.0])
def test_variance_is_that_of_the_official_layer(momentum, ridge):
    """The comparison uses float32, because the official layer requires it."""
    features, rows = draw(90, 12).astype("float32"), draw(25, 12, 1).astype("float32")
    parts = [features[i : i + 20] for i in range(0, 90, 20)]
    layer = gaussian_process.LaplaceRandomFeatureCovariance(
        momentum=momentum, ridge_penalty=ridge
    )
    expected = official_variance(layer, parts, rows)
    chunks = [(part.astype(np.float64), np.ones((len(part), 1))) for part in parts]
    start = prior_precision(12, ridge, 1)
    if momentum > 0:
        precision = average_rows(start, chunks, momentum)
    else:
        precision = add_rows(start, chunks)
    np.testing.assert_allclose(precision[0], layer.precision_matrix, atol=1e-5)
    variance = variance_of(factorize(precision, ridge), rows)[:, 0]
    np.testing.assert_allclose(variance, expected, rtol=2e-4)


def test_per_class_variance_is_the_official_binary_one():
    """For two classes, p (1 - p) is that of the logistic function, without ridge."""
    features, rows = draw(90, 12), draw(25, 12, seed=1)
    logit = 2 * np.random.default_rng(4).normal(size=(90, 1))
    layer = gaussian_process.LaplaceRandomFeatureCovariance(
        momentum=-1, ridge_penalty=0.1, likelihood="binary_logistic", dtype="float64"
    )
    layer.build(features.shape)
    layer(tf.constant(features), tf.constant(logit), training=True)
    expected = np.diag(layer(tf.constant(rows), training=False)) / 0.1
    p = np.hstack([expit(logit), expit(-logit)])
    variance = variance_of(learn(features, p * (1 - p), 0.1, scale=1.0), rows)
    np.testing.assert_allclose(variance, expected[:, None].repeat(2, 1), rtol=1e-6)


@pytest.mark.parametrize("factor", [0.0, np.pi / 8, 3 / np.pi**2, 25.0])
def test_mean_field_is_the_official_one(factor):
    rng = np.random.default_rng(0)
    logits, variance = 5 * rng.normal(size=(40, 3)), rng.gamma(1.0, size=40)
    official = gaussian_process.mean_field_logits(
        tf.constant(logits), tf.constant(np.diag(variance)), factor
    )
    ours = mean_field_probability(logits, variance[:, None], factor)
    np.testing.assert_allclose(ours, softmax(official, axis=1), rtol=1e-6)


# Factorization


@pytest.mark.parametrize("groups", [1, 3])
def test_factor_is_that_of_the_precision(groups):
    features = draw(50, 12)
    weights = np.random.default_rng(3).uniform(0, 2, size=(50, groups))
    precision = add_rows(prior_precision(12, 1e-6, groups), [(features, weights)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factorised = factorize(precision, 0.7)
    assert factorised.scale == 0.7
    np.testing.assert_array_equal(factorised.factor, np.tril(factorised.factor))
    np.testing.assert_allclose(factorised.precision, precision, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_singular_matrix_is_regularized_with_a_warning(size):
    features = size * draw(4, 12)
    singular = (features.T @ features)[None]
    with pytest.warns(RuntimeWarning, match=r"added .* Increase ridge_penalty"):
        mended = factorize(singular, 1.0)
    unit = np.trace(singular[0]) / 12
    added = mended.precision[0] - singular[0]
    jitter = np.diag(added).mean()
    assert 0 < jitter <= 1.01e-6 * unit
    np.testing.assert_allclose(added, jitter * np.eye(12), atol=1e-13 * unit)
    assert np.isfinite(variance_of(mended, draw(5, 12))).all()


def test_indefinite_matrix_raises_an_error():
    with pytest.raises(np.linalg.LinAlgError, match="Increase ridge_penalty"):
        factorize(np.diag([1.0, 1.0, -0.5])[None], 1.0)


# Probabilities


def gaussian_average(logits, variance):
    """Compute the mean softmax of two logits by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    mean = logits[:, 1] - logits[:, 0]
    deviation = np.sqrt(np.broadcast_to(variance, logits.shape).sum(axis=1))
    average = expit(mean[:, None] + deviation[:, None] * nodes) @ weights
    average /= weights.sum()
    return np.column_stack([1 - average, average])


@pytest.mark.parametrize("columns", [1, 2])
def test_sampling_converges_to_the_quadrature(columns):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(30, 2))
    variance = rng.gamma(2.0, size=(30, columns))
    exact = gaussian_average(logits, variance)
    errors = {}
    for draws in (100, 10000):
        noise = rng.standard_normal((20, draws, 2))[: 20 if draws == 100 else 2]
        errors[draws] = np.mean(
            [
                np.abs(sampled_probability(logits, variance, z) - exact).mean()
                for z in noise
            ]
        )
        assert errors[draws] < 0.5 / np.sqrt(draws)  # no softmax deviates by more
    assert errors[10000] < errors[100] / 4


def test_sampling_many_classes_converges_to_a_large_sample():
    rng = np.random.default_rng(0)
    logits, variance = 2 * rng.normal(size=(10, 5)), rng.gamma(2.0, size=(10, 5))
    big = softmax(
        logits + np.sqrt(variance) * rng.standard_normal((100000, 1, 5)), axis=-1
    ).mean(axis=0)
    ours = sampled_probability(logits, variance, rng.standard_normal((20000, 5)))
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(ours, big, atol=5 * 0.5 / np.sqrt(20000))


@pytest.mark.parametrize("columns", [1, 4])
def test_sampled_probabilities_are_independent_of_other_samples(columns):
    rng = np.random.default_rng(0)
    logits, variance = rng.normal(size=(9, 4)), rng.gamma(1.0, size=(9, columns))
    noise = rng.standard_normal((50, 4))
    whole = sampled_probability(logits, variance, noise)
    for i in range(9):
        alone = sampled_probability(logits[[i]], variance[[i]], noise)
        np.testing.assert_array_equal(alone[0], whole[i])


def test_without_variance_or_factor_it_is_the_softmax():
    rng = np.random.default_rng(0)
    logits, variance = 5 * rng.normal(size=(40, 3)), rng.gamma(1.0, size=(40, 1))
    expected = softmax(logits, axis=1)
    np.testing.assert_array_equal(
        mean_field_probability(logits, variance, 0.0), expected
    )
    np.testing.assert_array_equal(
        mean_field_probability(logits, 0 * variance, np.pi / 8), expected
    )
    np.testing.assert_allclose(
        sampled_probability(logits, 0 * variance, rng.standard_normal((7, 3))), expected
    )


def test_huge_variance_gives_uniform_probabilities_in_the_same_order():
    logits = np.array([[3.0, 1.0, -4.0]])
    far = mean_field_probability(logits, np.array([[1e12]]), np.pi / 8)
    np.testing.assert_allclose(far, 1 / 3, atol=1e-4)
    assert far.argmax() == 0


@pytest.mark.parametrize("variance", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(
    ("classes", "better", "worse", "error"),
    [(2, np.pi / 4, np.pi / 8, 0.01), (10, np.pi / 8, np.pi / 4, 0.035)],
)
def test_mean_field_is_close_to_sampling(classes, better, worse, error, variance):
    """The factor pi/4 is more accurate for 2 classes, and pi/8 for 10 classes."""
    rng = np.random.default_rng(0)
    logits, variance = 2 * rng.normal(size=(200, classes)), np.full((200, 1), variance)
    sampled = sampled_probability(
        logits, variance, rng.standard_normal((4000, classes))
    )
    errors = {
        factor: np.abs(mean_field_probability(logits, variance, factor) - sampled).sum(
            1
        )
        for factor in (0.0, better, worse)
    }
    total_variation = {factor: e.mean() / 2 for factor, e in errors.items()}
    assert total_variation[better] < error
    assert total_variation[better] < total_variation[worse]
    assert total_variation[better] < total_variation[0.0] / 2


# Low-rank factors


def low_dimensional(n, num_features=256, ridge=1.0, seed=0, scale=2.0):
    """Return the posterior of samples in the plane, and features near and far away."""
    rng = np.random.default_rng(seed)
    omega = rng.normal(size=(2, num_features)) / scale
    shift = rng.uniform(0, 2 * np.pi, num_features)

    def features(rows):
        return np.sqrt(2 / num_features) * np.cos(rows @ omega + shift)

    train, far = rng.normal(size=(n, 2)), rng.normal(size=(100, 2)) * 30
    start = prior_precision(num_features, ridge, 1)
    precision = add_rows(start, [(features(train), np.ones((n, 1)))])
    rows = features(np.vstack([train[:100], far]))
    return factorize(precision, ridge, ridge), rows


@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize("ridge", [0.5, 1.0])
def test_low_rank_factor_gives_variances_within_the_stated_error(n, ridge):
    fitted, rows = low_dimensional(n, ridge=ridge)
    directions = fitted.low_rank_factor
    assert directions.shape[0] == 256 and directions.shape[1] < 64
    squares = np.square(rows).sum(axis=1) - np.square(rows @ directions).sum(axis=1)
    exact = variance_of(fitted, rows)[:, 0] * ridge / fitted.scale
    error = np.abs(squares / exact - 1)
    assert error.max() <= TRUNCATION
    assert error.max() > TRUNCATION / 1e4  # otherwise, nothing was omitted


def test_no_low_rank_factor_for_high_rank_or_moving_averages():
    many, _ = low_dimensional(2000, scale=0.05)
    assert many.low_rank_factor is None
    few, _ = low_dimensional(200)
    assert few.low_rank_factor is not None
    assert factorize(few.precision, 1.0).low_rank_factor is None  # a moving average
    per_class = factorize(np.repeat(few.precision, 2, axis=0), 1.0, 1.0)
    assert per_class.low_rank_factor is None
    for nothing, _ in (low_dimensional(0), low_dimensional(50, ridge=1e6)):
        assert nothing.low_rank_factor is None  # all scores would be equal
    small, _ = low_dimensional(200, num_features=20)
    assert small.low_rank_factor is None
    fine, _ = low_dimensional(2000, ridge=1e-2)
    assert fine.low_rank_factor is None  # float32 could not distinguish the variances


def test_pickle_omits_cached_matrices():
    fitted, rows = low_dimensional(200)
    bytes_before = len(pickle.dumps(fitted))
    expected = variance_of(fitted, rows), fitted.low_rank_factor
    assert len(pickle.dumps(fitted)) == bytes_before < 0.51 * fitted.factor.nbytes + 500
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(variance_of(again, rows), expected[0])
    np.testing.assert_array_equal(again.low_rank_factor, expected[1])
    np.testing.assert_array_equal(again.precision, fitted.precision)


@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_rounding_changes_variances_by_less_than_stated(ridge):
    fitted, rows = low_dimensional(400, ridge=ridge)
    rounded = fitted.rounded()
    assert rounded.triangle.dtype == np.float32
    assert rounded.factor.dtype == np.float64
    ratio = variance_of(rounded, rows) / variance_of(fitted, rows)
    assert 0 < np.abs(ratio - 1).max() < ROUNDING
    again = pickle.loads(pickle.dumps(rounded))
    np.testing.assert_array_equal(variance_of(again, rows), variance_of(rounded, rows))


def test_bound_of_rounding_holds_in_the_worst_direction():
    fitted, _ = low_dimensional(400, num_features=32)
    rounded = fitted.rounded()
    left = np.linalg.solve(fitted.factor[0], rounded.factor[0])
    values = np.linalg.svd(left, compute_uv=False)
    assert np.abs(values**-2.0 - 1).max() < ROUNDING / 10


def test_factors_are_not_rounded_if_variances_could_change():
    many, _ = low_dimensional(400, num_features=32, ridge=1e-7)
    assert many.rounded() is many
    average = factorize(many.precision, 1.0)  # has no least eigenvalue
    assert average.rounded() is average
    large = factorize(1e90 * np.eye(3)[None], 1.0, 1e90)
    assert large.rounded() is large
    small = factorize(1e-100 * np.eye(3)[None], 1.0, 1e-100)
    assert small.rounded() is small


def test_older_models_store_square_matrices():
    fitted, _ = low_dimensional(50, num_features=5)
    again = object.__new__(Posterior)
    again.__setstate__({"factor": fitted.factor, "scale": fitted.scale, "ridge": 1.0})
    np.testing.assert_array_equal(again.factor, fitted.factor)
    assert pickle.dumps(again) == pickle.dumps(fitted)


@pytest.mark.parametrize("shape", [(1, 4), (1, 2), (0, 3), (0, 10**18), (1, 0), (6,)])
def test_arrays_that_hold_no_triangles_are_rejected(shape):
    wrong = Posterior(np.ones(shape), 1.0)
    for name in ("factor", "diagonal"):
        with pytest.raises(ValueError, match=r"no triangles|unpack"):
            getattr(wrong, name)


@pytest.mark.parametrize("shape", [(1, 3, 2), (0, 10**9, 10**9), (1, 0, 0)])
def test_arrays_that_hold_no_square_matrices_are_rejected(shape):
    wrong = object.__new__(Posterior)
    wrong.__setstate__({"factor": np.ones(shape), "scale": 1.0, "ridge": None})
    with pytest.raises(ValueError, match="no matrices"):
        wrong.triangle  # noqa: B018


@pytest.mark.parametrize("names", [["whitening"], ["factor"], []])
def test_states_with_other_attributes_are_rejected(names):
    fitted, _ = low_dimensional(50, num_features=5)
    state = fitted.__getstate__() | dict.fromkeys(names)
    del state["ridge"]
    with pytest.raises(ValueError, match="attributes"):
        object.__new__(Posterior).__setstate__(state)


@pytest.mark.parametrize("groups", [1, 3])
def test_leave_one_out_variance_is_that_of_the_other_samples(groups):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 5))
    weights = rng.uniform(0.5, 3.0, size=(12, groups))
    prior = prior_precision(5, 0.1, groups)
    whole = factorize(add_rows(prior, [(features, weights)]), 0.1, 0.1)
    found = whole.leave_one_out_variance(features, weights)
    for row in range(12):
        others = np.arange(12) != row
        precision = add_rows(prior, [(features[others], weights[others])])
        expected = 0.1 * np.einsum(
            "m,gmk,k->g", features[row], np.linalg.inv(precision), features[row]
        )
        np.testing.assert_allclose(found[row], expected, rtol=1e-9)
