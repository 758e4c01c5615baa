"""The pool of compiled networks: the library's only global state.

Building and tracing a network takes seconds and memory that TensorFlow never
gives back. A network is therefore leased, loaded with arrays, used and given
back; the next fit or prediction with the same architecture compiles nothing,
and no two threads ever share one.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from .architecture import Architecture

if TYPE_CHECKING:
    from .compiled import CompiledNetwork

_idle: dict = defaultdict(list)
_lock = threading.Lock()
_loading = threading.Lock()
_started_in: int | None = None  # the process in which TensorFlow was first used


@contextmanager
def lease(**architecture) -> Iterator[CompiledNetwork]:
    """Borrow a compiled network.

    Parameters
    ----------
    **architecture
        The fields of `sksngp.architecture.Architecture`.

    Yields
    ------
    CompiledNetwork
        For the caller alone until the context ends. It holds whatever its last
        user left in it: load weights, scalars and optimiser state first.

    Raises
    ------
    RuntimeError
        In a process forked after TensorFlow was used, where it would hang.
    """
    _start_tensorflow()
    from .compiled import CompiledNetwork

    key = Architecture(**architecture)
    with _lock:
        compiled = _idle[key].pop() if _idle[key] else None
    if compiled is None:
        with _loading:
            compiled = CompiledNetwork(key)
    try:
        yield compiled
    finally:
        with _lock:
            _idle[key].append(compiled)


def clear() -> None:
    """Forget every idle network."""
    with _lock:
        _idle.clear()


def num_traces() -> int:
    """How many functions the idle networks have traced so far."""
    with _lock:
        return sum(compiled.traces for idle in _idle.values() for compiled in idle)


def num_threads() -> int:
    """How many threads this process was given."""
    given = os.environ.get("OMP_NUM_THREADS", "")  # by joblib's workers or a user
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_threads(function: Callable, items: Iterable[tuple]) -> None:
    """Call a function for each tuple of arguments, one thread a core.

    TensorFlow and NumPy release the interpreter's lock while they compute. An
    exception in one call ends them all.
    """
    threads = num_threads()
    items = iter(items)
    first = list(islice(items, 2))
    if len(first) < 2 or threads == 1:
        for item in chain(first, items):
            function(*item)
        return
    lock = threading.Lock()
    items = chain(first, items)

    def work():
        while True:
            with lock:  # items are made as they are needed: memory stays flat
                item = next(items, None)
            if item is None or failed:
                return
            try:
                function(*item)
            except BaseException:
                failed.append(True)
                raise

    failed: list = []
    with ThreadPoolExecutor(threads) as executor:
        futures = [executor.submit(work) for _ in range(threads)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            failed.append(True)
            raise


def _start_tensorflow():
    """Import TensorFlow once: silently, with the threads this process was given."""
    global _started_in
    if _started_in == os.getpid():
        return
    if _started_in is not None:
        raise RuntimeError(
            "This process was forked after TensorFlow had been used in its parent, "
            "and TensorFlow cannot run in such a process. Start worker processes "
            "with the 'loky', 'spawn' or 'forkserver' method, or fit and predict "
            "in the parent only after forking."
        )
    with _loading, _global_seeds_untouched():
        if _started_in is not None:
            return
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        first = "tensorflow" not in sys.modules
        with _without_keras_3():
            import tensorflow as tf

        if first:  # else the threads are the user's own choice
            # Operations this small run fastest undivided, several at a time.
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(num_threads())
        from . import compiled  # noqa: F401  (imports the rest of the stack)

        _started_in = os.getpid()


@contextmanager
def _without_keras_3():
    """Keep TensorFlow's import from importing Keras 3, which nothing here uses.

    It does so only to have its optimisers registered, takes a third of its time
    over it and goes on without; `tf.keras` then loads Keras at its first use. A
    thread that imports Keras in just these seconds gets an ImportError.
    """
    name = "keras.src.optimizers"
    if "keras" in sys.modules:
        yield
        return
    sys.modules[name] = None  # an import of it now raises ImportError
    try:
        yield
    finally:
        sys.modules.pop(name, None)


@contextmanager
def _global_seeds_untouched():
    """Restore the global random states that TensorFlow's import draws on."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
