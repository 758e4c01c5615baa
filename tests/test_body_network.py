import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import SpectralNormalizationConv2D

from sksngp import body_network, pool
from sksngp.architecture import Architecture, initial_weights
from sksngp.body import Body, initial_body_weights
from sksngp.body_network import BodyNetwork, NormalisedConv2D, QuietDense
from sksngp.seeded_layers import Dropout


def image_network(shape):
    inputs = tf_keras.Input(shape)
    images = tf_keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    images = tf_keras.layers.BatchNormalization()(images)
    images = tf_keras.layers.SpatialDropout2D(0.5)(images)
    features = tf_keras.layers.Flatten()(images)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(5)(features))


def fields(num_inducing=None, **changes):
    body = Body(image_network, (4, 4, 2))
    fixed = {"num_outputs": 3, "num_layers": 0, "num_hidden": 5, "dropout": False}
    return {**fixed, "num_inducing": num_inducing, "body": body, **changes}


def drawn(architecture, seed=0):
    rng = np.random.default_rng(seed)
    weights = initial_weights(architecture, rng, np.zeros(3))
    return weights | initial_body_weights(architecture, rng)


ROWS = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)


# Convolutions


def exact_norm(layer, shape):
    """Of the convolution as a matrix, from what it makes of each unit image."""
    size = int(np.prod(shape))
    images = np.eye(size, dtype=np.float32).reshape(-1, *shape)
    matrix = layer(images).numpy().reshape(size, -1)
    return np.linalg.norm(matrix - layer(np.zeros_like(images[:1])).numpy().ravel(), 2)


def wrapped(shape, bound=1.0, **settings):
    settings = {"filters": 5, "kernel_size": 3, "padding": "same"} | settings
    inner = tf_keras.layers.Conv2D(**settings, bias_initializer="random_normal")
    layer = NormalisedConv2D(inner, norm_multiplier=bound)
    layer(tf.zeros((1, *shape)))
    rng = np.random.default_rng(0)
    for vector in (layer.u, layer.v):
        vector.assign(rng.normal(size=vector.shape))
    return layer, inner


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
    """One iteration per step lags behind: `bound_norms` makes up for the rest."""
    layer, inner = wrapped(shape, bound, **settings)
    before = exact_norm(inner, shape)
    for _ in range(100):
        layer.update_weights()
    assert exact_norm(inner, shape) == pytest.approx(min(before, bound), rel=0.05)


@pytest.mark.parametrize("largest_dense", [512, 0], ids=["dense", "Lanczos"])
@pytest.mark.parametrize(("shape", "settings"), CONVOLUTIONS, ids=str)
def test_norm_of_a_convolution(shape, settings, largest_dense, monkeypatch):
    monkeypatch.setattr(body_network, "LARGEST_DENSE_CONVOLUTION", largest_dense)
    layer, inner = wrapped(shape, **settings)
    for seed in range(3):
        kernel = np.random.default_rng(seed).normal(size=inner.kernel.shape)
        inner.kernel.assign(kernel)
        expected = exact_norm(inner, shape)
        assert layer.spectral_norm() == pytest.approx(expected, rel=1e-3)


def test_norms_are_at_the_bound_when_training_ends():
    network = BodyNetwork(Architecture(**fields(num_inducing=8)))
    rng = np.random.default_rng(0)
    network.spec_norm_bound.assign(0.3)
    for layer in network.normalised:
        layer.layer.kernel.assign(rng.normal(size=layer.layer.kernel.shape))
    small = network.normalised[-1].layer.kernel
    small.assign(small / 1000)
    before = small.numpy()
    network.bound_norms()
    *others, last = [layer.spectral_norm() for layer in network.normalised]
    assert others == pytest.approx([0.3] * len(others), rel=1e-3)
    assert last < 0.3
    np.testing.assert_array_equal(small, before)


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
    plain = BodyNetwork(Architecture(**fields()))
    kinds = [type(layer) for layer in plain.model.layers]
    assert Dropout in kinds and tf_keras.layers.Conv2D in kinds
    assert tf_keras.layers.SpatialDropout2D not in kinds
    assert plain.seeded[0].noise_shape == (None, 1, 1, None)
    aware = BodyNetwork(Architecture(**fields(num_inducing=8)))
    kinds = {type(layer) for layer in aware.model.layers}
    assert {NormalisedConv2D, QuietDense, Dropout} <= kinds
    assert not kinds & {tf_keras.layers.Conv2D, tf_keras.layers.Dense}


@pytest.mark.parametrize("num_inducing", [None, 8])
def test_it_computes_what_the_model_does(num_inducing):
    architecture = Architecture(**fields(num_inducing=num_inducing))
    network, weights = BodyNetwork(architecture), drawn(architecture)
    network.load(weights)
    model = image_network((4, 4, 2))
    own = [w for name, w in weights.items() if name.startswith("body/")]
    model.set_weights([w for w in own if w.shape[:1] != (1,)])  # without u and v
    np.testing.assert_allclose(
        network.hidden(ROWS), model(ROWS.reshape(-1, 4, 4, 2)), atol=1e-5
    )
    assert network.dump().keys() == weights.keys()


def test_training_moves_the_means_of_batches_and_prediction_does_not():
    architecture = fields()
    with pool.lease(**architecture) as compiled:
        weights = drawn(Architecture(**architecture))
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


def test_an_ensembles_members_train_as_they_would_alone():
    """But for their shuffles: with all rows in one step there is no shuffle."""
    together = Architecture(**fields(members=2))
    weights = drawn(together)
    labels, ones = np.arange(40) % 3, np.ones(40)

    def trained(architecture, weights):
        with pool.lease(**architecture) as compiled:
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

    body = {"body": Body(without_dropout, (4, 4, 2))}
    found = trained(fields(members=2, **body), weights)
    for member in range(2):
        own = {name: array[member] for name, array in weights.items()}
        network = BodyNetwork(Architecture(**fields(**body)))
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
