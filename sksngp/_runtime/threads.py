"""Number of threads of the process, and parallel function calls."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any


def num_threads() -> int:
    """Return the number of threads that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")  # set by joblib or by the user
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_threads(
    function: Callable[..., object], items: Iterable[tuple[Any, ...]]
) -> None:
    """Call a function for each tuple of arguments, using one thread per core.

    Threads run in parallel because TensorFlow and NumPy release the global interpreter
    lock while they compute. If a call raises an exception, no further calls start, and
    the exception is raised.
    """
    threads = num_threads()
    others = iter(items)
    first = list(islice(others, 2))
    waiting = chain(first, others)
    if len(first) < 2 or threads == 1:
        for item in waiting:
            function(*item)
        return
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:  # items are created only when needed, which saves memory
                item = next(waiting, None)
            if item is None or failed:
                return
            try:
                function(*item)
            except BaseException:
                failed.append(True)
                raise

    failed: list[bool] = []
    with ThreadPoolExecutor(threads) as executor:
        futures = [executor.submit(work) for _ in range(threads)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            failed.append(True)
            raise
