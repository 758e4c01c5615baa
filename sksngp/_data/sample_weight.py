"""Sample weights: counts of equal samples, or importances of any unit.

Integers are counts: a sample of weight 2 stands for two equal samples, and data of
twice the weight determine the posterior twice as precisely. All other weights, and all
class weights, are importances. Their unit means nothing, so they are divided by their
mean.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: All larger float64 numbers are integers, and no counts.
LARGEST_COUNT = 2.0**53
#: Integers with a larger mean may be importances that were rounded.
LARGEST_CLEAR_MEAN = 10.0


class WeightTotals(NamedTuple):
    """Totals of the weights seen so far, which define the unit of importances.

    Parameters
    ----------
    weight : float
        Sum of the weights, after `scale`.
    size : float
        Number of samples, in which counts are included.
    counts : bool
        Whether sample weights are counts.
    scale : float
        What importances are multiplied by when they arrive: it brings the first of them
        to the mean of the weights before.
    """

    weight: float = 0.0
    size: float = 0.0
    counts: bool = True
    scale: float = 1.0

    @property
    def unit(self) -> float:
        """Mean weight of a sample: 1 for counts without class weights."""
        return self.weight / self.size if self.size else 1.0

    def plus(
        self, weights: NDArray[np.float64], counts: NDArray[np.float64]
    ) -> WeightTotals:
        """Return the totals after further samples."""
        return self._replace(
            weight=self.weight + float(weights.sum()),
            size=self.size + float(counts.sum()),
        )


def are_counts(weights: NDArray[np.float64]) -> bool:
    """Return whether weights are counts: integers of at most `LARGEST_COUNT`.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> are_counts(np.array([1.0, 0.0, 3.0])), are_counts(np.array([0.5, 1.0]))
    (True, False)
    """
    return bool((weights == np.rint(weights)).all() and weights.max() <= LARGEST_COUNT)


def warn_of_ambiguous_counts(weights: NDArray[np.float64], stacklevel: int) -> None:
    """Warn of large counts, which may be meant as importances.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        Counts.
    stacklevel : int
        Number of frames between the caller of this function and the user's call.

    Warns
    -----
    UserWarning
        If the mean exceeds `LARGEST_CLEAR_MEAN`.
    """
    if weights.mean() > LARGEST_CLEAR_MEAN:
        warnings.warn(
            "The integers in sample_weight have a mean above "
            f"{LARGEST_CLEAR_MEAN:g} and are used as counts: each sample stands for "
            "as many equal samples, and the classifier becomes as certain as if all "
            "of them had been observed. If only the ratios of the weights matter, pass "
            "sample_weight / sample_weight.mean().",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def in_units(weights: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Divide weights by a unit; positive ones remain positive.

    Examples
    --------
    >>> import numpy as np
    >>> in_units(np.array([0.1, 0.3]), 0.2)
    array([0.5, 1.5])
    """
    return np.maximum(weights / unit, np.finfo(np.float64).tiny)


def effective_weights(
    weights: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale weights so that they sum to the effective number of samples.

    With counts ``c_i`` and importances ``u_i``, that number is Kish's (1965, Survey
    Sampling, section 11.7)

        (sum_i c_i u_i)^2 / sum_i c_i u_i^2:

    the number of equally important samples whose mean has the same variance. A few
    important samples among many therefore are little evidence.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        ``c_i u_i``, positive.
    counts : float64 ndarray of shape (n,)
        ``c_i``, positive.

    Returns
    -------
    float64 ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> weights = effective_weights(np.r_[100.0, np.full(100, 1.0)], np.ones(101))
    >>> round(float(weights.sum()), 2)
    3.96
    >>> effective_weights(np.array([3.0, 1.0]), np.array([3.0, 1.0]))
    array([3., 1.])
    """
    importances = weights / counts
    return weights * (weights.sum() / (weights @ importances))
