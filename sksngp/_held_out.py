"""Rows that are not trained on: which they are, and the threshold that they set."""

from __future__ import annotations

import copy
import reprlib
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._data import holdout
from ._data.sources import MatrixLike, RowSource
from ._data.validation import check_samples, checks_parameters
from ._selection import Samples, Splits
from ._uncertainty import conformal
from .exceptions import warn_of_few_samples

#: Folds that ``cv="auto"`` makes of at most so many samples.
NUM_FOLDS = 5
MOST_ROWS_IN_FOLDS = 2000
#: Keys of the hash that are tried for a held-out set without very common samples.
KEYS_TO_TRY = 10


class HeldOutMixin:
    """Methods that choose rows to hold out, and set `ood_threshold_` by some.

    They need a classifier's parameters and its `_predict_valid`. Their state: the key
    and the cutoffs of the hash that decides on a row, and the hashes of the rows that
    gave `ood_scores_`.
    """

    # Parameters and attributes of the classifier.
    cv: Any
    early_stopping: bool
    learning_rate: float
    ood_alpha: float
    ood_confidence: float | None
    network: Any
    validation_fraction: float
    warm_start: bool
    classes_: np.ndarray
    ood_scores_: NDArray[np.float64]
    ood_threshold_: float
    _ood_score_kind: str

    # State of this class.
    _split: int
    _cutoffs: NDArray[np.uint64]
    _ood_rows: NDArray[np.uint64] | None
    _cross_fitted: NDArray[np.uint64] | None  # hashes of samples in the final fit
    _held_out_of_stream: NDArray[np.uint64] | None  # hashes of samples held out before

    if TYPE_CHECKING:  # methods of the classifier

        @property
        def _ood_parts(self) -> str: ...

        def _check_parameters(self) -> None: ...

        def _is_dense(self) -> bool: ...

        def _predict_valid(
            self, X: np.ndarray | RowSource, what: str
        ) -> NDArray[np.float64]: ...

    @checks_parameters
    def calibrate_ood(self, X: MatrixLike, y: object = None) -> Self:
        """Set the threshold for flags anew, by rows that need no labels.

        For rows from where the classifier is used: of fresh rows from there at most a
        share `ood_alpha` is then flagged, in expectation, whether they are like the
        training rows or not. Nothing else changes; further training sets the threshold
        by rows of its own again. After ``set_params(ood_alpha=...)``
        it makes the new rate effective.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Rows in distribution that were not used in `fit`; at least 99 for an
            `ood_alpha` of 0.01, 19 for 0.05. The promise is for an average over such
            samples; for one sample of n rows, the realised share strays by about
            ``sqrt(ood_alpha (1 - ood_alpha) / n)``. With `ood_confidence`, the promise
            is for these very rows, and takes more of them. Images may have the shape
            (n_samples, height, width, channels).
        y : object, default=None
            Not used; for consistency with scikit-learn.

        Returns
        -------
        self : object
            The estimator, with new `ood_scores_` and `ood_threshold_`.

        Raises
        ------
        ValueError
            If the rows are too few for `ood_alpha`. The threshold stays as it was.

        Examples
        --------
        >>> from sklearn.datasets import make_moons
        >>> from sksngp import SNGPClassifier
        >>> clf = SNGPClassifier(epochs=5, num_layers=1, random_state=0)
        >>> clf = clf.fit(*make_moons(random_state=0))
        >>> X, _ = make_moons(1000, noise=0.3, random_state=1)
        >>> fresh, _ = make_moons(1000, noise=0.3, random_state=2)
        >>> bool(clf.calibrate_ood(X).predict_ood(fresh).mean() < 0.08)
        True
        """
        check_is_fitted(self)
        self._calibrate_ood(X)
        return self

    def _calibrate_ood(self, X: MatrixLike) -> None:
        fitted = copy.copy(self)
        fitted._check_parameters()
        rows = check_samples(fitted, X, reset=False)
        needed = conformal.min_calibration_size(fitted.ood_alpha, fitted.ood_confidence)
        if len(rows) < needed:
            raise ValueError(
                f"X has {len(rows)} samples, but ood_alpha={fitted.ood_alpha} requires "
                f"at least {needed}: with fewer, no threshold keeps that rate. Pass "
                "more samples or increase ood_alpha; the threshold stays as it was."
            )
        fitted._apply_threshold(fitted._predict_valid(rows, self._ood_score_kind))
        self.__dict__.update(
            ood_scores_=fitted.ood_scores_,
            ood_threshold_=fitted.ood_threshold_,
            _ood_rows=None,  # not of a stream, which will not go on with them
        )

    def _choose_splits(self, samples: Samples, rng: np.random.Generator) -> Splits:
        """Choose samples to hold out of a fit: a set of them, or folds in turn."""
        self._split = int(rng.integers(2**63))
        self._cutoffs = np.zeros(len(self.classes_), np.uint64)
        self._cross_fitted = self._held_out_of_stream = None
        masks = self._folds(samples)
        if masks:
            # Samples of later fits are held out, unless this fit is trained on them.
            self._cutoffs[:] = holdout.cutoff_for_fraction(self.validation_fraction)
            self._cross_fitted = holdout.digests(samples.X, self._split)
            return Splits(masks, refit=True)
        held_out = self._choose_set(samples, rng)
        self._cutoffs = holdout.cutoffs(
            samples.X, samples.labels, held_out, len(self.classes_), self._split
        )
        self._check_validation(held_out)
        return Splits([held_out], refit=False)

    def _folds(self, samples: Samples) -> list[NDArray[np.bool_]]:
        """Masks of the folds; none where a held-out set serves better."""
        if self.cv is None:
            return []
        if self._cv_is_automatic() and not self._cross_fits(len(samples.labels)):
            return []
        if not (self._cv_is_automatic() or isinstance(self.cv, Integral)):
            return self._folds_of_user(samples)
        num_folds = NUM_FOLDS if self._cv_is_automatic() else int(self.cv)
        fold = holdout.folds(*samples[:3], num_folds, seed=self._split)
        if fold is None:
            return []
        return [fold == number for number in range(num_folds)]

    def _folds_of_user(self, samples: Samples) -> list[NDArray[np.bool_]]:
        """Masks of the test sets of a cross-validator or of given splits."""
        if hasattr(self.cv, "split"):
            splits = self.cv.split(samples.labels, samples.labels)
            tests = [samples.positions[test] for _, test in splits]
        else:
            tests = [np.asarray(test) for _, test in self.cv]
            tests = [
                np.flatnonzero(test) if test.dtype == bool else test for test in tests
            ]
        masks = [np.isin(samples.positions, test) for test in tests]
        valid = all(mask.any() and not mask.all() for mask in masks)
        if not masks or not valid or min(map(np.min, tests)) < 0:
            raise ValueError(
                "cv must give splits by non-negative indices, with samples of positive "
                "weight in each test set and outside of it, "
                f"got {reprlib.repr(self.cv)}."
            )
        return masks

    def _cv_is_automatic(self) -> bool:
        return isinstance(self.cv, str)

    def _cross_fits(self, num_rows: int) -> bool:
        """Whether ``cv="auto"`` stands for folds."""
        return (
            num_rows <= MOST_ROWS_IN_FOLDS
            and self.validation_fraction > 0
            and not self.early_stopping
            and not self.warm_start
            and self._is_dense()
        )

    def _hold_out_again(
        self, X: np.ndarray | RowSource, labels: np.ndarray
    ) -> NDArray[np.bool_]:
        """Choose the samples that earlier fits have held out, and others like them."""
        held_out = self._hold_out_below(X, labels)
        self._check_validation(held_out)
        return held_out

    def _hold_out_below(
        self, X: np.ndarray | RowSource, labels: np.ndarray
    ) -> NDArray[np.bool_]:
        """Choose samples by their hash, unless earlier training has had them."""
        hashes = holdout.digests(X, self._split)
        held_out = holdout.are_below(hashes, self._cutoffs[labels])
        return self._keep_sides(held_out, hashes)

    def _keep_sides(
        self, held_out: NDArray[np.bool_], hashes: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Held-out samples, where those of earlier training stay what they were."""
        of_stream = getattr(self, "_held_out_of_stream", None)
        if of_stream is not None:
            held_out = held_out | np.isin(hashes, of_stream)
        known = getattr(self, "_cross_fitted", None)
        if known is not None:
            held_out = held_out & ~np.isin(hashes, known)
        return held_out

    def _check_validation(self, held_out: NDArray[np.bool_]) -> None:
        if self.early_stopping and not held_out.any():
            raise ValueError(
                f"early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves no row to validate on: each row "
                "is the single distinct row of a class, or was trained on before."
            )

    def _choose_set(
        self, samples: Samples, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Choose samples to hold out that weigh about as much as they should.

        Equal samples stay together. If a common one is among the chosen, others are
        chosen by another key of the hash: a network that never saw it would not know
        what a large part of the data is like.
        """
        allowed = max(holdout.MAX_HELD_OUT_FRACTION, 1.5 * self.validation_fraction)
        tried = []
        for _ in range(KEYS_TO_TRY):
            held_out = self._choose_rows(samples.X, samples.labels)
            share = samples.weights[held_out].sum() / samples.weights.sum()
            tried.append((share, self._split, held_out))
            if share <= allowed:
                break
            self._split = int(rng.integers(2**63))
        _, self._split, held_out = min(tried, key=lambda each: each[0])
        return held_out

    def _choose_rows(
        self, X: np.ndarray | RowSource, labels: np.ndarray
    ) -> NDArray[np.bool_]:
        for at_least in (
            conformal.min_calibration_size(self.ood_alpha, self.ood_confidence),
            0,
        ):
            held_out = holdout.hold_out(
                X,
                labels,
                self.validation_fraction,
                at_least=at_least,
                seed=self._split,
            )
            if held_out.any() or not self.early_stopping:
                break
        return held_out

    def _start_holding_out(self, rng: np.random.Generator) -> None:
        """Choose the hash by which rows of a stream are held out."""
        self._split = int(rng.integers(2**63))
        self._cross_fitted = self._held_out_of_stream = None
        cutoff = holdout.cutoff_for_fraction(self.validation_fraction)
        self._cutoffs = np.full(len(self.classes_), cutoff, np.uint64)

    def _check_overflow(self, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            raise ValueError(
                "The trained weights are so large that predictions overflow. A smaller "
                f"learning_rate usually mends this; it is {self.learning_rate}."
            )

    def _set_threshold(self, scores: NDArray[np.float64], depth: int = 0) -> None:
        self._apply_threshold(scores)
        self._warn_of_few(len(scores), depth + 1)

    def _apply_threshold(self, scores: NDArray[np.float64]) -> None:
        self._check_overflow(scores)
        self.ood_scores_ = scores
        threshold = conformal.threshold(scores, self.ood_alpha, self.ood_confidence)
        self.ood_threshold_ = conformal.above_rounding(threshold)

    def _warn_of_few(self, number: int, depth: int = 0) -> None:
        """Warn if no row is flagged for so few scores of held-out rows."""
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        if number < needed:
            rate = f"ood_alpha={self.ood_alpha}"
            if self.ood_confidence is not None:
                rate += f" with ood_confidence={self.ood_confidence}"
            warn_of_few_samples(
                f"predict_ood will flag no row: {rate} requires at least {needed} "
                f"unique samples that were not trained on, got {number} (cross-fitting "
                f"requires {holdout.MIN_SAMPLES_IN_FOLDS} unique samples, and at most "
                "a quarter of the samples is held out). Increase ood_alpha, or call "
                "calibrate_ood with more samples.",
                stacklevel=5 + depth,  # the caller of fit, partial_fit, calibrate_ood
            )
