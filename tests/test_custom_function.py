"""Custom networks, which a user's function builds."""

import copy
import pickle
import random
import sys
import warnings
from functools import partial

import cloudpickle
import dask.array
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

import sksngp._data.streamed_rows
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._networks import memory_needs
from sksngp._networks.custom_function import NetworkFunction
from sksngp._tensorflow import backend, network_pool
from sksngp.metrics import ood_auroc
from sksngp.persistence import ModelFileError, load, save


def dense(shape, units=8, rate=0.2):
    """Build a network of one layer and a dropout layer."""
    inputs = tf_keras.Input(shape)
    hidden = tf_keras.layers.Flatten()(inputs)
    hidden = tf_keras.layers.Dense(units, activation="relu")(hidden)
    return tf_keras.Model(inputs, tf_keras.layers.Dropout(rate)(hidden))


def normalized(shape):
    """Build a network of a frozen layer, batch normalization and a dropout layer."""
    frozen = tf_keras.layers.Dense(2, kernel_initializer="identity", trainable=False)
    return tf_keras.Sequential(
        [
            tf_keras.Input(shape),
            frozen,
            tf_keras.layers.Dense(8, activation="relu"),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.Dropout(0.1),
        ]
    )


class Convolution(BaseEstimator):
    def __init__(self, channels=4):
        self.channels = channels

    def __call__(self, shape):
        inputs = tf_keras.Input(shape)
        images = tf_keras.layers.Conv2D(self.channels, 3, padding="same")(inputs)
        return tf_keras.Model(inputs, tf_keras.layers.GlobalAveragePooling2D()(images))


class Own(tf_keras.Model):
    """Model with its own method `call`."""

    def __init__(self):
        super().__init__()
        self.layer = tf_keras.layers.Dense(5)

    def call(self, rows):
        return tf.nn.relu(self.layer(rows))


def own(shape):
    return Own()


def transformer(shape, vocabulary=12, width=16):
    """Build a transformer with one block for sequences of token ids, padded with 0."""
    rows = tf_keras.Input(shape)
    words = tf_keras.layers.Lambda(lambda rows: tf.cast(rows, tf.int32))(rows)
    tokens = tf_keras.layers.Embedding(vocabulary, width)(words)
    there = tf_keras.layers.Lambda(lambda words: words[:, None, :] > 0)(words)
    attention = tf_keras.layers.MultiHeadAttention(2, width // 2)
    tokens = tokens + attention(tokens, tokens, attention_mask=there)
    tokens = tf_keras.layers.LayerNormalization()(tokens)
    update = tf_keras.layers.Dense(2 * width, activation="gelu")(tokens)
    tokens = tokens + tf_keras.layers.Dense(width)(update)
    mean = tf_keras.layers.GlobalAveragePooling1D()(tokens)
    return tf_keras.Model(rows, tf_keras.layers.Dropout(0.1)(mean))


def nested_model(shape, **settings):
    return tf_keras.Sequential([tf_keras.Input(shape), dense(shape, **settings)])


def only(*classifiers):
    """Restrict `make` to the classifiers that differ in the tested behavior."""
    return pytest.mark.parametrize(
        "one_of_four", classifiers, indirect=True, ids=lambda cls: cls.__name__
    )


@pytest.fixture(scope="module")
def make(small, one_of_four):
    """Create classifiers with fewer ensemble members and dropout masks."""
    own = {
        DeepEnsembleClassifier: {"num_ensemble": 2},
        MCDropoutClassifier: {"num_samples": 3},
    }
    return partial(small, one_of_four, **own.get(one_of_four, {}))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:150], y[:150]


# Equality, which determines whether compiled networks are shared


def test_equal_custom_networks():
    equal = [
        (dense, dense),
        (partial(dense, units=3), partial(dense, units=3)),
        (Convolution(3), clone(Convolution(3))),
    ]
    for first, second in equal:
        assert NetworkFunction(first, (2,)) == NetworkFunction(second, [2])
        assert hash(NetworkFunction(first, (2,))) == hash(NetworkFunction(second, (2,)))
        assert NetworkFunction(first, (2,)) != NetworkFunction(second, (3,))
    different = [dense, normalized, partial(dense, units=3), partial(dense, units=4)]
    different += [Convolution(3), Convolution(4)]
    assert len({NetworkFunction(network, (2,)) for network in different}) == len(
        different
    )


def test_equality_after_cloudpickle():
    width = 3

    def closed(shape):
        return dense(shape, units=width)

    for network in (closed, partial(dense, units=np.array([3])), Convolution([3])):
        same = cloudpickle.loads(cloudpickle.dumps(network))
        assert same is not network
        assert NetworkFunction(same, (2,)) == NetworkFunction(network, (2,))
    assert NetworkFunction(Convolution([3]), (2,)) != NetworkFunction(
        Convolution([4]), (2,)
    )

    def calls_itself(shape, depth=2):
        return calls_itself(shape, depth - 1) if depth else dense(shape)

    same = cloudpickle.loads(cloudpickle.dumps(calls_itself))
    assert NetworkFunction(same, (2,)) == NetworkFunction(calls_itself, (2,))


UNITS, SETTINGS, CALLS, MEMO = 3, {"activation": "relu"}, [], {}


class Config:
    units = 2


class Scaled(tf_keras.layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, rows):
        return self.factor * rows


def helper(rows, units):
    return tf_keras.layers.Dense(units, **SETTINGS)(rows)


def by_globals(shape):
    CALLS.append(shape)
    MEMO.setdefault(shape, np.ones(2))
    rows, scale = tf_keras.Input(shape), tf.constant(1.0)
    hidden = tf_keras.layers.Lambda(lambda rows: scale * rows)(helper(rows, UNITS))

    class Local(tf_keras.layers.Layer):
        def __init__(self):
            super().__init__()

    return tf_keras.Model(rows, Scaled(Config.units)(Local()(hidden)))


class ByGlobals(BaseEstimator):
    @staticmethod
    def build(shape):
        return by_globals(shape)

    def __call__(self, shape):
        return self.build(shape)


CHANGES = [
    ("UNITS", 7, 7),
    ("SETTINGS", {"activation": "tanh"}, 3),
    ("Config.units", 5, 3),
    ("helper", lambda rows, units: tf_keras.layers.Dense(units + 1)(rows), 4),
    ("Scaled.call", lambda self, rows: rows / self.factor, 3),
]


def change(patch, name, value):
    *owner, name = name.split(".")
    module = sys.modules[__name__]
    patch.setattr(getattr(module, owner[0]) if owner else module, name, value)


@pytest.mark.parametrize(
    ("name", "value", "width"), CHANGES, ids=[name for name, *_ in CHANGES]
)
@pytest.mark.parametrize(
    "network",
    [by_globals, ByGlobals(), ByGlobals().build],
    ids=["function", "estimator", "method"],
)
def test_equality_includes_the_objects_that_a_function_uses(
    network, name, value, width, monkeypatch
):
    function = backend.describe(NetworkFunction(network, (2,)))
    assert function == backend.describe(NetworkFunction(network, (2,)))
    change(monkeypatch, name, value)
    again = backend.describe(NetworkFunction(network, (2,)))
    assert again != function and again.description.num_features == width


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "name", "value", "width"),
    [
        (ByGlobals().build, *CHANGES[0]),
        (by_globals, *CHANGES[-1]),
    ],
    ids=["method", "function"],
)
def test_fit_uses_changed_objects_of_a_function(
    network, name, value, width, small, moons, monkeypatch
):
    X, y = moons
    clf = small(ResNetClassifier, network=network, epochs=1).fit(X, y)
    proba = clf.predict_proba(X)
    with monkeypatch.context() as patch:
        change(patch, name, value)
        again = clone(clf).fit(X, y)
        assert again.weights_["output/kernel"].shape[0] == width
        assert not np.array_equal(again.predict_proba(X), proba)
        for same in (clf, copy.deepcopy(clf)):  # fitted attributes are unchanged
            assert_array_equal(same.predict_proba(X), proba)
        with pytest.raises(ValueError, match="must build the model that"):
            clf.to_keras()
        if name != "Scaled.call":  # not stored in a file
            with pytest.raises(ValueError, match="must build the model that"):
                pickle.loads(pickle.dumps(clf)).predict(X)
    traces = network_pool.num_traces()
    clone(clf).fit(X, y).predict_proba(X)
    clf.partial_fit(X, y)
    assert network_pool.num_traces() == traces


def test_arrays_of_another_network_are_rejected(small, moons):
    clf = small(ResNetClassifier, network=dense, epochs=1).fit(*moons)
    clf.weights_ = {**clf.weights_, "body/002/kernel": clf.weights_["body/000/kernel"]}
    with pytest.raises(ValueError, match="must build the model that"):
        pickle.loads(pickle.dumps(clf)).predict(moons[0])


def test_fitted_networks_are_equal_after_cloudpickle():
    function = backend.describe(NetworkFunction(Convolution(3), (4, 4, 1)))
    assert pickle.loads(pickle.dumps(function)) == function == copy.deepcopy(function)
    assert function != backend.describe(
        NetworkFunction(Convolution(3), (4, 4, 1)), "bfloat16"
    )


def test_a_second_fit_compiles_nothing(digits):
    clf = ResNetClassifier(network=Convolution(3), image_shape=(8, 8, 1), epochs=1)
    clf.fit(*digits).predict(digits[0])
    traces = network_pool.num_traces()
    clone(clf).fit(*digits).predict(digits[0])
    assert network_pool.num_traces() == traces


def test_a_description():
    found = backend.describe(NetworkFunction(dense, (3,))).description
    assert found.num_features == 8 and found.num_weights == 3 * 8 + 8
    assert found.widest_floats == 8 and found.row_floats == 3 + 3 + 8 + 8 + 8
    assert found.num_normalized == 1
    nested = backend.describe(NetworkFunction(nested_model, (3,))).description
    assert nested.num_normalized == 1 and nested.row_floats == found.row_floats
    assert backend.describe(NetworkFunction(own, (3,))).description.num_normalized == 0


# All four classifiers


@pytest.fixture(scope="module")
def learnt(make, moons):
    """Return a fitted classifier whose network has batch normalization."""
    before = random.getstate(), np.random.get_state()[1].tolist()
    clf = make(network=normalized, epochs=60, learning_rate=0.01).fit(*moons)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())
    return clf


@pytest.mark.slow
def test_frozen_layers_keep_their_weights(learnt):
    """Training and the norm bound do not change frozen weights."""
    kernel = learnt.weights_["body/000/kernel"]
    assert_array_equal(kernel, np.broadcast_to(np.eye(2), kernel.shape))


@pytest.mark.slow
def test_various_networks_are_trained(learnt, moons):
    X, y = moons
    clf = learnt
    assert clf.score(X, y) > 0.8
    proba = clf.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    total, aleatoric, epistemic = (
        clf.predict_uncertainty(X, kind) for kind in ("total", "aleatoric", "epistemic")
    )
    assert all(((u >= 0) & (u <= 1)).all() for u in (total, aleatoric, epistemic))
    assert clf.loss_curve_[-1] < clf.loss_curve_[0]


@pytest.mark.slow
def test_fits_are_repeatable(learnt, moons, outputs):
    X, y = moons
    expected = outputs(learnt, X)
    assert_array_equal(outputs(clone(learnt).fit(X, y), X), expected)
    other = clone(learnt).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(outputs(other, X), expected)


@pytest.mark.slow
@only(SNGPClassifier, DeepEnsembleClassifier)
def test_pickled_classifier_can_be_trained_further(make, moons, outputs):
    X, y = moons
    clf = make(network=normalized).partial_fit(X[:100], y[:100], classes=[0, 1])
    same = pickle.loads(pickle.dumps(clf))
    for model in (clf, same):
        model.partial_fit(X[100:], y[100:])
    assert_array_equal(outputs(clf, X), outputs(same, X))


def test_warm_start_continues_training(small, moons):
    X, y = moons
    warm = small(SNGPClassifier, network=nested_model, warm_start=True).fit(X, y)
    loss = warm.loss_curve_[-1]
    assert warm.fit(X, y).loss_curve_[-1] < loss and warm.n_iter_ == 10


@pytest.mark.slow
def test_warm_start_with_moving_averages_that_keep_up(small, moons):
    """The output weights are computed for the moving averages of the fit.

    If these lag behind the statistics of mini-batches, the loss rises at first.
    """

    def network(shape):
        layers = tf_keras.layers
        samples = tf_keras.Input(shape)
        hidden = layers.Dense(16)(samples)
        hidden = layers.BatchNormalization(momentum=0.5)(hidden)
        return tf_keras.Model(samples, layers.ReLU()(hidden))

    clf = small(SNGPClassifier, network=network, warm_start=True, epochs=10, cv=None)
    loss = clf.fit(*moons).loss_curve_[-1]
    assert clf.fit(*moons).loss_curve_[10] < loss


@only(SNGPClassifier, DeepEnsembleClassifier)
def test_data_larger_than_memory(make, moons, monkeypatch):
    X, y = moons
    clf = make(network=normalized, epochs=40, learning_rate=0.01)
    monkeypatch.setattr(sksngp._data.streamed_rows, "IN_MEMORY_BYTES", 100 * 2 * 4)
    monkeypatch.setattr(sksngp._data.sources, "ARRAY_PARTITION_SIZE", 50)
    assert clf.fit(X, y).score(X, y) > 0.8


@pytest.mark.slow
@only(SNGPClassifier, ResNetClassifier)
def test_images_and_their_flat_rows_are_the_same(make, digits, outputs):
    X, y = digits
    images = X.reshape(-1, 8, 8, 1)
    params = {"network": Convolution(3), "epochs": 2}
    clf = make(**params).fit(images, y)
    flat = make(**params, image_shape=(8, 8, 1)).fit(X, y)
    assert clf.image_shape_ == flat.image_shape_ == (8, 8, 1)
    assert clf.n_features_in_ == 64
    expected = outputs(flat, X)
    assert_array_equal(outputs(clf, images), expected)
    assert_array_equal(outputs(clf, X), expected)
    assert_array_equal(outputs(flat, images), expected)
    assert len(clf.projection_.scaler.mean_) == 1  # of the single channel


def test_the_dense_network_takes_images_as_rows(small, digits, outputs):
    X, y = digits
    clf, flat = (small(ResNetClassifier) for _ in range(2))
    clf.fit(X.reshape(-1, 8, 8, 1), y)
    assert_array_equal(outputs(clf, X), outputs(flat.fit(X, y), X))


@pytest.mark.slow
def test_small_mini_batches_are_normalized_as_a_whole(small, moons):
    X, y = moons
    for batch_size in (1, 2, 7):
        clf = small(ResNetClassifier, network=normalized, batch_size=batch_size)
        clf.set_params(epochs=3, learning_rate=0.01).fit(X[:60], y[:60])
        assert np.isfinite(clf.predict_proba(X)).all()
    clf.partial_fit(X[:1], y[:1])
    assert np.isfinite(clf.predict_proba(X)).all()
    clf = small(ResNetClassifier, network=normalized, batch_size=2, epochs=10)
    assert clf.fit(X, y).score(X, y) > 0.7


@pytest.mark.slow
@only(SNGPClassifier, DeepEnsembleClassifier)
def test_training_starts_from_weights_loaded_by_the_function(make, moons):
    """Loaded weights may be scalars, share a name with the package or be unused."""
    X, y = moons
    kernel = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32) / 10

    class Odd(tf_keras.layers.Layer):
        def build(self, shape):
            settings = {"initializer": "ones", "trainable": True}
            self.scale = self.add_weight(name="scale", shape=(), **settings)
            self.v = self.add_weight(name="v", shape=(2,), **settings)
            self.idle = self.add_weight(name="idle", shape=(2,), **settings)

        def call(self, rows):
            return self.scale * rows * self.v

    def build(shape):
        rows = tf_keras.Input(shape)
        hidden = Odd()(tf_keras.layers.Normalization()(rows))
        model = tf_keras.Model(rows, tf_keras.layers.Dense(4)(hidden))
        model.layers[-1].set_weights([kernel, np.ones(4)])
        return model

    clf = make(network=build, learning_rate=1e-9, epochs=1).fit(X, y)
    (found,) = (
        array
        for name, array in clf.weights_.items()
        if name.startswith("body/") and name.endswith("/kernel")
    )
    assert_allclose(found, np.broadcast_to(kernel, found.shape), atol=1e-6)
    for name, array in clf.weights_.items():
        if name.endswith(("/scale", "/idle")) or name.startswith("body/004"):
            assert_allclose(array, 1, atol=1e-6)
    same = copy.deepcopy(clf)
    assert_array_equal(same.predict_proba(X), clf.predict_proba(X))


def test_scores_are_independent_of_other_samples(small, digits):
    X, y = digits
    clf = small(SNGPClassifier, network=Convolution(3), image_shape=(8, 8, 1)).fit(X, y)
    many = np.tile(X, (10, 1))
    expected = clf.score_samples(many)
    for rows in (1, 70, 300, 1100):
        assert_array_equal(clf.score_samples(many[:rows]), expected[:rows])


def test_dask_arrays_of_images(small, digits):
    X, y = digits
    lazy = dask.array.from_array(X.reshape(-1, 8, 8, 1), chunks=(40, 8, 8, 1))
    clf = small(ResNetClassifier, network=Convolution(3)).fit(lazy, y)
    assert_array_equal(clf.predict_proba(lazy).compute(), clf.predict_proba(X))


@pytest.mark.slow
def test_losses_of_layers_are_included(small, moons):
    def build(shape):
        decay = tf_keras.regularizers.L2(10.0)
        layer = tf_keras.layers.Dense(8, activation="relu", kernel_regularizer=decay)
        return tf_keras.Sequential([tf_keras.Input(shape), layer])

    def norm(network):
        clf = small(ResNetClassifier, network=network, epochs=30, learning_rate=0.01)
        return np.linalg.norm(clf.fit(*moons).weights_["body/000/kernel"])

    assert norm(build) < 0.3 * norm(dense)


@pytest.mark.slow
def test_searches_over_parameters_of_networks(small, digits):
    X, y = digits
    params = {"network": Convolution(), "image_shape": (8, 8, 1), "epochs": 2}
    clf = small(ResNetClassifier, **params)
    search = GridSearchCV(clf, {"network__channels": [2, 3]}, cv=2).fit(X, y)
    chosen = search.best_estimator_
    assert (
        chosen.architecture_["num_hidden"] == search.best_params_["network__channels"]
    )
    proba = chosen.predict_proba(X)
    chosen.set_params(network__channels=9)  # affects the next fit only
    assert_array_equal(chosen.predict_proba(X), proba)


# Behavior of single classifiers


@pytest.mark.slow
def test_samples_of_dropout_layers_differ_and_are_fixed(small, moons):
    X, y = moons
    clf = small(MCDropoutClassifier, network=dense, dropout_rate=0).fit(X, y)
    epistemic = clf.predict_uncertainty(X, "epistemic")
    assert (epistemic > 1e-6).any()
    assert_array_equal(epistemic, clf.predict_uncertainty(X, "epistemic"))
    assert_allclose(clf.predict_proba(X[:7]), clf.predict_proba(X)[:7], rtol=1e-6)
    whole = partial(dense, rate=0.0)
    clf = small(MCDropoutClassifier, network=whole, dropout_rate=0).fit(X, y)
    assert_allclose(clf.predict_uncertainty(X, "epistemic"), 0, atol=1e-6)
    clf = small(MCDropoutClassifier, network=whole, dropout_rate=0.3).fit(X, y)
    assert (clf.predict_uncertainty(X, "epistemic") > 1e-6).any()  # of the features


@pytest.mark.slow
def test_changed_rate_affects_the_next_fit(small, moons):
    clf = small(MCDropoutClassifier, network=nested_model).fit(*moons)
    proba = clf.predict_proba(moons[0])
    clf.set_params(dropout_rate=0.6)
    assert_array_equal(clf.predict_proba(moons[0]), proba)


def test_dropout_in_nested_models_is_used(small, moons):
    clf = small(MCDropoutClassifier, network=nested_model, dropout_rate=0).fit(*moons)
    assert clf.predict_uncertainty(moons[0], "epistemic").max() > 1e-3


@pytest.mark.slow
def test_members_of_an_ensemble_differ(small, moons):
    clf = small(DeepEnsembleClassifier, network=dense, num_ensemble=2).fit(*moons)
    kernels = clf.weights_["body/000/kernel"]
    assert kernels.shape == (2, 2, 8)
    assert not np.allclose(kernels[0], kernels[1])
    single = small(ResNetClassifier, network=dense).fit(*moons)
    assert single.weights_["body/000/kernel"].shape == (2, 8)


def spectral_norms(clf):
    return [
        np.linalg.norm(array, 2)
        for name, array in clf.weights_.items()
        if name.startswith("body/") and name.endswith("/kernel") and array.ndim == 2
    ]


@pytest.mark.slow
def test_sngp_bounds_spectral_norms_of_custom_networks(small, moons):
    params = {"epochs": 15, "learning_rate": 0.1}
    for network in (normalized, nested_model):
        for bound in (0.3, 0.6):
            settings = {"network": network, "spec_norm_bound": bound}
            clf = small(SNGPClassifier, **params, **settings).fit(*moons)
            *_, norm = spectral_norms(clf)
            assert 0.3 * bound < norm < 1.001 * bound
    free = small(SNGPClassifier, **params, network=normalized, spec_norm_bound=None)
    assert spectral_norms(free.fit(*moons))[-1] > 0.9


def test_the_dense_network_without_a_bound(small, moons):
    params = {"epochs": 30, "learning_rate": 0.05, "spec_norm_bound": None}
    clf = small(SNGPClassifier, **params).fit(*moons)
    assert np.linalg.norm(clf.weights_["hidden_0/kernel"], 2) > 1


def test_sngp_variance_increases_with_distance(small, moons):
    X, y = moons
    clf = small(SNGPClassifier, network=normalized, epochs=40, learning_rate=0.01)
    clf.fit(X, y)
    score = -clf.score_samples(X)
    assert ood_auroc(score, -clf.score_samples(X + np.array([0.0, 4.0]))) > 0.9
    near, far = (clf.predict_uncertainty(s * X, "epistemic") for s in (1, 1e4))
    assert np.median(far) > 0.65 > 3 * np.median(near)


def sentences(n, seed=0):
    """Sequences of up to eight token ids; the label is 1 or 2, whichever occurs."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 10, (n, 8)) * (np.arange(8) < rng.integers(5, 9, (n, 1)))
    y = rng.integers(0, 2, n)
    X[np.arange(n), rng.integers(0, 5, n)] = 1 + y
    X[(X == 2 - y[:, None])] = 3
    return X, y


@pytest.fixture(scope="module")
def reader(small):
    """Return a fitted classifier of sentences with a transformer."""
    params = {"network": transformer, "standardize": False}
    clf = small(SNGPClassifier, **params, epochs=6, learning_rate=0.02)
    return clf.fit(*sentences(400))


@pytest.mark.slow
def test_transformer_is_trained_end_to_end(reader):
    X_test, y_test = sentences(200, seed=1)
    assert reader.score(X_test, y_test) > 0.9
    start = clone(reader).set_params(epochs=1, learning_rate=1e-30)
    embedding, before = (
        next(w for name, w in clf.weights_.items() if "embeddings" in name)
        for clf in (reader, start.fit(*sentences(400)))
    )
    assert np.abs(embedding - before).max() > 0.1


def test_subclasses_of_dropout_layers_are_kept(small, moons):
    class Thousandfold(tf_keras.layers.Dropout):
        def call(self, rows, training=None):
            return 1000 * rows

    def build(shape):
        layers = [tf_keras.Input(shape), tf_keras.layers.Dense(4), Thousandfold(0.5)]
        return tf_keras.Sequential(layers)

    clf = small(ResNetClassifier, network=build, epochs=1, learning_rate=1e-9)
    clf.fit(*moons)
    with network_pool.lease(**clf.architecture_) as compiled:
        compiled.load(clf.weights_, **clf._network_variables())
        features = compiled.hidden(np.ones((1, 2), np.float32))
    kernel = clf.weights_["body/000/kernel"]
    assert_allclose(features, 1000 * kernel.sum(axis=0, keepdims=True), rtol=1e-5)


class OfShape(Own):
    def __init__(self, shape):
        super().__init__()


def test_model_with_its_own_call_method(small, moons):
    X, y = moons
    clf = small(SNGPClassifier, network=own)
    with pytest.raises(ValueError, match=r"custom `call` method.*spec_norm_bound=None"):
        clf.fit(X, y)
    clf.set_params(
        spec_norm_bound=None, network=OfShape
    )  # calling the class builds a network
    assert clf.fit(X, y).predict(X).shape == (200,)


# Files and exports


@pytest.mark.slow
def test_model_files_support_wide_resnet_but_not_functions(
    small, digits, moons, tmp_path, outputs
):
    X, y = digits[0][:80], digits[1][:80]
    params = {"network": "wide_resnet", "image_shape": (8, 8, 1), "epochs": 1}
    clf = small(SNGPClassifier, **params)
    save(clf.fit(X, y), tmp_path / "model")
    assert_array_equal(outputs(load(tmp_path / "model"), X), outputs(clf, X))
    clf.weights_ = clf.weights_ | {"body/000/kernel": np.ones((1, 2), np.int8)}
    with pytest.raises(ModelFileError, match="body/000/kernel is an array of int8"):
        save(clf, tmp_path / "model")
    clf = small(ResNetClassifier, network=dense).fit(*moons)
    with pytest.raises(
        ModelFileError, match=r"not trusted.*test_custom_function\.dense"
    ):
        save(clf, tmp_path / "other")


@pytest.mark.slow
def test_exports(learnt, moons, tmp_path):
    X, clf = moons[0], learnt
    clf.export_savedmodel(tmp_path / "1")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible"):
        served(tf.constant(X.reshape(-1, 1)))
    outputs = {name: value.numpy() for name, value in served(tf.constant(X)).items()}
    assert_allclose(outputs["probabilities"], clf.predict_proba(X), atol=1e-5)
    assert_allclose(outputs["ood_score"], -clf.score_samples(X), atol=1e-4)
    if isinstance(clf, MCDropoutClassifier):
        with pytest.raises(ValueError, match="does not support MCDropoutClassifier"):
            clf.to_keras()
    else:
        assert_allclose(clf.to_keras()(X).numpy(), clf.predict_proba(X), atol=1e-5)


# Invalid networks


def two_outputs(shape):
    inputs = tf_keras.Input(shape)
    return tf_keras.Model(inputs, [inputs, inputs])


def image(shape):
    inputs = tf_keras.Input(shape)
    return tf_keras.Model(inputs, tf_keras.layers.Reshape((1, 1, 2))(inputs))


def grouped(shape):
    rows = tf_keras.layers.Reshape((1, 1, 2))
    layers = [tf_keras.Input(shape), rows, tf_keras.layers.Conv2D(2, 1, groups=2)]
    return tf_keras.Sequential([*layers, tf_keras.layers.Flatten()])


def wide_type(shape):
    return tf_keras.Sequential(
        [tf_keras.Input(shape), tf_keras.layers.Dense(3, dtype="float64")]
    )


def two_inputs(shape):
    inputs = tf_keras.Input(shape), tf_keras.Input(shape)
    return tf_keras.Model(inputs, tf_keras.layers.Add()(inputs))


def only_rows(shape):
    return tf_keras.Sequential([tf_keras.Input(shape)])


@pytest.mark.slow
@pytest.mark.parametrize("added", [(1,), "in a dict"])
def test_inputs_without_a_given_shape(added, small, moons):
    def build(shape):
        rows = tf_keras.Input((*shape, 1) if added == (1,) else shape, name="rows")
        hidden = tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(rows))
        return tf_keras.Model({"rows": rows} if added == "in a dict" else rows, hidden)

    clf = small(SNGPClassifier, network=build, epochs=1).fit(*moons)
    assert clf.predict(moons[0]).shape == (200,)


def other_rows(shape):
    return dense((5,))


def of_any_size(shape):
    layers = [tf_keras.layers.Reshape((1, 2, 1)), tf_keras.layers.Conv2D(2, 1)]
    images = tf_keras.Sequential([tf_keras.Input((None, None, 1)), layers[1]])
    last = tf_keras.layers.GlobalMaxPooling2D()
    return tf_keras.Sequential([tf_keras.Input(shape), layers[0], images, last])


def test_function_that_always_returns_the_same_model(make_two, moons):
    once = dense((2,))
    with pytest.raises(ValueError, match="must build new layers in each call"):
        make_two(network=lambda shape: once).fit(*moons)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"network": "cnn"}, "'network' parameter of .* must be"),
        ({"network": lambda shape: 3}, "must return a tf_keras.Model.* got int"),
        (
            {"network": two_outputs},
            r"must return hidden representations",
        ),
        (
            {"network": image},
            r"\(n_samples, n_outputs\), got \(None, 1",
        ),
        ({"network": two_inputs}, r"shape \(2,\).* for \(\(None, 2\), \(None, 2"),
        ({"network": other_rows}, r"shape \(2,\).* a model for \(None, 5\)"),
        (
            {"network": Convolution},
            r"got Convolution\. Pass an instance of .* as Convolution\(\)",
        ),
        ({"network": wide_type}, "must compute in float32, got float64"),
        ({"network": dense, "dtype": "float64"}, "requires dtype='float32'"),
        ({"network": "wide_resnet"}, "requires images"),
        ({"image_shape": (2, 1)}, r"image_shape must be .*got \(2, 1\)"),
        ({"image_shape": (2, 0, 1)}, "image_shape must be"),
        ({"image_shape": (2, 1, True)}, "image_shape must be"),
        ({"image_shape": (2, 2, 1)}, "must have 4 features for image_shape=.* got 2"),
    ],
)
def test_invalid_networks(make_two, moons, params, message):
    clf = make_two(**params)
    with pytest.raises(ValueError, match=message):
        clf.fit(*moons)
    assert not hasattr(clf, "weights_")


def beside_dense(layer, shape):
    """Build a network of a layer that is not normalized and of a Dense layer."""

    def mixed(input_shape):
        inputs = tf_keras.Input(input_shape)
        hidden = layer()(tf_keras.layers.Reshape(shape)(inputs))
        hidden = tf_keras.layers.Flatten()(hidden)
        hidden = tf_keras.layers.BatchNormalization()(hidden)
        return tf_keras.Model(inputs, tf_keras.layers.Dense(4)(hidden))

    return mixed


def local():
    return tf_keras.layers.LocallyConnected1D(3, 1)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: tf_keras.layers.LSTM(3), (2, 1)),
        (local, (2, 1)),
    ],
    ids=["LSTM", "LocallyConnected1D"],
)
def test_warning_for_layers_that_are_not_normalized(layer, shape):
    found = backend.describe(
        NetworkFunction(beside_dense(layer, shape), (2,))
    ).description
    (name,) = found.unnormalized  # neither Dense nor BatchNormalization
    assert name.endswith(f"({type(layer()).__name__})")


def test_layers_that_are_not_normalized_are_reported_once(small, moons):
    X, y = moons
    clf = small(SNGPClassifier, network=beside_dense(local, (2, 1)), epochs=1)
    with pytest.warns(UserWarning, match="has no effect") as caught:
        clf.fit(X, y).fit(X, y)
    messages = [str(warning.message) for warning in caught]
    (message,) = [text for text in messages if "has no effect" in text]
    assert "(LocallyConnected1D)" in message
    assert "(Dense)" not in message
    assert "BatchNormalization" not in message


def test_no_warning_if_all_layers_are_normalized(small, moons):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(SNGPClassifier, network=normalized, epochs=1).fit(*moons)


def test_no_warning_without_a_spectral_norm_bound(small, moons, no_training):
    clf = small(SNGPClassifier, network=beside_dense(local, (2, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(pytest.fail.Exception, match="training began"):
            clf.set_params(spec_norm_bound=None).fit(*moons)


@pytest.mark.slow
def test_sngp_rejects_layers_that_cannot_be_normalized(small, moons):
    assert small(SNGPClassifier, network=grouped).fit(*moons)
    with pytest.raises(ValueError, match=r"requires images of a fixed size.*None"):
        small(SNGPClassifier, network=of_any_size).fit(*moons)
    for clf in (
        small(SNGPClassifier, network=grouped, spec_norm_bound=None),
        small(ResNetClassifier, network=of_any_size),
    ):
        assert clf.fit(*moons).predict(moons[0]).shape == (200,)


@pytest.mark.slow
def test_numbers_that_are_in_no_table(reader):
    X, y = sentences(400)
    with pytest.raises(
        ValueError, match=r"transformer failed on these samples.*standardize=False"
    ):
        clone(reader).set_params(standardize=True).fit(X, y)
    with pytest.raises(ValueError, match=r"= 40 is not in \[0, 12\)"):
        reader.predict(np.where(X == 3, 40, X))
    assert reader.predict(X).shape == (400,)


def test_warning_for_an_output_layer(small, moons):
    def with_output(shape):
        layers = [tf_keras.Input(shape), tf_keras.layers.Dense(2, activation="softmax")]
        return tf_keras.Sequential(layers)

    for _ in range(2):
        with pytest.warns(UserWarning, match="network=with_output ends in a softmax"):
            small(ResNetClassifier, network=with_output, epochs=1).fit(*moons)
    nothing = small(ResNetClassifier, network=only_rows, epochs=1).fit(*moons)
    assert nothing.weights_["output/kernel"].shape == (2, 2)


def test_further_training_reports_changed_parameters(digits):
    X, y = digits
    clf = ResNetClassifier(network=Convolution(3), image_shape=(8, 8, 1), epochs=1)
    clf.set_params(warm_start=True).fit(X, y)
    with pytest.raises(
        ValueError, match=r"parameters: image_shape=\(4, 16, 1\) instead of \(8"
    ):
        clf.set_params(image_shape=(4, 16, 1)).fit(X, y)
    clf.set_params(image_shape=(8, 8, 1), network__channels=4, optimizer="sgd")
    with pytest.raises(
        ValueError, match=r": num_hidden=4 .* 3, optimizer='sgd' .*, network="
    ):
        clf.fit(X, y)


@pytest.mark.slow
def test_bound_that_is_added_later_is_reported(small, moons):
    clf = small(SNGPClassifier, network=normalized, spec_norm_bound=None, epochs=1)
    clf.fit(*moons).set_params(spec_norm_bound=0.9)
    with pytest.raises(ValueError, match="spectral normalization=True instead of Fal"):
        clf.partial_fit(*moons)


def test_a_model_is_no_function(make_two, moons):
    with pytest.raises(ValueError, match="must be a function that builds a model"):
        make_two(network=dense((2,))).fit(*moons)


def test_images_of_another_shape_are_rejected(digits):
    X, y = digits
    clf = ResNetClassifier(network=Convolution(3), epochs=1)
    clf.fit(X.reshape(-1, 8, 8, 1), y)
    with pytest.raises(ValueError, match=r"must hold images of shape \(8, 8, 1\)"):
        clf.predict(X.reshape(-1, 4, 16, 1))
    with pytest.raises(ValueError, match="expecting 64 features"):
        clf.predict(X[:, :63])
    with pytest.raises(ValueError, match=r"dim 3, .*expand_dims\(X, -1\)"):
        clf.predict(X.reshape(-1, 8, 8))
    with pytest.raises(ValueError, match=r"dim 3, .*expand_dims\(X, -1\)"):
        clf.predict(X.reshape(-1, 8, 8).tolist())
    nested = X.reshape(-1, 8, 8, 1).tolist()
    assert_array_equal(clf.predict(nested), clf.predict(X))


@pytest.mark.slow
def test_network_that_is_too_large(make, moons, monkeypatch):
    monkeypatch.setattr(memory_needs, "available_bytes", lambda: 0)
    monkeypatch.setattr(memory_needs, "MIN_CHECKED_BYTES", 0)
    clf = make(network=normalized, batch_size=None)
    with pytest.raises(MemoryError, match=r"This fit needs at least .* are available"):
        clf.fit(*moons)
    monkeypatch.setattr(memory_needs, "available_bytes", lambda: 2**40)
    clf.fit(*moons)
