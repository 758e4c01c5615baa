"""How a network learns rows of a stream, together with rows from memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._data.projection import InputProjection
from ._data.rows import Rows, concatenate
from ._data.sample_weight import in_units
from ._data.sources import clipped
from ._data.stream_memory import capacity, reach
from ._data.streamed_rows import StreamedRows
from ._stream_state import Batch, StreamState

#: How often a row is trained on, in a stream of few rows, ...
MOST_VISITS = 50
#: ... and in one of many, most of which come from memory.
FEWEST_VISITS = 4
#: Visits per row times rows, in between.
VISITS = 2**14
#: Rows from memory that are trained on beside each new row, at least.
REPEATS = 3
#: How often the rows in memory are trained on when a new model is drawn.
VISITS_OF_NEW_MODEL = 30
#: Column means and scales follow the stream whenever it has grown by this factor.
GROWTH_BETWEEN_SCALES = 1.25
#: What further training starts from.
TRAINED = ("weights_", "kernel_scale_")


class StreamTrainingMixin:
    """The step that learns a batch.

    A model learns each batch together with rows from memory. While a stream is short,
    a new model is drawn whenever the stream has grown enough: that of few rows may
    know few classes and wrong scales.
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

    if TYPE_CHECKING:  # methods and attributes of the classifier
        weights_: dict[str, np.ndarray]

        def _before_training(
            self, rows: Rows | StreamedRows, rng: np.random.Generator
        ) -> None: ...
        def _constrain_weights(self) -> None: ...
        def _forgets(self) -> bool: ...
        def _most_scores(self) -> int: ...
        def _project(
            self, *args: Any
        ) -> tuple[Rows | StreamedRows, Rows | StreamedRows | None]: ...
        def _start(self, *args: Any) -> None: ...
        def _train(self, *args: Any, **kwargs: Any) -> None: ...

    def _learn(
        self, state: StreamState, batch: Batch, rng: np.random.Generator
    ) -> StreamState:
        """Train on a batch, on the rows that have waited, and on rows from memory."""
        batches = state.concatenate(batch)
        memory, held_out = state.memory, state.held_out
        limit = capacity(self.n_features_in_)
        for new in batches:
            part = new.part(~new.held_out)
            memory = memory.add(*part, limit=limit, latest=self._forgets())
            part = new.part(new.held_out)
            held_out = held_out.add(*part, limit=self._most_scores(), latest=True)
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

    def _draw_anew(self, state: StreamState, rng: np.random.Generator) -> StreamState:
        """Draw a model and train it on the rows in memory."""
        seen = state.memory.seen
        state = replace(state, bounds=reach(state.memory.X), started=seen, scaled=seen)
        X, labels, weights = state.remembered()
        before = self.n_iter_, self.loss_curve_
        drawn = np.random.default_rng(state.seed)
        self._start(self.architecture_, X, labels, weights, drawn)
        self.n_iter_, self.loss_curve_ = before
        # The rows so far need not show how frequent classes are.
        even = np.zeros_like(self.weights_["output/bias"])
        self.weights_ = {**self.weights_, "output/bias": even}
        rows, _ = self._project(X, labels, weights)
        self._before_training(rows, drawn)
        epochs = min(VISITS_OF_NEW_MODEL, len(labels), 1 + VISITS // len(labels))
        self._train_for(rows, epochs, rng)
        return state

    def _follow_scales(self, state: StreamState) -> StreamState:
        """Let the column means and scales follow the stream."""
        if state.memory.seen < GROWTH_BETWEEN_SCALES * state.scaled:
            return state
        state = replace(state, scaled=state.memory.seen)
        if not state.fitted:
            state = replace(state, bounds=reach(state.memory.X))
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
            rows, _ = self._project(X, labels, in_units(weights, state.unit))
            if isinstance(rows, Rows):
                new.append(rows)
            else:
                self._train_for(rows, 1, rng)
        if not new or not (size := sum(len(rows.labels) for rows in new)):
            return
        if state.fitted:  # there is no memory of what it was fitted on
            self._train_for(concatenate(new), 1, rng)
            return
        old = self._rows_from_memory(state, size, rng)
        visits = np.clip(VISITS / state.memory.seen, FEWEST_VISITS, MOST_VISITS)
        epochs = max(1, round(visits * size / (size + len(old.labels))))
        self._train_for(concatenate([*new, old]), epochs, rng)

    def _rows_from_memory(
        self, state: StreamState, size: int, rng: np.random.Generator
    ) -> Rows:
        """Draw rows to train on beside so many new ones."""
        room = (self.batch_size or size) - size  # in a single step
        number = min(len(state.memory), max(room, REPEATS * size))
        X, labels, weights = state.remembered()
        # On average they weigh what a row of the stream does.
        mean = state.memory.totals.sum() / state.memory.seen / state.unit
        weights *= mean / weights.mean()
        drawn = rng.choice(len(labels), number, replace=False)
        projected = self.projection_(X[drawn], self.dtype)
        return Rows(projected, labels[drawn], weights[drawn])

    def _train_for(
        self, rows: Rows | StreamedRows, epochs: int, rng: np.random.Generator
    ) -> None:
        """Train for some epochs, which count as one."""
        before = self.n_iter_, self.loss_curve_
        self._train(rows, rng, [self.learning_rate] * epochs, streaming=True)
        self._constrain_weights()
        loss = np.mean(self.loss_curve_[len(before[1]) :])
        self.n_iter_, self.loss_curve_ = before[0] + 1, [*before[1], float(loss)]
