"""ONNX models return what the methods of the classifiers return."""

import json
import os
import subprocess
import sys
from subprocess import CompletedProcess

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tf_keras
from common import CLASSIFIERS
from sklearn.exceptions import NotFittedError

from sksngp import (
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    WideResNet,
)
from sksngp._tensorflow import export_onnx

#: Program that converts models one after the other, each by the arguments in a line.
CONVERTER = """
import json, sys, tf2onnx.convert
for line in sys.stdin:
    sys.argv = ["convert", *json.loads(line)]
    tf2onnx.convert.main()
    print("converted", flush=True)
"""
#: Rounding errors of probabilities and uncertainties of float32 networks.
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def converter(tmp_path_factory):
    """Return a function with the arguments of `subprocess.run` for the converter."""
    process = None
    log_path = tmp_path_factory.mktemp("converter") / "log"
    log = log_path.open("wb")

    def run(command, env, **kwargs):
        nonlocal process
        assert command[1:3] == ["-m", "tf2onnx.convert"]
        if process is None or process.poll() is not None:
            process = subprocess.Popen(
                [command[0], "-c", CONVERTER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=env,
            )
        print(json.dumps(command[3:]), file=process.stdin, flush=True)
        done = process.stdout.readline() == "converted\n"
        if not done:
            process.wait()
        return CompletedProcess(command, int(not done), stderr=log_path.read_bytes())

    yield run
    if process is not None:
        process.communicate()
    log.close()


@pytest.fixture
def one_process(converter, monkeypatch):
    """Convert all models in one process, whose start takes seconds."""
    monkeypatch.setattr(export_onnx.subprocess, "run", converter)


def run(clf, X, path):
    """Export a classifier; return the outputs of onnxruntime by name."""
    clf.export_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    with_nan, outputs = (
        dict(zip(names, session.run(names, {"inputs": inputs}), strict=True))
        for inputs in (nan_first(X), X)
    )
    assert_nan_is_flagged(with_nan)
    return outputs


def nan_first(X):
    """Return inputs of two samples, the first of which has a missing value."""
    inputs = np.array(X[:2])
    inputs.flat[0] = np.nan
    return inputs


def assert_nan_is_flagged(outputs):
    assert outputs["ood"][0]
    assert outputs["ood_score"][0] == np.inf > outputs["ood_score"][1]
    assert outputs["ood_pvalue"][0] <= outputs["ood_pvalue"][1]


def assert_equal_outputs(found, clf, X, rounding=ROUNDING):
    label = found.pop("label")
    label = label.astype(str) if label.dtype == object else label
    np.testing.assert_array_equal(label, clf.predict(X))
    np.testing.assert_array_equal(found.pop("ood"), clf.predict_ood(X))
    expected = {
        "aleatoric": clf.predict_uncertainty(X, kind="aleatoric"),
        "epistemic": clf.predict_uncertainty(X, kind="epistemic"),
        "ood_pvalue": clf.ood_pvalue(X),
        "ood_score": -clf.score_samples(X),
        "probabilities": clf.predict_proba(X),
        "total": clf.predict_uncertainty(X),
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        # Surprisals divide rounding errors by a small scale.
        tolerance = rounding * (10.0 if name == "ood_score" else 1.0)
        np.testing.assert_allclose(
            found[name], values, rtol=tolerance, atol=tolerance, err_msg=name
        )


def labeled(classes, y):
    return np.array(classes)[y]


@pytest.mark.slow  # a process that starts TensorFlow, as in the following tests
def test_outputs_equal(small, iris, tmp_path):
    X, y = iris
    clf = small(SNGPClassifier, ood_alpha=0.2).fit(X, labeled(["a", "ä", "c"], y))
    X = np.concatenate([X, X[:20] * 3.0])
    assert_equal_outputs(run(clf, X, tmp_path / "model.onnx"), clf, X)
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("Classifier", CLASSIFIERS[1:])
def test_outputs_of_other_classifiers_equal(
    Classifier, small, iris, tmp_path, one_process
):
    X, y = iris
    clf = small(Classifier, ood_alpha=0.2).fit(X, labeled([7, 3, -1], y))
    X = np.concatenate([X, X[:20] * 3.0])
    assert_equal_outputs(run(clf, X, tmp_path / "model.onnx"), clf, X)


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {"dtype": "float64", "standardize": False},
        {"inference": "monte_carlo", "covariance": "per_class"},
        {"cov_momentum": 0.9, "temperature": 2.0},
    ],
    ids=str,
)
def test_forms_of_the_posterior(small, moons, tmp_path, one_process, params):
    X, y = moons
    clf = small(SNGPClassifier, **params).fit(X, labeled([False, True], y))
    rounding = 1e-12 if clf.dtype == "float64" else ROUNDING
    assert_equal_outputs(run(clf, X, tmp_path / "model.onnx"), clf, X, rounding)


def convolution(shape):
    images = tf_keras.Input(shape)
    hidden = tf_keras.layers.Conv2D(3, 3, activation="relu")(images)
    return tf_keras.Model(images, tf_keras.layers.Flatten()(hidden))


@pytest.mark.slow
@pytest.mark.parametrize("network", [convolution, WideResNet(10, 1)])
def test_networks_for_images(small, tmp_path, one_process, network):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8, 8, 1)), np.arange(60) % 2
    clf = small(ResNetClassifier, network=network, epochs=1).fit(X, y)
    assert_equal_outputs(run(clf, X, tmp_path / "model.onnx"), clf, X)


@pytest.mark.slow
def test_operations_that_onnx_lacks_are_named(small, tmp_path, one_process):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8, 8, 1)), np.arange(60) % 2
    clf = small(MCDropoutClassifier, network=WideResNet(10, 1), epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"not have these operations.*Stateless"):
        clf.export_onnx(tmp_path / "model.onnx")
    assert not os.listdir(tmp_path)


KINDS = onnx.TensorProto
FIRST = ("Cast", ["x"], ["single"], "net/Log__3", {"to": KINDS.FLOAT})
LOG = ("Log", ["single"], ["log"], "net/Log", {})
BACK = ("Cast", ["log"], ["y"], "net/Log_castback__5", {"to": KINDS.DOUBLE})
OWN = ("Cast", ["x"], ["single"], "net/Cast_1", {"to": KINDS.FLOAT})


@pytest.mark.parametrize(
    ("nodes", "kind", "in_float64"),
    [
        ([FIRST, LOG, BACK], KINDS.DOUBLE, True),
        ([FIRST, LOG, BACK], KINDS.INT32, True),
        ([FIRST, LOG, BACK], KINDS.FLOAT, True),
        # The network itself casts to float32.
        ([OWN, LOG, BACK], KINDS.DOUBLE, False),
        # Without the first cast, as tf2onnx writes the logarithm of a cast tensor.
        ([("Abs", ["x"], ["single"], "net/Abs", {}), LOG, BACK], KINDS.FLOAT, False),
        ([("Log", ["x"], ["log"], "net/Log", {}), BACK], KINDS.FLOAT, False),
        # The values in float32 have other uses.
        ([FIRST, LOG, BACK, ("Abs", ["single"], ["z"], "a", {})], KINDS.DOUBLE, False),
        ([FIRST, LOG, BACK, ("Abs", ["log"], ["z"], "a", {})], KINDS.DOUBLE, False),
    ],
)
def test_logarithms_are_computed_in_float64(nodes, kind, in_float64):
    made = [onnx.helper.make_node(*node[:3], name=node[3], **node[4]) for node in nodes]
    ends = [
        onnx.helper.make_tensor_value_info(name, type_, [None])
        for name, type_ in [("x", kind), ("y", KINDS.DOUBLE), ("z", KINDS.FLOAT)]
    ]
    outputs = ends[1 : 2 + any("z" in node.output for node in made)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(made, "logarithms", ends[:1], outputs),
        opset_imports=[onnx.helper.make_opsetid("", export_onnx.OPSET)],
        ir_version=10,
    )
    export_onnx._compute_logarithms_in_float64(model)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.array([3.0 + 1e-9]).astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    error = abs(session.run(["y"], {"x": x})[0] - np.log(x.astype(np.float64)))
    assert (error < 1e-15) == in_float64


@pytest.mark.slow
@pytest.mark.parametrize(
    "logarithm",
    [
        lambda x: tf.math.log(x) * 0.5,
        lambda x: tf.math.log(x * 1e-60),  # 0 in float32
        lambda x: tf.cast(tf.math.log(tf.cast(x, tf.float32)), tf.float64),
        lambda x: tf.stop_gradient(  # minus infinity before the maximum
            tf.maximum(
                tf.cast(tf.math.log(tf.cast(x * 1e-60, tf.float32)), tf.float64), -9.0
            )
        ),
    ],
    ids=["float64", "tiny", "float32", "infinite"],
)
def test_logarithms_of_custom_networks(small, moons, tmp_path, one_process, logarithm):
    def network(shape):
        inputs = tf_keras.Input(shape)
        positive = tf.abs(tf_keras.layers.Dense(8)(inputs)) + 0.1
        logarithms = logarithm(tf.cast(positive, tf.float64))
        return tf_keras.Model(inputs, tf.cast(logarithms, tf.float32))

    X, y = moons
    clf = small(ResNetClassifier, network=network).fit(X, y)
    assert_equal_outputs(run(clf, X, tmp_path / "model.onnx"), clf, X)


def test_unfitted_classifiers_are_rejected(make_two, tmp_path):
    with pytest.raises(NotFittedError):
        make_two().export_onnx(tmp_path / "model.onnx")


def test_missing_converter_is_named(fitted_on_moons, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match="pip install tf2onnx"):
        fitted_on_moons(ResNetClassifier).export_onnx(tmp_path / "model.onnx")
