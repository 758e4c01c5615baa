"""The pool of compiled networks: what the library keeps beyond a call.

Building and tracing a network takes seconds and tens of megabytes. A network is
therefore leased, loaded with arrays, used and given back; the next fit or prediction
with the same architecture compiles nothing, and no two threads ever share one.

The pool keeps the `MAX_ARCHITECTURES` architectures that were used last. The networks
of others are released: their graphs, variables and kernels are freed, except for a few
megabytes per architecture that TensorFlow keeps until the process ends.
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._networks.architecture import Architecture
from .._runtime.collector import collector_paused
from .._runtime.device import available_device
from . import backend

if TYPE_CHECKING:
    from .compiled import CompiledNetwork

#: Architectures whose idle networks are kept. The four classifiers have 7 by default.
MAX_ARCHITECTURES = 8
#: Architectures whose idle networks also keep the arrays of their last user.
MAX_LOADED = 4

#: Idle networks by architecture and device; those used last are at the end.
_idle: OrderedDict[tuple[Architecture, str | None], list[CompiledNetwork]] = (
    OrderedDict()
)
_released_traces = 0
_lock = threading.Lock()
_building = threading.Lock()


@contextmanager
def lease(device: str | None = None, **architecture: Any) -> Iterator[CompiledNetwork]:
    """Borrow a compiled network.

    Parameters
    ----------
    device : str, default=None
        Where it computes; see `sksngp._runtime.device.available_device`.
    **architecture
        The fields of `sksngp._networks.architecture.Architecture`.

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
    backend.start()
    from .compiled import CompiledNetwork
    from .custom_network import errors_named

    key = Architecture(**architecture), available_device(device)
    with _lock:
        compiled = _idle[key].pop() if _idle.get(key) else None
    if compiled is None:
        with _building, collector_paused():
            compiled = CompiledNetwork(*key)
    compiled.requested_device = device
    try:
        with errors_named(key[0].body):
            yield compiled
    finally:
        _give_back(key, compiled)


def _give_back(key: tuple[Architecture, str | None], compiled: CompiledNetwork) -> None:
    """Make a network idle, and release those that were used least recently."""
    global _released_traces
    released = []
    with _lock:
        _idle.setdefault(key, []).append(compiled)
        _idle.move_to_end(key)
        while len(_idle) > MAX_ARCHITECTURES:
            released += _idle.popitem(last=False)[1]
        for networks in islice(_idle.values(), max(0, len(_idle) - MAX_LOADED)):
            for network in networks:
                network.forget()
        _released_traces += sum(network.traces for network in released)
    _release(released)


def _release(networks: list[CompiledNetwork]) -> None:
    """Free the memory of networks that nobody uses any more."""
    if networks:
        from .compiled import free_kernels

        while networks:
            networks.pop().release()
        gc.collect()  # layers and graphs refer to each other
        free_kernels()


def clear() -> None:
    """Release every idle network."""
    global _released_traces
    with _lock:
        released = [network for networks in _idle.values() for network in networks]
        _idle.clear()
        _released_traces = 0
    _release(released)


def num_traces() -> int:
    """Return how many functions were traced since the last `clear`.

    Networks that are leased at the moment are not counted.
    """
    with _lock:
        idle = sum(
            network.traces for networks in _idle.values() for network in networks
        )
        return idle + _released_traces
