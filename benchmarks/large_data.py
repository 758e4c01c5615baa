"""Fit and score on rows that don't fit in memory, and what their sums lose.

Run ``python -m benchmarks.large_data`` (twenty minutes; ``--rows`` for fewer).
It writes a memory map of 10,000,000 rows of 20 columns to a temporary file, fits
`SNGPClassifier` for an epoch, scores all rows, and prints the seconds and the largest
memory of the process, without the pages of the file, which the system can drop.

Then the error of the posterior's precision after many rows: random features that are
multiples of 2^-20 have sums that are exact as integers, and the relative error of the
float64 sum beside that of one in float32, as a layer in TensorFlow's default type keeps
it, is printed for 10^3 to 10^7 rows.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sksngp import SNGPClassifier
from sksngp._uncertainty.posterior import add_rows

CHUNK = 100_000


def write_rows(path: Path, n: int, columns: int) -> tuple[np.memmap, np.ndarray]:
    """Write rows in clusters, three a class, to a file, sorted by class."""
    rng = np.random.default_rng(0)
    centres = 3.0 * rng.normal(size=(2, 3, columns))
    X = np.memmap(path, np.float64, "w+", shape=(n, columns))
    y = np.repeat([0, 1], [n // 2, n - n // 2])
    for start in range(0, n, CHUNK):
        labels = y[start : start + CHUNK]
        centre = centres[labels, rng.integers(3, size=len(labels))]
        X[start : start + CHUNK] = centre + rng.normal(size=(len(labels), columns))
    X.flush()
    return np.memmap(path, np.float64, "r", shape=(n, columns)), y


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise OSError("This needs Linux' /proc/self/status.")


@contextmanager
def peak_memory(found: list[int]):
    """Append the largest `anonymous_bytes` of the block's duration."""
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        found.append(peak[0])


def fit_and_score(n: int, columns: int) -> None:
    """Print what a fit and a prediction of all rows take."""
    with tempfile.TemporaryDirectory() as folder:
        X, y = write_rows(Path(folder, "rows"), n, columns)
        clf = SNGPClassifier(num_layers=6, epochs=1, random_state=0)
        print(f"{n:,} x {columns} rows, {X.nbytes / 1e9:.2f} GB, one epoch")
        for name, call in (("fit", clf.fit), ("score", clf.score)):
            peak: list[int] = []
            start = time.perf_counter()
            with peak_memory(peak):
                result = call(X, y)
            seconds = time.perf_counter() - start
            print(f"{name}: {seconds:.0f} s, {peak[0] / 1e9:.2f} GB", flush=True)
        print(f"accuracy {result:.4f}")


def sum_errors(largest: int, features: int = 16) -> None:
    """Print relative errors of precision sums in float64 and float32."""
    rng = np.random.default_rng(0)
    exact = np.zeros((features, features), np.int64)
    double = np.zeros((1, features, features))
    single = np.zeros((features, features), np.float32)
    print("rows, relative error of the sum in float64, in float32")
    seen, report = 0, 1000
    while seen < largest:
        integers = rng.integers(-(2**20), 2**20 + 1, (1000, features))
        exact += integers.T @ integers
        phi = integers / 2.0**20
        double = add_rows(double, [(phi, np.ones((len(phi), 1)))])
        single += phi.astype(np.float32).T @ phi.astype(np.float32)
        seen += len(phi)
        if seen == report:
            truth = exact / 2.0**40
            errors = [
                np.linalg.norm(total - truth) / np.linalg.norm(truth)
                for total in (double[0], single)
            ]
            print(f"{seen:,}  {errors[0]:.1e}  {errors[1]:.1e}", flush=True)
            report *= 10


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--columns", type=int, default=20)
    arguments = parser.parse_args()
    fit_and_score(arguments.rows, arguments.columns)
    sum_errors(arguments.rows)


if __name__ == "__main__":
    main()
