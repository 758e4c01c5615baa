"""Spectral norms of the layers of custom networks, measured on dense matrices.

`test_custom_network.py` tests plain Conv2D and Dense layers.
"""

import warnings
from dataclasses import replace
from functools import partial

import cloudpickle
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.testing import assert_allclose, assert_array_equal
from tf_keras import layers

from sksngp import SNGPClassifier
from sksngp._networks.custom_function import NetworkFunction
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import backend, normalized_layers
from sksngp._tensorflow.custom_network import CustomNetwork

#: Layers with one kernel, the first arguments and other settings of each, and the shape
#: of an input for one sample.
OPERATORS = [
    (layers.Conv1D, (3, 3), {}, (7, 2)),
    (layers.Conv1D, (3, 3), {"padding": "causal"}, (7, 2)),
    (layers.Conv1D, (3, 2), {"dilation_rate": 2}, (7, 2)),
    (layers.Conv1D, (3, 3), {"padding": "same", "strides": 2}, (8, 2)),
    (layers.Conv2D, (4, 2), {"groups": 2}, (4, 4, 2)),
    (layers.Conv2D, (3, 2), {"dilation_rate": 2}, (5, 5, 2)),
    (layers.Conv3D, (2, 2), {}, (3, 3, 3, 1)),
    (layers.Conv1DTranspose, (3, 3), {"padding": "same", "strides": 2}, (5, 2)),
    (layers.Conv2DTranspose, (3, 3), {"strides": 2}, (3, 4, 2)),
    (layers.Conv3DTranspose, (2, 2), {}, (2, 2, 2, 1)),
    (layers.DepthwiseConv1D, (3,), {"padding": "same", "depth_multiplier": 2}, (6, 2)),
    (layers.DepthwiseConv2D, (3,), {"padding": "same", "strides": 2}, (5, 5, 2)),
    (layers.EinsumDense, ("abc,ce->abe", (3, 4)), {}, (3, 2)),
    (layers.EinsumDense, ("...c,ce->...e", 4), {}, (3, 2)),
    (layers.EinsumDense, ("ab...,bc->ac...", (4, None)), {}, (2, 3)),
    (layers.EinsumDense, ("abc,bce->abe", (3, 4)), {}, (3, 2)),
]


@pytest.fixture(
    params=OPERATORS,
    ids=lambda case: "-".join(map(str, (case[0].__name__, *case[1], *case[2]))),
)
def operator(request):
    """Return a function that creates a layer, and the shape of its input."""
    layer, arguments, settings, shape = request.param
    return partial(layer, *arguments, **settings), shape


def network_of(layer, shape):
    """Build a network of one layer."""
    inputs = tf_keras.Input(shape)
    return tf_keras.Model(inputs, layers.Flatten()(layer(inputs)))


def built(make_layer, shape, bound=0.5):
    """Return a network with a bound, and its layer, which has large weights."""
    found = []

    def network(shape):
        found.append(make_layer())
        return network_of(found[-1], shape)

    custom = CustomNetwork(architecture(NetworkFunction(network, shape)))
    custom.spec_norm_bound.assign(bound)
    rng = np.random.default_rng(0)
    for variable in found[-1].variables:
        variable.assign(rng.normal(size=variable.shape))
    for kernel in custom.in_place:
        for vector in (kernel.u, kernel.v):
            vector.assign(rng.normal(size=vector.shape))
    return custom, found[-1]


def architecture(function):
    """Return the architecture of a network with spectral normalization."""
    fields = {"num_layers": 0, "num_hidden": 1, "num_inducing": 4, "dropout": False}
    return architecture_of(num_outputs=2, function=function, **fields)


def exact_norm(layer, shape):
    """Compute the norm of an affine layer from its outputs for all unit inputs."""
    size = int(np.prod(shape))
    units = np.eye(size, dtype=np.float32).reshape(-1, *shape)
    outputs = layer(units).numpy().astype(np.float64) - layer(0 * units[:1]).numpy()
    return np.linalg.norm(outputs.reshape(size, -1), 2)


def assert_bounded(custom, norms, num_steps=20):
    """Check that power iterations bring norms close to the bound, and `bounded` to it.

    Parameters
    ----------
    custom : CustomNetwork
    norms : callable
        Function that returns the norms, which must exceed the bound.
    """
    bound = float(custom.spec_norm_bound)
    before = norms()
    assert len(custom.normalized) == len(before) and min(before) > bound
    for _ in range(num_steps):
        custom.normalize()
    assert norms() == pytest.approx([bound] * len(before), rel=0.1)
    custom.bounded(custom.dump(), bound)
    for norm in norms():
        assert bound * (1 - 1e-3) < norm <= bound * (1 + 1e-6)


# Layers with one kernel


def test_norm_is_at_the_bound_when_training_ends(operator):
    make_layer, shape = operator
    custom, inner = built(make_layer, shape)
    assert_bounded(custom, lambda: [exact_norm(inner, shape)])


def test_lanczos_iterations_find_the_norm(operator, monkeypatch):
    monkeypatch.setattr(normalized_layers, "LARGEST_DENSE_OPERATOR", 0)
    make_layer, shape = operator
    custom, inner = built(make_layer, shape)
    [kernel] = custom.normalized
    expected = exact_norm(inner, shape)
    assert kernel.spectral_norm() == pytest.approx(expected, rel=1e-4)


def test_kernels_below_the_bound_are_not_changed():
    custom, inner = built(lambda: layers.Conv1D(3, 3), (7, 2), bound=100.0)
    before = inner.kernel.numpy()
    custom.normalize()
    custom.bounded(custom.dump(), 100.0)
    assert_array_equal(inner.kernel, before)


def test_activations_and_biases_do_not_affect_the_norm():
    custom, inner = built(lambda: layers.Conv1D(3, 3, activation="tanh"), (7, 2))
    linear = layers.Conv1D(3, 3)
    linear.build((None, 7, 2))
    linear.set_weights(inner.get_weights())
    expected = exact_norm(linear, (7, 2))
    assert custom.normalized[0].spectral_norm() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mixed", ["bfloat16", "float16"])
def test_power_iterations_compute_in_float32(mixed):
    """The weights of networks with mixed precision are float32."""

    def network(shape):
        inputs = tf_keras.Input(shape)
        hidden = layers.TimeDistributed(layers.Dense(4))(inputs)
        hidden = layers.SeparableConv1D(3, 2)(hidden)
        return tf_keras.Model(inputs, layers.GlobalAveragePooling1D()(hidden))

    custom = CustomNetwork(
        replace(architecture(NetworkFunction(network, (5, 2))), mixed=mixed)
    )
    for kernel in custom.in_place:
        kernel.v.assign(np.random.default_rng(0).normal(size=kernel.v.shape))
        kernel.u.assign(np.random.default_rng(1).normal(size=kernel.u.shape))
    for _ in range(30):
        custom.normalize()
    for kernel in custom.in_place:
        image = kernel.multiply(kernel.v, kernel.kernel)
        assert image.dtype == tf.float32
        assert np.linalg.norm(image) == pytest.approx(kernel.spectral_norm(), rel=0.01)


def test_convolution_of_inputs_of_two_sizes():
    """Larger inputs have a larger norm."""
    inner = []

    def network(shape):
        inner.append(layers.Conv1D(3, 3, padding="same"))
        inputs = tf_keras.Input(shape)
        parts = inputs, layers.Cropping1D(2)(inputs)
        means = [layers.GlobalMaxPooling1D()(inner[-1](part)) for part in parts]
        return tf_keras.Model(inputs, layers.Concatenate()(means))

    custom = CustomNetwork(architecture(NetworkFunction(network, (8, 2))))
    assert [kernel.in_shape for kernel in custom.in_place] == [(1, 8, 2), (1, 4, 2)]
    custom.spec_norm_bound.assign(0.1)
    custom.bounded(custom.dump(), 0.1)
    norms = [exact_norm(inner[-1], shape) for shape in ((8, 2), (4, 2))]
    assert norms[1] < norms[0] == pytest.approx(0.1)


# Layers with several kernels, and nested layers


def test_layers_of_nested_models():
    custom, outer = built(
        lambda: tf_keras.Sequential([tf_keras.Input((7, 2)), layers.Conv1D(3, 3)]),
        (7, 2),
    )
    assert_bounded(custom, lambda: [exact_norm(outer, (7, 2))])


@pytest.mark.parametrize("padding", ["valid", "causal"])
def test_both_kernels_of_a_separable_conv1d(padding):
    settings = {"kernel_size": 3, "depth_multiplier": 2, "use_bias": False}
    make = partial(layers.SeparableConv1D, 5, padding=padding, **settings)
    custom, inner = built(make, (6, 2))
    depthwise = layers.DepthwiseConv1D(**settings)
    padded = (8, 2) if padding == "causal" else (6, 2)
    depthwise.build((None, *padded))

    def norms():
        depthwise.set_weights([inner.depthwise_kernel])
        sizes = [(0, 0), (padded[0] - 6, 0), (0, 0)]
        units = np.pad(np.eye(12).reshape(12, 6, 2), sizes)
        matrix = depthwise(units.astype(np.float32)).numpy().reshape(12, -1)
        pointwise = inner.pointwise_kernel.numpy()[0]
        return [np.linalg.norm(matrix, 2), np.linalg.norm(pointwise, 2)]

    assert_bounded(custom, norms)


def test_both_kernels_of_a_separable_conv2d():
    settings = {"kernel_size": 2, "strides": 2}
    custom, inner = built(lambda: layers.SeparableConv2D(5, **settings), (5, 4, 2))
    depthwise = layers.DepthwiseConv2D(**settings, use_bias=False)
    depthwise.build((None, 5, 4, 2))

    def norms():
        depthwise.set_weights([inner.depthwise_kernel])
        pointwise = inner.pointwise_kernel.numpy()[0, 0]
        return [exact_norm(depthwise, (5, 4, 2)), np.linalg.norm(pointwise, 2)]

    assert_bounded(custom, norms)


@pytest.mark.parametrize(
    ("make_layer", "shape"),
    [
        (lambda: layers.Dense(4), (3, 2)),
        (lambda: layers.Conv1D(3, 2), (2, 4, 2)),
        (lambda: layers.Conv2D(3, 2, padding="same"), (2, 3, 3, 2)),
    ],
    ids=["Dense", "Conv1D", "Conv2D"],
)
def test_layers_in_time_distributed_layers(make_layer, shape):
    custom, outer = built(lambda: layers.TimeDistributed(make_layer()), shape)
    assert_bounded(custom, lambda: [exact_norm(outer, shape)])


def test_projections_of_attention_layers():
    found = []

    def network(shape):
        inputs = tf_keras.Input(shape)
        found.append(layers.MultiHeadAttention(2, 3, value_dim=5))
        return tf_keras.Model(inputs, layers.Flatten()(found[-1](inputs, inputs)))

    custom = CustomNetwork(architecture(NetworkFunction(network, (3, 4))))
    custom.spec_norm_bound.assign(0.5)
    rng = np.random.default_rng(0)
    kernels = [
        variable for variable in found[-1].variables if "kernel" in variable.name
    ]
    for variable in [*kernels, *(k.u for k in custom.in_place)]:
        variable.assign(rng.normal(size=variable.shape))

    def norms():
        *projections, outputs = (kernel.numpy() for kernel in kernels)
        matrices = [kernel.reshape(4, -1) for kernel in projections]
        matrices.append(outputs.reshape(-1, 4))
        return [np.linalg.norm(matrix, 2) for matrix in matrices]

    assert_bounded(custom, norms)


# Fitted networks


def of_convolutions(shape):
    """Build a network whose only layers with weights are Conv1D layers."""
    inputs = tf_keras.Input(shape)
    hidden = layers.Reshape((8, 2))(inputs)
    for kernel_size in (3, 2):
        hidden = layers.Conv1D(4, kernel_size, activation="relu")(hidden)
    return tf_keras.Model(inputs, layers.GlobalAveragePooling1D()(hidden))


@pytest.fixture(scope="module")
def data():
    X = np.random.default_rng(0).normal(size=(60, 16))
    return X, (X.mean(axis=1) > 0).astype(int)


@pytest.fixture(scope="module")
def fitted(small, data):
    """Fit a network of convolutions with a small bound."""
    params = {"network": of_convolutions, "spec_norm_bound": 0.3, "epochs": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="spec_norm_bound")
        return small(SNGPClassifier, **params).fit(*data)


def test_fitted_convolutions_are_at_the_bound(fitted):
    kernels = [
        array
        for name, array in fitted.weights_.items()
        if name.startswith("body/") and name.endswith("/kernel")
    ]
    for kernel, shape in zip(kernels, [(8, 2), (6, 4)], strict=True):
        layer = layers.Conv1D(4, len(kernel), use_bias=False)
        layer.build((None, *shape))
        layer.set_weights([kernel])
        assert exact_norm(layer, shape) == pytest.approx(0.3, rel=1e-5)


def test_training_steps_iterate(fitted):
    vectors = [fitted.weights_[name] for name in fitted.weights_ if name[-2:] == "/u"]
    assert_allclose([np.linalg.norm(u) for u in vectors], [1.0, 1.0], rtol=1e-5)


def test_predictions_after_pickling(fitted, data):
    X, _ = data
    expected = fitted.predict_proba(X)
    loaded = cloudpickle.loads(cloudpickle.dumps(fitted))
    assert_array_equal(loaded.predict_proba(X), expected)
    loaded.partial_fit(*data)
    assert np.isfinite(loaded.predict_proba(X)).all()


@pytest.mark.slow
def test_exports(fitted, data, tmp_path):
    X, _ = data
    expected = fitted.predict_proba(X)
    assert_allclose(fitted.to_keras()(X), expected, atol=1e-5)
    fitted.export_savedmodel(tmp_path / "exported")
    module = tf.saved_model.load(tmp_path / "exported")
    served = module.serve(tf.constant(X))
    assert_allclose(served["probabilities"], expected, atol=1e-6)


# Other layers


def of_all_kinds(shape):
    """Build a network with layers that are normalized and layers that are not."""
    inputs = tf_keras.Input(shape)
    hidden = layers.Reshape((8, 2))(inputs)
    hidden = layers.Conv1D(4, 3, padding="same")(hidden)
    hidden = hidden + layers.MultiHeadAttention(2, 3)(hidden, hidden)
    hidden = layers.TimeDistributed(layers.Dense(3))(hidden)
    hidden = layers.SeparableConv1D(4, 3)(hidden)
    hidden = layers.EinsumDense("abc,ce->abe", (None, 4))(hidden)
    hidden = layers.EinsumDense("abc,ce->ae", (4,))(hidden)  # a sum over axis b
    hidden = layers.Reshape((2, 2))(hidden)
    hidden = layers.LSTM(3, return_sequences=True)(hidden)
    hidden = layers.Bidirectional(layers.GRU(3, return_sequences=True))(hidden)
    hidden = layers.LocallyConnected1D(3, 1, implementation=2)(hidden)
    any_length = tf_keras.Input((None, 3))
    part = tf_keras.Model(any_length, layers.Conv1D(3, 1)(any_length))
    hidden = layers.GlobalAveragePooling1D()(part(hidden))
    return tf_keras.Model(inputs, layers.Dense(4)(hidden))


def test_description_lists_only_layers_that_are_not_normalized():
    found = backend.describe(NetworkFunction(of_all_kinds, (16,))).description
    kinds = [name.partition(" ")[2] for name in found.unnormalized]
    expected = ["EinsumDense", "LSTM", "Bidirectional", "LocallyConnected1D", "Conv1D"]
    assert kinds == [f"({kind})" for kind in expected]
    assert found.num_normalized == 6
    assert found.num_kernels_in_place == 1 + 4 + 1 + 2 + 1


def test_frozen_layers_are_not_normalized():
    def network(shape):
        return network_of(layers.Conv1D(3, 3, trainable=False), shape)

    found = backend.describe(NetworkFunction(network, (7, 2))).description
    assert found.num_normalized == found.num_kernels_in_place == 0
    assert found.unnormalized == ()


@pytest.mark.parametrize("changes", [{"normalized": False}, {"num_inducing": None}])
def test_networks_without_a_bound_have_no_singular_vectors(changes):
    fields = architecture(NetworkFunction(of_convolutions, (16,)))
    network = CustomNetwork(replace(fields, **changes))
    assert network.normalized == []
    assert not [name for name in network.weights if name[-2:] in ("/u", "/v")]


def test_networks_of_earlier_versions_have_no_singular_vectors():
    """Old descriptions count only Dense and Conv2D layers, and their arrays match."""
    custom = backend.describe(NetworkFunction(of_convolutions, (16,)))
    state = custom.__getstate__()
    state["description"] = dict(state["description"])
    del state["description"]["num_kernels_in_place"]
    earlier = NetworkFunction.__new__(NetworkFunction)
    earlier.__setstate__(state)
    network = CustomNetwork(architecture(earlier))
    assert network.normalized == []
    plain = CustomNetwork(replace(architecture(custom), normalized=False))
    assert network.weights.keys() == plain.weights.keys()
    assert custom != earlier  # these do not share compiled networks
