"""The Gaussian-process posterior of `SNGPClassifier` and its predictions."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ._base import BaseNetworkClassifier
from ._sngp_parameters import SNGPParameters
from ._uncertainty import posterior
from ._uncertainty.predictive import (
    epistemic_uncertainty,
    low_rank_variance,
    whitened_variance,
)

if TYPE_CHECKING:
    from ._data.rows import Rows
    from ._data.streamed_rows import StreamedRows
    from ._tensorflow.network_pool import CompiledNetwork


class PosteriorOfOutput(SNGPParameters, BaseNetworkClassifier, ABC):
    """Posterior of the output weights, given a trained network."""

    # Attributes of a fitted classifier.
    noise_: NDArray[np.float64]
    posterior_: posterior.Posterior
    ridge_penalty_: float
    _prior_variance: float

    def _update_posterior(self, rows: Rows | StreamedRows, from_prior: bool) -> None:
        """Update the posterior with samples, starting from the prior if requested."""
        shared = self.covariance == "shared"
        if from_prior:
            groups = 1 if shared else len(self.classes_)
            scale = self.ridge_penalty_ if shared else 1.0
            self._prior_variance = scale / self.ridge_penalty_
            precision = posterior.prior_precision(
                self.num_inducing, self.ridge_penalty_, groups
            )
        else:
            scale = self.posterior_.scale
            precision = self.posterior_.precision
        if self.cov_momentum > 0:
            batch = self.batch_size or len(rows.labels)
            precision = posterior.average_rows(
                precision, self._features(rows, batch), self.cov_momentum
            )
        else:
            precision = precision + rows.sum_over_samples(self._precision_of)[0]
        ridge = None if self.cov_momentum > 0 else self.ridge_penalty_
        self.posterior_ = posterior.factorize(precision, scale, ridge)
        # The rounding errors of many updates would accumulate.
        if from_prior and self.architecture_["dtype"] == "float32":
            self.posterior_ = self.posterior_.rounded()

    def _precision_of(self, rows: Rows) -> tuple[np.ndarray]:
        """Compute the contribution of samples to the precision."""
        groups = 1 if self.covariance == "shared" else len(self.classes_)
        size = self.architecture_["num_inducing"]
        zeros = np.zeros((groups, size, size))
        return (posterior.add_rows(zeros, self._features(rows)),)

    def _features(
        self, rows: Rows | StreamedRows, batch: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield random features and weights in the posterior, chunk by chunk."""
        with self._inference() as compiled:
            for block, part in rows.chunks(self._row_width(), batch):
                logits, features = compiled.forward(block)
                self._check_overflow(features)
                weights = rows.weights[part]
                if batch:  # a mean over the mini-batch with weights as counts
                    weights = weights / weights.mean()
                yield (
                    float64_array(features),
                    self._posterior_weights(float64_array(logits), weights),
                )

    def _posterior_weights(self, logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self.covariance == "shared":
            return weights[:, None]
        proba = softmax(logits, axis=1)
        return weights[:, None] * proba * (1.0 - proba)

    def _predictive_parts(self, rows: Rows | StreamedRows) -> tuple[np.ndarray, ...]:
        self._prepare()
        with self._inference() as compiled:
            chunks = [
                self._posterior_at(compiled, block)[:2]
                for block, _ in rows.chunks(self._row_width())
            ]
        logits, variance = map(np.concatenate, zip(*chunks, strict=True))
        return logits, variance

    def _tempered(
        self, temperature: float, logits: np.ndarray, *variance: np.ndarray
    ) -> np.ndarray:
        return self._probability(logits / temperature, *variance)

    def _prepare(self) -> None:
        if self._directions() is None:
            self.posterior_.whitening  # noqa: B018  (a cached property)

    def _directions(self) -> np.ndarray | None:
        """Return a low-rank factor that is sufficient in float32, if there is one."""
        if self.architecture_["dtype"] == "float64":
            return None
        return self.posterior_.low_rank_factor

    def _posterior_at(
        self, compiled: CompiledNetwork, projected: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return logits, variances (n, n_groups), prior variances (n, 1) and hidden."""
        directions = self._directions()
        if directions is None:
            found = compiled.whitened_norms(projected, self.posterior_.whitening)
        else:
            found = compiled.low_rank_norms(projected, directions)
        logits, squares, norms = (array.astype(np.float64) for array in found[:3])
        prior = squares[:, None]
        if directions is None:
            variance = whitened_variance(norms, self.posterior_.scale)
        else:
            variance = low_rank_variance(norms, prior, self._prior_variance)
        return logits, variance, self._prior_variance * prior, found[3]

    def _probability(
        self, logits: NDArray[np.float64], variance: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self.inference == "monte_carlo" or variance.shape[1] > 1:
            return posterior.sampled_probability(logits, variance, self.noise_)
        return posterior.mean_field_probability(
            logits, variance, self.mean_field_factor
        )

    def _epistemic(
        self, variance: NDArray[np.float64], prior: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        ratio = (variance / prior).mean(axis=1)
        return epistemic_uncertainty(ratio, self.posterior_.ridge is not None)

    def _row_width(self) -> int:
        groups = self.posterior_.num_groups if hasattr(self, "posterior_") else 1
        return max(super()._row_width(), groups * self.architecture_["num_inducing"])


def float64_array(tensor: Any) -> NDArray[np.float64]:
    """Convert a tensor to a float64 array."""
    return tensor.numpy().astype(np.float64)
