"""Text tables, JSON files, and the header of every report."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import sksngp

PACKAGES = ("tensorflow", "numpy", "scikit-learn")


def print_header() -> None:
    """Print the command, the date, the versions and the processor."""
    print(header(), end="\n\n", flush=True)


def header(command: Sequence[str] | None = None) -> str:
    """Return the lines with which every report starts.

    Parameters
    ----------
    command : sequence of str, default=None
        Words of the command. If None, the benchmark that runs and its options.

    Returns
    -------
    str
    """
    if command is None:
        script = Path(sys.argv[0])
        module = f"{script.parent.name}.{script.stem}"
        command = ["python", "-m", module, *sys.argv[1:]]
    found = machine()
    versions = [f"Python {found['python']}"]
    versions += [f"{name} {found[name]}" for name in ("sksngp", *PACKAGES)]
    return "\n".join(
        [
            f"Command:   {shlex.join(command)}",
            f"Date:      {date.today().isoformat()}",
            f"Versions:  {', '.join(versions)}",
            f"Processor: {found['processor']}, {found['cpus']} CPUs",
        ]
    )


def machine() -> dict[str, Any]:
    """Return the versions of the packages and the processor."""
    return {
        "python": platform.python_version(),
        "sksngp": sksngp.__version__,
        **{package: version(package) for package in PACKAGES},
        "cpus": os.cpu_count(),
        "processor": _processor(),
    }


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a text table; the first column is left-aligned, the others right."""
    rows = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def shown(value: float | None, form: str = "{:.3g}") -> str:
    """Format a number; None becomes a dash."""
    return "-" if value is None else form.format(value)


def time_text(seconds: float | None) -> str:
    """Format a duration in milliseconds or seconds; None becomes a dash."""
    if seconds is None:
        return "-"
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"


def save_json(path: str, content: dict[str, Any]) -> None:
    """Write a JSON file that also describes the machine."""
    record = _strict({"machine": machine(), **content})
    Path(path).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def _strict(value):
    """Replace NumPy types, and non-finite numbers, which JSON does not support."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        return _strict(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":  # for `benchmarks/all.sh`
    print(header(sys.argv[1:]), end="\n\n")
