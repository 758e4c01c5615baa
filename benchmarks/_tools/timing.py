"""Measurement of time and memory.

The times of two calls are measured in turn, A, B, A, B, ..., so that changes of the
speed of the machine affect both. Memory is measured in a child process, where earlier
computations have no effect.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]


def seconds_of(call: Callable, *arguments) -> tuple[float, Any]:
    """Return the wall-clock time of a call, in seconds, and its result."""
    gc.collect()  # garbage of earlier calls is not part of the time
    start = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - start, result


def alternate(
    calls: dict[str, Callable[[int], Any]],
    repeats: int,
    *,
    warm_up: bool = True,
    judge: Callable[[str, Any], Any] | None = None,
) -> tuple[dict[str, list[float]], dict[str, list]]:
    """Measure the times of callables in turn, A, B, A, B, ...

    Parameters
    ----------
    calls : dict of str to callable
        Each is called with the number of the round, which may serve as a seed.
    repeats : int
        Number of rounds.
    warm_up : bool, default=True
        Whether to call each once before the measurement.
    judge : callable, default=None
        ``judge(name, result)`` is called for each result, outside the measurement.

    Returns
    -------
    seconds : dict of str to list of float
    judged : dict of str to list
        Values that `judge` returned. The results themselves are discarded.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    judged: dict[str, list] = {name: [] for name in calls}
    if warm_up:
        for call in calls.values():
            call(0)
    for number in range(repeats):
        for name, call in calls.items():
            elapsed, result = seconds_of(call, number)
            seconds[name].append(elapsed)
            if judge is not None:
                judged[name].append(judge(name, result))
    return seconds, judged


def run_child(code: str) -> str:
    """Run Python code in a new process and return its standard output.

    Raises
    ------
    RuntimeError
        If the process fails. The message has the end of its standard error.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"The child process failed:\n{done.stderr[-2000:]}")
    return done.stdout


def run_until_done(code: str) -> float:
    """Return the time from the start of a new process to the end of its code.

    The time that Python takes to end the process is not included.
    """
    start = time.time()  # the same clock in both processes
    return float(run_child(f"{code}\nimport time\nprint(time.time())")) - start


class PeakMemory:
    """Increase of the peak memory of this process since the object was created.

    On Linux, the peak is read from /proc, where it can be reset. ``ru_maxrss`` is not
    suitable in a child process, because it starts from the peak of the parent. It is
    used on other systems only.
    """

    def __init__(self):
        gc.collect()
        with suppress(AttributeError, OSError):
            # Memory that was freed but not returned would hide later allocations.
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.before = _memory("VmRSS")

    def growth(self) -> float:
        """Return the increase since the start, in megabytes (10^6 bytes)."""
        return (_memory("VmHWM") - self.before) / 1e6


def _memory(field):
    """Return a field of /proc/self/status in bytes, or the peak without this file."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


METER = """
{setup}
import json as _json
from benchmarks._tools.timing import PeakMemory, seconds_of
def _call():
{call}
_peak = PeakMemory()
_seconds = [seconds_of(_call)[0]]
_growth = _peak.growth()
while len(_seconds) < {repeats} and sum(_seconds) < {limit}:
    _seconds.append(seconds_of(_call)[0])
print(_json.dumps([_seconds, _growth]))
"""


def measure_child(
    setup: str, call: str, repeats: int = 1, limit: float = 5.0
) -> tuple[list[float], float]:
    """Measure the time and the peak memory of code in a child process.

    Parameters
    ----------
    setup : str
        Code that runs first and is not measured.
    call : str
        Code to measure. It may use the names that `setup` defines.
    repeats : int, default=1
        Number of measurements of the time. The memory is that of the first one.
    limit : float, default=5.0
        Total time in seconds after which no further measurement starts.

    Returns
    -------
    seconds : list of float
    megabytes : float
        Peak resident memory above the resident memory just before the call. Arrays and
        memory-mapped files that `setup` has read are not included.
    """
    body = "\n".join(f"    {line}" for line in call.strip().splitlines())
    code = METER.format(setup=setup, call=body, repeats=repeats, limit=limit)
    seconds, megabytes = json.loads(run_child(code).splitlines()[-1])
    return seconds, megabytes


def peak_memory(setup: str, call: str) -> float:
    """Return the peak memory of code in a child process, in megabytes.

    The peak is measured above the resident memory just before the call.
    """
    return measure_child(setup, call)[1]


def matmul_rate(
    dtype: str, sizes: tuple[int, ...] = (512, 1024, 2048), repeats: int = 5
) -> float:
    """Return the rate of a product of square matrices in TensorFlow, in GFLOP/s.

    The rate is the maximum over the sizes of the median over the repeats. It is the
    roofline of fits and predictions, which mostly consist of matrix products.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    sizes : tuple of int, default=(512, 1024, 2048)
        Numbers of rows and columns of the matrices.
    repeats : int, default=5

    Returns
    -------
    float
    """
    import tensorflow as tf  # not at the top, for child processes without TensorFlow

    from sksngp._runtime.threads import num_threads

    rates = []
    for size in sizes:
        matrix = tf.random.stateless_uniform([size, size], [0, size], dtype=dtype)

        def product(_, matrix=matrix):
            return tf.matmul(matrix, matrix).numpy()

        # One product per core at a time, in case TensorFlow does not divide products.
        with ThreadPoolExecutor(num_threads()) as threads:
            seconds, _ = alternate(
                {"all": lambda _: list(threads.map(product, range(4 * num_threads())))},
                repeats,
            )
        flops = 4 * num_threads() * 2 * size**3
        rates.append(flops / median(seconds["all"]) / 1e9)
    return max(rates)
