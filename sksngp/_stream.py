"""Training on a stream, chunk by chunk: `partial_fit`."""

from __future__ import annotations

import copy
import reprlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._data import holdout
from ._data.input_types import plain_labels
from ._data.projection import InputProjection, scaler_by_column
from ._data.rows import Rows, concatenate
from ._data.sample_weight import WeightTotals, in_units
from ._data.sources import MatrixLike, RowSource, iter_chunks, select_samples
from ._data.stream_memory import StreamMemory, capacity, empty_memory, reach
from ._data.streamed_rows import StreamedRows
from ._data.validation import check_labels, check_training_samples, checks_parameters
from ._networks.memory_needs import Need, check_memory
from ._uncertainty import conformal

#: Chunks of fewer rows wait for others, ...
FEWEST_AT_ONCE = 8
#: ... until there are so many rows, or an eighth of those that came before.
ROWS_TOGETHER = 32
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
#: A new model is drawn whenever a stream has grown by this factor, ...
GROWTH = 3.0
#: ... until it has had so many rows.
LAST_START = 2048
#: Column means and scales follow the stream whenever it has grown by this factor.
GROWTH_BETWEEN_SCALES = 1.25
#: Standard deviations beyond which a fit's scales do not follow a value.
FARTHEST = 10.0
#: How many more rows are held out, at first, than a threshold needs.
MARGIN = 1.5
#: Values are wild beyond this many times the distance between a column's bounds.
WILD = 4.0
#: Latest held-out rows of a stream, which set its threshold.
STREAM_SCORES = 1000
#: What is computed from a stream's network when it is first asked for.
DERIVED = (
    "weights_",
    "kernel_scale_",
    "posterior_",
    "input_distance_",
    "_prior_variance",
    "_surprisals",
    "ood_scores_",
    "ood_threshold_",
    "_ood_rows",
)
#: What further training starts from.
_TRAINED = ("weights_", "kernel_scale_")

_deriving = threading.RLock()


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
    pending : list of tuple
        Chunks that wait to be learned: rows, labels, weights, hashes and which rows are
        held out.
    trained : dict
        The network as training left it, without what `derived` replaces.
    fitted : dict
        What an earlier `fit` found, if there was one.
    started, scaled : int
        Rows seen when the model was drawn, and when its scales were last computed.
    unit : float
        Mean weight of a row, by which weights are divided when rows are trained on.
    parameters : dict
        Parameters of the classifier in the last call, whatever they are set to later.
    derived : dict
        What predictions need, once they have asked for it. Copies of a classifier
        share it.
    """

    memory: StreamMemory
    held_out: StreamMemory
    bounds: NDArray[np.float64]
    seed: int
    pending: list[tuple[Any, ...]] = field(default_factory=list)
    trained: dict[str, Any] = field(default_factory=dict)
    fitted: dict[str, Any] = field(default_factory=dict)
    started: int = 0
    scaled: int = 0
    unit: float = 1.0
    parameters: dict[str, Any] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict)

    def size(self) -> int:
        """Return the number of rows that came, those that wait among them."""
        waiting = sum(len(chunk[1]) for chunk in self.pending)
        return self.memory.seen + self.held_out.seen + waiting

    def is_due(self) -> bool:
        """Return whether the rows that wait are to be learned now."""
        seen = self.memory.seen + self.held_out.seen
        together = min(ROWS_TOGETHER, max(1, seen // 8))
        few = len(self.pending[-1][1]) < FEWEST_AT_ONCE
        return not few or self.size() - seen >= together

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

    def are_tame(self, X: np.ndarray) -> NDArray[np.bool_]:
        """Return which rows have no value that is wild, far beyond all others.

        A wild row that is held out would be the threshold of a short stream.
        """
        low, high = self.bounds
        margin = WILD * (high - low)
        return ((low - margin <= X) & (high + margin >= X)).all(axis=1)


class _Chunk(NamedTuple):
    """Rows of a stream; of those that are held out, nothing is learned."""

    X: np.ndarray | RowSource
    labels: NDArray[np.int32]
    weights: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    held_out: NDArray[np.bool_]

    def part(self, mask: NDArray[np.bool_]) -> tuple[Any, ...]:
        """Rows, labels, weights and hashes of some."""
        return select_samples(self.X, mask), *(values[mask] for values in self[1:4])


class StreamMixin:
    """The method `partial_fit`, and attributes that are computed when asked for.

    A chunk trains the network, together with rows of earlier chunks. What takes longer
    than that waits until a prediction asks for it: the output layer's posterior and
    the scores of held-out rows. See `StreamState` for what is kept between calls.
    """

    # Parameters and attributes of the classifier.
    architecture_: dict[str, Any]
    batch_size: int | None
    classes_: np.ndarray
    class_weight: Any
    early_stopping: bool
    learning_rate: float
    loss_curve_: list[float]
    n_features_in_: int
    n_iter_: int
    ood_alpha: float
    ood_confidence: float | None
    projection_: InputProjection
    standardize: bool
    temperature: Any
    temperature_: float
    dtype: Any
    _ood_score_kind: str
    _split: int
    _weight_totals: tuple[float, float, bool, float]
    _cutoffs: NDArray[np.uint64]
    _cross_fitted: NDArray[np.uint64] | None
    _held_out_of_stream: NDArray[np.uint64] | None
    _ood_rows: NDArray[np.uint64] | None
    validation_fraction: float

    # State of this class.
    _stream: StreamState | None

    if TYPE_CHECKING:  # methods and attributes of the classifier

        @property
        def _ood_parts(self) -> str: ...

        weights_: dict[str, np.ndarray]
        ood_scores_: NDArray[np.float64]

        def _apply_threshold(self, scores: NDArray[np.float64]) -> None: ...
        def _architecture(
            self, fitted: Mapping[str, Any] | None = None
        ) -> dict[str, Any]: ...
        def _before_training(
            self, rows: Rows | StreamedRows, rng: np.random.Generator
        ) -> None: ...
        def _check_architecture(self, architecture: dict[str, Any]) -> None: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def _check_parameters(self) -> None: ...
        def _combine_scores(
            self, parts: NDArray[np.float64], known: np.ndarray | RowSource
        ) -> NDArray[np.float64]: ...
        def _constrain_weights(self) -> None: ...
        def _memory_needs(self, *args: Any) -> list[Need]: ...
        def _predict_valid(self, X: Any, what: str) -> NDArray[np.float64]: ...
        def _project(
            self, *args: Any
        ) -> tuple[Rows | StreamedRows, Rows | StreamedRows | None]: ...
        def _rng(self, *spawn_key: int) -> np.random.Generator: ...
        def _set_threshold(
            self, scores: NDArray[np.float64], depth: int = 0
        ) -> None: ...
        def _start(self, *args: Any) -> None: ...
        def _start_holding_out(self, rng: np.random.Generator) -> None: ...
        def _train(self, *args: Any, **kwargs: Any) -> None: ...
        def _warn_of_few(self, number: int, depth: int = 0) -> None: ...
    else:

        def __getattr__(self, name: str) -> Any:
            state = self.__dict__.get("_stream")
            if name in DERIVED and state is not None:
                if not state.derived:
                    with _deriving:
                        if not state.derived:
                            state.derived.update(self._derive(state))
                if name in state.derived:
                    return state.derived[name]
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )

    @checks_parameters
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn a chunk of a stream.

        A chunk may hold one row or many, of one class or all. The network is trained on
        it together with rows of earlier chunks: the classifier keeps a random sample of
        at most 2,000 rows, and as many of each class as it can, whose order does not
        matter. Until a stream has had some thousand rows, new models are drawn from
        these rows as it grows. The column means and scales follow the stream, and one
        row in a hundred with values far from all others changes little. Chunks of fewer
        than 8 rows wait until there are 32 (or an eighth of the rows so far), and
        predictions do not know them before. What predictions need beside the network is
        computed when the first prediction asks for it.

        A share `validation_fraction` of all rows, chosen by their values, is never
        trained on, however often it is passed; it is larger at first, until the rows
        suffice for a threshold. The scores that the current model gives the latest
        1,000 of these rows set the out-of-distribution threshold, but for rows with
        values that are wild (some hundred standard deviations from the others).

        After a `fit`, whose rows are not kept, a chunk is gone over once. The same
        holds after `sksngp.persistence.load`, as files hold no rows; pickles do.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            As for `fit`; or images, of shape (n_samples, height, width, channels).
        y : array-like of shape (n_samples,)
            As for `fit`.
        classes : array-like of shape (n_classes,), default=None
            All classes of the stream; needed in the first call, and the same or
            left out in later ones.
        sample_weight : array-like of shape (n_samples,), default=None
            As for `fit`. Importances are divided by their mean over the whole stream.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`; also if `y` holds a class that `classes` does not, if
            ``early_stopping=True`` or if ``class_weight="balanced"``.

        Warns
        -----
        FewSamplesWarning
            In the first call, if it has too few samples for a threshold.

        Examples
        --------
        >>> from sklearn.datasets import make_moons
        >>> from sksngp import SNGPClassifier
        >>> X, y = make_moons(400, noise=0.1, random_state=0)
        >>> clf = SNGPClassifier(num_layers=2, num_inducing=256, random_state=0)
        >>> for start in range(0, 400, 100):
        ...     chunk = slice(start, start + 100)
        ...     clf = clf.partial_fit(X[chunk], y[chunk], classes=[0, 1])
        >>> clf.score(X, y) > 0.9
        True
        """
        fitted = copy.copy(self)
        fitted._partial_fit(X, y, classes, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    def _partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        self._check_parameters()
        # Nothing must be derived from the former state from here on.
        state: StreamState | None = self.__dict__.pop("_stream", None)
        first = state is None and "weights_" not in self.__dict__
        known = self._check_stream(classes, first)
        checked, labels, weights, _, self.classes_, _ = check_training_samples(
            self, X, y, sample_weight, known_classes=known, reset=first, streaming=True
        )
        architecture = self._architecture(None if first else self.architecture_)
        check_memory(self._memory_needs(architecture, *checked.shape))
        # Later chunks must not repeat the shuffles and masks of the first.
        rng = self._rng(0 if first else self.n_iter_)
        if first:
            self._start_holding_out(rng)
            self.architecture_ = architecture
            self.temperature_, self.n_iter_, self.loss_curve_ = 1.0, 0, []
        else:
            self._check_architecture(architecture)
        if self.temperature != "auto":
            self.temperature_ = float(self.temperature)
        if state is None:
            state = self._new_stream(checked, first, int(rng.integers(2**63)))
        hashes = holdout.digests(checked, self._split)
        held_out = self._hold_out_of_stream(hashes, labels, state)
        chunk = checked, labels, weights, hashes, held_out
        state = replace(
            state,
            pending=[*state.pending, chunk],
            unit=WeightTotals(*self._weight_totals).unit,
            parameters=self.get_params(deep=False),
        )
        if not state.is_due():  # the arrays may be the caller's, who reuses them
            rows = np.concatenate([block for _, block in iter_chunks(checked)])
            chunk = rows, labels, weights.copy(), hashes, held_out
            state.pending[-1] = chunk
        else:
            state = self._learn(state, rng)
            for name in DERIVED:
                self.__dict__.pop(name, None)
        self._stream = state
        if first:
            self._warn_of_few(len(state.held_out))

    def _check_stream(self, classes: ArrayLike | None, first: bool) -> np.ndarray:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        if self.class_weight == "balanced":
            raise ValueError(
                "partial_fit does not support class_weight='balanced': a chunk does "
                "not show the balance of the stream. Pass a dict of weights."
            )
        if first:
            if classes is None:
                raise ValueError("classes must be passed in the first partial_fit.")
            check_labels(classes, "classes")
            return np.unique(plain_labels(classes))
        classes = plain_labels(classes)
        if classes is not None and not np.array_equal(
            np.unique(classes), self.classes_
        ):
            raise ValueError(
                f"classes={reprlib.repr(np.unique(classes).tolist())} differs from the "
                f"classes of the first call: {reprlib.repr(self.classes_.tolist())}."
            )
        return self.classes_

    def _hold_out_of_stream(
        self, hashes: NDArray[np.uint64], labels: NDArray[np.int32], state: StreamState
    ) -> NDArray[np.bool_]:
        """Choose rows of a chunk by themselves: other chunks are not at hand."""
        _, index = np.unique(hashes, return_inverse=True)
        place = state.size() + np.arange(len(hashes))
        cutoffs = np.where(
            place < self._rows_with_larger_share(state),
            np.uint64(holdout.cutoff_for_fraction(holdout.MAX_HELD_OUT_FRACTION)),
            self._cutoffs[labels],
        )
        # A row with several labels is held out if all of these say so.
        held_out = (np.bincount(index, hashes > cutoffs) == 0)[index]
        # Rows stay where they were.
        held_out |= np.isin(hashes, state.held_out.hashes)
        known = np.isin(hashes, state.memory.hashes)
        for chunk in map(_Chunk._make, state.pending):
            held_out |= np.isin(hashes, chunk.hashes[chunk.held_out])
            known |= np.isin(hashes, chunk.hashes[~chunk.held_out])
        if self._held_out_of_stream is not None:
            held_out |= np.isin(hashes, self._held_out_of_stream)
        if self._cross_fitted is not None:
            known |= np.isin(hashes, self._cross_fitted)
        held_out &= ~known
        if not state.fitted and not state.started:
            for label in np.unique(labels):  # some of each class, to start with
                held_out[labels == label] &= not held_out[labels == label].all()
        return held_out

    def _rows_with_larger_share(self, state: StreamState) -> float:
        """First rows, of which more are held out: until they set a threshold."""
        if (
            state.fitted
            or not 0 < self.validation_fraction < holdout.MAX_HELD_OUT_FRACTION
        ):
            return 0
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        return MARGIN * needed / holdout.MAX_HELD_OUT_FRACTION

    def _most_scores(self) -> int:
        """Number of held-out rows that set the threshold."""
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        return max(STREAM_SCORES, ceil(MARGIN * needed))

    def _new_stream(
        self, X: np.ndarray | RowSource, first: bool, seed: int
    ) -> StreamState:
        """State of a stream that starts here, or that goes on from a `fit`."""
        nothing = empty_memory(X, len(self.classes_))
        bounds = np.array([[-np.inf], [np.inf]])
        if first:
            return StreamState(nothing, nothing, bounds, seed)
        fitted = {
            name: self.__dict__[name] for name in DERIVED if name in self.__dict__
        }
        scaler = self.projection_.scaler
        if scaler is not None:
            fitted["scaler"] = scaler
            mean, scale = scaler_by_column(scaler, X.shape[1])
            bounds = np.stack([mean - FARTHEST * scale, mean + FARTHEST * scale])
        trained = {name: fitted[name] for name in _TRAINED if name in fitted}
        return StreamState(nothing, nothing, bounds, seed, [], trained, fitted)

    def _learn(self, state: StreamState, rng: np.random.Generator) -> StreamState:
        """Train on the rows that have waited, and on rows from memory."""
        chunks = _merged(state.pending)
        memory, held_out = state.memory, state.held_out
        limit = capacity(self.n_features_in_)
        for chunk in chunks:
            part = chunk.part(~chunk.held_out)
            memory = memory.add(*part, limit=limit, latest=self._forgets())
            part = chunk.part(chunk.held_out)
            held_out = held_out.add(*part, limit=self._most_scores(), latest=True)
        state = replace(state, memory=memory, held_out=held_out, pending=[], derived={})
        self.__dict__.update(state.trained)
        if state.outgrows_model():
            state = self._draw_anew(state, rng)
        elif not all(chunk.held_out.all() for chunk in chunks):
            state = self._follow_scales(state)
            self._train_on_chunks(state, chunks, rng)
        trained = {name: vars(self)[name] for name in _TRAINED if name in vars(self)}
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
        before = state.fitted.get("scaler")
        self.projection_ = self.projection_.rescaled(X, weights, before)
        return state

    def _train_on_chunks(
        self, state: StreamState, chunks: list[_Chunk], rng: np.random.Generator
    ) -> None:
        new: list[Rows] = []
        for chunk in chunks:
            X, labels, weights, _ = chunk.part(~chunk.held_out)
            if isinstance(X, np.ndarray):
                X = np.clip(X, *state.bounds)
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
        room = (self.batch_size or size) - size  # in a single step
        again = min(len(state.memory), max(room, REPEATS * size))
        visits = np.clip(VISITS / state.memory.seen, FEWEST_VISITS, MOST_VISITS)
        X, labels, weights = state.remembered()
        # On average they weigh what a row of the stream does.
        mean = state.memory.totals.sum() / state.memory.seen / state.unit
        weights *= mean / weights.mean()
        drawn = rng.choice(len(labels), again, replace=False)
        projected = self.projection_(X[drawn], self.dtype)
        old = Rows(projected, labels[drawn], weights[drawn])
        epochs = max(1, round(visits * size / (size + again)))
        self._train_for(concatenate([*new, old]), epochs, rng)

    def _train_for(
        self, rows: Rows | StreamedRows, epochs: int, rng: np.random.Generator
    ) -> None:
        """Train for some epochs, which count as one."""
        before = self.n_iter_, self.loss_curve_
        self._train(rows, rng, [self.learning_rate] * epochs, streaming=True)
        self._constrain_weights()
        loss = np.mean(self.loss_curve_[len(before[1]) :])
        self.n_iter_, self.loss_curve_ = before[0] + 1, [*before[1], float(loss)]

    def _derive(self, state: StreamState) -> dict[str, Any]:
        """Compute what predictions need."""
        model = copy.copy(self)
        model.__dict__.update(
            {**state.fitted, **state.trained, **state.parameters}, _stream=None
        )
        remembered = state.remembered()
        rows, _ = model._project(*remembered)
        model._finish_stream(rows, state)
        tame = state.are_tame(state.held_out.X)
        held_out, hashes = state.held_out.X[tame], state.held_out.hashes[tame]
        if state.fitted:
            scores = model._predict_valid(held_out, self._ood_score_kind)
        else:
            parts = model._predict_valid(held_out, model._ood_parts)
            scores = model._combine_scores(parts, remembered[0])
        if (earlier := state.fitted.get("_ood_rows")) is not None:
            # Rows of an earlier fit are not at hand to be scored again.
            others = np.flatnonzero(~np.isin(earlier, state.held_out.hashes))
            others = others[max(len(others) + len(scores) - self._most_scores(), 0) :]
            hashes = np.append(earlier[others], hashes)
            scores = np.append(state.fitted["ood_scores_"][others], scores)
        model._ood_rows = hashes
        model._apply_threshold(scores)
        return {name: vars(model)[name] for name in DERIVED if name in vars(model)}

    def _finish_stream(self, rows: Rows | StreamedRows, state: StreamState) -> None:
        """Fit what follows from the trained network and the rows in memory."""

    def _forgets(self) -> bool:
        """Whether only the latest rows count."""
        return False

    def _for_file(self) -> Self:
        """Return the classifier that a file holds: without the rows of a stream."""
        if self.__dict__.get("_stream") is None:
            return self
        without_rows = copy.copy(self)
        without_rows._end_stream()
        return without_rows

    def _end_stream(self) -> None:
        """Keep what the stream has learned; forget its rows but for their hashes.

        Rows that wait are forgotten unlearned.
        """
        state = self.__dict__.get("_stream")
        if state is None:
            return
        for name in DERIVED:
            if hasattr(self, name):
                self.__dict__[name] = getattr(self, name)
        del self.__dict__["_stream"]
        self._held_out_of_stream = _joined(
            self._held_out_of_stream, state.held_out.hashes
        )
        self._cross_fitted = _joined(self._cross_fitted, state.memory.hashes)


def _joined(
    before: NDArray[np.uint64] | None, hashes: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    return hashes if before is None else np.append(before, hashes)


def _merged(pending: list[tuple[Any, ...]]) -> list[_Chunk]:
    """Chunks that have waited, as one but for data sources."""
    arrays = [chunk for chunk in pending if isinstance(chunk[0], np.ndarray)]
    sources = [_Chunk(*chunk) for chunk in pending if isinstance(chunk[0], RowSource)]
    if not arrays:
        return sources
    return [_Chunk(*map(np.concatenate, zip(*arrays, strict=True))), *sources]
