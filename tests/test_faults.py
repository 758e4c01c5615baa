"""What goes wrong around a classifier, and must not go wrong in it."""

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

import sksngp
from benchmarks.timing import peak_memory
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    memory,
    pool,
)
from sksngp.compiled import CompiledNetwork

# Interrupts


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_an_exception_between_two_epochs(make, moons, outputs, monkeypatch, error, how):
    """In the middle: some steps were made, and the network is leased."""
    X, y = moons
    clf = make().fit(X, y)
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


def test_ctrl_c_at_any_moment(run_python):
    """A signal that comes from outside, wherever the fit happens to be."""
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


# More memory than there is


@pytest.fixture
def no_allocation(monkeypatch):
    """A gibibyte is left, and nothing may be drawn, projected or leased."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    for module, name in [(sksngp._base, "fit_projection"), (pool, "lease")]:
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("work began"))
    return lambda what: (
        rf"needs at least .*iB .*{what}.* 1\.0 GiB are available\. Choose"
    )


@pytest.mark.parametrize(
    ("Classifier", "params", "match"),
    [
        (SNGPClassifier, {"num_inducing": np.int64(10**10)}, "num_inducing=10{10}"),
        (ResNetClassifier, {"num_hidden": 10**5}, "num_hidden=100000"),
        (MCDropoutClassifier, {"num_layers": 10**9}, "num_layers=1000000000"),
        (DeepEnsembleClassifier, {"num_ensemble": 10**7}, "10000000 networks"),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_too_large_a_network(
    small, moons, no_allocation, Classifier, params, match, how
):
    clf = small(Classifier, **params)
    kwargs = {"classes": [0, 1]} if how == "partial_fit" else {}
    with pytest.raises(MemoryError, match=no_allocation(match)):
        getattr(clf, how)(*moons, **kwargs)
    assert not [name for name in vars(clf) if name.endswith("_")]


@pytest.mark.parametrize("batch_size", [None, 10**5])
def test_too_large_a_batch(small, no_allocation, batch_size):
    X = np.zeros((100_000, 1), np.float32)
    clf = small(ResNetClassifier, num_layers=50, num_hidden=128, batch_size=batch_size)
    match = no_allocation(f"100000 rows .batch_size={batch_size}, num_layers=50")
    with pytest.raises(MemoryError, match=match):
        clf.fit(X, np.arange(len(X)) % 2)


def test_a_large_batch_of_few_rows_is_no_fault(make, moons, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    make(batch_size=10**12, epochs=1).fit(*moons)


def test_a_covariance_for_each_of_many_classes(small, no_allocation):
    X = np.zeros((2000, 1))
    clf = small(
        SNGPClassifier,
        num_inducing=1024,
        covariance="per_class",
        inference="monte_carlo",
    )
    match = no_allocation("num_inducing=1024, covariance='per_class' with 1000 classes")
    with pytest.raises(MemoryError, match=match + r".*covariance='shared'"):
        clf.fit(X, np.arange(2000) % 1000)


# Labels


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
def test_a_million_classes(small, no_allocation):
    X, y = np.zeros((1_000_000, 1), np.float32), np.arange(1_000_000)
    match = "holds 1000000 classes, more than the 100000 that are allowed. A quantity"
    with pytest.raises(ValueError, match=f"y {match}") as refusal:
        small(SNGPClassifier).fit(X, y)
    assert len(str(refusal.value)) < 500
    with pytest.raises(ValueError, match=f"classes {match}"):
        small(SNGPClassifier).partial_fit(X[:9], y[:9], classes=y)


def test_a_thousand_classes(make):
    X = np.random.default_rng(0).normal(size=(2000, 3))
    clf = make(epochs=1).fit(X, np.arange(2000) % 1000)
    assert clf.predict_proba(X[:5]).shape == (5, 1000)


@pytest.mark.parametrize(
    "labels",
    [
        [1.0, np.nan],
        ["a", np.nan],
        np.array(["a", np.nan], object),
        np.array(["a", None], object),
        pd.Series(["a", None], dtype="string"),
        pd.Series(["a", None], dtype="category"),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([pd.Timestamp(0), pd.NaT]),
    ],
    ids=repr,
)
def test_labels_that_are_missing(make, no_allocation, labels):
    many = labels * 10 if isinstance(labels, list) else labels.repeat(10)
    with pytest.raises(ValueError, match="y contains NaN or None"):
        make().fit(np.zeros((20, 1)), many)
    with pytest.raises(ValueError, match="classes contains NaN or None"):
        make().partial_fit(np.zeros((20, 1)), [1] * 20, classes=labels)


@pytest.mark.parametrize("container", [list, lambda y: np.array(y, object), pd.Series])
def test_labels_of_mixed_types(make, no_allocation, container):
    y = container(["a", 1] * 10)
    with pytest.raises(ValueError, match="y mixes types: int, str"):
        make().fit(np.zeros((20, 1)), y)
    with pytest.raises(ValueError, match="classes mixes types: int, str"):
        make().partial_fit(np.zeros((20, 1)), y, classes=container(["a", 1]))


def test_labels_that_are_very_long(make, moons, outputs):
    """They differ in the last letter only; a message does not show them whole."""
    X, y = moons
    names = np.array(["x" * 20_000 + end for end in "ab"], object)
    clf = make().fit(X, names[y])
    assert_array_equal(outputs(clf, X), outputs(make().fit(X, y), X))
    assert_array_equal(clf.predict(X), names[make().fit(X, y).predict(X)])
    with pytest.raises(ValueError, match="not among the known ones: ") as refusal:
        clf.partial_fit(X, names[y] + "c")
    assert len(str(refusal.value)) < 500


# Values and shapes of X


@pytest.mark.parametrize(
    "convert", [lambda X: X.astype(object), lambda X: X.astype(str).astype(object)]
)
def test_columns_of_objects_that_are_numbers(make, moons, outputs, convert):
    X, y = moons
    clf = make().fit(convert(X), y)
    assert_array_equal(outputs(clf, convert(X)), outputs(make().fit(X, y), X))


@pytest.mark.parametrize("cell", ["word", None, {}, [1.0]], ids=repr)
def test_columns_of_objects_that_are_no_numbers(make, no_allocation, cell):
    X = np.zeros((20, 2), object)
    X[3, 1] = cell
    with pytest.raises((ValueError, TypeError), match=r"float|NaN|sequence"):
        make().fit(X, np.arange(20) % 2)


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_no_columns(make, no_allocation, how):
    kwargs = {"classes": [0, 1]} if how == "partial_fit" else {}
    for X in (np.zeros((20, 0)), pd.DataFrame(index=range(20))):
        with pytest.raises(ValueError, match="0 feature"):
            getattr(make(), how)(X, np.arange(20) % 2, **kwargs)


def test_a_hundred_thousand_columns():
    setup = """
import numpy as np
from sksngp import SNGPClassifier

X = np.random.default_rng(0).normal(size=(200, 100_000))
clf = SNGPClassifier(num_layers=1, num_hidden=16, num_inducing=32, epochs=1)
clf.fit(X[:100, :3], X[:100, 0] > 0).predict_proba(X[:100, :3])
"""
    code = "assert clf.fit(X, X[:, 0] > 0).predict_proba(X).shape == (200, 2)"
    # The rows take 160 MB, and the projection's kernel 13; a matrix of the columns
    # with each other would take 80 GB.
    assert 0 < peak_memory(setup, code) < 800


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [5e-324, 1e-310, 1e-40, 1e30, -1e30])
def test_values_at_the_ends_of_the_range(make, moons, value):
    X, y = moons
    for rows in (X * value, np.column_stack([X, np.where(y, value, 0.0)])):
        for standardize in (True, False):
            clf = make(standardize=standardize).fit(rows, y)
            proba = clf.predict_proba(rows)
            assert np.isfinite(proba).all()
            np.testing.assert_allclose(proba.sum(axis=1), 1.0)
            assert np.isfinite(clf.score_samples(rows)).all()


def test_minus_zero_is_zero(make, moons, outputs):
    X = np.where(np.abs(moons[0]) < 0.5, 0.0, moons[0])
    y = moons[1].astype(float)
    assert (X == 0).any(axis=0).all()
    clf = make().fit(X, y)
    signed = make().fit(np.where(X == 0, -0.0, X), np.where(y == 0, -0.0, y))
    assert_array_equal(outputs(signed, X), outputs(clf, X))
    assert_array_equal(outputs(clf, np.where(X == 0, -0.0, X)), outputs(clf, X))


def test_a_singular_precision_is_mended_and_told(small):
    """Without a prior, rows that say nothing of most features leave them open."""
    X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0)
    clf = small(SNGPClassifier, ridge_penalty=1e-300)
    with pytest.warns(RuntimeWarning, match="A larger ridge_penalty"):
        clf.fit(X, np.arange(60) % 2)
    assert np.isfinite(clf.predict_proba(X * 7)).all()
    score = clf.predict_uncertainty(X * 7, kind="epistemic")
    assert ((score >= 0) & (score <= 1)).all()


# Clocks


def test_clocks_do_not_matter_and_are_left_alone(make, moons, outputs, monkeypatch):
    """Not even clocks that run backwards, nor the progress bar's use of them."""
    X, y = moons
    expected = outputs(make().fit(X, y), X)
    zone, now = time.tzname, [1e9]

    def backwards():
        now[0] -= 1000
        return now[0]

    with monkeypatch.context() as patch:
        for name in ("time", "monotonic", "perf_counter"):
            patch.setattr(time, name, backwards)
        clocks = time.time, time.monotonic, time.perf_counter
        found = outputs(make(verbose=1).fit(X, y), X)
        assert (time.time, time.monotonic, time.perf_counter) == clocks
    assert_array_equal(found, expected)
    assert time.tzname == zone


# Surroundings of a process

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
    """What a process of its own computes, after some lines of its own."""
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
    """Environment with a locale "comma": this machine may have none of its own.

    The file is glibc's form of LC_NUMERIC: a number for the category, how many items
    there are, where each begins, and the items: decimal point, thousands separator,
    grouping, both characters as numbers, and the encoding.
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


def test_surroundings_do_not_matter(comma):
    """Hashes, a home that can't be written, no network, and decimal commas, at once.

    The home is a device, as root may write in folders without permission.
    """
    with pytest.raises(AssertionError, match=r"AssertionError: socket\."):
        digest_in(NO_NETWORK + "import socket; socket.create_connection(('::1', 1))\n")
    surroundings = dict.fromkeys(HOMES, os.devnull) | comma
    surroundings["PYTHONHASHSEED"] = "4242"
    found = digest_in(NO_NETWORK + DECIMAL_COMMA, **surroundings)
    assert found == digest_in(PYTHONHASHSEED="0")


def test_the_command_line_in_a_locale_with_decimal_commas(comma, tmp_path):
    """Tables are read and written with points, whoever reads them."""
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


# Processes


def test_pools_of_forked_processes_are_refused_at_once(run_python):
    run = run_python(
        """
        import multiprocessing, warnings
        from sksngp import ResNetClassifier

        warnings.simplefilter("ignore")  # Python's, of forks in threaded processes
        clf = ResNetClassifier(num_layers=1, num_hidden=8, epochs=2)
        X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
        clf.fit(X, y)
        with multiprocessing.get_context("fork").Pool(1) as workers:
            for work, args in ((clf.predict, (X,)), (clf.fit, (X, y))):
                try:
                    workers.apply_async(work, args).get(timeout=30)
                except RuntimeError as error:
                    print("forked after TensorFlow" in str(error))
        print(len(clf.fit(X, y).predict(X)))
        """
    )
    assert run.stdout.split() == ["True", "True", "4"], run.stderr


def test_a_fork_while_tensorflow_is_imported(run_python):
    run = run_python(
        """
        import os, signal, threading
        from sksngp import ResNetClassifier, startup

        clf = ResNetClassifier(num_layers=1, num_hidden=8, epochs=2)
        X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
        thread = threading.Thread(target=startup.start_tensorflow)
        thread.start()
        while not startup._lock.locked():
            pass
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends a child that hangs
            try:
                clf.fit(X, y)
            except RuntimeError as error:
                os._exit(3 if "forked" in str(error) else 4)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        thread.join()
        print(status >> 8, status & 127, len(clf.fit(X, y).predict(X)))
        """
    )
    assert run.stdout.split() == ["3", "0", "4"], run.stderr


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
