"""Compiled TensorFlow functions whose memory can be freed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework.func_graph import dismantle_func_graph

from .._runtime.device import on_device
from .._runtime.garbage_collection import collector_paused


class CompiledFunction:
    """Function that is traced in its first call, with less overhead than tf.function.

    Parameters
    ----------
    function : callable
    signature : list of tf.TensorSpec
    device : str or None
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature: list[tf.TensorSpec],
        device: str | None,
    ) -> None:
        def placed(*arguments: tf.Tensor) -> Any:
            with on_device(device):
                return function(*arguments)

        # Without AutoGraph, which takes most of the time of tracing.
        self._function: Any = tf.function(
            placed, input_signature=signature, autograph=False
        )
        self._device = device
        self._signature = signature
        self._concrete: Any = None

    def release(self) -> None:
        """Free the graph and those of its loops.

        They refer to each other through C++ objects, which the garbage collector of
        Python does not follow.
        """
        graph = None if self._concrete is None else self._concrete.graph
        self._function = self._concrete = None
        if graph is not None:
            for each in list(_nested_graphs(graph)):
                dismantle_func_graph(each)

    def __call__(self, *arguments: Any) -> Any:
        if self._concrete is None:
            with collector_paused():
                self._concrete = self._function.get_concrete_function()
        with on_device(self._device):
            tensors = [
                tf.convert_to_tensor(argument, spec.dtype)
                for argument, spec in zip(arguments, self._signature, strict=True)
            ]
        return self._concrete(*tensors)


def _nested_graphs(graph: Any) -> Iterator[Any]:
    """Yield the graphs of the loops in a graph, then the graph itself."""
    for function in graph._functions.values():
        yield from _nested_graphs(function.graph)
    yield graph


def free_kernels() -> None:
    """Free the kernels of operations, which TensorFlow caches for each shape.

    TensorFlow recreates kernels that are still in use.
    """
    context.context().clear_kernel_cache()
