"""Attributes of a stream's classifier that are computed when they are required."""

from __future__ import annotations

import copy
import threading
from math import ceil
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ._data.holdout import HoldOut
from ._data.rows import Rows
from ._data.sources import RowSource
from ._data.stream_memory import without_extremes
from ._data.streamed_rows import StreamedRows
from ._stream_state import StreamState
from ._uncertainty import conformal

#: Number of latest held-out samples that determine the threshold.
STREAM_SCORES = 1000
#: Initial number of held-out samples, divided by the number that a threshold requires.
MARGIN = 1.5
#: Minimum number of training steps on the stored samples before a prediction.
FINAL_STEPS = 100
#: Attributes that are computed from the network when they are first required.
DERIVED = (
    "weights_",
    "kernel_scale_",
    "posterior_",
    "input_distance_",
    "hidden_distance_",
    "_prior_variance",
    "_surprisals",
    "ood_scores_",
    "ood_threshold_",
    "_ood_score_hashes",
)

_deriving = threading.RLock()


class StreamDerivedMixin:
    """Mixin of the classifiers that computes attributes of a stream on demand."""

    # Parameters and attributes of the classifier.
    batch_size: int | None
    learning_rate: float
    ood_alpha: float
    ood_confidence: float | None
    verbose: Any
    _hold_out: HoldOut
    _ood_score_hashes: NDArray[np.uint64] | None
    _ood_score_kind: str

    # State of this class.
    _stream: StreamState | None

    if TYPE_CHECKING:  # methods and attributes of the classifier
        ood_scores_: NDArray[np.float64]

        @property
        def _ood_parts(self) -> str: ...

        def _apply_threshold(self, scores: NDArray[np.float64]) -> None: ...
        def _combine_scores(
            self, parts: NDArray[np.float64], known: np.ndarray | RowSource
        ) -> NDArray[np.float64]: ...
        def _constrain_weights(self) -> None: ...
        def _is_dense(self) -> bool: ...
        def _predict_valid(self, X: Any, quantity: str) -> NDArray[np.float64]: ...
        def _project(self, *args: Any) -> Rows | StreamedRows: ...
        def _train(self, *args: Any, **kwargs: Any) -> None: ...
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

    def _derive(self, state: StreamState) -> dict[str, Any]:
        """Compute the attributes that predictions require."""
        model = copy.copy(self)
        model.__dict__.update(
            {**state.fitted, **state.trained, **state.parameters}, _stream=None
        )
        model._constrain_weights()
        known = state.remembered()
        rows = model._project(*known)
        model._finish_stream(rows, state)
        tame, others = model._calibration_rows(state)
        held_out, hashes = state.held_out.X[tame], state.held_out.hashes[tame]
        if state.fitted:
            scores = model._predict_valid(held_out, self._ood_score_kind)
        else:
            parts = model._predict_valid(held_out, model._ood_parts)
            scores = model._combine_scores(parts, known[0])
        if len(others):
            hashes = np.append(state.fitted["_ood_score_hashes"][others], hashes)
            scores = np.append(state.fitted["ood_scores_"][others], scores)
        model._ood_score_hashes = hashes
        model._apply_threshold(scores)
        return {name: vars(model)[name] for name in DERIVED if name in vars(model)}

    def _calibration_rows(
        self, state: StreamState
    ) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Return the mask of the held-out samples that determine the threshold.

        The second result is the indices of scores of an earlier fit that are used as
        well. Its samples are not stored and cannot be scored again; their scores are
        gradually replaced by those of the stream.
        """
        # An extreme sample would be the threshold of a short stream.
        tame = without_extremes(state.held_out.X, state.bounds)
        earlier = state.fitted.get("_ood_score_hashes")
        if earlier is None:
            return tame, np.empty(0, np.intp)
        others = np.flatnonzero(~np.isin(earlier, state.held_out.hashes))
        too_many = len(others) + np.count_nonzero(tame) - self._most_scores()
        return tame, others[max(too_many, 0) :]

    def _most_scores(self) -> int:
        """Return the number of held-out samples that set the threshold."""
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        return max(STREAM_SCORES, ceil(MARGIN * needed))

    def _finish_stream(self, rows: Rows | StreamedRows, state: StreamState) -> None:
        """Fit the state that depends on the network and on the stored samples.

        A dense network is trained on the stored samples at a decreasing learning rate.
        The last steps of the stream are too noisy for predictions, and their samples
        may be of a single class.
        """
        if state.fitted or not self._is_dense():
            return
        self.verbose = 0
        steps = ceil(len(rows.labels) / (self.batch_size or len(rows.labels)))
        epochs = ceil(FINAL_STEPS / steps)
        rates = self.learning_rate * np.linspace(1.0, 0.0, epochs, endpoint=False)
        rng = np.random.default_rng(state.seed)
        self._train(rows, rng, rates.tolist(), streaming=True)

    def _forgets(self) -> bool:
        """Return whether only the latest samples are stored."""
        return False

    def _for_file(self) -> Self:
        """Return the classifier without stored samples, for files."""
        if self.__dict__.get("_stream") is None:
            return self
        without_rows = copy.copy(self)
        without_rows._end_stream()
        return without_rows

    def _end_stream(self) -> None:
        """Discard the stored samples of the stream, except for their hashes.

        Waiting samples are discarded without being used for training.
        """
        state = self.__dict__.get("_stream")
        if state is None:
            return
        for name in DERIVED:
            if hasattr(self, name):
                self.__dict__[name] = getattr(self, name)
        del self.__dict__["_stream"]
        self._hold_out = self._hold_out.after(
            held_out=state.held_out.hashes, trained=state.memory.hashes
        )
