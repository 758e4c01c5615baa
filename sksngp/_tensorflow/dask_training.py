"""Training on the workers of a Dask cluster.

Work is cut into tasks that depend on nothing but their arguments, and how it is cut on
nothing but the number of workers when a fit starts. A task whose worker dies runs again
on another, with the same result.

Training is local SGD (Stich 2019, arXiv 1805.09767; Lin et al. 2020, arXiv 1808.07217):
from common weights each group of blocks trains by itself for `ROUND_ROWS` rows, then
weights and the optimiser's moments are averaged. Averaging the gradient of each step
instead would send as many bytes every few milliseconds
(``benchmarks/scaling_workers.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.dask_sums import reader
from .._data.rows import Rows, concatenate
from .._data.streamed_rows import StreamedRows
from . import pool

if TYPE_CHECKING:
    from dask.delayed import Delayed

#: Rows that a group of blocks trains on before weights are averaged: 512 steps of 128.
ROUND_ROWS = 2**16


def epochs(
    compiled: pool.CompiledNetwork,
    rows: StreamedRows,
    unit: float,
    batch_size: int | None,
    seed: int,
) -> Callable[[int], float]:
    """Function that trains for an epoch on the workers, and returns the mean loss.

    Parameters
    ----------
    compiled : CompiledNetwork
        From and to whose state it trains.
    rows : StreamedRows
        With a source that has a client.
    unit : float
        What weights of rows are divided by.
    batch_size : int or None
        As for `CompiledNetwork.epoch`.
    seed : int
        Key of the random draws.

    Returns
    -------
    callable
        From the epoch's place among the others to the loss.
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
            found = client.gather(client.compute(tasks))
            states, losses, counts = zip(*found, strict=True)
            compiled.load_state(_average(states, np.array(counts) / sum(counts)))
            summed += float(np.dot(losses, counts))
        return summed / len(rows.labels)

    return epoch


def _rounds(
    sizes: np.ndarray, groups: int, rng: np.random.Generator
) -> Iterator[list[list[int]]]:
    """Blocks in random order, dealt to groups of about `ROUND_ROWS` rows."""
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


# What workers do


def _train(
    network: dict[str, Any],
    state: dict[str, Any],
    blocks: list[Rows],
    unit: float,
    batch_size: int | None,
    seed: int,
) -> tuple[dict[str, Any], float, int]:
    """State after a pass over blocks, the mean loss, and the number of rows."""
    rows = concatenate(blocks)
    with pool.lease(**network) as compiled:
        compiled.load_state(state)
        loss = compiled.epoch(
            rows.projected, rows.labels, rows.weights / unit, batch_size, seed, 0
        )
        return compiled.state(), loss, len(rows.labels)


def _average(states: Sequence[dict[str, Any]], shares: np.ndarray) -> dict[str, Any]:
    """State whose arrays are averages; counts of steps and settings are the first's."""
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
