"""State of a stream between calls of `partial_fit`."""

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
from ._data.stream_memory import StreamMemory, empty_memory, without_extremes

#: Batches of fewer samples are collected before they are used for training.
MIN_BATCH = 8
#: Number of collected samples at which training starts, unless an eighth of the
#: previous samples is less.
MAX_WAITING = 32
#: A new network is initialized each time the stream has grown by this factor.
GROWTH = 3.0
#: Number of samples after which no new network is initialized.
MAX_SAMPLES_AT_START = 2048
#: Number of standard deviations beyond which a value does not affect the scales of an
#: earlier fit.
MAX_DEVIATION = 10.0


class Batch(NamedTuple):
    """Samples of a stream. Those that are held out are not used for training."""

    X: np.ndarray | RowSource
    labels: NDArray[np.int32]
    weights: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    held_out: NDArray[np.bool_]

    def part(self, mask: NDArray[np.bool_]) -> tuple[Any, ...]:
        """Return samples, labels, weights and hashes where a mask is True."""
        return select_samples(self.X, mask), *(values[mask] for values in self[1:4])

    def copied(self) -> Batch:
        """Return the batch in memory, in arrays that the caller cannot change."""
        rows = np.concatenate([block for _, block in iter_chunks(self.X)])
        return self._replace(X=rows, weights=self.weights.copy())


@dataclass(frozen=True)
class StreamState:
    """State of a stream between calls of `partial_fit`.

    Parameters
    ----------
    memory, held_out : StreamMemory
        Samples that are used for training again, and held-out samples.
    bounds : float64 ndarray of shape (2, n_features)
        Training samples are clipped to these values.
    seed : int
        Seed of the initial weights. New networks are initialized with the same values.
    waiting : Batch or None
        Samples in memory that have not been used for training yet.
    trained : dict
        Attributes of the trained network, from which training continues.
    fitted : dict
        Other attributes of an earlier `fit`. Empty if there was none.
    scaler : StandardScaler or None
        Means and scales of the features in that fit.
    started, scaled : int
        Number of samples when the network was initialized, and when its scales were
        last computed.
    unit : float
        Mean sample weight, by which weights are divided in training.
    parameters : dict
        Parameters of the classifier in the last training step.
    enough : bool
        Whether there were enough held-out samples for a threshold.
    derived : dict
        Attributes that are computed from the state when they are first required.
        Copies of a classifier share the dict.
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
        """Return the number of samples that were used for training or held out."""
        return self.memory.seen + self.held_out.seen

    def size(self) -> int:
        """Return the number of samples of the stream."""
        return self.learned() + (len(self.waiting.labels) if self.waiting else 0)

    def is_due(self, batch: Batch) -> bool:
        """Return whether to train on a batch, and on the waiting samples, now."""
        together = min(MAX_WAITING, max(1, self.learned() // 8))
        waiting = self.size() - self.learned() + len(batch.labels)
        return len(batch.labels) >= MIN_BATCH or waiting >= together

    def concatenate(self, batch: Batch) -> list[Batch]:
        """Return the waiting samples and a batch, as one batch if both are arrays."""
        if self.waiting is None:
            return [batch]
        if not isinstance(batch.X, np.ndarray):
            return [self.waiting, batch]
        pairs: Any = zip(self.waiting, batch, strict=True)
        return [Batch(*(np.concatenate(pair) for pair in pairs))]

    def outgrows_model(self) -> bool:
        """Return whether the stream has grown enough for a new network."""
        if self.fitted or self.started >= MAX_SAMPLES_AT_START:
            return False
        return self.memory.seen >= max(1, GROWTH * self.started)

    def remembered(self) -> tuple[np.ndarray, NDArray[np.int32], NDArray[np.float64]]:
        """Return stored samples, labels and weights in the order of their arrival.

        Samples with extreme values are left out, unless most samples of their class
        have such values.
        """
        order = np.argsort(self.memory.arrival)
        memory = self.memory.part(order[~self._occasional_extremes()[order]])
        return (
            np.clip(memory.X, *self.bounds),
            memory.labels,
            in_units(memory.sample_weights(), self.unit),
        )

    def _occasional_extremes(self) -> NDArray[np.bool_]:
        """Return which stored samples are extreme, unlike most of their class."""
        labels = self.memory.labels
        extreme = ~without_extremes(self.memory.X, self.bounds)
        of_class = np.bincount(labels, extreme) / np.maximum(np.bincount(labels), 1)
        occasional: NDArray[np.bool_] = extreme & (of_class[labels] < 0.5)
        return occasional

    def known_labels(self) -> NDArray[np.int32]:
        """Return the classes of which samples are used for training."""
        known = np.unique(self.memory.labels)
        if self.waiting is None:
            return known
        return np.union1d(known, self.waiting.labels[~self.waiting.held_out])

    def keep_sides(
        self, held_out: NDArray[np.bool_], hashes: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Correct a held-out mask such that samples of earlier batches stay there."""
        held_out = held_out.copy()
        for before, side in self._sides():
            held_out[_are_among(hashes, before)] = side
        return held_out

    def _sides(self) -> Iterator[tuple[NDArray[np.uint64], bool]]:
        """Yield the hashes of earlier samples, and whether they were held out."""
        yield self.held_out.hashes, True
        if self.waiting:
            yield self.waiting.hashes[self.waiting.held_out], True
            yield self.waiting.hashes[~self.waiting.held_out], False
        yield self.memory.hashes, False


def _are_among(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    if len(hashes) < MIN_BATCH:  # faster than sorting the others
        return (hashes[:, None] == others).any(axis=1)
    return np.isin(hashes, others)


def new_stream(X: np.ndarray | RowSource, num_classes: int, seed: int) -> StreamState:
    """Return the state of a stream before its first samples, of the type of `X`."""
    nothing = empty_memory(X, num_classes)
    return StreamState(nothing, nothing, np.array([[-np.inf], [np.inf]]), seed)


def bounds_of_scaler(
    scaler: StandardScaler | None, num_columns: int
) -> NDArray[np.float64]:
    """Return the `StreamState.bounds` of a stream that continues a fit."""
    if scaler is None:
        return np.array([[-np.inf], [np.inf]])
    mean, scale = scaler_by_column(scaler, num_columns)
    return np.stack([mean - MAX_DEVIATION * scale, mean + MAX_DEVIATION * scale])
