"""Small matrix algebra with one thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_users = 0
_limits: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep NumPy's and SciPy's algebra to the calling thread; also a decorator.

    OpenBLAS' threads wait for each other between the columns of a factorisation. At
    the sizes of a posterior that gains little on idle cores, and where other processes
    keep the cores busy it takes seconds instead of milliseconds.

    The number of threads is the process': it is 1 from the first of several threads
    that enter to the last that leaves, and then what it was. Where another library
    sets it in a thread of its own meanwhile, the last to leave decides.
    """
    global _users, _limits
    with _lock:
        if _users == 0:
            _limits = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limits.restore_original_limits()


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # goes through all loaded libraries


def _after_fork() -> None:
    """The threads that were inside are not in the child, and will not leave."""
    global _lock, _users
    _lock = threading.Lock()
    if _users:
        _users = 0
        _limits.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
