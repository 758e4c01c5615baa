"""Calibration of the temperature and of the out-of-distribution threshold."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._data.holdout import MIN_SAMPLES_IN_FOLDS
from ._data.sources import MatrixLike, RowSource, select_samples
from ._data.validation import check_samples, checks_parameters
from ._selection import (
    Samples,
    Splits,
    Trial,
    out_of_fold_scores,
    out_of_fold_temperature,
)
from ._uncertainty import conformal
from .exceptions import warn_of_few_samples

#: Advice if a fit or a stream has too few held-out samples for flags.
IN_FITS = (
    "Cross-fitting (cv='auto') leaves out each sample once and requires "
    f"{MIN_SAMPLES_IN_FOLDS} unique samples; otherwise, validation_fraction is "
    "increased up to a quarter. Pass more samples, increase ood_alpha, or call "
    "calibrate_ood."
)
IN_STREAMS = (
    "Further batches add samples. To flag samples earlier, increase ood_alpha or call "
    "calibrate_ood."
)
WITHOUT_HELD_OUT = (
    "validation_fraction=0 holds out no samples. Choose a larger fraction, or call "
    "calibrate_ood."
)


class CalibrationMixin:
    """Mixin of the classifiers that calibrates probabilities and flags."""

    # Parameters and attributes of the classifier.
    learning_rate: float
    ood_alpha: float
    ood_confidence: float | None
    temperature: Any
    validation_fraction: float
    temperature_: float
    ood_scores_: NDArray[np.float64]
    ood_threshold_: float
    _ood_score_kind: str

    # State of this class: the hashes of the samples whose scores are `ood_scores_`.
    _ood_score_hashes: NDArray[np.uint64] | None

    if TYPE_CHECKING:  # methods of the classifier

        def _check_parameters(self) -> None: ...
        def _combine_scores(
            self, parts: NDArray[np.float64], known: np.ndarray | RowSource
        ) -> NDArray[np.float64]: ...

        def _predict_valid(
            self, X: np.ndarray | RowSource, quantity: str
        ) -> NDArray[np.float64]: ...

    @checks_parameters
    def calibrate_ood(self, X: MatrixLike, y: object = None) -> Self:
        """Recompute the out-of-distribution threshold on unlabeled samples.

        Use samples from the distribution on which the classifier is used. At most a
        fraction `ood_alpha` of new samples from this distribution is then flagged, in
        expectation, even if it differs from that of the training set. Nothing else
        changes. Call the method after ``set_params(ood_alpha=...)`` for the new rate to
        take effect. Further training replaces the threshold.

        Parameters
        ----------
        X : array-like or dataframe of shape (n_samples, n_features)
            Calibration set: in-distribution samples that were not used in `fit`. At
            least 19 are required for an `ood_alpha` of 0.05, and 99 for 0.01. The rate
            holds on average over calibration sets; for a single one of n samples, its
            standard deviation is about ``sqrt(ood_alpha (1 - ood_alpha) / n)``. With
            `ood_confidence`, it holds for the given calibration set with this
            probability, and more samples are required. Images may have the shape
            (n_samples, height, width, channels).
        y : object, default=None
            Ignored. Present for consistency with scikit-learn.

        Returns
        -------
        self : object
            The estimator, with new `ood_scores_` and `ood_threshold_`.

        Raises
        ------
        ValueError
            If there are too few samples for `ood_alpha`. The threshold is not changed.

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
                f"at least {needed}. Pass more samples or increase ood_alpha. The "
                "threshold was not changed."
            )
        fitted._apply_threshold(fitted._predict_valid(rows, self._ood_score_kind))
        self.__dict__.update(
            ood_scores_=fitted.ood_scores_,
            ood_threshold_=fitted.ood_threshold_,
            _ood_score_hashes=None,  # not of a stream, which will not go on with them
        )

    def _calibrate(self, trial: Trial, samples: Samples, splits: Splits) -> None:
        """Fit the temperature and the threshold to the held-out samples of a trial."""
        temperature = self._out_of_fold_temperature(trial, splits)
        for model in (self, *(fold.model for fold in trial.folds)):
            model.temperature_ = temperature
        parts = out_of_fold_scores(trial, samples, splits)
        scores = self._combine_scores(parts, samples.X)
        hashes = splits.hashes[splits.held_out]
        if splits.common is not None:
            # The final network knows common samples, and will know new ones like them.
            common = select_samples(samples.X, splits.common)
            scores = np.append(
                scores, self._predict_valid(common, self._ood_score_kind)
            )
            hashes = np.append(hashes, splits.hashes[splits.common])
        self._apply_threshold(scores)
        self._ood_score_hashes = hashes

    def _out_of_fold_temperature(self, trial: Trial, splits: Splits) -> float:
        if self.temperature != "auto":
            return float(self.temperature)
        return out_of_fold_temperature(trial) if splits.any() else 1.0

    def _check_overflow(self, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            raise ValueError(
                "The trained weights are so large that predictions overflow. Use a "
                f"learning_rate smaller than {self.learning_rate}."
            )

    def _apply_threshold(self, scores: NDArray[np.float64]) -> None:
        self._check_overflow(scores)
        self.ood_scores_ = scores
        threshold = conformal.threshold(scores, self.ood_alpha, self.ood_confidence)
        self.ood_threshold_ = conformal.above_rounding(threshold)

    def _warn_of_few(self, number: int, streaming: bool = False) -> None:
        """Warn if the scores are too few for a finite threshold."""
        needed = conformal.min_calibration_size(self.ood_alpha, self.ood_confidence)
        if number < needed:
            until, advice = "", IN_FITS
            if not self.validation_fraction:
                advice = WITHOUT_HELD_OUT
            elif streaming:
                until, advice = " until more samples are passed", IN_STREAMS
            rate = f"ood_alpha={self.ood_alpha}"
            if self.ood_confidence is not None:
                rate += f" with ood_confidence={self.ood_confidence}"
            warn_of_few_samples(
                f"predict_ood will not flag any sample{until}: {rate} requires at "
                f"least {needed} unique samples that were not trained on, got "
                f"{number}. {advice}",
                stacklevel=6 if streaming else 5,  # the caller of partial_fit or fit
            )
