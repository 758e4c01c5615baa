"""Convert a SavedModel to an ONNX model by tf2onnx, in a separate process.

The conversion changes global settings of TensorFlow and logs to the standard error. A
separate process keeps both away from the calling program, and returns all memory.
Logarithms are then restored to float64, in which TensorFlow computes them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import defaultdict
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
    _compute_logarithms_in_float64(model)
    return model.SerializeToString()


def _unknown_operations(graph: Any) -> list[str]:
    """Return the names of operations that tf2onnx left as they were."""
    import onnx

    nodes = [node for each in _graphs(graph) for node in each.node]
    return sorted(
        {node.op_type for node in nodes if not onnx.defs.has(node.op_type, node.domain)}
    )


def _compute_logarithms_in_float64(model: Any) -> None:
    """Let logarithms of float64 numbers be computed in float64.

    tf2onnx casts the numbers to float32 and the logarithms back, although runtimes
    support float64. Its first cast has the name of the logarithm and a number; casts
    that the network itself contains have other names. The second cast may be merged
    with one of these. Only the type of the first cast is changed, which is correct for
    numbers of any type.
    """
    from onnx import TensorProto

    graphs = list(_graphs(model.graph))
    users = defaultdict(list)
    for graph in graphs:
        for output in graph.output:
            users[output.name].append("output")
        for node in graph.node:
            for name in node.input:
                users[name].append(node.op_type)
    for graph in graphs:
        producers = {output: node for node in graph.node for output in node.output}
        for logarithm in (node for node in graph.node if node.op_type == "Log"):
            cast = producers.get(logarithm.input[0])
            if (
                cast is not None
                and cast.op_type == "Cast"
                and cast.name.startswith(f"{logarithm.name}__")
                and users[cast.output[0]] == ["Log"]
                and set(users[logarithm.output[0]]) == {"Cast"}
            ):
                (target,) = (each for each in cast.attribute if each.name == "to")
                target.i = TensorProto.DOUBLE


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and the graphs within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner)
