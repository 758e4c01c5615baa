"""A setting of the whole process that several threads need at the same time."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator
from types import TracebackType

_all: weakref.WeakSet[SharedContext] = weakref.WeakSet()


class SharedContext(ContextDecorator):
    """Context that the first of several threads enters and the last one leaves.

    A context manager that changes and restores a setting of the process is not safe to
    enter in several threads: the first to leave restores the setting under the others,
    and the last may restore the changed one for good.

    Parameters
    ----------
    make : callable
        Function that returns the context manager to share.

    Examples
    --------
    >>> import warnings
    >>> from sksngp._runtime.shared_context import SharedContext
    >>> recorded = SharedContext(lambda: warnings.catch_warnings(record=True))
    >>> with recorded, recorded:
    ...     warnings.warn("Not shown.")
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._context: AbstractContextManager[object] | None = None
        _all.add(self)

    def __enter__(self) -> None:
        with self._lock:
            if self._context is None:
                context = self._make()
                context.__enter__()
                self._context = context
            self._users += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._leave()

    def _leave(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)

    def after_fork(self) -> None:
        """Leave the context in a child process, in which no other thread runs."""
        self._lock, self._users = threading.Lock(), 0
        self._leave()


def _after_fork() -> None:
    for each in _all:
        each.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
