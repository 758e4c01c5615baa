"""SavedModels return the results of the classifiers without this package."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from common import CLASSIFIERS

from sksngp import ResNetClassifier, SNGPClassifier
from sksngp._uncertainty.conformal import pvalues

#: Program that loads SavedModels and can only import TensorFlow.
SERVE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"sksngp", "official", "tf_keras", "sklearn"}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
import numpy as np
import tensorflow as tf

rows = np.load("rows.npy")
for folder in sys.argv[1:]:
    served = tf.saved_model.load(folder).signatures["serving_default"]
    found = served(inputs=tf.constant(rows))
    found = {name: value.numpy() for name, value in found.items()}
    if found["label"].dtype == object:
        found["label"] = np.array([label.decode() for label in found["label"]])
    np.savez(f"{folder}.npz", **found)
assert "sksngp" not in sys.modules
"""
VARIANTS = [
    {"dtype": "float64", "ood_alpha": 0.001},  # the threshold is infinite
    {"standardize": False, "ood_alpha": 0.2},
]
OWN_VARIANTS = [
    {"inference": "monte_carlo"},
    {"inference": "monte_carlo", "covariance": "per_class"},
    {"cov_momentum": 0.9, "temperature": 2.0},
    {"num_inducing": 256, "num_hidden": 4, "mean_field_factor": 0.0},
]


def serve(clf, X, folder):
    clf.export_savedmodel(folder)
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](
        inputs=tf.constant(X)
    )
    return {name: value.numpy() for name, value in found.items()}


def assert_equal_outputs(found, clf, X, labels=None):
    tolerance = 1e-8 if clf.dtype == "float64" else 2e-4
    expected = {
        kind: clf.predict_uncertainty(X, kind=kind)
        for kind in ("total", "aleatoric", "epistemic")
    }
    expected["probabilities"] = clf.predict_proba(X)
    expected["ood_score"] = -clf.score_samples(X)
    for name, values in expected.items():
        # Scores of SNGP are sums of logarithms of p-values, which have steps.
        steps = 0.01 * (name == "ood_score") * isinstance(clf, SNGPClassifier)
        equal = np.isclose(found[name], values, atol=tolerance, rtol=tolerance)
        assert equal.mean() >= 1 - steps, name
    label = found["label"]
    label = label.astype(str) if label.dtype == object else label
    best = np.searchsorted(clf.classes_, label)
    top = expected["probabilities"].max(axis=1)
    chosen = expected["probabilities"][np.arange(len(X)), best]
    assert (chosen >= top - 2 * tolerance).all()
    # P-values and flags are those of the exported scores.
    ranks = pvalues(found["ood_score"], clf.ood_scores_)
    np.testing.assert_allclose(found["ood_pvalue"], ranks, atol=1e-12)
    np.testing.assert_array_equal(found["ood"], found["ood_score"] > clf.ood_threshold_)


def rows_near_and_far(X):
    # At larger distances, the phases of the cosines are imprecise in float32.
    return np.concatenate([X, X[:20] * 3.0])


def assert_same_flags(found, clf, X):
    np.testing.assert_array_equal(found["ood"], clf.predict_ood(X))
    np.testing.assert_allclose(found["ood_pvalue"], clf.ood_pvalue(X), atol=1e-12)


@pytest.mark.parametrize("params", VARIANTS, ids=str)
def test_outputs_and_flags_equal(make, iris, tmp_path, params):
    clf = make(**params).fit(*iris)
    X = rows_near_and_far(iris[0])
    found = serve(clf, X, tmp_path / "1")
    assert_equal_outputs(found, clf, X)
    assert_same_flags(found, clf, X)


@pytest.fixture(scope="module")
def grid():
    """Return samples, labels, and new samples with many duplicates of them."""
    rng = np.random.default_rng(0)
    X, fresh = rng.integers(0, 3, (2, 400, 4)).astype(float)
    sums = X[:, 0] + X[:, 1] + rng.normal(size=len(X))
    return X, np.digitize(sums, [1.0, 3.0]), fresh


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, *OWN_VARIANTS], ids=str)
def test_outputs_and_flags_of_known_and_of_repeated_samples(
    small, grid, params, tmp_path
):
    X, y, fresh = grid
    clf = small(SNGPClassifier, ood_alpha=0.2, **params).fit(X, y)
    X = rows_near_and_far(np.concatenate([X, fresh]))
    found = serve(clf, X, tmp_path / "1")
    assert_equal_outputs(found, clf, X)
    assert_same_flags(found, clf, X)


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, OWN_VARIANTS[1]], ids=str)
def test_flags_after_a_new_calibration(small, grid, params, tmp_path):
    X, y, fresh = grid
    clf = small(SNGPClassifier, ood_alpha=0.2, **params).fit(X, y)
    clf.calibrate_ood(fresh[:200])
    X = np.concatenate([X, fresh])
    assert_same_flags(serve(clf, X, tmp_path / "1"), clf, X)


def convolution(shape):
    images = tf_keras.Input(shape)
    hidden = tf_keras.layers.Conv2D(3, 3)(images)
    return tf_keras.Model(images, tf_keras.layers.Flatten()(hidden))


def test_images(small, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4, 4, 1)), np.arange(60) % 2
    clf = small(ResNetClassifier, network=convolution, epochs=1).fit(X, y)
    assert_equal_outputs(serve(clf, X, tmp_path / "1"), clf, X)
    np.testing.assert_allclose(clf.to_keras()(X), clf.predict_proba(X), atol=1e-5)


@pytest.mark.slow
def test_columns_with_large_offsets(make_two, moons, tmp_path):
    X = 1e9 + moons[0]
    clf = make_two().fit(X, moons[1])
    assert_equal_outputs(serve(clf, X, tmp_path / "1"), clf, X)


@pytest.mark.slow
def test_fresh_process_without_the_library(small, moons, tmp_path):
    X, y = moons
    labels = [["ä", "b"], [3, 7], [False, True], [7.0, -1.0]]
    fitted = {
        Classifier.__name__: small(Classifier).fit(X, np.array(classes)[y])
        for Classifier, classes in zip(CLASSIFIERS, labels, strict=True)
    }
    X = rows_near_and_far(X)
    np.save(tmp_path / "rows.npy", X)
    for name, clf in fitted.items():
        clf.export_savedmodel(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-I", "-c", SERVE, *fitted],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name, clf in fitted.items():
        found = np.load(tmp_path / f"{name}.npz")
        assert found["label"].dtype.kind == clf.classes_.dtype.kind
        assert_equal_outputs(found, clf, X)


def test_samples_with_nan_are_flagged(one_of_four, small, iris, tmp_path):
    clf = small(one_of_four, ood_alpha=0.2).fit(*iris)
    X = iris[0][:3].copy()
    X[1, 2] = np.nan
    found = serve(clf, X, tmp_path / "1")
    assert found["ood"][1] and found["ood_score"][1] == np.inf
    assert found["ood_pvalue"][1] == pytest.approx(1 / (1 + len(clf.ood_scores_)))
    np.testing.assert_array_equal(found["ood"][::2], clf.predict_ood(X[::2]))
