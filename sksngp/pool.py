"""The pool of compiled networks: what the library keeps beyond a call.

Building and tracing a network takes seconds and memory that TensorFlow never
gives back. A network is therefore leased, loaded with arrays, used and given
back; the next fit or prediction with the same architecture compiles nothing,
and no two threads ever share one.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from .architecture import Architecture
from .device import available_device
from .startup import collector_paused, num_threads, start_tensorflow

if TYPE_CHECKING:
    from .compiled import CompiledNetwork

_idle: dict[tuple[Architecture, str | None], list[CompiledNetwork]] = defaultdict(list)
_lock = threading.Lock()
_building = threading.Lock()


@contextmanager
def lease(device: str | None = None, **architecture: Any) -> Iterator[CompiledNetwork]:
    """Borrow a compiled network.

    Parameters
    ----------
    device : str, default=None
        Where it computes; see `sksngp.device.available_device`.
    **architecture
        The fields of `sksngp.architecture.Architecture`.

    Yields
    ------
    CompiledNetwork
        For the caller alone until the context ends. It holds whatever its last
        user left in it: load weights, scalars and optimiser state first.

    Raises
    ------
    RuntimeError
        In a process forked after TensorFlow was used, where it would hang.
    """
    start_tensorflow()
    from .body_network import errors_named
    from .compiled import CompiledNetwork

    key = Architecture(**architecture), available_device(device)
    with _lock:
        compiled = _idle[key].pop() if _idle[key] else None
    if compiled is None:
        with _building, collector_paused():
            compiled = CompiledNetwork(*key)
    compiled.requested_device = device
    try:
        with errors_named(key[0].body):
            yield compiled
    finally:
        with _lock:
            _idle[key].append(compiled)


def clear() -> None:
    """Forget every idle network."""
    with _lock:
        _idle.clear()


def num_traces() -> int:
    """How many functions the idle networks have traced so far."""
    with _lock:
        return sum(compiled.traces for idle in _idle.values() for compiled in idle)


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
