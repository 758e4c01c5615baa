"""Small matrix algebra with one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep NumPy's and SciPy's algebra to the calling thread; also a decorator.

    OpenBLAS' threads wait for each other between the columns of a factorisation. At
    the sizes of a posterior that gains little on idle cores, and where other processes
    keep the cores busy it takes seconds instead of milliseconds.
    """
    # The setting is the process': threads that enter and leave in turn would restore
    # each other's.
    with _lock, _controller().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _controller():
    return ThreadpoolController()  # goes through all loaded libraries
