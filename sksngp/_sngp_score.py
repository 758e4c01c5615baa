"""Uncertainties and out-of-distribution score of `SNGPClassifier`."""

from __future__ import annotations

import copy
from abc import ABC
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._data import holdout
from ._data.sources import select_samples
from ._sngp_distances import DistancesFromTraining
from ._sngp_posterior import float64_array
from ._uncertainty.entropy import entropy_of_logits, normalized_entropy
from ._uncertainty.ood_score import (
    combine,
    surprisals_of_parts,
    surprisals_of_references,
)
from ._uncertainty.predictive import variance_score
from ._uncertainty.surprisal import Surprisal, fit_surprisal

if TYPE_CHECKING:
    from ._data.rows import Rows
    from ._data.sources import RowSource
    from ._data.streamed_rows import StreamedRows
    from ._tensorflow.network_pool import CompiledNetwork

#: Number of held-out samples that suffice to scale the parts of the score.
MIN_REFERENCES = 20
#: Number of training samples that replace them.
MAX_REFERENCES = 4000


class ScoreOfPosterior(DistancesFromTraining, ABC):
    """Uncertainties and out-of-distribution score, given a posterior."""

    _ood_score_kind = "ood"
    _surprisals: dict[str, Surprisal] | None

    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, quantity: str
    ) -> NDArray[np.float64]:
        if quantity == "aleatoric":
            logits, _ = compiled.forward(projected)
            return entropy_of_logits(float64_array(logits) / self.temperature_)
        logits, variance, prior, hidden = self._posterior_at(compiled, projected)
        if quantity == "epistemic":
            return self._epistemic(variance, prior)
        if quantity in ("ood", "ood parts"):
            score = self._variance_score(logits, variance, prior)
            if self.input_distance_ is None:
                return score
            distances = self._distances(projected, hidden)
            parts = np.column_stack([score, *distances, entropy_of_logits(logits)])
            return self._combined(parts) if quantity == "ood" else parts
        proba = self._probability(logits / self.temperature_, variance)
        return proba if quantity == "proba" else normalized_entropy(proba)

    @property
    def _ood_parts(self) -> str:
        return "ood" if self.input_distance_ is None else "ood parts"

    @property
    def _num_parts(self) -> int:  # type: ignore[override]
        return len(self._part_names)

    @property
    def _part_names(self) -> tuple[str, ...]:
        hidden = () if self.hidden_distance_ is None else ("hidden distance",)
        return "variance", "input distance", *hidden, "entropy"

    def _held_out_parts(
        self, X: np.ndarray | RowSource, rows: Rows | StreamedRows, refit: bool
    ) -> NDArray[np.float64]:
        """Compute parts of scores with the variances of a posterior of all samples.

        These samples were not used to train the network, but the final posterior will
        include nearly all samples. The posterior is therefore updated with them, and
        each sample is scored without itself and equal samples.
        """
        if not refit or self.posterior_.ridge is None:
            return super()._held_out_parts(X, rows, refit)
        updated = copy.copy(self)
        updated._update_posterior(rows, from_prior=False)
        weights = holdout.weights_of_equals(X, rows.weights)
        scores, entropies = [], []
        with self._inference() as compiled:
            for block, part in rows.chunks(self._row_width()):
                logits, features = map(float64_array, compiled.forward(block))
                variance = updated.posterior_.leave_one_out_variance(
                    features, self._posterior_weights(logits, weights[part])
                )
                prior = self._prior_variance * np.square(features).sum(1, keepdims=True)
                scores.append(self._variance_score(logits, variance, prior))
                entropies.append(entropy_of_logits(logits))
        score = np.concatenate(scores)
        if self.input_distance_ is None:
            return score
        distances = [
            np.concatenate(
                [
                    process.leave_one_out(block, weights[part])
                    for block, part in inputs.chunks(self._row_width())
                ]
            )
            for process, inputs in self._distances_with(rows)
        ]
        return np.column_stack([score, *distances, np.concatenate(entropies)])

    def _combine_scores(
        self, parts: NDArray[np.float64], known: np.ndarray | RowSource
    ) -> NDArray[np.float64]:
        self._surprisals = None
        if self.input_distance_ is None:
            return parts
        reference = parts
        if len(parts) < MIN_REFERENCES:  # training samples are better than none
            step = -(-len(known) // MAX_REFERENCES)
            few = select_samples(known, np.arange(len(known)) % step == 0)
            reference = self._predict_valid(few, self._ood_parts)
        self._surprisals = {
            name: fit_surprisal(part)
            for name, part in zip(self._part_names, reference.T, strict=True)
        }
        parts = parts.reshape(-1, len(self._part_names))
        if len(reference) > len(parts):
            return self._combined(parts)
        by_name = dict(zip(self._part_names, parts.T, strict=True))
        return combine(surprisals_of_references(self._surprisals, by_name))

    def _combined(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combine the parts that are scaled; models of earlier versions lack some."""
        if not self._surprisals:
            return parts[:, 0]
        by_name = dict(zip(self._part_names, parts.T, strict=True))
        return combine(surprisals_of_parts(self._surprisals, by_name))

    def _variance_score(
        self,
        logits: NDArray[np.float64],
        variance: NDArray[np.float64],
        prior: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the part of the score that depends on the variance ratio."""
        epistemic = self._epistemic(variance, prior)
        return variance_score(epistemic, entropy_of_logits(logits))
