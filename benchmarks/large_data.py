"""Fits and predictions on data larger than memory, and rounding errors of sums.

Run ``python -m benchmarks.large_data`` (twenty minutes; ``--rows`` reduces the work).
The benchmark writes 10,000,000 samples of 20 features to a memory-mapped file, fits
`SNGPClassifier` for one epoch and scores all samples. It prints the times and the peak
memory of the process. Pages of the file are not counted, because the operating system
can drop them.

It then prints the rounding error of the precision of the posterior for 10^3 to 10^7
samples. Random features that are multiples of 2^-20 have sums that can be computed
exactly with integers. The relative error of the sum in float64 is compared with that in
float32, which is TensorFlow's default type.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks._tools.printing import print_header
from sksngp import SNGPClassifier
from sksngp._uncertainty.posterior import add_rows

CHUNK = 100_000


def write_rows(path: Path, n: int, columns: int) -> tuple[np.memmap, np.ndarray]:
    """Write samples in three clusters per class to a file, sorted by class."""
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.normal(size=(2, 3, columns))
    X = np.memmap(path, np.float64, "w+", shape=(n, columns))
    y = np.repeat([0, 1], [n // 2, n - n // 2])
    for start in range(0, n, CHUNK):
        labels = y[start : start + CHUNK]
        center = centers[labels, rng.integers(3, size=len(labels))]
        X[start : start + CHUNK] = center + rng.normal(size=(len(labels), columns))
    X.flush()
    return np.memmap(path, np.float64, "r", shape=(n, columns)), y


def anonymous_bytes() -> int:
    """Return the memory of this process without the pages of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status is required, which only Linux provides.")


@contextmanager
def peak_memory(found: list[int]):
    """Append the maximum of `anonymous_bytes` during the block to a list."""
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
    """Print the time and memory of a fit and of a prediction of all samples."""
    with tempfile.TemporaryDirectory() as folder:
        X, y = write_rows(Path(folder, "rows"), n, columns)
        clf = SNGPClassifier(num_layers=6, epochs=1, random_state=0)
        print(
            f"{n:,} samples of {columns} features, {X.nbytes / 1e9:.2f} GB, one epoch"
        )
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
    print("samples, relative error of the sum in float64, in float32")
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
    """Print both reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--columns", type=int, default=20)
    arguments = parser.parse_args()
    print_header()
    fit_and_score(arguments.rows, arguments.columns)
    sum_errors(arguments.rows)


if __name__ == "__main__":
    main()
