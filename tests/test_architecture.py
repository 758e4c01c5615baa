from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksngp._networks.architecture import glorot_uniform
from sksngp._networks.dense_architecture import project_spectral_norm
from sksngp._networks.kinds import architecture_of

DENSE = architecture_of(num_outputs=3, num_layers=2, num_hidden=40)
GP = replace(DENSE, num_inducing=500)
ENSEMBLE = replace(DENSE, members=4)
LOG_PRIOR = np.log([0.2, 0.3, 0.5])


def draw(architecture, seed=0):
    return architecture.initial_weights(np.random.default_rng(seed), LOG_PRIOR)


def spectral_norm(kernel):
    return np.linalg.svd(kernel.astype(np.float64), compute_uv=False)[0]


# Keys of the pool


def test_equal_architectures_are_one_key():
    again = architecture_of(num_outputs=3, num_layers=2, num_hidden=40)
    assert {DENSE: "found"}[again] == "found"
    assert len({DENSE, GP, ENSEMBLE, replace(DENSE, dropout=False)}) == 4


# Initial weights


@pytest.mark.parametrize(
    ("architecture", "shapes"),
    [
        (
            DENSE,
            {"hidden_1/kernel": (40, 40), "hidden_1/bias": (40,)}
            | {"output/kernel": (40, 3), "output/bias": (3,)},
        ),
        (
            GP,
            {"hidden_1/kernel": (40, 40), "hidden_1/u": (1, 40), "hidden_1/v": (1, 40)}
            | {"random_features/kernel": (40, 500), "random_features/bias": (500,)}
            | {"output/kernel": (500, 3), "output/bias": (3,)},
        ),
        (
            ENSEMBLE,
            {"hidden_1/kernel": (4, 40, 40), "hidden_1/bias": (4, 1, 40)}
            | {"output/kernel": (4, 40, 3), "output/bias": (4, 1, 3)},
        ),
    ],
    ids=["dense", "gp", "ensemble"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_dtype(architecture, shapes, dtype):
    weights = draw(replace(architecture, dtype=dtype))
    assert {name: weights[name].shape for name in shapes} == shapes
    assert {w.dtype for w in weights.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("architecture", [DENSE, GP, ENSEMBLE])
def test_the_generator_is_the_only_source_of_randomness(architecture):
    first, second, other = (draw(architecture, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["hidden_0/kernel"], other["hidden_0/kernel"])


@pytest.mark.parametrize("fan", [(40, 40), (7, 300)])
def test_glorot_uniform(fan):
    kernel = glorot_uniform(np.random.default_rng(0), *fan)
    limit = np.sqrt(6 / sum(fan))
    assert kernel.shape == fan
    assert 0.98 * limit < np.abs(kernel).max() <= limit
    # Variance of a uniform: limit^2 / 3, with a relative error of sqrt(0.8 / n).
    assert kernel.var() == pytest.approx(limit**2 / 3, rel=4 / np.sqrt(kernel.size))


def test_random_features_approximate_the_gaussian_kernel():
    weights = draw(GP)
    omega, phase = weights["random_features/kernel"], weights["random_features/bias"]
    assert omega.mean() == pytest.approx(0, abs=4 / np.sqrt(omega.size))
    assert omega.std() == pytest.approx(1, abs=4 / np.sqrt(2 * omega.size))
    assert (phase >= 0).all() and (phase <= 2 * np.pi).all()
    counts = np.histogram(phase, bins=5, range=(0, 2 * np.pi))[0]
    assert np.abs(counts - 100).max() < 4 * np.sqrt(500 * 0.2 * 0.8)


def test_biases_start_at_zero_and_at_the_log_prior():
    weights = draw(ENSEMBLE)
    np.testing.assert_array_equal(weights["hidden_0/bias"], 0)
    np.testing.assert_allclose(
        weights["output/bias"], np.tile(LOG_PRIOR, (4, 1, 1)), rtol=1e-6
    )


def test_members_differ_and_the_first_is_the_single_network():
    single, stacked = draw(DENSE), draw(ENSEMBLE)
    for name in ("hidden_0/kernel", "hidden_1/kernel", "output/kernel"):
        np.testing.assert_array_equal(stacked[name][0], single[name])
        assert len(np.unique(stacked[name][:, 0, 0])) == 4


# Projection to the spectral bound


@pytest.mark.parametrize("bound", [0.05, 0.9, 0.95, 7.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 16, 200])
def test_norm_is_at_most_the_bound_and_direction_is_kept(bound, dtype, width):
    kernel = np.random.default_rng(0).normal(size=(width, width))
    kernel = (10 * bound / spectral_norm(kernel) * kernel).astype(dtype)
    projected = project_spectral_norm({"hidden_0/kernel": kernel}, bound)
    projected = projected["hidden_0/kernel"]
    assert projected.dtype == dtype
    assert 0.99999 * bound < spectral_norm(projected) <= bound
    np.testing.assert_allclose(projected, kernel / 10, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999999])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_within_the_bound_are_unchanged(share, dtype):
    kernel = np.random.default_rng(0).normal(size=(16, 16))
    kernel = (share * 0.9 / spectral_norm(kernel) * kernel).astype(dtype)
    projected = project_spectral_norm({"hidden_0/kernel": kernel}, 0.9)
    np.testing.assert_array_equal(projected["hidden_0/kernel"], kernel)


def test_only_hidden_kernels_are_projected_without_side_effects():
    weights = {name: 100 * w for name, w in draw(GP).items()}
    before = {name: w.copy() for name, w in weights.items()}
    projected = project_spectral_norm(weights, 0.5)
    changed = {n for n in weights if not np.array_equal(projected[n], weights[n])}
    assert changed == {"hidden_0/kernel", "hidden_1/kernel"}
    assert all(np.array_equal(weights[name], before[name]) for name in weights)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(1e-3, 1e3),
    st.floats(1e-6, 1e6),
    st.sampled_from(["float32", "float64"]),
)
def test_projection_is_idempotent_and_bounded(seed, width, rank, bound, size, dtype):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(width, rank)) @ rng.normal(size=(rank, width))
    weights = {"hidden_0/kernel": (size * kernel).astype(dtype)}
    once = project_spectral_norm(weights, bound)
    twice = project_spectral_norm(once, bound)
    assert spectral_norm(once["hidden_0/kernel"]) <= bound
    np.testing.assert_array_equal(once["hidden_0/kernel"], twice["hidden_0/kernel"])


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("num_inducing", [None, 5])
@pytest.mark.parametrize("num_layers", [0, 2])
def test_shapes_are_those_of_the_initial_weights(members, num_inducing, num_layers):
    architecture = architecture_of(
        num_outputs=3,
        num_layers=num_layers,
        num_hidden=4,
        num_inducing=num_inducing,
        members=members,
    )
    drawn = architecture.initial_weights(np.random.default_rng(0), np.zeros(3))
    found = {name: array.shape for name, array in drawn.items()}
    assert architecture.weight_shapes() == found
