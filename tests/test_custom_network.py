from functools import partial

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import SpectralNormalizationConv2D

from sksngp import SNGPClassifier
from sksngp._networks.custom_function import NetworkFunction
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import network_pool, normalized_layers
from sksngp._tensorflow.backend import built_weights
from sksngp._tensorflow.custom_network import CustomNetwork
from sksngp._tensorflow.normalized_layers import (
    DenseWithoutPowerIteration,
    NormalizedConv2D,
)
from sksngp._tensorflow.random_layers import Dropout


def image_network(shape):
    inputs = tf_keras.Input(shape)
    images = tf_keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    images = tf_keras.layers.BatchNormalization()(images)
    images = tf_keras.layers.SpatialDropout2D(0.5)(images)
    features = tf_keras.layers.Flatten()(images)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(5)(features))


def fields(num_inducing=None, **changes):
    function = NetworkFunction(image_network, (4, 4, 2))
    fixed = {"num_outputs": 3, "num_layers": 0, "num_hidden": 5, "dropout": False}
    return {**fixed, "num_inducing": num_inducing, "function": function, **changes}


def drawn(architecture, seed=0):
    rng = np.random.default_rng(seed)
    weights = architecture.initial_weights(rng, np.zeros(3))
    return weights | built_weights(architecture, rng)


ROWS = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)


# Convolutions


def exact_norm(layer, shape):
    """Compute the norm of the convolution matrix from its outputs for unit images."""
    size = int(np.prod(shape))
    images = np.eye(size, dtype=np.float32).reshape(-1, *shape)
    matrix = layer(images).numpy().astype(np.float64) - layer(0 * images[:1]).numpy()
    return np.linalg.norm(matrix.reshape(size, -1), 2)


def wrapped(shape, bound=1.0, **settings):
    settings = {"filters": 5, "kernel_size": 3, "padding": "same"} | settings
    inner = tf_keras.layers.Conv2D(**settings, bias_initializer="random_normal")
    layer = NormalizedConv2D(inner, norm_multiplier=bound)
    layer(tf.zeros((1, *shape)))
    rng = np.random.default_rng(0)
    for variable in (layer.u, layer.v, inner.kernel):
        variable.assign(rng.normal(size=variable.shape))
    return layer, inner


NUM_ITERATIONS = 100


CONVOLUTIONS = [
    ((6, 6, 2), {}),
    ((7, 5, 2), {"strides": 2}),  # 7 / 2 rounds up
    ((7, 7, 1), {"padding": "valid"}),
    ((6, 8, 3), {"strides": 2, "padding": "valid", "kernel_size": 2}),
    ((5, 5, 3), {"kernel_size": 1}),
]


@pytest.mark.parametrize(("shape", "settings"), CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("bound", [0.3, 100.0])
def test_power_iterations_approach_the_bound(shape, settings, bound):
    """One iteration per step underestimates the norm; `bounded` corrects this."""
    layer, inner = wrapped(shape, bound, **settings)
    before = exact_norm(inner, shape)
    for _ in range(NUM_ITERATIONS):
        layer.update_weights()
    # Expected relative error of the squared norm from a random start, whatever the
    # singular values: Kuczynski and Wozniakowski (1992), theorem 3.1.
    error = 0.871 * np.log(np.prod(shape)) / (NUM_ITERATIONS - 1)
    assert exact_norm(inner, shape) == pytest.approx(min(before, bound), rel=error / 2)


@pytest.mark.parametrize("largest_dense", [512, 0], ids=["dense", "Lanczos"])
@pytest.mark.parametrize(("shape", "settings"), CONVOLUTIONS, ids=str)
def test_norm_of_a_convolution(shape, settings, largest_dense, monkeypatch):
    monkeypatch.setattr(normalized_layers, "LARGEST_DENSE_OPERATOR", largest_dense)
    layer, inner = wrapped(shape, **settings)
    for seed in range(3):
        kernel = np.random.default_rng(seed).normal(size=inner.kernel.shape)
        inner.kernel.assign(kernel)
        expected = exact_norm(inner, shape)
        assert layer.spectral_norm() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("largest_dense", [512, 0], ids=["dense", "Lanczos"])
def test_norm_is_proportional_to_the_kernel(largest_dense, monkeypatch):
    """The squares of these kernels overflow or vanish in float32."""
    monkeypatch.setattr(normalized_layers, "LARGEST_DENSE_OPERATOR", largest_dense)
    layer, inner = wrapped((6, 6, 2))
    kernel = np.random.default_rng(0).normal(size=inner.kernel.shape)
    inner.kernel.assign(kernel)
    expected = layer.spectral_norm()
    for factor in (0.0, 1e-25, 1e20, 1e37):
        inner.kernel.assign(factor * kernel)
        assert layer.spectral_norm() == pytest.approx(factor * expected, rel=1e-3)


@pytest.mark.parametrize("largest_dense", [512, 0], ids=["dense", "Lanczos"])
def test_kernel_larger_than_the_image(largest_dense, monkeypatch):
    monkeypatch.setattr(normalized_layers, "LARGEST_DENSE_OPERATOR", largest_dense)
    layer, inner = wrapped((1, 1, 2))
    kernel = np.ones(inner.kernel.shape)
    kernel[1, 1] = 0.0  # the only position in an image of one pixel
    inner.kernel.assign(kernel)
    assert layer.spectral_norm() == 0.0


def test_norm_of_a_large_convolution_takes_few_products(monkeypatch):
    """After training, v is close to the singular vector."""
    calls, real = [], tf.nn.conv2d_transpose
    layer, inner = wrapped((16, 16, 8), filters=8)
    for _ in range(30):
        layer.update_weights()
    monkeypatch.setattr(
        tf.nn, "conv2d_transpose", lambda *a, **k: calls.append(0) or real(*a, **k)
    )
    layer.spectral_norm()
    assert len(calls) <= 64
    inner.kernel.assign(np.random.default_rng(0).normal(size=inner.kernel.shape))
    calls.clear()
    layer.spectral_norm()
    assert len(calls) <= 64


@pytest.mark.parametrize("kind", ["Conv2D", "Dense"])
def test_a_kernel_of_zeros_is_bounded_once_it_grows(kind):
    """Power iterations continue from the previous vectors."""

    def network(shape):
        inputs = tf_keras.Input(shape)
        if kind == "Conv2D":
            layer = tf_keras.layers.Conv2D(3, 3, kernel_initializer="zeros")
        else:
            layer = tf_keras.layers.Dense(3, kernel_initializer="zeros")
        features = tf_keras.layers.GlobalAveragePooling2D()(layer(inputs))
        return tf_keras.Model(inputs, features)

    function = NetworkFunction(network, (4, 4, 2))
    architecture = architecture_of(fields(8, function=function, num_hidden=3))
    built = CustomNetwork(architecture)
    built.load(drawn(architecture))
    built.spec_norm_bound.assign(0.3)
    [layer] = built.normalized
    for factor in (0.0, 1e-25, 1.0):
        kernel = np.random.default_rng(0).normal(size=layer.layer.kernel.shape)
        layer.layer.kernel.assign(factor * kernel)
        for _ in range(50):
            built.normalize()
    assert layer.spectral_norm() == pytest.approx(0.3, rel=0.01)


def test_norms_are_at_the_bound_when_training_ends():
    network = CustomNetwork(architecture_of(fields(num_inducing=8)))
    rng = np.random.default_rng(0)
    network.spec_norm_bound.assign(0.3)
    for layer in network.normalized:
        layer.layer.kernel.assign(rng.normal(size=layer.layer.kernel.shape))
    small = network.normalized[-1].layer.kernel
    small.assign(small / 1000)
    before = small.numpy()
    network.bounded(network.dump(), 0.3)
    *others, last = [layer.spectral_norm() for layer in network.normalized]
    assert others == pytest.approx([0.3] * len(others), rel=1e-3)
    assert last < 0.3
    np.testing.assert_array_equal(small, before)


@pytest.mark.parametrize("factor", [1e20, 3e37])
def test_huge_kernels_are_scaled_down_to_the_bound(factor):
    network = CustomNetwork(architecture_of(fields(num_inducing=8)))
    network.spec_norm_bound.assign(0.3)
    rng = np.random.default_rng(0)
    for layer in network.normalized:
        kernel = rng.uniform(-1, 1, size=layer.layer.kernel.shape)
        layer.layer.kernel.assign(factor * kernel)
    network.bounded(network.dump(), 0.3)
    for layer in network.normalized:
        assert layer.spectral_norm() == pytest.approx(0.3, rel=1e-3)


def two_convolutions(shape, initializer="glorot_uniform"):
    """The first one has few input values, the second one more than 512."""
    inputs = tf_keras.Input(shape)
    settings = {"padding": "same", "activation": "relu"}
    images = tf_keras.layers.Conv2D(9, 3, **settings)(inputs)
    images = tf_keras.layers.Conv2D(
        4, 3, strides=2, kernel_initializer=initializer, **settings
    )(images)
    return tf_keras.Model(inputs, tf_keras.layers.GlobalAveragePooling2D()(images))


def images_and_labels():
    X = np.random.default_rng(0).normal(size=(60, 8, 8, 1))
    return X, (X.mean(axis=(1, 2, 3)) > 0).astype(int)


def fitted_norms(clf):
    """Exact norms of the two convolutions of a fitted classifier."""
    first, second = (
        array
        for name, array in clf.weights_.items()
        if name.endswith("/kernel")
        if name.startswith("body")
    )
    norms = []
    for kernel, shape, strides in [(first, (8, 8, 1), 1), (second, (8, 8, 9), 2)]:
        layer = tf_keras.layers.Conv2D(
            kernel.shape[-1], 3, padding="same", strides=strides, use_bias=False
        )
        layer(np.zeros((1, *shape), np.float32))
        layer.set_weights([kernel])
        norms.append(exact_norm(layer, shape))
    return norms


def test_convolutions_of_a_fitted_classifier_are_within_the_bound(small):
    clf = small(SNGPClassifier, network=two_convolutions, spec_norm_bound=0.5)
    first, second = fitted_norms(clf.fit(*images_and_labels()))
    # The margins are those of `bounded`: exact for few input values.
    assert 0.5 * (1 - 1e-3) < first <= 0.5 * (1 + 1e-6)
    assert 0.5 * (1 - 1e-3) < second <= 0.5 * (1 + 1e-3)


@pytest.mark.slow
def test_fit_with_a_convolution_of_zeros(small):
    X, y = images_and_labels()
    network = partial(two_convolutions, initializer="zeros")
    clf = small(SNGPClassifier, network=network, spec_norm_bound=0.5).fit(X, y)
    assert fitted_norms(clf)[1] <= 0.5 * (1 + 1e-3)
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("learning_rate", [1e5, 1e20, 1e38])
def test_learning_rate_is_named_if_convolutions_diverge(small, learning_rate):
    X, y = images_and_labels()
    clf = small(SNGPClassifier, network=two_convolutions, spec_norm_bound=0.5)
    clf.set_params(learning_rate=learning_rate, epochs=1)
    for batch_size in (None, 20):
        try:
            clf.set_params(batch_size=batch_size).fit(X, y)
        except ValueError as error:
            assert "learning_rate" in str(error)
        else:
            assert max(fitted_norms(clf)) <= 0.5 * (1 + 1e-3)
            assert np.isfinite(clf.predict_proba(X)).all()


def test_power_iteration_is_that_of_tf_models_official():
    shape = (6, 6, 2)
    ours, inner = wrapped(shape, 0.5)
    other = tf_keras.layers.Conv2D(5, 3, padding="same")
    official = SpectralNormalizationConv2D(other, norm_multiplier=0.5)
    official.build((1, *shape))
    other.set_weights(inner.get_weights())
    official.u.assign(ours.u)
    official.v.assign(ours.v)
    for _ in range(3):
        ours.update_weights()
        official.update_weights()
    np.testing.assert_allclose(inner.kernel, other.kernel, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours.u, official.u, atol=1e-6)
    np.testing.assert_allclose(ours.v, official.v, atol=1e-6)


# The network


def test_layers_are_replaced_where_they_must_be():
    plain = CustomNetwork(architecture_of(fields()))
    kinds = [type(layer) for layer in plain.model.layers]
    assert Dropout in kinds and tf_keras.layers.Conv2D in kinds
    assert tf_keras.layers.SpatialDropout2D not in kinds
    assert plain.seeded[0].noise_shape == (None, 1, 1, None)
    aware = CustomNetwork(architecture_of(fields(num_inducing=8)))
    kinds = {type(layer) for layer in aware.model.layers}
    assert {NormalizedConv2D, DenseWithoutPowerIteration, Dropout} <= kinds
    assert not kinds & {tf_keras.layers.Conv2D, tf_keras.layers.Dense}


@pytest.mark.parametrize("num_inducing", [None, 8])
def test_it_computes_what_the_model_does(num_inducing):
    architecture = architecture_of(fields(num_inducing=num_inducing))
    network, weights = CustomNetwork(architecture), drawn(architecture)
    network.load(weights)
    model = image_network((4, 4, 2))
    own = [w for name, w in weights.items() if name.startswith("body/")]
    model.set_weights([w for w in own if w.shape[:1] != (1,)])  # without u and v
    np.testing.assert_allclose(
        network.hidden(ROWS), model(ROWS.reshape(-1, 4, 4, 2)), atol=1e-5
    )
    assert network.dump().keys() == weights.keys()


def test_only_training_updates_batch_normalization():
    architecture = fields()
    with network_pool.lease(**architecture) as compiled:
        weights = drawn(architecture_of(architecture))
        compiled.load(weights, dropout_rate=0.0)
        compiled.load_optimizer(0.01)
        compiled.forward(ROWS)
        for name, array in compiled.dump().items():
            np.testing.assert_array_equal(array, weights[name])
        labels, ones = np.arange(40) % 3, np.ones(40)
        losses = [compiled.epoch(ROWS, labels, ones, 20, 0, n) for n in range(30)]
        assert losses[-1] < 0.7 * losses[0]
        trained = compiled.dump()
    moved = {
        name for name in weights if not np.array_equal(trained[name], weights[name])
    }
    assert moved == set(weights)


@pytest.mark.slow
def test_ensemble_members_are_trained_independently():
    """With all samples in one step, shuffling has no effect."""
    together = architecture_of(fields(members=2))
    weights = drawn(together)
    labels, ones = np.arange(40) % 3, np.ones(40)

    def trained(architecture, weights):
        with network_pool.lease(**architecture) as compiled:
            compiled.load(weights, dropout_rate=0.0)
            compiled.load_optimizer(0.01)
            compiled.epoch(ROWS, labels, ones, None, 0, 0)
            return compiled.dump()

    def without_dropout(shape):
        model = image_network(shape)
        return tf_keras.models.clone_model(
            model,
            clone_function=lambda layer: (
                tf_keras.layers.Activation("linear")
                if isinstance(layer, tf_keras.layers.SpatialDropout2D)
                else layer
            ),
        )

    function = {"function": NetworkFunction(without_dropout, (4, 4, 2))}
    found = trained(fields(members=2, **function), weights)
    for member in range(2):
        own = {name: array[member] for name, array in weights.items()}
        network = CustomNetwork(architecture_of(fields(**function)))
        network.load(own)
        with tf.GradientTape() as tape:
            logits = network.training_logits(network.training_hidden(ROWS, None))
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        optimizer = tf_keras.optimizers.legacy.Adam(0.01)
        gradients = tape.gradient(loss, network.trainable)
        optimizer.apply_gradients(zip(gradients, network.trainable, strict=True))
        for name, array in network.dump().items():
            np.testing.assert_allclose(found[name][member], array, atol=2e-4)
