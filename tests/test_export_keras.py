"""Keras models with official layers return the probabilities of the classifiers."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from sksngp import DeepEnsembleClassifier, MCDropoutClassifier, SNGPClassifier


def rows_near_and_far(X):
    return np.concatenate([X, X[:20] * 3.0])


def assert_equal_probabilities(clf, X):
    model = clf.to_keras()
    tolerance = 1e-6 if clf.dtype == "float64" else 1e-4
    for _ in range(2):  # a call must not change the weights
        np.testing.assert_allclose(
            model(X).numpy(), clf.predict_proba(X), atol=tolerance
        )
    return model


def test_probabilities_equal(make, iris):
    clf = make(dtype="float64").fit(*iris)
    assert_equal_probabilities(clf, rows_near_and_far(iris[0]))


@pytest.mark.slow
def test_probabilities_equal_without_scaling(make_two, iris):
    clf = make_two(standardize=False).fit(*iris)
    assert_equal_probabilities(clf, rows_near_and_far(iris[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {"num_inducing": 32, "cov_momentum": 0.9},
        {"mean_field_factor": 0.0, "temperature": 2.0},
        {"dtype": "float64", "temperature": 0.5},
    ],
    ids=str,
)
def test_probabilities_equal_sngp(small, iris, params):
    clf = small(SNGPClassifier, **params).fit(*iris)
    assert_equal_probabilities(clf, rows_near_and_far(iris[0]))


@pytest.mark.parametrize(("offset", "scale"), [(1e9, 1.0), (0.0, 1e-12)])
def test_columns_of_large_offset_or_tiny_scale(make_two, moons, offset, scale):
    X = offset + scale * moons[0]
    assert_equal_probabilities(make_two().fit(X, moons[1]), X)


def test_layers_are_official_with_the_fitted_state(fitted_on_moons):
    # This imports Keras 3 and TensorFlow Text, as the export does.
    from official.nlp.modeling import layers as official

    clf = fitted_on_moons(SNGPClassifier)
    layers = clf.to_keras().layers
    hidden = [x for x in layers if isinstance(x, official.SpectralNormalization)]
    assert len(hidden) == clf.num_layers
    (gp,) = [x for x in layers if isinstance(x, official.RandomFeatureGaussianProcess)]
    np.testing.assert_allclose(
        gp._gp_cov_layer.precision_matrix.numpy(), clf.posterior_.precision[0]
    )
    for block, layer in enumerate(hidden):
        for name in ("u", "v"):
            expected = clf.weights_[f"hidden_{block}/{name}"]
            np.testing.assert_array_equal(getattr(layer, name).numpy(), expected)


@pytest.mark.slow
def test_weights_go_through_a_file(fitted, moons, tmp_path):
    X, _ = moons
    expected = fitted.predict_proba(X)
    fitted.to_keras().save_weights(tmp_path / "model.weights.h5")
    model = fitted.to_keras()
    model.set_weights([2 * w for w in model.get_weights()])
    assert np.abs(model(X).numpy() - expected).max() > 1e-3
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(model(X).numpy(), expected, atol=1e-4)


LOAD = """
import sys
import numpy as np
import tensorflow as tf

for name in sys.argv[1:]:
    model = tf.saved_model.load(name)
    np.save(name, model(np.load("rows.npy")))
"""


@pytest.mark.slow
def test_models_are_loaded_in_a_fresh_process(small, moons, tmp_path):
    X, y = moons
    classifiers = [
        small(SNGPClassifier),
        small(MCDropoutClassifier, num_samples=2),
        small(DeepEnsembleClassifier, num_ensemble=2),
    ]
    fitted = {type(clf).__name__: clf.fit(X, y) for clf in classifiers}
    np.save(tmp_path / "rows.npy", X)
    for name, clf in fitted.items():
        tf.saved_model.save(clf.to_keras(), str(tmp_path / name))
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, *fitted],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name, clf in fitted.items():
        found = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(found, clf.predict_proba(X), atol=1e-4)
