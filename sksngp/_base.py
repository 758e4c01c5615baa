"""Base class of the classifiers: parameters, validation and the fitting workflow."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state

from ._compat import DefaultMissingParametersMixin
from ._data import holdout
from ._data.rows import Rows
from ._data.sources import MatrixLike, RowSource, select_samples
from ._data.streamed_rows import StreamedRows
from ._data.validation import check_training_samples, checks_parameters
from ._docstrings import document
from ._explanation import ExplanationMixin
from ._export import ExportMixin
from ._held_out import HeldOutMixin
from ._network_training import NetworkTrainingMixin
from ._networks.memory_needs import check_memory
from ._parameters import RandomState
from ._prediction import PredictionMixin
from ._runtime.progress import expect_networks, one_report
from ._selection import (
    Fold,
    Samples,
    Search,
    Splits,
    Trial,
    map_in_threads,
    out_of_fold_scores,
    out_of_fold_temperature,
)
from ._stream import StreamMixin

if TYPE_CHECKING:
    from ._tensorflow.pool import CompiledNetwork


class BaseNetworkClassifier(
    NetworkTrainingMixin,
    StreamMixin,
    HeldOutMixin,
    PredictionMixin,
    ExplanationMixin,
    ExportMixin,
    ClassifierMixin,
    DefaultMissingParametersMixin,
    BaseEstimator,
    ABC,
):
    """Base class of the classifiers.

    A subclass determines the network (`_architecture`) and computes predictions
    (`_evaluate`). If it fits more than weights, it does so before and after training
    (`_before_training`, `_finish`).

    The fitted state consists of arrays. Compiled networks are leased from
    `sksngp._tensorflow.pool`. A fit works on a copy of the estimator and replaces the
    state at its end, so that a failed fit changes nothing.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__doc__ = document(cls)

    # Hooks of the subclasses

    def _needs_training(self) -> bool:
        """Return whether the network has weights that `_finish` does not compute."""
        return True

    def _before_training(
        self, rows: Rows | StreamedRows, rng: np.random.Generator
    ) -> None:
        """Fit the state that depends on the untrained network."""

    def _constrain_weights(self) -> None:
        """Project the trained weights onto constraints that training approximates."""

    def _finish(self, rows: Rows | StreamedRows, kernel_factor: float | None) -> None:
        """Fit the state that depends on the trained network and its training set."""

    def _held_out_parts(
        self, X: np.ndarray | RowSource, rows: Rows | StreamedRows, refit: bool
    ) -> NDArray[np.float64]:
        """Compute `_ood_parts` of samples that this network was trained without.

        `rows` are the same samples, projected. If `refit`, the scores are for a model
        that will be fitted on all samples.
        """
        return self._predict_valid(X, self._ood_parts)

    def _combine_scores(
        self, parts: NDArray[np.float64], known: np.ndarray | RowSource
    ) -> NDArray[np.float64]:
        """Fit the combination of the parts of the OOD score; return the scores."""
        return parts

    def _factors_to_compare(
        self, samples: Samples, splits: Splits
    ) -> tuple[float | None, ...]:
        """Return the kernel factors to compare on held-out samples."""
        return (None,)

    def _candidate_logits(
        self,
        rows: Rows | StreamedRows,
        held_out: Rows | StreamedRows,
        factors: Sequence[float | None],
    ) -> list[np.ndarray]:
        """Return the logits of held-out samples for each kernel factor.

        The shape is (n, n_classes) or, with samples of the network, (s, n, n_classes).
        """
        return [self._predictive_parts(held_out)[0]]

    def _predictive_parts(self, rows: Rows | StreamedRows) -> tuple[np.ndarray, ...]:
        """Return the arguments of `_tempered`; the last but one axis is of samples."""
        with self._inference() as compiled:
            parts = [
                self._logits(compiled, block)
                for block, _ in rows.chunks(self._row_width())
            ]
        return (np.concatenate(parts, axis=-2),)

    def _logits(
        self, compiled: CompiledNetwork, projected: np.ndarray
    ) -> NDArray[np.float64]:
        """Return the logits of projected samples.

        The shape is (n, n_classes) or, with samples of the network, (s, n, n_classes).
        """
        return compiled.forward(projected).numpy().astype(np.float64)

    def _tempered(self, temperature: float, logits: np.ndarray) -> np.ndarray:
        """Return class probabilities at a temperature."""
        proba = softmax(logits / temperature, axis=-1)
        return proba if proba.ndim == 2 else proba.mean(axis=0)

    @abstractmethod
    def _evaluate(
        self, compiled: CompiledNetwork, projected: np.ndarray, quantity: str
    ) -> NDArray[np.float64]:
        """Compute a quantity for projected samples.

        `quantity` is "proba", with a result of shape (n, n_classes), or one of
        `sksngp._uncertainty.entropy.KINDS` or `_ood_score_kind`, with a result of shape
        (n,).
        """

    # Fitting

    @checks_parameters
    def fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : array-like, dataframe or collection of shape (n_samples, n_features)
            Training samples with finite numeric values. Arrays of float32 and float64,
            memory-mapped arrays, dask arrays and dataframes and
            `pyarrow.dataset.Dataset` are read in chunks, without a copy of the whole.
            If the projected samples require more than 256 MiB, each epoch reads them
            again, in blocks in random order. Images may have the shape (n_samples,
            height, width, channels).
        y : array-like of shape (n_samples,)
            Class labels: strings, booleans or integers. For a pyarrow data set, the
            name of the column with them; all other columns are then features.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative sample weights. If None, all samples have equal weight.
            Integers are counts: a sample of weight 2 is equivalent to two equal
            samples. All other weights are importances: only their ratios matter, and
            they are divided by their mean. `class_weight` always gives importances.
            The temperature is fitted to held-out samples with their weights, at their
            effective number. `ood_threshold_` is determined by samples without their
            weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or the parameters are invalid, before any training, and if the
            training loss is no longer finite. The estimator is not changed.
        TypeError
            For sparse `X`.
        MemoryError
            If the network or its posterior cannot fit into memory, before training
            takes any of it.

        Warns
        -----
        UserWarning
            If `sample_weight` consists of integers with a mean above 10, which are
            used as counts.
        """
        fitted = copy.copy(self)
        with one_report():
            fitted._fit(X, y, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    def _fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> None:
        self._check_parameters()
        if self.warm_start:
            self._end_stream()
        self.__dict__.pop("_stream", None)
        warm = self.warm_start and hasattr(self, "weights_")
        known = self.classes_ if warm else None
        checked, labels, weights, index, self.classes_, counts = check_training_samples(
            self, X, y, sample_weight, known_classes=known, reset=not warm
        )
        samples = Samples(checked, labels, weights, index, counts)
        self._learning_rates(len(labels))  # raises an error before any work starts
        rng = _generator(self.random_state)
        if warm:
            self._fit_further(samples, rng)
        else:
            self._fit_from_scratch(samples, rng)

    def _fit_from_scratch(self, samples: Samples, rng: np.random.Generator) -> None:
        """Compare candidates, fit the best one and calibrate it."""
        splits = self._choose_splits(samples, rng)
        depths = self._depths_to_compare(samples, splits)
        self.num_layers_ = max(depths)
        check_memory(self._memory_needs(self._architecture(), *samples.X.shape))
        expect_networks(len(depths) * len(splits.held_out) + splits.refit)
        factors = self._factors_to_compare(samples, splits)
        generators = {depth: rng.spawn(len(splits.held_out)) for depth in depths}

        def train(depth: int, number: int) -> Fold:
            own = generators[depth][number]
            return self._train_fold(depth, samples, splits.held_out[number], own)

        found = Search(depths, factors, len(splits.held_out), train)
        trial, factor = found.trial, found.best.kernel_factor
        map_in_threads(lambda fold: fold.model._finish(fold.rows, factor), trial.folds)
        temperature = self._out_of_fold_temperature(trial, splits)
        for fold in trial.folds:
            fold.model.temperature_ = temperature
        parts = out_of_fold_scores(trial, samples, splits)
        if splits.refit:
            self.num_layers_ = trial.num_layers
            nothing = np.zeros(len(samples.labels), bool)
            rows, _ = self._train_network(samples, nothing, rng)
            self._finish(rows, factor)
            self.temperature_ = temperature
        else:
            self.__dict__ = trial.folds[0].model.__dict__
        self.candidates_ = found.scores
        self._calibrate(self._combine_scores(parts, samples.X), samples, splits)

    def _calibrate(
        self, scores: NDArray[np.float64], samples: Samples, splits: Splits
    ) -> None:
        """Set the threshold by the scores of the held-out samples."""
        held_out = np.logical_or.reduce(splits.held_out)
        scored = select_samples(samples.X, held_out)
        self._ood_rows = holdout.digests(scored, self._split)
        if splits.refit and (self._cv_is_automatic() or isinstance(self.cv, Integral)):
            # The final network knows common samples, which are in no fold, and will
            # know new ones like them.
            common = select_samples(samples.X, ~held_out)
            scores = np.append(
                scores, self._predict_valid(common, self._ood_score_kind)
            )
            self._ood_rows = np.append(
                self._ood_rows, holdout.digests(common, self._split)
            )
        self._set_threshold(scores, depth=2)

    def _train_fold(
        self,
        depth: int,
        samples: Samples,
        held_out: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> Fold:
        """Train a network of a depth without some of the samples."""
        model = copy.copy(self)
        model.num_layers_ = depth
        rows, others = model._train_network(samples, held_out, rng)
        return Fold(model, rows, others, held_out, samples.counts[held_out])

    def _train_network(
        self, samples: Samples, held_out: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Rows | StreamedRows, Rows | StreamedRows | None]:
        """Train a new network; return its training and held-out samples, projected."""
        learnt = np.where(held_out, 0.0, samples.weights)
        self._start(self._architecture(), samples.X, samples.labels, learnt, rng)
        rows, others = self._project(*samples[:3], held_out)
        self._before_training(rows, rng)
        if self._needs_training():
            learning_rates = self._learning_rates(len(rows.labels))
            self._train(rows, rng, learning_rates, validation=others)
            self._constrain_weights()
        return rows, others

    def _fit_further(self, samples: Samples, rng: np.random.Generator) -> None:
        """Train the fitted network for more epochs."""
        architecture = self._architecture(self.architecture_)
        check_memory(self._memory_needs(architecture, *samples.X.shape))
        held_out = self._hold_out_again(samples.X, samples.labels)
        self._check_architecture(architecture)
        rows, others = self._project(*samples[:3], held_out)
        learning_rates = self._learning_rates(len(rows.labels))
        self._train(rows, rng, learning_rates, validation=others)
        self._constrain_weights()
        self._finish(rows, None)
        if others is None:  # the calibration of the first fit is the best there is
            if self.temperature != "auto":
                self.temperature_ = float(self.temperature)
            self._set_threshold(self.ood_scores_, depth=1)
            return
        fold = Fold(self, rows, others, held_out, samples.counts[held_out])
        trial = Trial(self._depth(), [fold])
        splits = Splits([held_out], refit=False)
        self.temperature_ = self._out_of_fold_temperature(trial, splits)
        parts = out_of_fold_scores(trial, samples, splits)
        self._ood_rows = holdout.digests(
            select_samples(samples.X, held_out), self._split
        )
        self._set_threshold(self._combine_scores(parts, samples.X), depth=1)

    def _out_of_fold_temperature(self, trial: Trial, splits: Splits) -> float:
        if self.temperature != "auto":
            return float(self.temperature)
        return out_of_fold_temperature(trial) if splits.any() else 1.0

    def _rng(self, *spawn_key: int) -> np.random.Generator:
        return _generator(self.random_state, *spawn_key)


def _generator(random_state: RandomState, *spawn_key: int) -> np.random.Generator:
    """Return a NumPy generator that is seeded from a scikit-learn random state."""
    seed = check_random_state(random_state).randint(2**31 - 1, size=4)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))
