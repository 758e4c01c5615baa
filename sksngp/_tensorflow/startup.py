"""Starting TensorFlow: fast, silent, and with the threads this process was given.

Only the first use of a network in a process comes here; importing the library
does not.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

from .._runtime.collector import collector_paused
from .._runtime.threads import num_threads

_lock = threading.Lock()
_started_in: int | None = None  # the process in which TensorFlow was first used


def start_tensorflow(import_rest: Callable[[], None]) -> None:
    """Import TensorFlow once: silently, with the threads this process was given.

    Parameters
    ----------
    import_rest : callable
        Imports the modules of this package that use TensorFlow, under the same guards.

    Raises
    ------
    RuntimeError
        In a process forked after TensorFlow was used, where it would hang.
    """
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
    with _lock, _global_seeds_untouched(), collector_paused():
        if _started_in is not None:
            return
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Convolutions take half the time; TensorFlow leaves it off on older processors.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        first = "tensorflow" not in sys.modules
        with _without_keras_3():
            import tensorflow as tf

        if first:  # else the threads are the user's own choice
            # Operations this small run fastest undivided, several at a time.
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(num_threads())
        # As needed, not all memory at once: other processes use the cards, too.
        for gpu in tf.config.list_physical_devices("GPU"):
            # A user's code may have used the card already, or have divided it.
            with suppress(RuntimeError, ValueError):
                tf.config.experimental.set_memory_growth(gpu, True)
        import_rest()
        if not gc.get_freeze_count():  # else an application has frozen objects
            # Files what was imported among the old objects, without a look at each.
            gc.freeze()
            gc.unfreeze()
        _started_in = os.getpid()


@contextmanager
def _without_keras_3() -> Iterator[None]:
    """Keep TensorFlow's import from importing Keras 3, which nothing here uses.

    It does so only to have its optimisers registered, takes a third of its time
    over it and goes on without; `tf.keras` then loads Keras at its first use. A
    thread that imports Keras in just these seconds gets an ImportError.
    """
    name = "keras.src.optimizers"
    if "keras" in sys.modules:
        yield
        return
    # An import of it now raises ImportError.
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(name, None)


@contextmanager
def _global_seeds_untouched() -> Iterator[None]:
    """Restore the global random states that TensorFlow's import draws on."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _after_fork() -> None:
    """A parent in the middle of the import leaves its child half of TensorFlow."""
    global _lock, _started_in
    if _lock.locked():
        _lock, _started_in = threading.Lock(), os.getppid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
