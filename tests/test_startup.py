"""Starting TensorFlow: forks, threads, random states and garbage collection."""

import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed

import sksngp
from sksngp import ResNetClassifier
from sksngp._runtime.threads import num_threads
from sksngp._tensorflow import backend, network_pool, startup

FIELDS = {"num_outputs": 3, "num_layers": 1, "num_hidden": 5}


def test_forked_process_raises_an_error(monkeypatch, small, iris):
    with network_pool.lease(**FIELDS):
        pass
    clf = small(ResNetClassifier).fit(*iris)
    monkeypatch.setattr(startup, "_started_in", os.getpid() + 1)
    for action in (
        lambda: clf.predict(iris[0]),
        lambda: small(ResNetClassifier).fit(*iris),
        lambda: network_pool.lease(**FIELDS).__enter__(),
    ):
        with pytest.raises(RuntimeError, match=r"forked .*'loky', 'spawn'"):
            action()


@pytest.fixture(scope="module")
def printed(run_python):
    """Return the output of a process that forks, with environment variables."""
    run = run_python(
        """
        import multiprocessing, os, signal, threading, warnings

        os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "4"}
        from sksngp import ResNetClassifier
        from sksngp._tensorflow import backend, startup
        from sksngp._runtime.threads import num_threads

        warnings.simplefilter("ignore")  # Python's, about forks of threaded processes
        clf = ResNetClassifier(num_layers=1, num_hidden=8, epochs=1)
        X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]

        def forked(work):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # ends a child that hangs
                try:
                    work()
                except RuntimeError as error:
                    os._exit(3 if "forked after TensorFlow" in str(error) else 4)
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        print(forked(lambda: clf.fit(X, y)))
        thread = threading.Thread(target=backend.start)
        thread.start()
        while not startup._lock.locked():
            pass
        print(forked(lambda: clf.fit(X, y)))
        thread.join()
        clf.fit(X, y)
        print(forked(lambda: clf.fit(X, y)), forked(lambda: clf.predict(X)))
        with multiprocessing.get_context("fork").Pool(1) as workers:
            for work, args in ((clf.predict, (X,)), (clf.fit, (X, y))):
                try:
                    workers.apply_async(work, args).get(timeout=300)
                except RuntimeError as error:
                    print("forked after TensorFlow" in str(error))
        print(len(clf.fit(X, y).predict(X)))

        import tensorflow as tf

        print(os.environ["OMP_NUM_THREADS"], os.environ["TF_CPP_MIN_LOG_LEVEL"])
        threads = tf.config.threading.get_inter_op_parallelism_threads()
        print(num_threads(), threads)
        """
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


@pytest.mark.slow
def test_forks(printed):
    """A fork before the first use of TensorFlow works; later ones raise errors.

    The second fork happens while a thread imports TensorFlow.
    """
    assert printed[:-2] == ["0", "3", "3 3", "True", "True", "4"]


@pytest.mark.slow
def test_settings_in_the_environment(printed):
    assert printed[-2:] == ["1 4", "1 1"]


def test_memory_growth_of_gpus(monkeypatch):
    """GPUs are set up even if the user has imported TensorFlow."""
    import tensorflow as tf

    found, grown = ["gpu 0", "divided", "gpu 1"], []

    def set_memory_growth(gpu, value):
        if gpu == "divided":
            raise ValueError("Cannot set memory growth when virtual devices are")
        grown.append((gpu, value))

    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: found if kind == "GPU" else []
    )
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
    monkeypatch.setattr(startup, "_started_in", None)
    backend.start()
    assert grown == [("gpu 0", True), ("gpu 1", True)]


def test_global_random_states_do_not_change():
    python, numpy = random.getstate(), np.random.get_state()
    with network_pool.lease(**{**FIELDS, "num_inducing": 10, "num_hidden": 4}):
        pass
    assert random.getstate() == python
    for before, after in zip(numpy, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_building_networks_does_not_affect_other_threads():
    stop, drawn = threading.Event(), []

    def draw():
        while not stop.is_set():
            drawn.append((random.random(), np.random.rand()))
            time.sleep(0.0005)

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(draw)
        for width in (31, 33, 35):
            with network_pool.lease(
                **{**FIELDS, "num_inducing": 10, "num_hidden": width}
            ):
                pass
        stop.set()
        future.result()
    assert len(set(drawn)) == len(drawn) > 10


NEW_PROCESS = """
import gc, os, random, sys
import numpy as np
import sksngp
from sksngp._tensorflow import network_pool
from sksngp._runtime.threads import num_threads

random.seed(0), np.random.seed(0)
before = random.getstate(), np.random.get_state()[1].tolist()
assert "tensorflow" not in sys.modules
with network_pool.lease(num_outputs=2, num_layers=1, num_hidden=4, num_inducing=8):
    pass
assert (random.getstate(), np.random.get_state()[1].tolist()) == before

X = np.random.default_rng(0).normal(size=(100, 2))
for name in sys.argv[1:]:
    clf = getattr(sksngp, name)(num_layers=1, num_hidden=8, epochs=1)
    clf.fit(X, X[:, 0] > 0).partial_fit(X, X[:, 0] > 0).predict_ood(X)
    clf.predict_proba(X)
assert "keras" not in sys.modules  # Keras 3, which the library does not use

import tensorflow as tf
assert tf.keras.__name__ and tf.keras.layers.Dense.__module__.startswith("keras.")
assert "OMP_NUM_THREADS" not in os.environ
threads = len(os.sched_getaffinity(0))
assert num_threads() == threads
assert gc.isenabled()
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == threads
"""


@pytest.mark.slow
def test_first_use_is_silent_and_does_not_change_the_process():
    names = [name for name in sksngp.__all__ if name.endswith("Classifier")]
    assert len(names) == 4
    kept = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-c", NEW_PROCESS, *names],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def threads_of_this_process():
    with network_pool.lease(**FIELDS):
        pass
    import tensorflow as tf

    threading_config = tf.config.threading
    return (
        num_threads(),
        threading_config.get_inter_op_parallelism_threads(),
        threading_config.get_intra_op_parallelism_threads(),
    )


@pytest.mark.slow
def test_number_of_threads_in_a_worker(monkeypatch):
    # Otherwise, joblib does not divide the cores among its workers.
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    given = max(1, len(os.sched_getaffinity(0)) // 2)
    with Parallel(n_jobs=2, backend="loky") as parallel:
        found = parallel([delayed(threads_of_this_process)()])
    assert found == [(given, given, 1)]
