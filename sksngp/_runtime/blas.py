"""Linear algebra of small matrices on a single thread."""

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
    return ThreadpoolController()  # cached because it inspects all loaded libraries


#: Limits the linear algebra of NumPy and SciPy to the calling thread; a context manager
#: and a decorator. The threads of OpenBLAS wait for each other between the columns of a
#: factorization. For matrices of the size of a posterior, several threads are hardly
#: faster on idle cores, and take seconds instead of milliseconds if other processes use
#: the cores. The limit applies to the whole process, from the time the first thread
#: enters the context until the last thread leaves it.
one_thread = SharedContext(_limited)
