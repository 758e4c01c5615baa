"""Training of a network on a batch of a stream and on stored samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._data.holdout import HoldOut
from ._data.projection import InputProjection
from ._data.rows import Rows, concatenate
from ._data.sample_weight import in_units
from ._data.sources import clipped
from ._data.stream_memory import StreamMemory, capacity, clipping_bounds
from ._data.streamed_rows import StreamedRows
from ._stream_state import Batch, StreamState

#: Each sample is used for training this many times in a short stream.
MAX_VISITS = 50
#: Each sample is used this many times in a long stream, mostly from memory.
MIN_VISITS = 4
#: Between these limits, number of samples times uses per sample.
VISITS = 2**14
#: Minimum number of stored samples that are used for training with each new sample.
REPEATS = 3
#: Number of times that the stored samples are used to train a new network.
VISITS_OF_NEW_MODEL = 30
#: Held-out samples are used for training if their repetitions exceed this fraction of
#: the stream, and this number.
MAX_FRACTION_HELD_OUT = 0.05
MIN_REPETITIONS = 5
#: The means and scales are updated each time the stream has grown by this factor.
GROWTH_BETWEEN_SCALES = 1.25
#: Attributes from which training continues.
TRAINED = ("weights_", "kernel_scale_")


class StreamTrainingMixin:
    """Mixin of the classifiers with the training step of a stream.

    The network is trained on each batch together with stored samples. While the stream
    is short, a new network is initialized whenever the stream has grown enough, because
    the first samples may contain few classes, and their scales may be wrong.
    """

    # Parameters and attributes of the classifier.
    architecture_: dict[str, Any]
    batch_size: int | None
    dtype: Any
    learning_rate: float
    loss_curve_: list[float]
    n_features_in_: int
    n_iter_: int
    projection_: InputProjection
    _hold_out: HoldOut

    if TYPE_CHECKING:  # methods and attributes of the classifier
        weights_: dict[str, np.ndarray]

        def _before_training(
            self, rows: Rows | StreamedRows, rng: np.random.Generator
        ) -> None: ...
        def _forgets(self) -> bool: ...
        def _most_scores(self) -> int: ...
        def _project(self, *args: Any) -> Rows | StreamedRows: ...
        def _start(self, *args: Any) -> None: ...
        def _train(self, *args: Any, **kwargs: Any) -> None: ...

    def _learn(
        self, state: StreamState, batch: Batch, rng: np.random.Generator
    ) -> StreamState:
        """Train on a batch, on the waiting samples, and on stored samples."""
        batches = state.concatenate(batch)
        memory, held_out = state.memory, state.held_out
        limit = capacity(self.n_features_in_)
        for new in batches:
            part = new.part(~new.held_out)
            memory = memory.add(*part, limit=limit, latest=self._forgets())
            part = new.part(new.held_out)
            held_out = held_out.add(*part, limit=self._most_scores(), latest=True)
        memory, held_out = self._release_common(memory, held_out, limit)
        state = replace(
            state, memory=memory, held_out=held_out, waiting=None, derived={}
        )
        self.__dict__.update(state.trained)
        if state.outgrows_model():
            state = self._draw_anew(state, rng)
        elif not all(new.held_out.all() for new in batches):
            state = self._follow_scales(state)
            self._train_on_batches(state, batches, rng)
        trained = {name: vars(self)[name] for name in TRAINED if name in vars(self)}
        return replace(state, trained=trained)

    def _release_common(
        self, memory: StreamMemory, held_out: StreamMemory, limit: int
    ) -> tuple[StreamMemory, StreamMemory]:
        """Use held-out samples for training that are a large fraction of the stream.

        The network would otherwise never learn the most frequent values.
        """
        total = memory.totals.sum() + held_out.totals.sum()
        mean = total / (memory.seen + held_out.seen)
        common = held_out.weights > np.maximum(
            MAX_FRACTION_HELD_OUT * total, MIN_REPETITIONS * mean
        )
        # Equal samples with other labels are on the same side.
        common = np.isin(held_out.hashes, held_out.hashes[common])
        if not common.any():
            return memory, held_out
        released = held_out.part(np.flatnonzero(common))
        held_out = held_out.part(np.flatnonzero(~common))
        lost = np.bincount(
            released.labels, released.weights, minlength=len(held_out.totals)
        )
        self._hold_out = self._hold_out.after(
            held_out=released.hashes[:0], trained=released.hashes
        )
        seen = memory.seen
        memory = memory.add(
            released.X,
            released.labels,
            released.weights,
            released.hashes,
            limit=limit,
            latest=self._forgets(),
        )
        return replace(memory, seen=seen), replace(
            held_out, totals=held_out.totals - lost
        )

    def _draw_anew(self, state: StreamState, rng: np.random.Generator) -> StreamState:
        """Initialize a network and train it on the stored samples."""
        seen = state.memory.seen
        state = replace(
            state, bounds=clipping_bounds(state.memory.X), started=seen, scaled=seen
        )
        X, labels, weights = state.remembered()
        before = self.n_iter_, self.loss_curve_
        drawn = np.random.default_rng(state.seed)
        self._start(self.architecture_, X, labels, weights, drawn)
        self.n_iter_, self.loss_curve_ = before
        # Class frequencies of the first samples may differ from those of the stream.
        even = np.zeros_like(self.weights_["output/bias"])
        self.weights_ = {**self.weights_, "output/bias": even}
        rows = self._project(X, labels, weights)
        self._before_training(rows, drawn)
        epochs = min(VISITS_OF_NEW_MODEL, len(labels), 1 + VISITS // len(labels))
        self._train_for(rows, epochs, rng)
        return state

    def _follow_scales(self, state: StreamState) -> StreamState:
        """Update the means and scales of the features."""
        if state.memory.seen < GROWTH_BETWEEN_SCALES * state.scaled:
            return state
        state = replace(state, scaled=state.memory.seen)
        if not state.fitted:
            state = replace(state, bounds=clipping_bounds(state.memory.X))
        X, _, weights = state.remembered()
        self.projection_ = self.projection_.rescaled(X, weights, state.scaler)
        return state

    def _train_on_batches(
        self, state: StreamState, batches: list[Batch], rng: np.random.Generator
    ) -> None:
        new: list[Rows] = []
        for batch in batches:
            X, labels, weights, _ = batch.part(~batch.held_out)
            X = clipped(X, *state.bounds)
            rows = self._project(X, labels, in_units(weights, state.unit))
            if isinstance(rows, Rows):
                new.append(rows)
            else:
                self._train_for(rows, 1, rng, factor=_weight_factor(rows))
        if not new or not (size := sum(len(rows.labels) for rows in new)):
            return
        if state.fitted:  # the training set of the fit is not stored
            rows = concatenate(new)
            self._train_for(rows, 1, rng, factor=_weight_factor(rows))
            return
        old = self._rows_from_memory(state, size, rng)
        visits = np.clip(VISITS / state.memory.seen, MIN_VISITS, MAX_VISITS)
        epochs = max(1, round(visits * size / (size + len(old.labels))))
        self._train_for(concatenate([*new, old]), epochs, rng)

    def _rows_from_memory(
        self, state: StreamState, size: int, rng: np.random.Generator
    ) -> Rows:
        """Draw stored samples for training together with `size` new samples."""
        room = (self.batch_size or size) - size  # in a single step
        X, labels, weights = state.remembered()
        number = min(len(labels), max(room, REPEATS * size))
        # Their mean weight is that of all samples of the stream.
        mean = state.memory.totals.sum() / state.memory.seen / state.unit
        weights *= mean / weights.mean()
        drawn = rng.choice(len(labels), number, replace=False)
        projected = self.projection_(X[drawn], self.dtype)
        return Rows(projected, labels[drawn], weights[drawn])

    def _train_for(
        self,
        rows: Rows | StreamedRows,
        epochs: int,
        rng: np.random.Generator,
        factor: float = 1.0,
    ) -> None:
        """Train for several epochs, which are recorded as one.

        The learning rate is multiplied by `factor`.
        """
        before = self.n_iter_, self.loss_curve_
        self._train(rows, rng, [factor * self.learning_rate] * epochs, streaming=True)
        loss = np.mean(self.loss_curve_[len(before[1]) :])
        self.n_iter_, self.loss_curve_ = before[0] + 1, [*before[1], float(loss)]


def _weight_factor(rows: Rows | StreamedRows) -> float:
    """Return a factor of the learning rate for a batch that is trained on alone.

    The optimizer does not depend on the unit of the weights, but a batch of lower
    weights than those of earlier samples must have less influence.
    """
    return min(1.0, float(rows.weights.mean()))
