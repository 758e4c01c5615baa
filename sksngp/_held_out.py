"""Choice of the samples that a fit holds out: a set, or each fold in turn."""

from __future__ import annotations

import reprlib
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._data import holdout
from ._data.holdout import HoldOut
from ._selection import Samples, Splits
from ._uncertainty import conformal

#: Number of folds of ``cv="auto"``, and maximum number of samples with folds.
NUM_FOLDS = 5
MAX_SAMPLES_IN_FOLDS = 2000
#: Number of keys of the hash that are tried to avoid a very common held-out sample.
KEYS_TO_TRY = 10


class HeldOutMixin:
    """Mixin of the classifiers that selects held-out samples by their hashes."""

    # Parameters and attributes of the classifier.
    cv: Any
    early_stopping: bool
    ood_alpha: float
    ood_confidence: float | None
    validation_fraction: float
    warm_start: bool
    classes_: np.ndarray

    # State of this class: the rule that selects samples.
    _hold_out: HoldOut

    if TYPE_CHECKING:  # a method of the classifier

        def _is_dense(self) -> bool: ...

    def _choose_splits(self, samples: Samples, rng: np.random.Generator) -> Splits:
        """Select a held-out set or folds."""
        key = int(rng.integers(2**63))
        splits = None
        if self._uses_folds(len(samples.labels)):
            splits = self._choose_folds(samples, key)
        return splits or self._choose_set(samples, key, rng)

    def _choose_folds(self, samples: Samples, key: int) -> Splits | None:
        """Assign samples to folds; return None if there are too few samples."""
        hashes = holdout.digests(samples.X, key)
        common = training = None
        if self._cv_is_automatic() or isinstance(self.cv, Integral):
            number = NUM_FOLDS if self._cv_is_automatic() else int(self.cv)
            fold = holdout.folds(hashes, samples.labels, samples.weights, number)
            if fold is None:
                self._check_number_of_folds(number)
                return None
            masks = [fold == each for each in range(number)]
            common = fold < 0 if (fold < 0).any() else None
        else:
            masks, training = self._folds_of_user(samples)
        # Later fits hold out samples that were not used for training in this one.
        rule = HoldOut.of_fraction(self.validation_fraction, len(self.classes_), key)
        self._hold_out = replace(rule, trained=hashes)
        return Splits(masks, hashes, refit=True, common=common, training=training)

    def _check_number_of_folds(self, number: int) -> None:
        """Raise an error if fewer folds would have been possible."""
        if number > holdout.MIN_SAMPLES_IN_FOLDS:
            raise ValueError(
                "cv must not exceed the number of unique samples of positive weight, "
                "of which those that are a large fraction of the data do not count, "
                f"got {number}."
            )

    def _folds_of_user(
        self, samples: Samples
    ) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
        """Return the masks of the test and training sets of the splits in `cv`."""
        if isinstance(self.cv, type):
            raise ValueError(
                f"cv must be an instance, such as {self.cv.__name__}(), not a class."
            )
        try:
            splits = self._splits_of_user(samples)
        except (TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"cv={reprlib.repr(self.cv)} cannot split the {len(samples.labels)} "
                f"samples of positive weight: {error}. If it requires groups or "
                "contains indices of samples of weight 0, pass a list of its splits."
            ) from error
        trainings = [np.isin(samples.positions, train) for train, _ in splits]
        tests = [np.isin(samples.positions, test) for _, test in splits]
        valid = [
            training.any() and test.any() and not (training & test).any()
            for training, test in zip(trainings, tests, strict=True)
        ]
        smallest = min(
            (part.min(initial=0) for pair in splits for part in pair), default=-1
        )
        if smallest < 0 or not all(valid):
            raise ValueError(
                "cv must give disjoint training and test sets by non-negative indices, "
                "each with samples of positive weight, got "
                f"{reprlib.repr(self.cv)}."
            )
        return tests, trainings

    def _splits_of_user(
        self, samples: Samples
    ) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return the positions of the training and test sets of the splits in `cv`."""
        if not hasattr(self.cv, "split"):
            return [(_indices(train), _indices(test)) for train, test in self.cv]
        # A source of chunks is not read as a whole. Splitters that depend on the
        # features fail, because this array has none.
        X, positions = samples.X, samples.positions
        if not isinstance(X, np.ndarray):
            X = np.empty((len(positions), 0))
        splits = self.cv.split(X, self.classes_[samples.labels])
        return [(positions[train], positions[test]) for train, test in splits]

    def _cv_is_automatic(self) -> bool:
        return isinstance(self.cv, str)

    def _uses_folds(self, num_rows: int) -> bool:
        """Return whether to cross-fit instead of holding out a set."""
        if not self._cv_is_automatic():
            return self.cv is not None
        return (
            num_rows <= MAX_SAMPLES_IN_FOLDS
            and self.validation_fraction > 0
            and not self.early_stopping
            and not self.warm_start
            and self._is_dense()
        )

    def _check_validation(self, held_out: NDArray[np.bool_]) -> None:
        if self.early_stopping and not held_out.any():
            raise ValueError(
                "early_stopping=True requires held-out samples, but with "
                f"validation_fraction={self.validation_fraction} there are none: each "
                "sample is the only unique sample of its class, or was used for "
                "training before."
            )

    def _choose_set(
        self, samples: Samples, key: int, rng: np.random.Generator
    ) -> Splits:
        """Select a held-out set whose weight is close to `validation_fraction`.

        Equal samples stay together. If a very common sample is selected, another key of
        the hash is tried, because the training set would lack a large part of the data.
        """
        allowed = max(holdout.MAX_HELD_OUT_FRACTION, 1.5 * self.validation_fraction)
        smallest = np.inf
        for _ in range(KEYS_TO_TRY):
            hashes, mask = self._set_for_key(samples, key)
            fraction = samples.weights[mask].sum() / samples.weights.sum()
            if fraction < smallest:
                smallest, best = fraction, (key, hashes, mask)
            if fraction <= allowed:
                break
            key = int(rng.integers(2**63))
        key, hashes, mask = best
        self._check_validation(mask)
        self._hold_out = HoldOut.of_mask(
            hashes, samples.labels, mask, len(self.classes_), key
        )
        return Splits([mask], hashes, refit=False)

    def _set_for_key(
        self, samples: Samples, key: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Return the hashes of samples with a key, and the held-out set."""
        if not self.validation_fraction:  # do not read the samples to hash them
            size = len(samples.labels)
            return np.zeros(size, np.uint64), np.zeros(size, bool)
        hashes = holdout.digests(samples.X, key)
        for at_least in (
            conformal.min_calibration_size(self.ood_alpha, self.ood_confidence),
            0,
        ):
            mask = holdout.hold_out(
                hashes, samples.labels, self.validation_fraction, at_least=at_least
            )
            if mask.any() or not self.early_stopping:
                break
        return hashes, mask

    def _start_holding_out(self, rng: np.random.Generator) -> None:
        """Initialize the rule that selects the held-out samples of a stream."""
        self._hold_out = HoldOut.of_fraction(
            self.validation_fraction, len(self.classes_), int(rng.integers(2**63))
        )


def _indices(chosen: Any) -> NDArray[np.intp]:
    """Return the positions of samples, which may be given by a mask."""
    chosen = np.asarray(chosen)
    return np.flatnonzero(chosen) if chosen.dtype == bool else chosen
