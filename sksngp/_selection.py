"""Fits on parts of the data: candidates, calibration and the final model.

The network is trained without some of the samples, which then decide which candidate
is best, at which temperature its probabilities are most likely, and from which
out-of-distribution score on a sample is flagged. These samples are either one held-out
set or, where samples are few, each of several folds in turn (cross-fitting); after
cross-fitting, the final model is fitted on all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ._data.rows import Rows
from ._data.sample_weight import effective_weights
from ._data.sources import RowSource, select_samples
from ._data.streamed_rows import StreamedRows
from ._uncertainty.temperature import fit_temperature, log_loss_at

if TYPE_CHECKING:
    from ._base import BaseNetworkClassifier


class Samples(NamedTuple):
    """Checked training data.

    Parameters
    ----------
    X : ndarray or RowSource of shape (n, n_features)
    labels : int32 ndarray of shape (n,)
        Indices of classes.
    weights : float64 ndarray of shape (n,)
        Positive products of counts and importances.
    positions : int ndarray of shape (n,)
        Positions in the data passed by the user, of which samples of weight 0 are left
        out.
    counts : float64 ndarray of shape (n,)
        Number of equal samples that each sample stands for.
    """

    X: np.ndarray | RowSource
    labels: NDArray[np.int32]
    weights: NDArray[np.float64]
    positions: NDArray[np.intp]
    counts: NDArray[np.float64]


class Splits(NamedTuple):
    """Samples that are left out of training.

    Parameters
    ----------
    held_out : list of bool ndarray of shape (n,)
        A mask for each network to train.
    refit : bool
        Whether the final model is fitted on all samples afterwards.
    """

    held_out: list[NDArray[np.bool_]]
    refit: bool

    def any(self) -> bool:
        """Return whether any sample is held out."""
        return any(mask.any() for mask in self.held_out)


class Candidate(NamedTuple):
    """A setting to compare.

    Parameters
    ----------
    num_layers : int
        Number of residual blocks.
    kernel_factor : float or None, default=None
        Squared length-scale of the kernel over the mean squared distance between hidden
        representations; None for classifiers without a kernel and for a fixed scale.
    """

    num_layers: int
    kernel_factor: float | None = None


@dataclass
class Trial:
    """Networks of one depth, one for each split.

    Parameters
    ----------
    num_layers : int
    models : list of classifier
        Trained without the held-out samples of their split.
    rows : list of Rows or StreamedRows
        Their training samples, projected.
    held_out : list of Rows, StreamedRows or None
        Their held-out samples, projected; None where there are none.
    counts : list of ndarray
        Counts of their held-out samples.
    """

    num_layers: int
    models: list[BaseNetworkClassifier]
    rows: list[Rows | StreamedRows]
    held_out: list[Rows | StreamedRows | None]
    counts: list[NDArray[np.float64]]

    @property
    def labels(self) -> NDArray[np.int32]:
        """Labels of the held-out samples, split by split."""
        return np.concatenate([rows.labels for rows in self.held_out if rows])

    @property
    def weights(self) -> NDArray[np.float64]:
        """Effective weights of the held-out samples, split by split."""
        weights = np.concatenate([rows.weights for rows in self.held_out if rows])
        return effective_weights(weights, np.concatenate(self.counts))


def compare(
    trials: Sequence[Trial], factors: Sequence[float | None]
) -> tuple[Trial, Candidate, list[dict[str, float | int | None]]]:
    """Find the candidate with the lowest log loss on held-out samples.

    Each candidate is given the temperature at which its probabilities are most likely.

    Parameters
    ----------
    trials : sequence of Trial
    factors : sequence of float or None
        Kernel factors to compare for each trial.

    Returns
    -------
    trial : Trial
    candidate : Candidate
    scores : list of dict
        The settings of each candidate and its ``log_loss``.
    """
    scores: list[dict[str, float | int | None]] = []
    best: tuple[float, Trial, Candidate] | None = None
    for trial in trials:
        logits = [
            model._candidate_logits(rows, held_out, factors)
            for model, rows, held_out in zip(
                trial.models, trial.rows, trial.held_out, strict=True
            )
            if held_out is not None
        ]
        for factor, parts in zip(factors, zip(*logits, strict=True), strict=True):
            loss = _calibrated_loss(np.concatenate(parts, axis=-2), trial)
            candidate = Candidate(trial.num_layers, factor)
            scores.append({**candidate._asdict(), "log_loss": loss})
            if best is None or loss < best[0]:
                best = loss, trial, candidate
    assert best is not None
    return best[1], best[2], scores


def _calibrated_loss(logits: np.ndarray, trial: Trial) -> float:
    def proba(temperature: float) -> np.ndarray:
        samples = softmax(logits / temperature, axis=-1)
        return samples if samples.ndim == 2 else samples.mean(axis=0)

    labels, weights = trial.labels, trial.weights
    temperature = fit_temperature(proba, labels, weights)
    return log_loss_at(proba(temperature), labels, weights)


def out_of_fold_temperature(trial: Trial) -> float:
    """Fit the temperature to the held-out samples of all models of a trial."""
    parts = [
        model._predictive_parts(held_out)
        for model, held_out in zip(trial.models, trial.held_out, strict=True)
        if held_out is not None
    ]
    joined = [np.concatenate(each, axis=-2) for each in zip(*parts, strict=True)]
    proba: Callable[[float], np.ndarray] = lambda temperature: (  # noqa: E731
        trial.models[0]._tempered(temperature, *joined)
    )
    return fit_temperature(proba, trial.labels, trial.weights)


def out_of_fold_scores(
    trial: Trial, samples: Samples, splits: Splits
) -> NDArray[np.float64]:
    """Compute the out-of-distribution scores of held-out samples, or their parts.

    Returns
    -------
    ndarray of shape (m,) or (m, n_parts)
        For the samples that are held out in a split, in order. Each is computed by the
        model that was trained without the sample.
    """
    parts = [
        model._held_out_parts(select_samples(samples.X, mask), rows, splits.refit)
        for model, mask, rows in zip(
            trial.models, splits.held_out, trial.held_out, strict=True
        )
        if rows is not None
    ]
    if not parts:
        return np.empty(0)
    index = np.concatenate([np.flatnonzero(mask) for mask in splits.held_out])
    # Splits of users may hold a sample out several times, of which the last counts.
    _, last = np.unique(index[::-1], return_index=True)
    return np.concatenate(parts)[::-1][last]
