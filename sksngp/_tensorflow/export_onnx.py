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
from collections import Counter
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
        _compute_logarithms_in_float64(graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"tf2onnx returned an invalid model: {error}") from error
    return model.SerializeToString()


def _unknown_operations(graph: Any) -> list[str]:
    """Return the names of operations that tf2onnx left as they were."""
    import onnx

    nodes = [node for each in _graphs(graph) for node in each.node]
    return sorted(
        {node.op_type for node in nodes if not onnx.defs.has(node.op_type, node.domain)}
    )


def _compute_logarithms_in_float64(graph: Any) -> None:
    """Let logarithms whose results are cast to float64 be computed in float64.

    tf2onnx casts the arguments of float64 logarithms to float32, although runtimes
    support float64. This would increase the rounding errors of scores.
    """
    import onnx

    kinds = onnx.TensorProto
    producers = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    for back in list(graph.node):
        logarithm = (
            producers.get(back.input[0]) if _casts_to(back, kinds.DOUBLE) else None
        )
        if logarithm is None or logarithm.op_type != "Log":
            continue
        cast = producers.get(logarithm.input[0])
        single = [logarithm.input[0], logarithm.output[0]]
        if _casts_to(cast, kinds.FLOAT) and all(uses[name] == 1 for name in single):
            # The cast is kept, because its argument may have any type.
            _target_of(cast).i = kinds.DOUBLE
            logarithm.output[0] = back.output[0]
            graph.node.remove(back)


def _casts_to(node: Any, kind: int) -> bool:
    return node is not None and node.op_type == "Cast" and _target_of(node).i == kind


def _target_of(cast: Any) -> Any:
    """Return the attribute of a Cast node that holds its data type."""
    return next(attribute for attribute in cast.attribute if attribute.name == "to")


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and the graphs within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner)
