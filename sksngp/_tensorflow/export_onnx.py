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
    missing = _unknown_operations(target)
    if missing:
        raise ValueError(
            "The model cannot be exported to ONNX, which does not have these "
            f"operations of TensorFlow: {', '.join(missing)}. export_savedmodel "
            "supports them."
        )
    return target.read_bytes()


def _unknown_operations(path: Path) -> list[str]:
    """Return the names of operations that tf2onnx left as they were."""
    import onnx

    nodes = _nodes(onnx.load(path).graph)
    return sorted(
        {node.op_type for node in nodes if not onnx.defs.has(node.op_type, node.domain)}
    )


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of the graphs within them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
