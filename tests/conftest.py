"""Fixtures: small versions of the four classifiers, and training data."""

import atexit
import gc
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from textwrap import dedent

# Temporary files, including those that TensorFlow leaves in processes that are killed,
# and settings and caches of other libraries are written to one folder. Processes of
# pytest-xdist share the folder of the process that started them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _folder = tempfile.mkdtemp(prefix="sksngp-tests-")
    _remove = partial(shutil.rmtree, _folder, ignore_errors=True)
    atexit.register(_remove)
    os.environ["TMPDIR"] = tempfile.tempdir = _folder
    for _name in (
        "DASK_CONFIG",
        "HYPOTHESIS_STORAGE_DIRECTORY",
        "KERAS_HOME",
        "MPLCONFIGDIR",
    ):
        os.environ[_name] = str(Path(_folder, _name.lower()))
# Test processes run in parallel and inherit this: each computes with one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "agg"
# Some test modules import TensorFlow before the library, which sets this, does.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from matplotlib.figure import Figure
from sklearn.datasets import load_iris

import sksngp
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._cli import classifiers
from sksngp._cli.columns import Column
from sksngp._cli.main import main
from sksngp._cli.model import Model, save_model
from sksngp._cli.pipeline import build_pipeline
from sksngp._cli.spelling import Spellings
from sksngp._tensorflow import network_pool
from sksngp._uncertainty.entropy import KINDS
from sksngp.datasets import two_moons

# Tests share a few dozen architectures, because compiling takes most of the time.
network_pool.MAX_ARCHITECTURES = 200

pytest.register_assert_rewrite("command_line", "common")

# The time of an example includes compiling networks. Nothing is stored between runs.
settings.register_profile("sksngp", database=None, deadline=None, max_examples=50)
settings.load_profile("sksngp")


#: Tests that use the package as its users do. The coverage that is measured is that of
#: the other tests, which also saves time.
NOT_MEASURED = {
    "test_benchmarks",
    "test_benchmarks_tables",
    "test_defaults",
    "test_faults",
    "test_integration",
    "test_load",
    "test_quality",
    "test_sentence_embeddings",
    "test_serve",
    "test_serve_openapi",
    "test_sklearn_checks",
}


def pytest_collection_modifyitems(items):
    """Measure the coverage of quick tests, and start slow ones before the others.

    Tracing takes half as long again. At the end of a run, no test should be so long
    that the other processes wait for it.
    """

    def is_slow(item):
        return item.get_closest_marker("slow") is not None

    for item in items:
        if is_slow(item) or item.path.stem in NOT_MEASURED:
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=lambda item: not is_slow(item))


def pytest_collection_finish():
    """Exempt the objects of imported libraries from collections, for speed."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(exitstatus):
    """Keep the temporary files if a test failed."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if exitstatus == pytest.ExitCode.TESTS_FAILED and not is_worker:
        atexit.unregister(_remove)


SMALL = {
    "num_layers": 2,
    "num_hidden": 16,
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "epochs": 5,
    "cv": None,
    "random_state": 0,
}
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
def one_of_four(request):
    """Each classifier class in turn."""
    return request.param


@pytest.fixture(
    scope="session",
    params=[ResNetClassifier, SNGPClassifier],
    ids=lambda cls: cls.__name__,
)
def one_of_two(request):
    """Two classes in turn, for tests of code that all classifiers inherit."""
    return request.param


@pytest.fixture(scope="session")
def make(small, one_of_four):
    """``make(**params)``: a small instance of each of the four classes in turn."""
    return partial(small, one_of_four)


@pytest.fixture(scope="session")
def make_two(small, one_of_two):
    """``make_two(**params)``: a small instance of each of two classes in turn."""
    return partial(small, one_of_two)


@pytest.fixture(scope="session")
def make_resnet(small):
    """``make_resnet(**params)``: one class, for code that all classifiers inherit."""
    return partial(small, ResNetClassifier)


def pickled(clf):
    """Return the attributes of a classifier, each as bytes."""
    return {name: pickle.dumps(value) for name, value in vars(clf).items()}


@pytest.fixture(scope="session")
def fitted_on_moons(small, moons):
    """``fitted_on_moons(Classifier)``: ``small(Classifier)``, fitted once.

    The result is shared by all tests of a session. Copy it before changing it.
    """
    states = []

    @cache
    def fit(Classifier):
        clf = small(Classifier).fit(*moons)
        states.append((clf, pickled(clf)))
        return clf

    yield fit
    for clf, state in states:  # pickles also reveal changes within arrays
        found = pickled(clf)
        assert found.keys() == state.keys(), "a test changed a shared classifier"
        for name, value in state.items():
            assert found[name] == value, f"a test changed a shared {name}"


@pytest.fixture(scope="session")
def fitted(fitted_on_moons, one_of_four):
    """Return a shared classifier of each of the four classes, fitted on the moons."""
    return fitted_on_moons(one_of_four)


@pytest.fixture(scope="session")
def fitted_two(fitted_on_moons, one_of_two):
    """Return a shared classifier of each of two classes, fitted on the moons."""
    return fitted_on_moons(one_of_two)


@pytest.fixture(scope="session")
def moons():
    X, y = two_moons(200, random_state=0)
    return X.astype(np.float32).astype(np.float64), y  # exact in float32


@pytest.fixture(scope="session")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def outputs():
    """``outputs(clf, X)``: all numeric predictions of a fitted classifier."""

    def stack(clf, X):
        scores = [clf.predict_uncertainty(X, kind=kind) for kind in KINDS]
        scores += [clf.score_samples(X), clf.predict_ood(X)]
        return np.column_stack([clf.predict_proba(X), *scores])

    return stack


@pytest.fixture
def no_training(monkeypatch):
    """Fail if a network is leased: errors must be raised before that."""
    monkeypatch.setattr(
        network_pool, "lease", lambda *_, **__: pytest.fail("training began")
    )


@pytest.fixture
def small_command_line(monkeypatch):
    """Let the command line train small networks."""
    make_classifier = classifiers.make_classifier

    def make_small(name, options, **params):
        clf = make_classifier(name, options, **params)
        small = {"num_layers": 1, "num_hidden": 16, "learning_rate": 0.02, "cv": None}
        own = {"num_inducing": 256, "num_ensemble": 2}
        small |= {key: own[key] for key in own.keys() & clf.get_params().keys()}
        return clf.set_params(**small)

    monkeypatch.setattr(classifiers, "make_classifier", make_small)


@pytest.fixture
def train_csv(tmp_path):
    """Path of a table of mixed types."""
    from command_line import people, write_csv  # after its assertions are rewritten

    return write_csv(tmp_path / "train.csv", people())


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run(train, new, *options)``: the output, and the scored table."""
    monkeypatch.chdir(tmp_path)

    def run(train, new, *options, sep=",", decimal="."):
        train.to_csv("a.csv", index=False, sep=sep, decimal=decimal)
        new.to_csv("b.csv", index=False, sep=sep, decimal=decimal)
        argv = "--data a.csv --target target --score b.csv --output o.csv --epochs 5"
        assert main([*argv.split(), *options]) == 0
        scored = pd.read_csv("o.csv", sep=sep, decimal=decimal, keep_default_na=False)
        return capsys.readouterr().out, scored

    return run


@pytest.fixture(scope="session")
def table_model(tmp_path_factory):
    """Return the path of a model file of the command line."""
    table = {"age": [20.0, 30.0, 40.0] * 8, "city": ["Bonn", "Rome", "Oslo"] * 8}
    frame = pd.DataFrame(table)
    columns = [
        Column("age", "number", sample=[20.0, 30.0, 40.0]),
        Column(
            "city",
            "text",
            counts=dict.fromkeys(table["city"], 8),
            spellings={city: city for city in table["city"]},
        ),
    ]
    clf = SNGPClassifier(num_layers=1, num_inducing=16, epochs=1, cv=None)
    pipeline = build_pipeline(columns, clf).fit(frame, np.array(["a", "b"] * 12))
    labels = Spellings({"a": "a", "b": "b"})
    model = Model(columns, "kind", labels, "train.csv", 24, 24, pipeline)
    path = tmp_path_factory.mktemp("trained") / "m.sksngp"
    save_model(model, str(path))
    return path


@pytest.fixture(scope="session")
def run_python():
    """``run_python(code, *arguments)``: a completed process that ran `code`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(sksngp.__file__).parents[1])}
    return lambda code, *arguments: subprocess.run(
        [sys.executable, "-c", dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )


# Displays


@pytest.fixture
def ax():
    """Axes that pyplot does not know. Figures that it knows are closed at the end."""
    yield Figure().subplots()
    plt.close("all")


@pytest.fixture
def data():
    """Samples of two features, and labels that depend on the first one."""
    rng = np.random.default_rng(0)
    X = rng.uniform([-1, -2], [1, 3], size=(40, 2))
    return X, np.where(X[:, 0] > 0, "right", "left")


@pytest.fixture
def judged():
    """Probabilities of three classes, and labels drawn from them."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 300)
    return proba, np.array([rng.choice(3, p=p) for p in proba])
