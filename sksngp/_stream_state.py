"""What a stream of `partial_fit` calls goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from ._data.projection import scaler_by_column
from ._data.sample_weight import in_units
from ._data.sources import RowSource, iter_chunks, select_samples
from ._data.stream_memory import StreamMemory, empty_memory

#: Batches of fewer rows wait for others, ...
FEWEST_AT_ONCE = 8
#: ... until there are so many rows, or an eighth of those that came before.
ROWS_TOGETHER = 32
#: A new model is drawn whenever a stream has grown by this factor, ...
GROWTH = 3.0
#: ... until it has had so many rows.
LAST_START = 2048
#: Standard deviations beyond which a fit's scales do not follow a value.
FARTHEST = 10.0


class Batch(NamedTuple):
    """Rows of a stream; of those that are held out, nothing is learned."""

    X: np.ndarray | RowSource
    labels: NDArray[np.int32]
    weights: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    held_out: NDArray[np.bool_]

    def part(self, mask: NDArray[np.bool_]) -> tuple[Any, ...]:
        """Rows, labels, weights and hashes of some."""
        return select_samples(self.X, mask), *(values[mask] for values in self[1:4])

    def copied(self) -> Batch:
        """Return the same rows in memory; the arrays may be the caller's."""
        rows = np.concatenate([block for _, block in iter_chunks(self.X)])
        return self._replace(X=rows, weights=self.weights.copy())


@dataclass(frozen=True)
class StreamState:
    """What a stream of `partial_fit` calls goes on from.

    Parameters
    ----------
    memory, held_out : StreamMemory
        Rows to train on again, and rows that are never trained on.
    bounds : float64 ndarray of shape (2, n_features)
        Values beyond these are trained on as if they were at them.
    seed : int
        With which models are drawn: one after the other from the same random values.
    waiting : Batch or None
        Rows that wait to be learned, in memory.
    trained : dict
        The network as training left it, without what `derived` replaces.
    fitted : dict
        What an earlier `fit` found beside the network; empty if there was none.
    scaler : StandardScaler or None
        Column means and scales of that fit.
    started, scaled : int
        Rows seen when the model was drawn, and when its scales were last computed.
    unit : float
        Mean weight of a row, by which weights are divided when rows are trained on.
    parameters : dict
        Parameters of the classifier when it last learned, whatever they are set to
        later.
    enough : bool
        Whether there were enough held-out rows for a threshold.
    derived : dict
        What predictions need, once they have asked for it. Copies of a classifier
        share it.
    """

    memory: StreamMemory
    held_out: StreamMemory
    bounds: NDArray[np.float64]
    seed: int
    waiting: Batch | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    fitted: dict[str, Any] = field(default_factory=dict)
    scaler: StandardScaler | None = None
    started: int = 0
    scaled: int = 0
    unit: float = 1.0
    parameters: dict[str, Any] = field(default_factory=dict)
    enough: bool = False
    derived: dict[str, Any] = field(default_factory=dict)

    def learned(self) -> int:
        """Return the number of rows that came, but for those that wait."""
        return self.memory.seen + self.held_out.seen

    def size(self) -> int:
        """Return the number of rows that came."""
        return self.learned() + (len(self.waiting.labels) if self.waiting else 0)

    def is_due(self, batch: Batch) -> bool:
        """Return whether a batch, and the rows that wait, are to be learned now."""
        together = min(ROWS_TOGETHER, max(1, self.learned() // 8))
        waiting = self.size() - self.learned() + len(batch.labels)
        return len(batch.labels) >= FEWEST_AT_ONCE or waiting >= together

    def concatenate(self, batch: Batch) -> list[Batch]:
        """Rows that wait and those of a batch, as one but for data sources."""
        if self.waiting is None:
            return [batch]
        if not isinstance(batch.X, np.ndarray):
            return [self.waiting, batch]
        pairs: Any = zip(self.waiting, batch, strict=True)
        return [Batch(*(np.concatenate(pair) for pair in pairs))]

    def outgrows_model(self) -> bool:
        """Whether a new model is drawn, by more rows than there were for the last."""
        if self.fitted or self.started >= LAST_START:
            return False
        return self.memory.seen >= max(1, GROWTH * self.started)

    def remembered(self) -> tuple[np.ndarray, NDArray[np.int32], NDArray[np.float64]]:
        """Rows, labels and weights to train on, in the order of their arrival."""
        order = np.argsort(self.memory.arrival)
        return (
            np.clip(self.memory.X[order], *self.bounds),
            self.memory.labels[order],
            in_units(self.memory.sample_weights()[order], self.unit),
        )

    def keep_sides(
        self, held_out: NDArray[np.bool_], hashes: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Held-out rows, where rows of earlier batches stay what they were."""
        held_out = held_out.copy()
        for before, side in self._sides():
            held_out[_are_among(hashes, before)] = side
        return held_out

    def _sides(self) -> Iterator[tuple[NDArray[np.uint64], bool]]:
        """Hashes of earlier rows, and whether they were held out."""
        yield self.held_out.hashes, True
        if self.waiting:
            yield self.waiting.hashes[self.waiting.held_out], True
            yield self.waiting.hashes[~self.waiting.held_out], False
        yield self.memory.hashes, False


def _are_among(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    if len(hashes) < FEWEST_AT_ONCE:  # faster than sorting the others
        return (hashes[:, None] == others).any(axis=1)
    return np.isin(hashes, others)


def new_stream(X: np.ndarray | RowSource, num_classes: int, seed: int) -> StreamState:
    """State of a stream before its first rows, which are like those of `X`."""
    nothing = empty_memory(X, num_classes)
    return StreamState(nothing, nothing, np.array([[-np.inf], [np.inf]]), seed)


def bounds_of_scaler(
    scaler: StandardScaler | None, num_columns: int
) -> NDArray[np.float64]:
    """Values that scales may follow after a fit, for `StreamState.bounds`."""
    if scaler is None:
        return np.array([[-np.inf], [np.inf]])
    mean, scale = scaler_by_column(scaler, num_columns)
    return np.stack([mean - FARTHEST * scale, mean + FARTHEST * scale])
