"""Number of threads of this process, and calls in as many."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any


def num_threads() -> int:
    """How many threads this process was given."""
    given = os.environ.get("OMP_NUM_THREADS", "")  # by joblib's workers or a user
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_threads(
    function: Callable[..., object], items: Iterable[tuple[Any, ...]]
) -> None:
    """Call a function for each tuple of arguments, one thread a core.

    TensorFlow and NumPy release the interpreter's lock while they compute. An
    exception in one call ends them all.
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
            with lock:  # items are made as they are needed: memory stays flat
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
