"""Distances from the training data of `SNGPClassifier`: in input and hidden space."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._data.rows import Rows
from ._data.streamed_rows import StreamedRows
from ._sngp_posterior import PosteriorOfOutput
from ._uncertainty.input_distance import (
    InputDistance,
    fit_input_distance,
    unit_length,
)

if TYPE_CHECKING:
    from ._data.sources import RowSource

#: Numbers of random features of the two processes. With 512 instead of 256, the second
#: detects unseen digits equally well.
INPUT_FEATURES = 512
HIDDEN_FEATURES = 256


class DistancesFromTraining(PosteriorOfOutput, ABC):
    """Two Gaussian processes whose variances are distances from the training data.

    The inputs of the first are the projected samples. Those of the second are their
    hidden representations, scaled to length one: the length depends on the sample, but
    says little about its class. Custom networks have neither process.
    """

    # Attributes of a fitted classifier.
    input_distance_: InputDistance | None
    hidden_distance_: InputDistance | None

    def _fit_distances(self, rows: Rows | StreamedRows) -> None:
        self.input_distance_ = self.hidden_distance_ = None
        if self._fitted_architecture.projection_width is None:
            return
        classes, seed = len(self.classes_), self._hold_out.key
        self.input_distance_ = fit_input_distance(rows, classes, seed, INPUT_FEATURES)
        self.hidden_distance_ = fit_input_distance(
            self._hidden_rows(rows), classes, seed, HIDDEN_FEATURES
        )

    def _distances_with(
        self, rows: Rows | StreamedRows
    ) -> Iterator[tuple[InputDistance, Rows | StreamedRows]]:
        """Yield each process, updated with samples, and the samples as its inputs."""
        if self.input_distance_ is not None:
            yield self.input_distance_.update(rows), rows
        if self.hidden_distance_ is not None:
            hidden = self._hidden_rows(rows)
            yield self.hidden_distance_.update(hidden), hidden

    def _update_distances(self, rows: Rows | StreamedRows) -> None:
        processes = [process for process, _ in self._distances_with(rows)]
        if processes:
            self.input_distance_ = processes[0]
        if processes[1:]:
            self.hidden_distance_ = processes[1]

    def _distances(
        self, projected: np.ndarray, hidden: np.ndarray
    ) -> list[NDArray[np.float64]]:
        """Compute the distances of samples, each of shape (n,)."""
        distances = []
        if self.input_distance_ is not None:
            distances.append(self.input_distance_(projected))
        if self.hidden_distance_ is not None:
            distances.append(self.hidden_distance_(unit_length(hidden)))
        return distances

    def _prepare(self) -> None:
        super()._prepare()
        for process in (self.input_distance_, self.hidden_distance_):
            if process is not None:
                process.whitening  # noqa: B018  (a cached property)

    def _hidden(
        self,
        rows: Rows | StreamedRows,
        function: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> np.ndarray:
        """Return a function of the hidden representations, (n, num_hidden)."""
        shape = len(rows.labels), self.architecture_["num_hidden"]
        result = np.empty(shape, self.architecture_["dtype"])
        end = 0
        with self._inference() as compiled:
            for block, _ in rows.chunks(self._row_width()):
                start, end = end, end + len(block)
                result[start:end] = function(compiled.hidden(block).numpy())
        return result

    def _hidden_rows(self, rows: Rows | StreamedRows) -> Rows | StreamedRows:
        """Return samples as inputs of the second process."""
        if isinstance(rows, StreamedRows):
            return replace(rows, projection=HiddenProjection(self))
        return replace(rows, projected=self._hidden(rows, unit_length))


@dataclass(frozen=True)
class HiddenProjection:
    """Projection of samples to the inputs of the second process.

    It takes the place of an `InputProjection`, also on Dask workers.

    Parameters
    ----------
    model : SNGPClassifier
    """

    model: Any

    def row_floats(self, num_columns: int) -> int:
        """Return the number of floats of a projected sample."""
        return int(self.model.architecture_["num_hidden"])

    def __call__(self, X: np.ndarray | RowSource, dtype: DTypeLike) -> np.ndarray:
        """Return the scaled hidden representations of samples, (n, num_hidden)."""
        count = len(X)
        rows = Rows(
            self.model.projection_(X, dtype), np.zeros(count, np.int32), np.ones(count)
        )
        return self.model._hidden(rows, unit_length)
