"""Robustness: interrupts, clocks, the environment of a process and dying workers."""

import inspect
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.testing import assert_array_equal
from sklearn.model_selection import cross_val_score

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._tensorflow import network_pool
from sksngp._tensorflow.compiled_network import CompiledNetwork

# Interrupts and memory leaks


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_exception_between_two_epochs(
    make_two, moons, outputs, monkeypatch, error, how
):
    """Interrupt after some optimizer steps, while the network is leased."""
    X, y = moons
    clf = make_two().fit(X, y)
    before, state = outputs(clf, X), dict(vars(clf))
    idle = sum(map(len, network_pool._idle.values()))
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
    assert sum(map(len, network_pool._idle.values())) == idle
    traces = network_pool.num_traces()
    assert_array_equal(outputs(clf.fit(X, y), X), before)
    assert network_pool.num_traces() == traces


# Processes with an unusual environment


def run_in(environment, code, *arguments, cwd=None):
    """Return a completed process that ran `code` with further environment variables."""
    return subprocess.run(
        [sys.executable, "-c", "import sys\n" + code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "KERAS_HOME")
NO_NETWORK = """
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


@pytest.fixture(scope="module")
def comma(tmp_path_factory):
    """Environment variables that select a locale with decimal commas, "comma".

    The machine may have no such locale. The file is in glibc's format of LC_NUMERIC: a
    number for the category, the number of items, their offsets, and the items. These
    are the decimal point, the thousands separator, the grouping, both characters as
    numbers, and the encoding.
    """
    folder = tmp_path_factory.mktemp("locales")
    items = [b",\0\0\0", b".\0\0\0", b"\x03\x03\0\0", struct.pack("=I", ord(","))]
    items += [struct.pack("=I", ord(".")), b"UTF-8\0"]
    start = 8 + 4 * len(items)
    offsets = [start + sum(map(len, items[:index])) for index in range(len(items))]
    (folder / "comma").mkdir()
    (folder / "comma" / "LC_NUMERIC").write_bytes(
        struct.pack(f"={2 + len(items)}I", 0x20031115 ^ 1, len(items), *offsets)
        + b"".join(items)
    )
    return {"LOCPATH": str(folder), "LC_NUMERIC": "comma"}


def unusual(comma):
    """Hash seed, a home folder that is not writable, and decimal commas.

    The home folder is a device, because root may write to folders without permission.
    """
    return dict.fromkeys(HOMES, os.devnull) | comma | {"PYTHONHASHSEED": "4242"}


PARAMS = {
    "num_layers": 1,
    "num_hidden": 8,
    "epochs": 1,
    "cv": None,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def found_in_new_process(comma):
    """Results of many fits, and then of fits that a signal from outside interrupts.

    The process has an unusual environment and must not use the network.
    """
    code = dedent(
        """
        import ctypes, gc, itertools, json, os, signal, threading, time, warnings
        import numpy as np
        from sksngp import (
            DeepEnsembleClassifier, MCDropoutClassifier, ResNetClassifier,
            SNGPClassifier,
        )
        from sksngp._tensorflow import network_pool

        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).normal(size=(100, 3))
        y = X[:, 0] > 0
        params = json.loads(sys.argv[1])
        clf = SNGPClassifier(num_inducing=16, **params)
        classifiers = itertools.cycle([
            clf,
            ResNetClassifier(**params),
            MCDropoutClassifier(num_samples=2, **params),
            DeepEnsembleClassifier(num_ensemble=2, **params),
        ])

        def usage_after(num_fits):
            for each in itertools.islice(classifiers, num_fits):
                each.fit(X, y).predict_uncertainty(X)
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            with open("/proc/self/statm") as statm:
                pages = int(statm.read().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE"), network_pool.num_traces()

        memory, traces = usage_after(24)
        memory_after, traces_after = usage_after(60)

        expected = clf.fit(X, y).predict_proba(X)
        interrupted = 0
        for delay in (0.01, 0.05, 0.1, 0.2):
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
            clf.epochs = 1
            np.testing.assert_array_equal(clf.fit(X, y).predict_proba(X), expected)
        found = {"memory_per_fit": (memory_after - memory) / 60}
        found |= {"traces": traces_after - traces, "interrupted": interrupted}
        print(json.dumps(found | {"proba": expected.tolist()}))
        """
    )
    run = run_in(unusual(comma), NO_NETWORK + DECIMAL_COMMA + code, json.dumps(PARAMS))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
def test_one_fit_in_an_unusual_environment(found_in_new_process):
    """A float in JSON has all of its digits."""
    X = np.random.default_rng(0).normal(size=(100, 3))
    clf = SNGPClassifier(num_inducing=16, **PARAMS).fit(X, X[:, 0] > 0)
    assert_array_equal(found_in_new_process["proba"], clf.predict_proba(X))


@pytest.mark.slow
def test_interrupt_signal_at_any_moment(found_in_new_process):
    """The process compares the predictions before and after the interrupts."""
    assert found_in_new_process["interrupted"] == 4


@pytest.mark.slow
def test_memory_and_traces_stay_flat_over_many_fits(found_in_new_process):
    # The limit for 60 fits is 3 MB, half the size of a single unused network.
    assert found_in_new_process["memory_per_fit"] < 50_000  # bytes
    assert found_in_new_process["traces"] == 0


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


def digest_of_predictions():
    """Return a digest of the predictions of two classifiers."""
    import hashlib

    import numpy as np

    import sksngp

    X = np.random.default_rng(0).normal(size=(200, 3))
    y = np.array(["no", "yes", "maybe"])[(X[:, 0] > 0) * 1 + (X[:, 1] > 1)]
    digest = hashlib.sha256()
    small = {"num_layers": 1, "num_hidden": 8, "epochs": 2, "cv": None}
    for name in ("SNGPClassifier", "DeepEnsembleClassifier"):
        clf = getattr(sksngp, name)(**small, random_state=0).fit(X, y).partial_fit(X, y)
        digest.update(clf.predict_proba(X).tobytes() + "".join(clf.predict(X)).encode())
    return digest.hexdigest()


def test_network_access_is_detected():
    """The code that the next test runs first raises an error."""
    run = run_in({}, NO_NETWORK + "import socket; socket.create_connection(('::1', 1))")
    assert "AssertionError: socket." in run.stderr


@pytest.mark.slow
def test_environment_does_not_change_the_results(comma, tmp_path):
    """Classifiers, and the command line in the same process.

    It reads and writes tables with decimal points in every locale.
    """
    X = np.random.default_rng(0).normal(size=(80, 2))
    table = pd.DataFrame(X, columns=["a", "b"]).assign(kind=X[:, 0] > 0)
    table.to_csv(tmp_path / "train.csv", index=False)
    code = NO_NETWORK + DECIMAL_COMMA + inspect.getsource(digest_of_predictions)
    code += "print(digest_of_predictions())\nprint('end', file=sys.stderr)\n"
    code += "from sksngp.__main__ import main\nmain(sys.argv[1:])"
    arguments = ["--data", "train.csv", "--target", "kind", "--score", "train.csv"]
    arguments += ["--output", "scored.csv", "--epochs", "1"]
    run = run_in(unusual(comma), code, *arguments, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("end")
    assert run.stdout.split()[0] == digest_of_predictions()
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
    with pytest.raises(TerminatedWorkerError):
        Parallel(n_jobs=2)([delayed(fit_and_die)(clf, *moons)])
    found = cross_val_score(clf, *moons, cv=2, n_jobs=2)
    assert_array_equal(found, cross_val_score(clf, *moons, cv=2))


@pytest.mark.parametrize(
    ("num_threads", "seconds"), [(3, 1), pytest.param(8, 5, marks=pytest.mark.slow)]
)
def test_concurrent_predictions_of_three_models(
    fitted_on_moons, moons, outputs, num_threads, seconds
):
    X, _ = moons
    queries = [
        (fitted_on_moons(Classifier), X[start : start + count])
        for Classifier in (SNGPClassifier, MCDropoutClassifier, DeepEnsembleClassifier)
        for start, count in [(0, 1), (3, 50), (60, 64), (10, 190)]
    ]
    answers = [outputs(clf, rows) for clf, rows in queries]  # each is computed alone
    barrier = threading.Barrier(num_threads, timeout=300)
    end = time.monotonic() + seconds

    def ask(seed):
        rng, wrong, asked = np.random.default_rng(seed), 0, 0
        barrier.wait()
        while asked < 20 or time.monotonic() < end:
            which = rng.integers(len(queries))
            wrong += not np.array_equal(outputs(*queries[which]), answers[which])
            asked += 1
            time.sleep(0.01)
        return wrong

    with ThreadPoolExecutor(num_threads) as executor:
        assert sum(executor.map(ask, range(num_threads))) == 0
