"""Where networks compute, and in which floating type.

Tests of graphics cards run on each card that TensorFlow finds; the first test here
prints which devices these are, so that none is left out in silence.
"""

import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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
    pool,
)
from sksngp.body import Body
from sksngp.body_network import build
from sksngp.device import available_device, check_device

CARDS = range(len(tf.config.list_logical_devices("GPU")))
DEVICES = ["cpu", *(f"gpu:{number}" for number in CARDS)]
X, Y = load_digits(return_X_y=True)
SMALL = {"num_layers": 2, "num_hidden": 32, "epochs": 15, "learning_rate": 0.01}
SMALL |= {"random_state": 0}
CLASSIFIERS = [
    SNGPClassifier(num_inducing=128, **SMALL),
    ResNetClassifier(**SMALL),
    MCDropoutClassifier(num_samples=3, **SMALL),
    DeepEnsembleClassifier(num_ensemble=2, **SMALL),
]
every_classifier = pytest.mark.parametrize(
    "clf", CLASSIFIERS, ids=lambda clf: type(clf).__name__
)
half = pytest.mark.parametrize("mixed", ["bfloat16", "float16"])


@every_classifier
def test_each_device_at_hand(clf, capsys):
    with capsys.disabled():
        print(f"\n[devices tested: {', '.join(DEVICES)}]", end="")
    proba = clone(clf).fit(X[:600], Y[:600]).predict_proba(X[600:])
    for device in DEVICES:
        there = clone(clf).set_params(device=device).fit(X[:600], Y[:600])
        assert there.score(X[600:], Y[600:]) > 0.85
        assert np.abs(there.predict_proba(X[600:]) - proba).mean() < 0.02
        with pool.lease(there.device, **there.architecture_) as compiled:
            assert device.upper() in compiled.networks[0].trainable[0].device


def test_without_a_device_its_work_is_done_and_a_warning_says_so():
    clf = SNGPClassifier(num_inducing=16, **SMALL).set_params(epochs=2)
    expected = clone(clf).set_params(device="cpu").fit(X, Y).predict_proba(X)
    with pytest.warns(UserWarning, match="device='gpu:99' isn't there.* CPU"):
        clf.set_params(device="gpu:99").fit(X, Y)
    with pytest.warns(UserWarning, match="device='gpu:99' isn't there"):
        np.testing.assert_array_equal(clf.predict_proba(X), expected)


def test_a_model_from_a_card_predicts_where_there_is_none():
    clf = ResNetClassifier(**SMALL).set_params(epochs=2).fit(X, Y)
    expected = clf.predict_proba(X)
    moved = pickle.loads(pickle.dumps(clf.set_params(device="gpu:99")))
    with pytest.warns(UserWarning, match="isn't there"):
        np.testing.assert_array_equal(moved.predict_proba(X), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved.set_params(device="cpu").predict(X)


def test_names():
    for name in (None, "cpu", "CPU", "cpu:0", "gpu", "gpu:3"):
        check_device(name)
    assert available_device(None) is None
    assert available_device("cpu") == "CPU:0"
    for name in ("", "cuda", "gpu:", "gpu:x", "cpu:1", "gpu:1\n", 0, ["cpu"]):
        with pytest.raises(ValueError, match="device must be None, 'cpu'"):
            check_device(name)
    with pytest.raises(ValueError, match="got 'tpu'"):
        ResNetClassifier(device="tpu").fit(X, Y)


# Mixed precision


@half
@every_classifier
def test_half_the_digits_learn_as_well(clf, mixed):
    plain = clone(clf).fit(X[:600], Y[:600])
    clf = clone(clf).set_params(mixed_precision=mixed).fit(X[:600], Y[:600])
    assert clf.score(X[600:], Y[600:]) > plain.score(X[600:], Y[600:]) - 0.03
    proba = clf.predict_proba(X[600:])
    assert 1e-7 < np.abs(proba - plain.predict_proba(X[600:])).mean() < 0.05
    for array in clf.weights_.values():
        assert array.dtype == np.float32


@half
def test_products_are_of_half_and_sums_of_whole_precision(mixed):
    """Weights stay float32: a step that half of the digits can't show still counts."""
    clf = SNGPClassifier(num_inducing=16, mixed_precision=mixed, **SMALL)
    clf.set_params(epochs=1, optimizer="sgd", learning_rate=1e-6, num_layers=1)
    clf.fit(X, Y)
    kernel = clf.weights_["hidden_0/kernel"]
    assert (kernel != tf.cast(tf.cast(kernel, mixed), tf.float32).numpy()).mean() > 0.9
    assert clf.posterior_.factor.dtype == np.float64
    with pool.lease(**clf.architecture_) as compiled:
        layer = compiled.networks[0].hidden_layers[0]
        assert layer.compute_dtype == mixed
        rows = tf.ones((2, 32))
        assert layer(rows, training=False).dtype == mixed
        assert compiled.networks[0].hidden(rows).dtype == tf.float32


@half
@pytest.mark.parametrize("Classifier", [SNGPClassifier, ResNetClassifier])
def test_networks_of_a_function(Classifier, mixed):
    clf = Classifier(network=WideResNet(), image_shape=(8, 8, 1), random_state=0)
    clf.set_params(epochs=3, batch_size=32, mixed_precision=mixed)
    if Classifier is SNGPClassifier:
        clf.set_params(spec_norm_bound=6.0, num_inducing=64)
    rows, labels = X[Y < 2][:100], Y[Y < 2][:100]
    assert clf.fit(rows, labels).score(rows, labels) > 0.8
    with pool.lease(**clf.architecture_) as compiled:
        assert compiled.networks[0].model.output.dtype == mixed
    # What the user builds next is of the type that it was before.
    assert tf_keras.mixed_precision.global_policy().name == "float32"


def many_layers(shape):
    """What Keras computes in half of the digits in many ways."""
    rows = tf_keras.Input(shape)
    words = tf_keras.layers.Lambda(lambda x: tf.cast(x, tf.int32), dtype="float32")
    tokens = tf_keras.layers.Embedding(20, 8)(words(rows))
    hidden = tf_keras.layers.Flatten()(tokens)
    hidden = tf_keras.layers.Dense(8, activity_regularizer="l2")(hidden)
    hidden = hidden + tf_keras.layers.Dropout(0.1)(hidden)
    return tf_keras.Model(rows, hidden)


@half
@every_classifier
def test_layers_of_many_kinds(clf, mixed):
    clf = clone(clf).set_params(network=many_layers, standardize=False, epochs=3)
    clf.set_params(mixed_precision=mixed).fit(X[:200], Y[:200])
    assert clf.score(X[:200], Y[:200]) > 0.3


def test_large_gradients_in_float16():
    """They overflow at first; the loss is scaled down until they don't."""
    rng = np.random.default_rng(0)
    rows, labels = 30 * rng.normal(size=(200, 2)), np.arange(200) % 2
    rows[labels == 1] += 100
    clf = ResNetClassifier(
        num_layers=1, num_hidden=8, batch_size=4, standardize=False, random_state=0
    )
    clf.set_params(epochs=20, mixed_precision="float16").fit(rows, labels)
    assert np.isfinite(clf.loss_curve_).all() and clf.score(rows, labels) > 0.9
    with pool.lease(**clf.architecture_) as compiled:
        assert compiled._loss_scales[0] < 2.0**12


def slow_layer(shape, units):
    rows = tf_keras.Input(shape)
    time.sleep(0.01)  # other threads have their turn
    return tf_keras.Model(rows, tf_keras.layers.Dense(units)(rows))


def test_builds_in_threads_keep_their_types():
    kinds = [None, "bfloat16"] * 10

    def output(mixed, number):
        return build(Body(partial(slow_layer, units=number + 1), (3,)), mixed=mixed)

    with ThreadPoolExecutor(4) as executor:
        models = list(executor.map(output, kinds, range(20)))
    assert [model.output.dtype.name for model in models] == ["float32", "bfloat16"] * 10
    assert tf_keras.mixed_precision.global_policy().name == "float32"


@half
def test_far_rows(mixed):
    clf = SNGPClassifier(num_inducing=64, mixed_precision=mixed, **SMALL).fit(X, Y)
    for scale in (1e3, 1e6, 1e30):
        assert np.isfinite(clf.predict_proba(scale * X[:5])).all()
    assert clf.predict_ood(1e6 * X[:50]).mean() > 0.9


def test_mixed_precision_needs_float32():
    clf = ResNetClassifier(mixed_precision="bfloat16", dtype="float64")
    with pytest.raises(ValueError, match="mixed_precision='bfloat16' needs dtype"):
        clf.fit(X, Y)


@half
def test_saved_models_compute_alike(mixed, tmp_path):
    clf = SNGPClassifier(num_inducing=64, mixed_precision=mixed, **SMALL)
    clf.fit(X[:300], Y[:300]).export_savedmodel(tmp_path / "1")
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    served = serve(inputs=tf.constant(X))["probabilities"].numpy()
    np.testing.assert_allclose(served, clf.predict_proba(X), atol=0.02)
    # Its hidden layers compute in float32, as its documentation says.
    assert np.abs(clf.to_keras()(X) - clf.predict_proba(X)).mean() < 0.01
