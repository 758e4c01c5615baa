"""Convert a SavedModel to an ONNX model by tf2onnx, in a separate process.

The conversion changes global settings of TensorFlow and logs to the standard error.
A separate process keeps both away from the calling program, and returns all memory.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Version of the ONNX operations.
OPSET = 18


def require_converter() -> None:
    """Check that tf2onnx is installed.

    Raises
    ------
    ImportError
        If it is not.
    """
    if importlib.util.find_spec("tf2onnx") is None:
        raise ImportError("Exporting to ONNX requires tf2onnx: pip install tf2onnx")


def converted(savedmodel: Path) -> bytes:
    """Convert a SavedModel.

    Parameters
    ----------
    savedmodel : Path
        Directory. The ONNX model is written beside it first.

    Returns
    -------
    bytes
        ONNX model whose inputs and outputs have the names of ``serving_default``.

    Raises
    ------
    ValueError
        If the model has operations that ONNX does not have, or the conversion fails.
    """
    target = savedmodel.with_suffix(".onnx")
    command = [sys.executable, "-m", "tf2onnx.convert", "--opset", str(OPSET)]
    command += ["--saved-model", str(savedmodel), "--output", str(target)]
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, env=environment
    )
    log = done.stderr.decode(errors="replace")
    if done.returncode or not target.is_file():
        raise ValueError(f"tf2onnx cannot convert the model: {log[-2000:].strip()}")
    import onnx

    model = onnx.load(target)
    missing = _unknown_operations(model.graph)
    if missing:
        raise ValueError(
            "The model cannot be exported to ONNX, which does not have these "
            f"operations of TensorFlow: {', '.join(missing)}. export_savedmodel "
            "supports them."
        )
    for graph in _graphs(model.graph):
        _remove_casts_of_logarithms(graph)
    return model.SerializeToString()


def _unknown_operations(graph: Any) -> list[str]:
    """Return the names of operations that tf2onnx left as they were."""
    import onnx

    nodes = [node for each in _graphs(graph) for node in each.node]
    return sorted(
        {node.op_type for node in nodes if not onnx.defs.has(node.op_type, node.domain)}
    )


def _remove_casts_of_logarithms(graph: Any) -> None:
    """Let logarithms of float64 numbers be computed in float64.

    tf2onnx casts these numbers to float32, and the logarithms back to float64. Scores
    would have errors of up to 4e-6. tf2onnx names the second of the casts "castback".
    """
    producers = {output: node for node in graph.node for output in node.output}
    logarithms = {node.output[0]: node for node in graph.node if node.op_type == "Log"}
    for node in list(graph.node):
        if node.op_type == "Cast" and "castback" in node.name:
            logarithm = logarithms.get(node.input[0])
            if logarithm is not None:
                cast = producers[logarithm.input[0]]
                logarithm.input[0] = cast.input[0]
                logarithm.output[0] = node.output[0]
                graph.node.remove(cast)
                graph.node.remove(node)


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and the graphs within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner)
