"""Clocks and meters for the benchmarks.

Times of two things are taken in turn, A, B, A, B, ..., in one process, so that a
machine which slows down or speeds up meanwhile does so for both. Memory is taken
in a child process, which has no history.
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

ROOT = Path(__file__).parents[1]


def seconds_of(call: Callable, *arguments) -> tuple[float, Any]:
    """Wall-clock seconds of one call, and what it returned."""
    gc.collect()  # not on the clock of whoever comes next
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
    """Time callables in turn, A, B, A, B, ...

    Parameters
    ----------
    calls : dict of str to callable
        Each is called with the number of the round: a seed, if it wants one.
    repeats : int
        Number of rounds.
    warm_up : bool, default=True
        Whether each is first called once off the clock.
    judge : callable, default=None
        ``judge(name, result)``, called off the clock on each result.

    Returns
    -------
    seconds : dict of str to list of float
    judged : dict of str to list
        What `judge` returned; the results themselves aren't kept.
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
    """Run Python code in a fresh process; what it printed.

    Raises
    ------
    RuntimeError
        If the process fails, with the end of its standard error.
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
    """Seconds from the start of a fresh process until it has run the code.

    What Python takes to end the process comes after the last line, and isn't
    counted.
    """
    start = time.time()  # the clock that two processes share
    return float(run_child(f"{code}\nimport time\nprint(time.time())")) - start


class PeakMemory:
    """Growth of this process's peak memory since the object was made.

    On Linux by /proc, whose high-water mark can be set back. ``ru_maxrss`` would
    not do in a child: its parent hands down its own peak when it starts it.
    Elsewhere it is all there is.
    """

    def __init__(self):
        gc.collect()
        with suppress(AttributeError, OSError):
            # Memory that was freed but not returned would hide what comes next.
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.before = _memory("VmRSS")

    def growth(self) -> float:
        """Megabytes (10^6 bytes) at the peak above those at the start."""
        return (_memory("VmHWM") - self.before) / 1e6


def _memory(field):
    """Bytes of a field in /proc/self/status, or the peak if there's no such file."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


METER = """
{setup}
import json as _json
from benchmarks.timing import PeakMemory, seconds_of
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
    """Time and peak memory of a snippet in a child process.

    Parameters
    ----------
    setup : str
        Code that runs first and isn't measured.
    call : str
        Code to measure. It may read the names that `setup` sets.
    repeats : int, default=1
        How often to time it; memory is that of the first time.
    limit : float, default=5.0
        Seconds after which it isn't timed again.

    Returns
    -------
    seconds : list of float
    megabytes : float
        Peak resident memory above the resident memory just before the call. An
        input that `setup` holds and has read isn't part of it, be it an array or
        a memory-mapped file.
    """
    body = "\n".join(f"    {line}" for line in call.strip().splitlines())
    code = METER.format(setup=setup, call=body, repeats=repeats, limit=limit)
    seconds, megabytes = json.loads(run_child(code).splitlines()[-1])
    return seconds, megabytes


def peak_memory(setup: str, call: str) -> float:
    """Peak memory of a snippet in a child process, in megabytes.

    As `measure_child`: above what was resident just before the call.
    """
    return measure_child(setup, call)[1]


def matmul_rate(
    dtype: str, sizes: tuple[int, ...] = (512, 1024, 2048), repeats: int = 5
) -> float:
    """GFLOP/s of TensorFlow's plain product of two square matrices.

    The best over sizes of the median over repeats: the roofline that a fit or a
    prediction, being matrix products for the most part, is held against.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    sizes : tuple of int, default=(512, 1024, 2048)
        Rows, and columns, of the matrices.
    repeats : int, default=5

    Returns
    -------
    float
    """
    import tensorflow as tf  # not at the top: children that only meter stay light

    from sksngp._runtime.threads import num_threads

    rates = []
    for size in sizes:
        matrix = tf.random.stateless_uniform([size, size], [0, size], dtype=dtype)

        def product(_, matrix=matrix):
            return tf.matmul(matrix, matrix).numpy()

        # One product a core at a time, in case TensorFlow does not divide them.
        with ThreadPoolExecutor(num_threads()) as threads:
            seconds, _ = alternate(
                {"all": lambda _: list(threads.map(product, range(4 * num_threads())))},
                repeats,
            )
        flops = 4 * num_threads() * 2 * size**3
        rates.append(flops / median(seconds["all"]) / 1e9)
    return max(rates)
