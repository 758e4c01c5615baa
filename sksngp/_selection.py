"""Selection of a candidate, and calibration, on held-out samples.

The network is trained without some of the samples. These held-out samples determine the
best candidate, the temperature at which its probabilities are most likely, and the
threshold of the out-of-distribution score. They are a held-out set or, if there are few
samples, several folds in turn (cross-fitting). After cross-fitting, the final model is
fitted on all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ._data.rows import Rows
from ._data.sample_weight import effective_weights
from ._data.sources import RowSource, select_samples
from ._data.streamed_rows import StreamedRows
from ._runtime.threads import run_in_threads
from ._uncertainty.temperature import fit_temperature, log_loss_at, probability_at

if TYPE_CHECKING:
    from ._base import BaseNetworkClassifier

#: If there are more splits than this, all candidates are compared on the first
#: `FIRST_SPLITS`, and the best `NUM_FINALISTS` on all splits.
MOST_SPLITS = 3
FIRST_SPLITS = 2
NUM_FINALISTS = 3


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


@dataclass(frozen=True)
class Splits:
    """Samples that are left out of training.

    Parameters
    ----------
    masks : list of bool ndarray of shape (n,)
        The samples that are held out, for each network to train.
    hashes : uint64 ndarray of shape (n,)
        Hashes of all samples.
    refit : bool
        Whether the final model is fitted on all samples afterwards.
    common : bool ndarray of shape (n,) or None, default=None
        Samples in no fold because they are a large fraction of the data. The final
        model computes their scores.
    training : list of bool ndarray of shape (n,) or None, default=None
        The training samples of each network. If None, these are all samples that are
        not held out.
    """

    masks: list[NDArray[np.bool_]]
    hashes: NDArray[np.uint64]
    refit: bool
    common: NDArray[np.bool_] | None = None
    training: list[NDArray[np.bool_]] | None = None

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Mask of the samples that are held out in any split."""
        return np.logical_or.reduce(self.masks)

    def any(self) -> bool:
        """Return whether any sample is held out."""
        return bool(self.held_out.any())


class Candidate(NamedTuple):
    """A setting to compare.

    Parameters
    ----------
    num_layers : int
        Number of residual blocks.
    kernel_factor : float or None, default=None
        Squared length-scale of the kernel over the mean squared distance between hidden
        representations; None for classifiers without a kernel and for a fixed scale.
    ridge_penalty : float or None, default=None
        Prior precision of the output weights; None for classifiers without a prior, for
        a fixed precision, and if the output layer is trained.
    """

    num_layers: int
    kernel_factor: float | None = None
    ridge_penalty: float | None = None


@dataclass
class Fold:
    """A network, and the samples that it was trained without.

    Parameters
    ----------
    model : classifier
        Trained without the held-out samples.
    rows : Rows or StreamedRows
        Its training samples, projected.
    held_out : Rows, StreamedRows or None
        The held-out samples, projected; None if there are none.
    mask : bool ndarray of shape (n,)
        Which samples are held out.
    counts : float64 ndarray of shape (m,)
        Number of equal samples that each held-out sample stands for.
    others : Rows, StreamedRows or None, default=None
        Samples that are neither held out nor used for training.
    """

    model: BaseNetworkClassifier
    rows: Rows | StreamedRows
    held_out: Rows | StreamedRows | None
    mask: NDArray[np.bool_]
    counts: NDArray[np.float64]
    others: Rows | StreamedRows | None = None

    def finish(self, candidate: Candidate) -> None:
        """Fit the state that depends on the trained network and on its samples."""
        self.model._finish(self.rows, candidate)
        if self.others is not None:
            self.model._finish_further(self.others)


@dataclass
class Trial:
    """Networks of one depth, one for each split.

    Parameters
    ----------
    num_layers : int
    folds : list of Fold
        In the order of the splits. There are fewer of them than splits if the search
        dropped the depth.
    """

    num_layers: int
    folds: list[Fold]

    @property
    def labels(self) -> NDArray[np.int32]:
        """Labels of the held-out samples, split by split."""
        parts = [fold.held_out.labels for fold in self.folds if fold.held_out]
        return np.concatenate(parts)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Effective weights of the held-out samples, split by split."""
        parts = [fold.held_out.weights for fold in self.folds if fold.held_out]
        counts = [fold.counts for fold in self.folds]
        return effective_weights(np.concatenate(parts), np.concatenate(counts))

    def map_held_out(
        self, function: Callable[[Fold, Rows | StreamedRows], Any]
    ) -> list[Any]:
        """Call a function for each fold with held-out samples, several at a time."""

        def call(fold: Fold) -> Any:
            assert fold.held_out is not None
            return function(fold, fold.held_out)

        return map_in_threads(call, [fold for fold in self.folds if fold.held_out])


class Search:
    """Search for the candidate with the lowest log loss on held-out samples.

    Each candidate is given the temperature at which its probabilities are most likely.
    Many splits are searched by successive halving (Jamieson and Talwalkar 2016, arXiv
    1502.07943). The first prior precision is used for all candidates; the others are
    compared for the best of them.

    Parameters
    ----------
    depths : sequence of int
        Numbers of residual blocks to compare.
    factors : sequence of float or None
        Kernel factors to compare for each of them.
    ridges : sequence of float or None
        Prior precisions to compare.
    num_splits : int
    train : callable
        Function that trains a network, given the number of residual blocks and the
        number of a split.

    Attributes
    ----------
    best : Candidate
        Set by `run`.
    trial : Trial
        The networks of the best candidate's depth, one for each split. Set by `run`.
    scores : list of dict or None
        The settings of each candidate, its ``log_loss``, and ``n_splits``, the number
        of splits on which it was computed. None if there is only one candidate.
    """

    best: Candidate
    trial: Trial

    def __init__(
        self,
        depths: Sequence[int],
        factors: Sequence[float | None],
        ridges: Sequence[float | None],
        num_splits: int,
        train: Callable[[int, int], Fold],
    ) -> None:
        self._depths, self._factors, self._ridges = depths, factors, ridges
        self._num_splits, self._train = num_splits, train
        self._trials = {depth: Trial(depth, []) for depth in depths}
        self._logits: dict[Candidate, list[np.ndarray]] = {}
        self._losses: dict[Candidate, float] = {}

    def run(self) -> Self:
        """Train the networks and find the best candidate."""
        candidates = [
            Candidate(depth, factor, self._ridges[0])
            for depth, factor in product(self._depths, self._factors)
        ]
        if len(candidates) == 1:
            self._extend(self._depths[0], self._num_splits)
        else:
            if self._num_splits > MOST_SPLITS:
                self._compare(candidates, FIRST_SPLITS)
                candidates = self._sorted(candidates)[:NUM_FINALISTS]
            self._compare(candidates, self._num_splits)
        if len(self._ridges) > 1:
            best = self._sorted(candidates)[0]
            candidates = [best._replace(ridge_penalty=ridge) for ridge in self._ridges]
            self._compare(candidates, self._num_splits)
        self.best = self._sorted(candidates)[0]
        self.trial = self._trials[self.best.num_layers]
        return self

    @property
    def scores(self) -> list[dict[str, float | int | None]] | None:
        """Settings and log losses of the candidates, in the order of comparison."""
        return [
            {
                **candidate._asdict(),
                "log_loss": self._losses[candidate],
                "n_splits": len(logits),
            }
            for candidate, logits in self._logits.items()
        ] or None

    def _sorted(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        return sorted(candidates, key=lambda each: self._losses.get(each, 0.0))

    def _extend(self, depth: int, num_splits: int) -> list[Fold]:
        """Train the networks of a depth that are missing; return all."""
        folds = self._trials[depth].folds
        folds += [
            self._train(depth, number) for number in range(len(folds), num_splits)
        ]
        return folds

    def _compare(self, candidates: Sequence[Candidate], num_splits: int) -> None:
        """Compute the log losses of candidates on a number of splits."""
        groups: dict[tuple[int, int], list[Candidate]] = {}
        for candidate in candidates:
            known = len(self._logits.setdefault(candidate, []))
            if known < num_splits:
                groups.setdefault((candidate.num_layers, known), []).append(candidate)
        for (depth, known), group in groups.items():
            new = Trial(depth, self._extend(depth, num_splits)[known:])
            logits = new.map_held_out(partial(_logits, group))
            for candidate, parts in zip(group, zip(*logits, strict=True), strict=True):
                self._logits[candidate] += parts
                self._losses[candidate] = _calibrated_loss(
                    np.concatenate(self._logits[candidate], axis=-2),
                    self._trials[depth],
                )


def _logits(
    candidates: list[Candidate], fold: Fold, held_out: Rows | StreamedRows
) -> list[np.ndarray]:
    return fold.model._candidate_logits(fold.rows, held_out, candidates)


def map_in_threads(function: Callable[[Fold], Any], folds: Sequence[Fold]) -> list[Any]:
    """Call a function for each fold and return the results in order.

    Several calls run at the same time. Custom networks are an exception: each thread
    would build another copy of a network that may be large.
    """
    if not all(fold.model._is_dense() for fold in folds):
        return [function(fold) for fold in folds]
    results: list[Any] = [None] * len(folds)

    def call(number: int) -> None:
        results[number] = function(folds[number])

    run_in_threads(call, ((number,) for number in range(len(folds))))
    return results


def _calibrated_loss(logits: np.ndarray, trial: Trial) -> float:
    labels, weights = trial.labels, trial.weights
    temperature = fit_temperature(partial(probability_at, logits), labels, weights)
    return log_loss_at(probability_at(logits, temperature), labels, weights)


def out_of_fold_temperature(trial: Trial) -> float:
    """Fit the temperature to the held-out samples of all models of a trial."""
    parts = trial.map_held_out(lambda fold, rows: fold.model._predictive_parts(rows))
    joined = [np.concatenate(each, axis=-2) for each in zip(*parts, strict=True)]
    proba: Callable[[float], np.ndarray] = lambda temperature: (  # noqa: E731
        trial.folds[0].model._tempered(temperature, *joined)
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
    parts = trial.map_held_out(
        lambda fold, rows: fold.model._held_out_parts(
            select_samples(samples.X, fold.mask), rows, splits.refit
        )
    )
    if not parts:
        return np.empty(0)
    index = np.concatenate([np.flatnonzero(fold.mask) for fold in trial.folds])
    # Splits of users may hold a sample out several times, of which the last counts.
    _, last = np.unique(index[::-1], return_index=True)
    return np.concatenate(parts)[::-1][last]
