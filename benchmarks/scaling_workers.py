"""Extrapolated time of fits on a Dask cluster, from costs measured on one machine.

Run ``python -m benchmarks.scaling_workers`` (two minutes; requires the extra ``dask``).
This machine represents a worker. The benchmark measures the time per sample of
training, of the posterior and of the passes of the client over the data. It also
measures the time to send a training state to a worker and back, and the time to add two
precision matrices on two workers. From these costs it computes the time of a fit of
`SNGPClassifier` on 1 to 1,000 workers, with a fixed total number of samples (strong
scaling) and with a fixed number of samples per worker (weak scaling). ``--output
PATH.md`` also writes the tables to a file.

Let n be the number of samples and w the number of workers. Training takes the time of
``epochs * n / w`` samples. Whenever a worker has trained on `ROUND_ROWS` samples, the
client exchanges the state with all workers, one after the other. The posterior takes
the time of ``n / w`` samples and ``log2 w`` additions. The time of the client's passes
does not decrease. All workers are equally fast, and there are at least as many
partitions as workers.
"""

from __future__ import annotations

import argparse
import math
import operator
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import dask
import numpy as np
from distributed import Client, LocalCluster
from sklearn.utils import check_array

from benchmarks._tools.printing import header
from benchmarks._tools.timing import alternate
from benchmarks.large_data import write_rows
from sksngp import SNGPClassifier
from sksngp._data.holdout import digests
from sksngp._data.projection import fit_projection
from sksngp._data.rows import Rows
from sksngp._tensorflow import network_pool
from sksngp._tensorflow.dask_training import ROUND_ROWS

COLUMNS = 20
WORKERS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


@dataclass
class Costs:
    """Costs in seconds, per sample or per operation."""

    train_row: float
    posterior_row: float
    client_row: float
    exchange: float
    pair_sum: float

    def fit(self, n: float, workers: int, epochs: int) -> float:
        """Return the time of a fit."""
        rounds = epochs * max(1.0, n / (workers * ROUND_ROWS))
        return (
            n * self.client_row
            + n / workers * (epochs * self.train_row + self.posterior_row)
            + rounds * workers * self.exchange
            + math.ceil(math.log2(workers)) * self.pair_sum
        )


def median_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time of a call, after a warm-up."""
    seconds, _ = alternate({"call": lambda _: call()}, repeats)
    return median(seconds["call"])


def measure(folder: Path) -> tuple[Costs, int]:
    """Measure the costs on this machine, and the size of a training state in bytes."""
    X, y = write_rows(folder / "rows", ROUND_ROWS, COLUMNS)
    X, weights = np.array(X), np.ones(len(X))
    clf = SNGPClassifier(num_layers=6, epochs=1, cv=None, random_state=0).fit(X, y)
    rows = Rows(clf.projection_(X, clf.dtype), y.astype(np.int32), weights)

    def client_passes():
        check_array(X)
        digests(X, 0)
        rng = np.random.default_rng(0)
        fit_projection(X, weights, num_hidden=128, members=1, standardize=True, rng=rng)

    with network_pool.lease(**clf.architecture_) as compiled:
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
    """Format the costs and the extrapolated times in Markdown."""
    lines = [
        "# A fit on 1 to 1,000 workers",
        "",
        "Extrapolated by `python -m benchmarks.scaling_workers` from costs measured on",
        "one machine, which represents a worker. No cluster of this size was used.",
        "",
        "```",
        header(),
        "```",
        "",
        "| cost | time |",
        "|---|---|",
        f"| training, per sample | {1e6 * costs.train_row:.1f} us |",
        f"| posterior, per sample | {1e6 * costs.posterior_row:.1f} us |",
        f"| passes of the client, per sample | {1e6 * costs.client_row:.2f} us |",
        f"| a state ({state_bytes / 1e6:.1f} MB), to a worker and back | "
        f"{1e3 * costs.exchange:.0f} ms |",
        f"| sum of two precision matrices | {1e3 * costs.pair_sum:.0f} ms |",
        "",
        f"A worker trains for {ROUND_ROWS * costs.train_row:.1f} s between exchanges.",
        "If gradients were averaged instead, a third of the bytes would be exchanged,",
        f"which takes about {1e3 * costs.exchange / 3:.0f} ms for each worker, every "
        f"{1e3 * 128 * costs.train_row:.1f} ms.",
        "",
        f"The table contains the time of a fit with {epochs} epochs, and the",
        "efficiency: the time of one worker divided by the total time of all workers.",
        "",
        "| workers | 10^8 samples, s | efficiency | 10^6 samples per worker, s | "
        "efficiency |",
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
    """Print the tables and write the file."""
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
