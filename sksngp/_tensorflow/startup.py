"""Start TensorFlow: fast, without output and with the threads of this process.

TensorFlow is imported at the first use of a network, not with the library.
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

from .._runtime.garbage_collection import collector_paused
from .._runtime.threads import num_threads

_lock = threading.Lock()
_started_in: int | None = None  # the process in which TensorFlow was first used


def start_tensorflow(import_rest: Callable[[], None]) -> None:
    """Import TensorFlow once, without output and with the threads of this process.

    Parameters
    ----------
    import_rest : callable
        Function that imports the modules of this package that use TensorFlow.

    Raises
    ------
    RuntimeError
        In a process that was forked after TensorFlow had been used. TensorFlow would
        deadlock there.
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
        # Halves the time of convolutions. TensorFlow disables it on older CPUs.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        first = "tensorflow" not in sys.modules
        with _without_keras_3():
            import tensorflow as tf

        if first:  # otherwise the user may have chosen the threads
            # Operations of this size are fastest in one thread, several at a time.
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(num_threads())
        # Allocate memory when needed: other processes may use the GPUs as well.
        for gpu in tf.config.list_physical_devices("GPU"):
            # The user may already have used or partitioned the GPU.
            with suppress(RuntimeError, ValueError):
                tf.config.experimental.set_memory_growth(gpu, True)
        import_rest()
        if not gc.get_freeze_count():  # otherwise an application has frozen objects
            # Move the imported objects to the oldest generation without a collection.
            gc.freeze()
            gc.unfreeze()
        _started_in = os.getpid()


@contextmanager
def _without_keras_3() -> Iterator[None]:
    """Prevent TensorFlow from importing Keras 3, which this package does not use.

    TensorFlow imports Keras 3 only to register its optimizers, which takes a third of
    the time, and continues if the import fails. `tf.keras` then imports Keras 3 at its
    first use. A thread that imports Keras during this time receives an ImportError.
    """
    name = "keras.src.optimizers"
    if "keras" in sys.modules:
        yield
        return
    # An import of this module raises ImportError.
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(name, None)


@contextmanager
def _global_seeds_untouched() -> Iterator[None]:
    """Restore the global random states, which the import of TensorFlow uses."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _after_fork() -> None:
    """Mark TensorFlow as unusable if the parent was importing it during the fork."""
    global _lock, _started_in
    if _lock.locked():
        _lock, _started_in = threading.Lock(), os.getppid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
