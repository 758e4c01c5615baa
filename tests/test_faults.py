"""Robustness: interrupts, clocks, the environment of a process and dying workers."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    pool,
)
from sksngp.compiled import CompiledNetwork

# Interrupts


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_exception_between_two_epochs(
    make_two, moons, outputs, monkeypatch, error, how
):
    """Some steps have been made, and the network is leased."""
    X, y = moons
    clf = make_two().fit(X, y)
    before, state = outputs(clf, X), dict(vars(clf))
    idle = sum(map(len, pool._idle.values()))
    epochs, real = [], CompiledNetwork.epoch

    def epoch(self, *args):
        loss = real(self, *args)
        epochs.append(loss)
        if len(epochs) == (3 if how == "fit" else 1):
            if error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            raise error("in the middle")
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(CompiledNetwork, "epoch", epoch)
        with pytest.raises(error):
            getattr(clf, how)(X[::-1] + 1, y[::-1])
    assert vars(clf).keys() == state.keys()
    assert all(vars(clf)[name] is value for name, value in state.items())
    assert_array_equal(outputs(clf, X), before)
    assert sum(map(len, pool._idle.values())) == idle
    traces = pool.num_traces()
    assert_array_equal(outputs(clf.fit(X, y), X), before)
    assert pool.num_traces() == traces


def test_interrupt_signal_at_any_moment(run_python):
    """The signal comes from outside, at different moments of a fit."""
    run = run_python(
        """
        import os, signal, threading, time
        import numpy as np
        from sksngp import SNGPClassifier

        X = np.random.default_rng(0).normal(size=(300, 3))
        y = X[:, 0] > 0
        params = dict(num_layers=1, num_hidden=8, num_inducing=32, random_state=0)
        clf = SNGPClassifier(epochs=3, **params).fit(X, y)
        expected = clf.predict_proba(X)
        interrupted = 0
        for delay in np.linspace(0.01, 0.2, 6):
            state = dict(vars(clf))
            clf.epochs = state["epochs"] = 10_000
            timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
            try:
                timer.start()
                clf.fit(X[::-1], ~y)
                time.sleep(1)
            except KeyboardInterrupt:
                interrupted += 1
            assert all(vars(clf)[name] is value for name, value in state.items())
            np.testing.assert_array_equal(clf.predict_proba(X), expected)
            clf.epochs = 3
            np.testing.assert_array_equal(clf.fit(X, y).predict_proba(X), expected)
        print(interrupted)
        """
    )
    assert run.stdout.split() == ["6"], run.stderr


# Clocks


def test_clocks_do_not_change_the_results(
    make_two, fitted_two, moons, outputs, monkeypatch
):
    """Even clocks that run backwards, which the progress bar reads."""
    X, y = moons
    expected = outputs(fitted_two, X)
    zone, now = time.tzname, [1e9]

    def backwards():
        now[0] -= 1000
        return now[0]

    with monkeypatch.context() as patch:
        for name in ("time", "monotonic", "perf_counter"):
            patch.setattr(time, name, backwards)
        clocks = time.time, time.monotonic, time.perf_counter
        found = outputs(make_two(verbose=1).fit(X, y), X)
        assert (time.time, time.monotonic, time.perf_counter) == clocks
    assert_array_equal(found, expected)
    assert time.tzname == zone


# The environment of a process

WORK = """
import hashlib, sys
import numpy as np
import sksngp

X = np.random.default_rng(0).normal(size=(200, 3))
y = np.array(["no", "yes", "maybe"])[(X[:, 0] > 0) * 1 + (X[:, 1] > 1)]
digest = hashlib.sha256()
for name in ("SNGPClassifier", "DeepEnsembleClassifier"):
    clf = getattr(sksngp, name)(num_layers=1, num_hidden=8, epochs=2, random_state=0)
    clf.fit(X, y).partial_fit(X, y)
    digest.update(clf.predict_proba(X).tobytes() + "".join(clf.predict(X)).encode())
print(digest.hexdigest())
"""


def digest_in(before="", **environment):
    """Return the digest of the predictions of a new process, which runs `before`."""
    run = subprocess.run(
        [sys.executable, "-c", before + WORK],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout.strip()


HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "KERAS_HOME")
NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname",):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
"""
DECIMAL_COMMA = """
import locale

locale.setlocale(locale.LC_NUMERIC, "comma")
assert locale.localeconv()["decimal_point"] == ","
assert locale.str(1.5) == "1,5"
"""


@pytest.fixture
def comma(tmp_path):
    """Environment variables that select a locale with decimal commas, "comma".

    The machine may have no such locale. The file is in glibc's format of LC_NUMERIC: a
    number for the category, the number of items, their offsets, and the items. These
    are the decimal point, the thousands separator, the grouping, both characters as
    numbers, and the encoding.
    """
    items = [b",\0\0\0", b".\0\0\0", b"\x03\x03\0\0", struct.pack("=I", ord(","))]
    items += [struct.pack("=I", ord(".")), b"UTF-8\0"]
    start = 8 + 4 * len(items)
    offsets = [start + sum(map(len, items[:index])) for index in range(len(items))]
    (tmp_path / "comma").mkdir()
    (tmp_path / "comma" / "LC_NUMERIC").write_bytes(
        struct.pack(f"={2 + len(items)}I", 0x20031115 ^ 1, len(items), *offsets)
        + b"".join(items)
    )
    return {"LOCPATH": str(tmp_path), "LC_NUMERIC": "comma"}


def test_environment_does_not_change_the_results(comma):
    """Hash seed, a home folder that is not writable, no network and decimal commas.

    The home folder is a device, because root may write to folders without permission.
    """
    with pytest.raises(AssertionError, match=r"AssertionError: socket\."):
        digest_in(NO_NETWORK + "import socket; socket.create_connection(('::1', 1))\n")
    environment = dict.fromkeys(HOMES, os.devnull) | comma
    environment["PYTHONHASHSEED"] = "4242"
    found = digest_in(NO_NETWORK + DECIMAL_COMMA, **environment)
    assert found == digest_in(PYTHONHASHSEED="0")


def test_command_line_in_a_locale_with_decimal_commas(comma, tmp_path):
    """Tables are read and written with decimal points in every locale."""
    X = np.random.default_rng(0).normal(size=(80, 2))
    table = pd.DataFrame(X, columns=["a", "b"]).assign(kind=X[:, 0] > 0)
    table.to_csv(tmp_path / "train.csv", index=False)
    code = DECIMAL_COMMA + "from sksngp.__main__ import main\nmain(sys.argv[1:])"
    arguments = ["--data", "train.csv", "--target", "kind", "--score", "train.csv"]
    arguments += ["--output", "scored.csv", "--epochs", "1"]
    run = subprocess.run(
        [sys.executable, "-c", "import sys\n" + code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **comma},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    scored = pd.read_csv(tmp_path / "scored.csv")
    assert scored[["a", "b"]].to_numpy() == pytest.approx(X)
    assert len(scored.select_dtypes(float).columns) >= 4  # two are the scores


# Workers and threads


def fit_and_die(clf, X, y):
    clf.fit(X, y)
    os._exit(1)


@pytest.mark.slow
def test_workers_that_die(small, moons):
    clf = small(ResNetClassifier, epochs=1)
    search = GridSearchCV(clf, {"num_hidden": [4, 8]}, cv=2)
    expected = search.fit(*moons).cv_results_["mean_test_score"]
    with pytest.raises(TerminatedWorkerError):
        Parallel(n_jobs=2)(delayed(fit_and_die)(clf, *moons) for _ in range(2))
    found = search.set_params(n_jobs=2).fit(*moons).cv_results_["mean_test_score"]
    assert_array_equal(found, expected)


@pytest.mark.slow
def test_eight_threads_and_three_models_for_a_minute(small, moons, outputs):
    X, y = moons
    models = [
        small(Classifier).fit(X, y)
        for Classifier in (SNGPClassifier, MCDropoutClassifier, DeepEnsembleClassifier)
    ]
    queries = [
        (clf, X[start : start + count])
        for clf in models
        for start, count in [(0, 1), (3, 50), (60, 64), (10, 190)]
    ]
    answers = [outputs(clf, rows) for clf, rows in queries]  # each asked alone
    barrier, end = threading.Barrier(8, timeout=60), time.monotonic() + 60

    def ask(seed):
        rng, wrong, asked = np.random.default_rng(seed), 0, 0
        barrier.wait()
        while time.monotonic() < end:
            which = rng.integers(len(queries))
            wrong += not np.array_equal(outputs(*queries[which]), answers[which])
            asked += 1
            time.sleep(0.05)
        return wrong, asked

    with ThreadPoolExecutor(8) as executor:
        wrong, asked = zip(*executor.map(ask, range(8)), strict=True)
    assert sum(wrong) == 0
    assert min(asked) > 10


@pytest.mark.slow
def test_memory_and_traces_stay_flat_over_500_fits():
    code = """
import itertools
import numpy as np
from sksngp import *
from sksngp import pool

X = np.random.default_rng(0).normal(size=(100, 2))
y = X[:, 0] > 0
small = dict(num_layers=1, num_hidden=8, epochs=1)
classifiers = itertools.cycle([
    SNGPClassifier(num_inducing=16, **small),
    ResNetClassifier(**small),
    MCDropoutClassifier(num_samples=2, **small),
    DeepEnsembleClassifier(num_ensemble=2, **small),
])

def fit(times):
    for clf in itertools.islice(classifiers, times):
        clf.fit(X, y).predict_uncertainty(X)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]), pool.num_traces()

pages, traces = fit(52)
later, traces_later = fit(500)
print(later / pages, traces_later - traces)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=550,
    )
    growth, traces = run.stdout.split() or pytest.fail(run.stderr)
    assert 0.8 < float(growth) < 1.05
    assert int(traces) == 0
