"""Base class of the classifiers: parameters, validation and the fitting workflow."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state

from ._calibration import CalibrationMixin
from ._compat import DefaultMissingParametersMixin
from ._data.rows import Rows
from ._data.sources import MatrixLike, RowSource
from ._data.streamed_rows import StreamedRows
from ._data.validation import check_training_samples, checks_parameters
from ._docstrings import document
from ._explanation import ExplanationMixin
from ._export import ExportMixin
from ._held_out import HeldOutMixin
from ._network_training import NetworkTrainingMixin
from ._networks.memory_needs import check_memory
from ._prediction import PredictionMixin
from ._runtime.progress import expect_networks, one_report
from ._selection import (
    Candidate,
    Fold,
    Samples,
    Search,
    Splits,
    Trial,
    map_in_threads,
)
from ._shared_parameters import RandomState
from ._stream import StreamMixin
from ._uncertainty.temperature import probability_at

if TYPE_CHECKING:
    from ._tensorflow.network_pool import CompiledNetwork


class BaseNetworkClassifier(
    NetworkTrainingMixin,
    StreamMixin,
    HeldOutMixin,
    CalibrationMixin,
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
    `sksngp._tensorflow.network_pool`. A fit works on a copy of the estimator and
    replaces the state at its end, so that a failed fit changes nothing.
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

    def _finish(self, rows: Rows | StreamedRows, candidate: Candidate) -> None:
        """Fit the state that depends on the trained network and its training set.

        Settings of the candidate that are None keep their values.
        """

    def _finish_further(self, rows: Rows | StreamedRows) -> None:
        """Include further samples in the state that `_finish` fits."""

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

    def _ridges_to_compare(self, splits: Splits) -> tuple[float | None, ...]:
        """Return the prior precisions to compare; the first is the default."""
        return (None,)

    def _candidate_logits(
        self,
        rows: Rows | StreamedRows,
        held_out: Rows | StreamedRows,
        candidates: Sequence[Candidate],
    ) -> list[np.ndarray]:
        """Return the logits of held-out samples for each candidate of this depth.

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
        return probability_at(logits, temperature)

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
            again, partition by partition in random order. Images may have the shape
            (n_samples, height, width, channels).
        y : array-like of shape (n_samples,), or str
            Class labels: strings, booleans or integers. For a pyarrow dataset, the
            name of the column with them; all other columns are then features.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative sample weights. If None, all samples have equal weight.
            Integers are counts: a sample of weight 2 is equivalent to two equal
            samples. All other weights are importances: only their ratios matter, and
            they are divided by their mean. `class_weight` always gives importances.
            The temperature depends on weights, `ood_threshold_` does not.

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
            If the network or its posterior does not fit into memory, before training.
        RuntimeError
            If the process was forked after TensorFlow had been used.

        Warns
        -----
        UserWarning
            If integers in `sample_weight`, which are counts, have a mean above 10.
        sksngp.exceptions.FewSamplesWarning
            If there are too few held-out samples for a threshold.
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
        self._warn_of_few(len(self.ood_scores_))

    def _fit_from_scratch(self, samples: Samples, rng: np.random.Generator) -> None:
        """Choose held-out samples and a candidate; fit and calibrate the candidate."""
        splits = self._choose_splits(samples, rng)
        depths = self._depths_to_compare(samples, splits)
        self.num_layers_ = max(depths)
        check_memory(self._memory_needs(self._architecture(), *samples.X.shape))
        search = self._search(depths, samples, splits, rng)
        if splits.refit:
            self._fit_on_all(search.best, samples, rng)
        else:
            self.__dict__ = search.trial.folds[0].model.__dict__
        self.candidates_ = search.scores
        self._calibrate(search.trial, samples, splits)

    def _search(
        self,
        depths: Sequence[int],
        samples: Samples,
        splits: Splits,
        rng: np.random.Generator,
    ) -> Search:
        """Find the best candidate on held-out samples, and finish its networks."""
        num_splits = len(splits.masks)
        expect_networks(len(depths) * num_splits + splits.refit)
        factors = self._factors_to_compare(samples, splits)
        generators = {depth: rng.spawn(num_splits) for depth in depths}

        def train(depth: int, number: int) -> Fold:
            model = copy.copy(self)
            model.num_layers_ = depth
            held_out = splits.masks[number]
            training = splits.training[number] if splits.training else ~held_out
            rng = generators[depth][number]
            return model._train_network(samples, training, held_out, rng)

        ridges = self._ridges_to_compare(splits)
        search = Search(depths, factors, ridges, num_splits, train).run()
        map_in_threads(lambda fold: fold.finish(search.best), search.trial.folds)
        return search

    def _fit_on_all(
        self, candidate: Candidate, samples: Samples, rng: np.random.Generator
    ) -> None:
        """Fit the model of a candidate on all samples."""
        self.num_layers_ = candidate.num_layers
        everything = np.ones(len(samples.labels), bool)
        fold = self._train_network(samples, everything, ~everything, rng)
        self._finish(fold.rows, candidate)

    def _train_network(
        self,
        samples: Samples,
        training: NDArray[np.bool_],
        held_out: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> Fold:
        """Train a new network; masks select its training and held-out samples."""
        weights = np.where(training, samples.weights, 0.0)
        self._start(self._architecture(), samples.X, samples.labels, weights, rng)
        rows = self._project(*samples[:3], training)
        validation = self._project_any(*samples[:3], held_out)
        others = self._project_any(*samples[:3], ~(training | held_out))
        self._before_training(rows, rng)
        if self._needs_training():
            self._train_for_fit(rows, validation, rng)
        return Fold(self, rows, validation, held_out, samples.counts[held_out], others)

    def _train_for_fit(
        self,
        rows: Rows | StreamedRows,
        held_out: Rows | StreamedRows | None,
        rng: np.random.Generator,
    ) -> None:
        learning_rates = self._learning_rates(len(rows.labels))
        self._train(rows, rng, learning_rates, validation=held_out)
        self._constrain_weights()

    def _fit_further(self, samples: Samples, rng: np.random.Generator) -> None:
        """Train the fitted network for more epochs, and calibrate it again."""
        architecture = self._architecture(self.architecture_)
        check_memory(self._memory_needs(architecture, *samples.X.shape))
        hashes = self._hold_out.digests(samples.X)
        mask = self._hold_out.mask(hashes, samples.labels)
        self._check_validation(mask)
        self._check_architecture(architecture)
        rows = self._project(*samples[:3], ~mask)
        held_out = self._project_any(*samples[:3], mask)
        self._train_for_fit(rows, held_out, rng)
        self._finish(rows, Candidate(self._depth()))
        if held_out is None:  # the calibration of the first fit is the best
            if self.temperature != "auto":
                self.temperature_ = float(self.temperature)
            self._apply_threshold(self.ood_scores_)
            return
        fold = Fold(self, rows, held_out, mask, samples.counts[mask])
        splits = Splits([mask], hashes, refit=False)
        self._calibrate(Trial(self._depth(), [fold]), samples, splits)

    def _rng(self, *spawn_key: int) -> np.random.Generator:
        return _generator(self.random_state, *spawn_key)


def _generator(random_state: RandomState, *spawn_key: int) -> np.random.Generator:
    """Return a NumPy generator that is seeded from a scikit-learn random state."""
    seed = check_random_state(random_state).randint(2**31 - 1, size=4)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))
