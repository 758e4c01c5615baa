"""Small matrix algebra with one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

from .shared_context import SharedContext


@contextmanager
def _limited() -> Iterator[None]:
    with _controller().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # goes through all loaded libraries


#: Keeps NumPy's and SciPy's algebra to the calling thread; a context and a decorator.
#:
#: OpenBLAS' threads wait for each other between the columns of a factorisation. At the
#: sizes of a posterior that gains little on idle cores, and where other processes keep
#: the cores busy it takes seconds instead of milliseconds. The number of threads is the
#: process': it is 1 from the first of several threads that enter to the last that
#: leaves. If another library sets it meanwhile, the last to leave decides.
one_thread = SharedContext(_limited)
