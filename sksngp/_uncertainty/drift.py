"""A monitor for changes in a stream of out-of-distribution scores."""

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

#: Exponents of the bets e p^(e - 1): from nearly certain that p-values are tiny now to
#: a suspicion that they are smaller than they should be.
EXPONENTS = np.array([0.1, 0.2, 0.35, 0.5, 0.7, 0.85])
#: P-values below it are taken for it, which only makes values smaller.
SMALLEST_PVALUE = 1e-300


class DriftMonitor:
    """Watch a stream of samples for a change towards unusual samples.

    The monitor bets against the hypothesis that the samples of the stream come from the
    distribution of the calibration scores, in any order. Its value is the wealth of a
    gambler who starts with 1: it rises while new samples look more unusual than earlier
    ones, and otherwise tends to fall. While the hypothesis holds, the value reaches
    `alarm_level` with probability at most ``1 / alarm_level``, **over the whole
    stream, however long it is** (Ville's inequality). No number of samples has to be
    fixed in advance.

    Each score is ranked among the calibration scores and all earlier scores of the
    stream; equal scores are ordered at random. These p-values are independent and
    uniform if the scores are exchangeable [1]_, while those of `ood_pvalue` share
    their calibration scores, and a test of a long stream of them would discover these.
    A bet on a change that begins with the s-th sample multiplies its stake by
    ``e * p ** (e - 1)`` for this and each later p-value p, for some e between 0 and 1.
    The stakes of all s sum to 1 and decrease slowly, so that a change late in a stream
    is found, too.

    Scores that become *more usual* do not raise the value.

    Parameters
    ----------
    calibration_scores : array-like of shape (n_scores,)
        Out-of-distribution scores of in-distribution samples that the classifier was
        not trained on: its `ood_scores_`, best after `calibrate_ood`. After
        cross-fitting, they are slightly higher than those of new samples, and the
        monitor notices changes later than it could.
    alarm_level : float in (1, inf), default=100
        Value at which an alarm is raised: one undisturbed stream in so many raises a
        false alarm.
    max_history : int, default=100_000
        Number of latest values to keep in `values_`.
    random_state : int, RandomState instance or None, default=None
        Orders equal scores, and scores between the same two calibration scores.

    Attributes
    ----------
    value_ : float
        Current value of the test martingale; 1 before the first sample. It may be
        infinite.
    values_ : ndarray of shape (n_values,)
        Values after the latest samples, at most `max_history` of them.
    n_seen_ : int
        Number of samples seen.
    alarm_ : bool
        Whether the value has ever reached `alarm_level`.
    alarm_at_ : int or None
        Number of the sample that raised the alarm, from 1.

    See Also
    --------
    sksngp.inspection.DriftDisplay : The value over time.
    control_false_discoveries : Which samples of a batch are unusual.

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
        # Scores that agree up to rounding are one atom.
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
        """Values after the latest samples."""
        with np.errstate(over="ignore"):
            return np.exp(np.array(self._history, float))

    @property
    def alarm_(self) -> bool:
        """Whether the value has ever reached `alarm_level`."""
        return self.alarm_at_ is not None

    def update(self, scores: ArrayLike) -> Self:
        """Take in scores of the stream, in their order.

        Parameters
        ----------
        scores : array-like of shape (n_samples,), or float
            Out-of-distribution scores, ``-estimator.score_samples(X)``. It makes no
            difference whether they come one by one or together.

        Returns
        -------
        self : DriftMonitor

        Raises
        ------
        ValueError
            If a score is not finite. The monitor stays as it was.
        """
        scores = np.atleast_1d(np.asarray(scores))
        checked = _checked(scores, "scores", fewest=0)
        self._bet(self._pvalues(checked))
        return self

    def _cells(self, scores: NDArray[np.float64]) -> NDArray[np.intp]:
        """Places of scores among the atoms; within one, the order is random.

        They are numbered from the lowest scores up: below the first atom, the first
        atom, between the first and the second atom, and so on.
        """
        cells = 2 * np.searchsorted(above_rounding(self._atoms), scores)
        cells += np.append(-above_rounding(-self._atoms), np.inf)[cells // 2] <= scores
        return cells

    def _pvalues(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Smoothed p-values among the calibration scores and all earlier scores."""
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
        cash = 1.0 / (1.0 + np.log1p(seen))  # what is kept for later changes
        stakes = np.log(-np.diff(cash) / len(EXPONENTS))
        logs = np.log(np.maximum(pvalues, SMALLEST_PVALUE))
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
    return column_or_1d(checked)
