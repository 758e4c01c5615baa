"""Pool of compiled networks, which are reused across fits and predictions.

Building and tracing a network takes seconds and tens of megabytes. A network is
therefore leased, loaded with arrays, used and returned. The next fit or prediction with
the same architecture compiles nothing, and threads never share a network.

The pool keeps the networks of the `MAX_ARCHITECTURES` most recently used architectures.
Other networks are released: their graphs, variables and kernels are freed, except for a
few megabytes per architecture that TensorFlow keeps until the process ends.
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
from .._networks.kinds import architecture_of
from .._runtime.device import available_device
from .._runtime.garbage_collection import collector_paused
from . import backend

if TYPE_CHECKING:
    from .compiled_network import CompiledNetwork

#: Number of architectures whose idle networks are kept. The defaults of the four
#: classifiers use 7.
MAX_ARCHITECTURES = 8
#: Number of architectures whose idle networks also keep their arrays.
MAX_LOADED = 4

#: Idle networks by architecture and device, the most recently used at the end.
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
        Device of the network; see `sksngp._runtime.device.available_device`.
    **architecture
        Fields of an `sksngp._networks.architecture.Architecture`.

    Yields
    ------
    CompiledNetwork
        Reserved for the caller until the context ends. Its weights, variables and
        optimizer state are arbitrary and must be loaded first.

    Raises
    ------
    RuntimeError
        In a process that was forked after TensorFlow had been used.
    """
    backend.start()
    from .compiled_network import CompiledNetwork

    key = architecture_of(architecture), available_device(device)
    with _lock:
        compiled = _idle[key].pop() if _idle.get(key) else None
    if compiled is None:
        with _building, collector_paused():
            compiled = CompiledNetwork(*key)
    compiled.requested_device = device
    try:
        with compiled.networks[0].errors():
            yield compiled
    finally:
        _give_back(key, compiled)


def _give_back(key: tuple[Architecture, str | None], compiled: CompiledNetwork) -> None:
    """Make a network idle, and release the least recently used ones."""
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
    """Free the memory of networks that are no longer in use."""
    if networks:
        from .compiled_function import free_kernels

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
    """Return the number of functions traced since the last `clear`.

    Networks that are currently leased are not included.
    """
    with _lock:
        idle = sum(
            network.traces for networks in _idle.values() for network in networks
        )
        return idle + _released_traces
