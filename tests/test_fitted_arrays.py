"""The arrays of a fitted classifier: their names, shapes, types and values."""

import copy

import numpy as np
import pytest

from sksngp import SNGPClassifier
from sksngp.persistence import ModelFileError, save


def test_fitted_arrays_are_read_only(fitted_on_moons, moons):
    clf = fitted_on_moons(SNGPClassifier)
    clf.predict(moons[0])
    with pytest.raises(ValueError, match="read-only"):
        clf.weights_["output/bias"][:] = 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda clf: clf.weights_.pop("output/bias"),
            "names in weights_ differ from its architecture's",
        ),
        (
            lambda clf: clf.weights_.update({"output/bias": np.zeros(3, np.float32)}),
            r"output/bias has shape \(3,\), not \(2,\)",
        ),
        (
            lambda clf: clf.weights_.update({"output/bias": np.float32([np.nan, 0])}),
            "NaN",
        ),
        (lambda clf: setattr(clf, "classes_", [0, 1]), "classes_ is a list"),
        (lambda clf: setattr(clf, "classes_", np.array([1, 0])), "not sorted"),
        (lambda clf: setattr(clf, "classes_", np.array([1, 1])), "not unique"),
        (
            lambda clf: setattr(clf, "noise_", clf.noise_.astype(np.float32)),
            "noise_ is an array of float32, not float64",
        ),
        (
            lambda clf: clf.weights_.update({"output/bias": np.zeros(2, complex)}),
            "output/bias is an array of complex128, not float32",
        ),
        (lambda clf: setattr(clf, "ood_scores_", np.array(["a"])), "of <U1, not"),
        (lambda clf: setattr(clf, "temperature_", np.inf), "infinity"),
        (lambda clf: setattr(clf, "temperature_", 0.0), "temperature_ holds 0.0"),
        (lambda clf: setattr(clf, "kernel_scale_", -1.0), "kernel_scale_ holds -1.0"),
        (
            lambda clf: clf.projection_.scaler.scale_.fill(0),
            "scaler.scale_ holds 0.0, which is not positive",
        ),
        (
            lambda clf: clf.posterior_.triangle[:, 2].fill(-2),
            "diagonal of posterior_.triangle holds -2.0",
        ),
        (lambda clf: setattr(clf, "ood_threshold_", np.nan), "ood_threshold_"),
        (lambda clf: clf.architecture_.update(num_hidden=3), "shape"),
        (lambda clf: delattr(clf, "posterior_"), "posterior_"),
    ],
)
def test_invalid_fitted_arrays_are_rejected(fitted_on_moons, tmp_path, change, match):
    clf = copy.deepcopy(fitted_on_moons(SNGPClassifier))
    change(clf)
    with pytest.raises(ModelFileError, match=match):
        save(clf, tmp_path / "model")
