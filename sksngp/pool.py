"""The pool of compiled networks: the library's only global state.

Building and tracing a network takes seconds and memory that TensorFlow never
gives back. A network is therefore leased, loaded with arrays, used and given
back; the next fit or prediction with the same architecture compiles nothing,
and no two threads ever share one.
"""

from __future__ import annotations

import os
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from .architecture import Architecture

if TYPE_CHECKING:
    from .training import CompiledNetwork

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
    from .training import CompiledNetwork

    key = Architecture(**architecture)
    with _lock:
        compiled = _idle[key].pop() if _idle[key] else None
    if compiled is None:
        with _loading, _global_seeds_untouched():
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
        import tensorflow as tf

        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit() and int(threads) > 0:
            # Set by joblib's workers and by users; TensorFlow does not read it.
            try:
                tf.config.threading.set_intra_op_parallelism_threads(int(threads))
                tf.config.threading.set_inter_op_parallelism_threads(int(threads))
            except RuntimeError:
                pass  # the user's own code has started TensorFlow already
        from . import training  # noqa: F401  (imports the rest of the stack)

        _started_in = os.getpid()


@contextmanager
def _global_seeds_untouched():
    """Restore the global random states that TensorFlow's import and layers draw on."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
