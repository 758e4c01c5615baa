"""Drift detection in a stream of out-of-distribution scores."""

from __future__ import annotations

from collections import deque
from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import column_or_1d

from .conformal import above_rounding

#: Exponents of the bets e p^(e - 1). Small exponents bet on very small p-values, and
#: large exponents bet on p-values that are slightly smaller than uniform.
EXPONENTS = np.array([0.1, 0.2, 0.35, 0.5, 0.7, 0.85])
#: Lower bound to which p-values are clipped. Clipping can only decrease the value.
MIN_PVALUE = 1e-300


class DriftMonitor:
    """Detect a change of a stream towards more unusual samples.

    The monitor tests the hypothesis that the scores of the stream and the calibration
    scores are exchangeable, for example that they are drawn independently from one
    distribution. Its value is a test martingale, the wealth of a gambler who bets
    against the hypothesis with an initial wealth of 1. The value increases while new
    samples are more unusual than earlier ones, and tends to decrease otherwise. If the
    hypothesis holds, the probability that the value ever reaches `alarm_level` is at
    most ``1 / alarm_level``, **over the whole stream, however long it is** (Ville's
    inequality). The number of samples need not be fixed in advance.

    The p-value of a score is its rank among the calibration scores and all earlier
    scores of the stream, with equal scores in random order. If the scores are
    exchangeable, these p-values are independent and uniform [1]_. The p-values of
    `ood_pvalue` are not independent, because they share their calibration set: in a
    long stream, a test would detect the deviation of the calibration set from its
    distribution. For each sample s, a bet on a change at s multiplies its stake by
    ``e * p ** (e - 1)`` for the p-value p of s and of each later sample, with several
    exponents e between 0 and 1. The stakes of all samples sum to 1 and decrease slowly,
    so that changes late in the stream are also detected.

    Changes towards *less* unusual samples are not detected.

    Parameters
    ----------
    calibration_scores : array-like of shape (n_scores,)
        Out-of-distribution scores of in-distribution samples that the classifier was
        not trained on: its `ood_scores_`, preferably after `calibrate_ood`. The scores
        of cross-fitting are slightly higher than those of new samples, which delays the
        detection of changes.
    alarm_level : float in (1, inf), default=100
        Value at which an alarm is raised. The probability of a false alarm is at most
        ``1 / alarm_level``.
    max_history : int, default=100_000
        Number of latest values to keep in `values_`.
    random_state : int, RandomState instance or None, default=None
        Controls the random order of equal scores, and of scores between the same two
        calibration scores. Pass an int for reproducible results across multiple calls.

    Attributes
    ----------
    value_ : float
        Current value of the test martingale, which is 1 before the first sample and
        may become infinite.
    values_ : ndarray of shape (n_values,)
        Values after each of the latest samples, with ``n_values <= max_history``.
    n_seen_ : int
        Number of samples processed.
    alarm_ : bool
        Whether the value has ever reached `alarm_level`.
    alarm_at_ : int or None
        Number of the sample that raised the alarm, starting from 1. None if there was
        no alarm.

    See Also
    --------
    sksngp.inspection.DriftDisplay : Plot the value over time.
    control_false_discoveries : Flag OOD samples in a batch.

    References
    ----------
    .. [1] Vovk, V., Petej, I., Nouretdinov, I., Ahlberg, E., Carlsson, L. and
       Gammerman, A. (2021). "Retrain or not retrain: conformal test martingales for
       change-point detection", arXiv 2102.10439.

    Examples
    --------
    >>> import numpy as np
    >>> from sksngp import DriftMonitor
    >>> rng = np.random.default_rng(0)
    >>> monitor = DriftMonitor(rng.normal(size=400), random_state=0)
    >>> monitor.update(rng.normal(size=1000)).alarm_
    False
    >>> monitor.update(rng.normal(size=200) + 1).alarm_
    True
    >>> monitor.alarm_at_ - 1000 < 50
    True
    """

    @validate_params(
        {
            "calibration_scores": ["array-like"],
            "alarm_level": [Interval(Real, 1, None, closed="neither")],
            "max_history": [Interval(Integral, 1, None, closed="left")],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(
        self,
        calibration_scores: ArrayLike,
        *,
        alarm_level: float = 100.0,
        max_history: int = 100_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.alarm_level = alarm_level
        self.max_history = max_history
        self.random_state = random_state
        scores = np.sort(_checked(calibration_scores, "calibration_scores"))
        # Scores that are equal up to rounding errors form one atom.
        first = np.append(True, scores[1:] > above_rounding(scores[:-1]))
        self._atoms = scores[first]
        self._counts = np.zeros(2 * len(self._atoms) + 1, np.int64)
        np.add.at(self._counts, self._cells(scores), 1)
        self._rng = check_random_state(random_state)
        self._log_bets = np.full(len(EXPONENTS), -np.inf)
        self._history: deque[float] = deque(maxlen=int(max_history))
        self.n_seen_ = 0
        self.alarm_at_: int | None = None

    @property
    def value_(self) -> float:
        """Current value of the test martingale."""
        with np.errstate(over="ignore"):
            return float(np.exp(self._history[-1])) if self._history else 1.0

    @property
    def values_(self) -> NDArray[np.float64]:
        """Values after each of the latest samples."""
        with np.errstate(over="ignore"):
            return np.exp(np.array(self._history, float))

    @property
    def alarm_(self) -> bool:
        """Whether the value has ever reached `alarm_level`."""
        return self.alarm_at_ is not None

    def update(self, scores: ArrayLike) -> Self:
        """Update the value with the next scores of the stream.

        Parameters
        ----------
        scores : array-like of shape (n_samples,), or float
            Out-of-distribution scores, ``-estimator.score_samples(X)``, in the order of
            the stream. The result does not depend on how the stream is divided into
            calls.

        Returns
        -------
        self : DriftMonitor
            Updated monitor.

        Raises
        ------
        ValueError
            If a score is not finite. The monitor then remains unchanged.
        """
        scores = np.atleast_1d(np.asarray(scores))
        checked = _checked(scores, "scores", fewest=0)
        self._bet(self._pvalues(checked))
        return self

    def _cells(self, scores: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the cells of scores.

        Cells are numbered in increasing order of scores: cell 0 lies below the first
        atom, cell 1 is the first atom, cell 2 lies between the first and the second
        atom, and so on. Scores in the same cell are ordered at random.
        """
        cells = 2 * np.searchsorted(above_rounding(self._atoms), scores)
        cells += np.append(-above_rounding(-self._atoms), np.inf)[cells // 2] <= scores
        return cells

    def _pvalues(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute smoothed p-values among the calibration and all earlier scores."""
        cells = self._cells(scores)
        above = np.empty(len(cells))
        uniform = self._rng.uniform(size=len(cells))
        for sample, cell in enumerate(cells):
            own = self._counts[cell] + 1
            above[sample] = self._counts[cell + 1 :].sum() + uniform[sample] * own
            self._counts[cell] = own
        total = self._counts.sum() - len(cells) + np.arange(1, len(cells) + 1)
        return above / total

    def _bet(self, pvalues: NDArray[np.float64]) -> None:
        """Update the value of the bets with independent, uniform p-values."""
        seen = self.n_seen_ + np.arange(len(pvalues) + 1)
        cash = 1.0 / (1.0 + np.log1p(seen))  # reserve for bets on later changes
        stakes = np.log(-np.diff(cash) / len(EXPONENTS))
        logs = np.log(np.maximum(pvalues, MIN_PVALUE))
        gains = np.log(EXPONENTS) + np.outer(logs, EXPONENTS - 1)
        bets = np.empty((len(pvalues), len(EXPONENTS) + 1))
        for sample in range(len(pvalues)):
            self._log_bets = np.logaddexp(self._log_bets, stakes[sample])
            self._log_bets += gains[sample]
            bets[sample, 1:] = self._log_bets
        bets[:, 0] = np.log(cash[1:])
        log_values = np.logaddexp.reduce(bets, axis=1)
        self._history.extend(log_values)
        alarms = np.flatnonzero(log_values >= np.log(self.alarm_level))
        if self.alarm_at_ is None and len(alarms):
            self.alarm_at_ = int(seen[alarms[0]]) + 1
        self.n_seen_ = int(seen[-1])


def _checked(scores: ArrayLike, name: str, fewest: int = 1) -> NDArray[np.float64]:
    checked = check_array(
        scores, ensure_2d=False, ensure_min_samples=fewest, dtype=float, input_name=name
    )
    if checked.ndim > 1 and checked.shape[1:] != (1,):
        raise ValueError(
            f"{name} must have one dimension, got an array of shape {checked.shape}."
        )
    return column_or_1d(checked)
