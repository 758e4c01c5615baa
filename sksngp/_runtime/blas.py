"""Linear algebra of small matrices on a single thread."""

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
    """Limit the linear algebra of NumPy and SciPy to the calling thread.

    The function is a context manager and a decorator. The threads of OpenBLAS wait for
    each other between the columns of a factorization. For matrices of the size of a
    posterior, several threads are hardly faster on idle cores, and they take seconds
    instead of milliseconds if other processes use the cores.

    The limit applies to the whole process, from the time the first thread enters the
    context until the last thread leaves it. The previous limit is then restored, even
    if another library has changed the limit in the meantime.
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
    return ThreadpoolController()  # cached because it inspects all loaded libraries


def _after_fork() -> None:
    """Reset the user count and the thread limit in a forked child.

    The threads of the parent, some of which may be inside the context, do not exist in
    the child.
    """
    global _lock, _users
    _lock = threading.Lock()
    if _users:
        _users = 0
        _limits.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
