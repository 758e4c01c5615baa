"""Sample weights, which are interpreted as counts or as importances.

Integers are counts: a sample of weight 2 is equivalent to two equal samples, and
doubling all weights doubles the precision that the data add to the posterior. All other
weights, and all class weights, are importances. Only their ratios matter, and they are
divided by their mean.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Maximum count. All larger float64 numbers are integers, and are not counts.
MAX_COUNT = 2.0**53
#: Mean above which integers may be rounded importances rather than counts.
MAX_UNAMBIGUOUS_MEAN = 10.0


class WeightTotals(NamedTuple):
    """Totals of all weights so far, which determine the unit of importances.

    Parameters
    ----------
    weight : float
        Sum of the weights after multiplication by `scale`.
    size : float
        Number of samples. A sample with a count is included as many times.
    counts : bool
        Whether sample weights are counts.
    scale : float
        Factor by which new importances are multiplied. If they are the first weights,
        their mean is then 1.
    """

    weight: float = 0.0
    size: float = 0.0
    counts: bool = True
    scale: float = 1.0

    @property
    def unit(self) -> float:
        """Mean weight of a sample, which is 1 for counts without class weights."""
        return self.weight / self.size if self.size else 1.0

    def plus(
        self, weights: NDArray[np.float64], counts: NDArray[np.float64]
    ) -> WeightTotals:
        """Return the totals including further samples."""
        return self._replace(
            weight=self.weight + float(weights.sum()),
            size=self.size + float(counts.sum()),
        )


def are_counts(weights: NDArray[np.float64]) -> bool:
    """Return whether weights are counts, that is, integers up to `MAX_COUNT`.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        Sample weights.

    Returns
    -------
    bool
        True if all weights are counts.

    Examples
    --------
    >>> import numpy as np
    >>> are_counts(np.array([1.0, 0.0, 3.0])), are_counts(np.array([0.5, 1.0]))
    (True, False)
    """
    return bool((weights == np.rint(weights)).all() and weights.max() <= MAX_COUNT)


def warn_of_ambiguous_counts(weights: NDArray[np.float64], stacklevel: int) -> None:
    """Warn about large counts, which may be intended as importances.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        Counts.
    stacklevel : int
        Stack level of the user's call, relative to the caller of this function.

    Warns
    -----
    UserWarning
        If the mean of the weights exceeds `MAX_UNAMBIGUOUS_MEAN`.
    """
    if weights.mean() > MAX_UNAMBIGUOUS_MEAN:
        warnings.warn(
            "The integers in sample_weight have a mean above "
            f"{MAX_UNAMBIGUOUS_MEAN:g} and are used as counts: each sample is "
            "equivalent to as many equal samples, and the uncertainty decreases "
            "accordingly. If only the ratios of the weights matter, pass "
            "sample_weight / sample_weight.mean().",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def in_units(weights: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Divide weights by a unit, keeping positive weights positive.

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

    For counts ``c_i`` and importances ``u_i``, the effective number of samples is that
    of Kish (1965, Survey Sampling, section 11.7),

        (sum_i c_i u_i)^2 / sum_i c_i u_i^2,

    the number of samples of equal importance whose mean has the same variance. If a few
    samples are much more important than all others, this number is small.

    Parameters
    ----------
    weights : float64 ndarray of shape (n,)
        Positive products ``c_i u_i``.
    counts : float64 ndarray of shape (n,)
        Positive counts ``c_i``.

    Returns
    -------
    float64 ndarray of shape (n,)
        Scaled weights.

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
