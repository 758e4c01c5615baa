"""Initialization and training of the network of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._data.projection import InputProjection, fit_projection
from ._data.rows import Rows
from ._data.sources import RowSource, select_samples
from ._data.streamed_rows import StreamedRows, project
from ._network_parameters import NetworkParametersMixin
from ._networks.kinds import architecture_of
from ._shared_parameters import LARGEST_LEARNING_RATE
from ._tensorflow import backend, network_pool

#: ``epochs="auto"`` trains for at most this many epochs or optimizer steps.
MAX_EPOCHS = 50
MAX_STEPS = 8000
#: Factors of the learning rate by the fraction of the epochs that are completed.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + np.cos(np.pi * done)),
}


class NetworkTrainingMixin(NetworkParametersMixin):
    """Methods that initialize and train the network."""

    # Attributes of a fitted classifier.
    candidates_: list[dict[str, Any]] | None
    num_layers_: int
    n_iter_: int
    loss_curve_: list[float]
    projection_: InputProjection
    validation_scores_: list[float] | None
    weights_: dict[str, np.ndarray]
    _optimizer_state: list[np.ndarray] | None

    def _start(
        self,
        fields: dict[str, Any],
        X: np.ndarray | RowSource,
        labels: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Initialize a new model; samples of weight 0 have no influence on it."""
        self.architecture_, self.candidates_ = fields, None
        self.num_layers_ = fields["num_layers"]
        architecture = architecture_of(fields)
        self.projection_ = fit_projection(
            X,
            weights,
            num_hidden=architecture.projection_width,
            members=architecture.members,
            standardize=self.standardize,
            rng=rng,
            channels=architecture.channels(self.image_shape_),
        )
        log_prior = _log_prior(labels, weights, len(self.classes_))
        self.weights_ = architecture.initial_weights(rng, log_prior)
        self.weights_ |= backend.built_weights(architecture, rng)
        self._fixed_params = {
            name: getattr(self, name) for name in self._params_fixed_by_fit
        }
        self._optimizer_state = None
        self.n_iter_, self.loss_curve_, self.validation_scores_ = 0, [], None

    def _project(
        self,
        X: np.ndarray | RowSource,
        labels: np.ndarray,
        weights: np.ndarray,
        mask: NDArray[np.bool_] | None = None,
    ) -> Rows | StreamedRows:
        """Project samples, or those of a mask."""
        if mask is not None and not mask.all():
            X, labels, weights = select_samples(X, mask), labels[mask], weights[mask]
        return project(X, labels, weights, self.projection_, self.dtype)

    def _project_any(
        self,
        X: np.ndarray | RowSource,
        labels: np.ndarray,
        weights: np.ndarray,
        mask: NDArray[np.bool_],
    ) -> Rows | StreamedRows | None:
        """Project the samples of a mask; return None if there are none."""
        return self._project(X, labels, weights, mask) if mask.any() else None

    def _train(
        self,
        rows: Rows | StreamedRows,
        rng: np.random.Generator,
        learning_rates: list[float],
        *,
        validation: Rows | StreamedRows | None = None,
        streaming: bool = False,
    ) -> None:
        """Train the network for one epoch per learning rate."""
        with network_pool.lease(self.device, **self.architecture_) as compiled:
            # Imported here because it requires TensorFlow, which the lease starts.
            from ._tensorflow.training import train

            compiled.load(self.weights_, **self._network_variables())
            compiled.load_optimizer(
                self.learning_rate, self._optimizer_state if streaming else None
            )
            self.weights_, history = train(
                compiled,
                rows,
                learning_rates,
                batch_size=self.batch_size,
                seed=int(rng.integers(2**31)),
                validation=validation if self.early_stopping else None,
                patience=self.n_iter_no_change,
                verbose=bool(self.verbose),
            )
            # Only streams continue with the state of the optimizer, whose moments are
            # twice as large as the weights.
            self._optimizer_state = compiled.dump_optimizer() if streaming else None
        self.n_iter_ = self.n_iter_ + len(history.loss)
        self.loss_curve_ = self.loss_curve_ + history.loss
        scores = (self.validation_scores_ or []) + history.validation_score
        self.validation_scores_ = scores or None

    def _learning_rates(self, num_rows: int) -> list[float]:
        """Return the learning rate of each epoch of a fit."""
        steps = -(-num_rows // (self.batch_size or num_rows))
        epochs = max(1, min(MAX_EPOCHS, MAX_STEPS // steps))
        if self.epochs != "auto":
            epochs = int(self.epochs)
        schedule = self.learning_rate_schedule
        schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
        factors = [schedule(epoch / epochs) for epoch in range(epochs)]
        for epoch, factor in enumerate(factors, start=1):
            if not isinstance(factor, Real) or not (
                0 <= self.learning_rate * factor <= LARGEST_LEARNING_RATE
            ):
                raise ValueError(
                    f"learning_rate_schedule={self.learning_rate_schedule!r} must "
                    f"return finite, non-negative factors of learning_rate="
                    f"{self.learning_rate}, got {factor!r} in epoch {epoch}."
                )
        return [float(self.learning_rate * factor) for factor in factors]


def _log_prior(
    labels: np.ndarray, weights: np.ndarray, num_classes: int
) -> NDArray[np.float64]:
    """Return the log class frequencies, with one additional sample per class."""
    counts = np.bincount(labels, weights, minlength=num_classes) + 1.0
    return np.log(counts / counts.sum())
