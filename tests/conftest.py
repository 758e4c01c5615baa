"""Small versions of the four classifiers, and data to fit them on."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from textwrap import dedent

# Test processes run side by side and inherit this: each computes with one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Some test modules import TensorFlow before the library, which sets this, does.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import pytest
from sklearn.datasets import load_iris

import sksngp
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp.datasets import two_moons
from sksngp.uncertainty import KINDS

SMALL = {"num_layers": 2, "num_hidden": 16, "epochs": 5, "random_state": 0}
OWN = {
    SNGPClassifier: {"num_inducing": 64},
    ResNetClassifier: {},
    MCDropoutClassifier: {},
    DeepEnsembleClassifier: {"num_ensemble": 3},
}


@pytest.fixture(scope="session")
def small():
    """``small(Classifier, **params)``: an instance that fits in milliseconds."""
    return lambda Classifier, **params: Classifier(
        **{**SMALL, **OWN[Classifier], **params}
    )


@pytest.fixture(scope="session", params=OWN, ids=lambda cls: cls.__name__)
def make(request, small):
    """``make(**params)``: a small instance of each classifier in turn."""
    return partial(small, request.param)


@pytest.fixture(scope="session")
def moons():
    X, y = two_moons(200, random_state=0)
    return X.astype(np.float32).astype(np.float64), y  # float32 holds them exactly


@pytest.fixture(scope="session")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def outputs():
    """``outputs(clf, X)``: all numbers that a fitted classifier gives for rows."""

    def stack(clf, X):
        scores = [clf.predict_uncertainty(X, kind=kind) for kind in KINDS]
        scores += [clf.score_samples(X), clf.predict_ood(X)]
        return np.column_stack([clf.predict_proba(X), *scores])

    return stack


@pytest.fixture(scope="session")
def run_python():
    """``run_python(code, *arguments)``: what a process of its own printed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(sksngp.__file__).parents[1])}
    return lambda code, *arguments: subprocess.run(
        [sys.executable, "-c", dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
