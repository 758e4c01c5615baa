"""Kernel scale and output weights of `SNGPClassifier`."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._runtime.blas import one_thread
from ._selection import Candidate
from ._sngp_posterior import float64_array
from ._sngp_score import ScoreOfPosterior
from ._uncertainty.posterior_mode import posterior_mode

if TYPE_CHECKING:
    from ._data.rows import Rows
    from ._data.streamed_rows import StreamedRows
    from ._selection import Samples, Splits
    from ._stream import StreamState

#: Factors of the mean squared distance between hidden representations that
#: ``kernel_scale="auto"`` compares as squared length-scales of the kernel.
KERNEL_FACTORS = (1 / 16, 1 / 4, 1.0, 4.0)
#: The factor if no samples are held out, so that none can be compared.
DEFAULT_KERNEL_FACTOR = 1.0
#: Number of samples in a held-out set, below which the defaults have a lower log loss
#: than values that are chosen by it. Folds hold out all samples.
MIN_SET = 100
#: Prior precisions that ``ridge_penalty="auto"`` compares. The first is the default.
RIDGES = (0.1, 0.03, 0.3)
#: The output layer is computed if all samples together have at most this many random
#: features, and products of random features and classes.
MAX_FEATURES = 2**26
MAX_PRODUCTS = 2**30
#: With more products, it is computed in float32 to a lower accuracy.
MAX_EXACT_PRODUCTS = 2**24
#: Number of training samples on which kernel factors are compared.
MAX_COMPARED_SAMPLES = 4000


class KernelOutput(ScoreOfPosterior, ABC):
    """Choice of the kernel scale, and output weights that are computed from it.

    While the network is trained, the kernel scale is a fraction of the mean squared
    distance: a short length-scale keeps samples apart. It does not change if the output
    layer is trained as well.
    """

    # Attributes of a fitted classifier.
    kernel_scale_: float
    _distance: float  # mean squared distance in the untrained network
    _computes_output: bool  # rather than trains it

    _depths = (0, 2, 6)

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        self.kernel_scale_ = 1.0
        if self.kernel_scale == "auto":
            self._distance = self._mean_squared_distance(rows) or 1.0
            factor = self._fitted_architecture.training_kernel_factor
            self.kernel_scale_ = factor * self._distance
        else:
            self.kernel_scale_ = float(self.kernel_scale)
        automatic = self.ridge_penalty == "auto"
        self.ridge_penalty_ = RIDGES[0] if automatic else float(self.ridge_penalty)
        # A separate generator: num_samples does not affect the training.
        (generator,) = rng.spawn(1)
        self.noise_ = generator.standard_normal((self.num_samples, len(self.classes_)))

    def _factors_to_compare(
        self, samples: Samples, splits: Splits
    ) -> tuple[float | None, ...]:
        if self.kernel_scale != "auto" or not self._computes_output:
            return (None,)
        enough = self._suffices_to_choose(splits)
        return KERNEL_FACTORS if enough else (DEFAULT_KERNEL_FACTOR,)

    def _ridges_to_compare(self, splits: Splits) -> tuple[float | None, ...]:
        if self.ridge_penalty != "auto" or not self._computes_output:
            return (None,)
        return RIDGES if self._suffices_to_choose(splits) else RIDGES[:1]

    def _suffices_to_choose(self, splits: Splits) -> bool:
        """Return whether the log loss on the held-out samples is precise enough."""
        if not self._is_dense():
            return splits.any()
        least = 1 if splits.refit else MIN_SET
        return int(np.count_nonzero(splits.held_out)) >= least

    def _depths_to_compare(self, samples: Samples, splits: Splits) -> tuple[int, ...]:
        self._computes_output = self._output_is_small(len(samples.labels))
        depths = super()._depths_to_compare(samples, splits)
        return depths if self._computes_output else depths[-1:]

    def _needs_training(self) -> bool:
        has_layers = self.architecture_["num_layers"] > 0 or not self._is_dense()
        return has_layers or not self._computes_output

    def _output_is_small(self, num_rows: int) -> bool:
        """Return whether the output layer is computed rather than trained."""
        features = num_rows * int(self.num_inducing)
        return (
            features <= MAX_FEATURES and features * len(self.classes_) <= MAX_PRODUCTS
        )

    def _candidate_logits(
        self,
        rows: Rows | StreamedRows,
        held_out: Rows | StreamedRows,
        candidates: Sequence[Candidate],
    ) -> list[np.ndarray]:
        if not self._computes_output:
            return super()._candidate_logits(rows, held_out, candidates)
        step = -(-len(rows.labels) // MAX_COMPARED_SAMPLES)
        hidden, others = self._hidden(rows)[::step], self._hidden(held_out)
        results = []
        previous = None
        for _, factor, ridge in candidates:
            scale = self.kernel_scale_ if factor is None else factor * self._distance
            if scale != previous:
                features = self._random_features(hidden, scale)
                other_features = self._random_features(others, scale)
                previous = scale
            mode = posterior_mode(
                features,
                rows.labels[::step],
                rows.weights[::step] * step,
                num_classes=len(self.classes_),
                ridge=self.ridge_penalty_ if ridge is None else ridge,
                rough=True,
            )
            results.append(mode.logits(other_features))
        return results

    @one_thread
    def _random_features(self, hidden: np.ndarray, scale: float) -> np.ndarray:
        """Compute random features at a squared length-scale."""
        phase = hidden @ self.weights_["random_features/kernel"]
        phase *= hidden.dtype.type(1.0 / np.sqrt(scale))
        phase += self.weights_["random_features/bias"]
        with np.errstate(invalid="ignore"):  # an error of `_check_overflow` follows
            features = np.cos(phase, out=phase)
        features *= hidden.dtype.type(np.sqrt(2.0 / features.shape[1]))
        self._check_overflow(features)
        return features

    def _finish(self, rows: Rows | StreamedRows, candidate: Candidate) -> None:
        if candidate.kernel_factor is not None:
            self.kernel_scale_ = candidate.kernel_factor * self._distance
        if candidate.ridge_penalty is not None:
            self.ridge_penalty_ = candidate.ridge_penalty
        if getattr(self, "_computes_output", False):  # missing in earlier versions
            self._compute_output(rows)
        self._update_posterior(rows, from_prior=True)
        self._fit_distances(rows)

    def _finish_further(self, rows: Rows | StreamedRows) -> None:
        self._update_posterior(rows, from_prior=False)
        self._update_distances(rows)

    def _compute_output(self, rows: Rows | StreamedRows) -> None:
        """Replace the trained output weights by their posterior mode."""
        dtype = self.architecture_["dtype"]
        size, classes = len(rows.labels), len(self.classes_)
        many = size * int(self.num_inducing) * classes > MAX_EXACT_PRODUCTS
        rough = many and dtype == "float32"
        features = np.empty((size, int(self.num_inducing)), dtype if rough else float)
        start = 0
        for part, _ in self._features(rows):
            features[start : start + len(part)] = part
            start += len(part)
        mode = posterior_mode(
            features,
            rows.labels,
            rows.weights,
            num_classes=classes,
            ridge=self.ridge_penalty_,
            rough=rough,
        )
        self.weights_ = {
            **self.weights_,
            "output/kernel": mode.kernel.astype(dtype),
            "output/bias": mode.bias.astype(dtype),
        }

    def _finish_stream(self, rows: Rows | StreamedRows, state: StreamState) -> None:
        if state.fitted:
            self._finish_further(rows)
            return
        if self._forgets():  # as much as all mini-batches of the stream would
            momentum = self.cov_momentum ** (state.memory.seen / len(rows.labels))
            self.cov_momentum = max(momentum, np.finfo(np.float64).tiny)
        self._computes_output = self._output_is_small(len(rows.labels))
        chooses_scale = self._computes_output and self.kernel_scale == "auto"
        factor = DEFAULT_KERNEL_FACTOR if chooses_scale else None
        self._finish(rows, Candidate(self.num_layers_, factor))

    def _forgets(self) -> bool:
        return self.cov_momentum > 0

    def _constrain_weights(self) -> None:
        self.weights_ = self._bounded(self.weights_)

    def _mean_squared_distance(self, rows: Rows | StreamedRows) -> float:
        """Compute the mean of |h_i - h_j|^2 over pairs: twice the total variance."""
        total, square = rows.sum_over_samples(self._hidden_moments)
        mean = total / rows.weights.sum()
        return max(2.0 * float(square / rows.weights.sum() - mean @ mean), 0.0)

    def _hidden_moments(self, rows: Rows) -> tuple[np.ndarray, float]:
        """Sum hidden representations and their squared norms, with weights."""
        total: Any = 0.0
        square: Any = 0.0
        with self._inference() as compiled:
            for block, part in rows.chunks(self._row_width()):
                hidden = float64_array(compiled.untrained_hidden(block))
                total += rows.weights[part] @ hidden
                square += rows.weights[part] @ np.einsum("nh,nh->n", hidden, hidden)
        return total, square

    def _bounded(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return weights whose spectral norms do not exceed the bound."""
        with self._inference() as compiled:
            return compiled.bounded(weights, self._bound())

    def _network_variables(self) -> dict[str, float]:
        return {
            **super()._network_variables(),
            "spec_norm_bound": self._bound(),
            "input_scale": 1.0 / np.sqrt(self.kernel_scale_),
        }

    def _bound(self) -> float:
        return np.inf if self.spec_norm_bound is None else self.spec_norm_bound
