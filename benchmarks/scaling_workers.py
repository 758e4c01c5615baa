"""How a fit on a Dask cluster would scale, computed from costs measured here.

Run ``python -m benchmarks.scaling_workers`` (two minutes; needs the extra ``dask``). It
measures on this machine, as one worker: training and the posterior's sum by row, the
passes that the client makes over all rows, a training state's way to a worker and back,
and the sum of two precision matrices on two workers. From these it computes how long a
fit of default `SNGPClassifier` takes on 1 to 1,000 workers: with the same rows
(strong scaling) and with as many rows for each worker (weak scaling).
``--output benchmarks/scaling.md`` writes the tables there.

The model: training takes ``epochs * n / w`` rows' time; after each `ROUND_ROWS` rows of
a worker, the client exchanges a state with each, one after the other. The posterior
takes ``n / w`` rows' time and ``log2 w`` sums in pairs. The client's passes do not get
faster. Workers are equally fast, and there are at least as many partitions.
"""

from __future__ import annotations

import argparse
import math
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
from distributed import Client, LocalCluster
from sklearn.utils import check_array

from benchmarks.large_data import write_rows
from sksngp import SNGPClassifier
from sksngp._data.holdout import digests
from sksngp._data.projection import fit_projection
from sksngp._data.rows import Rows
from sksngp._tensorflow import pool
from sksngp._tensorflow.dask_training import ROUND_ROWS

COLUMNS = 20
WORKERS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


@dataclass
class Costs:
    """Seconds."""

    train_row: float
    posterior_row: float
    client_row: float
    exchange: float
    pair_sum: float

    def fit(self, n: float, workers: int, epochs: int) -> float:
        """How long a fit takes."""
        rounds = epochs * max(1.0, n / (workers * ROUND_ROWS))
        return (
            n * self.client_row
            + n / workers * (epochs * self.train_row + self.posterior_row)
            + rounds * workers * self.exchange
            + math.ceil(math.log2(workers)) * self.pair_sum
        )


def median_seconds(call: Callable[[], object], rounds: int = 5) -> float:
    """Median duration of a call, after one that warms up."""
    call()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def measure(folder: Path) -> tuple[Costs, int]:
    """Costs on this machine, and the bytes of a training state."""
    X, y = write_rows(folder / "rows", ROUND_ROWS, COLUMNS)
    X, weights = np.array(X), np.ones(len(X))
    clf = SNGPClassifier(num_layers=6, epochs=1, cv=None, random_state=0).fit(X, y)
    rows = Rows(clf.projection_(X, clf.dtype), y.astype(np.int32), weights)

    def client_passes():
        check_array(X)
        digests(X, 0)
        rng = np.random.default_rng(0)
        fit_projection(X, weights, num_hidden=128, members=1, standardize=True, rng=rng)

    with pool.lease(**clf.architecture_) as compiled:
        compiled.load(clf.weights_, **clf._network_variables())
        compiled.load_optimizer(1e-3)
        data = rows.projected, rows.labels, rows.weights, 128, 0, 0
        train = median_seconds(lambda: compiled.epoch(*data))
        state = compiled.state()
    posterior = median_seconds(lambda: clf._precision_of(rows))
    client_seconds = median_seconds(client_passes)
    exchange, pair_sum = _on_workers(state, clf._precision_of(rows)[0])
    arrays = [*state["weights"].values(), *state["optimizer"]]
    costs = Costs(
        train / len(X), posterior / len(X), client_seconds / len(X), exchange, pair_sum
    )
    return costs, sum(array.nbytes for array in arrays)


def _on_workers(state, precision):
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:

        def exchange():
            sent = dask.delayed(dict(state), pure=False)
            tasks = [dask.delayed(dict)(sent, worker=worker) for worker in range(2)]
            client.gather(client.compute(tasks))

        first, second = client.scatter([precision, precision + 1.0], broadcast=True)

        def add():
            client.submit(operator.add, first, second, pure=False).result()

        return median_seconds(exchange) / 2, median_seconds(add)


def tables(costs: Costs, state_bytes: int, epochs: int) -> str:
    """What was measured and computed, as Markdown."""
    a_round = ROUND_ROWS * costs.train_row
    lines = [
        "# A fit on 1 to 1,000 workers",
        "",
        "Computed by `python -m benchmarks.scaling_workers` from costs measured on one",
        "machine of two cores, which stands for a worker; not run on so many.",
        "",
        "| measured | |",
        "|---|---|",
        f"| training, a row | {1e6 * costs.train_row:.1f} us |",
        f"| posterior, a row | {1e6 * costs.posterior_row:.1f} us |",
        f"| the client's passes, a row | {1e6 * costs.client_row:.2f} us |",
        f"| a state ({state_bytes / 1e6:.1f} MB) to a worker and back | "
        f"{1e3 * costs.exchange:.0f} ms |",
        f"| two precision matrices' sum | {1e3 * costs.pair_sum:.0f} ms |",
        "",
        f"A worker trains for {a_round:.1f} s between two exchanges. Averaging every",
        f"step's gradients instead would exchange a third of the bytes, some "
        f"{1e3 * costs.exchange / 3:.0f} ms",
        f"for each worker, every {1e3 * 128 * costs.train_row:.1f} ms.",
        "",
        f"Seconds of a fit with {epochs} epochs, and the efficiency: the share of the",
        "workers' time that one worker would have needed.",
        "",
        "| workers | 10^8 rows, s | efficiency | 10^6 rows a worker, s | efficiency |",
        "|---|---|---|---|---|",
    ]
    strong_alone, weak_alone = costs.fit(1e8, 1, epochs), costs.fit(1e6, 1, epochs)
    for workers in WORKERS:
        strong = costs.fit(1e8, workers, epochs)
        weak = costs.fit(1e6 * workers, workers, epochs)
        lines.append(
            f"| {workers:,} | {strong:,.0f} | {strong_alone / strong / workers:.2f} | "
            f"{weak:,.0f} | {weak_alone / weak:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, compute and write."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--output", metavar="PATH.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = tables(*measure(Path(folder)), arguments.epochs)
    print(text)
    if arguments.output:
        Path(arguments.output).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
