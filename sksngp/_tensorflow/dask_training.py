"""Training on the workers of a Dask cluster.

The work is divided into tasks that depend only on their arguments. The division depends
only on the number of workers at the start of a fit. If a worker dies, its task runs
again on another worker, with the same result.

Training is local SGD (Stich 2019, arXiv 1805.09767; Lin et al. 2020, arXiv 1808.07217).
Starting from common weights, each group of partitions trains independently for
`ROUND_ROWS` samples. Then the weights and the moments of the optimizer are averaged.
Averaging the gradient of each step instead would send the same number of bytes every
few milliseconds (``benchmarks/scaling_workers.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.dask_sums import reader
from .._data.rows import Rows, concatenate
from .._data.streamed_rows import StreamedRows
from . import network_pool

if TYPE_CHECKING:
    from dask.delayed import Delayed

#: Number of samples per group between averages: 512 mini-batches of 128.
ROUND_ROWS = 2**16


def epochs(
    compiled: network_pool.CompiledNetwork,
    rows: StreamedRows,
    unit: float,
    batch_size: int | None,
    seed: int,
) -> Callable[[int], float]:
    """Return a function that trains for an epoch on the workers.

    Parameters
    ----------
    compiled : CompiledNetwork
        Network whose state is trained.
    rows : StreamedRows
        Training set, whose source has a client.
    unit : float
        Divisor of the weights of samples.
    batch_size : int or None
        As for `CompiledNetwork.epoch`.
    seed : int
        Key of the random draws.

    Returns
    -------
    callable
        Maps the number of the epoch to the mean loss.
    """
    import dask

    client = rows.source.client
    sizes = np.diff(rows.source.starts)
    groups = max(rows.source.num_workers, 1)
    network = asdict(compiled.architecture) | {"device": compiled.requested_device}
    read = reader(rows)

    def train(state: Delayed, blocks: list[int], group_seed: int) -> Delayed:
        parts = [read(block) for block in blocks]
        arguments = network, state, parts, unit, batch_size, group_seed
        return dask.delayed(_train)(*arguments)

    def epoch(number: int) -> float:
        rng = np.random.default_rng([seed, number])
        summed = 0.0
        for dealt in _rounds(sizes, groups, rng):
            state = dask.delayed(compiled.state(), pure=False)
            seeds = rng.integers(2**31, size=len(dealt)).tolist()
            tasks = [train(state, *group) for group in zip(dealt, seeds, strict=True)]
            results = client.gather(client.compute(tasks))
            states, losses, counts = zip(*results, strict=True)
            compiled.load_state(_average(states, np.array(counts) / sum(counts)))
            summed += float(np.dot(losses, counts))
        return summed / len(rows.labels)

    return epoch


def _rounds(
    sizes: np.ndarray, groups: int, rng: np.random.Generator
) -> Iterator[list[list[int]]]:
    """Yield partitions in random order, in groups of about `ROUND_ROWS` samples."""
    group: list[int] = []
    dealt: list[list[int]] = []
    held = 0
    for block in rng.permutation(np.flatnonzero(sizes)):
        group.append(int(block))
        held += sizes[block]
        if held >= ROUND_ROWS:
            dealt.append(group)
            group, held = [], 0
        if len(dealt) == groups:
            yield dealt
            dealt = []
    if group:
        dealt.append(group)
    if dealt:
        yield dealt


# Tasks of workers


def _train(
    network: dict[str, Any],
    state: dict[str, Any],
    blocks: list[Rows],
    unit: float,
    batch_size: int | None,
    seed: int,
) -> tuple[dict[str, Any], float, int]:
    """Return the state after a pass, the mean loss and the number of samples."""
    rows = concatenate(blocks)
    with network_pool.lease(**network) as compiled:
        compiled.load_state(state)
        loss = compiled.epoch(
            rows.projected, rows.labels, rows.weights / unit, batch_size, seed, 0
        )
        return compiled.state(), loss, len(rows.labels)


def _average(states: Sequence[dict[str, Any]], shares: np.ndarray) -> dict[str, Any]:
    """Average the arrays of states; the first state gives step counts and settings."""
    first = states[0]

    def average(arrays: Sequence[np.ndarray]) -> np.ndarray:
        if not np.issubdtype(arrays[0].dtype, np.floating):
            return arrays[0]
        return sum(share * array for share, array in zip(shares, arrays, strict=True))

    return first | {
        "weights": {
            name: average([state["weights"][name] for state in states]).astype(
                array.dtype
            )
            for name, array in first["weights"].items()
        },
        "optimizer": [
            average(arrays)
            for arrays in zip(*(state["optimizer"] for state in states), strict=True)
        ],
    }
