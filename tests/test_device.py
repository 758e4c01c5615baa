"""Devices and mixed precision.

Tests of GPUs run on each GPU that TensorFlow finds. The first test prints the devices.
"""

import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from sklearn.base import clone
from sklearn.datasets import load_digits

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    WideResNet,
)
from sksngp._networks.custom_function import NetworkFunction
from sksngp._runtime.device import available_device, check_device
from sksngp._tensorflow import network_pool
from sksngp._tensorflow.custom_build import build

GPUS = range(len(tf.config.list_logical_devices("GPU")))
DEVICES = ["cpu", *(f"gpu:{number}" for number in GPUS)]
X, Y = load_digits(return_X_y=True)
SMALL = {
    "num_layers": 2,
    "num_hidden": 32,
    "epochs": 15,
    "learning_rate": 0.01,
    "cv": None,
}
SMALL |= {"random_state": 0}
SNGP = SNGPClassifier(num_inducing=128, **SMALL)
RESNET = ResNetClassifier(**SMALL)
CLASSIFIERS = [
    SNGP,
    RESNET,
    MCDropoutClassifier(num_samples=3, **SMALL),
    DeepEnsembleClassifier(num_ensemble=2, **SMALL),
]
CASES = [(clf, device) for device in DEVICES[1:] for clf in CLASSIFIERS]
# A single network and an ensemble are tested on every machine.
CASES += [(clf, "cpu") for clf in CLASSIFIERS[::3]]


def name(value):
    return value if isinstance(value, str) else type(value).__name__


@cache
def fitted(clf, mixed=None):
    """Return a classifier of 600 digits, shared by tests that do not change it."""
    return clone(clf).set_params(mixed_precision=mixed).fit(X[:600], Y[:600])


half = pytest.mark.parametrize("mixed", ["bfloat16", "float16"])


@pytest.mark.slow
@pytest.mark.parametrize(("clf", "device"), CASES, ids=name)
def test_each_device(clf, device, capsys):
    with capsys.disabled():
        print(f"\n[devices tested: {', '.join(DEVICES)}]", end="")
    proba = fitted(clf).predict_proba(X[600:])
    there = clone(clf).set_params(device=device).fit(X[:600], Y[:600])
    assert there.score(X[600:], Y[600:]) > 0.85
    assert np.abs(there.predict_proba(X[600:]) - proba).mean() < 0.02
    with network_pool.lease(there.device, **there.architecture_) as compiled:
        assert device.upper() in compiled.networks[0].trainable[0].device


def test_missing_device_falls_back_to_the_cpu_with_a_warning():
    clf = clone(SNGP).set_params(epochs=2)
    expected = clone(clf).set_params(device="cpu").fit(X, Y).predict_proba(X)
    with pytest.warns(UserWarning, match="device='gpu:99' is not available.* CPU"):
        clf.set_params(device="gpu:99").fit(X, Y)
    with pytest.warns(UserWarning, match="device='gpu:99' is not available"):
        np.testing.assert_array_equal(clf.predict_proba(X), expected)


def test_model_fitted_on_a_gpu_predicts_without_gpu():
    clf = fitted(RESNET)
    expected = clf.predict_proba(X)
    moved = pickle.loads(pickle.dumps(clf)).set_params(device="gpu:99")
    moved = pickle.loads(pickle.dumps(moved))
    with pytest.warns(UserWarning, match="is not available"):
        np.testing.assert_array_equal(moved.predict_proba(X), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved.set_params(device="cpu").predict(X)


def test_names_of_devices():
    for device in (None, "cpu", "CPU", "cpu:0", "gpu", "gpu:3"):
        check_device(device)
    assert available_device(None) is None
    assert available_device("cpu") == "CPU:0"
    for device in ("", "cuda", "gpu:", "gpu:x", "cpu:1", "gpu:1\n", 0, ["cpu"]):
        with pytest.raises(ValueError, match="device must be None, 'cpu'"):
            check_device(device)
    with pytest.raises(ValueError, match="got 'tpu'"):
        ResNetClassifier(device="tpu").fit(X, Y)


# Mixed precision


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clf", "mixed"),
    [(SNGP, "float16"), *zip(CLASSIFIERS, ["bfloat16", "float16"] * 2, strict=True)],
    ids=name,
)
def test_mixed_precision_learns_as_well(clf, mixed):
    plain, clf = fitted(clf), fitted(clf, mixed)
    accuracy = plain.score(X[600:], Y[600:])
    # Three standard deviations of the difference between two networks of this accuracy.
    margin = 3 * np.sqrt(2 * accuracy * (1 - accuracy) / len(X[600:]))
    assert clf.score(X[600:], Y[600:]) > accuracy - margin
    proba = clf.predict_proba(X[600:])
    assert 1e-7 < np.abs(proba - plain.predict_proba(X[600:])).mean() < 0.05
    for array in clf.weights_.values():
        assert array.dtype == np.float32


@pytest.mark.slow
@half
def test_products_have_half_and_sums_single_precision(mixed):
    """Weights remain float32, so that small steps accumulate."""
    clf = clone(SNGP).set_params(epochs=1, learning_rate=1e-6)
    clf.set_params(mixed_precision=mixed).fit(X, Y)
    kernel = clf.weights_["hidden_0/kernel"]
    assert (kernel != tf.cast(tf.cast(kernel, mixed), tf.float32).numpy()).mean() > 0.9
    assert clf.posterior_.factor.dtype == np.float64
    with network_pool.lease(**clf.architecture_) as compiled:
        layer = compiled.networks[0].hidden_layers[0]
        assert layer.compute_dtype == mixed
        rows = tf.ones((2, 32))
        assert layer(rows, training=False).dtype == mixed
        assert compiled.networks[0].hidden(rows).dtype == tf.float32


def convolution(shape):
    """Build a small network, which is faster than a wide residual network."""
    images = tf_keras.Input(shape)
    hidden = tf_keras.layers.Conv2D(8, 3, strides=2)(images)
    hidden = tf_keras.layers.BatchNormalization(momentum=0.5)(hidden)
    hidden = tf_keras.layers.Flatten()(tf_keras.layers.ReLU()(hidden))
    return tf_keras.Model(images, hidden)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clf", "mixed"),
    [
        (
            SNGPClassifier(
                network=WideResNet(), num_inducing=32, spec_norm_bound=6.0, cv=None
            ),
            "bfloat16",
        ),
        (ResNetClassifier(network=convolution, cv=None), "float16"),
    ],
    ids=["SNGPClassifier", "ResNetClassifier"],
)
def test_convolutional_networks(clf, mixed):
    clf = clone(clf).set_params(random_state=0, image_shape=(8, 8, 1))
    clf.set_params(epochs=3, batch_size=32, mixed_precision=mixed)
    images, labels = X[Y < 2][:100], Y[Y < 2][:100]
    assert clf.fit(images, labels).score(images, labels) > 0.8
    with network_pool.lease(**clf.architecture_) as compiled:
        assert compiled.networks[0].model.output.dtype == mixed
    # The type of models that the user builds does not change.
    assert tf_keras.mixed_precision.global_policy().name == "float32"


def many_layers(shape):
    """Return a model with different kinds of layers."""
    rows = tf_keras.Input(shape)
    words = tf_keras.layers.Lambda(lambda x: tf.cast(x, tf.int32), dtype="float32")
    tokens = tf_keras.layers.Embedding(20, 8)(words(rows))
    hidden = tf_keras.layers.Flatten()(tokens)
    hidden = tf_keras.layers.Dense(8, activity_regularizer="l2")(hidden)
    hidden = hidden + tf_keras.layers.Dropout(0.1)(hidden)
    return tf_keras.Model(rows, hidden)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clf", "mixed"),
    [(CLASSIFIERS[0], "bfloat16"), *((clf, "float16") for clf in CLASSIFIERS[2:])],
    ids=name,
)
def test_layers_of_many_kinds(clf, mixed):
    clf = clone(clf).set_params(network=many_layers, standardize=False, epochs=3)
    clf.set_params(mixed_precision=mixed).fit(X[:200], Y[:200])
    assert clf.score(X[:200], Y[:200]) > 0.3


@pytest.mark.slow
def test_large_gradients_in_float16():
    """Gradients overflow at first. The scale of the loss is reduced until they fit."""
    rng = np.random.default_rng(0)
    rows, labels = 30 * rng.normal(size=(200, 2)), np.arange(200) % 2
    rows[labels == 1] += 100
    clf = ResNetClassifier(
        num_layers=1,
        num_hidden=8,
        batch_size=4,
        standardize=False,
        cv=None,
        random_state=0,
    )
    clf.set_params(epochs=20, mixed_precision="float16").fit(rows, labels)
    assert np.isfinite(clf.loss_curve_).all() and clf.score(rows, labels) > 0.8
    with network_pool.lease(**clf.architecture_) as compiled:
        assert compiled.optimization._loss_scales[0] < 2.0**12


def slow_layer(shape, units):
    rows = tf_keras.Input(shape)
    time.sleep(0.01)  # other threads are running
    return tf_keras.Model(rows, tf_keras.layers.Dense(units)(rows))


def test_networks_built_in_threads_keep_their_types():
    kinds = [None, "bfloat16"] * 5

    def output(mixed, number):
        return build(
            NetworkFunction(partial(slow_layer, units=number + 1), (3,)), mixed=mixed
        )

    with ThreadPoolExecutor(4) as executor:
        models = list(executor.map(output, kinds, range(10)))
    assert [model.output.dtype.name for model in models] == ["float32", "bfloat16"] * 5
    assert tf_keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.slow
@half
def test_distant_samples(mixed):
    clf = fitted(SNGP, mixed)
    for scale in (1e3, 1e6, 1e30):
        assert np.isfinite(clf.predict_proba(scale * X[:5])).all()
    assert clf.predict_ood(1e6 * X[:50]).mean() > 0.9


def test_mixed_precision_requires_float32():
    clf = ResNetClassifier(mixed_precision="bfloat16", dtype="float64")
    with pytest.raises(ValueError, match="mixed_precision='bfloat16' requires dtype"):
        clf.fit(X, Y)


@pytest.mark.slow
@half
def test_exported_models_predict_alike(mixed, tmp_path):
    clf = fitted(SNGP, mixed)
    clf.export_savedmodel(tmp_path / "1")
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    served = serve(inputs=tf.constant(X))["probabilities"].numpy()
    np.testing.assert_allclose(served, clf.predict_proba(X), atol=0.02)
    # The hidden layers of `to_keras` compute in float32.
    assert np.abs(clf.to_keras()(X) - clf.predict_proba(X)).mean() < 0.01
