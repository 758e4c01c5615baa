import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import (
    RandomFeatureGaussianProcess,
    SpectralNormalization,
)
from reference import forward

from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import network_pool
from sksngp._tensorflow.residual_network import ResidualNetwork

NETWORKS = {
    "dense": {},
    "gp": {"num_inducing": 64},
    "ensemble": {"members": 3},
    "no hidden layer": {"num_layers": 0},
    "gp without hidden layer": {"num_layers": 0, "num_inducing": 64},
}
RTOL = {"float32": 2e-5, "float64": 1e-12}


def problem(dtype="float64", seed=0, **changes):
    """Return an architecture, its weights and projected samples."""
    fields = {"num_outputs": 3, "num_layers": 2, "num_hidden": 16, "dtype": dtype}
    fields |= changes
    rng = np.random.default_rng(seed)
    weights = architecture_of(fields).initial_weights(rng, np.array([-1.0, 0.0, 2.0]))
    for name, array in weights.items():  # no bias stays at its initial zero
        if name.endswith("bias"):
            array += rng.normal(size=array.shape).astype(dtype)
    members = fields.get("members", 1)
    shape = (50, 16) if members == 1 else (members, 50, 16)
    return fields, weights, rng.normal(size=shape).astype(dtype)


def loaded(fields, weights, **scalars):
    """Return the network of an architecture with weights and scalars."""
    network = ResidualNetwork(architecture_of(fields))
    network.load(weights)
    for name, value in scalars.items():
        getattr(network, name).assign(value)
    return network


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_weights_have_the_names_and_shapes_of_the_arrays(changes, dtype):
    fields, weights, _ = problem(dtype, **changes)
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights)
        dumped = compiled.dump()
    assert dumped.keys() == weights.keys()
    for name, array in dumped.items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, weights[name])


def test_load_casts_and_dump_copies():
    fields, weights, _ = problem("float32")
    with network_pool.lease(**{**fields, "dtype": "float64"}) as compiled:
        compiled.load(weights)
        dumped = compiled.dump()
        before = {name: array.copy() for name, array in dumped.items()}
        compiled.load({name: 0 * array for name, array in weights.items()})
    for name, array in dumped.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, before[name])
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_network_equals_numpy(changes, dtype):
    fields, weights, projected = problem(dtype, **changes)
    weights64 = {name: array.astype(np.float64) for name, array in weights.items()}
    expected = forward(weights64, projected.astype(np.float64), input_scale=0.3)
    network = loaded(fields, weights, input_scale=0.3)
    hidden = network.hidden(tf.constant(projected))
    outputs = (hidden, *network.output(hidden))
    for ours, reference in zip(outputs, expected, strict=True):
        if reference is None:
            assert ours is None
            continue
        assert ours.dtype == dtype
        scale = np.abs(reference).max()
        np.testing.assert_allclose(ours, reference, rtol=0, atol=RTOL[dtype] * scale)


def test_masks_multiply_the_output_of_each_block():
    fields, weights, projected = problem(num_layers=3)
    masks = np.random.default_rng(1).integers(0, 3, size=(3, 1, 16)).astype(float)
    hidden = loaded(fields, weights).hidden(tf.constant(projected), masks).numpy()
    expected = forward(weights, projected, masks=masks)[0]
    np.testing.assert_allclose(hidden, expected, rtol=1e-12)
    assert not np.allclose(hidden, forward(weights, projected)[0])


def test_zero_masks_leave_the_identity():
    fields, weights, projected = problem(num_layers=3)
    network = loaded(fields, weights)
    hidden = network.hidden(tf.constant(projected), np.zeros((3, 1, 16)))
    np.testing.assert_array_equal(hidden, projected)


def test_members_of_a_group_are_independent_networks():
    fields, weights, projected = problem(members=3)
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights)
        stacked = compiled.forward(projected).numpy()
    for member in range(3):
        one = {
            name: array[member, 0] if name.endswith("bias") else array[member]
            for name, array in weights.items()
        }
        with network_pool.lease(**{**fields, "members": 1}) as compiled:
            compiled.load(one)
            logits = compiled.forward(projected[member]).numpy()
        np.testing.assert_allclose(stacked[member], logits, rtol=1e-12)


@pytest.mark.parametrize("kernel_scale", [0.5, 1.0, 20.0])
def test_output_is_that_of_the_official_layer(kernel_scale):
    fields, weights, projected = problem("float32", **NETWORKS["gp"])
    official = RandomFeatureGaussianProcess(
        3,
        num_inducing=64,
        gp_kernel_scale=kernel_scale,
        return_gp_cov=False,
        return_random_features=True,
    )
    official.build(projected.shape)
    official._random_feature.kernel.assign(weights["random_features/kernel"])
    official._random_feature.bias.assign(weights["random_features/bias"])
    official._gp_output_layer.kernel.assign(weights["output/kernel"])
    official._gp_output_bias.assign(weights["output/bias"])
    network = loaded(fields, weights, input_scale=1 / np.sqrt(kernel_scale))
    logits, features = network.output(tf.constant(projected))
    for ours, theirs in zip((logits, features), official(projected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("bound", [0.3, 0.95, 50.0])
def test_hidden_layer_trains_as_the_official_one(bound):
    fields, weights, projected = problem("float32", num_layers=1, num_inducing=64)
    dense = tf_keras.layers.Dense(16, activation="relu")
    official = SpectralNormalization(dense, norm_multiplier=bound)
    official.build(projected.shape)
    dense.kernel.assign(weights["hidden_0/kernel"])
    dense.bias.assign(weights["hidden_0/bias"])
    official.u.assign(weights["hidden_0/u"])
    official.v.assign(weights["hidden_0/v"])
    network = loaded(fields, weights, spec_norm_bound=bound)
    for _ in range(3):
        expected = projected + official(projected, training=True)
        network.normalize()
        hidden = network.hidden(tf.constant(projected))
        np.testing.assert_allclose(hidden, expected, rtol=1e-6, atol=1e-6)
    trained = network.dump()
    np.testing.assert_allclose(trained["hidden_0/kernel"], dense.kernel, rtol=1e-6)
    np.testing.assert_allclose(trained["hidden_0/u"], official.u, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(trained["hidden_0/v"], official.v, rtol=1e-5, atol=1e-7)
    shrunk = not np.allclose(trained["hidden_0/kernel"], weights["hidden_0/kernel"])
    assert shrunk == (bound < 50)


def test_prediction_does_not_normalize():
    fields, weights, projected = problem(**NETWORKS["gp"])
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, spec_norm_bound=1e-3)
        compiled.forward(projected)
        after = compiled.dump()
    assert all(np.array_equal(after[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("changes", "frozen"),
    [
        ({}, set()),
        ({"members": 3}, set()),
        (
            {"num_inducing": 64},
            {"random_features/kernel", "random_features/bias"}
            | {f"hidden_{block}/{vector}" for block in (0, 1) for vector in "uv"},
        ),
    ],
)
def test_gradients_update_everything_but_features_and_power_iteration(changes, frozen):
    fields, weights, _ = problem(**changes)
    network = loaded(fields, weights)
    trainable = {id(variable) for variable in network.trainable}
    named = network.weights.items()
    assert {name for name, v in named if id(v) not in trainable} == frozen
    assert len(trainable) == len(weights) - len(frozen)
